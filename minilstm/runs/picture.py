"""Writing a picture: drawn with matplotlib's own settings, and written whole or not at all."""

import gc
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from minilstm.errors import UserError, first_line
from minilstm.files import StrPath, atomic_write
from minilstm.runs.canvas import default_settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = "png", "svg", "pdf"


class PictureError(UserError):
    """A picture cannot be drawn, although the files it shows are in order."""


def write_picture(output: StrPath, draw: Callable[[], "Figure"]) -> None:
    """Write the figure that `draw` returns to a .png, .svg or .pdf file, atomically.

    Raises
    ------
    PictureError
        If matplotlib cannot be imported, or fails.
    UserError
        If the file name has another ending, or the file cannot be written.
    """
    output = Path(output)
    suffix = require_format(output)
    picture = BytesIO()
    try:
        with default_settings(), warnings.catch_warnings(action="ignore"):
            draw().savefig(picture, format=suffix)
    except Exception as error:
        raise PictureError(
            f"cannot draw {output}: {type(error).__name__} in matplotlib: {first_line(error)}"
        ) from error
    gc.collect()  # a figure has reference cycles: a long run would accumulate dozens
    atomic_write(output, picture.getvalue())


def require_format(output: Path) -> str:
    """The format that a file name's ending stands for."""
    suffix = output.suffix[1:].lower()
    if suffix not in FORMATS:
        raise UserError(f"{output}: give a file name that ends in .{', .'.join(FORMATS)}")
    return suffix
