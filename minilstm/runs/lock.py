"""The lock of a run's directory: one process at a time."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from minilstm.errors import UserError, escape_control_chars
from minilstm.files import open_directories, open_own, read_bytes

try:
    import fcntl
except ImportError:  # Windows, where runs are not locked
    fcntl = None  # type: ignore[assignment]
flock = getattr(fcntl, "flock", None)  # neither are they in a browser: JupyterLite's module fcntl is empty

MARK = b"minilstm\n"  # contents of the file `lock`

held: dict[Path, int] = {}  # directories locked by this process -> descriptor of the lock


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of the directory `run`, so that no other process trains in it.

    It is an advisory lock of the operating system on the file `lock`, released when the process ends for any reason;
    the file remains. On a file system without locks, a warning is printed on standard error.

    Raises
    ------
    UserError
        If another process holds the lock, or the directory cannot be written.
    """
    with ExitStack() as stack:
        try:
            if os.name == "posix":
                stack.enter_context(opened(run))
            file = stack.enter_context(open(run / "lock", "ab", buffering=0, opener=open_own))
        except OSError as error:
            raise UserError(f"cannot write {run / 'lock'}: {error.strerror}; choose another directory") from None
        try:
            if flock:
                flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{run} is being trained by another process; wait for it to end, or choose another directory"
            ) from None
        except OSError as error:
            warning = f"minilstm: {run} cannot be locked ({error.strerror}): do not start a second run there"
            print(escape_control_chars(warning), file=sys.stderr)
        held[run] = file.fileno()
        try:
            yield
        finally:
            del held[run]


@contextmanager
def opened(directory: Path) -> Iterator[None]:
    """Hold a directory open, so that files are written to it wherever its path leads."""
    descriptor = os.open(directory, os.O_RDONLY)
    open_directories[directory] = descriptor
    try:
        yield
    finally:
        del open_directories[directory]
        os.close(descriptor)


def mark(run: Path) -> None:
    """Write into the lock that the directory is a run's."""
    if os.fstat(held[run]).st_size == 0:
        os.write(held[run], MARK)


def is_marked(run: Path) -> bool:
    """Whether a run has begun in this directory."""
    with suppress(OSError):
        return read_bytes(run / "lock", 100) == MARK
    return False


def require_lock(run: Path) -> None:
    """Before a write: check that the directory and its lock are still those that this process has locked.

    Raises
    ------
    UserError
        If the directory was removed, renamed or replaced, or its lock was.
    """
    with suppress(OSError):
        pairs = [(os.stat(run / "lock", follow_symlinks=False), held[run])]
        if run in open_directories:
            pairs.append((os.stat(run), open_directories[run]))
        if all(os.path.samestat(here, os.fstat(descriptor)) for here, descriptor in pairs):
            return
    raise UserError(f"{run} was removed, renamed or replaced while a run was writing there; this run ends")
