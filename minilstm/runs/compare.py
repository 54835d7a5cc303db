"""Runs as a table: the hyperparameters in which they differ, and their results."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from minilstm.config import Config
from minilstm.errors import UserError, escape_control_chars
from minilstm.evaluate import format_perplexity
from minilstm.files import StrPath
from minilstm.runs.curves import distinguishing_names
from minilstm.runs.directory import CHECKPOINT, read_config, read_description, read_metrics
from minilstm.runs.session import load_own_checkpoint
from minilstm.text.corpus import SPLITS

PERPLEXITIES = "train", "valid", "test", "best valid", "best test"
RESULTS = "epochs", "parameters", "seconds", "train", "valid", "test", "best epoch", "best valid", "best test"


class Row(NamedTuple):
    """A run's row: column -> value, or None if it is not known; `unit` is that of its perplexities."""

    unit: str
    cells: dict[str, Any]


def compare_runs(paths: Sequence[StrPath]) -> tuple[list[Row], list[str]]:
    """Read runs and compare them.

    Parameters
    ----------
    paths : list of path
        Directories of runs; one that is there twice is read once.

    Returns
    -------
    rows : list of Row
        In the order of `paths`, all with the same columns.
    notes : list of str
        One line for each thing that the caller may not expect.

    Raises
    ------
    UserError
        If a directory is not that of a run, or one of its files is damaged.
    """
    notes, runs = [], dict[str, Path]()
    for path in map(Path, paths):
        if (real := os.path.realpath(path)) in runs:
            notes.append(f"{path} is given twice; it is shown once")
        runs.setdefault(real, path)
    descriptions = [read_description(run) for run in runs.values()]
    models = [read_model(run, description) for run, description in zip(runs.values(), descriptions, strict=True)]
    results = [read_results(run) for run in runs.values()]
    configs = [config for config, _ in models]
    texts, sources = name_texts(descriptions), name_sources(descriptions)
    columns: dict[str, Sequence[Any]] = {"run": distinguishing_names(list(runs.values()))}
    columns |= {"text": texts} if texts else {}
    columns |= {"init-from": sources} if sources else {}
    for name in [f.name for f in fields(Config)]:
        values = [getattr(config, name) for config in configs]
        if len({*values}) > 1:
            columns[name.replace("_", "-")] = values
    columns |= {column: [result[column] for result in results] for column in RESULTS}
    columns["parameters"] = [parameters for _, parameters in models]

    unfinished = [str(run) for run, result in zip(runs.values(), results, strict=True) if not result["epochs"]]
    if unfinished:
        notes.append(f"without results, because no epoch is finished yet: {', '.join(unfinished)}")
    units = sorted({config.unit for config in configs})
    if len(units) > 1:
        notes.append(f"perplexities per {' and per '.join(units)} cannot be compared")
    elif texts:
        notes.append("perplexities of different texts or vocabularies cannot be compared; see the column text")
    cells = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [Row(config.unit, row) for config, row in zip(configs, cells, strict=True)], notes


def read_model(run: Path, description: dict[str, Any]) -> tuple[Config, int | None]:
    """The Config of a run, and the number of its parameters; None if it has no checkpoint."""
    if not os.path.lexists(run / CHECKPOINT):  # its results alone, or killed before the first one
        return read_config(description, run), None
    state = load_own_checkpoint(run, description, with_moments=False)
    return state.config, sum(param.size for param in state.params.values())


def read_results(run: Path) -> dict[str, int | float | None]:
    """The columns RESULTS of a run that are in its metrics.csv; without a finished epoch only their number, 0."""
    rows, path = read_metrics(run), run / "metrics.csv"
    results: dict[str, int | float | None] = dict.fromkeys(RESULTS) | {"epochs": 0}
    valid = [row for row in rows if row["split"] == "valid"]
    if not valid:
        return results
    train = {row["step"]: row for row in rows if row["split"] == "train"}
    tests = {row["epoch"]: row["perplexity"] for row in rows if row["split"] == "test"}
    if [row["epoch"] for row in valid] != [*range(1, len(valid) + 1)] or any(row["step"] not in train for row in valid):
        raise UserError(f"{path} does not have a train and a valid row for each epoch; restore the complete file")
    last, best = valid[-1], min(valid, key=lambda row: row["perplexity"])  # the first of several
    return results | {
        "epochs": last["epoch"],
        "seconds": training_seconds([train[row["step"]] for row in valid]),
        "train": train[last["step"]]["perplexity"],
        "valid": last["perplexity"],
        "test": tests.get(last["epoch"]),
        "best epoch": best["epoch"],
        "best valid": best["perplexity"],
        "best test": tests.get(best["epoch"]),
    }


