"""Training: one epoch, all epochs.

Zaremba et al., arXiv 1409.2329, section 4.1: the LSTM's state is zero at the start of an epoch and carried from window
to window. Losses and norms stay on the device until they are reported.

`train` is a generator of events: it does not print, plot or write. runs/recorder.py does that.
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache
from statistics import median

import numpy as np
from tqdm import tqdm

from minilstm import plain
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.evaluate import evaluate_split, format_perplexity, perplexity
from minilstm.events import EpochStarted, EpochTrained, Event, Report, SaveDue
from minilstm.masks import as_masks, flatten_masks
from minilstm.parallel import parallel_step
from minilstm.progress import MAX_NORMS, averaging_begins, end_epoch, has_diverged, is_done, learning_rate_of
from minilstm.step import TrainState, apply_step, begin_averaging, prepare_step, train_step, trained_params
from minilstm.text.batches import batchify, window_starts, windows_before
from minilstm.text.corpus import Corpus, fingerprint
from minilstm.types import Array, Kernels, Params

Step = Callable[[Array, Array, float], tuple[Array, Array]]  # (inputs, targets, learning_rate) -> loss, norm
MAX_PENDING = 20  # steps between two transfers of losses and norms to the host


def compile_step(state: TrainState, kernels: Kernels = plain) -> Step:
    """`train_step` of one run, as ``step(inputs, targets, learning_rate)``; with the fused set, as CUDA graphs."""
    if hasattr(kernels, "ranks"):
        return parallel_step(state, kernels)
    if kernels is plain:
        return lambda inputs, targets, learning_rate: train_step(state, inputs, targets, learning_rate)
    from minilstm.gpu.graph import graphed_callable

    def on_device(inputs: Array, targets: Array, learning_rate: Array, step: Array, *masks: Array | None) -> tuple:
        return apply_step(state, inputs, targets, as_masks(masks), learning_rate, step, kernels)

    graphs = cache(lambda num_steps: graphed_callable(on_device, like=state.params["decoder.bias"]))

    def compiled(inputs: Array, targets: Array, learning_rate: float) -> tuple[Array, Array]:
        masks = prepare_step(state, inputs, targets, kernels)
        arguments = inputs, targets, learning_rate, state.progress.step + 1, *flatten_masks(masks)
        loss, norm = graphs(len(inputs))(*arguments)
        state.progress.step += 1
        return loss, norm

    return compiled


def train(
    state: TrainState,
    corpus: Corpus,
    kernels: Kernels = plain,
    max_steps: int | None = None,
    checkpoint_every: int | None = None,
    stop_requested: Sequence[object] = (),
    show_progress: bool = False,
    load_best: Callable[[], Params | None] | None = None,
) -> Iterator[Event]:
    """Train until all epochs are done, patience or `max_steps` is exhausted, or a stop is requested.

    Parameters
    ----------
    state : TrainState
        The starting point; updated in place.
    corpus : Corpus
    kernels : module
        minilstm.plain or minilstm.gpu.fused.
    max_steps : int, optional
        Number of steps, over all epochs, after which to stop.
    checkpoint_every : int, optional
        Number of steps between `SaveDue` events, in addition to those after every epoch.
    stop_requested : sequence
        Training stops after the step in which this becomes non-empty.
    show_progress : bool
        Whether to show a progress bar on standard error.
    load_best : function, optional
        Returns the parameters at the end of ``state.progress.best_epoch``, if they were kept. They are tested too
        unless this is the last epoch.

    Yields
    ------
    Event
        The last `Report` of a complete run has the split "test".

    Raises
    ------
    UserError
        If the corpus is too short for one window or has another vocabulary than the state, or the run diverges: a loss
        or norm is not finite, or the last epoch ends far above the perplexity of random guessing.

    Examples
    --------
    >>> from minilstm import Config, init_train_state, load_corpus
    >>> corpus = load_corpus()
    >>> state = init_train_state(Config(hidden_size=8, max_max_epoch=1), corpus.vocabulary)
    >>> events = list(train(state, corpus, max_steps=100))
    >>> type(events[-1]).__name__, state.progress.step
    ('SaveDue', 100)
    """
    config, progress = state.config, state.progress
    if fingerprint(corpus.vocabulary) != state.vocabulary:
        raise UserError("the train state belongs to another vocabulary; make it with that of the corpus")
    like = state.params["decoder.bias"]
    streams = batchify(corpus.splits["train"], config.batch_size)
    if hasattr(kernels, "ranks"):
        streams = streams[:, kernels.ranks.columns(config.batch_size)]
    ids = np.asarray(streams, dtype=np.int64, like=like)  # (batch_len, B), as gpu/ reads them
    step = compile_step(state, kernels)
    while not is_done(config, progress):
        windows = len(window_starts(config, len(ids), progress.epoch)) - 1
        if windows < 1:
            raise UserError(
                f"the training text is too short for one window of {config.num_steps} steps; lower num_steps"
            )
        if stop_requested or (reached(state, max_steps) and progress.window < windows):
            yield SaveDue()
            return
        yield EpochStarted(progress.epoch + 1, learning_rate_of(config, progress))
        final = yield from train_epoch(state, ids, step, max_steps, checkpoint_every, stop_requested, show_progress)
        if progress.window < windows:
            yield SaveDue()
            return
        yield EpochTrained(progress.epoch + 1, final.perplexity)
        at = progress.epoch + 1, progress.step
        valid = evaluate_split(
            at, trained_params(state), config, corpus, "valid", kernels, stop_requested, show_progress
        )
        if stop_requested:
            yield SaveDue()
            return
        yield final
        yield valid
        end_epoch(progress, valid.perplexity)
        if averaging_begins(config, progress, valid.perplexity):
            begin_averaging(state)
            step = compile_step(state, kernels)
        if is_done(config, progress) and has_diverged(final.perplexity, valid.perplexity, len(like)):
            raise UserError(
                f"diverged: epoch {progress.epoch}, the last, ends with a training perplexity of "
                f"{format_perplexity(final.perplexity)}, far above {len(like)}, that of random guessing; "
                "lower learning_rate, max_grad_norm or init_scale (the last checkpoint is kept)"
            )
        for h, c in state.carried:
            h[...], c[...] = 0, 0
        yield SaveDue(epoch_ended=True)
    best = load_best() if load_best and 0 < progress.best_epoch < progress.epoch else None
    for params, epoch in ((best, progress.best_epoch), (trained_params(state), progress.epoch)):
        if params is not None:
            at = epoch, windows_before(config, len(ids), epoch)
            test = evaluate_split(at, params, config, corpus, "test", kernels, stop_requested, show_progress)
            if stop_requested:
                return
            yield test


def train_epoch(
    state: TrainState,
    ids: Array,
    step: Step,
    max_steps: int | None,
    checkpoint_every: int | None,
    stop_requested: Sequence[object],
    show_progress: bool,
) -> Generator[Event, None, Report]:
    """Train on the remaining windows of the epoch, with ten reports per epoch; returns the last report."""
    config, progress = state.config, state.progress
    starts = window_starts(config, len(ids), progress.epoch)
    windows = len(starts) - 1
    learning_rate = learning_rate_of(config, progress)
    report_every = max(windows // 10, 1)  # after 11 windows, then after each further tenth
    first, start = progress.window, time.perf_counter()
    pending: list[tuple[Array, Array]] = []  # losses and norms still on the device

    def report() -> Report:
        read_losses(pending, state)
        steps = int(starts[progress.window])
        return Report(
            epoch=progress.epoch + 1,
            step=progress.step,
            split="train",
            perplexity=perplexity(progress.loss, steps) if progress.window else math.nan,
            tokens=steps * config.batch_size,
            learning_rate=learning_rate,
            words_per_second=(steps - int(starts[first])) * config.batch_size / (time.perf_counter() - start),
            gradient_norm=float(median(progress.norms)) if progress.norms else None,
            done=(progress.window - 1) / windows if progress.window < windows else 1.0,
        )

    bar = tqdm(total=windows, initial=first, desc=f"epoch {progress.epoch + 1}", leave=False) if show_progress else None
    try:
        while progress.window < windows and not stop_requested and not reached(state, max_steps):
            begin, end = starts[progress.window], starts[progress.window + 1]
            pending.append(step(ids[begin:end], ids[begin + 1 : end + 1], learning_rate))
            progress.window += 1
            if bar:
                bar.update()
            due = progress.window < windows and (progress.window - 1) % report_every == min(10, report_every - 1)
            save = checkpoint_every and progress.step % checkpoint_every == 0
            if due or save or len(pending) == MAX_PENDING:
                latest = report()
                if bar:
                    shown, units = format_perplexity(latest.perplexity), f"{config.unit}s"
                    bar.set_postfix_str(f"perplexity {shown}, {latest.words_per_second:.0f} {units}/s")
            if due:
                progress.norms.clear()
                yield latest
            if save:
                yield SaveDue()
    finally:
        read_losses(pending, state)  # also where an interrupt ends the loop: every window counted has its loss
        if bar:
            bar.close()
    return report()


def reached(state: TrainState, max_steps: int | None) -> bool:
    """Whether `max_steps`, if given, is reached."""
    return max_steps is not None and state.progress.step >= max_steps


def read_losses(pending: list[tuple[Array, Array]], state: TrainState) -> None:
    """Transfer the pending losses and norms to the host and add them to the progress; a UserError on divergence."""
    config, progress = state.config, state.progress
    if not pending:
        return
    taken, pending[:] = list(pending), []
    losses, norms = (to_host(np.stack(values)).astype(float) for values in zip(*taken, strict=True))
    skipping = state.loss_scale is not None and float(to_host(state.loss_scale)[0]) >= 1
    for step, loss, norm in zip(range(progress.step - len(taken) + 1, progress.step + 1), losses, norms, strict=True):
        finite = math.isfinite(perplexity(loss, config.num_steps))
        if not finite or not (math.isfinite(norm) or skipping):
            raise UserError(
                f"diverged at step {step}: loss {loss:.4g}, gradient norm {norm:.4g}; lower learning_rate, "
                "max_grad_norm or init_scale (the last good checkpoint is kept)"
            )
        progress.loss += loss
        if math.isfinite(norm):  # otherwise half precision overflowed, and the step was skipped
            progress.norms.append(norm)
    del progress.norms[:-MAX_NORMS]
