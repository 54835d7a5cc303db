"""Matrix products that a CUDA graph can capture.

CuPy computes ``a @ b`` with NVIDIA's library cuBLAS, but refuses to do so during stream capture (CuPy issue 6290),
although cuBLAS supports it. Inside `capturable_matmul`, ``@`` therefore calls cuBLAS directly, through ctypes. The code
of the layers does not change.

cuBLAS is column-major: an array that NumPy stores as X is X^T to cuBLAS. The call therefore computes C^T = B^T A^T,
whose columns are the rows of C = A B.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from minilstm.gpu import launch
from minilstm.types import Array

AS_STORED, TRANSPOSED = 0, 1  # cublasOperation_t
TYPES = {"float32": 0, "float64": 1, "float16": 2}  # cudaDataType_t
ARITHMETIC = {"float32": 68, "float64": 70, "float16": 68, "tf32": 77}  # cublasComputeType_t
WORKSPACE_BYTES = 32 * 2**20  # as NVIDIA recommends for its largest cards


@cache
def library() -> tuple[ctypes.CDLL, ctypes.c_void_p, Any]:
    """cuBLAS as loaded by CuPy, a separate handle, and its workspace."""
    import cupy

    _ = cupy.cuda.Device().cublas_handle  # CuPy locates and loads the library; then its name suffices
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    name = f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}"
    try:
        cublas = ctypes.CDLL(name)
    except OSError as error:
        raise RuntimeError(f"CuPy has loaded cuBLAS, but not as {name}") from error
    handle = ctypes.c_void_p()
    call(cublas.cublasCreate_v2, ctypes.byref(handle))
    return cublas, handle, cupy.cuda.alloc(WORKSPACE_BYTES)


def call(function: Callable[..., int], *arguments: Any) -> None:
    """Call a cuBLAS function and raise an exception on an error."""
    if status := function(*arguments):
        raise RuntimeError(f"{getattr(function, '__name__', 'cuBLAS')} failed with status {status}")


@contextmanager
def capturable_matmul() -> Iterator[None]:
    """Inside, ``@`` on CuPy arrays calls cuBLAS directly, on the stream that is current at the start."""
    import cupy

    cublas, handle, workspace = library()
    call(cublas.cublasSetStream_v2, handle, ctypes.c_void_p(cupy.cuda.get_current_stream().ptr))
    call(cublas.cublasSetWorkspace_v2, handle, ctypes.c_void_p(workspace.ptr), ctypes.c_size_t(WORKSPACE_BYTES))
    cupy.ndarray.__matmul__ = matmul
    try:
        yield
    finally:
        del cupy.ndarray.__matmul__  # restores CuPy's own


def matmul(a: Array, b: Array) -> Array:
    """a @ b for a (M, K) or (K,) and b (K, N), as in NumPy; returns a new array."""
    import cupy

    (K, N), M = b.shape, a.size // len(b)
    c = cupy.empty((*a.shape[:-1], N), dtype=a.dtype)
    arithmetic = "tf32" if a.dtype == "float32" and os.environ.get("CUPY_TF32") == "1" else a.dtype.name
    number = ctypes.c_double if a.dtype == "float64" else ctypes.c_float
    operand_a, operand_b = operand(a.reshape(M, K)), operand(b)
    cublas, handle, _ = library()
    call(
        cublas.cublasGemmEx, handle, operand_b[0], operand_a[0], N, M, K, ctypes.byref(number(1)),
        *operand_b[1:], *operand_a[1:], ctypes.byref(number(0)),
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
