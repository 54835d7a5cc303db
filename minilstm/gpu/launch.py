"""Compiling and launching the CUDA kernels in gpu/kernels/.

A file is compiled unchanged, after a definition of DTYPE. `#include "..."` of a file beside it is replaced by that
file's text, so that CuPy's cache of compiled kernels detects changes there too.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minilstm.types import Array

KERNELS = Path(__file__).parent / "kernels"
THREADS = 256  # per block: a power of two, for block_reduce
NULL: Any = np.uintp(0)  # a null pointer, for an array that a kernel can do without


@cache
def kernel_source(file: str, dtype: str) -> str:
    """The CUDA source of ``kernels/<file>.cu`` for arrays of one dtype."""
    text = (KERNELS / f"{file}.cu").read_text(encoding="utf-8")
    text = re.sub(r'#include "(.+)"', lambda match: (KERNELS / match[1]).read_text(encoding="utf-8"), text)
    return f"#define DTYPE {8 * np.dtype(dtype).itemsize}\n{text}"


@cache
def compile_kernel(file: str, name: str, dtype: str) -> Callable[..., None]:
    """A kernel, ``kernel(grid, block, arguments)``, compiled on first use."""
    import cupy

    return cupy.RawModule(code=kernel_source(file, dtype)).get_function(name)


def accumulator_dtype(dtype: Any) -> np.dtype[Any]:
    """acc_t for arrays of a dtype: float64 for float64, otherwise float32."""
    return np.promote_types(dtype, np.float32)


def launch(file: str, name: str, grid: tuple[int, ...], arguments: Sequence[Any], dtype: Any = None) -> None:
    """Launch a kernel on the current stream.

    Parameters
    ----------
    file, name : str
        ``kernels/<file>.cu`` and the function in it.
    grid : tuple of int
        Number of blocks, of `THREADS` threads each.
    arguments : sequence
        Contiguous arrays, or numbers: an int is an int in the kernel, a float is an acc_t, a NumPy scalar has the C
        type of its dtype, a structured array of one element is a struct.
    dtype : dtype, optional
        scalar_t; by default the dtype of the first argument.

    Raises
    ------
    ValueError
        If an array is not contiguous: kernels index arrays as one block of memory.
    """
    dtype = np.dtype(arguments[0].dtype if dtype is None else dtype)
    typed = []
    for argument in arguments:
        if isinstance(argument, int):
            typed.append(np.int32(argument))
        elif isinstance(argument, float) and not isinstance(argument, np.generic):
            typed.append(accumulator_dtype(dtype).type(argument))
        else:
            typed.append(argument)
            if getattr(argument, "ndim", 0) and not argument.flags.c_contiguous:
                raise ValueError(f"{name}: an array of shape {argument.shape} is not contiguous")
    compile_kernel(file, name, dtype.name)(grid, (THREADS,), tuple(typed))


def blocks_for(threads: int) -> tuple[int]:
    """The smallest grid with at least `threads` threads."""
    return (-(-threads // THREADS),)


def address(array: Array) -> int:
    """The address of an array's memory."""
    return array.data.ptr if hasattr(array.data, "ptr") else array.ctypes.data  # CuPy's, NumPy's
