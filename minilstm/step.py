"""One training step: forward, backward, clip, update; and the train state that it changes.

Zaremba et al., arXiv 1409.2329, section 4.1. The LSTM's state is carried from window to window; gradients stop at the
window boundary (truncated backpropagation through time).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minilstm import plain
from minilstm.config import Config
from minilstm.masks import Masks, draw_masks
from minilstm.mixed_precision import half_loss_and_gradients, init_loss_scale, take_or_skip
from minilstm.model import init_params, loss_and_gradients, zero_state
from minilstm.optim import decay_weights, update_average, zero_moments
from minilstm.progress import Progress
from minilstm.text.corpus import fingerprint
from minilstm.types import Array, ArrayModule, Grads, Kernels, Params, State


class TrainState(NamedTuple):
    """Everything that training changes, and its config; a checkpoint is this state in a file.

    Attributes
    ----------
    config : Config
    vocabulary : str
        Fingerprint of the vocabulary.
    params : dict of array
    moments : dict
        Adam's moments, name -> (m, v); empty for SGD.
    carried : list of (h, c)
        The LSTM layers' state, each (B, H), carried from window to window.
    loss_scale : array (2,) or None
        For half precision only; see mixed_precision.py.
    progress : Progress
    average : dict of array
        The mean of the weights since ``progress.average_start``; empty before.
    """

    config: Config
    vocabulary: str
    params: Params
    moments: dict[str, tuple[Array, Array]]
    carried: list[State]
    loss_scale: Array | None
    progress: Progress
    average: Params


def trained_params(state: TrainState) -> Params:
    """The weights of the model that has been trained: their average, if they are averaged."""
    return state.average or state.params


def begin_averaging(state: TrainState) -> None:
    """Average the weights from the next step on. A compiled step must be compiled anew."""
    state.progress.average_start = state.progress.step
    state.average.update({name: param.copy() for name, param in state.params.items()})


def init_train_state(
    config: Config, vocabulary: Sequence[str], xp: ArrayModule = np, params: Params | None = None
) -> TrainState:
    """The train state before the first step: zero LSTM state, and initial weights unless parameters are given.

    Examples
    --------
    >>> state = init_train_state(Config(hidden_size=8), ["<eos>", "a", "b"])
    >>> state.params["encoder.weight"].shape
    (3, 8)
    """
    if params is None:
        params = init_params(config, len(vocabulary), xp)
    params = {name: xp.asarray(param) for name, param in params.items()}
    like = params["decoder.bias"]
    return TrainState(
        config,
        fingerprint(vocabulary),
        params,
        zero_moments(params) if config.optimizer == "adam" else {},
        zero_state(config, config.batch_size, like),
        init_loss_scale(like) if config.dtype == "float16" else None,
        Progress(),
        {},
    )


def train_step(
    state: TrainState, inputs: Array, targets: Array, learning_rate: float, kernels: Kernels = plain
) -> tuple[Array, Array]:
    """One window of truncated BPTT: forward, backward, clip, update.

    Parameters
    ----------
    state : TrainState
        Updated in place.
    inputs, targets : int array (T, B)
    learning_rate : float
    kernels : module
        minilstm.plain or minilstm.gpu.fused.

    Returns
    -------
    loss, norm : array ()
        Loss of the window in nats and global gradient norm before clipping, both on the device.

    Raises
    ------
    IndexError
        If an input or target is not in the vocabulary. (With the fused set, the loss is NaN instead.)
    ValueError
        If the batch does not have the state's batch_size. Nothing has changed in either case.

    Examples
    --------
    >>> state = init_train_state(Config(hidden_size=8, batch_size=1), ["<eos>", "a", "b"])
    >>> ids = np.array([[0, 1, 2, 1, 2, 0, 1]]).T
    >>> losses = [float(train_step(state, ids[:-1], ids[1:], 1.0)[0]) for _ in range(50)]
    >>> losses[-1] < losses[0] / 2
    True
    """
    masks = prepare_step(state, inputs, targets, kernels)
    with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in loss and norm
        loss, norm = apply_step(state, inputs, targets, masks, learning_rate, state.progress.step + 1, kernels)
    state.progress.step += 1
    return loss, norm


def prepare_step(state: TrainState, inputs: Array, targets: Array, kernels: Kernels) -> Masks | None:
    """Check the shape of a batch, and draw its dropout masks."""
    B = len(state.carried[0][0])  # batch_size, or a rank's part of it: parallel.py
    if inputs.shape != targets.shape or inputs.ndim != 2 or inputs.shape[1] != B:
        raise ValueError(f"inputs and targets must be (T, B) with batch_size {B}, not {inputs.shape}, {targets.shape}")
    return draw_masks(state.config, state.progress.step, inputs, len(state.params["decoder.bias"]), kernels)


def apply_step(
    state: TrainState,
    inputs: Array,
    targets: Array,
    masks: Masks | None,
    learning_rate: float | Array,
    step: int | Array,
    kernels: Kernels,
) -> tuple[Array, Array]:
    """The part of a training step that runs on the device, in place; `step` is 1 for the first."""
    loss, grads = compute_gradients(state, inputs, targets, masks, kernels)
    return loss, update(state, grads, learning_rate, step, kernels)


def compute_gradients(
    state: TrainState, inputs: Array, targets: Array, masks: Masks | None, kernels: Kernels
) -> tuple[Array, Grads]:
    """The first half of `apply_step`: loss and gradients of a window; the carried state becomes that after it."""
    config, params, carried, loss_scale = state.config, state.params, state.carried, state.loss_scale
    if loss_scale is None:
        loss, grads, new_carried = loss_and_gradients(params, config, inputs, targets, carried, masks, kernels=kernels)
    else:
        loss, grads, new_carried = half_loss_and_gradients(
            params, config, inputs, targets, carried, masks, loss_scale, kernels
        )
    for (h, c), (new_h, new_c) in zip(carried, new_carried, strict=True):
        h[...], c[...] = new_h, new_c
    return loss, grads


def update(state: TrainState, grads: Grads, learning_rate: float | Array, step: int | Array, kernels: Kernels) -> Array:
    """The second half of `apply_step`: clip the gradients, update the parameters and their average.

    Returns the norm before clipping, array ().
    """
    config, params, moments, loss_scale = state.config, state.params, state.moments, state.loss_scale
    if loss_scale is not None:
        changing = params | {
            f"{n}.{part}": x for n, pair in moments.items() for part, x in zip("mv", pair, strict=True)
        }
        before = {name: array.copy() for name, array in changing.items()}
    grads, norm = kernels.clip_by_global_norm(grads, config.max_grad_norm)
    if config.weight_decay:
        decay_weights(params, learning_rate * config.weight_decay)
    if config.optimizer == "adam":
        kernels.adam(params, grads, learning_rate, moments, step)
    else:
        kernels.sgd(params, grads, learning_rate)
    if loss_scale is not None:
        take_or_skip(changing, before, norm, loss_scale)
    if state.progress.average_start is not None:
        update_average(state.average, params, step - state.progress.average_start)
    return norm
