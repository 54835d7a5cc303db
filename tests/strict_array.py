"""An array type as strict as CuPy's, for machines without a GPU, and the module that goes with it.

A `StrictArray` refuses to mix with NumPy arrays and to become one silently; unlike CuPy's it also refuses to become a
Python number, which on a GPU would stop and wait. Only `asarray` takes a NumPy array in, only ``get()`` gives one out.
The module has just those functions that CuPy has under the same name. `array_module` finds it as it finds cupy.
"""

import operator

import numpy as np
from numpy import float32, promote_types  # noqa: F401, part of the module as CuPy has it


def unwrap(value):
    """The NumPy array inside; a TypeError for one that comes from outside."""
    if isinstance(value, StrictArray):
        return value.array
    if isinstance(value, tuple):
        return tuple(unwrap(item) for item in value)
    if isinstance(value, np.ndarray | list):
        raise TypeError(f"a {type(value).__name__} meets a StrictArray")
    return value


def wrap(value):
    return StrictArray(value) if isinstance(value, np.ndarray | np.generic) else value


class StrictArray:
    __array_ufunc__ = None  # NumPy's own operators give way to ours, which refuse

    def __init__(self, array):
        self.array = np.asarray(array)

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a StrictArray to a NumPy array")

    def __array_function__(self, *args):
        raise TypeError("a NumPy function was called on a StrictArray")

    def refuse(self):
        raise TypeError("a StrictArray was turned into a Python number: on a GPU the host would wait here")

    __bool__ = __float__ = __int__ = __index__ = __iter__ = refuse

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


def method(name):
    def call(self, *args, **kwargs):
        return wrap(getattr(self.array, name)(*map(unwrap, args), **{k: unwrap(v) for k, v in kwargs.items()}))

    return call


def binary(name):
    def call(self, other):
        return wrap(getattr(operator, name)(self.array, unwrap(other)))

    def reflected(self, other):
        return wrap(getattr(operator, name)(unwrap(other), self.array))

    def in_place(self, other):
        result = getattr(operator, "i" + name)(self.array, unwrap(other))
        return self if result is self.array else wrap(result)

    return call, reflected, in_place


for name in ("reshape", "astype", "sum", "max", "min", "mean", "copy", "argmax", "__abs__", "__neg__"):
    setattr(StrictArray, name, method(name))
for name in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    for kind, function in zip(("", "r", "i"), binary(name), strict=True):
        setattr(StrictArray, f"__{kind}{name}__", function)
for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    setattr(StrictArray, f"__{name}__", binary(name)[0])


def function(name):
    def call(*args, out=None, **kwargs):
        if out is not None:
            kwargs["out"] = unwrap(out)
        args = [[unwrap(item) for item in arg] if isinstance(arg, list | tuple) else unwrap(arg) for arg in args]
        return wrap(getattr(np, name)(*args, **kwargs))

    return call


for name in ("empty", "zeros", "ones", "empty_like", "arange", "tanh", "exp", "log", "maximum", "multiply", "vdot"):
    globals()[name] = function(name)


def asarray(value):
    """The way in, a copy as from host to device."""
    return value if isinstance(value, StrictArray) else StrictArray(np.array(value))


def stack(arrays):
    return StrictArray(np.stack([array.array for array in arrays]))
