"""Creating the directory of a run: in an empty directory, or with ``--overwrite`` in that of an earlier run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from minilstm.errors import UserError
from minilstm.files import StrPath, finished_name
from minilstm.runs.directory import CHECKPOINT, REMAINS, is_run_file, read_description
from minilstm.runs.lock import is_marked, locked, mark
from minilstm.runs.tensorboard import remove_log, require_log


@contextmanager
def create_run(out: StrPath | None, model: str, overwrite: bool = False) -> Iterator[Path]:
    """Create the directory of a new run and lock it inside the context.

    Parameters
    ----------
    out : path or None
        None is a new directory, ``runs/<model>-<time>``.
    model : str
        Name of the preset.
    overwrite : bool
        Whether the files of an earlier run in `out` may be removed; other files are never touched.

    Yields
    ------
    Path

    Raises
    ------
    UserError
        If `out` is not empty, is in use by another process, or cannot be written.
    """
    try:
        run = fresh_directory(model) if out is None else Path(out)
        require_room(run, overwrite)
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {error.filename}: {error.strerror}; choose another --out") from None
    with locked(run):
        require_room(run, overwrite)  # again: another process may have been faster
        try:
            mark(run)
            remove_log(run)
            for name in sorted(files_of_run(run), key=removal_order):
                (run / name).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {run}: {error.strerror}; choose another --out") from None
        yield run


def files_of_run(run: Path) -> list[str]:
    """The names of a run's files that are in its directory, except for the lock."""
    return [path.name for path in run.iterdir() if is_run_file(path.name)] if run.exists() else []


def removal_order(name: str) -> int:
    """The place of a file in the removal of a run, after which the run can be started again even if it was killed."""
    return 0 if name == CHECKPOINT else 3 if name in REMAINS else 2 if name == "config.json" else 1


def remove_unfinished(run: Path) -> None:
    """Remove what killed writes have left in a run's directory."""
    with suppress(OSError):
        for name in files_of_run(run):
            if finished_name(name):
                (run / name).unlink()


def fresh_directory(model: str) -> Path:
    """Create ``runs/<model>-<time>``, with a number appended if that exists."""
    stem = f"{model}-{datetime.now():%Y%m%d-%H%M%S}"
    os.makedirs("runs", exist_ok=True)
    for n in count(1):
        try:
            run = Path("runs", stem if n == 1 else f"{stem}-{n}")
            run.mkdir()
            return run
        except FileExistsError:
            continue
    raise AssertionError("unreachable: the count has no end")


def require_room(run: Path, overwrite: bool) -> None:
    """Refuse a directory with other contents than an overwritable run or the remains of one killed at its start."""
    names = {path.name for path in run.iterdir()} if run.exists() else set()
    if "config.json" in names and (is_run(run) or is_marked(run)):
        if not overwrite:
            raise UserError(f"{run} already contains a run; use --resume to continue it, --overwrite, or another --out")
        if directories := [name for name in files_of_run(run) if (run / name).is_dir()]:
            raise UserError(f"{run / directories[0]} is a directory, not a file of the run; choose another --out")
        require_log(run)
    elif names - {"lock"} and not (is_marked(run) and all(map(may_remain, names))):
        raise UserError(f"{run} contains other files, not a run; choose another --out")


def may_remain(name: str) -> bool:
    """Whether a run that was killed in its first or last moments can have left this file without config.json."""
    return name in ("lock", *REMAINS) or (is_run_file(name) and finished_name(name) is not None)


def is_run(run: Path) -> bool:
    """Whether the config.json in a directory is one of ours."""
    try:
        return bool(read_description(run))
    except UserError:
        return False
