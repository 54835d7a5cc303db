"""Files: read within bounds, written in one piece, and a directory for one process at a time."""

import errno
import json
import os
import stat
import sys
from contextlib import contextmanager, suppress

from minilstm.errors import UserError

try:
    import fcntl
except ImportError:  # Windows: there nothing keeps two runs apart
    fcntl = None

MAX_TEXT_BYTES = 100_000_000  # bytes of a config.json, vocab.txt or metrics.csv: far more than any run writes


def open_regular(path, flags):
    """An opener for ``open``: only a regular file; a pipe or a device may have no end, or nobody at the other side.

    Raises
    ------
    OSError
    """
    number = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return number


def read_bytes(path, most):
    """The contents of a regular file of at most `most` bytes.

    Raises
    ------
    OSError
        If it cannot be read, is something else, or larger.
    """
    with open(path, "rb", opener=open_regular) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
        return file.read(size)


def read_text(path):
    """The contents of a text file of a run.

    Raises
    ------
    OSError
        As `read_bytes`.
    UnicodeDecodeError
        If it is not UTF-8.
    """
    return read_bytes(path, MAX_TEXT_BYTES).decode("utf-8")


def parse_json(text, most=100):
    """``json.loads`` for a text nobody vouches for.

    Parameters
    ----------
    text : str
    most : int
        Objects and lists it may hold, so that neither the stack nor the memory runs out.

    Raises
    ------
    ValueError
    """
    if text.count("{") + text.count("[") > most:
        raise ValueError("it holds more objects and lists than any file of ours")
    return json.loads(text)


def atomic_write(path, contents):
    """Write a file so that a kill at any moment leaves the old file or the new one, never half of one.

    The contents go beside the file, are flushed to the disk, and take its name only then. A link in the file's place
    is replaced; what it points to is not touched.

    Parameters
    ----------
    path : Path
    contents : bytes or str
        A str is written as UTF-8.

    Raises
    ------
    UserError
        If the disk is full or the directory cannot be written; the old file is still there then.
    """
    contents = contents.encode() if isinstance(contents, str) else contents
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.unlink(missing_ok=True)  # a killed run's; and "x" below follows no link
        with open(unfinished, "xb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        flush_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}; make room or choose another place") from None


def flush_directory(directory):
    """Have the disk know a directory's new names: without this a power failure can bring the old ones back."""
    if os.name == "posix":
        number = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def locked(run):
    """Inside, no other process can train in the directory `run`.

    The lock is the kernel's, on the file `lock`: it ends with the process, however that ends. The file stays, empty.
    Where a file system has no locks, that is said on standard error.

    Raises
    ------
    UserError
        If another process trains there, or the directory cannot be written.
    """

    def own(path, flags):
        return open_regular(path, flags | getattr(os, "O_NOFOLLOW", 0))  # a link would have us make a file elsewhere

    try:
        file = open(run / "lock", "ab", opener=own)  # noqa: SIM115, closed below
    except OSError as error:
        raise UserError(f"cannot write {run / 'lock'}: {error.strerror}; choose another --out") from None
    with file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{run} is being trained by another process; let it end, or choose another --out") from None
        except OSError as error:
            print(f"minilstm: {run} cannot be locked ({error.strerror}): start no second run there", file=sys.stderr)
        yield
