"""One look for all pictures of the lessons: legible at half size, colours safe for colour-blind eyes."""

import matplotlib
from cycler import cycler

from minilstm.runs.plot import COLOURS, GREY

BLUE, RED, GREEN, PINK, ORANGE, SKY = COLOURS
SEQUENTIAL, DIVERGING = "cividis", "PuOr"  # colour maps: amounts, and values around zero

__all__ = ["BLUE", "COLOURS", "DIVERGING", "GREEN", "GREY", "ORANGE", "PINK", "RED", "SEQUENTIAL", "SKY", "use_style"]


def use_style():
    """Set Matplotlib up for a lesson."""
    matplotlib.rcParams.update({
        "figure.figsize": (7, 4), "figure.dpi": 100, "figure.constrained_layout.use": True, "font.size": 12,
        "axes.prop_cycle": cycler(color=COLOURS), "axes.grid": True, "grid.alpha": 0.3, "axes.spines.top": False,
        "axes.spines.right": False, "lines.linewidth": 2, "legend.frameon": False, "image.cmap": SEQUENTIAL,
    })  # fmt: skip
