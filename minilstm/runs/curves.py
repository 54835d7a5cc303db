"""The curves of runs, read from metrics.csv, named and, on request, averaged over seeds. plot.py draws them."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.files import StrPath
from minilstm.runs.directory import possible, read_description, read_metrics

# The panels of a picture, and the column of metrics.csv in each.
PANELS = {
    "perplexity": "perplexity",
    "norm": "gradient_norm",
    "learning-rate": "learning_rate",
    "speed": "words_per_second",
}


class Curve(NamedTuple):
    """Values by epoch; if they are means over runs, `band` has the least and the greatest value of the runs."""

    epochs: np.ndarray
    values: np.ndarray
    band: tuple[np.ndarray, np.ndarray] | None = None


class Run(NamedTuple):
    """What is drawn of a run, or of the mean of runs: the curves "train", "valid", "test" and those of the panels."""

    path: Path
    name: str
    curves: dict[str, Curve]
    floor: float | None
    threshold: float | None
    description: dict[str, Any]


def read_runs(paths: Sequence[StrPath], panels: Sequence[str], band: bool) -> tuple[list[Run], list[str]]:
    """Read the curves of runs.

    Parameters
    ----------
    paths : list of path
        Directories of runs. Those without a finished epoch are left out, and one that is there twice is read once.
    panels : list of str
        Keys of PANELS.
    band : bool
        Whether to return the mean of the runs in their place.

    Returns
    -------
    runs : list of Run
    notes : list of str
        One line for each thing that the caller may not expect.

    Raises
    ------
    UserError
        If no run has a finished epoch or the values of a panel, a run's files have numbers that no run writes, or
        `band` is set and the runs differ in more than the seed.
    """
    runs: list[Run] = []
    unfinished, notes, seen = [], [], set[str]()
    for path in map(Path, paths):
        if (real := os.path.realpath(path)) in seen:
            notes.append(f"{path} is given twice; it is drawn once")
            continue
        seen.add(real)
        if run := read_run(path, panels):
            runs.append(run)
        else:
            unfinished.append(str(path))
    if not runs:
        who = f"{unfinished[0]} has no" if len(unfinished) == 1 else f"none of these {len(unfinished)} runs has a"
        raise UserError(f"{who} finished epoch yet; there is nothing to plot")
    if unfinished:
        notes.append(f"left out, because no epoch is finished yet: {', '.join(unfinished)}")
    names = distinguishing_names([run.path for run in runs])
    runs = [run._replace(name=name) for run, name in zip(runs, names, strict=True)]
    for panel in set(panels) - {"perplexity"}:
        without = [str(run.path) for run in runs if not len(run.curves[panel].values)]
        if len(without) == len(runs) or (without and band):
            raise UserError(f"there is no {PANELS[panel]} in {Path(without[0], 'metrics.csv')}; omit the panel {panel}")
        if without:
            notes.append(f"there is no {PANELS[panel]} in the metrics.csv of {', '.join(without)}")
    units = {str(run.description.get("unit", "word")) for run in runs}
    if len(units) > 1 and "perplexity" in panels:
        notes.append(f"perplexities per {' and per '.join(sorted(units))} cannot be compared")
    if band:
        mean, more = mean_of_runs(runs)
        return [mean], notes + more
    return runs, notes


def read_run(path: Path, panels: Sequence[str]) -> Run | None:
    """The curves of a run; None if it has no finished epoch.

    Train points of the perplexity are those of each epoch and, in the first, where it falls fastest, of each report.
    """
    description = read_description(path)
    floor, threshold = description["floor"], description.get("max_grad_norm")
    if "norm" in panels and not (possible(threshold) and threshold):
        raise UserError(f"{path / 'config.json'} has no valid max_grad_norm; restore the original")
    rows = read_metrics(path)
    valid = [row for row in rows if row["split"] == "valid"]
    if not valid:
        return None
    windows = valid[0]["step"]  # per epoch
    train = [row for row in rows if row["split"] == "train"]
    ends = [row for row in train if row["step"] < windows or row["step"] % windows == 0]
    if not ends:
        raise UserError(f"{path / 'metrics.csv'} has no train row of an epoch; restore the original")

    def curve(rows: list[dict[str, Any]], column: str = "perplexity") -> Curve:
        rows = [row for row in rows if row[column] is not None]
        epochs = [row["epoch"] if row["split"] == "test" else row["step"] / windows for row in rows]
        return Curve(np.array(epochs, float), np.array([row[column] for row in rows], float))

    curves = {
        "train": curve(ends),
        "valid": curve(valid),
        "test": curve([row for row in rows if row["split"] == "test"]),
    }
    curves |= {panel: curve(train, PANELS[panel]) for panel in panels if panel != "perplexity"}
    return Run(path, "", curves, floor, threshold, description)


def distinguishing_names(paths: Sequence[Path]) -> list[str]:
    """For each path its last part, or as many of its last parts as no other path has.

    Examples
    --------
    >>> distinguishing_names([Path("/a/small"), Path("/b/small"), Path("/b/large")])
    ['a/small', 'b/small', 'large']
    """
    all_parts = [Path(os.path.abspath(path)).parts for path in paths]
    names = []
    for parts in all_parts:
        same = [other for other in all_parts if other != parts]
        count = 1
        while any(other[-count:] == parts[-count:] for other in same):
            count += 1
        names.append(os.path.join(*parts[-count:]))
    return names


def require_only_seeds_differ(runs: Sequence[Run]) -> None:
    """Refuse to average fewer than two runs, runs of one seed, or runs that differ in more than the seed."""
    if len(runs) < 2:
        raise UserError(f"a band needs at least two runs with a finished epoch; there is only {runs[0].path}")
    seeds: dict[str, Path] = {}
    for run in runs:
        if found := differences(runs[0].description, run.description):
            raise UserError(
                f"a band needs runs that differ only in the seed, but {runs[0].path} and {run.path} differ in "
                f"{', '.join(found)}; plot them without a band"
            )
        seed = str(run.description.get("seed"))
        if seed in seeds:
            raise UserError(f"a band needs runs of different seeds, but {seeds[seed]} and {run.path} have seed {seed}")
        seeds[seed] = run.path


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What differs between two descriptions besides the seed and the path of the text; older ones lack entries."""
    one, other = asdict(Config()) | one, asdict(Config()) | other
    names = sorted({*one, *other} - {"seed", "data", "text"})
    found = [f"{name} ({one.get(name)}, {other.get(name)})" for name in names if one.get(name) != other.get(name)]
    same_text = all(one["text"][split] == other["text"][split] for split in {*one["text"]} & {*other["text"]})
    return found if same_text else ["the text", *found]


