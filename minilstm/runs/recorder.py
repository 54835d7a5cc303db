"""Training with a record: prints, saves and plots the events of `train`."""

import json
import os
import platform
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.introspect import opt_func_info

from minilstm import blocks
from minilstm.device import array_module
from minilstm.errors import one_line
from minilstm.evaluate import format_perplexity
from minilstm.events import EpochStarted, EpochTrained, Report, SaveDue
from minilstm.files import MAX_JSON_BYTES, atomic_write, parse_json, read_text
from minilstm.processors import available_processors
from minilstm.progress import at_best, has_diverged, out_of_patience
from minilstm.ranks import Ranks
from minilstm.runs.best import load_best
from minilstm.runs.checkpoint import on_device, pack_checkpoint, write_checkpoint
from minilstm.runs.directory import BEST, CHECKPOINT, append_metrics
from minilstm.runs.lock import require_lock
from minilstm.runs.picture import PictureError
from minilstm.runs.plot import plot_runs
from minilstm.runs.signals import print_or_stop, stop_signals
from minilstm.runs.tensorboard import tensorboard_log
from minilstm.step import TrainState
from minilstm.text.corpus import Corpus
from minilstm.train import train
from minilstm.types import Kernels, Params


def train_and_record(
    run: Path,
    state: TrainState,
    corpus: Corpus,
    kernels: Kernels,
    max_steps: int | None = None,
    checkpoint_every: int | None = None,
    tensorboard: bool = False,
) -> float | None:
    """Train in a run's directory until the run is done, `max_steps` is reached, or a signal requests a stop.

    Parameters
    ----------
    run : Path
        The run's directory, with config.json and a checkpoint.
    state, corpus, kernels, max_steps, checkpoint_every
        As for `train`.
    tensorboard : bool
        Whether to write a log for TensorBoard too.

    Returns
    -------
    float or None
        Test perplexity, or None if the run stopped early; a checkpoint is saved in either case.

    Raises
    ------
    UserError
        If the run diverges, or a file cannot be written.
    OSError
        If standard output is closed or full; the run is then stopped and saved.
    """
    unit, on_terminal = state.config.unit, sys.stdout.isatty() and sys.stderr.isatty()
    test_perplexity = None
    pictures_fail = False
    ranks = getattr(kernels, "ranks", None)
    machine = describe_machine(state, ranks)
    rounds_alike = state.progress.step == 0 or computed_alike(run, machine)
    atomic_write(run / "machine.json", json.dumps(machine, indent=2) + "\n")
    log = tensorboard_log(run, state, corpus) if tensorboard else nullcontext()
    with stop_signals() as stop_requested, np.errstate(all="ignore"), log as write_to_log:
        if not rounds_alike:
            print_or_stop(
                "The BLAS, the kind of processor or the number of processes is another one, or not recorded: "
                "results may differ by rounding",
                stop_requested,
            )

        def best_params() -> Params | None:
            kept = os.path.lexists(run / BEST)
            if ranks:
                ranks.comm.bcast(kept)
            if not kept:
                print_or_stop(f"The model of epoch {state.progress.best_epoch}, the best, was not kept", stop_requested)
                return None
            return on_device(load_best(run, state), array_module(state.params["decoder.bias"])).params

        show_progress = sys.stderr.isatty()
        stops = ranks.watch(stop_requested) if ranks else stop_requested
        for event in train(state, corpus, kernels, max_steps, checkpoint_every, stops, show_progress, best_params):
            require_lock(run)
            match event:
                case EpochStarted():
                    rate = format_learning_rate(event.learning_rate, state.config.learning_rate)
                    print_or_stop(f"Epoch: {event.epoch} Learning rate: {rate}", stop_requested)
                case EpochTrained():
                    trained = event
                    line = f"Epoch: {event.epoch} Train Perplexity: {format_perplexity(event.perplexity, unit)}"
                    print_or_stop(line, stop_requested)
                case Report():
                    append_metrics(run, event)
                    state.progress.metric_rows += 1
                    if write_to_log:
                        write_to_log(event)
                    of_best = event.split == "test" and event.epoch < state.progress.epoch
                    if line := line_of(event, unit, on_terminal, of_best):
                        print_or_stop(line, stop_requested)
                    if event.split == "valid" and (line := divergence_line(trained, event, state)):
                        pictures_fail = not plot_curve(run, quiet=pictures_fail)
                        if event.epoch < state.config.max_max_epoch:  # or else `train` ends with an error
                            print_or_stop(line, stop_requested)
                    if event.split == "test" and not of_best:
                        test_perplexity = event.perplexity
                        pictures_fail = not plot_curve(run, quiet=pictures_fail)
                case SaveDue():
                    packed = pack_checkpoint(ranks.whole(state) if ranks else state)
                    write_checkpoint(run / CHECKPOINT, packed)
                    if event.epoch_ended and at_best(state.progress):
                        atomic_write(run / BEST, packed.checkpoint)
                    del packed
                    if event.epoch_ended:
                        if out_of_patience(state.config, state.progress):
                            print_or_stop(describe_patience(state), stop_requested)
                        pictures_fail = not plot_curve(run, quiet=pictures_fail)
    return test_perplexity


