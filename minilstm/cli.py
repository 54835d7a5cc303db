"""The command line: ``minilstm train | evaluate | generate | plot | download | gradcheck``. Thin: it parses and calls."""

import argparse
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

from minilstm import __version__
from minilstm.config import PRESETS, Config
from minilstm.errors import UserError

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
    """argparse, with its complaint as one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def build_parser():
    """The parser of all commands; every field of Config is a flag of train."""
    parser = Parser(prog="minilstm", description="An LSTM language model whose every gradient is written by hand.")
    parser.add_argument("--version", action="version", version=f"minilstm {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)

    def command(name, function, text):
        sub = commands.add_parser(name, help=text, description=text, epilog=f"example: {EXAMPLES[name]}")
        sub.set_defaults(function=function)
        return sub

    def device_flag(sub):
        sub.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where arrays live (auto)")

    def data_flag(sub, default):
        sub.add_argument("--data", metavar="PATH", help=f"directory of a corpus, or one text file ({default})")

    train = command("train", run_train, "Train a language model; the toy one by default, in about a minute.")
    data_flag(train, "the embedded toy corpus")
    device_flag(train)
    train.add_argument("--out", metavar="DIR", help="directory of the run (runs/<model>-<time>)")
    train.add_argument("--resume", action="store_true", help="continue the run in --out exactly where it stopped")
    train.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    train.add_argument("--max-steps", type=count, metavar="N", help="stop after N steps in all; 0 writes the initial weights")
    train.add_argument("--checkpoint-every", type=positive, metavar="N", help="save every N steps too (every epoch)")
    hyper = train.add_argument_group("hyperparameters, each by default as --model has it")
    hyper.add_argument("--model", choices=PRESETS, default=argparse.SUPPRESS, help="preset (toy)")
    for f in fields(Config):
        if f.name != "model":
            flag = "--" + f.name.replace("_", "-")
            extra = {"choices": f.metadata["choices"]} if "choices" in f.metadata else {"metavar": f.type.__name__.upper()}
            values = " ".join(dict.fromkeys(f"{getattr(preset, f.name):.4g}" if f.type is float else str(getattr(preset, f.name)) for preset in PRESETS.values()))
            hyper.add_argument(flag, type=f.type, default=argparse.SUPPRESS, help=f"{f.metadata['help']} ({values})", **extra)

    evaluate = command("evaluate", run_evaluate, "Print a trained model's perplexity on a split.")
    evaluate.add_argument("run", help="directory of a run")
    data_flag(evaluate, "the corpus the run was trained on")
    evaluate.add_argument("--split", choices=("train", "valid", "test"), default="test", help="(test)")
    device_flag(evaluate)

    generate = command("generate", run_generate, "Write text, word by word, with a trained model.")
    generate.add_argument("run", help="directory of a run")
    generate.add_argument("--prompt", default="", help="words to go on from (the start of a sentence)")
    generate.add_argument("--words", type=positive, default=100, metavar="N", help="words to write (100)")
    generate.add_argument("--temperature", type=float, default=1.0, help="below 1 safer, above 1 wilder, 0 the likeliest word (1.0)")
    generate.add_argument("--seed", type=count, default=0, help="the same seed writes the same text (0)")
    device_flag(generate)

    plot = command("plot", run_plot, "Draw the perplexity curves of one or more runs.")
    plot.add_argument("runs", nargs="+", metavar="run", help="directory of a run")
    plot.add_argument("-o", "--output", default="curves.png", metavar="FILE", help="PNG, SVG or PDF (curves.png)")

    download = command("download", run_download, "Fetch a corpus and check it.")
    download.add_argument("corpus", choices=("ptb",), help="ptb: the Penn Treebank files of Mikolov (6 MB, licensed)")
    download.add_argument("--out", default="data/ptb", metavar="DIR", help="where to put it (data/ptb)")

    gradcheck = command("gradcheck", run_gradcheck, "Hold every gradient against finite differences; exit 1 if one is off.")
    gradcheck.add_argument("--seed", type=count, default=0, help="of the random arrays (0)")
    device_flag(gradcheck)
    return parser


def given_config(args):
    """The hyperparameters that were typed."""
    return {f.name: getattr(args, f.name) for f in fields(Config) if hasattr(args, f.name)}


def run_train(args):
    from minilstm.checkpoint import on_device, save_checkpoint, load_checkpoint
    from minilstm.corpus import fingerprint, load_corpus, num_windows
    from minilstm.device import select_device
    from minilstm.grammar import floor_of
    from minilstm.rundir import create_run, describe_run, read_description, rewind_metrics
    from minilstm.train import initial_checkpoint, train

    given = given_config(args)
    if args.resume:
        if args.out is None or args.overwrite:
            raise UserError("--resume needs --out DIR, the run to continue, and cannot go with --overwrite")
        run = Path(args.out)
        description = read_description(run)
        config = resumed_config(description, given, run)
        data = args.data or description["data"]
    else:
        config = new_config(given)
        data = args.data and str(Path(args.data).resolve())
    xp, note = select_device(args.device)
    corpus = load_corpus(data, config.min_count)
    tokens = {split: len(ids) for split, ids in corpus.splits.items()}
    windows = num_windows(tokens["train"] // config.batch_size, config.num_steps)
    if windows < 1:
        raise UserError(
            f"the training text has {tokens['train']} tokens, but one window of {config.num_steps} steps on "
            f"{config.batch_size} streams needs {(config.num_steps + 1) * config.batch_size}; "
            "lower --num-steps or --batch-size, or add text"
        )
    floor = floor_of(corpus)
    if args.resume and (run / "checkpoint.safetensors").exists():
        checkpoint = load_checkpoint(run / "checkpoint.safetensors")
        if checkpoint.vocabulary != fingerprint(corpus.vocabulary):
            raise UserError(f"{run} was trained with another vocabulary than {data} has; give the --data it began with")
        checkpoint = on_device(checkpoint._replace(config=config), xp)
        rewind_metrics(run, checkpoint.progress.metric_rows)
    else:
        if not args.resume:
            run = create_run(args.out, config.model, args.overwrite)
        describe_run(run, config, data, corpus.vocabulary, floor)
        checkpoint = initial_checkpoint(config, corpus.vocabulary, xp)
        save_checkpoint(run / "checkpoint.safetensors", checkpoint)

    print(note)
    print(f"Corpus: {data or 'toy (embedded)'}, {tokens['train']:,} training tokens, {len(corpus.vocabulary):,} words")
    print(f"Run: {run}, model {config.model}, {sum(p.size for p in checkpoint.params.values()):,} parameters")
    if floor:
        print(f"Floor: no model can have a lower expected test perplexity than {floor:.3f}, that of the grammar itself")
    if args.resume:
        print(f"Resuming at epoch {checkpoint.progress.epoch + 1}, step {checkpoint.progress.step}")
    sys.stdout.flush()
    test_perplexity = train(run, checkpoint, corpus, xp, args.max_steps, args.checkpoint_every)


def new_config(given):
    """A preset with what was typed; Adam has a learning rate of its own."""
    preset = PRESETS[given.get("model", "toy")]
    if given.get("optimizer") == "adam":
        preset = replace(preset, learning_rate=0.001)
    return replace(preset, **given)


def resumed_config(description, given, run):
    saved = Config(**{name: value for name, value in description.items() if name not in ("data", "floor")})
    return replace(saved, max_max_epoch=given.get('max_max_epoch', saved.max_max_epoch))


def run_evaluate(args): ...
def run_generate(args): ...
def run_plot(args): ...
def run_download(args): ...
def run_gradcheck(args): ...


def main(argv=None):
    args = build_parser().parse_args(argv)
    try:
        return args.function(args)
    except UserError as error:
        print(f"minilstm: error: {error}", file=sys.stderr)
        return 2
