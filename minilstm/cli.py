"""The command line: parsing, calling the library and printing. Each command imports its dependencies when it runs."""

import errno
import io
import os
import sys
import warnings
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from minilstm.arguments import parse, with_flags
from minilstm.blocks import use_threads
from minilstm.config import Config
from minilstm.device import keep_freed_memory, select_device
from minilstm.errors import UserError, escape_control_chars, one_line
from minilstm.model import select_kernels
from minilstm.step import TrainState
from minilstm.text.corpus import EOS, UNK, Corpus
from minilstm.types import ArrayModule, Kernels


def config_overrides(args: Namespace) -> dict[str, Any]:
    """The hyperparameters given as flags."""
    return {f.name: getattr(args, f.name) for f in fields(Config) if hasattr(args, f.name)}


def select_backend(args: Namespace) -> tuple[ArrayModule, Kernels, str]:
    """The array module and kernels selected by --device and --kernels, and a line that describes the device.

    It also sets the number of threads.
    """
    keep_freed_memory()
    xp, note = select_device(args.device)
    threads = use_threads(args.threads)
    if xp is np:
        note += f"; {threads} thread{'s'[: threads > 1]}"
    return xp, select_kernels(args.kernels, xp), note


def run_train(args: Namespace) -> int:
    from minilstm.runs.session import new_run, resume_run

    if args.resume and (args.out is None or args.overwrite):
        raise UserError("--resume needs --out DIR, the run to continue, and cannot be combined with --overwrite")
    xp, kernels, note = select_backend(args)
    if args.resume:
        session = resume_run(config_overrides(args), args.data, args.out, xp)
    else:
        session = new_run(config_overrides(args), args.data, args.out, args.overwrite, xp)
    with session as (run, state, corpus, floor):
        return train_and_print(args, note, run, state, corpus, floor, kernels)


def print_start(args: Namespace, note: str, run: Path, state: TrainState, corpus: Corpus, floor: float | None) -> None:
    """Print the device, the corpus, the model and the run's directory before training."""
    from minilstm.train import reached

    config, progress = state.config, state.progress
    print(note)
    tokens, words = len(corpus.splits["train"]), len(corpus.vocabulary)
    print(escape_control_chars(f"Corpus: {corpus.name}, {tokens:,} training tokens, {words:,} words"))
    size = sum(param.size for param in state.params.values())
    print(escape_control_chars(f"Model: {config.model}, {size:,} parameters, into {run}"))
    if config.precision == "tf32" and isinstance(state.params["decoder.bias"], np.ndarray):
        print("minilstm: --precision tf32 needs a GPU; matrix products use full precision", file=sys.stderr)
    if floor:
        print(f"Floor: {floor:.3f}, the test perplexity of the grammar that generated the text")
    if progress.epoch == config.max_max_epoch:
        print(f"All {progress.epoch} epochs are done; to continue, raise --max-max-epoch")
    elif args.resume:
        print(f"Resuming in epoch {progress.epoch + 1} after {progress.step} steps")
        if reached(state, args.max_steps):
            print(f"--max-steps {args.max_steps} counts the steps of the whole run: nothing left to do")


def train_and_print(
    args: Namespace, note: str, run: Path, state: TrainState, corpus: Corpus, floor: float | None, kernels: Kernels
) -> int:
    """Train; print the result, its location and possible next commands."""
    from minilstm.runs.recorder import train_and_record
    from minilstm.train import reached

    config, progress, resume = state.config, state.progress, resume_command(run)
    try:
        print_start(args, note, run, state, corpus, floor)
        test_perplexity = train_and_record(run, state, corpus, kernels, args.max_steps, args.checkpoint_every)
    except OSError:  # standard output is closed or full
        print_error(f"output closed or full: stopped after {progress.step} steps; saved. To continue: {resume}")
        raise
    if test_perplexity is None:
        epoch = min(progress.epoch + 1, config.max_max_epoch)  # possibly only the test was left
        line = f"Stopped in epoch {epoch} after {progress.step} steps; saved. To continue: {resume}"
        print(escape_control_chars(line))
        return 0 if reached(state, args.max_steps) else 130
    if floor:
        print(f"That is {test_perplexity / floor - 1:.1%} above the floor.")
    lines = [f"Curve: {run / 'curve.png'}", f"Checkpoint: {run / 'checkpoint.safetensors'}", "Next:"]
    lines += [f"  minilstm generate {quote(str(run))}", f"  minilstm evaluate {quote(str(run))} --split valid"]
    lines += [f"  {resume} --max-max-epoch {config.max_max_epoch + 2}"]
    print(*map(escape_control_chars, lines), sep="\n")
    return 0


