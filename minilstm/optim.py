"""From gradients to steps: clipping by global norm, SGD, Adam, and the learning-rate schedule.

    norm = sqrt(sum over all gradients of ||g||^2)       g <- g * max_grad_norm / max(norm, max_grad_norm)

Pascanu et al., arXiv 1211.5063, algorithm 1, over all parameters together. All functions work in place: a gradient is
spent once it has been applied.
"""

from minilstm.device import array_module
from minilstm.gpu.multi_tensor import descend, scale, sum_of_squares
from minilstm.layers.embedding import SparseGradient


def squared_norm(grad):
    """||g||^2 of one gradient, array () of at least float32; a repeated embedding row counts once."""
    if not isinstance(grad, SparseGradient):
        return sum_of_squares([grad])
    xp = array_module(grad.values)
    values = grad.values.astype(xp.promote_types(grad.values.dtype, xp.float32), copy=False)
    return (values * values / grad.counts).sum()


def clip_by_global_norm(grads, max_grad_norm):
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
    >>> import numpy as np
    >>> grads, norm = clip_by_global_norm({"a": np.array([3.0]), "b": np.array([4.0])}, 2.5)
    >>> float(norm), grads["a"].item(), grads["b"].item()
    (5.0, 1.5, 2.0)
    """
    dense, rows = split_sparse(grads)
    norm = (sum_of_squares(dense.values()) + sum(squared_norm(grad) for grad in rows.values())) ** 0.5
    factor = max_grad_norm / array_module(norm).maximum(norm, max_grad_norm)
    scale([*dense.values(), *(grad.values for grad in rows.values())], factor)
    return grads, norm


def sgd(params, grads, learning_rate):
    """W <- W - learning_rate * dW, in place; of an embedding only the rows that were used."""
    dense, rows = split_sparse(grads)
    descend([params[name] for name in dense], dense.values(), learning_rate)
    for name, grad in rows.items():
        params[name][grad.ids] -= learning_rate * grad.values  # a repeated row writes the same result twice


def split_sparse(grads):
    """Gradients parted into two dicts: whole arrays, and those of an embedding's used rows."""
    rows = {name: grad for name, grad in grads.items() if isinstance(grad, SparseGradient)}
    return {name: grad for name, grad in grads.items() if name not in rows}, rows


def adam(params, grads, learning_rate, moments, step, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1), in place.

    Parameters
    ----------
    params, grads : dict of array
    learning_rate : float
    moments : dict
        Name -> (m, v), arrays shaped as the parameter: from `zero_moments`.
    step : int
        1 for the first step.
    """
    for name, grad in grads.items():
        m, v = moments[name]
        grad = grad.to_dense(len(m)) if isinstance(grad, SparseGradient) else grad
        grad = grad.astype(m.dtype, copy=False)
        m += (1 - beta1) * (grad - m)
        v += (1 - beta2) * (grad * grad - v)
        m_hat = m / (1 - beta1**step)
        v_hat = v / (1 - beta2**step)
        params[name] -= (learning_rate * m_hat / (v_hat**0.5 + epsilon)).astype(params[name].dtype)


def zero_moments(params):
    """Adam's moments before the first step: name -> (m, v), zeros, at least float32."""
    moments = {}
    for name, param in params.items():
        xp = array_module(param)
        dtype = xp.promote_types(param.dtype, xp.float32)
        moments[name] = xp.zeros(param.shape, dtype=dtype), xp.zeros(param.shape, dtype=dtype)
    return moments


def learning_rate_at(config, epoch):
    """Learning rate of an epoch, counted from 0: `max_epoch` epochs at the initial rate, then decay.

    Examples
    --------
    >>> from minilstm.config import PRESETS
    >>> [learning_rate_at(PRESETS["small"], epoch) for epoch in (0, 3, 4, 5)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return config.learning_rate * config.lr_decay ** max(epoch + 1 - config.max_epoch, 0)
