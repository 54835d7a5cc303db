"""The legend of a picture of runs: names, results, and room for them."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minilstm.errors import escape_control_chars
from minilstm.runs.canvas import STYLES
from minilstm.runs.curves import Curve, Run, best_epoch

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

MAX_NAME = 600  # characters; a directory's name may have 255 bytes
LINE = 84  # characters of a legend
LOOK: dict[str, Any] = {"frameon": False, "handlelength": 3, "fontsize": 9, "title_fontsize": 9, "columnspacing": 1.5}


def name_runs(runs: Sequence[Run], panels: Sequence[str]) -> "list[tuple[Artist, str]]":
    """Entries of the legend for several runs: names and results, and levels unless all runs share them."""
    from matplotlib.lines import Line2D

    entries: list[tuple[Artist, str]] = []
    for run, style in zip(runs, STYLES, strict=False):
        facts = []
        if "perplexity" in panels:
            epoch, best = best_epoch(run.curves["valid"])
            facts.append(f"best valid {two_decimals(best)} (epoch {epoch:g})")
            if len(run.curves["test"].values):
                facts.append(f"test {describe_test(run.curves['test'], epoch)}")
            if run.floor is not None and len({run.floor for run in runs}) > 1:
                facts.append(f"floor {two_decimals(run.floor)}")
        if "norm" in panels and len({run.threshold for run in runs}) > 1:
            facts.append(f"clipped at {run.threshold:g}")
        handle = Line2D([], [], linewidth=1.5, markersize=4, **style)
        entries.append((handle, label(drawable(run.name), ", ".join(facts))))
    return entries


def label(name: str, facts: str) -> str:
    """An entry's text, in lines of up to LINE characters; the facts are not torn apart."""
    if not facts:
        return textwrap.fill(name, LINE)
    separator = " " if len(name) + len(facts) + 2 <= LINE else "\n"
    return f"{textwrap.fill(name, LINE - 1)}:{separator}{facts}"


def drawable(name: str) -> str:
    """A name as text that can be drawn, and told from others: what has no glyph, or shows nothing, is escaped."""
    from matplotlib.font_manager import findfont, get_font

    glyphs = get_font(findfont("DejaVu Sans")).get_charmap()
    name = "".join(c if c.isprintable() and ord(c) in glyphs else ascii(c)[1:-1] for c in escape_control_chars(name))
    return name if len(name) <= MAX_NAME else f"{name[: 2 * MAX_NAME // 3]} ... {name[-MAX_NAME // 3 :]}"


def add_legend(figure: "Figure", entries: "Sequence[tuple[Artist, str]]", title: str) -> None:
    """Add a legend below the axes, in as many columns as fit, and enlarge the figure by the room that it takes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not entries:
        return
    handles, texts = zip(*entries, strict=True)
    width, height = figure.get_size_inches()
    renderer = FigureCanvasAgg(figure).get_renderer()
    for columns in range(min(4, len(entries)), 0, -1):
        legend = figure.legend(handles, ["-"] * len(texts), loc="outside lower center", ncols=columns, **LOOK)
        legend.set_title(textwrap.fill(title, LINE))
        for drawn, text in zip(legend.get_texts(), texts, strict=True):
            drawn.set_text(text)  # a legend leaves out labels that begin with "_"
        for drawn in [*legend.get_texts(), legend.get_title()]:
            drawn.set_parse_math(False)  # a run's name may contain a $
        size = legend.get_window_extent(renderer)
        if size.width <= (width - 0.2) * figure.dpi or columns == 1:
            break
        legend.remove()
    figure.set_size_inches(max(width, size.width / figure.dpi + 0.2), height + size.height / figure.dpi)


def describe(curve: Curve) -> str:
    """The last value of a curve as text, with its band."""
    if not len(curve.values):
        return "none"
    text = two_decimals(curve.values[-1])
    if curve.band is not None:
        text += f" ({' to '.join(two_decimals(edge[-1]) for edge in curve.band)})"
    return text


def describe_test(test: Curve, best_epoch: float) -> str:
    """The last test perplexity as text, and that of the best epoch if it was another and has been tested, too."""
    of_best = test.values[test.epochs == best_epoch]
    tested_before = len(of_best) and test.epochs[-1] != best_epoch
    return describe(test) + (f", of the best epoch {two_decimals(of_best[-1])}" if tested_before else "")


def two_decimals(value: float) -> str:
    """A perplexity as text, which stays short."""
    return f"{value:.2f}" if value < 1e6 else f"{value:.2e}"
