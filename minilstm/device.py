"""NumPy or CuPy: the place that imports cupy, and decides on which device a run computes.

Array code does not ask where an array lives: NumPy's functions hand CuPy's arrays over to CuPy. Only what makes new
arrays has to be told: ``init_params(config, vocab_size, xp)`` with xp numpy or cupy, ``np.zeros(shape, like=array)`` or
``np.asarray(host_array, like=array)`` with an array that is on the device. `to_host` is the way back.
"""

import ctypes
import os
import sys

import numpy as np

from minilstm.errors import UserError
from minilstm.types import Array, ArrayModule


def array_module(array: Array) -> ArrayModule:
    """Return numpy for a NumPy array, cupy for an array on the GPU; a subclass counts as its base class.

    Examples
    --------
    >>> array_module(np.zeros(3)).__name__
    'numpy'
    """
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else np


def to_host(array: Array) -> Array:
    """Copy an array from its device into a NumPy array; a NumPy array is returned as it is."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def select_device(name: str) -> tuple[ArrayModule, str]:
    """Choose where arrays live.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        "auto" takes the GPU when CuPy and a device are there, else the CPU.

    Returns
    -------
    xp : module
        numpy or cupy.
    note : str
        One line that says what was chosen and, for "auto" on the CPU, why.

    Raises
    ------
    UserError
        For "cuda" where CuPy or a usable GPU is missing.
    """
    if name == "cpu":
        return np, "Device: cpu (NumPy)"
    try:
        import cupy

        gpu = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
        ones = cupy.ones((2, 2))
        float((ones @ ones).sum())  # the driver, the card, the compiler of kernels and cuBLAS really work together
    except ModuleNotFoundError:
        reason = 'CuPy is not installed: pip install "cupy-cuda12x[ctk]", or cupy-cuda13x[ctk], as the driver is'
    except Exception as error:  # CuPy has a family of errors for a missing driver, card or library
        why = " ".join(str(error).split())
        reason = f'CuPy finds no GPU that it can use ({why}); CUDA comes with pip install "cupy-cuda12x[ctk]"'
    else:
        return cupy, f"Device: cuda ({gpu}, CuPy {cupy.__version__})"
    if name == "cuda":
        raise UserError(f"--device cuda: {reason}; or use --device cpu")
    return np, f"Device: cpu (NumPy); {reason}"


def use_precision(xp: ArrayModule, precision: str) -> None:
    """Have CuPy multiply float32 matrices in full precision, or in TensorFloat-32; NumPy has only the former.

    TF32 reads 11 of a float32's 24 significant bits and sums in float32, on the tensor cores. CuPy takes the setting
    from the process's environment at its first product.

    Parameters
    ----------
    xp : module
    precision : {"full", "tf32"}
    """
    if xp is not np:
        os.environ["CUPY_TF32"] = "1" if precision == "tf32" else "0"


def keep_freed_memory() -> None:
    """Have the C library keep the memory of freed arrays for the next ones, as CuPy's pool does on the GPU.

    Without this, glibc gives large arrays back to the system after every step, and the system clears every page of
    the next step's. Other C libraries are left as they are. It holds for the whole process, so only the command line
    asks for it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold = -1, -3  # the numbers of these parameters in malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)
