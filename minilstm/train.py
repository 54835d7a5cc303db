"""The training loop: one step, one epoch, all epochs.

Zaremba et al., arXiv 1409.2329, section 4.1: the state is zero at the start of an epoch and carried from window to
window; gradients stop at a window's edge. Costs and norms stay on the device until somebody wants to see them.
"""

import math
import sys
import time
from functools import partial
from statistics import median

import numpy as np
from tqdm import tqdm

from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.evaluate import count_predictions, evaluate, perplexity
from minilstm.gpu.cublas import recordable_products
from minilstm.gpu.graph import fixed, record_graph
from minilstm.mixed_precision import half_loss_and_gradients
from minilstm.model import draw_masks, init_params, loss_and_gradients, zero_state
from minilstm.optim import adam, clip_by_global_norm, learning_rate_at, sgd, zero_moments
from minilstm.runs.checkpoint import Checkpoint, Progress, save_checkpoint
from minilstm.runs.directory import append_metrics
from minilstm.runs.plot import plot_runs
from minilstm.runs.signals import say, stop_signals
from minilstm.text.batches import batchify, get_batch, num_windows
from minilstm.text.corpus import fingerprint

READ_EVERY = 20  # steps between two looks at the device's costs and norms


def init_train_state(config, vocabulary, xp):
    """A run before its first step: fresh weights, zero state."""
    params = init_params(config, len(vocabulary), xp)
    moments = zero_moments(params) if config.optimizer == "adam" else {}
    state = zero_state(config, config.batch_size, xp)
    return Checkpoint(
        config,
        fingerprint(vocabulary),
        params,
        moments,
        state,
        Progress(epoch=0, window=0, step=0, cost=0.0, norms=[], metric_rows=0),
    )


def update(checkpoint, inputs, targets, masks, learning_rate, step):
    """Forward, backward, clip, update: all that a training step does on the device, in place.

    Parameters and returns as for `train_step`; `masks` from `draw_masks`; `step` is 1 for the first.
    """
    config, _, params, moments, state, _ = checkpoint
    gradients = half_loss_and_gradients if config.dtype == "float16" else loss_and_gradients
    cost, grads, new_state = gradients(params, config, inputs, targets, state, masks)
    grads, norm = clip_by_global_norm(grads, config.max_grad_norm)
    if config.optimizer == "adam":
        adam(params, grads, learning_rate, moments, step)
    else:
        sgd(params, grads, learning_rate)
    for (h, c), (new_h, new_c) in zip(state, new_state, strict=True):
        h[...], c[...] = new_h, new_c
    return cost, norm


def compile_step(checkpoint, xp):
    """`update` of one run, as ``f(inputs, targets, masks, learning_rate, step)``: on a GPU as one CUDA graph."""
    step = partial(update, checkpoint)
    if xp.__name__ != "cupy":
        return step
    step = recordable_products(xp)(step)
    number = partial(xp.asarray, dtype="float64" if checkpoint.config.dtype == "float64" else "float32")
    return fixed(step, partial(record_graph, cupy=xp), number)


def train_step(checkpoint, inputs, targets, learning_rate, xp, device_step=None):
    """One window of truncated BPTT: forward, backward, clip, update.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its params, moments, state and progress move on, in place.
    inputs, targets : int array (T, B)
    learning_rate : float
    xp : module
    device_step : callable, optional
        From `compile_step`; by default `update`.

    Returns
    -------
    cost, norm : array ()
        Cost of the window, and the global norm of its gradients before clipping; on the device.
    """
    progress = checkpoint.progress
    masks = draw_masks(checkpoint.config, progress.step, inputs.shape, xp)
    progress.window += 1
    progress.step += 1
    device_step = device_step or partial(update, checkpoint)
    return device_step(inputs, targets, masks, learning_rate, progress.step)


def read_losses(unread, checkpoint, xp):
    """Bring costs and norms of the last steps to the host and into the progress; stop if the run has diverged."""
    config, progress = checkpoint.config, checkpoint.progress
    if not unread:
        return
    costs, norms = (to_host(xp.stack(values)).astype(float) for values in zip(*unread, strict=True))
    for step, cost, norm in zip(range(progress.step - len(unread) + 1, progress.step + 1), costs, norms, strict=True):
        if not math.isfinite(norm) or not math.isfinite(perplexity(cost, config.num_steps)):
            raise UserError(
                f"diverged at step {step}: cost {cost:.4g}, gradient norm {norm:.4g}; lower --learning-rate, "
                "--max-grad-norm or --init-scale (the last good checkpoint is kept)"
            )
        progress.cost += cost
        progress.norms.append(norm)
    unread.clear()


