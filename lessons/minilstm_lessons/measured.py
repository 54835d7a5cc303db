"""Where the figures are that the project has measured: in a clone under benchmarks/results, else in this package."""

import csv
from pathlib import Path


def measured(name=""):
    """Path of a measured result, such as ``measured("ptb-small/seed-0.csv")``."""
    package = Path(__file__).parent
    folders = package / "measured", package.parents[1] / "benchmarks/results"
    return next(folder for folder in folders if folder.is_dir()) / name


def read_rows(path, split):
    """The rows of a metrics.csv for one split: a list of dicts, numbers as float, empty cells as None."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == split]
    return [{key: float(value) if value else None for key, value in row.items() if key != "split"} for row in rows]
