"""NumPy or CuPy: the one place that imports cupy.

The package's array code never names a library. It asks an array which module made it,
``xp = array_module(x)``, and calls ``xp.tanh(x)``: on the CPU xp is numpy, on the GPU cupy.
What goes onto a device are parameters, batches and dropout masks; what comes back to the host goes through `to_host`.
"""

import ctypes
import os
import sys

import numpy as np

from minilstm.errors import UserError


def array_module(array):
    """Return the module whose array type `array` is: numpy, or cupy for an array on the GPU.

    Examples
    --------
    >>> array_module(np.zeros(3)).__name__
    'numpy'
    """
    return sys.modules[type(array).__module__.partition(".")[0]]


def on_gpu(array):
    """Whether an array is CuPy's."""
    return array_module(array).__name__ == "cupy"


def to_host(array):
    """Copy an array from its device into a NumPy array; a NumPy array is returned as it is."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def select_device(name):
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
    keep_freed_memory()
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


def use_precision(xp, precision):
    """Have CuPy multiply float32 matrices in full precision, or in TensorFloat-32.

    TF32 reads 11 of a float32's 24 significant bits and sums in float32, on the tensor cores. CuPy takes the setting
    from its environment at its first product.

    Parameters
    ----------
    xp : module
    precision : {"full", "tf32"}
    """
    if xp.__name__ == "cupy":
        os.environ["CUPY_TF32"] = "1" if precision == "tf32" else "0"
    elif precision == "tf32":
        print("minilstm: --precision tf32 is a GPU's; here the products are in full precision", file=sys.stderr)


def keep_freed_memory():
    """Have the C library keep the memory of freed arrays for the next ones, as CuPy's pool does on the GPU.

    Without this, glibc gives big arrays back to the system after every step, and the system clears every page of
    the next step's. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold = -1, -3  # the numbers of these parameters in malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)
