"""Ctrl-C as a wish: the training loop finishes its step, saves, and says how to go on. So is a reader that left."""

import os
import signal
import sys
import threading
from contextlib import contextmanager


@contextmanager
def stop_signals():
    """Inside, Ctrl-C (and a terminal or scheduler that ends us) fills the list this yields; a second Ctrl-C interrupts.

    Signals that whoever started us has us ignore, as nohup does, stay ignored.

    Raises
    ------
    OSError
        On leaving, if `say` met one inside.
    """
    received = []

    def receive(number, _):
        if received and number == signal.SIGINT:  # a closing terminal may send its SIGHUP twice
            raise KeyboardInterrupt
        received.append(number)

    earlier = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere Python sets no handlers
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


def say(line, stopped):
    """Print a line. If nobody can read it any more (head, a closed terminal, a full disk) ask to stop, as Ctrl-C does.

    Parameters
    ----------
    line : str
    stopped : list
        From `stop_signals`; receives the error.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        silence()
        stopped.append(error)


def silence():
    """Send what is still to be printed nowhere, so that it cannot fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
