"""Dropout on the non-recurrent connections (Zaremba et al., arXiv 1409.2329, section 3.1), inverted.

    y = m * x,  m = 1 / keep_prob with probability keep_prob, else 0          dx = m * dy

so that the expected output is x and nothing changes at evaluation, where the mask is None. Sixteen random bits decide
on a unit, so keep_prob is rounded to a multiple of 1 / 65536.

The bits come from Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), a cipher that
turns a key and a counter into random bits. The key is (seed, step): every training step has a stream of its own, which
a resumed run draws again, and which a GPU draws bit for bit (gpu/dropout.py).
"""

import numpy as np

from minilstm.types import Array


def keep_threshold(keep_prob: float) -> int:
    """How many of the 65536 values of 16 bits keep a unit."""
    return max(1, round(65536 * keep_prob))


def dropout_mask(rng: np.random.Generator, shape: int | tuple[int, ...], keep_prob: float, dtype: str) -> Array:
    """Draw a mask: an array of `shape` that holds 0 and 1 / keep_prob."""
    threshold = keep_threshold(keep_prob)
    mask = (rng.integers(65536, size=shape, dtype=np.uint16) < threshold).astype(dtype)
    mask *= 65536 / threshold
    return mask


def dropout_masks(seed: int, step: int, shape: tuple[int, ...], keep_prob: float, dtype: str, like: Array) -> Array:
    """Draw all masks of a training step: an array of `shape`, on the device of the array `like`."""
    rng = np.random.Generator(np.random.Philox(key=[seed, step]))
    return np.asarray(dropout_mask(rng, shape, keep_prob, dtype), like=like)


def dropout_forward(inputs: Array, mask: Array | None) -> Array:
    """Inputs, any shape, times the mask of the same shape; a mask of None keeps everything."""
    return inputs if mask is None else inputs * mask


def dropout_backward(doutputs: Array, mask: Array | None) -> Array:
    """Gradient of the inputs: the mask again."""
    return doutputs if mask is None else doutputs * mask
