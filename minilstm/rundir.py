"""A run's directory: config.json, vocab.txt, metrics.csv, curve.png and checkpoint.safetensors.

metrics.csv has one row for each report: train, ten times an epoch and at its end; valid, after each epoch; test, at the
end. A train row's perplexity is that of the epoch so far, its gradient norm the median over the steps since the row
before, before clipping.
"""

import csv
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from minilstm.corpus import fingerprint_of_text
from minilstm.errors import UserError
from minilstm.files import write_whole

COLUMNS = "epoch", "step", "split", "perplexity", "learning_rate", "words_per_second", "gradient_norm"
DESCRIPTION = "data", "text", "floor"  # what config.json holds besides the Config
FILES = "checkpoint.safetensors", "metrics.csv", "curve.png", "vocab.txt", "config.json"


def create_run(out, model, overwrite=False):
    """Make the directory of a new run.

    Parameters
    ----------
    out : path or None
        None takes a fresh one, ``runs/<model>-<time>``.
    model : str
        Name of the preset.
    overwrite : bool
        Whether the files of an earlier run in `out` may be removed; other files are never touched.

    Returns
    -------
    Path

    Raises
    ------
    UserError
        If `out` is taken or cannot be written.
    """
    if out is None:
        stem = f"{model}-{datetime.now():%Y%m%d-%H%M%S}"
        names = [stem] + [f"{stem}-{n}" for n in range(2, 100)]
        run = next(path for name in names if not (path := Path("runs", name)).exists())
    else:
        run = Path(out)
    try:
        if run.exists() and any(run.iterdir()):
            if not (run / "config.json").exists():
                raise UserError(f"{run} holds other files, not a run; choose another --out")
            if not overwrite:
                raise UserError(
                    f"{run} already holds a run; give --resume to continue it, --overwrite, or another --out"
                )
        run.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (run / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {run}: {error.strerror}; choose another --out") from None
    return run


def describe_run(run, config, data, corpus, floor):
    """Write config.json, vocab.txt and an empty metrics.csv.

    Parameters
    ----------
    run : Path
    config : Config
    data : str or None
        Where the corpus is; None is the embedded toy corpus.
    corpus : Corpus
    floor : float or None
        Perplexity of the true source on the test split, where the corpus has a grammar.
    """
    text = fingerprint_of_text(corpus.splits["train"])
    description = dict(zip(DESCRIPTION, (data, text, floor), strict=True)) | asdict(config)
    write_whole(run / "vocab.txt", "".join(word + "\n" for word in corpus.vocabulary))
    write_whole(run / "metrics.csv", ",".join(COLUMNS) + "\n")
    write_whole(run / "config.json", json.dumps(description, indent=2) + "\n")


def read_description(run):
    """config.json as a dict.

    Raises
    ------
    UserError
        If `run` is not the directory of a run, or the file is damaged.
    """
    path = Path(run) / "config.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(description, dict) or not set(DESCRIPTION) <= set(description):
            raise ValueError("it lacks what a run's config.json has")
    except OSError as error:
        raise UserError(f"{run} is not the directory of a minilstm run: its config.json: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); put the run's own back") from None
    return description


def read_vocabulary(run):
    """vocab.txt as a list of words."""
    path = Path(run) / "vocab.txt"
    try:
        return path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def append_metrics(
    run, progress, epoch, split, perplexity, learning_rate=None, words_per_second=None, gradient_norm=None
):
    """Add a row to metrics.csv and count it in `progress`; `epoch` counts from 1, what is None stays empty."""

    def number(value, digits):
        return "" if value is None else f"{value:.{digits}g}"

    row = (
        epoch, progress.step, split, number(perplexity, 8), number(learning_rate, 6),
        number(words_per_second, 5), number(gradient_norm, 6),
    )  # fmt: skip
    try:
        with open(run / "metrics.csv", "a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)
    except OSError as error:
        raise UserError(f"cannot write {run / 'metrics.csv'}: {error.strerror}") from None
    progress.metric_rows += 1


def rewind_metrics(run, rows):
    """Drop the rows of metrics.csv that are younger than the checkpoint: a resumed run writes them again."""
    path = run / "metrics.csv"
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    if len(lines) <= rows:
        raise UserError(f"{path} has fewer rows than its checkpoint knows of; it was cut: put the whole file back")
    write_whole(path, "".join(lines[: rows + 1]))


def read_metrics(run):
    """metrics.csv as a list of dicts: epoch and step are int, split is str, the rest float or None."""
    path = Path(run) / "metrics.csv"
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            for column in COLUMNS:
                if column in ("epoch", "step"):
                    row[column] = int(row[column])
                elif column != "split":
                    row[column] = float(row[column]) if row[column] else None
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}; is {run} the directory of a minilstm run?") from None
    return rows
