"""Softmax and cross-entropy on a GPU: two kernels of kernels/softmax.cu."""

import numpy as np

from minilstm.gpu import launch
from minilstm.types import Array, Cache


def softmax_cross_entropy_forward(
    logits: Array, targets: Array, loss_weights: Array | None = None
) -> tuple[Array, Cache]:
    """Loss of the targets, like `minilstm.layers.softmax.softmax_cross_entropy_forward`.

    A target outside the vocabulary makes the loss NaN; raising an error would require waiting for the device.
    """
    T, B, V = logits.shape
    dtype = launch.accumulator_dtype(logits.dtype)
    s = logits.reshape(T * B, V).astype(dtype, copy=False)
    targets = targets.reshape(T * B).astype(np.int64, copy=False)
    w = launch.NULL if loss_weights is None else loss_weights.reshape(T * B).astype(dtype, copy=False)
    exps = np.empty_like(s)  # (N, V)
    sums, losses = np.empty(T * B, dtype=s.dtype, like=s), np.empty(T * B, dtype=s.dtype, like=s)  # (N,)
    launch.launch("softmax", "softmax_cross_entropy_forward", (T * B,), (s, targets, w, exps, sums, losses, B, V))
    return losses.sum(), (logits.shape, logits.dtype, targets, exps, sums, w)


def softmax_cross_entropy_backward(cache: Cache) -> Array:
    """Gradient of the logits, (T, B, V), from the cache of `softmax_cross_entropy_forward`."""
    shape, dtype, targets, exps, sums, w = cache
    _, B, V = shape
    ds = np.empty_like(exps)
    launch.launch("softmax", "softmax_cross_entropy_backward", (len(exps),), (exps, sums, targets, w, ds, B, V))
    return ds.reshape(shape).astype(dtype, copy=False)
