"""The command line, thin: it parses and calls. Each command imports what it needs, so that --help comes at once."""

import argparse
import os
import sys
from dataclasses import fields
from shlex import quote

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
            values = " ".join(
                dict.fromkeys(
                    f"{getattr(preset, f.name):.4g}" if f.type is float else str(getattr(preset, f.name))
                    for preset in PRESETS.values()
                )
            )
            hyper.add_argument(
                flag, type=f.type, default=argparse.SUPPRESS, help=f"{f.metadata['help']} ({values})", **extra
            )

    evaluate = command("evaluate", run_evaluate, "Print a trained model's perplexity on a split.")
    evaluate.add_argument("run", help="directory of a run")
    data_flag(evaluate, "the corpus the run was trained on")
    evaluate.add_argument("--split", choices=("train", "valid", "test"), default="test", help="(test)")
    device_flag(evaluate)

    generate = command("generate", run_generate, "Write text, word by word, with a trained model.")
    generate.add_argument("run", help="directory of a run")
    generate.add_argument("--prompt", default="", help="words to go on from (the start of a sentence)")
    generate.add_argument("--words", type=positive, default=100, metavar="N", help="words to write (100)")
    generate.add_argument(
        "--temperature", type=float, default=1.0, help="below 1 safer, above 1 wilder, 0 the likeliest word (1.0)"
    )
    generate.add_argument("--seed", type=count, default=0, help="the same seed writes the same text (0)")
    device_flag(generate)

    plot = command("plot", run_plot, "Draw the perplexity curves of one or more runs.")
    plot.add_argument("runs", nargs="+", metavar="run", help="directory of a run")
    plot.add_argument("-o", "--output", default="curves.png", metavar="FILE", help="PNG, SVG or PDF (curves.png)")

    download = command("download", run_download, "Fetch a corpus and check it.")
    download.add_argument("corpus", choices=("ptb",), help="ptb: the Penn Treebank files of Mikolov (6 MB, licensed)")
    download.add_argument("--out", default="data/ptb", metavar="DIR", help="where to put it (data/ptb)")

    gradcheck = command(
        "gradcheck", run_gradcheck, "Hold every gradient against finite differences; exit 1 if one is off."
    )
    gradcheck.add_argument("--seed", type=count, default=0, help="of the random arrays (0)")
    device_flag(gradcheck)
    return parser


def typed_config(args):
    """The hyperparameters that were typed."""
    return {f.name: getattr(args, f.name) for f in fields(Config) if hasattr(args, f.name)}


def run_train(args):
    from minilstm.device import select_device
    from minilstm.start import new_run, resume_run
    from minilstm.train import reached, train

    if args.resume and (args.out is None or args.overwrite):
        raise UserError("--resume needs --out DIR, the run to go on with, and does not go with --overwrite")
    xp, note = select_device(args.device)
    if args.resume:
        run, checkpoint, corpus, floor = resume_run(typed_config(args), args.data, args.out, xp)
    else:
        run, checkpoint, corpus, floor = new_run(typed_config(args), args.data, args.out, args.overwrite, xp)
    config, progress = checkpoint.config, checkpoint.progress
    tokens, words = len(corpus.splits["train"]), len(corpus.vocabulary)
    print(note)
    print(f"Corpus: {corpus.name}, {tokens:,} training tokens, {words:,} words")
    print(f"Model: {config.model}, {sum(param.size for param in checkpoint.params.values()):,} parameters, into {run}")
    if floor:
        print(f"Floor: {floor:.3f}, the test perplexity of the grammar that wrote the text")
    if progress.epoch == config.max_max_epoch:
        print(f"All {progress.epoch} epochs are done; --max-max-epoch with a larger number would go on")
    elif args.resume:
        print(f"Resuming in epoch {progress.epoch + 1} after {progress.step} steps")
    test_perplexity = train(run, checkpoint, corpus, xp, args.max_steps, args.checkpoint_every)
    if test_perplexity is None:
        epoch = min(progress.epoch + 1, config.max_max_epoch)  # the test may be all that was left
        print(f"Stopped in epoch {epoch} after {progress.step} steps; saved. To go on:")
        print(f"  minilstm train --resume --out {quote(str(run))}")
        return 0 if reached(progress, args.max_steps) else 130
    if floor:
        print(f"That is {test_perplexity / floor - 1:.1%} above the floor.")
    print(f"Curve: {run / 'curve.png'}")
    print(f"Checkpoint: {run / 'checkpoint.safetensors'}")
    print("Next:")
    print(f"  minilstm generate {quote(str(run))}")
    print(f"  minilstm evaluate {quote(str(run))} --split valid")
    print(f"  minilstm train --resume --out {quote(str(run))} --max-max-epoch {config.max_max_epoch + 2}")
    return 0


def run_evaluate(args):
    from minilstm.device import select_device
    from minilstm.evaluate import evaluate
    from minilstm.start import open_corpus, open_run

    xp, note = select_device(args.device)
    checkpoint, _, description = open_run(args.run, xp)
    corpus = open_corpus(checkpoint, args.run, args.data or description["data"])
    print(note, file=sys.stderr)
    perplexity = evaluate(checkpoint.params, checkpoint.config, args.split, corpus.splits[args.split], xp)
    print(f"{args.split.capitalize()} Perplexity: {perplexity:.3f}")


def run_generate(args):
    from minilstm.corpus import EOS
    from minilstm.device import select_device
    from minilstm.generate import encode_prompt, generate
    from minilstm.start import open_run

    xp, _ = select_device(args.device)
    checkpoint, vocabulary, _ = open_run(args.run, xp)
    prompt = encode_prompt(args.prompt, vocabulary)
    words = generate(
        checkpoint.params, checkpoint.config, vocabulary, prompt, args.words, args.temperature, args.seed, xp
    )
    line_start = not prompt
    print(*args.prompt.split(), end="")
    for word in words:
        print("\n" if word == EOS else word if line_start else f" {word}", end="", flush=True)
        line_start = word == EOS
    print()


def run_plot(args):
    from minilstm.plot import plot_runs

    plot_runs(args.runs, args.output)
    print(f"Curve: {args.output}")


def run_download(args):
    from minilstm.download import download_ptb

    source = download_ptb(args.out)
    print(f"{args.out}: {'fetched from ' + source if source else 'already there'}; sha256 of every file is right")
    print(f"The text is licensed for research. Next: minilstm train --model small --data {quote(args.out)}")


def run_gradcheck(args):
    from minilstm.device import select_device
    from minilstm.layerchecks import BOUND, check_layers

    xp, note = select_device(args.device)
    print(note)
    print(f"{'layer':16}{'parameter':20}{'checked':>16}{'max relative error':>22}")
    worst = 0.0
    for layer, result in check_layers(xp, seed=args.seed):
        verdict = "" if result.error <= BOUND else "   WRONG"
        print(
            f"{layer:16}{result.name:20}{f'{result.checked} {result.by}':>16}{result.error:>22.1e}{verdict}", flush=True
        )
        worst = max(worst, result.error)
    print(f"{'all gradients agree' if worst <= BOUND else 'GRADIENTS ARE WRONG'}: worst {worst:.1e}, bound {BOUND:.0e}")
    return 0 if worst <= BOUND else 1


def main(argv=None):
    """Run one command; returns the exit status: 2 for a user's mistake, 130 for Ctrl-C."""
    args = build_parser().parse_args(argv)
    try:
        return args.function(args) or 0
    except UserError as error:
        print(f"minilstm: error: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"minilstm: error: out of memory ({error}); make the model or its batches smaller", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minilstm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
