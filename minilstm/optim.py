"""From gradients to steps: clipping by global norm, SGD, Adam, and the learning-rate schedule.

    norm = sqrt(sum over all gradients of ||g||^2)       g <- g * max_grad_norm / max(norm, max_grad_norm)

Pascanu et al., arXiv 1211.5063, algorithm 1, over all parameters together. All functions work in place on parameters
and gradients; a gradient may be overwritten when it is applied.
"""

import numpy as np

from minilstm.blocks import by_rows
from minilstm.config import Config
from minilstm.layers.embedding import SparseGradient
from minilstm.types import Array, Grads, Params


def squared_norm(grad: Array | SparseGradient) -> Array:
    """``||g||^2`` of one gradient, array () of at least float32; a repeated row of an embedding counts once."""
    values = grad.values if isinstance(grad, SparseGradient) else grad
    values = values.astype(np.promote_types(values.dtype, np.float32), copy=False)
    if isinstance(grad, SparseGradient):
        return (values * values / grad.counts).sum()
    first, *rest = by_rows(lambda g: g @ g, values.reshape(-1))
    return sum(rest, first)


def clip_by_global_norm(grads: Grads, max_grad_norm: float) -> tuple[Grads, Array]:
    """Scale all gradients together so that their global norm is at most `max_grad_norm`.

    Parameters
    ----------
    grads : dict of array
        Scaled in place.
    max_grad_norm : float

    Returns
    -------
    grads : dict of array
        The same dict, clipped.
    norm : array ()
        The global norm before clipping.

    Examples
    --------
    >>> grads, norm = clip_by_global_norm({"a": np.array([3.0]), "b": np.array([4.0])}, 2.5)
    >>> float(norm), grads["a"].item(), grads["b"].item()
    (5.0, 1.5, 2.0)
    """
    norm = sum(squared_norm(grad) for grad in grads.values()) ** 0.5
    factor = max_grad_norm / np.maximum(norm, max_grad_norm)
    for grad in grads.values():
        values = grad.values if isinstance(grad, SparseGradient) else grad
        by_rows(lambda g: np.multiply(g, factor.astype(g.dtype), out=g), values)
    return grads, norm


def sgd(params: Params, grads: Grads, learning_rate: float | Array) -> None:
    """W <- W - learning_rate * dW, in place; for an embedding only in the rows that were used."""

    def descend(W: Array, dW: Array) -> None:
        dW *= learning_rate
        W -= dW

    for name, grad in grads.items():
        if isinstance(grad, SparseGradient):
            params[name][grad.ids] -= learning_rate * grad.values
        else:
            by_rows(descend, params[name], grad)


def decay_weights(params: Params, rate: float | Array) -> None:
    """W <- W - rate * W, in place, apart from the gradients (Loshchilov and Hutter, arXiv 1711.05101).

    For SGD, with rate = learning_rate * weight_decay, this is the gradient of ``weight_decay / 2 |W|^2``.
    """

    def decay(W: Array) -> None:
        W *= 1 - rate

    for param in params.values():
        by_rows(decay, param)


def update_average(average: Params, params: Params, count: int | Array) -> None:
    """A <- A + (W - A) / count, in place: A is the mean of the weights W after each of `count` steps.

    Averaged SGD: Polyak and Juditsky, 1992; Merity et al., arXiv 1708.02182, algorithm 1.
    """

    def update(A: Array, W: Array) -> None:
        A += ((W - A) / count).astype(A.dtype, copy=False)

    for name, param in params.items():
        by_rows(update, average[name], param)


def adam(
    params: Params,
    grads: Grads,
    learning_rate: float | Array,
    moments: dict[str, tuple[Array, Array]],
    step: int | Array,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> None:
    """Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1), in place.

    Parameters
    ----------
    params, grads : dict of array
    learning_rate : float
    moments : dict
        Name -> (m, v), arrays of the parameter's shape, from `zero_moments`.
    step : int
        1 for the first step.
    """

    def update(W: Array, dW: Array, m: Array, v: Array) -> None:
        m += (1 - beta1) * (dW - m)
        v += (1 - beta2) * (dW * dW - v)
        m_hat = m / (1 - beta1**step)
        v_hat = v / (1 - beta2**step)
        W -= (learning_rate * m_hat / (v_hat**0.5 + epsilon)).astype(W.dtype)

    for name, grad in grads.items():
        m, v = moments[name]
        grad = grad.to_dense(len(m)) if isinstance(grad, SparseGradient) else grad
        by_rows(update, params[name], grad.astype(m.dtype, copy=False), m, v)


def zero_moments(params: Params) -> dict[str, tuple[Array, Array]]:
    """Adam's moments before the first step: name -> (m, v), zeros of at least float32."""
    moments = {}
    for name, param in params.items():
        dtype = np.promote_types(param.dtype, np.float32)
        moments[name] = np.zeros_like(param, dtype=dtype), np.zeros_like(param, dtype=dtype)
    return moments


def learning_rate_at(config: Config, epoch: int) -> float:
    """Learning rate of an epoch, counted from 0: the initial rate for `max_epoch` epochs, then exponential decay.

    Examples
    --------
    >>> from minilstm.config import PRESETS
    >>> [learning_rate_at(PRESETS["small"], epoch) for epoch in (0, 3, 4, 5)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return config.learning_rate * config.lr_decay ** max(epoch + 1 - config.max_epoch, 0)
