"""Half precision with float32 master weights and a loss scale (Micikevicius et al., arXiv 1710.03740, section 3).

    W16 = half(W)      dW16 = gradient of S * loss at W16, in float16      dW = dW16 / S, clipping, update in float32

float16 has 11 significant bits and no positive number below 6e-8. Added to a weight, learning_rate * dW would be lost
in rounding, so the master weights are float32. Most gradients of logits would round to zero, so the loss is multiplied
by S and the gradients are divided by S. If S is too large, a gradient overflows: the step is skipped and S is halved.
After `GROWTH_INTERVAL` steps without an overflow S is doubled.
"""

import numpy as np

from minilstm import plain
from minilstm.config import Config
from minilstm.layers.embedding import SparseGradient
from minilstm.masks import Masks
from minilstm.model import loss_and_gradients
from minilstm.types import Array, Grads, Kernels, Params, State

INITIAL_LOSS_SCALE = 1024.0
GROWTH_INTERVAL = 2000


def init_loss_scale(like: Array) -> Array:
    """S and the number of steps since its last change: float32 array (2,), on the device of the array `like`."""
    return np.asarray(np.array([INITIAL_LOSS_SCALE, 0], dtype=np.float32), like=like)


def half_loss_and_gradients(
    params: Params,
    config: Config,
    inputs: Array,
    targets: Array,
    state: list[State],
    masks: Masks | None,
    loss_scale: Array,
    kernels: Kernels = plain,
) -> tuple[Array, Grads, list[State]]:
    """`loss_and_gradients` in half precision, from float32 params to a float32 loss and float32 gradients."""
    half = {name: param.astype(np.float16) for name, param in params.items()}
    scale = loss_scale[0]
    loss_weights = scale * np.ones_like(inputs, dtype=np.float32)  # (T, B)
    loss, grads, state = loss_and_gradients(half, config, inputs, targets, state, masks, loss_weights, kernels)
    return loss / scale, {name: unscale(grad, scale) for name, grad in grads.items()}, state


def unscale(grad: Array | SparseGradient, scale: Array) -> Array | SparseGradient:
    """A gradient in float32, without the loss scale."""
    if isinstance(grad, SparseGradient):
        return grad._replace(values=grad.values.astype(np.float32) / scale)
    return grad.astype(np.float32) / scale


def take_or_skip(params: Params, before: Params, norm: Array, loss_scale: Array) -> None:
    """After a step: undo it if a gradient overflowed, and adapt the loss scale.

    Everything happens in place and on the device; no value is read on the host.

    Parameters
    ----------
    params, before : dict of array
        The arrays changed by the step, and copies made before it.
    norm : array ()
        Global norm of the step's gradients, not finite after an overflow.
    loss_scale : array (2,)
        From `init_loss_scale`.
    """
    finite = np.isfinite(norm)
    for name, param in params.items():
        param[...] = np.where(finite, param, before[name])
    grows = finite & (loss_scale[1] + 1 >= GROWTH_INTERVAL)
    loss_scale[0] *= np.where(finite, np.where(grows, 2.0, 1.0), 0.5).astype(np.float32)
    loss_scale[1] = np.where(finite & ~grows, loss_scale[1] + 1, 0)
