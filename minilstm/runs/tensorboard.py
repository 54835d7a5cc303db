"""A run's log for TensorBoard, in RUN/tensorboard: the numbers of metrics.csv as scalars, and histograms.

Each session of a run, from its start or a resume to its end, has a file, events.out.tfevents.<number>.minilstm.
TensorBoard reads the files in the order of their names. A file is a sequence of records, each with an `Event`:

    length of the event, 8 bytes    checksum of the length, 4 bytes    event    checksum of the event, 4 bytes

A kill may leave points of steps after the checkpoint, which the resumed run writes again. Its file therefore begins
with a mark, `SessionLog.START`, at which TensorBoard drops all earlier points from the checkpoint's step on
(tensorboardX calls this purge_step).

Only the messages and the checksum are tensorboardX's. Its own writer opens files by their path, which may lead through
links, and writes in a thread: once that has failed, because the disk is full, training would wait for it forever.
"""

import math
import os
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from minilstm.errors import UserError, first_line, one_line
from minilstm.events import Report
from minilstm.files import names_in, open_directories, open_own, remove
from minilstm.runs.directory import read_metrics
from minilstm.runs.histograms import Window, arrays_of, count_values, first_window
from minilstm.step import TrainState
from minilstm.text.corpus import Corpus

FOLDER = "tensorboard"
EVENT_FILE = re.compile(r"events\.out\.tfevents\.(\d{10})\.minilstm", re.ASCII)


def require_tensorboard_x() -> None:
    """Raise a UserError if tensorboardX cannot be imported."""
    try:
        import_module("tensorboardX")
    except Exception as error:  # it is missing, or does not fit the protobuf that is installed
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"fails ({first_line(error)})"
        raise UserError(
            f'--tensorboard: tensorboardX {why}: pip install "minilstm[tensorboard]", '
            'or, in a copy of the repository, pip install -e ".[tensorboard]"'
        ) from None


@contextmanager
def tensorboard_log(run: Path, state: TrainState, corpus: Corpus) -> Iterator[Callable[[Report], None]]:
    """Open the log of a session, which starts at `state`.

    A run that has no log yet gets all rows of its metrics.csv.

    Parameters
    ----------
    run : Path
        The run's directory, which this process has locked.
    state : TrainState
        The one that training updates in place.
    corpus : Corpus

    Yields
    ------
    function
        To be called with each `Report`. If one cannot be written, it prints a line on standard error and does nothing
        from then on: a run does not end because its log fails.

    Raises
    ------
    UserError
        If the log cannot be started, or RUN/tensorboard contains other files.
    """
    window, start_step, failed = first_window(state, corpus), state.progress.step, False
    file, earlier = open_event_file(run)

    def log(report: Report) -> None:
        nonlocal failed
        if failed:
            return
        try:
            write_report(file, report, state, window)
        except (OSError, MemoryError) as error:
            failed = True
            why = error.strerror if isinstance(error, OSError) else f"out of memory ({error})"
            line = one_line(f"minilstm: cannot write {file.name}: {why}; training goes on without this log")
            with suppress(OSError):  # standard error is closed
                print(line, file=sys.stderr)

    try:
        write_start(file, start_step)
        for row in read_metrics(run):
            if row["step"] >= start_step or not earlier:
                log(Report(**row))
        yield log
    finally:
        with suppress(OSError):  # the rest of a report that could not be written
            file.close()


def open_event_file(run: Path) -> tuple[BinaryIO, bool]:
    """Create the next file of the log, and the log if there is none; returns whether there are earlier files."""
    parent = open_directories.get(run)
    try:
        require_log(run)
        with suppress(FileExistsError):
            os.mkdir(run / FOLDER if parent is None else FOLDER, dir_fd=parent)
        with opened_log(run) as directory:
            numbers = [int(match[1]) for name in names_in(directory) if (match := EVENT_FILE.fullmatch(name))]
            name = f"events.out.tfevents.{max(numbers, default=0) + 1:010d}.minilstm"
            return open(directory / name, "xb", opener=open_own), bool(numbers)
    except OSError as error:
        raise UserError(
            f"cannot write to {run / FOLDER}: {error.strerror}; mend that, or omit --tensorboard, then --resume"
        ) from None


@contextmanager
def opened_log(run: Path) -> Iterator[Path]:
    """Hold RUN/tensorboard open, as `lock.opened` holds the run's directory, but not through a link."""
    directory, parent = run / FOLDER, open_directories.get(run)
    if parent is None:  # Windows
        yield directory
        return
    open_directories[directory] = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield directory
    finally:
        os.close(open_directories.pop(directory))


def require_log(run: Path) -> None:
    """Raise a UserError if something in a run's directory is called `tensorboard`, but is not the log of a run."""
    directory = run / FOLDER
    if not os.path.lexists(directory):
        return
    cure = "move it away, or choose another --out"
    if directory.is_symlink() or not directory.is_dir():
        raise UserError(f"{directory} is not a directory, so not the log of a run; {cure}")
    for path in directory.iterdir():
        if not EVENT_FILE.fullmatch(path.name) or path.is_dir():
            raise UserError(f"{directory} contains {path.name}, which is not part of a run's log; {cure}")


def remove_log(run: Path) -> None:
    """Remove the log in the directory of a run, which this process has locked, if there is one."""
    if not os.path.lexists(run / FOLDER):
        return
    require_log(run)
    with opened_log(run) as directory:
        for name in names_in(directory):
            if EVENT_FILE.fullmatch(name):
                remove(directory / name)
    parent = open_directories.get(run)
    os.rmdir(run / FOLDER if parent is None else FOLDER, dir_fd=parent)


def write_start(file: BinaryIO, step: int) -> None:
    """Write the first two records of a file, its version and the mark at which points from `step` on are dropped."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    write_record(file, Event(wall_time=time.time(), file_version="brain.Event:2"))
    write_record(file, Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START)))


def write_report(file: BinaryIO, report: Report, state: TrainState, window: Window) -> None:
    """Write a report's scalars and, for a train row of the present step, the histograms."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import HistogramProto, Summary

    summary = Summary()
    for tag, value in scalars(report).items():
        summary.value.add(tag=tag, simple_value=value)
    if report.split == "train" and report.step == state.progress.step:
        for tag, values in arrays_of(state, window):
            if histogram := count_values(values):
                summary.value.add(tag=tag, histo=HistogramProto(**histogram))
    write_record(file, Event(wall_time=time.time(), step=report.step, summary=summary))
    file.flush()


def write_record(file: BinaryIO, event: Any) -> None:
    """Write an event with its length and checksums."""
    from tensorboardX.record_writer import masked_crc32c

    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    file.write(length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data)))


def scalars(report: Report) -> dict[str, float]:
    """The numbers of a report by tag; TensorBoard makes a group of the tags with the same beginning.

    Examples
    --------
    >>> scalars(Report(epoch=1, step=99, split="valid", perplexity=1.0, tokens=1980))
    {'perplexity/valid': 1.0, 'loss/valid': 0.0}
    """
    values = {f"perplexity/{report.split}": report.perplexity}
    if report.perplexity > 0:
        values[f"loss/{report.split}"] = math.log(report.perplexity)  # nats per token
    others = {name: getattr(report, name) for name in ("learning_rate", "gradient_norm", "words_per_second")}
    return values | {name: value for name, value in others.items() if value is not None}
