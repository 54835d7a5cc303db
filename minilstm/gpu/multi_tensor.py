"""Clipping, SGD and Adam on a GPU: one kernel of kernels/multi_tensor.cu for all parameters (multi-tensor apply).

The functions have the names of optim.py. Clipping changes no gradient: it finds the factor, by which the update
multiplies each element as it reads it. This saves a pass through all gradients.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minilstm.gpu import launch
from minilstm.layers.embedding import SparseGradient
from minilstm.types import Array, Grads, Params

BLOCKS = 256  # per array: enough to keep a large card busy with a single array
MAX_ARRAYS = 60  # per launch, as in multi_tensor.cu: older compilers allow 4,096 bytes of arguments
TENSOR = np.dtype([(name, np.int64) for name in ("x", "dx", "m", "v", "counts", "partial", "size", "row_size")])


class ClippedGradients(NamedTuple):
    """Gradients that are to be multiplied by `factor`, an array ()."""

    grads: Grads
    factor: Array


def clip_by_global_norm(grads: Grads, max_grad_norm: float) -> tuple[ClippedGradients, Array]:
    """Clip all gradients together, like `minilstm.optim.clip_by_global_norm`, for `sgd` or `adam` of this file."""
    values = [grad.values if isinstance(grad, SparseGradient) else grad for grad in grads.values()]
    dtype, like = launch.accumulator_dtype(values[0].dtype), values[0]
    partial = np.empty((len(values), BLOCKS), dtype=dtype, like=like)
    tensors = []
    for n, grad in enumerate(grads.values()):
        tensors.append({"dx": values[n], "partial": partial[n], "size": values[n].size})
        if isinstance(grad, SparseGradient) and not isinstance(grad.counts, int):
            tensors[n] |= {"counts": grad.counts, "row_size": grad.values.shape[1]}
    multi_tensor_apply("sum_of_squares", tensors, like)
    norm, factor = np.empty((), dtype=dtype, like=like), np.empty((), dtype=dtype, like=like)
    arguments = partial, norm, factor, float(max_grad_norm), partial.size
    launch.launch("multi_tensor", "norm_and_factor", (1,), arguments)
    return ClippedGradients(grads, factor), norm


def sgd(params: Params, grads: ClippedGradients, learning_rate: float | Array) -> None:
    """W <- W - learning_rate * dW, in place, like `minilstm.optim.sgd`."""
    factor = grads.factor
    learning_rate = np.asarray(learning_rate, dtype=factor.dtype, like=factor)
    tensors = []
    for name, grad in grads.grads.items():
        if isinstance(grad, SparseGradient):
            arguments = params[name], grad.values, grad.ids, factor, learning_rate, *params[name].shape
            launch.launch("multi_tensor", "sparse_sgd_update", (len(grad.ids),), arguments)
        else:
            tensors.append({"x": params[name], "dx": grad, "size": grad.size})
    multi_tensor_apply("sgd_update", tensors, factor, factor, learning_rate)


def adam(
    params: Params,
    grads: ClippedGradients,
    learning_rate: float | Array,
    moments: dict[str, tuple[Array, Array]],
    step: int | Array,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> None:
    """Adam, in place, like `minilstm.optim.adam`."""
    factor = grads.factor
    numbers = [np.asarray(number, dtype=factor.dtype, like=factor) for number in (learning_rate, step)]
    tensors = []
    for name, grad in grads.grads.items():
        m, v = moments[name]
        grad = grad.to_dense(len(m)) if isinstance(grad, SparseGradient) else grad
        tensors.append({"x": params[name], "dx": grad, "m": m, "v": v, "size": grad.size})
    constants = np.float64(beta1), np.float64(beta2), np.float64(epsilon)
    multi_tensor_apply("adam_update", tensors, factor, factor, *numbers, *constants)


def multi_tensor_apply(name: str, tensors: Sequence[dict[str, Any]], like: Array, *arguments: Any) -> None:
    """Launch a kernel for all arrays of a model, at most `MAX_ARRAYS` at a time.

    Parameters
    ----------
    name : str
        A kernel of multi_tensor.cu.
    tensors : sequence of dict
        Members of the kernel's struct Tensor, which are contiguous arrays or numbers; missing members are null.
    like : array
        An array with the dtype of the parameters.
    arguments
        Those of the kernel after `tensors`.

    Raises
    ------
    ValueError
        If an array is not contiguous.
    """
    for start in range(0, len(tensors), MAX_ARRAYS):
        some = tensors[start : start + MAX_ARRAYS]
        table = np.zeros((), dtype=(TENSOR, MAX_ARRAYS))
        for row, tensor in zip(table, some, strict=False):
            for member, value in tensor.items():
                row[member] = value if isinstance(value, int) else launch.address(value)
                if not isinstance(value, int) and not value.flags.c_contiguous:
                    raise ValueError(f"{name}: an array of shape {value.shape} is not contiguous")
        struct = table.view([("tensor", TENSOR, MAX_ARRAYS)])
        launch.launch("multi_tensor", name, (BLOCKS, len(some)), (struct, *arguments), dtype=like.dtype)
