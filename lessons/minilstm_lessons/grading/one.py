"""Grades one submission: ``python -m minilstm_lessons.grading.one``, the order on standard input, results as lines.

The judge runs here. A student's function runs in a process of its own for each exercise: here stands, in its place, an
object that sends the arguments there and returns what comes back. So a student's code never meets the expected
results, the solutions or the judge, and the verdict is not its to give.
"""

import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import minilstm
import minilstm_lessons
from minilstm.config import Config
from minilstm.errors import UserError, one_line
from minilstm_lessons import EXERCISES
from minilstm_lessons.grading.extract import NO_IMPORT, NoAnswerError, allowed_names, find_answer, parse_cells
from minilstm_lessons.grading.messages import BrokenError, decode, encode, receive, send
from minilstm_lessons.grading.submissions import MAX_FILES, read_cells
from minilstm_lessons.judge import judge, names_float32
from minilstm_lessons.on_device import OnDevice
from minilstm_lessons.source import Source

WORKER = Path(__file__).with_name("worker.py")
FOLDERS = [str(Path(package.__file__).parent) for package in (minilstm, minilstm_lessons)]
STARTING = 60  # seconds for a process to start, which are not the answer's
ROUNDS = 10  # random draws; `check` takes fewer
MAX_WORDS = 400  # of a remark on one exercise
MAX_PRINTED = 1000
SIGNALS = {signal.SIGSEGV: "a segmentation fault", signal.SIGABRT: "an abort", signal.SIGKILL: "it was killed",
           signal.SIGXCPU: "its time was over", signal.SIGBUS: "a bus error"}  # fmt: skip


class Ended(KeyboardInterrupt):
    """The answer cannot be judged further. It is a Ctrl-C because the judge catches everything else."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status, self.words = status, words


class Limits(NamedTuple):
    """Of one exercise: seconds on the clock, bytes of address space."""

    seconds: float
    memory: int


@dataclass
class Worker:
    """A process that runs an answer: the descriptors that lead there and back, and the seconds that it has left."""

    process: subprocess.Popen
    requests: int
    replies: int
    left: float
    limits: Limits


@contextmanager
def working(folder, limits):
    """A Worker in an empty folder of its own below `folder`; afterwards both are gone, and every process it started."""
    scratch = Path(tempfile.mkdtemp(dir=folder))
    requests, replies = os.pipe(), os.pipe()
    for descriptor in (requests[0], replies[1]):
        os.set_inheritable(descriptor, True)
    names = ("OPENBLAS", "OMP", "MKL", "BLIS", "VECLIB_MAXIMUM")
    environment = {"PATH": os.defpath, "HOME": str(scratch), "TMPDIR": str(scratch), "LANG": "C.UTF-8"}
    environment |= {"MPLBACKEND": "Agg"} | {f"{name}_{'' if '_' in name else 'NUM_'}THREADS": "1" for name in names}
    with open(f"{scratch}.printed", "wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-I", "-B", "-u", str(WORKER), str(requests[0]), str(replies[1])], cwd=scratch,
            env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, start_new_session=True,
            pass_fds=(requests[0], replies[1]),
        )  # fmt: skip
    os.close(requests[0])
    os.close(replies[1])
    try:
        yield Worker(process, requests[1], replies[0], STARTING, limits), scratch
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
        os.close(requests[1])
        os.close(replies[0])
        remove(scratch)
        remove(Path(f"{scratch}.printed"))


def remove(path):
    """Remove a file or a folder, whatever permissions its contents have been given."""
    if path.is_dir():
        for folder, folders, _ in os.walk(path):
            for name in (folder, *(os.path.join(folder, name) for name in folders)):
                with suppress(OSError):
                    os.chmod(name, 0o700, follow_symlinks=False)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def ask(worker, message, numbers, functions):
    """Send a request and return the reply; calls of `functions` on the way are answered.

    Raises
    ------
    Ended
        If there is no reply.
    """
    try:
        send(worker.requests, message, numbers)
        while True:
            start = time.monotonic()
            reply, rest = receive(worker.replies, start + worker.left)
            worker.left -= time.monotonic() - start  # the judge's own time is not the answer's
            if "call" not in reply:
                return reply, rest
            send(worker.requests, *answered(reply, rest, functions))
    except TimeoutError:
        raise Ended("time", f"not finished within {worker.limits.seconds:g} seconds") from None
    except (BrokenError, OSError) as error:
        raise Ended("crashed", how_it_ended(worker, error)) from None


def answered(call, rest, functions):
    """The answer to a call of one of the exercise's own functions, such as a loss or an LSTM step."""
    numbers = []
    try:
        arguments = decode(call["arguments"], [rest])
        with np.errstate(all="ignore"):
            value = functions[call["call"]](*arguments)
        return {"value": encode(value, numbers)}, numbers
    except Exception as error:
        return {"error": one_line(f"{type(error).__name__}: {error}", 200)}, []