def resume_command(run: Path) -> str:
    return f"minilstm train --resume --out {quote(str(run))}"


def run_evaluate(args: Namespace) -> None:
    from minilstm.evaluate import count_predictions, evaluate
    from minilstm.runs.session import open_corpus, open_run

    xp, kernels, note = select_backend(args)
    state, _, description = open_run(args.run, xp)
    corpus = open_corpus(state, args.run, args.data or description["data"])
    config, ids = state.config, corpus.splits[args.split]
    perplexity = evaluate(state.params, config, args.split, ids, kernels, show_progress=sys.stderr.isatty())
    print(note, file=sys.stderr)  # only now: an error must be one line
    print(f"{args.split.capitalize()} Perplexity: {perplexity:.3f}")
    predicted = count_predictions(config, args.split, ids)
    streams = 1 if args.split == "test" else config.batch_size
    print(
        f"Words predicted: {predicted:,} of {len(ids):,}; "
        f"not predicted: {streams:,} at the start of a stream, {len(ids) - predicted - streams:,} at the end"
    )


def run_generate(args: Namespace) -> None:
    from minilstm.generate import encode_prompt, generate
    from minilstm.runs.session import open_run

    xp, kernels, _ = select_backend(args)
    state, vocabulary, _ = open_run(args.run, xp)
    prompt, unknown = encode_prompt(args.prompt, vocabulary)
    words = generate(state.params, state.config, vocabulary, prompt, args.words, args.temperature, args.seed, kernels)
    if unknown:
        print(f"minilstm: the model reads {', '.join(map(repr, unknown))} as {UNK}", file=sys.stderr)
    line_start = not prompt
    print(*map(escape_control_chars, args.prompt.split()), end="")
    for word in words:
        text = "\n" if word == EOS else escape_control_chars(word if line_start else f" {word}")
        print(text, end="", flush=True)
        line_start = word == EOS
    print()


def run_plot(args: Namespace) -> None:
    from minilstm.runs.plot import plot_runs

    plot_runs(args.runs, args.output)
    print(f"Curve: {escape_control_chars(str(args.output))}")


def run_download(args: Namespace) -> None:
    from minilstm.text.download import download_ptb

    source = download_ptb(args.out)
    origin = f"downloaded from {source}" if source else "already present"
    print(escape_control_chars(f"{args.out}: {origin}; every SHA-256 is correct"))
    print("The text is licensed for research.", end=" ")
    print(escape_control_chars(f"Next: minilstm train --model small --data {quote(args.out)}"))


def run_gradcheck(args: Namespace) -> int:
    from minilstm.gradcheck_cases import BOUND, check_layers

    xp, kernels, note = select_backend(args)
    print(note)
    print(f"{'layer':16}{'parameter':20}{'checked':>16}{'max relative error':>22}")
    worst = 0.0
    for layer, result in check_layers(xp, kernels, seed=args.seed):
        checked, verdict = f"{result.checked} {result.by}", "" if result.error <= BOUND else "   WRONG"
        print(f"{layer:16}{result.name:20}{checked:>16}{result.error:>22.1e}{verdict}", flush=True)
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


def open_streams() -> None:
    """Make printing safe: replace closed streams by the null device, escape characters that cannot be encoded."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, open until the process ends
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_error(text: str) -> None:
    """Print one line on standard error, unless it is closed."""
    with suppress(OSError):
        print(f"minilstm: {one_line(text)}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        The exit status: 2 for a user error, 130 for Ctrl-C, 141 if the output was closed.
    """
    from minilstm.runs.signals import discard_output

    open_streams()
    try:
        try:
            args = parse(argv)
            with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # overflows are reported as errors
                status = COMMANDS[args.command](args) or 0
        except SystemExit as stop:  # argparse: --help, or an error
            status = stop.code if isinstance(stop.code, int) else 2
        sys.stdout.flush()  # here, where a failure can still be reported
        return status
    except UserError as error:
        print_error(f"error: {with_flags(str(error))}")
        return 2
    except MemoryError as error:
        print_error(f"error: out of memory ({error}); make the model or its batches smaller")
        return 2
    except KeyboardInterrupt:
        print_error("interrupted")
        return 130
    except OSError as error:  # a problem of the environment, not a bug
        if error.filename is not None:
            print_error(f"error: cannot use {error.filename}: {error.strerror}")
            return 2
        discard_output()
        if error.errno in (errno.EPIPE, errno.EIO):  # head has exited, or the terminal was closed
            return 141
        print_error(f"error: cannot print: {error.strerror}; free some space or redirect the output")
        return 2
