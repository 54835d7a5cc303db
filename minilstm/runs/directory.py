"""A run's directory: config.json, machine.json, vocab.txt, metrics.csv, curve.png and checkpoint.safetensors.

checkpoint-best.safetensors is the model of the best epoch, a second file of the model's size: see best.py. Adam's
moments, twice the model's size, are in checkpoint-moments-<step>.safetensors: see moments.py.

metrics.csv has one row per report: train, ten times per epoch and at its end; valid, after each epoch; test, at the
end, of the best epoch and of the last. A train row has the perplexity of the epoch so far and the median gradient norm,
before clipping, since the previous row. `tokens` is the number of predicted words behind the perplexity.

machine.json describes the machine that started or last resumed the run; the next resume compares it. The file `lock`
marks the directory as that of a run: see lock.py.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.events import Report
from minilstm.files import (
    MAX_JSON_BYTES,
    StrPath,
    atomic_write,
    finished_name,
    open_own,
    parse_json,
    read_text,
)
from minilstm.runs.moments import is_moments_file
from minilstm.text.corpus import SPLITS, Corpus, fingerprints_of_text

COLUMNS = "epoch", "step", "split", "perplexity", "learning_rate", "words_per_second", "gradient_norm", "tokens"
LATER_COLUMNS = ("tokens",)  # older files lack them
HEADING = ",".join(COLUMNS) + "\n"
# entries of config.json besides the Config; text: split -> its fingerprint; init_from: path and sha256, or None
DESCRIPTION = "data", "text", "floor", "init_from"
CHECKPOINT, BEST = "checkpoint.safetensors", "checkpoint-best.safetensors"
FILES = CHECKPOINT, BEST, "config.json", "metrics.csv", "curve.png", "vocab.txt", "machine.json"  # and Adam's moments
LEAST = 0.99  # perplexities are at least 1; a floor may be rounded down


def is_run_file(name: str) -> bool:
    """Whether a file of this name in a run's directory is the run's, complete or not."""
    name = finished_name(name) or name
    return name in FILES or is_moments_file(name)


def describe_run(
    run: Path,
    config: Config,
    data: str | None,
    corpus: Corpus,
    floor: float | None,
    init_from: dict[str, str] | None = None,
) -> None:
    """Write an empty metrics.csv, vocab.txt and config.json, with which the directory becomes that of a run.

    Parameters
    ----------
    run : Path
    config : Config
    data : str or None
        Path of the corpus; None is the embedded toy corpus.
    corpus : Corpus
    floor : float or None
        Perplexity of the true source on the test split, if the corpus has a grammar.
    init_from : dict, optional
        "path" and "sha256" of the file that the weights are from.
    """
    text = fingerprints_of_text(corpus)
    description = dict(zip(DESCRIPTION, (data, text, floor, init_from), strict=True)) | asdict(config)
    atomic_write(run / "metrics.csv", HEADING)
    atomic_write(run / "vocab.txt", "".join(word + "\n" for word in corpus.vocabulary))
    write_description(run, description)


def write_description(run: Path, description: dict[str, Any]) -> None:
    """Write config.json."""
    atomic_write(run / "config.json", json.dumps(description, indent=2) + "\n")


def read_description(run: StrPath) -> dict[str, Any]:
    """config.json as a dict.

    Raises
    ------
    UserError
        If `run` is not the directory of a run, or the file is damaged.
    """
    path = Path(run) / "config.json"
    try:
        description = parse_json(read_text(path, MAX_JSON_BYTES))
        if not isinstance(description, dict) or not set(DESCRIPTION) <= {*description, "init_from"}:
            raise ValueError("it lacks entries of a run's config.json")
        if isinstance(description["text"], str):  # of an older run
            description["text"] = {"train": description["text"]}
        source = description.setdefault("init_from", None)  # older runs lack it
        data, text, floor = description["data"], description["text"], description["floor"]
        valid_text = isinstance(text, dict) and "train" in text
        if not (isinstance(data, str | None) and valid_text and (floor is None or possible(floor, LEAST))):
            raise ValueError("its data, text or floor is not valid")
        if source is not None and not (isinstance(source["path"], str) and isinstance(source["sha256"], str)):
            raise ValueError("its init_from is not valid")
    except OSError as error:
        raise UserError(f"{run} is not the directory of a minilstm run: its config.json: {error.strerror}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged ({error}); restore the original") from None
    return description


def read_config(description: dict[str, Any], run: Path) -> Config:
    """The Config in config.json."""
    try:
        return Config(**{name: value for name, value in description.items() if name not in DESCRIPTION})
    except (TypeError, UserError) as error:
        raise UserError(f"{run / 'config.json'} was not written by this version of minilstm ({error})") from None


def is_empty(path: Path) -> bool:
    """Whether a metrics.csv has no rows."""
    try:
        return read_text(path) == HEADING
    except (OSError, UnicodeDecodeError):
        return False


def read_vocabulary(run: StrPath, num_words: int) -> list[str]:
    """vocab.txt as a list of `num_words` words, the number in the checkpoint."""
    path = Path(run) / "vocab.txt"
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}; restore the original") from None
    if (lines := text.count("\n")) != num_words or not text.endswith("\n"):  # before a list of them takes memory
        raise UserError(f"{path} has {lines:,} whole lines, but the model {num_words:,} words; restore the original")
    return text.split("\n")[:-1]


def append_metrics(run: Path, report: Report) -> None:
    """Append a row to metrics.csv and flush it to disk; None becomes an empty cell.

    Raises
    ------
    UserError
        If the file cannot be written.
    """

    def number(value: float | None, digits: int) -> str:
        return "" if value is None else f"{value:.{digits}g}"

    row = (
        report.epoch, report.step, report.split, number(report.perplexity, 8), number(report.learning_rate, 6),
        number(report.words_per_second, 5), number(report.gradient_norm, 6), report.tokens,
    )  # fmt: skip
    path = run / "metrics.csv"
    try:
        with open(path, "r+", encoding="utf-8", newline="", opener=open_own) as file:  # it must exist
            if os.fstat(file.fileno()).st_nlink > 1:  # it is part of a copy too, as by cp -al: leave that alone
                atomic_write(path, file.read() + ",".join(map(str, row)) + "\n")
                return
            file.seek(0, os.SEEK_END)
            file.write(",".join(map(str, row)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; mend that, then --resume") from None


def rewind_metrics(run: Path, rows: int) -> None:
    """Drop the rows of metrics.csv after the checkpoint: a resumed run writes them again.

    Raises
    ------
    UserError
        If there are fewer than `rows` rows, or they cannot be read.
    """
    path = run / "metrics.csv"
    *lines, _ = read_lines(path)  # after the last newline: nothing, or an incomplete row
    if len(lines) <= rows:
        raise UserError(f"{path} has fewer rows than its checkpoint says; restore the complete file")
    lines = lines[: rows + 1]
    if lines[0] != ",".join(COLUMNS):
        raise UserError(f"{path} does not have the columns of this version of minilstm; start another run")
    parse_metrics(path, lines)
    atomic_write(path, "".join(line + "\n" for line in lines))


def read_metrics(run: StrPath) -> list[dict[str, Any]]:
    """metrics.csv as a list of dicts: epoch, step and tokens are int, split is str, the rest float or None.

    Raises
    ------
    UserError
        If the file is missing, or a row is not valid.
    """
    path = Path(run) / "metrics.csv"
    *lines, _ = read_lines(path)  # after the last newline: nothing, or a row that is being written
    return parse_metrics(path, lines)


def read_lines(path: Path) -> list[str]:
    """The lines of metrics.csv."""
    try:
        return read_text(path).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {why}; is {path.parent} the directory of a minilstm run?") from None


def parse_metrics(path: Path, lines: list[str]) -> list[dict[str, Any]]:
    """Rows from lines; the first names the columns."""
    rows, columns = [], lines[0].split(",") if lines else []
    if not set(COLUMNS) - set(LATER_COLUMNS) <= set(columns):
        raise UserError(f"{path} does not have the columns of a run's metrics.csv; restore the original")
    for number, line in enumerate(lines[1:], start=2):
        try:
            cells = zip(columns, line.split(","), strict=True)
            rows.append(dict.fromkeys(COLUMNS) | {column: parse_cell(column, text) for column, text in cells})
        except ValueError:
            raise UserError(f"{path} line {number} is not a valid row; restore the original") from None
    return rows


def parse_cell(column: str, text: str) -> str | int | float | None:
    """The value of a cell; raises a ValueError if it is not valid."""
    if column == "split" and text in SPLITS:
        return text
    if column in ("epoch", "step", "tokens") and 1 <= int(text) <= 2**53:
        return int(text)
    if column == "perplexity" and possible(float(text), LEAST):
        return float(text)
    if column in COLUMNS[4:7] and (not text or possible(float(text))):
        return float(text) if text else None
    raise ValueError(column)


def possible(value: object, least: float = 0) -> bool:
    """Whether a value is a number in the range of a speed or norm, or, with LEAST, of a perplexity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value < 1e305