def train_beside(
    state: TrainState, corpus: Corpus, kernels: Kernels, max_steps: int | None, checkpoint_every: int | None
) -> None:
    """What the other ranks of an MPI job do while rank 0 is in `train_and_record`."""
    ranks = kernels.ranks

    def best_params() -> Params | None:
        return state.params if ranks.comm.bcast(None) else None  # only rank 0 evaluates them

    with stop_signals() as requests, np.errstate(all="ignore"):
        stops = ranks.watch(requests)
        for event in train(state, corpus, kernels, max_steps, checkpoint_every, stops, load_best=best_params):
            if isinstance(event, SaveDue):
                ranks.whole(state)


def plot_curve(run: Path, quiet: bool) -> bool:
    """Draw curve.png and return whether that was possible; a picture that cannot be drawn does not end the run."""
    try:
        plot_runs([run], run / "curve.png")
    except PictureError as error:
        if not quiet:
            with suppress(OSError):  # standard error is closed
                print(f"minilstm: {one_line(str(error))}; training goes on without pictures", file=sys.stderr)
        return False
    return True


def describe_machine(state: TrainState, ranks: Ranks | None = None) -> dict[str, Any]:
    """What computes: it affects speed and, except for the threads, rounding; a run may be resumed with another."""
    from threadpoolctl import threadpool_info

    xp = array_module(state.params["decoder.bias"])
    loops = opt_func_info("^exp$").get("exp", {})  # types of the arguments -> the instructions that NumPy has chosen
    exp_loops = {types: loop["current"] for types, loop in loops.items()}
    return {
        "arrays": f"{xp.__name__} {xp.__version__}",
        "exp": exp_loops,
        "blas": [
            f"{library['internal_api']} {library['version']} {library.get('architecture', '')}".rstrip()
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ],
        "threads": blocks.threads.number,
        "processors": available_processors(),
        "python": platform.python_version(),
        "system": platform.platform(),
    } | ({"processes": ranks.size} if ranks else {})


def computed_alike(run: Path, machine: dict[str, Any]) -> bool:
    """Whether the run's machine.json names the arrays, instructions, BLAS and number of processes of this one."""
    try:
        earlier = parse_json(read_text(run / "machine.json", MAX_JSON_BYTES))
    except (OSError, ValueError):
        return False
    return isinstance(earlier, dict) and all(
        earlier.get(key) == machine.get(key) for key in ("arrays", "exp", "blas", "processes")
    )


def describe_patience(state: TrainState) -> str:
    """The line printed for a run that stops early."""
    progress, unit = state.progress, state.config.unit
    assert progress.best_perplexity is not None
    best = f"that of epoch {progress.best_epoch}, {format_perplexity(progress.best_perplexity, unit)}"
    return f"Stopped after epoch {progress.epoch}: the valid perplexity has not improved on {best}"


def line_of(report: Report, unit: str, on_terminal: bool, of_best: bool) -> str:
    """The line printed for a report, as in the reference script; on a terminal the progress bar replaces some."""
    if report.split == "test":
        name = f"Test Perplexity of the best epoch ({report.epoch})" if of_best else "Test Perplexity"
        return f"{name}: {format_perplexity(report.perplexity, unit)}"
    if report.split == "valid":
        return f"Epoch: {report.epoch} Valid Perplexity: {format_perplexity(report.perplexity, unit)}"
    if report.done == 1 or on_terminal:
        return ""
    perplexity = format_perplexity(report.perplexity)
    speed = f"{report.words_per_second:.0f} {'wps' if unit == 'word' else 'cps'}"
    return f"{report.done:.3f} perplexity: {perplexity} speed: {speed}"


def divergence_line(trained: EpochTrained, valid: Report, state: TrainState) -> str:
    """The line printed after an epoch that has diverged."""
    vocab_size = len(state.params["decoder.bias"])
    if not has_diverged(trained.perplexity, valid.perplexity, vocab_size):
        return ""
    return (
        f"Epoch: {valid.epoch} diverged: perplexities far above {vocab_size}, that of random guessing; "
        "lower --learning-rate, --max-grad-norm or --init-scale"
    )


def format_learning_rate(learning_rate: float, initial: float) -> str:
    """A learning rate with three decimals, as the reference prints it, or three significant digits.

    Three decimals are enough where they are exact, and for the rates that decay from an initial one of at least 0.1
    until they would be printed as zero.

    Examples
    --------
    >>> [format_learning_rate(rate, 1.0) for rate in (1.0, 0.0625, 0.000244)]
    ['1.000', '0.062', '0.000244']
    >>> [format_learning_rate(rate, 0.001) for rate in (0.001, 0.0005, 0.00025)]
    ['0.001', '0.0005', '0.00025']
    """
    three_decimals = f"{learning_rate:.3f}"
    shown = float(three_decimals)
    if learning_rate <= 1e6 and (shown == learning_rate or (shown > 0 and initial >= 0.1)):
        return three_decimals
    return f"{learning_rate:.3g}"
