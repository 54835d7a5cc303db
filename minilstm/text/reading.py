"""Reading text files: from bytes to tokens, in bounded memory.

A token is a word (separated by whitespace) or a character (unit "char"); each newline is the token <eos>. A file is
UTF-8, possibly compressed by gzip. A byte order mark at the start of a line is skipped: joined files have them inside.
"""

import codecs
import gzip
import io
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from minilstm.errors import UserError
from minilstm.files import StrPath, open_regular

EOS, UNK = "<eos>", "<unk>"
CHUNK_SIZE = 2**16  # characters read at a time: a whole text may be a single line
MAX_UNPACKED_BYTES = 2**30  # of a gzip file: a small one can be made to unpack to any size
GZIP = b"\x1f\x8b"
UTF16, UTF32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
STANDARD_INPUT = "standard input"
STREAM = re.compile(r"-|/dev/(stdin|fd/\d+)")  # standard input, or a shell's <(command)


class TextSlice(NamedTuple):
    """Lines start to stop - 1 of a text file, or these tokens, counted from 0; a stop of None is the end of the file.

    Attributes
    ----------
    path : Path
    unit : {"word", "char"}
        What a token is.
    start, stop : int
    by : {"line", "token"}
        What start and stop count.
    """

    path: Path
    unit: str = "word"
    start: int = 0
    stop: int | None = None
    by: str = "line"

    def iter_chunks(self) -> Iterator[tuple[int, list[str]]]:
        """Read the tokens in bounded memory: a line longer than CHUNK_SIZE arrives in several chunks.

        Yields
        ------
        line_number : int
            From 1.
        tokens : list of str
            The last one is <eos> where the line ends.
        """
        position = 0  # of the chunk's first token
        for line_number, tokens in iter_tokens(self.path, self.unit):
            at = line_number - 1 if self.by == "line" else position
            if self.stop is not None and at >= self.stop:
                break
            position += len(tokens)
            if self.by == "line":
                inside = tokens if at >= self.start else []
            else:
                inside = tokens[max(self.start - at, 0) : None if self.stop is None else self.stop - at]
            if inside:
                yield line_number, inside

    def tokens(self) -> Iterator[str]:
        """All tokens in order."""
        return (token for _, tokens in self.iter_chunks() for token in tokens)


def iter_tokens(path: Path, unit: str = "word") -> Iterator[tuple[int, list[str]]]:
    """The tokens of a whole file: (line number from 1, tokens), in chunks as `TextSlice.iter_chunks` yields them."""
    line_number, partial_word = 1, ""
    for chunk in iter_text(path):
        if "\0" in chunk:
            raise UserError(
                f"{path} line {line_number} has a NUL byte; give UTF-8 text, neither UTF-16 nor a binary file"
            )
        line_ends = chunk.endswith("\n")
        if unit == "char":
            tokens = list(chunk[: len(chunk) - line_ends])
        else:
            tokens = (partial_word + chunk).split()
            continues = tokens and not line_ends and not chunk[-1].isspace()  # the last word, in the next chunk
            partial_word = tokens.pop() if continues else ""
            if len(partial_word) > CHUNK_SIZE:
                what = f"a word of over {CHUNK_SIZE:,} characters"
                raise UserError(f"{path} line {line_number} has {what}; read it by characters (unit char)")
        yield line_number, [*tokens, EOS] if line_ends else tokens
        line_number += line_ends
    if partial_word:
        yield line_number, [partial_word]


def iter_text(path: Path) -> Iterator[str]:
    """The text of a file in chunks that end with the line, or after CHUNK_SIZE characters.

    Raises
    ------
    UserError
        If the file is not a regular file of UTF-8 text, or cannot be read.
    """
    try:
        with open(path, "rb", opener=open_regular) as file:
            start = file.peek(4)
            packed = gzip.GzipFile(fileobj=file) if start.startswith(GZIP) else None
            if start.startswith((*UTF32, *UTF16)):
                name = "UTF-32" if start.startswith(UTF32) else "UTF-16"
                raise UserError(f"{path} is {name} text; convert it: iconv -f {name} -t UTF-8")
            with io.TextIOWrapper(packed or file, encoding="utf-8") as text:
                size, at_start = 0, True
                while chunk := text.readline(CHUNK_SIZE):
                    size += len(chunk)
                    if packed and size > MAX_UNPACKED_BYTES:
                        raise UserError(f"{path} unpacks to over {MAX_UNPACKED_BYTES:,} characters; unpack it first")
                    yield chunk.removeprefix("\ufeff") if at_start else chunk
                    at_start = chunk.endswith("\n")
    except UnicodeDecodeError as error:
        line = line_of_bad_byte(path)
        raise UserError(f"{path} line {line} is not UTF-8 text ({error.reason}); convert it first") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip file ({error}); unpack it first") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; give a text file") from None


def line_of_bad_byte(path: Path) -> int:
    """The line, from 1, of the first byte of a file that is not UTF-8."""
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    with open(path, "rb", opener=open_regular) as file:
        source = gzip.GzipFile(fileobj=file) if file.peek(2).startswith(GZIP) else file
        while block := source.read(CHUNK_SIZE):
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return line + error.object[: error.start].count(b"\n")
            line += block.count(b"\n")
    return line  # the text ends within a character


@contextmanager
def as_file(path: StrPath) -> Iterator[Path]:
    """The path of a text; standard input, which is "-", and other streams are copied to a temporary file first.

    A text is read more than once, which a stream does not allow.
    """
    if not STREAM.fullmatch(str(path)):
        yield Path(os.path.expanduser(path))
        return
    with tempfile.TemporaryDirectory(prefix="minilstm-") as folder:
        copy = Path(folder, "standard-input")
        number = re.sub(r"\D", "", str(path)) or "0"
        try:
            with os.fdopen(os.dup(int(number)), "rb") as stream, open(copy, "wb") as file:
                shutil.copyfileobj(stream, file)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; give a text file") from None
        try:
            yield copy
        except UserError as error:
            raise UserError(str(error).replace(str(copy), STANDARD_INPUT)) from None
