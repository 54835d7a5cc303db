"""An array type as strict as CuPy's, for machines without a GPU, and its module functions.

Like a CuPy array, a `StrictArray` supports NumPy functions through NumPy enhancement proposals 13
(``__array_ufunc__``), 18 (``__array_function__``) and 35 (``like=``). It refuses to be mixed with NumPy arrays or to be
converted to one implicitly. Unlike CuPy's it also refuses conversion to a Python number, because on a GPU the host
would wait there. Only `asarray` and ``np.asarray(host_array, like=array)`` accept a NumPy array, only ``get()`` returns
one.
"""

from types import SimpleNamespace

import numpy as np

HANDED_OVER = np.asarray, np.array  # with like=: data from the host is copied to the device
REFUSED = np.ones, np.full  # with like= NumPy passes on an argument that CuPy does not take; ones_like works
UFUNC_METHODS = "__call__", "reduceat"


def unwrap(value):
    """The NumPy array inside, at any depth of tuples and lists; a TypeError for a NumPy array from outside."""
    if isinstance(value, StrictArray):
        return value.array
    if isinstance(value, tuple | list):
        return type(value)(unwrap(item) for item in value)
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array meets a StrictArray")
    return value


def wrap(value):
    if isinstance(value, tuple | list):
        return tuple(wrap(item) for item in value)
    return StrictArray(value) if isinstance(value, np.ndarray | np.generic) else value


class StrictArray(np.lib.mixins.NDArrayOperatorsMixin):
    def __init__(self, array):
        self.array = np.asarray(array)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method not in UFUNC_METHODS:
            return NotImplemented
        arrays = {"out": unwrap(out)} if out is not None else {}
        result = getattr(ufunc, method)(*unwrap(inputs), **kwargs, **arrays)
        return wrap(result) if out is None else out[0]  # in place: the same object

    def __array_function__(self, function, types, args, kwargs):
        if function in REFUSED:
            raise TypeError(f"CuPy does not support np.{function.__name__}(..., like=StrictArray)")
        if function in HANDED_OVER:
            return asarray(*args, **kwargs)
        return wrap(function(*unwrap(args), **{name: unwrap(value) for name, value in kwargs.items()}))

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a StrictArray to a NumPy array")

    def refuse(self, *args):
        raise TypeError("a StrictArray was turned into a Python number: on a GPU the host would wait here")

    __float__ = __int__ = __index__ = __complex__ = __iter__ = __contains__ = refuse

    def __bool__(self):
        # CuPy allows it and waits: `check_ids` needs the result before ids are used.
        return bool(self.array)

    def get(self):
        return self.array

    def __getitem__(self, key):
        return wrap(self.array[unwrap(key)])

    def __setitem__(self, key, value):
        self.array[unwrap(key)] = unwrap(value)

    def __len__(self):
        return len(self.array)

    shape = property(lambda self: self.array.shape)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    dtype = property(lambda self: self.array.dtype)
    T = property(lambda self: wrap(self.array.T))
    flags = property(lambda self: self.array.flags)
    data = property(lambda self: SimpleNamespace(ptr=self.array.ctypes.data))  # as in CuPy, for kernels


def method(name):
    def call(self, *args, **kwargs):
        return wrap(getattr(self.array, name)(*unwrap(args), **{k: unwrap(v) for k, v in kwargs.items()}))

    return call


for name in ("reshape", "astype", "sum", "max", "min", "mean", "copy", "argmax"):
    setattr(StrictArray, name, method(name))


def asarray(value, dtype=None):
    """A copy of an array from the host to the device."""
    return value if isinstance(value, StrictArray) else StrictArray(np.array(value, dtype=dtype))


def zeros(shape, dtype=float):
    return StrictArray(np.zeros(shape, dtype=dtype))
