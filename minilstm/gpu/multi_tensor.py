"""Clipping and SGD on a GPU: one kernel for all parameters together (multi-tensor apply), kernels/multi_tensor.cu.

The functions have the names of optim.py. The sparse gradient of the embedding, a single array, is left to CuPy.
"""

from collections.abc import Sequence

import numpy as np

from minilstm.gpu import launch
from minilstm.layers.embedding import SparseGradient
from minilstm.optim import squared_norm
from minilstm.types import Array, Grads, Params

BLOCKS = 256  # per array: enough to keep a large card busy with a single array


def clip_by_global_norm(grads: Grads, max_grad_norm: float) -> tuple[Grads, Array]:
    """Scale all gradients together, in place, like `minilstm.optim.clip_by_global_norm`."""
    dense, sparse = split_sparse(grads)
    norm = (sum_of_squares(list(dense.values())) + sum(squared_norm(grad) for grad in sparse.values())) ** 0.5
    factor = max_grad_norm / np.maximum(norm, max_grad_norm)
    scale([*dense.values(), *(grad.values for grad in sparse.values())], factor)
    return grads, norm


def sgd(params: Params, grads: Grads, learning_rate: float | Array) -> None:
    """W <- W - learning_rate * dW, in place, like `minilstm.optim.sgd`."""
    dense, sparse = split_sparse(grads)
    sgd_update([params[name] for name in dense], list(dense.values()), learning_rate)
    for name, grad in sparse.items():
        params[name][grad.ids] -= learning_rate * grad.values  # a repeated row writes the same result twice


def split_sparse(grads: Grads) -> tuple[Params, dict[str, SparseGradient]]:
    """Split gradients into two dicts: dense arrays, and sparse gradients of an embedding."""
    sparse = {name: grad for name, grad in grads.items() if isinstance(grad, SparseGradient)}
    return {name: grad for name, grad in grads.items() if name not in sparse}, sparse


def sum_of_squares(arrays: Sequence[Array]) -> Array:
    """Sum of the squares of all elements of several arrays, an array ()."""
    partial = np.empty(len(arrays) * BLOCKS, dtype=arrays[0].dtype, like=arrays[0])
    multi_tensor_apply("sum_of_squares", arrays, arrays, partial)
    return partial.sum()


def scale(arrays: Sequence[Array], factor: float | Array) -> None:
    """x <- factor * x for each array x, in place."""
    multi_tensor_apply("scale", arrays, arrays, as_array(factor, arrays[0]))


def sgd_update(arrays: Sequence[Array], gradients: Sequence[Array], learning_rate: float | Array) -> None:
    """x <- x - learning_rate * dx for each array x and its dx, in place."""
    multi_tensor_apply("sgd_update", arrays, gradients, as_array(learning_rate, arrays[0]))


def as_array(number: float | Array, like: Array) -> Array:
    """A number as an array () with the dtype and device of `like`, for a kernel to read."""
    return np.asarray(number, dtype=like.dtype, like=like)


def multi_tensor_apply(name: str, arrays: Sequence[Array], gradients: Sequence[Array], result: Array) -> None:
    """Launch one kernel for all arrays; `result` is an array that it reads or writes."""
    count = len(arrays)
    tensors = np.zeros(1, dtype=[("x", np.uint64, count), ("dx", np.uint64, count), ("size", np.int64, count)])
    tensors["x"] = [launch.address(x) for x in arrays]
    tensors["dx"] = [launch.address(dx) for dx in gradients]
    tensors["size"] = [x.size for x in arrays]
    if not all(array.flags.c_contiguous for array in (*arrays, *gradients)):
        raise ValueError(f"{name}: an array is not contiguous")
    launch.launch("multi_tensor", name, (BLOCKS, count), (tensors, result), dtype=arrays[0].dtype, COUNT=count)
