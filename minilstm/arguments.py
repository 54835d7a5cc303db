"""The commands and flags of the command line, for argparse."""

import argparse
import difflib
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn

from minilstm import __version__
from minilstm.config import PRESETS, Config

EXAMPLES = {
    "train": "minilstm train --model small --data data/ptb --out runs/small",
    "evaluate": "minilstm evaluate runs/small --split test",
    "generate": 'minilstm generate runs/small --prompt "the company said" --temperature 0.8',
    "plot": "minilstm plot runs/small runs/medium -o curves.png",
    "download": "minilstm download ptb",
    "gradcheck": "minilstm gradcheck",
}


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


def to_flag(name: str) -> str:
    """The flag of a Config field, such as --hidden-size for hidden_size."""
    return "--" + name.replace("_", "-")


def with_flags(message: str) -> str:
    """Replace the names of Config fields in an error message by their flags.

    Names with an underscore are replaced anywhere as whole words, except within a path; one-word names, which are also
    English words, only where they begin the message.

    Examples
    --------
    >>> with_flags("seed must be at least 0, not -1")
    '--seed must be at least 0, not -1'
    >>> with_flags("diverged: lower learning_rate or init_scale")
    'diverged: lower --learning-rate or --init-scale'
    """
    names = [f.name for f in fields(Config)]
    several_words = "|".join(name for name in names if "_" in name)
    one_word = "|".join(name for name in names if "_" not in name)
    pattern = rf"^({one_word})(?= )|(?<![\w/\\.'\"-])({several_words})(?![\w/\\'\"-]|\.\w)"
    return re.sub(pattern, lambda match: to_flag(match[0]), message)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports an error in one line and accepts no abbreviated flags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line. Unknown flags are reported with the closest match."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        known = [flag for flag in args.parser._option_string_actions if flag.startswith("--")]
        close = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        args.parser.error(f"unknown: {' '.join(unknown)}" + (f"; did you mean {close[0]}?" if close else ""))
    return args


def build_parser() -> Parser:
    """Build the parser of all commands; each field of Config is a flag of train."""
    parser = Parser(prog="minilstm", description="An LSTM language model with every gradient written by hand.")
    parser.add_argument("--version", action="version", version=f"minilstm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name: str, description: str) -> Parser:
        sub = commands.add_parser(name, help=description, description=description, epilog=f"example: {EXAMPLES[name]}")
        sub.set_defaults(parser=sub)
        return sub

    train = command("train", "Train a language model; by default the toy model, in about a minute.")
    add_data_flag(train, "the embedded toy corpus")
    add_device_flags(train)
    train.add_argument("--out", metavar="DIR", help="directory of the run (runs/<model>-<time>)")
    train.add_argument("--resume", action="store_true", help="continue the run in --out exactly where it stopped")
    train.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    train.add_argument(
        "--max-steps", type=non_negative, metavar="N", help="stop after N steps of the run; 0 saves the initial weights"
    )
    train.add_argument(
        "--checkpoint-every", type=positive, metavar="N", help="also save every N steps (once per epoch)"
    )
    add_config_flags(train)

    evaluate = command("evaluate", "Print the perplexity of a trained model on a split.")
    evaluate.add_argument("run", help="directory of a run")
    add_data_flag(evaluate, "the corpus the run was trained on")
    evaluate.add_argument("--split", choices=("train", "valid", "test"), default="test", help="(test)")
    add_device_flags(evaluate)

    generate = command("generate", "Generate text with a trained model.")
    generate.add_argument("run", help="directory of a run")
    generate.add_argument("--prompt", default="", help="words to continue from (the start of a sentence)")
    generate.add_argument("--words", type=positive, default=100, metavar="N", help="number of words (100)")
    generate.add_argument(
        "--temperature", type=float, default=1.0, help="below 1 sharper, above 1 flatter, 0 greedy (1.0)"
    )
    generate.add_argument("--seed", type=non_negative, default=0, help="the same seed gives the same text (0)")
    add_device_flags(generate)

    plot = command("plot", "Plot the perplexity curves of one or more runs.")
    plot.add_argument("runs", nargs="+", metavar="run", help="directory of a run")
    plot.add_argument("-o", "--output", default="curves.png", metavar="FILE", help="PNG, SVG or PDF (curves.png)")

    download = command("download", "Download a corpus and verify its checksums.")
    download.add_argument("corpus", choices=("ptb",), help="ptb: Mikolov's Penn Treebank files (6 MB, licensed)")
    download.add_argument("--out", default="data/ptb", metavar="DIR", help="destination directory (data/ptb)")

    gradcheck = command("gradcheck", "Compare every gradient with finite differences; exit with 1 if one is wrong.")
    gradcheck.add_argument("--seed", type=non_negative, default=0, help="seed of the random arrays (0)")
    add_device_flags(gradcheck)
    return parser


def add_data_flag(parser: Parser, default: str) -> None:
    parser.add_argument("--data", metavar="PATH", help=f"directory of a corpus, or one text file ({default})")


def add_device_flags(parser: Parser) -> None:
    """Add --device, --threads and --kernels: where the arrays live, and what computes on them."""
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where arrays live (auto)")
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


def add_config_flags(parser: Parser) -> None:
    """Add a flag for each field of Config, which appears in the result only if it was given."""
    group = parser.add_argument_group("hyperparameters, by default those of the preset --model")
    group.add_argument("--model", choices=PRESETS, default=argparse.SUPPRESS, help="preset (toy)")
    for f in fields(Config):
        if f.name == "model":
            continue
        value_type: Any = f.type
        limits: dict[str, Any] = (
            {"choices": f.metadata["choices"]} if "choices" in f.metadata else {"metavar": value_type.__name__.upper()}
        )
        values = {name: getattr(preset, f.name) for name, preset in PRESETS.items()}
        texts = {name: f"{value:.4g}" if f.type is float else str(value) for name, value in values.items()}
        if len(set(texts.values())) == 1:
            defaults = texts["toy"]
        else:
            defaults = ", ".join(f"{name} {text}" for name, text in texts.items())
        group.add_argument(
            to_flag(f.name),
            type=value_type,
            default=argparse.SUPPRESS,
            help=f"{f.metadata['help']} ({defaults})",
            **limits,
        )
