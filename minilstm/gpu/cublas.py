"""Matrix products on a GPU that a CUDA graph can capture.

CuPy computes ``a @ b`` with NVIDIA's library cuBLAS, but refuses to do so during stream capture (CuPy issue 6290),
although cuBLAS supports it. `matmul` therefore calls the cuBLAS that CuPy has loaded directly, through ctypes.

cuBLAS is column-major: an array that NumPy stores as X is X^T to cuBLAS. The call therefore computes C^T = B^T A^T,
whose columns are the rows of C = A B.
"""

import ctypes
import os
import sys
from functools import cache
from typing import Any

import numpy as np

from minilstm.device import array_module
from minilstm.gpu import launch
from minilstm.types import Array

AS_STORED, TRANSPOSED = 0, 1  # cublasOperation_t
TYPES = {"float32": 0, "float64": 1, "float16": 2}  # cudaDataType_t
ARITHMETIC = {"float32": 68, "float64": 70, "float16": 68, "tf32": 77}  # cublasComputeType_t
WORKSPACE_BYTES = 32 * 2**20  # as NVIDIA recommends for its largest cards

handles: dict[int, tuple[ctypes.c_void_p, Any, Any]] = {}  # by stream: handle, workspace, and the stream to keep it


@cache
def library() -> ctypes.CDLL:
    """cuBLAS as loaded by CuPy."""
    import cupy

    _ = cupy.cuda.Device().cublas_handle  # CuPy locates and loads the library; then its name suffices
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    name = f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise RuntimeError(f"CuPy has loaded cuBLAS, but not as {name}") from error


def handle_of(stream: Any) -> ctypes.c_void_p:
    """The cuBLAS handle of a stream: one each, because products that run at the same time need separate workspaces."""
    import cupy

    if stream.ptr not in handles:
        handle, workspace = ctypes.c_void_p(), cupy.cuda.alloc(WORKSPACE_BYTES)
        call("cublasCreate_v2", ctypes.byref(handle))
        call("cublasSetStream_v2", handle, ctypes.c_void_p(stream.ptr))
        call("cublasSetWorkspace_v2", handle, ctypes.c_void_p(workspace.ptr), ctypes.c_size_t(WORKSPACE_BYTES))
        handles[stream.ptr] = handle, workspace, stream
    return handles[stream.ptr][0]


def call(function: str, *arguments: Any) -> None:
    """Call a cuBLAS function and raise an exception on an error."""
    if status := getattr(library(), function)(*arguments):
        raise RuntimeError(f"{function} failed with status {status}")


def matmul(a: Array, b: Array) -> Array:
    """The product a @ b of two matrices, (M, K) and (K, N) -> (M, N), on the current stream.

    Raises
    ------
    ValueError
        If a matrix is not contiguous (in the order of C or of Fortran).
    """
    (M, K), N = a.shape, b.shape[1]
    if array_module(a) is np:  # in the tests without a GPU
        return a @ b
    import cupy

    c = cupy.empty((M, N), dtype=a.dtype)
    arithmetic = "tf32" if a.dtype == "float32" and os.environ.get("CUPY_TF32") == "1" else a.dtype.name
    number = ctypes.c_double if a.dtype == "float64" else ctypes.c_float
    operand_a, operand_b = operand(a), operand(b)
    call(
        "cublasGemmEx", handle_of(cupy.cuda.get_current_stream()), operand_b[0], operand_a[0], N, M, K,
        ctypes.byref(number(1)), *operand_b[1:], *operand_a[1:], ctypes.byref(number(0)),
        ctypes.c_void_p(launch.address(c)), TYPES[c.dtype.name], N, ARITHMETIC[arithmetic], -1,
    )  # fmt: skip
    return c


def operand(x: Array) -> tuple[int, ctypes.c_void_p, int, int]:
    """The arguments with which cuBLAS reads X^T: the operation, and the address, type and row length of the array."""
    if x.flags.c_contiguous:
        operation, length = AS_STORED, x.shape[1]
    elif x.flags.f_contiguous:
        operation, length = TRANSPOSED, x.shape[0]
    else:
        raise ValueError(f"a matrix of shape {x.shape} in a product is not contiguous")
    return operation, ctypes.c_void_p(launch.address(x)), TYPES[x.dtype.name], length
