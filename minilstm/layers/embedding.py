"""Embedding: a word's id selects a row of a matrix.

    x_n = W[w_n]                                        W (V, D)
    dW[v] = sum of dx_n over all n with w_n = v

The gradient is zero except in the rows that were looked up, so only these are computed, kept and updated.
"""

from typing import Any, NamedTuple

import numpy as np

from minilstm.types import Array, Cache


class SparseGradient(NamedTuple):
    """Gradient of a (V, D) matrix with few non-zero rows.

    ``matrix[ids] -= learning_rate * values`` is the exact update even with repeated `ids`: each repetition writes the
    same result.

    Attributes
    ----------
    ids : int array (N,)
        The matrix's row for each row of `values`.
    values : array (N, D)
        The full gradient of that matrix row.
    counts : array (N, 1) or 1
        Number of times that the row is repeated, so that ``sum(values ** 2 / counts)`` counts it once. From
        `embedding_backward` it is 1: ids are unique. The fused set repeats, so that shapes do not depend on the data.
    """

    ids: Array
    values: Array
    counts: Any = 1

    def to_dense(self, num_rows: int) -> Array:
        """The dense gradient, (num_rows, D), zero in unused rows."""
        dense = np.zeros((num_rows, self.values.shape[1]), dtype=self.values.dtype, like=self.values)
        dense[self.ids] = self.values
        return dense


def check_ids(ids: Array, vocab_size: int) -> None:
    """Raise an IndexError for an id outside the vocabulary; NumPy would read -1 as the last word."""
    if not np.all((ids >= 0) & (ids < vocab_size)):
        raise IndexError(f"an id is outside the vocabulary of {vocab_size} words: ids run from 0 to {vocab_size - 1}")


def embedding_forward(ids: Array, weight: Array) -> tuple[Array, Cache]:
    """Look up words.

    Parameters
    ----------
    ids : int array (T, B)
    weight : array (V, D)

    Returns
    -------
    outputs : array (T, B, D)
    cache : int array (T, B)

    Raises
    ------
    IndexError
        If an id is not in the vocabulary.

    Examples
    --------
    >>> outputs, cache = embedding_forward(np.array([[2, 0, 2]]), np.eye(3))
    >>> outputs.shape
    (1, 3, 3)
    >>> embedding_backward(np.ones((1, 3, 3)), cache)["weight"].to_dense(3)
    array([[1., 1., 1.],
           [0., 0., 0.],
           [2., 2., 2.]])
    """
    check_ids(ids, len(weight))
    outputs = weight[ids]  # (T, B, D)
    return outputs, ids


def embedding_backward(doutputs: Array, cache: Cache) -> dict[str, SparseGradient]:
    """Gradient of the rows that were looked up.

    Parameters
    ----------
    doutputs : array (T, B, D)
    cache : int array (T, B)
        From `embedding_forward`: the ids.

    Returns
    -------
    grads : dict
        "weight": `SparseGradient` of at least float32, with each used row once. (Ids have no gradient.)
    """
    order = np.argsort(cache.reshape(-1), kind="stable")  # (N,) positions, those of one word side by side
    ids, starts = np.unique(cache.reshape(-1)[order], return_index=True)  # (U,) the words used, and where each begins
    rows = doutputs.reshape(len(order), doutputs.shape[-1])[order]  # (N, D)
    dtype = np.promote_types(rows.dtype, np.float32)  # a long sum would lose terms in half precision
    values = np.add.reduceat(rows.astype(dtype, copy=False), starts, axis=0)  # (U, D), each word's rows summed
    return {"weight": SparseGradient(ids, values)}
