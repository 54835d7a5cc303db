"""The function that a gradient check is given: what it returns is checked before it is compared.

Anybody's function may come here: it may return its loss as an array, a sparse gradient, or something else by mistake.
"""

import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import numpy as np

from minilstm.types import Array, Params

NOISE = 1e-12  # relative difference between two calls of a deterministic function: a GPU may sum in another order


def require_float64(params: Params) -> None:
    """Refuse parameters that are not a dict of float64 arrays."""
    if not isinstance(params, Mapping):
        raise ValueError(f"the parameters must be a dict, name -> array, not {describe(params)}")
    for name, param in params.items():
        if getattr(param, "dtype", None) != "float64" or not hasattr(param, "__setitem__"):
            raise ValueError(f"finite differences need float64 arrays, but {name} is {describe(param)}")


def call(function: Callable[[Params], Any], params: Params) -> tuple[float, dict[str, Array]]:
    """The loss, and each parameter's gradient as a dense array of its own: the function may reuse its memory."""
    result = function(params)
    loss = loss_of(result)
    if not math.isfinite(loss):
        raise ValueError(f"the loss is {loss}; finite differences need a finite one")
    gradients = result[1] if len(result) > 1 else None
    if not isinstance(gradients, Mapping):
        found = "missing" if gradients is None else describe(gradients)
        raise ValueError(f"the gradients must be a dict of arrays, but are {found}")
    return loss, {name: dense_gradient(name, gradients.get(name), param) for name, param in params.items()}


def loss_of(result: Any) -> float:
    """The loss in what the function returned, as a number; an array of one element is one, too."""
    if not isinstance(result, tuple | list) or not result:
        raise ValueError(f"the function must return (loss, gradients), not {describe(result)}")
    loss = result[0]
    number = loss.item() if getattr(loss, "size", 0) == 1 else loss
    if not isinstance(number, Real) or getattr(loss, "dtype", None) in (np.float32, np.float16):
        raise ValueError(f"the loss must be one float64 number, not {describe(loss)}")
    return float(number)


def dense_gradient(name: str, gradient: Any, param: Array) -> Array:
    """A copy of a parameter's gradient, a dense float64 array on the parameter's device.

    Examples
    --------
    >>> from minilstm.layers.embedding import SparseGradient
    >>> dense_gradient("weight", SparseGradient(np.array([1]), np.array([[0.5, 2.0]])), np.zeros((3, 2)))
    array([[0. , 0. ],
           [0.5, 2. ],
           [0. , 0. ]])
    """
    if gradient is None:
        raise ValueError(f"the gradient of {name} is missing")
    if hasattr(gradient, "to_dense"):
        gradient = gradient.to_dense(len(param))
    shape = gradient.shape if hasattr(gradient, "shape") else np.shape(gradient)
    if shape != param.shape:
        raise ValueError(f"the gradient of {name} should have shape {param.shape}, but is {shape}")
    return np.array(gradient, dtype=np.float64, like=param)


def require_deterministic(
    function: Callable[[Params], Any], params: Params, loss: float, gradients: dict[str, Array], calls: int
) -> None:
    """Raise a ValueError if the function, called again, returns another loss or other gradients."""
    tolerance = NOISE * max([abs(loss), *map(largest, gradients.values())])
    for _ in range(calls):
        again, others = call(function, params)
        with np.errstate(invalid="ignore"):  # inf - inf
            change = max([abs(again - loss), *(largest(others[name] - gradients[name]) for name in params)])
        if change > tolerance:
            raise ValueError(
                f"the function is random: for the same params its loss is {loss!r}, then {again!r}, or its gradients "
                "differ; fix its random numbers, for example its dropout masks"
            )


def largest(array: Array) -> float:
    """The greatest finite magnitude in an array; 0 if there is none."""
    return float(np.where(np.isfinite(array), abs(array), 0.0).max()) if array.size else 0.0


def describe(value: Any) -> str:
    """The type of an object, with an array's dtype and shape.

    Examples
    --------
    >>> describe(np.zeros((2, 3))), describe(1.0)
    ('ndarray float64 (2, 3)', 'float')
    """
    details = (str(getattr(value, name)) for name in ("dtype", "shape") if hasattr(value, name))
    return " ".join([type(value).__name__, *details])
