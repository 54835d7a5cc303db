"""What can be typed: the commands and their flags, for argparse."""

import argparse
import difflib
from dataclasses import fields

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


def count(text):
    """A whole number of at least 0, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def positive(text):
    """A whole number of at least 1, for argparse."""
    if count(text) == 0:
        raise argparse.ArgumentTypeError("0 is not a whole number of at least 1")
    return int(text)


class Parser(argparse.ArgumentParser):
    """argparse, with its complaint as one line, and no flag cut short."""

    def __init__(self, **options):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def parse(argv=None):
    """What was typed, as argparse has it; a flag that is not known is complained of with the nearest that is."""
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        known = [flag for flag in args.parser._option_string_actions if flag.startswith("--")]
        near = difflib.get_close_matches(unknown[0].partition("=")[0], known, n=1)
        args.parser.error(f"unknown: {' '.join(unknown)}" + (f"; did you mean {near[0]}?" if near else ""))
    return args


def build_parser():
    """The parser of all commands; every field of Config is a flag of train."""
    parser = Parser(prog="minilstm", description="An LSTM language model whose every gradient is written by hand.")
    parser.add_argument("--version", action="version", version=f"minilstm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name, text):
        sub = commands.add_parser(name, help=text, description=text, epilog=f"example: {EXAMPLES[name]}")
        sub.set_defaults(parser=sub)
        return sub

    def device_flag(sub):
        sub.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where arrays live (auto)")

    def data_flag(sub, default):
        sub.add_argument("--data", metavar="PATH", help=f"directory of a corpus, or one text file ({default})")

    train = command("train", "Train a language model; the toy one by default, in about a minute.")
    data_flag(train, "the embedded toy corpus")
    device_flag(train)
    train.add_argument("--out", metavar="DIR", help="directory of the run (runs/<model>-<time>)")
    train.add_argument("--resume", action="store_true", help="continue the run in --out exactly where it stopped")
    train.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    train.add_argument(
        "--max-steps", type=count, metavar="N", help="stop after N steps in all; 0 writes the initial weights"
    )
    train.add_argument("--checkpoint-every", type=positive, metavar="N", help="save every N steps too (every epoch)")
    hyper = train.add_argument_group("hyperparameters, each by default as --model has it")
    hyper.add_argument("--model", choices=PRESETS, default=argparse.SUPPRESS, help="preset (toy)")
    for f in fields(Config):
        if f.name != "model":
            flag = "--" + f.name.replace("_", "-")
            extra = (
                {"choices": f.metadata["choices"]} if "choices" in f.metadata else {"metavar": f.type.__name__.upper()}
            )
            values = {name: getattr(preset, f.name) for name, preset in PRESETS.items()}
            values = {name: f"{value:.4g}" if f.type is float else str(value) for name, value in values.items()}
            if len(set(values.values())) == 1:
                values = values["toy"]
            else:
                values = ", ".join(f"{name} {value}" for name, value in values.items())
            hyper.add_argument(
                flag, type=f.type, default=argparse.SUPPRESS, help=f"{f.metadata['help']} ({values})", **extra
            )

    evaluate = command("evaluate", "Print a trained model's perplexity on a split.")
    evaluate.add_argument("run", help="directory of a run")
    data_flag(evaluate, "the corpus the run was trained on")
    evaluate.add_argument("--split", choices=("train", "valid", "test"), default="test", help="(test)")
    device_flag(evaluate)

    generate = command("generate", "Write text, word by word, with a trained model.")
    generate.add_argument("run", help="directory of a run")
    generate.add_argument("--prompt", default="", help="words to go on from (the start of a sentence)")
    generate.add_argument("--words", type=positive, default=100, metavar="N", help="words to write (100)")
    generate.add_argument(
        "--temperature", type=float, default=1.0, help="below 1 safer, above 1 wilder, 0 the likeliest word (1.0)"
    )
    generate.add_argument("--seed", type=count, default=0, help="the same seed writes the same text (0)")
    device_flag(generate)

    plot = command("plot", "RandomInputs the perplexity curves of one or more runs.")
    plot.add_argument("runs", nargs="+", metavar="run", help="directory of a run")
    plot.add_argument("-o", "--output", default="curves.png", metavar="FILE", help="PNG, SVG or PDF (curves.png)")

    download = command("download", "Fetch a corpus and check it.")
    download.add_argument("corpus", choices=("ptb",), help="ptb: the Penn Treebank files of Mikolov (6 MB, licensed)")
    download.add_argument("--out", default="data/ptb", metavar="DIR", help="where to put it (data/ptb)")

    gradcheck = command("gradcheck", "Hold every gradient against finite differences; exit 1 if one is off.")
    gradcheck.add_argument("--seed", type=count, default=0, help="of the random arrays (0)")
    device_flag(gradcheck)
    return parser
