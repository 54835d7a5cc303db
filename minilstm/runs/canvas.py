"""What pictures of runs stand on: matplotlib's own settings, colours and styles, limits and ticks of the axes."""

import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"  # Okabe and Ito: safe for colour-blind eyes
GREY, BLACK = "#555555", "#000000"
STYLES: list[dict[str, Any]] = [  # of the runs in one picture
    *({"color": colour, "linestyle": "-", "marker": "o"} for colour in COLOURS),
    *({"color": colour, "linestyle": (0, (4, 1.5)), "marker": "s", "markerfacecolor": "white"} for colour in COLOURS),
]
MAX_FLOAT = 1.7e308
MAX_TICKS = 9
LOG_TICKS = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 4, 5, 7), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)


@contextmanager
def default_settings() -> Iterator[None]:
    """Import matplotlib; inside, it is silent and has its default settings, whatever the user's matplotlibrc says."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it warns of bad lines in a matplotlibrc, and of fonts that it lacks
    backend = None if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", None)  # a bad one fails the import
    try:
        import matplotlib  # takes half a second: only when plotting

        if backend is not None:
            with suppress(ValueError):
                matplotlib.rcParams["backend"] = backend  # as the import would have done
        with matplotlib.rc_context({k: v for k, v in matplotlib.rcParamsDefault.items() if k != "backend"}):
            yield
    finally:
        logger.setLevel(level)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


def to_log_axis(axes: "Axes", low: float, high: float) -> None:
    """Make the y axis logarithmic, from below `low` to above `high`: by 7%, or 3% of the axis if that is more."""
    from matplotlib.ticker import FixedLocator, NullLocator

    share = math.exp(0.03 * (math.log(high) - math.log(low)))
    bottom, top = low * min(0.93, 1 / share) or low, min(high * max(1.07, share), MAX_FLOAT)
    axes.set_ylim(bottom, top)  # first: the next line would compute limits, which may overflow
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(log_ticks(bottom, top)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(format_tick if 1e-4 <= bottom < top < 1e6 else format_power)


def to_linear_axis(axes: "Axes", high: float) -> None:
    """Make the y axis linear, from 0 to above `high`."""
    from matplotlib.ticker import FixedLocator

    top = max(1.1 * high, 1e-300) if high else 1
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(FixedLocator(linear_ticks(0, top)))
    axes.yaxis.set_major_formatter(format_tick)


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks between two positive numbers: as many as are legible, at round numbers."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    for subs in LOG_TICKS:
        ticks = [sub * 10.0**power for power in range(first, last + 1) for sub in subs]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) < 4 and subs is LOG_TICKS[0]:
            return linear_ticks(low, high)
        if len(ticks) <= MAX_TICKS:
            return ticks
    every = math.ceil((last - first + 1) / MAX_TICKS)
    return [10.0**power for power in range(first, last + 1) if power % every == 0 and low <= 10.0**power <= high]


def linear_ticks(low: float, high: float) -> list[float]:
    """Ticks between two numbers at equal, round distances: three to six."""
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    step = min(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= (high - low) / 5)
    ticks = [n * step for n in range(math.floor(low / step), math.ceil(high / step) + 1)]
    return [tick for tick in ticks if low <= tick <= high]


def format_tick(value: float, _: float | None = None) -> str:
    """A tick's label: 0.25, 1,500, and powers of ten for the large and the small."""
    return f"{value:,.6g}" if value == 0 or 1e-4 <= abs(value) < 1e6 else format_power(value)


def format_power(value: float, _: float | None = None) -> str:
    """A tick's label with a power of ten, in matplotlib's notation for mathematics."""
    mantissa, exponent = f"{value:.3e}".split("e")
    power = f"10^{{{int(exponent)}}}"
    return f"${power}$" if float(mantissa) == 1 else f"${float(mantissa):g}\\times{power}$"
