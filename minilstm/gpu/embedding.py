"""Embedding on a GPU: two kernels of kernels/embedding.cu.

The gradient has one row per position of the window, even for repeated words, so that its shape never depends on the
data. The sum for each row scans all N ids, 256 at a time: memory is linear in N, time is quadratic. (With a kernel that
scanned them one by one, on an H100, this file's two kernels took 379 microseconds of a step of the preset medium and
594 of large, of 4,158 and 9,501. The present kernel has not been measured.)
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
    grid = len(ids), *launch.blocks_for(D)
    launch.launch("embedding", "embedding_backward", grid, (doutputs, ids, values, counts, len(ids), D))
    return {"weight": SparseGradient(ids, values, counts)}