def mean_of_runs(runs: Sequence[Run]) -> tuple[Run, list[str]]:
    """The mean of runs at the epochs that all of them have, with its band; and a line for each thing left out."""
    require_only_seeds_differ(runs)
    curves = {name: mean_of_curves([run.curves[name] for run in runs]) for name in runs[0].curves}
    for name in set(curves) & set(PANELS):
        if not len(curves[name].values):
            raise UserError(f"these runs have no {PANELS[name]} of the same steps; omit the panel {name}")
    notes, last = [], curves["valid"].epochs[-1]
    if any(run.curves["valid"].epochs[-1] > last for run in runs):
        notes.append(f"the mean ends at epoch {last:g}, the last that all of these runs have finished")
    if not len(curves["test"].values) and any(len(run.curves["test"].values) for run in runs):
        notes.append("without the test perplexity, which not all of these runs have after the same epoch")
    elif any(set(run.curves["test"].epochs) - set(curves["test"].epochs) for run in runs):
        notes.append("without the test perplexities of the best epochs, which differ between these runs")
    seeds = ", ".join(str(run.description.get("seed")) for run in runs)
    return runs[0]._replace(name=f"mean of {len(runs)} runs (seeds {seeds})", curves=curves), notes


def mean_of_curves(curves: Sequence[Curve]) -> Curve:
    """The mean of curves at the epochs that all of them have, with its band."""
    common = reduce(np.intersect1d, [curve.epochs for curve in curves])
    rows = []
    for curve in curves:
        epochs, first = np.unique(curve.epochs, return_index=True)  # sorted
        rows.append(curve.values[first[np.searchsorted(epochs, common)]])
    values = np.stack(rows)
    return Curve(common, values.mean(axis=0), (values.min(axis=0), values.max(axis=0)))


def best_epoch(curve: Curve) -> tuple[float, float]:
    """The epoch of the lowest value, the first if there are several, and that value."""
    at = int(curve.values.argmin())
    return float(curve.epochs[at]), float(curve.values[at])
