"""Embedding on a GPU: two kernels of kernels/embedding.cu.

The gradient has one row per position of the window, even for repeated words, so that its shape never depends on the
data. The sum for each row scans all N ids: memory is linear in N, time is quadratic. The time is negligible for the few
hundred words of the presets' windows; from the number of operations, it should exceed the rest of a step at about ten
thousand words (not measured).
"""

import numpy as np

from minilstm.gpu import launch
from minilstm.layers.embedding import SparseGradient
from minilstm.types import Array, Cache


def embedding_forward(ids: Array, weight: Array) -> tuple[Array, Cache]:
    """Look up words, like `minilstm.layers.embedding.embedding_forward`; an id outside the vocabulary gives NaN."""
    V, D = weight.shape
    outputs = np.empty((*ids.shape, D), dtype=weight.dtype, like=weight)
    ids = ids.reshape(-1).astype(np.int64, copy=False)  # (N,)
    launch.launch("embedding", "embedding_forward", (len(ids),), (weight, ids, outputs, V, D))
    return outputs, ids


def embedding_backward(doutputs: Array, cache: Cache) -> dict[str, SparseGradient]:
    """Gradient of the rows that were looked up; a row is repeated as often as its word, with that count."""
    ids, D = cache, doutputs.shape[-1]
    dtype = launch.accumulator_dtype(doutputs.dtype)
    values = np.empty((len(ids), D), dtype=dtype, like=doutputs)
    counts = np.empty((len(ids), 1), dtype=dtype, like=doutputs)
    launch.launch("embedding", "embedding_backward", (len(ids),), (doutputs, ids, values, counts, len(ids), D))
    return {"weight": SparseGradient(ids, values, counts)}
