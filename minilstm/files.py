"""Bounded reads and atomic writes."""

import errno
import json
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from minilstm.errors import UserError

StrPath = str | os.PathLike[str]

# Directories that this process holds open, path -> descriptor. Files are read and written in the directory that was
# opened, even if the path leads to another one by now.
open_directories: dict[Path, int] = {}

MAX_TEXT_BYTES = 30_000_000  # of a vocab.txt or metrics.csv: 3 million words, 50,000 epochs
MAX_JSON_BYTES = 1_000_000


def open_regular(path: StrPath, flags: int) -> int:
    """Open regular files only, as the opener of ``open``: a pipe or a device may block, or never end.

    Parameters
    ----------
    path : path
    flags : int

    Raises
    ------
    OSError
        If it cannot be opened, or is not a regular file.
    """
    directory = open_directories.get(Path(path).parent)
    name = path if directory is None else Path(path).name
    descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0), 0o666, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def open_own(path: StrPath, flags: int) -> int:
    """Open a regular file of a run for writing, as the opener of ``open``; a link could lead out of its directory."""
    return open_regular(path, flags | getattr(os, "O_NOFOLLOW", 0))


def read_bytes(path: StrPath, max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes`.

    Raises
    ------
    OSError
        If it cannot be read, is not a regular file, or is larger.
    """
    with open(path, "rb", opener=open_regular) as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes:,} bytes", str(path))
        return file.read(size)


def read_text(path: StrPath, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a UTF-8 text file of at most `max_bytes`.

    Raises
    ------
    OSError
        As for `read_bytes`.
    UnicodeDecodeError
        If it is not UTF-8.
    """
    return read_bytes(path, max_bytes).decode("utf-8")


def parse_json(text: str, max_containers: int = 100, max_values: int = 1000) -> Any:
    """``json.loads`` for untrusted text.

    Parameters
    ----------
    text : str
    max_containers : int
        The maximum number of objects and lists, a bound on recursion depth and memory.
    max_values : int
        The maximum number of commas, a bound on memory.

    Raises
    ------
    ValueError
    """
    if text.count("{") + text.count("[") > max_containers:
        raise ValueError(f"it contains more than {max_containers:,} objects and lists")
    if text.count(",") > max_values:
        raise ValueError(f"it contains more than {max_values:,} values")
    return json.loads(text)


def atomic_write(path: Path, contents: bytes | str) -> None:
    """Write a file atomically: a kill at any moment leaves either the old file or the new one.

    The contents are written to a temporary file in the same directory, under an unpredictable name, and flushed to
    disk before it is renamed. If `path` is a symbolic link, the link is replaced and its target left alone.

    Parameters
    ----------
    path : Path
    contents : bytes or str
        A str is written as UTF-8.

    Raises
    ------
    UserError
        If the disk is full or the directory cannot be written; the old file is then left intact.
    """
    contents = contents.encode() if isinstance(contents, str) else contents
    directory = open_directories.get(path.parent)
    name = path if directory is None else Path(path.name)
    unfinished = name.with_name(f"{name.name}.{secrets.token_hex(8)}.unfinished")
    try:
        new = os.open(
            unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666, dir_fd=directory
        )
        try:
            with open(new, "wb") as file:
                file.write(contents)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished, dir_fd=directory)
            raise
        if directory is None:
            fsync_directory(path.parent)
        else:
            os.fsync(directory)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; free some space or choose another directory") from None


def finished_name(name: str) -> str | None:
    """The file that a killed `atomic_write` was writing, if this is the name of the temporary file it has left.

    Examples
    --------
    >>> finished_name("curve.png.0123456789abcdef.unfinished")
    'curve.png'
    """
    match = re.fullmatch(r"(.+)\.[0-9a-f]{16}\.unfinished", name)
    return match and match[1]


def names_in(directory: Path) -> list[str]:
    """The names in a directory; in the one that is held open, wherever its path leads by now."""
    try:
        return os.listdir(open_directories.get(directory, directory))
    except OSError:
        return []


def remove(path: Path) -> None:
    """Remove a file, from the directory that is held open; nothing happens if that is impossible."""
    directory = open_directories.get(path.parent)
    with suppress(OSError):
        os.unlink(path if directory is None else path.name, dir_fd=directory)


def fsync_directory(directory: Path) -> None:
    """Flush the names in a directory to disk: otherwise a power failure can undo a rename."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
