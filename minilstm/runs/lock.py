"""The lock of a run's directory: one process at a time."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minilstm.errors import UserError
from minilstm.files import open_regular

try:
    import fcntl
except ImportError:  # Windows, where runs are not locked
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of the directory `run`, so that no other process trains in it.

    It is an advisory lock of the operating system on the empty file `lock`, released when the process ends for any
    reason; the file remains. On a file system without locks, a warning is printed on standard error.

    Raises
    ------
    UserError
        If another process holds the lock, or the directory cannot be written.
    """

    def open_no_follow(path: str, flags: int) -> int:
        return open_regular(path, flags | getattr(os, "O_NOFOLLOW", 0))  # a link could create a file elsewhere

    try:
        file = open(run / "lock", "ab", opener=open_no_follow)  # noqa: SIM115, closed below
    except OSError as error:
        raise UserError(f"cannot write {run / 'lock'}: {error.strerror}; choose another directory") from None
    with file:
        try:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{run} is being trained by another process; wait for it to end, or choose another directory"
            ) from None
        except OSError as error:
            print(
                f"minilstm: {run} cannot be locked ({error.strerror}): do not start a second run there", file=sys.stderr
            )
        yield
