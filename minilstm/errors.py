"""The one exception that stands for a user's mistake, and text that a terminal can be given."""

# Control characters, which a terminal would obey, as escapes: names and words may come from anywhere.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


class UserError(ValueError):
    """Something the user can mend: its text is one line that says what is wrong and what to do.

    The command line prints that line on standard error and exits with status 2. Any other exception
    is a bug of ours and keeps its traceback.
    """


def escape_control_chars(text):
    """A text with its control characters written out.

    Examples
    --------
    >>> print(escape_control_chars("red: \\x1b[31m"))
    red: \\x1b[31m
    """
    return text.translate(CONTROLS)


def one_line(text, most=1000):
    """A text as one line of at most `most` characters, the middle left out."""
    text = escape_control_chars(text)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 3 :]}"
