"""The command line, thin: it parses and calls. Each command imports what it needs, so that --help comes at once."""

import errno
import io
import os
import sys
import warnings
from contextlib import suppress
from dataclasses import fields
from shlex import quote

from minilstm.arguments import parse, with_flags
from minilstm.config import Config
from minilstm.errors import UserError, escape_control_chars, one_line
from minilstm.runs.signals import silence


def config_overrides(args):
    """The hyperparameters that were typed."""
    return {f.name: getattr(args, f.name) for f in fields(Config) if hasattr(args, f.name)}


def run_train(args):
    from minilstm.device import select_device
    from minilstm.runs.session import new_run, resume_run

    if args.resume and (args.out is None or args.overwrite):
        raise UserError("--resume needs --out DIR, the run to go on with, and does not go with --overwrite")
    xp, note = select_device(args.device)
    if args.resume:
        begin = resume_run(config_overrides(args), args.data, args.out, xp)
    else:
        begin = new_run(config_overrides(args), args.data, args.out, args.overwrite, xp)
    with begin as (run, checkpoint, corpus, floor):
        print(note)
        return train_and_tell(args, run, checkpoint, corpus, floor, xp)


def train_and_tell(args, run, checkpoint, corpus, floor, xp):
    """Train, and say what is trained, where it is and what can be done next."""
    from minilstm.train import reached, train

    config, progress = checkpoint.config, checkpoint.progress
    tokens, words = len(corpus.splits["train"]), len(corpus.vocabulary)
    print(f"Corpus: {corpus.name}, {tokens:,} training tokens, {words:,} words")
    print(f"Model: {config.model}, {sum(param.size for param in checkpoint.params.values()):,} parameters, into {run}")
    if floor:
        print(f"Floor: {floor:.3f}, the test perplexity of the grammar that wrote the text")
    if progress.epoch == config.max_max_epoch:
        print(f"All {progress.epoch} epochs are done; --max-max-epoch with a larger number would go on")
    elif args.resume:
        print(f"Resuming in epoch {progress.epoch + 1} after {progress.step} steps")
        if reached(progress, args.max_steps):
            print(f"--max-steps {args.max_steps} counts the steps of the whole run: there is nothing left to do")
    try:
        test_perplexity = train(run, checkpoint, corpus, xp, args.max_steps, args.checkpoint_every)
    except OSError:  # nobody reads standard output any more
        complain(
            f"the output is closed: stopped after {progress.step} steps; saved. To go on: {how_to_go_on(run)}", None
        )
        raise
    if test_perplexity is None:
        epoch = min(progress.epoch + 1, config.max_max_epoch)  # the test may be all that was left
        print(f"Stopped in epoch {epoch} after {progress.step} steps; saved. To go on:")
        print(f"  {how_to_go_on(run)}")
        return 0 if reached(progress, args.max_steps) else 130
    if floor:
        print(f"That is {test_perplexity / floor - 1:.1%} above the floor.")
    print(f"Curve: {run / 'curve.png'}")
    print(f"Checkpoint: {run / 'checkpoint.safetensors'}")
    print("Next:")
    print(f"  minilstm generate {quote(str(run))}")
    print(f"  minilstm evaluate {quote(str(run))} --split valid")
    print(f"  {how_to_go_on(run)} --max-max-epoch {config.max_max_epoch + 2}")
    return 0


def how_to_go_on(run):
    """The command that resumes a run."""
    return f"minilstm train --resume --out {quote(str(run))}"


def run_evaluate(args):
    from minilstm.device import select_device
    from minilstm.evaluate import count_predictions, evaluate
    from minilstm.runs.session import open_corpus, open_run

    xp, note = select_device(args.device)
    checkpoint, _, description = open_run(args.run, xp)
    corpus = open_corpus(checkpoint, args.run, args.data or description["data"])
    config, ids = checkpoint.config, corpus.splits[args.split]
    perplexity = evaluate(checkpoint.params, config, args.split, ids, xp)
    print(note, file=sys.stderr)  # not before: an error is one line
    print(f"{args.split.capitalize()} Perplexity: {perplexity:.3f}")
    predicted = count_predictions(config, args.split, ids)
    streams = 1 if args.split == "test" else config.batch_size
    print(
        f"Words predicted: {predicted:,} of {len(ids):,}; "
        f"not predicted: {streams:,} at the start of a stream, {len(ids) - predicted - streams:,} at the end"
    )


def run_generate(args):
    from minilstm.device import select_device
    from minilstm.generate import encode_prompt, generate
    from minilstm.runs.session import open_run
    from minilstm.text.corpus import EOS

    xp, _ = select_device(args.device)
    checkpoint, vocabulary, _ = open_run(args.run, xp)
    prompt = encode_prompt(args.prompt, vocabulary)
    words = generate(
        checkpoint.params, checkpoint.config, vocabulary, prompt, args.words, args.temperature, args.seed, xp
    )
    line_start = not prompt
    print(*args.prompt.split(), end="")
    for word in words:
        print("\n" if word == EOS else escape_control_chars(word if line_start else f" {word}"), end="", flush=True)
        line_start = word == EOS
    print()


def run_plot(args):
    from minilstm.runs.plot import plot_runs

    plot_runs(args.runs, args.output)
    print(f"Curve: {args.output}")


def run_download(args):
    from minilstm.text.download import download_ptb

    source = download_ptb(args.out)
    print(f"{args.out}: {'fetched from ' + source if source else 'already there'}; sha256 of every file is right")
    print(f"The text is licensed for research. Next: minilstm train --model small --data {quote(args.out)}")


def run_gradcheck(args):
    from minilstm.device import select_device
    from minilstm.gradcheck_cases import BOUND, check_layers

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


COMMANDS = {
    "train": run_train,
    "evaluate": run_evaluate,
    "generate": run_generate,
    "plot": run_plot,
    "download": run_download,
    "gradcheck": run_gradcheck,
}


def open_streams():
    """Let printing work wherever we are: output that was closed goes nowhere, what it cannot encode is written out."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, as long as the process lives
        if isinstance(getattr(sys, name), io.TextIOWrapper):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def complain(text, status):
    """Print one line on standard error, if there is still somebody to read it; returns the exit status."""
    with suppress(OSError):
        print(f"minilstm: {one_line(text)}", file=sys.stderr)
    return status


def main(argv=None):
    """Run one command.

    Returns
    -------
    int
        The exit status: 2 for a user's mistake, 130 for Ctrl-C, 141 if nobody reads our output any more.
    """
    open_streams()
    try:
        try:
            args = parse(argv)
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # what overflows, we say ourselves
                status = COMMANDS[args.command](args) or 0
        except SystemExit as stop:  # argparse: --help, or a complaint
            status = stop.code
        sys.stdout.flush()  # here, where a failure can still be told
        return status
    except UserError as error:
        return complain(f"error: {with_flags(str(error))}", 2)
    except MemoryError as error:
        return complain(f"error: out of memory ({error}); make the model or its batches smaller", 2)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    except OSError as error:  # what lies outside the program, never a bug of ours
        if error.filename is not None:
            return complain(f"error: cannot use {error.filename}: {error.strerror}", 2)
        silence()
        if error.errno in (errno.EPIPE, errno.EIO):  # head has seen enough, or the terminal was closed
            return 141
        return complain(f"error: cannot print: {error.strerror}; make room, or send the output elsewhere", 2)
