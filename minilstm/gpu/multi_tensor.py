"""The same pointwise math for many arrays: NumPy lines, and beside them one CUDA kernel for all arrays together.

A model has a dozen parameters or more, most of them small. On a GPU a launch for each would cost more than the math.
So the kernels below are made for a number of arrays, whose addresses and sizes are their parameters; each array has
BLOCKS blocks of threads to itself.
"""

from functools import cache

import numpy as np

from minilstm.device import array_module, on_gpu
from minilstm.gpu.launch import BLOCK_REDUCE, launch

BLOCKS = 256  # for each array: enough to keep a large card busy with one of them

SUM_OF_SQUARES = """
    __shared__ wide shared[256];
    wide sum = 0;
    for (long long n = first; n < size; n += stride) sum += x[n] * x[n];
    sum = block_reduce(sum, shared, false);
    if (threadIdx.x == 0) result[blockIdx.x] = sum;
"""


def sum_of_squares(arrays):
    """Sum of the squares of all elements of some arrays: an array (), at least float32."""
    arrays = list(arrays)
    if arrays and on_gpu(arrays[0]):
        xp = array_module(arrays[0])
        sums = xp.empty(len(arrays) * BLOCKS, dtype=arrays[0].dtype)
        launch_together(SUM_OF_SQUARES, {"x": arrays}, sums)
        return sums.sum()
    total = 0
    for x in arrays:
        xp = array_module(x)
        x = x.astype(xp.promote_types(x.dtype, xp.float32), copy=False).reshape(-1)
        total = total + x @ x
    return total


SCALE = """
    for (long long n = first; n < size; n += stride) x[n] *= *result;
"""


def scale(arrays, factor):
    """x <- factor * x for each array x of some, in place; factor is an array ()."""
    if on_gpu(factor):
        return launch_together(SCALE, {"x": arrays}, factor)
    for x in arrays:
        x *= factor.astype(x.dtype)


DESCEND = """
    for (long long n = first; n < size; n += stride) w[n] -= *result * dw[n];
"""


def descend(weights, gradients, learning_rate):
    """W <- W - learning_rate * dW for each array W of some and its dW, in place; dW is spent."""
    if weights and on_gpu(weights[0]):
        xp = array_module(weights[0])
        return launch_together(DESCEND, {"w": weights, "dw": gradients}, xp.asarray(learning_rate, weights[0].dtype))
    for w, dw in zip(weights, gradients, strict=True):
        dw *= learning_rate
        w -= dw


@cache
def text_for(body, names, count):
    """The text of a kernel for `count` arrays of each name, with the body that does a block's part of one array."""

    def listed(item):
        return ", ".join(item.format(k) for k in range(count))

    parameters = ", ".join(listed(f"real* {name}{{}}") for name in names)
    tables = "".join(f"    real* const all_{name}[] = {{{listed(name + '{}')}}};\n" for name in names)
    chosen = "".join(f"    real* const {name} = all_{name}[blockIdx.x / {BLOCKS}];\n" for name in names)
    return f"""{BLOCK_REDUCE}
extern "C" __global__ void together({parameters}, wide* result, {listed("long long size{}")})
{{
{tables}    const long long all_sizes[] = {{{listed("size{}")}}};
{chosen}    const long long size = all_sizes[blockIdx.x / {BLOCKS}], stride = {BLOCKS}LL * blockDim.x;
    const long long first = blockIdx.x % {BLOCKS} * (long long)blockDim.x + threadIdx.x;
{body}}}
"""


def launch_together(body, lists, result):
    """Launch the kernel with this body for all arrays of the lists, which are named as in the body."""
    [count] = {len(arrays) for arrays in lists.values()}
    [first, *_] = lists.values()
    arrays = [array for each in lists.values() for array in each]
    launch(text_for(body, tuple(lists), count), count * BLOCKS, [*arrays, result], [np.int64(x.size) for x in first])
