"""Gradient checking by central finite differences, for any function that returns a loss and its gradients.

    dL/dx  ~  (8 (L(x + h) - L(x - h)) - (L(x + 2h) - L(x - 2h))) / 12h

Two central differences with steps h and 2h, combined so that their h^2 errors cancel (Richardson extrapolation). The
error is O(h^4) + O(rounding / h). Abramowitz and Stegun, 25.3.6.

This module does not depend on language models: it needs only a function and a dict of arrays.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minilstm.gradcheck_function import call, largest, loss_of, require_deterministic, require_float64
from minilstm.types import Array, Grads, Params

LossAndGradients = Callable[[Params], tuple[Array | float, Grads]]
SUSPICIOUS = 1e-3  # relative error of a gradient that is plainly wrong


class GradientCheck(NamedTuple):
    """The result for one parameter.

    Attributes
    ----------
    name : str
        The parameter.
    checked : int
        Number of elements or random directions compared.
    by : {"elements", "directions"}
        Which of the two.
    error : float
        The largest relative error; infinite where a slope is not finite.
    """

    name: str
    checked: int
    by: str
    error: float


def check_gradients(
    function: LossAndGradients,
    params: Params,
    step: float = 1e-3,
    max_elements: int = 200,
    directions: int = 20,
    seed: int = 0,
) -> list[GradientCheck]:
    """Compare analytic gradients with central differences.

    A parameter of at most `max_elements` elements is checked element by element. A larger one is checked along random
    directions d of unit length: the slope of the loss along d against sum(gradient * d).

    Parameters
    ----------
    function : callable
        ``function(params) -> (loss, gradients)``: one number, and a dict with an array of each parameter's shape (or a
        `SparseGradient`); anything more is ignored. It must be deterministic.
    params : dict of float64 array
        The point at which to check, NumPy or CuPy; changed during the check, then restored exactly.
    step : float
        h.
    max_elements, directions : int
        See above.
    seed : int
        Seed of the random directions.

    Returns
    -------
    results : list of GradientCheck
        One per parameter. The relative error of a slope is ``|a - n| / max(|a|, |n|, s)``, where s is 1e-3 times the
        largest gradient of any parameter, because differences are rounding noise where a gradient nearly vanishes. A
        NaN in one gradient makes the error of that parameter infinite, and of no other.

    Raises
    ------
    ValueError
        If the function is random, or does not return one finite number and a dict; if a parameter is not a float64
        array, or its gradient is missing or has the wrong shape; if `step` is not above 0 or `directions` below 1.

    Examples
    --------
    >>> def function(params):
    ...     return (params["x"] ** 3).sum(), {"x": 3 * params["x"] ** 2}
    >>> [result] = check_gradients(function, {"x": np.array([1.0, 2.0])})
    >>> result.name, result.checked, result.error < 1e-9
    ('x', 2, True)
    """
    if not step > 0 or directions < 1:
        raise ValueError(f"step must be above 0 and directions at least 1, not {step} and {directions}")
    require_float64(params)
    loss, gradients = call(function, params)
    require_deterministic(function, params, loss, gradients, calls=2)
    greatest = max(map(largest, gradients.values()), default=0.0)
    rng = np.random.default_rng(seed)
    results = []
    for name, param in params.items():
        gradient = gradients[name]
        if param.size <= max_elements:
            by, slopes = "elements", element_slopes(function, params, name, gradient, step)
        else:
            by, slopes = "directions", direction_slopes(function, params, name, gradient, step, directions, rng)
        errors = [relative_error(analytic, numeric, 1e-3 * greatest) for analytic, numeric in slopes]
        results.append(GradientCheck(name, len(errors), by, max(errors, default=0.0)))
        if results[-1].error > SUSPICIOUS:  # a random function may have returned the same twice
            require_deterministic(function, params, loss, gradients, calls=20)
    return results


def element_slopes(
    function: LossAndGradients, params: Params, name: str, gradient: Array, step: float
) -> list[tuple[float, float]]:
    """(analytic, numeric) slope along every element of one parameter."""
    param = params[name]
    slopes = []
    for index in itertools.product(*map(range, param.shape)):
        start = float(param[index])

        def loss_at(h: float, index: tuple[int, ...] = index, start: float = start) -> float:
            param[index] = start + h
            return loss_of(function(params))

        try:
            slopes.append((float(gradient[index]), central_difference(loss_at, step)))
        finally:
            param[index] = start
    return slopes


def direction_slopes(
    function: LossAndGradients,
    params: Params,
    name: str,
    gradient: Array,
    step: float,
    directions: int,
    rng: np.random.Generator,
) -> list[tuple[float, float]]:
    """(analytic, numeric) slope along random directions of unit length through one parameter."""
    param = params[name]
    start = param.copy()
    slopes = []
    for _ in range(directions):
        direction = np.asarray(rng.choice([-1.0, 1.0], param.shape) / param.size**0.5, like=param)

        def loss_at(h: float, direction: Array = direction) -> float:
            param[...] = start + h * direction
            return loss_of(function(params))

        try:
            slopes.append((float((gradient * direction).sum()), central_difference(loss_at, step)))
        finally:
            param[...] = start
    return slopes


def central_difference(loss_at: Callable[[float], float], h: float) -> float:
    """Slope at 0 of a function of one variable; the equation at the top of this file.

    Examples
    --------
    >>> round(central_difference(math.exp, 1e-3), 9)
    1.0
    """
    near = loss_at(h) - loss_at(-h)
    far = loss_at(2 * h) - loss_at(-2 * h)
    return (8 * near - far) / (12 * h)


def relative_error(analytic: float, numeric: float, scale: float = 0.0) -> float:
    """``|a - n| / max(|a|, |n|, scale)``: 0 if a and n are equal, infinite if one is not finite.

    Examples
    --------
    >>> relative_error(2.0, 1.0)
    0.5
    """
    difference = abs(analytic - numeric)
    if not math.isfinite(difference + scale):
        return math.inf
    return difference and difference / max(abs(analytic), abs(numeric), scale)
