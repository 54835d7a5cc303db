"""Solutions of lesson 3."""

import numpy as np


def numerical_gradient(loss, x, h):
    """Slope of the number loss(x) along every element of x, by central differences of step h: shaped as x."""
    x = x.copy()
    gradient = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        start = x[index]
        x[index] = start + h
        above = loss(x)
        x[index] = start - h
        below = loss(x)
        x[index] = start
        gradient[index] = (above - below) / (2 * h)
    return gradient


def relative_errors(analytic, numeric, scale):
    """|a - n| / max(|a|, |n|, scale), element by element."""
    difference = abs(analytic - numeric)
    size = np.maximum(abs(analytic), abs(numeric))
    return difference / np.maximum(size, scale)


def broken_parameters(analytic, numeric, scale, bound):
    """For each parameter whether any element's relative error is not within the bound: bools, in the dict's order."""
    broken = []
    for name in analytic:
        errors = relative_errors(analytic[name], numeric[name], scale)
        right = errors <= bound  # False where an error is nan
        broken.append(not right.all())
    return np.array(broken)
