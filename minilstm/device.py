"""NumPy or CuPy: the choice of the device.

Array code is independent of the device: NumPy functions called on CuPy arrays dispatch to CuPy. Only the creation of
arrays must name it: ``init_params(config, vocab_size, xp)`` with xp numpy or cupy, ``np.zeros(shape, like=array)`` or
``np.asarray(host_array, like=array)`` with an array on the device. `to_host` transfers an array back.
"""

import ctypes
import os
import sys

import numpy as np

from minilstm.errors import UserError, first_line
from minilstm.types import Array, ArrayModule

DEVICES = "auto", "cpu", "cuda"


def array_module(array: Array) -> ArrayModule:
    """Return numpy for a NumPy array, cupy for a CuPy array; a subclass counts as its base class.

    Examples
    --------
    >>> array_module(np.zeros(3)).__name__
    'numpy'
    """
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(array, cupy.ndarray) else np


def to_host(array: Array) -> Array:
    """Copy an array from its device into a NumPy array; a NumPy array is returned unchanged."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def host_buffer(shape: int | tuple[int, ...], like: Array) -> Array:
    """Memory of the host for values of the array `like`: page-locked if that is on a GPU, which makes copies faster."""
    if array_module(like) is np:
        return np.empty(shape, dtype=like.dtype)
    import cupyx

    return cupyx.empty_pinned(shape, like.dtype)


def copy_to(out: Array, array: Array) -> None:
    """Copy an array into another of its shape, which may be in the memory of the host; then it has arrived there."""
    if array_module(out) is np and array_module(array) is not np:
        array.get(out=out)  # type: ignore[attr-defined]
    else:
        out[...] = array


def synchronize(like: Array) -> None:
    """Wait until the device of the array `like` has done all its work."""
    xp = array_module(like)
    if xp is not np:
        xp.cuda.get_current_stream().synchronize()


def select_device(name: str, local_rank: int | None = None) -> tuple[ArrayModule, str]:
    """Choose the device of all arrays.

    Parameters
    ----------
    name : {"auto", "cpu", "cuda"}
        "auto" selects the GPU if CuPy and a device are available, otherwise the CPU.
    local_rank : int, optional
        The number of this process among those of a machine, which share its GPUs: process r uses GPU r.

    Returns
    -------
    xp : module
        numpy or cupy.
    note : str
        One line that names the choice and, for "auto" on the CPU, the reason.

    Raises
    ------
    UserError
        For "cuda" if CuPy or a usable GPU is missing, or for another name.
    """
    if name not in DEVICES:
        raise UserError(f"there is no device {name!r}; give one of {', '.join(DEVICES)}")
    if name == "cpu":
        return np, "Device: cpu (NumPy)"
    try:
        import cupy

        runtime, number = cupy.cuda.runtime, 0
        if local_rank is not None:
            number = local_rank % runtime.getDeviceCount()
            runtime.setDevice(number)
        gpu = runtime.getDeviceProperties(number)["name"].decode()
        ones = cupy.ones((2, 2))
        float((ones @ ones).sum())  # driver, card, kernel compiler and cuBLAS work together
    except ModuleNotFoundError:
        reason = 'CuPy is not installed: pip install "cupy-cuda12x[ctk]", or cupy-cuda13x[ctk], to match the driver'
    except Exception as error:  # CuPy raises many kinds of errors for a missing driver, card or library
        reason = f'CuPy finds no usable GPU ({first_line(error)}); pip install "cupy-cuda12x[ctk]" includes CUDA'
    else:
        return cupy, f"Device: cuda ({gpu}, CuPy {cupy.__version__})"
    if name == "cuda":
        raise UserError(f"--device cuda: {reason}; or use --device cpu")
    return np, f"Device: cpu (NumPy); {reason}"


def use_precision(xp: ArrayModule, precision: str) -> None:
    """Have CuPy multiply float32 matrices in full precision or in TensorFloat-32; NumPy has only full precision.

    TF32 uses 11 of a float32's 24 significant bits and accumulates in float32, on the tensor cores. CuPy reads the
    setting from the process's environment at its first product.

    Parameters
    ----------
    xp : module
    precision : {"full", "tf32"}
    """
    if xp is not np:
        os.environ["CUPY_TF32"] = "1" if precision == "tf32" else "0"


def keep_freed_memory() -> None:
    """Have the C library keep the memory of freed arrays for reuse, as CuPy's pool does on the GPU.

    Otherwise glibc returns the memory of large arrays to the system after every step, and the system must clear every
    page again for the next. Other C libraries are not affected. The setting applies to the whole process, so only the
    command line makes it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        trim_threshold, mmap_threshold = -1, -3  # the numbers of these parameters in malloc.h
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**30)
