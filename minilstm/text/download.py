"""Download a corpus from its public sources, listed in published.py, and verify it.

A file is kept only if its SHA-256 is right, and existing files are never overwritten. Servers and archives are
untrusted: the time of a source, the size of a file and the number of files in an archive are limited. From an archive
only the corpus's files are extracted, under fixed names, whatever paths it contains.
"""

import errno
import hashlib
import io
import os
import sys
import tarfile  # for single headers only: what it does with whole archives has no bounds
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from minilstm.errors import UserError, first_line, one_line
from minilstm.files import StrPath, read_bytes

SCHEME = "https://"  # of sources and of all redirects
MAX_SECONDS = 600  # per source, in all: a socket's timeout starts again with every byte that arrives
MAX_DOWNLOAD_BYTES = 2**26  # per file
MAX_UNPACKED_BYTES, MAX_FILE_BYTES = 2**30, 2**27  # a small archive can be made to unpack to any size
MAX_MEMBERS = 10_000  # of an archive


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(read_bytes(path, MAX_FILE_BYTES)).hexdigest()


def download(directory: StrPath, sources: Sequence[str], checksums: Mapping[str, str]) -> str:
    """Download the files of a corpus into a directory.

    Parameters
    ----------
    directory : path
    sources, checksums
        As of `Published`.

    Returns
    -------
    str
        The source of the files, or "" if they were already present.

    Raises
    ------
    UserError
        If no source provides the right files, an existing file differs, or the directory cannot be written.
    """
    directory = Path(directory)
    try:
        present = {name for name in checksums if os.path.lexists(directory / name)}
        wrong = [name for name in sorted(present) if file_sha256(directory / name) != checksums[name]]
        if wrong:
            raise UserError(
                f"{directory / wrong[0]} exists with other contents; move it away or choose another directory"
            )
        if present == set(checksums):
            return ""
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=directory, ignore_cleanup_errors=True) as folder:
            source = fetch_first(sources, checksums, Path(folder))
            for name in checksums:
                if name not in present:
                    place(Path(folder, name), directory / name)
    except OSError as error:
        raise UserError(f"cannot write to {directory}: {error.strerror}; choose another directory") from None
    return source


def place(path: Path, final: Path) -> None:
    """Give a file its final name, unless there is one of that name by now; raises an OSError then."""
    try:
        os.link(path, final)
    except (AttributeError, PermissionError, NotImplementedError):  # a file system without links
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "a file of this name has appeared", str(final)) from None
        os.rename(path, final)


def fetch_first(sources: Sequence[str], checksums: Mapping[str, str], folder: Path) -> str:
    """Fetch all files from the first source with the right checksums, and return that source."""
    reasons = []
    for source in sources:
        deadline = time.monotonic() + MAX_SECONDS
        try:
            if source.endswith("/"):
                for name, checksum in checksums.items():
                    fetch(source + name, folder / name, checksum, deadline)
            else:
                fetch(source, folder / "archive", None, deadline)
                unpack(folder / "archive", checksums, folder)
            return source
        except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error) as error:
            reasons.append(f"{source}: {first_line(error)}")
    raise UserError(
        f"could not fetch the corpus ({'; '.join(reasons)}); check the network, "
        f"or place {', '.join(checksums)} there by hand"
    )


def fetch(url: str, path: Path, checksum: str | None, deadline: float) -> None:
    """Fetch one file over https, with a progress bar.

    The transfer has a thread of its own, which is abandoned at the deadline. Nothing else ends every wait: a server
    that sends one byte now and then, or 100 Continue again and again, resets each timeout of the socket.

    Parameters
    ----------
    url : str
    path : Path
    checksum : str or None
        The file's SHA-256; None to accept any.
    deadline : float
        In seconds of ``time.monotonic``.

    Raises
    ------
    ValueError
        If the transfer fails, for whatever reason, or the checksum is wrong.
    TimeoutError
        If the file is not complete at the deadline.
    """
    import pooch

    check_scheme(url)
    pooch.get_logger().setLevel("ERROR")
    headers, hooks = {"Accept-Encoding": "identity"}, {"response": check_response}
    http = pooch.HTTPDownloader(sys.stderr.isatty(), 2**16, timeout=30, headers=headers, hooks=hooks)
    known_hash = checksum and f"sha256:{checksum}"
    outcome: list[Exception | None] = []

    def save(url: str, part: str, _: Any) -> None:
        with BoundedFile(open(part, "wb", buffering=0)) as file:
            http(url, file, None)

    def transfer() -> None:
        try:
            pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=save)
            outcome.append(None)
        except Exception as error:  # of any library: whatever a server can cause is a failure of that source
            outcome.append(error)

    thread = threading.Thread(target=transfer, daemon=True)  # the program can end while an abandoned thread still waits
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0))
    if not outcome:
        raise TimeoutError(f"not complete after {MAX_SECONDS} seconds")
    if outcome[0]:
        raise ValueError(first_line(outcome[0]))


