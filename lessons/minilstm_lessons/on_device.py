"""An array that behaves as if it lay on a GPU: the host computes with it but never sees a number of it.

CuPy lets a program ask for a number, and then waits until the GPU has caught up. Here asking is an error, so that a
function which has to do without waiting can be held to it. Operators, NumPy's functions and the methods give arrays
on the device again.
"""

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

WAITS = "the host wants to know a number that is on the GPU, and would have to wait for it"
MEETS = "a NumPy array meets an array on the GPU: make it there, with np.zeros_like, or np.asarray(..., like=array)"


class OnDevice(NDArrayOperatorsMixin):
    """A stand-in for an array on a GPU.

    Attributes
    ----------
    _array : numpy.ndarray
    """

    def __init__(self, array):
        self._array = np.asarray(array)

    def _refuse(self, *_, **__):
        raise TypeError(WAITS)

    __array__ = __bool__ = __float__ = __int__ = __index__ = __complex__ = __round__ = __trunc__ = _refuse
    __repr__ = __str__ = __format__ = __contains__ = get = item = tolist = tobytes = dump = dumps = tofile = _refuse
    __buffer__ = __dlpack__ = _refuse
    __hash__ = None

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (OnDevice(part) for part in self._array)

    def __getitem__(self, key):
        return on_device(self._array[inside(key)])

    def __setitem__(self, key, value):
        self._array[inside(key)] = inside(value)

    def __deepcopy__(self, memo):
        return OnDevice(self._array.copy())

    __copy__ = __deepcopy__

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        value = getattr(self._array, name)
        if not callable(value):
            return on_device(value)
        return lambda *args, **kwargs: on_device(value(*map(inside, args), **{k: inside(v) for k, v in kwargs.items()}))

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        kept = {"out": tuple(map(inside, out))} if out else {}
        result = getattr(ufunc, method)(*map(inside, inputs), **kept, **kwargs)
        return out[0] if out else on_device(result)

    def __array_function__(self, function, types, args, kwargs):
        if function in (np.array_repr, np.array_str, np.array2string):
            self._refuse()
        if function in (np.asarray, np.array):  # with like=: from the host to the device
            return OnDevice(function(*args, **kwargs))
        return on_device(function(*map(inside, args), **{key: inside(value) for key, value in kwargs.items()}))


def inside(value):
    """The NumPy array in an array on the device; a TypeError for one that never went there."""
    if isinstance(value, OnDevice):
        return value._array
    if isinstance(value, tuple | list):
        return type(value)(map(inside, value))
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(MEETS)
    return value


def on_device(value):
    """An array or a NumPy number on the device, those of a tuple too; anything else as it is."""
    if type(value) in (tuple, list):
        return type(value)(map(on_device, value))
    return OnDevice(value) if isinstance(value, np.ndarray | np.generic) else value


def from_device(value):
    """The array in a stand-in; anything else as it is."""
    return value._array if type(value) is OnDevice else value
