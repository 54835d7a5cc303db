"""What the commands' flags have in common, for argparse."""

import argparse
import os
import re
import sys
from contextlib import suppress
from dataclasses import fields
from typing import Any, NoReturn

from minilstm.config import Config
from minilstm.device import DEVICES
from minilstm.errors import one_line


def non_negative(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def path(text: str) -> str:
    """A path; ~ is the home directory where the shell has not replaced it, as in --data=~/text."""
    return os.path.expanduser(text)


def to_flag(name: str) -> str:
    """The flag of a Config field, such as --hidden-size for hidden_size."""
    return "--" + name.replace("_", "-")


def with_flags(message: str) -> str:
    """Replace the names of Config fields in an error message by their flags.

    Names with an underscore are replaced anywhere as whole words, except within a path; one-word names, which are also
    English words, only where they begin the message; and "unit char".

    Examples
    --------
    >>> with_flags("seed must be at least 0, not -1")
    '--seed must be at least 0, not -1'
    >>> with_flags("diverged: lower learning_rate or init_scale")
    'diverged: lower --learning-rate or --init-scale'
    >>> with_flags("unit char reads its characters")
    '--unit char reads its characters'
    """
    names = [f.name for f in fields(Config)]
    several_words = "|".join(name for name in names if "_" in name)
    one_word = "|".join(name for name in names if "_" not in name)
    pattern = rf"^({one_word})(?= )|\bunit(?= char\b)|(?<![\w/\\.'\"-])({several_words})(?![\w/\\'\"-]|\.\w)"
    return re.sub(pattern, lambda match: to_flag(match[0]), message)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports an error in one line and accepts no abbreviated flags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, one_line(f"{self.prog}: error: {message} (see {self.prog} --help)") + "\n")


def add_data_flag(parser: Parser, default: str) -> None:
    parser.add_argument(
        "--data", type=path, metavar="PATH", help=f"directory of a corpus, or one text file ({default})"
    )


def add_which_flag(parser: Parser) -> None:
    parser.add_argument(
        "--which",
        choices=("last", "best"),
        default="last",
        help="the model at the last save, or that of the epoch with the best validation perplexity (last)",
    )


def add_device_flags(parser: Parser) -> None:
    """Add --device, --threads and --kernels: where the arrays live, and what computes on them."""
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where arrays live (auto)")
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads on a CPU, at most 16; results do not depend on it (available processors, or OMP_NUM_THREADS)",
    )
    parser.add_argument(
        "--kernels",
        choices=("plain", "fused"),
        help="plain: NumPy's interface alone; fused: CUDA kernels (fused on a GPU)",
    )


def print_error(text: str) -> None:
    """Print one line on standard error, unless it is closed."""
    with suppress(OSError):
        print(f"minilstm: {one_line(text)}", file=sys.stderr)
