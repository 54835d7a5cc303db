"""The linear layer: from hidden units to logits over the vocabulary.

    s_n = W h_n + b                                W (V, H)   b (V,)
    dW = sum_n ds_n h_n^T      db = sum_n ds_n      dh_n = W^T ds_n

n runs over the T B words of a window, whose hidden units are the rows of one matrix.
"""

import numpy as np

from minilstm.blocks import by_rows, deferred_matmul, matmul
from minilstm.types import Array, Cache, Grads, Params


def linear_forward(inputs: Array, params: Params) -> tuple[Array, Cache]:
    """Inputs (..., H) -> outputs (..., V) and a cache; params: "weight" (V, H), "bias" (V,).

    Examples
    --------
    >>> outputs, cache = linear_forward(np.ones((5, 4, 2)), {"weight": np.ones((3, 2)), "bias": np.zeros(3)})
    >>> outputs.shape
    (5, 4, 3)
    """
    rows = inputs.reshape(-1, inputs.shape[-1])  # (N, H): one large matrix product instead of many small ones
    outputs = matmul(rows, params["weight"].T)  # (N, V)
    by_rows(lambda s: np.add(s, params["bias"], out=s), outputs)
    return outputs.reshape(*inputs.shape[:-1], -1), (rows, params)


def linear_backward(doutputs: Array, cache: Cache) -> tuple[Array, Grads]:
    """Gradient of the outputs (..., V) -> gradient of the inputs (..., H), and grads: "weight" (V, H), "bias" (V,)."""
    rows, params = cache
    drows = doutputs.reshape(len(rows), -1)  # (N, V)
    dinputs = matmul(drows, params["weight"])
    ones = np.ones_like(drows[:, 0])[None]  # (1, N)
    db = matmul(ones, drows).reshape(-1)  # (V,), a sum as a product: faster
    grads = {"weight": deferred_matmul(drows.T, rows), "bias": db}
    return dinputs.reshape(*doutputs.shape[:-1], -1), grads
