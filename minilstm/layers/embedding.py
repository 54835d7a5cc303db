"""Embedding: a word's id picks its row of a matrix.

    x_n = W[w_n]                  W (V, D)
    dW[v] = sum of dx_n over all n with w_n = v

Only the rows looked up have a gradient; `SparseGradient` holds just these.
"""

from typing import Any, NamedTuple

from minilstm.device import array_module


class SparseGradient(NamedTuple):
    """Gradient of a (V, D) matrix of which N rows were looked up, N = T * B.

    A word that occurs k times in the window has k rows here, each equal to its whole (summed) gradient. The shape
    therefore never depends on the data, and ``matrix[ids] -= values`` is the exact update: equal rows write
    equal results.

    Attributes
    ----------
    ids : int array (N,)
        The matrix's row for each row of `values`.
    values : array (N, D)
        The summed gradient of that matrix row.
    counts : array (N, 1)
        k, how often the row stands here, so that ``sum(values ** 2 / counts)`` counts every word once.
    """

    ids: Any
    values: Any
    counts: Any

    def to_dense(self, num_rows):
        """The whole gradient, (num_rows, D), zero in the rows that were not used."""
        xp = array_module(self.values)
        dense = xp.zeros((num_rows, self.values.shape[1]), dtype=self.values.dtype)
        dense[self.ids] = self.values
        return dense


def embedding_forward(ids, weight):
    """Look words up.

    Parameters
    ----------
    ids : int array (T, B)
    weight : array (V, D)

    Returns
    -------
    outputs : array (T, B, D)
    cache : tuple

    Examples
    --------
    >>> import numpy as np
    >>> outputs, cache = embedding_forward(np.array([[2, 0, 2]]), np.eye(3))
    >>> outputs.shape
    (1, 3, 3)
    >>> embedding_backward(np.ones((1, 3, 3)), cache)["weight"].to_dense(3)
    array([[1., 1., 1.],
           [0., 0., 0.],
           [2., 2., 2.]])
    """
    outputs = weight[ids]  # (T, B, D)
    return outputs, ids


def embedding_backward(doutputs, cache):
    """Gradient of the rows that were looked up.

    Parameters
    ----------
    doutputs : array (T, B, D)
    cache : tuple
        From `embedding_forward`.

    Returns
    -------
    grads : dict
        "weight": `SparseGradient`. (Ids have no gradient.)
    """
    ids = cache.reshape(-1)  # (N,)
    doutputs = doutputs.reshape(ids.shape[0], -1)  # (N, D)
    same = (ids[:, None] == ids[None, :]).astype(doutputs.dtype)  # (N, N), 1 where two positions hold one word
    counts = same.sum(axis=1, keepdims=True)  # (N, 1)
    return {"weight": SparseGradient(ids, same @ doutputs, counts)}
