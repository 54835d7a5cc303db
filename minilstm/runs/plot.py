"""Pictures of runs: perplexity, gradient norm, learning rate and speed by epoch."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from minilstm.errors import UserError
from minilstm.files import StrPath
from minilstm.runs.canvas import (
    BLACK,
    COLOURS,
    GREY,
    STYLES,
    format_tick,
    to_linear_axis,
    to_log_axis,
)
from minilstm.runs.curves import Curve, Run, best_epoch, read_runs
from minilstm.runs.legend import add_legend, describe, describe_test, drawable, name_runs, two_decimals
from minilstm.runs.picture import require_format, write_picture

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Rows = TypeVar("Rows", list, np.ndarray)

MAX_POINTS = 2000  # of a curve: more than its width in pixels
MAX_MARKERS = 60  # of a curve: more would touch
RING: dict[str, Any] = {"marker": "o", "markerfacecolor": "none", "linestyle": "", "zorder": 3}
STAR: dict[str, Any] = {"marker": "*", "linestyle": ""}
LABELS = {
    "norm": "gradient norm\nbefore clipping",
    "learning-rate": "learning rate",
    "speed": "speed\n(words per second)",
}
WIDTH, HEIGHT, LOWER_HEIGHT = 7.0, 3.9, 1.9  # of a picture without its legend, in inches
CUT = 6  # early training points are cut off from this multiple of the lowest value, unless others are higher
LOG_RATIO = 30  # of a column's greatest and least value: from here on its axis is logarithmic
FAR = 1000  # times the norms, or a part of them: a threshold there is not drawn, for they would be a flat line


def plot_runs(
    runs: Sequence[StrPath], output: StrPath, panels: Sequence[str] = ("perplexity",), band: bool = False
) -> list[str]:
    """Plot train, valid and test perplexity by epoch, and the floor if it is known; or other columns of metrics.csv.

    Parameters
    ----------
    runs : list of path
        Directories of runs, of which up to 12 can be told apart. Those without a finished epoch are left out.
    output : path
        A .png, .svg or .pdf file, written atomically.
    panels : list of str
        Any of "perplexity", "norm", "learning-rate" and "speed", from top to bottom.
    band : bool
        Draw the mean of the runs, which may differ only in the seed, with a band from the least to the greatest value.

    Returns
    -------
    list of str
        One line for each thing that the caller may not expect, such as a run that was left out.

    Raises
    ------
    PictureError
        If matplotlib cannot be imported, or fails.
    UserError
        If no run has a finished epoch, there are too many, their files have numbers that no run writes, they differ in
        more than the seed although `band` is set, or `output` cannot be written.
    """
    require_format(Path(output))
    drawn, notes = read_runs(runs, panels, band)
    if len(drawn) > len(STYLES):
        raise UserError(
            f"{len(drawn)} runs cannot be told apart in one picture; plot up to {len(STYLES)}, "
            "or with --band the mean of runs that differ only in the seed"
        )
    write_picture(output, lambda: draw_figure(drawn, panels))
    return notes


def draw_figure(runs: Sequence[Run], panels: Sequence[str]) -> "Figure":
    """The panels on top of each other, with one legend below them."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    heights = [HEIGHT if panel == "perplexity" or len(panels) == 1 else LOWER_HEIGHT for panel in panels]
    figure = Figure(figsize=(WIDTH, sum(heights)), dpi=150, layout="constrained")
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    entries = name_runs(runs, panels) if len(runs) > 1 else []
    for axes, panel in zip(all_axes, panels, strict=True):
        entries += draw_perplexity(axes, runs) if panel == "perplexity" else draw_column(axes, runs, panel)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.03)
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    all_axes[-1].xaxis.set_major_formatter(FuncFormatter(format_tick))
    all_axes[-1].set_xlabel("epoch")
    figure.align_ylabels()
    title = ""
    if runs[0].curves["valid"].band is not None:
        title = f"{drawable(runs[0].name)}; band: from the least to the greatest"
    elif len(runs) > 1 and "perplexity" in panels:
        title = "thick: validation, its best epoch in a ring; thin: training; star: test"
    add_legend(figure, entries, title)
    return figure


