"""The softmax layer: logits over the vocabulary, and the cross-entropy cost of the targets.

    s_n = W h_n + b                        W (V, H)   b (V,)   n = 1 .. N, the N = T B words of a window
    p_n = exp(s_n) / sum_v exp(s_nv)
    cost = sum_n weight_n * -log p_n[target_n] / B

the sum over the T steps of the mean over the batch, as the reference script has it. The gradient is famous:

    ds_n = (p_n - onehot(target_n)) * weight_n / B
    dW = sum_n ds_n h_n^T      db = sum_n ds_n      dh_n = W^T ds_n

Half precision is widened to float32 from the logits to the cost and back.
"""

from minilstm.device import array_module
from minilstm.kernels import exp_rows, softmax_gradient


def logits_forward(hidden, params):
    """Scores of every word: hidden (N, H) -> logits (N, V), at least float32."""
    xp = array_module(hidden)
    logits = hidden @ params["weight"].T  # (N, V)
    logits += params["bias"]
    return logits.astype(xp.promote_types(logits.dtype, xp.float32), copy=False)


def softmax_forward(hidden, targets, params, weights=None):
    """Cost of the targets.

    Parameters
    ----------
    hidden : array (T, B, H)
    targets : int array (T, B)
    params : dict
        "weight" (V, H), "bias" (V,).
    weights : array (T, B), optional
        Weight of each target; ones by default.

    Returns
    -------
    cost : array ()
        Nats: summed over T, averaged over B.
    cache : tuple
        What `softmax_backward` needs.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"weight": np.zeros((8, 2)), "bias": np.zeros(8)}
    >>> cost, cache = softmax_forward(np.ones((1, 4, 2)), np.zeros((1, 4), dtype=int), params)
    >>> round(float(np.exp(cost)), 6)  # eight words, equally likely
    8.0
    """
    xp = array_module(hidden)
    T, B, H = hidden.shape
    hidden = hidden.reshape(T * B, H)
    targets = targets.reshape(T * B)
    p = logits_forward(hidden, params)  # (N, V): the logits; in place exp(logits - max), p up to a factor of each row
    weights = xp.ones(T * B, dtype=p.dtype) if weights is None else weights.reshape(T * B).astype(p.dtype)

    total, target_logits = exp_rows(p, targets)  # (N,): p_target = exp(target_logit) / total
    cost = (weights * (xp.log(total) - target_logits)).sum() / B

    return cost, (hidden, targets, params, weights, p, total, (T, B, H))


def softmax_backward(cache):
    """Gradient of the cost.

    Parameters
    ----------
    cache : tuple
        From `softmax_forward`; spent by this call, which works in place.

    Returns
    -------
    dhidden : array (T, B, H)
    grads : dict
        "weight" (V, H), "bias" (V,).
    """
    hidden, targets, params, weights, p, total, (T, B, H) = cache
    xp = array_module(hidden)

    softmax_gradient(p, total, targets, weights / B)  # (N, V): in place of p, the gradient of the logits
    dlogits = p.astype(hidden.dtype, copy=False)
    grads = {"weight": dlogits.T @ hidden, "bias": xp.ones(T * B, dtype=dlogits.dtype) @ dlogits}
    dhidden = (dlogits @ params["weight"]).reshape(T, B, H)

    return dhidden, grads
