"""Ctrl-C as a wish: the training loop finishes its step, saves, and says how to go on."""

import signal
import threading
from contextlib import contextmanager


@contextmanager
def stop_signals():
    """Inside, Ctrl-C (and a terminal or scheduler that ends us) fills the list this yields; a second one interrupts."""
    received = []

    def receive(number, _):
        if received:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    earlier = [signal.signal(number, receive) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, earlier, strict=True):
            signal.signal(number, handler)