def train_epoch(run, checkpoint, data, device_step, xp, stopped, max_steps, checkpoint_every):
    """Train on the windows that the epoch still has, with ten reports on the way, as the reference prints them.

    Returns the perplexity of the epoch so far (NaN before its first step), and the speed in words per second. On a
    terminal a bar stands for the printed reports.
    """
    config, _, _, _, _, progress = checkpoint
    windows = num_windows(len(data), config.num_steps)
    learning_rate = learning_rate_at(config, progress.epoch)
    report_every = max(windows // 10, 1)  # after 11 windows, then at each further tenth
    first, start = progress.window, time.perf_counter()
    unread = []  # costs and norms still on the device

    def read():
        read_losses(unread, checkpoint, xp)
        words = (progress.window - first) * config.num_steps * config.batch_size
        running_perplexity = (
            perplexity(progress.cost, progress.window * config.num_steps) if progress.window else math.nan
        )
        return running_perplexity, words / (time.perf_counter() - start)

    say(f"Epoch: {progress.epoch + 1} Learning rate: {learning_rate:.3f}", stopped)
    label = f"epoch {progress.epoch + 1}"
    with tqdm(total=windows, initial=first, desc=label, leave=False, disable=not sys.stderr.isatty()) as bar:
        while progress.window < windows and not stopped and not reached(progress, max_steps):
            inputs, targets = get_batch(data, progress.window, config.num_steps)
            unread.append(train_step(checkpoint, inputs, targets, learning_rate, xp, device_step))
            bar.update()
            due = progress.window < windows and (progress.window - 1) % report_every == min(10, report_every - 1)
            save = checkpoint_every and progress.step % checkpoint_every == 0
            if due or save or len(unread) == READ_EVERY:
                running_perplexity, speed = read()
                bar.set_postfix_str(f"perplexity {running_perplexity:.2f}, {speed:.0f} words/s")
            if due:
                report(run, config, progress, running_perplexity, learning_rate, speed)
                if not (sys.stdout.isatty() and sys.stderr.isatty()):
                    done = (progress.window - 1) / windows
                    say(f"{done:.3f} perplexity: {running_perplexity:.3f} speed: {speed:.0f} wps", stopped)
            if save:
                save_checkpoint(run / "checkpoint.safetensors", checkpoint)
    return read()


def reached(progress, max_steps):
    """Whether `max_steps` steps, if that is a number, have been done."""
    return max_steps is not None and progress.step >= max_steps


def report(run, config, progress, running_perplexity, learning_rate, speed):
    """A train row of metrics.csv."""
    norm = median(progress.norms) if progress.norms else None
    tokens = progress.window * config.num_steps * config.batch_size
    append_metrics(run, progress, progress.epoch + 1, "train", running_perplexity, tokens, learning_rate, speed, norm)
    progress.norms.clear()


def train(run, checkpoint, corpus, xp, max_steps=None, checkpoint_every=None):
    """Train until the configured epochs are done, `max_steps` are reached, or a signal asks to stop.

    Parameters
    ----------
    run : Path
        The run's directory, with a description and a checkpoint.
    checkpoint : Checkpoint
        Where to go on, its arrays on the device; moves on in place.
    corpus : Corpus
    xp : module
        numpy or cupy.
    max_steps : int, optional
        Stop once this many steps have been done, over all epochs.
    checkpoint_every : int, optional
        Save after every so many steps, besides after every epoch.

    Returns
    -------
    float or None
        Test perplexity, or None if the run stopped before its end; its checkpoint is saved in either case.

    Raises
    ------
    UserError
        If the corpus is too short for one window, the run diverges, or the disk is full.
    OSError
        If nobody can read what is printed any more; the run has stopped and is saved then.
    """
    config, _, params, _, state, progress = checkpoint
    path = run / "checkpoint.safetensors"
    data = xp.asarray(batchify(corpus.splits["train"], config.batch_size))
    windows = num_windows(len(data), config.num_steps)
    device_step = compile_step(checkpoint, xp)
    with stop_signals() as stopped, np.errstate(all="ignore"):
        while progress.epoch < config.max_max_epoch:
            if stopped or (reached(progress, max_steps) and progress.window < windows):
                return save_checkpoint(path, checkpoint)
            epoch, learning_rate = progress.epoch + 1, learning_rate_at(config, progress.epoch)
            running_perplexity, speed = train_epoch(
                run, checkpoint, data, device_step, xp, stopped, max_steps, checkpoint_every
            )
            if progress.window < windows:
                return save_checkpoint(path, checkpoint)
            say(f"Epoch: {epoch} Train Perplexity: {running_perplexity:.3f}", stopped)
            valid_perplexity = evaluate(params, config, "valid", corpus.splits["valid"], xp, stopped)
            if stopped:
                return save_checkpoint(path, checkpoint)
            say(f"Epoch: {epoch} Valid Perplexity: {valid_perplexity:.3f}", stopped)
            report(run, config, progress, running_perplexity, learning_rate, speed)
            predictions = count_predictions(config, "valid", corpus.splits["valid"])
            append_metrics(run, progress, epoch, "valid", valid_perplexity, predictions)
            progress.epoch, progress.window, progress.cost = epoch, 0, 0.0
            for h, c in state:
                h[...], c[...] = 0, 0
            save_checkpoint(path, checkpoint)
            plot_runs([run], run / "curve.png")
        test_perplexity = evaluate(params, config, "test", corpus.splits["test"], xp, stopped)
        if stopped:
            return None
        say(f"Test Perplexity: {test_perplexity:.3f}", stopped)
        predictions = count_predictions(config, "test", corpus.splits["test"])
        append_metrics(run, progress, progress.epoch, "test", test_perplexity, predictions)
        plot_runs([run], run / "curve.png")
    return test_perplexity
