"""Penalties on the outputs h_t of the last LSTM layer (Merity et al., arXiv 1708.01009; AWD-LSTM, arXiv 1708.02182).

    (1)  activation regularisation             R_t = alpha / (B H) |m * h_t|^2               m: the dropout mask
    (2)  temporal activation regularisation    S_t = beta / (B H) |h_t - h_{t-1}|^2          S_0 = 0

They are added to the loss of each step; ``|.|^2`` sums over all B H units. The first keeps outputs small, the second
slow.
"""

import numpy as np

from minilstm.types import Array


def activation_forward(outputs: Array, alpha: float, step_weights: Array | None = None) -> Array:
    """(1) The penalty of a window, array (): outputs (T, B, H), after dropout; weights of the steps (T, B), or ones."""
    _, B, H = outputs.shape
    return (weighted(outputs, alpha / (B * H), step_weights) * outputs).sum()


def activation_backward(outputs: Array, alpha: float, step_weights: Array | None = None) -> Array:
    """(1) Gradient of the outputs, (T, B, H): 2 alpha / (B H) times the outputs."""
    _, B, H = outputs.shape
    return weighted(outputs, 2 * alpha / (B * H), step_weights)


def temporal_forward(outputs: Array, beta: float, step_weights: Array | None = None) -> Array:
    """(2) The penalty of a window, array (): outputs (T, B, H); weights of the steps (T, B), or ones.

    Examples
    --------
    >>> float(temporal_forward(np.array([0.0, 3.0, 3.0]).reshape(3, 1, 1), beta=2.0))
    18.0
    """
    _, B, H = outputs.shape
    changes = outputs[1:] - outputs[:-1]  # (T - 1, B, H)
    return (weighted(changes, beta / (B * H), None if step_weights is None else step_weights[1:]) * changes).sum()


def temporal_backward(outputs: Array, beta: float, step_weights: Array | None = None) -> Array:
    """(2) Gradient of the outputs, (T, B, H): each is in the change towards it and in the change away from it."""
    _, B, H = outputs.shape
    weights = None if step_weights is None else step_weights[1:]
    changes = weighted(outputs[1:] - outputs[:-1], 2 * beta / (B * H), weights)
    doutputs = np.zeros_like(outputs)
    doutputs[1:] += changes
    doutputs[:-1] -= changes
    return doutputs


def weighted(outputs: Array, factor: float, step_weights: Array | None) -> Array:
    """(T, B, H) times a factor and (T, B); the factor first: a loss scale alone may be too large for half precision."""
    if step_weights is None:
        return outputs * factor
    return outputs * (step_weights * factor)[:, :, None].astype(outputs.dtype)
