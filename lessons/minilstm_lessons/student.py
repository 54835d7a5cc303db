"""Runs a student's code, which may raise anything, return anything and change anything in the process.

This is no sandbox: it keeps accidents from the judge, not intent.
"""

import io
import sys
import time
import traceback
import warnings
from contextvars import ContextVar, copy_context

import numpy as np

from minilstm_lessons.on_device import from_device

MAX_SIZE = 10**6  # elements of a result that are converted; the exercises' own have fewer than a thousand

running = ContextVar("running", default=False)  # whether a student's code runs


def run(function, *arguments):
    """Run a student's code.

    What it sets in the process that a verdict depends on is put back: context variables, of which NumPy's error state
    is one, warning filters, the recursion limit, trace and profile functions, the standard streams.

    Returns
    -------
    value : object
        What it returned; None if it raised.
    error : BaseException or None
        What it raised. Ctrl-C alone is not caught.
    """
    context = copy_context()
    context.run(running.set, True)
    limit, trace, profile, streams = sys.getrecursionlimit(), sys.gettrace(), sys.getprofile(), (sys.stdout, sys.stderr)
    with warnings.catch_warnings():
        try:
            return context.run(function, *arguments), None
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return None, error
        finally:  # no Python function is called here: its recursion limit or trace function may let none run
            try:
                sys.setprofile(profile)
            except BaseException:  # of its profile function, which saw this call and is gone now that it has raised
                sys.setprofile(profile)
            sys.setrecursionlimit(limit)
            sys.settrace(trace)
            sys.stdout, sys.stderr = streams


def in_time(function, seconds):
    """A student's function that is stopped after some seconds, and prints nothing: to be called by `run`."""

    def limited(*arguments):
        end = time.monotonic() + seconds

        def trace(*_):
            if time.monotonic() > end:
                raise TimeoutError
            return trace

        sys.stdout = io.StringIO()
        sys.settrace(trace)
        return function(*arguments)

    return limited


def message_of(error):
    """An exception's message in one line; nothing if it cannot be told."""
    return run(lambda: " ".join(str(error).split()))[0] or ""


def describe_error(error):
    """An exception raised in `run`.

    Returns
    -------
    text : str
        For example "ValueError in your line 4, `y = x @ W`: its message".
    line : str
        The student's line; "" if its text cannot be found.
    number : int
        Its number; 0 if there is none.
    """
    frames = traceback.extract_tb(error.__traceback__.tb_next, limit=1)  # the first is that of `run`
    line = frames[0].line if frames else ""
    where = f" in your line {frames[0].lineno}, `{line}`" if line else ""
    message = message_of(error)
    return f"{type(error).__name__}{where}{message and ': ' + message}", line, frames[0].lineno if frames else 0


def real_numbers(value):
    """A result as an array of float64 that shares no memory with it.

    An array with more than `MAX_SIZE` elements is returned as it is, because it may take no memory until it is copied.

    Raises
    ------
    TypeError
        If there is anything but real numbers in it: text, dates, complex or masked elements.
    """
    array = np.asarray(from_device(value))
    if array.dtype.kind not in "biufO" or np.ma.is_masked(value):
        raise TypeError
    if array.size > MAX_SIZE:
        return array
    if array.dtype.kind == "O" and any(isinstance(v, str | bytes | complex | np.complexfloating) for v in array.flat):
        raise TypeError
    return array.astype(float)
