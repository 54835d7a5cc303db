"""Solutions of lesson 10."""

import numpy as np


def clip_without_waiting(gradient, max_norm):
    """Gradient (N, M) on any device -> clipped to the norm `max_norm`, and its norm before, an array (): no waiting."""
    squares = gradient * gradient
    norm = squares.sum() ** 0.5
    scale = max_norm / np.maximum(norm, max_norm)
    return gradient * scale, norm


def round_mantissa(x, bits):
    """x (N,) rounded to the nearest number that has `bits` bits after the leading 1, in any power of two."""
    fraction, exponent = np.frexp(x)  # x = fraction * 2 ** exponent, 0.5 <= |fraction| < 1
    steps = fraction * 2.0 ** (bits + 1)
    whole = np.rint(steps)
    return np.ldexp(whole, exponent - bits - 1)


def step_times(moved, operations, card):
    """Time of each of K kernels (K,), and of a step in seconds: launched one by one, and as one graph."""
    moving = moved / card["bandwidth"]
    computing = operations / card["rate"]
    kernels = card["start"] + np.maximum(moving, computing)
    end = 0.0
    for k in range(len(kernels)):
        launched = (k + 1) * card["launch"]
        end = max(end, launched) + kernels[k]
    graph = card["launch"] + kernels.sum()
    return kernels, end, graph
