"""The exception for mistakes of the user, and text made safe to print."""

# Control characters, which a terminal would obey, as escapes: file names and words are untrusted. So are surrogates,
# which cannot be encoded; those from U+DC80 on are the bytes of a file name that is not UTF-8.
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
CONTROLS |= {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}
CONTROLS |= {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}


class UserError(ValueError):
    """A mistake that the user can correct; the message is one line that says what is wrong and what to do.

    The command line prints it on standard error and exits with status 2. Any other exception is a bug and keeps its
    traceback.
    """


def escape_control_chars(text: str) -> str:
    """Escape the control characters of a text, and the surrogates, which cannot be printed.

    Examples
    --------
    >>> print(escape_control_chars("red: \\x1b[31m"))
    red: \\x1b[31m
    >>> print(escape_control_chars("not UTF-8: \\udcff"))
    not UTF-8: \\xff
    """
    return text.translate(CONTROLS)


def one_line(text: str, max_chars: int = 1000) -> str:
    """Fit a text into one printable line: control characters escaped, the middle cut out if it is too long.

    Examples
    --------
    >>> one_line("two\\nlines")
    'two\\\\x0alines'
    """
    text = escape_control_chars(text)
    return text if len(text) <= max_chars else f"{text[: max_chars // 2]} ... {text[-max_chars // 3 :]}"


def first_line(error: BaseException) -> str:
    """What another package's exception says, in at most 160 characters: the first line of its message that has words.

    Examples
    --------
    >>> first_line(ImportError("\\n=====\\nFailed to import it.\\n\\nOriginal error: ..."))
    'Failed to import it.'
    >>> first_line(MemoryError())
    'MemoryError'
    """
    lines = [line.strip() for line in str(error).splitlines() if any(map(str.isalpha, line))]
    text = escape_control_chars(lines[0] if lines else type(error).__name__)
    return text if len(text) <= 160 else text[:160] + "..."
