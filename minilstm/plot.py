"""Perplexity curves of one or more runs, from their metrics.csv."""

import os
from pathlib import Path

from minilstm.errors import UserError
from minilstm.rundir import read_description, read_metrics

COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"  # Okabe and Ito: safe for colour-blind eyes
GREY = "#555555"
FORMATS = "png", "svg", "pdf"


def plot_runs(runs, output):
    """Draw train, valid and test perplexity by epoch, and the floor where it is known.

    Parameters
    ----------
    runs : list of path
        Directories of runs.
    output : path
        A .png, .svg or .pdf file, written in one piece.

    Raises
    ------
    UserError
        If a run has no finished epoch, or `output` cannot be written.
    """
    from matplotlib.figure import Figure  # half a second: only when something is drawn
    from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter

    output = Path(output)
    if output.suffix[1:] not in FORMATS:
        raise UserError(f"{output}: give a file that ends in .{', .'.join(FORMATS)}")
    figure = Figure(figsize=(7, 4.4), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for run, colour in zip(runs, colours_of(runs), strict=True):
        draw_run(axes, Path(run), colour, alone=len(runs) == 1)
    for floor in {read_description(run)["floor"] for run in runs} - {None}:
        axes.axhline(floor, color=GREY, linestyle=":", linewidth=2, label=f"floor, the true source: {floor:.2f}")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("perplexity (log scale)")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    unfinished = output.with_name(output.stem + ".unfinished" + output.suffix)
    try:
        figure.savefig(unfinished)
        os.replace(unfinished, output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from None


def colours_of(runs):
    """A colour for each run, in the palette's order."""
    return [COLOURS[n % len(COLOURS)] for n in range(len(runs))]


def draw_run(axes, run, colour, alone):
    """Train dashed, valid solid, test a star; one colour for a run, or one for each split if the run is alone."""
    rows = read_metrics(run)
    curves = {
        split: [(row["epoch"], row["perplexity"]) for row in rows if row["split"] == split]
        for split in ("epoch", "valid", "test")
    }
    if not curves["valid"]:
        raise UserError(f"{run} has no finished epoch yet; there is nothing to draw")
    styles = {"epoch": ("train", "o--"), "valid": ("valid", "s-"), "test": ("test", "*")}
    for (split, points), split_colour in zip(curves.items(), COLOURS if alone else [colour] * 3, strict=False):
        if points:
            name, style = styles[split]
            label = name if alone else f"{run.name}, {name}"
            axes.plot(*zip(*points, strict=True), style, color=split_colour, markersize=12 if split == "test" else 5,
                      markeredgecolor="white", label=f"{label}: {points[-1][1]:.2f}")  # fmt: skip
