"""Softmax and cross-entropy: from logits to the loss of the targets.

    (1)  p_n = exp(s_n) / sum_v exp(s_nv)                      n: the T B words of a window
    (2)  loss = sum_n w_n * -log p_n[target_n] / B             w: loss_weights, ones by default

The loss is summed over the T steps and averaged over the batch, as in the reference script. Its gradient is

    ds_n = (p_n - onehot(target_n)) * w_n / B

Half-precision logits are converted to float32, and their gradient back to half precision.
"""

import numpy as np

from minilstm.blocks import by_rows
from minilstm.layers.embedding import check_ids
from minilstm.types import Array, Cache


def softmax_cross_entropy_forward(
    logits: Array, targets: Array, loss_weights: Array | None = None
) -> tuple[Array, Cache]:
    """Loss of the targets.

    Parameters
    ----------
    logits : array (T, B, V)
    targets : int array (T, B)
    loss_weights : array (T, B), optional
        Weight of each target; ones by default.

    Returns
    -------
    loss : array ()
        Nats: summed over T, averaged over B; at least float32.
    cache : list
        For `softmax_cross_entropy_backward`, once.

    Raises
    ------
    IndexError
        If a target is not in the vocabulary.

    Examples
    --------
    >>> loss, cache = softmax_cross_entropy_forward(np.zeros((1, 4, 8)), np.zeros((1, 4), dtype=int))
    >>> round(float(np.exp(loss)), 6)  # eight words, equally likely
    8.0
    """
    T, B, V = logits.shape
    check_ids(targets, V)
    s = logits.reshape(T * B, V)
    s = s.astype(np.promote_types(s.dtype, np.float32), copy=False)
    exps = np.empty_like(s)  # (N, V), p_n times sums_n
    sums, target_s = np.empty_like(s[:, 0]), np.empty_like(s[:, 0])  # (N,)

    def exponentials(s: Array, targets: Array, exps: Array, sums: Array, target_s: Array) -> None:
        np.subtract(s, s.max(axis=1, keepdims=True), out=exps)  # same probabilities, and exp cannot overflow
        target_s[:] = np.take_along_axis(exps, targets[:, None], axis=1)[:, 0]
        np.exp(exps, out=exps)
        np.sum(exps, axis=1, out=sums)  # (1)

    by_rows(exponentials, s, targets.reshape(T * B), exps, sums, target_s)
    w = np.ones_like(sums) if loss_weights is None else loss_weights.reshape(T * B).astype(sums.dtype)
    loss = (w * (np.log(sums) - target_s)).sum() / B  # (2) -log p = log(sum) - s
    return loss, [logits.shape, logits.dtype, targets, exps, sums, w]


def softmax_cross_entropy_backward(cache: Cache) -> Array:
    """Gradient of the logits, (T, B, V), from the cache of `softmax_cross_entropy_forward`.

    Raises
    ------
    ValueError
        If the cache has been used before.
    """
    if not cache:
        raise ValueError("this cache has been used: its memory holds the gradient of the logits")
    shape, dtype, targets, exps, sums, w = cache
    cache.clear()
    w = w / shape[1]  # (2)
    ds = exps  # the same memory: in place, this pass over the largest array saves 3% of a training step of `small`
    scale = w[:, None] / sums[:, None]  # (N, 1)
    by_rows(lambda ds, scale: np.multiply(ds, scale, out=ds), ds, scale)  # (1) (N, V), p_n w_n / B
    ds[np.arange(len(ds), like=targets), targets.reshape(-1)] -= w  # p_n - 1 at the target
    return ds.reshape(shape).astype(dtype, copy=False)
