"""Perplexity curves of one or more runs, from their metrics.csv."""

import gc
import math
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minilstm.errors import UserError, escape_control_chars
from minilstm.files import StrPath, atomic_write
from minilstm.runs.directory import read_description, read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"  # Okabe and Ito: safe for colour-blind eyes
GREY = "#555555"
FORMATS = "png", "svg", "pdf"
MAX_POINTS = 2000  # of a curve: more than its width in pixels
LEAST = 0.99  # perplexities are at least 1; a floor may be rounded down


def plot_runs(runs: Sequence[StrPath], output: StrPath) -> None:
    """Plot train, valid and test perplexity by epoch, and the floor if it is known.

    Parameters
    ----------
    runs : list of path
        Directories of runs.
    output : path
        A .png, .svg or .pdf file, written atomically.

    Raises
    ------
    UserError
        If a run has no finished epoch, its files have numbers that no run writes, or `output` cannot be written.
    """
    from matplotlib.figure import Figure  # takes half a second: only when plotting
    from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

    output = Path(output)
    if output.suffix[1:] not in FORMATS:
        raise UserError(f"{output}: give a file name that ends in .{', .'.join(FORMATS)}")
    figure = Figure(figsize=(7, 4.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for n, run in enumerate(map(Path, runs)):
        colours = COLOURS[:3] if len(runs) == 1 else [COLOURS[n % len(COLOURS)]] * 3
        draw_run(axes, run, colours, of="" if len(runs) == 1 else f" of {escape_control_chars(run.name)}")
    for floor, description in {read_description(run)["floor"]: Path(run) / "config.json" for run in runs}.items():
        if floor is not None:
            require_perplexities([floor], description)
            label = f"floor, the true source: {two_decimals(floor)}"
            axes.axhline(float(floor), color=GREY, linestyle=":", linewidth=2, label=label)
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    low, high = drawn.min(), drawn.max()  # axes.dataLim is rounded to the precision of the greatest
    axes.set_ylim(0.93 * low, min(1.07 * high, 6 * low))  # cuts off the first steps, which may be in the thousands
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("perplexity (log scale)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    for text in axes.legend(frameon=False).get_texts():
        text.set_parse_math(False)  # a run's name may contain a $
    drawing = BytesIO()
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # a run's name in letters that no font has
        figure.savefig(drawing, format=output.suffix[1:])
    del figure, axes
    gc.collect()  # a figure has reference cycles: a long run would accumulate dozens
    atomic_write(output, drawing.getvalue())


def draw_run(axes: "Axes", run: Path, colours: Sequence[str], of: str) -> None:
    """Plot a run: train dashed, valid solid, test a star, in three colours.

    Train points are the perplexity of each epoch and, in the first epoch, where it falls fastest, of each report.
    """
    rows = read_metrics(run)
    require_perplexities([row["perplexity"] for row in rows], run / "metrics.csv")
    valid = [row for row in rows if row["split"] == "valid"]
    if not valid:
        raise UserError(f"{run} has no finished epoch yet; there is nothing to plot")
    windows = valid[0]["step"]  # per epoch
    train = [row for row in rows if row["split"] == "train" and (row["step"] < windows or row["step"] % windows == 0)]
    if not train:
        raise UserError(f"{run / 'metrics.csv'} has no train row of an epoch; restore the original")
    for name, points, style, colour in (("train", train, "o--", colours[0]), ("valid", valid, "s-", colours[1])):
        points = thin_out(points)
        epochs, values = [row["step"] / windows for row in points], [row["perplexity"] for row in points]
        label = f"{name}{of}: {two_decimals(values[-1])}"
        axes.plot(epochs, values, style, color=colour, markersize=4, linewidth=1.5, label=label)
    tests = thin_out([row for row in rows if row["split"] == "test"])  # several if the run was continued
    if tests:
        epochs, values = [row["epoch"] for row in tests], [row["perplexity"] for row in tests]
        label = f"test{of}: {two_decimals(values[-1])}"
        axes.plot(epochs, values, "*", color=colours[2], markersize=13, zorder=3, label=label)


def require_perplexities(values: Sequence[float], path: Path) -> None:
    """Refuse values below LEAST: a logarithmic axis has no room for them."""
    if min(values, default=LEAST) < LEAST:
        raise UserError(f"{path} has the perplexity {min(values):g}, but none is below 1; restore the original")


def thin_out(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most MAX_POINTS of the rows at equal distances, with the last."""
    every = math.ceil(len(rows) / MAX_POINTS) or 1
    return rows[::-every][::-1]


def two_decimals(value: float) -> str:
    """A perplexity as text, which stays short."""
    return f"{value:.2f}" if value < 1e6 else f"{value:.2e}"