def how_it_ended(worker, error):
    """In words, what has become of a process that does not answer any more."""
    try:
        code = worker.process.wait(1)
    except subprocess.TimeoutExpired:
        return f"sent something else than results ({error})"
    if code < 0:
        words = SIGNALS.get(-code, f"signal {-code}")
        return f"its process ended by {words}" if "it " not in words else f"its process ended: {words}"
    memory = f"; it may use {worker.limits.memory / 2**20:,.0f} MB" if code == 1 else ""
    return f"its process ended with status {code}{memory}"


def call(worker, parameters, *arguments):
    """Stands for the student's function: the same arguments, and the results from its process."""
    functions = dict(zip(parameters, arguments, strict=True))

    def special(value, numbers):
        if type(value) is OnDevice:
            return {"is": "device", "array": encode(value._array, numbers)}
        if isinstance(value, Config):
            return {"is": "config", "fields": asdict(value)}
        if callable(value):
            return {"is": "function", "name": next(n for n in parameters if functions[n] is value)}
        return None

    numbers = []
    reply, rest = ask(worker, {"arguments": encode(list(arguments), numbers, special)}, numbers, functions)
    if reply.get("touched"):
        raise Ended("imported", f"{NO_IMPORT}: it asked for minilstm while it ran")
    if isinstance(reply.get("error"), dict):
        raise Ended(*described(reply["error"], bool(reply.get("before"))))
    for number in reply.get("changed") or ():
        if number in range(len(arguments)):
            spoil(arguments[number])
    try:
        return decode(reply.get("value"), [rest], lambda node, inner: on_device(node, inner))
    except BrokenError as error:
        raise Ended("crashed", f"sent something else than results ({error})") from None


def on_device(node, inner):
    if node["is"] != "device":
        raise ValueError(node["is"])
    return OnDevice(np.asarray(inner(node["array"])))


def described(error, before):
    """Status and words of an exception in the student's process."""
    kind, words, where = (one_line(str(error.get(key, "")), 300) for key in ("type", "words", "where"))
    if kind == "NotImplementedError":
        return "not written", "not written yet"
    text = f"stopped with {kind}" + (f" in {where}" if where else "") + (f": {words}" if words else "")
    return "stopped", "its file " + text + ", before the function was called" if before else text


def spoil(value):
    """Change an argument as its copy has been changed in the student's process, so that the judge sees that it was."""
    if isinstance(value, OnDevice):
        value = value._array
    if isinstance(value, np.ndarray):
        value[...] = ~value if value.dtype == bool else np.where(np.isfinite(value), value + 1, 0)
    elif isinstance(value, dict | list):
        value.clear()


def grade_exercise(exercise, files, order, folder):
    """Status, words and what was printed, for one exercise of a submission."""
    name, limits = exercise.name, Limits(order["seconds"], order["memory"])
    answer = find_answer(name, files, allowed_names(exercise))
    marked = names_float32(Source(answer.statements, [], [], answer.statements, {}))
    parameters = [*inspect.signature(exercise.solution).parameters]
    with working(folder, limits) as (worker, scratch):
        first = {
            "path": [path for path in sys.path if path], "folders": FOLDERS, "names": answer.names, "name": name,
            "cells": [cell._asdict() for cell in answer.cells], "keep": answer.keep, "seconds": limits.seconds,
            "memory": limits.memory, "config": "config" in parameters, "on_device": True,
        }  # fmt: skip
        try:
            ask(worker, first, (), {})
            worker.left = limits.seconds
            verdict = judge(partial(call, worker, parameters), exercise, ROUNDS, order["seed"], marked)
            status, words = verdict.status, verdict.text
            if status == "not written":
                words = f"{name} returned nothing: not written yet, or without its return"
        except Ended as end:
            status, words = end.status, f"{name}: {end.words}"
        except OSError as error:
            status, words = "crashed", f"{name}: {how_it_ended(worker, error)}"
        printed = ""
        with suppress(OSError), open(f"{scratch}.printed", "rb") as file:
            printed = file.read(MAX_PRINTED).decode(errors="replace")
    if answer.remark:
        words = f"{words} ({answer.remark})"
    return status, words, printed


def grade(order, folder):
    """Grade the exercises of an order one by one and yield the results, dicts."""
    files, unreadable = [], []
    if len(order["files"]) > MAX_FILES:
        unreadable.append(f"more than {MAX_FILES} files, of which none was read")
    else:
        for path in order["files"]:
            try:
                files.append(parse_cells(read_cells(Path(path))))
            except UserError as error:
                unreadable.append(str(error))
    for name in order["exercises"]:
        start, printed = time.monotonic(), ""
        try:
            status, words, printed = grade_exercise(EXERCISES[name], files, order, folder)
        except NoAnswerError as error:
            status, words = error.status, f"{name}: {error}"
            if status == "missing" and unreadable:
                words = f"{name}: {'; '.join(unreadable)}"
        except Exception as error:  # whatever the answer did to the grader, the next one is graded
            status, words = "not graded", f"{name}: not graded: {type(error).__name__}: {error}"
        yield {"name": name, "status": status, "words": one_line(words, MAX_WORDS), "printed": printed,
               "seconds": round(time.monotonic() - start, 2)}  # fmt: skip


def leave(number, frame):
    raise SystemExit(1)


def main():
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    order = json.load(sys.stdin)
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the judge prints is no result
    for result in grade(order, order["folder"]):
        print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    main()
