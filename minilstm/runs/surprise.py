"""A picture of a text, its words coloured by surprise: -log2 of the probability that the model gave them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minilstm.errors import UserError
from minilstm.files import StrPath
from minilstm.runs.picture import write_picture
from minilstm.text.corpus import EOS
from minilstm.types import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 72  # characters in a line of the picture
MAX_TOKENS = 3000  # a page; more cannot be read
SIZE = 11  # of the font, in points
WIDTH, HEIGHT = 0.602 * SIZE / 72, 2.1 * SIZE / 72  # of a character with its line, in inches
COLOURS = "YlOrBr"  # from light to dark: the order shows without colours too
LEAST_TOP = 8  # bits at the top of the scale: pictures of easy texts compare


def plot_surprise(scored: Sequence[tuple[list[str], Array]], output: StrPath, unit: str = "word") -> None:
    """Draw sentences, each with the surprise of its tokens.

    Parameters
    ----------
    scored : list of (tokens, bits)
        The tokens of each sentence, and their surprise, array (tokens,).
    output : path
        A .png, .svg or .pdf file, written atomically.
    unit : {"word", "char"}
        Characters have no space between them.

    Raises
    ------
    UserError
        If there are more than 3,000 tokens, or as `write_picture` does.
    """
    number = sum(len(tokens) for tokens, _ in scored)
    if number > MAX_TOKENS:
        raise UserError(f"{number:,} tokens are too many for a picture; give up to {MAX_TOKENS:,}")
    write_picture(output, lambda: draw_surprise(scored, unit))


def draw_surprise(scored: Sequence[tuple[list[str], Array]], unit: str = "word") -> "Figure":
    """The figure: each token in a box of its colour, on lines of COLUMNS characters, and the scale below."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    places = arrange([tokens for tokens, _ in scored], 0 if unit == "char" else 1)
    bits = [value for _, values in scored for value in values]
    scale = Normalize(0, max(LEAST_TOP, math.ceil(max(bits))))
    colours = colormaps[COLOURS]
    lines = 1 + max(line for line, _, _ in places)
    text_width, text_height = COLUMNS * WIDTH, lines * HEIGHT
    figure = Figure(figsize=(text_width + 0.4, text_height + 0.95), dpi=150)
    width, height = figure.get_size_inches()
    margin = 0.4 * WIDTH * (unit == "word")  # of a word's box, on each side
    for (line, column, token), value in zip(places, bits, strict=True):
        x, y = 0.2 + column * WIDTH, height - 0.15 - (line + 0.5) * HEIGHT  # left, middle; in inches
        corner = (x - margin) / width, (y - 0.36 * HEIGHT) / height
        box = (len(token) * WIDTH + 2 * margin) / width, 0.72 * HEIGHT / height
        figure.add_artist(Rectangle(corner, *box, facecolor=colours(scale(value)), edgecolor="none", zorder=0))
        figure.text(
            x / width,
            y / height,
            token,
            family="DejaVu Sans Mono",
            size=SIZE,
            color="white" if scale(value) > 0.6 else "black",
            verticalalignment="center_baseline",
            parse_math=False,
        )
    axes = figure.add_axes((0.25, 0.5 / height, 0.5, 0.14 / height))
    ticks = MaxNLocator(8, integer=True)
    bar = figure.colorbar(ScalarMappable(scale, COLOURS), axes, orientation="horizontal", ticks=ticks)
    bar.set_label("surprise (bits)")
    return figure


def arrange(sentences: Sequence[list[str]], space: int) -> list[tuple[int, int, str]]:
    """The place of each token, (line, column, text); a sentence begins a line, and long lines wrap."""
    places, line = [], 0
    for tokens in sentences:
        column = 0
        for token in tokens:
            text = shown(token)
            if column and column + len(text) > COLUMNS:
                line, column = line + 1, 0
            places.append((line, column, text))
            column += len(text) + space
        line += 1
    return places


def shown(token: str) -> str:
    """A token as it is drawn: what is not visible by a sign, what the font lacks by its code, the too long cut off."""
    from matplotlib.font_manager import findfont, get_font

    glyphs = get_font(findfont("DejaVu Sans Mono")).get_charmap()
    text = {EOS: "\u21b5", " ": "\u00b7"}.get(token, token)  # signs of an end of line, and of a blank
    text = "".join(char if char.isprintable() and ord(char) in glyphs else ascii(char)[1:-1] for char in text)
    return text if len(text) <= COLUMNS else f"{text[: COLUMNS - 1]}\u2026"
