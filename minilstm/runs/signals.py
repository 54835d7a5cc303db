"""Stop requests: on Ctrl-C or a closed output, training finishes its step, saves, and says how to continue."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals() -> Iterator[list[object]]:
    """Yield a list that becomes non-empty on Ctrl-C, a hang-up or a termination; a second Ctrl-C interrupts.

    Signals already ignored (nohup) stay ignored.

    Raises
    ------
    OSError
        On exit, if `print_or_stop` caught one inside.
    """
    received: list[object] = []

    def receive(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:  # not SIGHUP: a closing terminal may send it twice
            raise KeyboardInterrupt
        received.append(number)

    earlier = {}
    if threading.current_thread() is threading.main_thread():  # Python allows handlers only there
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number and signal.getsignal(number) != signal.SIG_IGN:
                earlier[number] = signal.signal(number, receive)
    try:
        yield received
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    for error in received:
        if isinstance(error, OSError):
            raise error


def print_or_stop(line: str, stop_requested: list[object]) -> None:
    """Print a line; if the output is closed or full (head, a closed terminal, a full disk), request a stop.

    Parameters
    ----------
    line : str
    stop_requested : list
        From `stop_signals`; receives the error.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        discard_output()
        stop_requested.append(error)


def discard_output() -> None:
    """Redirect standard output to the null device, so that pending output cannot fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