def draw_perplexity(axes: "Axes", runs: Sequence[Run]) -> "list[tuple[Artist, str]]":
    """Draw perplexities and floors; returns entries of the legend besides those of `name_runs`."""
    entries: list[tuple[Artist, str]] = []
    for run, style in zip(runs, STYLES, strict=False):
        train, valid, test = (run.curves[split] for split in ("train", "valid", "test"))
        epoch, best = best_epoch(valid)
        if len(runs) > 1:
            draw_curve(axes, train, **style | {"marker": "", "linewidth": 0.8, "alpha": 0.7})
            draw_curve(axes, valid, **style)
            star = {"color": style["color"], "markersize": 9, "zorder": 3}
            axes.plot(thin_out(test.epochs), thin_out(test.values), **STAR, **star)
            axes.plot(epoch, best, **RING, markersize=12, markeredgecolor=style["color"])
            continue
        line = draw_curve(axes, train, color=COLOURS[0], linestyle="--", marker="o")
        entries.append((line, f"train: {describe(train)}"))
        line = draw_curve(axes, valid, color=COLOURS[1], linestyle="-", marker="s")
        entries.append((line, f"valid: {describe(valid)}"))
        (line,) = axes.plot(epoch, best, **RING, markersize=13, markeredgecolor=BLACK)
        entries.append((line, f"best valid: {two_decimals(best)} (epoch {epoch:g})"))
        if len(test.values):
            epochs, values = thin_out(test.epochs), thin_out(test.values)
            (line,) = axes.plot(epochs, values, **STAR, markersize=14, color=COLOURS[2], zorder=1.9)  # behind valid
            entries.append((line, f"test: {describe_test(test, epoch)}"))
            if test.band is not None:
                axes.vlines(test.epochs, *test.band, color=COLOURS[2], linewidth=2)
    entries += draw_levels(axes, [run.floor for run in runs], "floor, the true source", two_decimals, ":")
    trains = [run.curves["train"] for run in runs]
    early = np.concatenate([extent(train, train.epochs < 1) for train in trains])
    later = np.concatenate([
        *(extent(train, train.epochs >= 1) for train in trains),
        *(extent(run.curves[split]) for run in runs for split in ("valid", "test")),
        [run.floor for run in runs if run.floor is not None],
    ])  # fmt: skip
    low = float(min(early.min(initial=math.inf), later.min()))
    cut = CUT * low if len(runs) == 1 else low
    to_log_axis(axes, low, max(float(later.max()), min(float(early.max(initial=low)), cut)))
    axes.set_ylabel("perplexity" + " per character" * of_characters(runs) + " (log scale)")
    return entries


def of_characters(runs: Sequence[Run]) -> bool:
    """Whether the tokens of all runs are characters."""
    return all(run.description.get("unit") == "char" for run in runs)


def draw_column(axes: "Axes", runs: Sequence[Run], panel: str) -> "list[tuple[Artist, str]]":
    """Draw another column of metrics.csv; returns entries of the legend besides those of `name_runs`."""
    curves = [run.curves[panel] for run in runs]
    for curve, style in zip(curves, STYLES, strict=False):
        few = len(curve.values) <= MAX_MARKERS // 3  # in a low panel
        draw_curve(axes, curve, **style | {"linewidth": 1.2, "marker": style["marker"] if few else ""})
    values = np.concatenate([extent(curve) for curve in curves])
    low, high = float(values.min()), float(values.max())
    entries: list[tuple[Artist, str]] = []
    if panel == "norm":
        thresholds = [run.threshold for run in runs if run.threshold is not None]
        near = [threshold for threshold in thresholds if low / FAR <= threshold <= high * FAR]
        entries = draw_levels(axes, thresholds, "clipping threshold", "{:g}".format, "-.")
        for line in axes.lines[len(curves) :]:
            if np.asarray(line.get_ydata())[0] not in near:  # it would be on the edge of a linear axis
                line.remove()
        if not near:
            entries = [(line, f"{text}, outside the panel") for line, text in entries]
        low, high = min(low, *near, low), max(high, *near, high)
    logarithmic = 0 < low < high / LOG_RATIO
    if logarithmic:
        to_log_axis(axes, low, high)
    else:
        to_linear_axis(axes, high)
    label = LABELS[panel].replace("words", "characters" if of_characters(runs) else "words")
    axes.set_ylabel(label + ("\n(log scale)" if logarithmic else ""))
    return entries


def draw_curve(axes: "Axes", curve: Curve, **style: Any) -> "Line2D":
    """Draw a curve, with its markers if there is room for them, and its band if it has one."""
    epochs, values = thin_out(curve.epochs), thin_out(curve.values)
    if len(values) > MAX_MARKERS:
        style["marker"] = ""
    (line,) = axes.plot(epochs, values, **{"linewidth": 1.5, "markersize": 4} | style)
    if curve.band is not None:
        least, greatest = map(thin_out, curve.band)
        axes.fill_between(epochs, least, greatest, color=line.get_color(), alpha=0.25, linewidth=0)
    return line


def draw_levels(
    axes: "Axes", levels: Sequence[float | None], name: str, describe_level: Callable[[float], str], linestyle: str
) -> "list[tuple[Artist, str]]":
    """Draw a line at each level; returns an entry of the legend, with the level if all runs share it."""
    known = sorted({level for level in levels if level is not None})
    lines = [axes.axhline(level, color=GREY, linestyle=linestyle, linewidth=1.8, zorder=1.5) for level in known]
    shared = f": {describe_level(known[0])}" if len({*levels}) == 1 and known else ""
    return [(lines[0], name + shared)] if lines else []


def extent(curve: Curve, where: Any = slice(None)) -> np.ndarray:
    """The values of a curve and of its band, in any order."""
    return np.concatenate([values[where] for values in (curve.values, *(curve.band or ()))])


def thin_out(rows: Rows) -> Rows:
    """At most MAX_POINTS of the rows at equal distances, with the last."""
    every = math.ceil(len(rows) / MAX_POINTS) or 1
    return rows[::-every][::-1]
