"""Compiling and launching the CUDA kernels whose texts stand beside the NumPy lines that they replace."""

import re
from functools import cache

import numpy as np

from minilstm.device import array_module

THREADS = 256  # of a block: a power of two, for block_reduce
TYPES = {
    "float64": "typedef double real, wide;",
    "float32": "typedef float real, wide;",
    "float16": "#include <cuda_fp16.h>\ntypedef __half real;\ntypedef float wide;",
}

BLOCK_REDUCE = """
// The sum, or the largest, of one number of each thread of the block: in log2(blockDim.x) rounds the upper half of the
// threads hands its numbers to the lower half. The order is always the same, and so is the result, bit for bit.
__device__ wide block_reduce(wide value, wide* shared, bool largest)
{
    shared[threadIdx.x] = value;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            wide other = shared[threadIdx.x + half];
            shared[threadIdx.x] = largest ? fmax(shared[threadIdx.x], other) : shared[threadIdx.x] + other;
        }
    }
    __syncthreads();
    value = shared[0];
    __syncthreads();
    return value;
}
"""


def launch(text, blocks, arrays, numbers):
    """Launch a kernel: `blocks` blocks of THREADS threads each.

    Parameters
    ----------
    text : str
        C, with one function for the launch; in it `real` is the dtype of the first array.
    blocks : int
    arrays, numbers : sequence
        The function's arguments, the arrays first; a NumPy number has the C type of its dtype.

    Raises
    ------
    ValueError
        If an array has gaps: a kernel counts on elements lying side by side.
    """
    if not all(array.flags.c_contiguous for array in arrays):
        raise ValueError(f"{name_of(text)}: an array is not contiguous")
    kernel = compiled(array_module(arrays[0]), text, arrays[0].dtype.name)
    kernel((blocks,), (THREADS,), (*arrays, *numbers))


def launch_threads(text, threads, arrays, *numbers):
    """Launch a kernel that needs so many threads, in as many blocks as it takes.

    An int is an int in the kernel, a float is a `wide`.
    """
    wide = np.float64 if arrays[0].dtype == "float64" else np.float32
    numbers = [np.int32(number) if isinstance(number, int) else wide(number) for number in numbers]
    launch(text, -(-threads // THREADS), arrays, numbers)


def name_of(text):
    """The name of the function that is launched."""
    return re.search(r"__global__ void (\w+)", text)[1]


def source(text, dtype):
    """A kernel's text with what `real` and `wide` mean for arrays of one dtype."""
    return TYPES[dtype] + text


@cache
def compiled(cupy, text, dtype):
    """The kernel, compiled when it is first used."""
    return cupy.RawModule(code=source(text, dtype)).get_function(name_of(text))