class BoundedFile(io.BufferedWriter):
    """A file for writing up to MAX_DOWNLOAD_BYTES; more raise ValueError."""

    def write(self, block: Any) -> int:
        if self.tell() + len(block) > MAX_DOWNLOAD_BYTES:
            raise ValueError(f"the download is over {MAX_DOWNLOAD_BYTES:,} bytes")
        return super().write(block)


def check_scheme(url: str) -> None:
    """Raise ValueError if a URL is not https."""
    if not url.lower().startswith(SCHEME):
        raise ValueError(f"{one_line(url, 100)} is not {SCHEME}, which alone is allowed")


def check_response(response: Any, **_: Any) -> None:
    """Refuse redirects to other schemes, and have the body saved as sent: what is compressed could unpack to any size.

    The HTTP library calls it with each response, before it reads the body or follows a redirect.
    """
    check_scheme(response.url)
    if response.is_redirect:
        response.close()  # its body is never read, which would go into memory whole
        check_scheme(urljoin(response.url, response.headers["Location"]))
    response.raw.headers.pop("Content-Encoding", None)


def unpack(archive: Path, checksums: Mapping[str, str], folder: Path) -> None:
    """Extract the files with these checksums, and nothing else, from an archive, wherever they are in it."""
    missing = dict(checksums)
    with open(folder / "archive.tar", "w+b") as file:
        for block in decompress(archive):
            file.write(block)
            if file.tell() > MAX_UNPACKED_BYTES:
                raise ValueError(f"the archive unpacks to over {MAX_UNPACKED_BYTES:,} bytes")
        file.seek(0)
        for name, size in iter_members(file):
            if name in missing:
                if size > MAX_FILE_BYTES:
                    raise ValueError(f"{name} in the archive is over {MAX_FILE_BYTES:,} bytes")
                contents = file.read(size)
                if hashlib.sha256(contents).hexdigest() == missing[name]:
                    (folder / name).write_bytes(contents)
                    del missing[name]
    if missing:
        raise ValueError(f"{min(missing)} with the right SHA-256 is not in the archive")


def decompress(archive: Path) -> Iterator[bytes]:
    """The contents of a gzip file of one stream, as ``tar`` writes it, in blocks of at most 1 MiB."""
    stream = zlib.decompressobj(wbits=31)  # 31: with the header and checksum of gzip
    with open(archive, "rb") as file:
        while not stream.eof:
            compressed = stream.unconsumed_tail or file.read(2**16)
            block = stream.decompress(compressed, 2**20)
            if not compressed and not block:
                raise EOFError("the archive is truncated")
            yield block


def iter_members(file: io.BufferedRandom) -> Iterator[tuple[str, int]]:
    """The base names and sizes of a tar file's regular files; `file` is at the start of the contents of each.

    Each header is parsed on its own. Extended headers (long names, pax), which can nest and take any amount of time to
    parse, are skipped like contents: the files needed here have short names.
    """
    for _ in range(MAX_MEMBERS):
        header = file.read(tarfile.BLOCKSIZE)
        if not header.strip(b"\0"):  # the end
            return
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        if not 0 <= member.size <= MAX_UNPACKED_BYTES:
            raise ValueError(f"a file in the archive has the impossible size {member.size:,}")
        start = file.tell()
        if member.isreg():
            yield member.name.rpartition("/")[2], member.size
        file.seek(start + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE)
    raise ValueError(f"the archive contains over {MAX_MEMBERS:,} files")
