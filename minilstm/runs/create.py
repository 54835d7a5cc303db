"""Creating the directory of a run: in an empty directory, or with ``--overwrite`` in that of an earlier run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path

from minilstm.errors import UserError
from minilstm.files import MAX_JSON_BYTES, StrPath, finished_name, names_in, parse_json, read_text, remove
from minilstm.runs.directory import CHECKPOINT, is_empty, is_run_file, read_config, read_description
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
                remove(run / name)
            if left := files_of_run(run):
                raise UserError(f"cannot remove {run / left[0]}; choose another --out")
        except OSError as error:
            raise UserError(f"cannot write to {run}: {error.strerror}; choose another --out") from None
        yield run


def files_of_run(run: Path) -> list[str]:
    """The names of a run's files that are in its directory, except for the lock."""
    return [name for name in names_in(run) if is_run_file(name)]


def removal_order(name: str) -> int:
    """The place of a file in the removal of a run: without config.json, the directory is no longer a run's."""
    return 0 if name == CHECKPOINT else 2 if name == "config.json" else 1


def remove_unfinished(run: Path) -> None:
    """Remove what killed writes have left in a run's directory."""
    for name in files_of_run(run):
        if finished_name(name):
            remove(run / name)


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
    if "config.json" in names and is_run(run):
        if not overwrite:
            raise UserError(f"{run} already contains a run; use --resume to continue it, --overwrite, or another --out")
        if directories := [name for name in files_of_run(run) if (run / name).is_dir()]:
            raise UserError(f"{run / directories[0]} is a directory, not a file of the run; choose another --out")
        require_log(run)
    elif names - {"lock"} and not (is_marked(run) and were_left(run, names)):
        raise UserError(f"{run} contains other files, not a run; choose another --out")


def were_left(run: Path, names: set[str]) -> bool:
    """Whether a run that was killed at its start left these files: first an empty metrics.csv, then vocab.txt."""
    names = {name for name in names if not (is_run_file(name) and finished_name(name))} - {"lock"}
    return (
        names <= {"metrics.csv", "vocab.txt"}
        and ("metrics.csv" not in names or is_empty(run / "metrics.csv"))
        and ("vocab.txt" not in names or "metrics.csv" in names)
    )


def is_run(run: Path) -> bool:
    """Whether the config.json in a directory is one of ours, or was before it was damaged."""
    path = run / "config.json"
    if path.is_symlink():
        return False
    try:
        read_config(read_description(run), run)
    except UserError:
        return is_marked(run) and not is_json(path)
    return True


def is_json(path: Path) -> bool:
    """Whether a file is whole: JSON, of ours or of another program."""
    try:
        return isinstance(parse_json(read_text(path, MAX_JSON_BYTES)), dict)
    except (OSError, ValueError):
        return False
