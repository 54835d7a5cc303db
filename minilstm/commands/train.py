"""minilstm train: train a model, or continue a run."""

import argparse
import sys
from argparse import Namespace
from dataclasses import fields
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from minilstm import ranks
from minilstm.arguments import (
    Parser,
    add_data_flag,
    add_device_flags,
    non_negative,
    path,
    positive,
    print_error,
    to_flag,
)
from minilstm.commands.backend import select_backend
from minilstm.commands.texts import print_unknown_shares
from minilstm.config import PRESETS, Config
from minilstm.errors import UserError, escape_control_chars
from minilstm.progress import is_done, out_of_patience
from minilstm.step import TrainState
from minilstm.text.corpus import UNK, Corpus, unknown_share
from minilstm.text.reading import STANDARD_INPUT
from minilstm.types import Kernels

DESCRIPTION = (
    "Train a language model; by default the toy model, in about a minute. "
    'Under mpiexec (pip install "mpi4py>=4" mpich; mpiexec -n 2 minilstm train ...) the processes share each batch.'
)
LOOSE = "--data"  # what a word without a flag is probably meant for
EXAMPLE = "minilstm train --model small --data data/ptb --out runs/small"


def add_flags(parser: Parser) -> None:
    add_data_flag(parser, "the embedded toy corpus, or that of the run --init-from")
    add_device_flags(parser)
    parser.add_argument("--out", type=path, metavar="DIR", help="directory of the run (runs/<model>-<time>)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out exactly where it stopped")
    parser.add_argument(
        "--init-from",
        type=path,
        metavar="RUN",
        help="start from the weights, words and hyperparameters of a run, or of one of its checkpoints; or from the "
        "weights in a safetensors file of PyTorch's word language model, with its words in vocab.txt beside it",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument(
        "--max-steps", type=non_negative, metavar="N", help="stop after N steps of the run; 0 saves the initial weights"
    )
    parser.add_argument(
        "--checkpoint-every", type=positive, metavar="N", help="also save every N steps (once per epoch)"
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="also write a log for TensorBoard (needs the extra tensorboard)"
    )
    add_config_flags(parser)


def add_config_flags(parser: Parser) -> None:
    """Add a flag for each field of Config, which appears in the result only if it was given."""
    title = "hyperparameters, by default those of the preset --model, or of the run --init-from"
    group = parser.add_argument_group(title)
    group.add_argument("--model", choices=PRESETS, default=argparse.SUPPRESS, help="preset (toy)")
    for f in fields(Config):
        if f.name == "model":
            continue
        value_type: Any = f.type
        if f.type is bool:
            action, default = argparse.BooleanOptionalAction, argparse.SUPPRESS
            group.add_argument(to_flag(f.name), action=action, default=default, help=f.metadata["help"])
            continue
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


def run(args: Namespace) -> int:
    from minilstm.runs.recorder import train_beside
    from minilstm.runs.session import new_run, resume_run
    from minilstm.runs.together import follow
    from minilstm.runs.weights import open_source

    if args.resume and (args.out is None or args.overwrite):
        raise UserError("--resume needs --out DIR, the run to continue, and cannot be combined with --overwrite")
    if args.tensorboard:
        from minilstm.runs.tensorboard import require_tensorboard_x

        require_tensorboard_x()
    if args.resume and args.init_from:
        raise UserError("--resume continues with a run's own weights; omit --init-from")
    xp, kernels, note = select_backend(args)
    if ranks.world and ranks.world.rank:
        state, corpus = follow(ranks.world, xp)
        state = ranks.world.own_part(state)
        train_beside(state, corpus, kernels, args.max_steps, args.checkpoint_every)
        return 0
    if args.resume:
        session = resume_run(config_overrides(args), args.data, args.out, xp)
    else:
        source = open_source(args.init_from) if args.init_from else None
        note = "\n".join([note, *map(escape_control_chars, source.describe() if source else [])])
        session = new_run(config_overrides(args), args.data, args.out, args.overwrite, xp, source)
        del source
    with session as (run, state, corpus, floor):
        state = ranks.world.own_part(state) if ranks.world else state
        return train_and_print(args, note, run, state, corpus, floor, kernels)


def config_overrides(args: Namespace) -> dict[str, Any]:
    """The hyperparameters given as flags."""
    return {f.name: getattr(args, f.name) for f in fields(Config) if hasattr(args, f.name)}


def print_start(args: Namespace, note: str, run: Path, state: TrainState, corpus: Corpus, floor: float | None) -> None:
    """Print the device, the corpus, the model and the run's directory before training."""
    from minilstm.evaluate import format_perplexity
    from minilstm.runs.directory import read_description
    from minilstm.runs.recorder import describe_patience
    from minilstm.train import reached

    config, progress = state.config, state.progress
    print(note)
    tokens, words = len(corpus.splits["train"]), len(corpus.vocabulary)
    units = "words" if config.unit == "word" else "characters"
    print(escape_control_chars(f"Corpus: {corpus.name}, {tokens:,} training tokens, {words:,} {units}"))
    if UNK in corpus.vocabulary:
        shares = {split: unknown_share(ids, corpus.vocabulary) for split, ids in corpus.splits.items()}
        print_unknown_shares(shares, config.unit, own=read_description(run)["init_from"] is None)
    size = sum(param.size for param in state.params.values())
    print(escape_control_chars(f"Model: {config.model}, {size:,} parameters, into {run}"))
    if config.precision == "tf32" and isinstance(state.params["decoder.bias"], np.ndarray):
        print("minilstm: --precision tf32 needs a GPU; matrix products use full precision", file=sys.stderr)
    if floor:
        print(f"Floor: {format_perplexity(floor)}, the test perplexity of the grammar that generated the text")
    if out_of_patience(config, progress):
        print(f"{describe_patience(state)}; to continue, raise --patience")
    elif progress.epoch == config.max_max_epoch:
        print(f"All {progress.epoch} epochs are done; to continue, raise --max-max-epoch")
    elif args.resume:
        print(f"Resuming in epoch {progress.epoch + 1} after {progress.step} steps")
        if reached(state, args.max_steps):
            print(f"--max-steps {args.max_steps} counts the steps of the whole run: nothing left to do")


def train_and_print(
    args: Namespace, note: str, run: Path, state: TrainState, corpus: Corpus, floor: float | None, kernels: Kernels
) -> int:
    """Train; print the result, its location and possible next commands."""
    from minilstm.runs.directory import BEST, CHECKPOINT
    from minilstm.runs.recorder import train_and_record
    from minilstm.train import reached

    config, progress, text = state.config, state.progress, " --data -" * (corpus.name == STANDARD_INPUT)
    resume = resume_command(run, args.tensorboard) + text
    try:
        print_start(args, note, run, state, corpus, floor)
        test_perplexity = train_and_record(
            run, state, corpus, kernels, args.max_steps, args.checkpoint_every, args.tensorboard
        )
    except OSError:  # standard output is closed or full
        print_error(f"output closed or full: stopped after {progress.step} steps; saved. To continue: {resume}")
        raise
    if test_perplexity is None:
        epoch = progress.epoch + (not is_done(config, progress))  # possibly only the test was left
        line = f"Stopped in epoch {epoch} after {progress.step} steps; saved. To continue: {resume}"
        print(escape_control_chars(line))
        return 0 if reached(state, args.max_steps) else 130
    if floor:
        excess = 100 * (test_perplexity / floor - 1)
        print(f"That is {excess:.1f}% above the floor." if excess < 1e6 else f"That is {excess:.4g}% above the floor.")
    curve = run / "curve.png"
    lines = [f"Curve: {curve}"] * curve.exists() + [f"Checkpoint: {run / CHECKPOINT}"]
    if 0 < progress.best_epoch < progress.epoch and (run / BEST).exists():
        lines += [f"Best checkpoint, of epoch {progress.best_epoch}: {run / BEST}"]
    lines += ["Next:"]
    lines += [f"  minilstm generate {quote(str(run))}", f"  minilstm evaluate {quote(str(run))} --split valid{text}"]
    lines += [f"  tensorboard --logdir {quote(str(run))}"] * args.tensorboard
    if out_of_patience(config, progress):
        lines += [f"  {resume} --patience {progress.epoch - progress.best_epoch + 2}"]
    else:
        lines += [f"  {resume} --max-max-epoch {config.max_max_epoch + 2}"]
    print(*map(escape_control_chars, lines), sep="\n")
    return 0


def resume_command(run: Path, tensorboard: bool = False) -> str:
    return f"minilstm train --resume --out {quote(str(run))}" + " --tensorboard" * tensorboard