def training_seconds(rows: Sequence[dict[str, Any]]) -> float | None:
    """The time behind the last train row of each epoch, whose speed is that since the epoch's start; None if unknown.

    After a resumption within an epoch its speed is that since then, and is taken for that of the whole epoch.
    """
    if not all(row["tokens"] and row["words_per_second"] for row in rows):  # older files lack the tokens
        return None
    seconds = sum(row["tokens"] / row["words_per_second"] for row in rows)
    return seconds if math.isfinite(seconds) else None


def name_texts(descriptions: Sequence[dict[str, Any]]) -> list[str]:
    """A name for the text of each run, as ids of its vocabulary; an empty list if all have the same text."""
    texts = [description["text"] for description in descriptions]  # those of older runs lack splits
    differing = [split for split in SPLITS if len({str(text[split]) for text in texts if split in text}) > 1]
    paths = [description["data"] for description in descriptions]
    marks = [" ".join(str(text.get(split, "unknown"))[:8] for split in differing) for text in texts]
    return name_files(paths, marks, {None: "toy (embedded)", "-": "standard input"}) if differing else []


def name_sources(descriptions: Sequence[dict[str, Any]]) -> list[str]:
    """A name for the weights that each run was started from; an empty list if they are the same."""
    sources = [description["init_from"] or {"path": None, "sha256": ""} for description in descriptions]
    marks = [source["sha256"][:8] for source in sources]
    return name_files([source["path"] for source in sources], marks, {None: ""}) if len({*marks}) > 1 else []


def name_files(paths: Sequence[str | None], marks: Sequence[str], special: Mapping[str | None, str]) -> list[str]:
    """Names of files by their paths, with their marks, the digits of their contents, unless each has its own name."""
    ordinary = [path for path in dict.fromkeys(paths) if path is not None and path not in special]
    names = dict(special) | dict(zip(ordinary, distinguishing_names([Path(path) for path in ordinary]), strict=True))
    pairs = {*zip(paths, marks, strict=True)}
    if len(pairs) == len({*paths}) == len({*marks}):
        return [names[path] for path in paths]
    return [f"{names[path]} {mark}".strip() for path, mark in zip(paths, marks, strict=True)]


def to_markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown, with columns that are aligned in a terminal too: text left, numbers right."""
    lines = []
    for column in rows[0].cells:
        values = [row.cells[column] for row in rows]
        cells = ["time" if column == "seconds" else column]
        cells += [markdown_cell(column, row.cells[column], row.unit) for row in rows]
        width, left = max(3, *map(len, cells)), any(isinstance(value, str) for value in values)
        rule = "-" * width if left else "-" * (width - 1) + ":"
        lines.append([cell.ljust(width) if left else cell.rjust(width) for cell in [cells[0], rule, *cells[1:]]])
    return "".join(f"| {' | '.join(line)} |\n" for line in zip(*lines, strict=True))


def markdown_cell(column: str, value: Any, unit: str) -> str:
    """A cell's text."""
    if value is None:
        return ""
    if column in PERPLEXITIES:
        return format_perplexity(value, unit).replace(" per character", "")
    if column == "seconds":
        return format_seconds(value)
    if column == "parameters":
        return f"{value:,}"
    return plain_cell(value).replace("|", r"\|")


def plain_cell(value: Any) -> str:
    """A value as it is given to a flag; names are safe to print.

    Examples
    --------
    >>> [plain_cell(value) for value in (5.0, 0.65, True, "sgd", None)]
    ['5', '0.65', 'true', 'sgd', '']
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else escape_control_chars(str(value))


def format_seconds(seconds: float) -> str:
    """A time with three digits, or whole hours.

    Examples
    --------
    >>> [format_seconds(seconds) for seconds in (0.0512, 47.13, 2592, 25600, 3.6e6)]
    ['0.0512 s', '47.1 s', '43.2 min', '7.11 h', '1000 h']
    """
    unit, size = ("h", 3600) if seconds >= 5400 else ("min", 60) if seconds >= 90 else ("s", 1)
    number = seconds / size
    return f"{number:.0f} {unit}" if number >= 99.95 else f"{number:#.3g} {unit}"


def to_csv(rows: Sequence[Row]) -> str:
    """The table in CSV, with all digits that are known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0].cells)
    writer.writerows([plain_cell(value) for value in row.cells.values()] for row in rows)
    return text.getvalue()
