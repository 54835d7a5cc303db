"""Dropout on the non-recurrent connections (Zaremba et al., arXiv 1409.2329, section 3.1), inverted.

    y = m * x,  m = 1 / keep_prob with probability keep_prob, else 0          dx = m * dy

The expected output is x, so evaluation needs no rescaling; there the mask is None. Each unit takes 16 random bits, so
keep_prob is rounded to a multiple of 1 / 65536. What a mask drops follows from its shape:

    (T, B, H)   units, anew in each time step
    (1, B, H)   units, the same in all steps of a window    locked dropout (Gal and Ghahramani, arXiv 1512.05287)
    (V, 1)      words, the same wherever they are read      embedding dropout (the same paper, section 4.2)
    (4H, H)     recurrent weights, before the layer         weight drop (Merity et al., arXiv 1708.02182, section 2)

The bits come from Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), a generator that
computes random bits from a key and a counter. The key is (seed, step): every training step has its own stream, which a
resumed run and a GPU (gpu/dropout.py) reproduce bit for bit.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from minilstm.blocks import by_rows
from minilstm.types import Array


def keep_threshold(keep_prob: float) -> int:
    """Number of 16-bit values, out of 65536, for which a unit is kept."""
    return max(1, round(65536 * keep_prob))


def dropout_mask(rng: np.random.Generator, shape: int | tuple[int, ...], keep_prob: float, dtype: str) -> Array:
    """Draw a mask: an array of `shape` with the values 0 and 1 / keep_prob."""
    threshold, size = keep_threshold(keep_prob), int(np.prod(shape))
    units = rng.bit_generator.random_raw(-(-size // 4)).view(np.uint16)[:size]  # four from each number of 64 bits
    mask = (units < threshold).astype(dtype).reshape(shape)
    mask *= 65536 / threshold
    return mask


def dropout_masks(
    seed: int,
    step: int,
    shapes: Sequence[tuple[int, ...]],
    keep_probs: Sequence[float],
    dtype: str,
    like: Array,
    streams: slice | None = None,
) -> list[Array | None]:
    """Draw all masks of a training step.

    Parameters
    ----------
    seed, step : int
    shapes : sequence of tuple
        (T, B, H) or (1, B, H) for units, two dimensions for others.
    keep_probs : sequence of float
        One for each mask; with 1 nothing is dropped, and the mask is None.
    dtype : str
    like : array
        The masks are on its device.
    streams : slice, optional
        Of masks of units, only the columns of these of the B streams: ``mask[:, streams]``.

    Returns
    -------
    list of array or None
    """

    def draw_one(first: int, shape: tuple[int, ...], keep_prob: float) -> Array:
        if streams is None or len(shape) == 2:
            mask = draw(seed, step, first, shape, keep_prob, dtype)
        else:
            mask = draw_streams(seed, step, first, shape, streams, keep_prob, dtype)
        return np.asarray(mask, like=like)

    return draw_in_turn(draw_one, shapes, keep_probs)


def draw_in_turn(
    draw: Callable[[int, tuple[int, ...], float], Array],
    shapes: Sequence[tuple[int, ...]],
    keep_probs: Sequence[float],
) -> list[Array | None]:
    """Masks from ``draw(first, shape, keep_prob)``: each begins at the generator's count where the last one ended."""
    masks: list[Array | None] = []
    first = 0
    for shape, keep_prob in zip(shapes, keep_probs, strict=True):
        masks.append(None if keep_prob == 1 else draw(first, shape, keep_prob))
        first += 0 if keep_prob == 1 else counts_of(shape)
    return masks


def counts_of(shape: tuple[int, ...]) -> int:
    """Number of counts of the generator that a mask takes: each gives 16 units."""
    return -(-math.prod(shape) // 16)


def draw(seed: int, step: int, first: int, shape: tuple[int, ...], keep_prob: float, dtype: str) -> Array:
    """One of the masks of a training step, whose random bits begin at the generator's count `first`."""
    mask = np.empty((counts_of(shape), 16), dtype=dtype)

    def draw_rows(mask: Array, counts: Array) -> None:
        rng = np.random.Generator(np.random.Philox(key=[seed, step], counter=counts[0]))
        mask[:] = dropout_mask(rng, mask.shape, keep_prob, dtype)

    by_rows(draw_rows, mask, np.arange(first, first + len(mask)))
    return mask.reshape(-1)[: math.prod(shape)].reshape(shape)


def draw_streams(
    seed: int, step: int, first: int, shape: tuple[int, ...], streams: slice, keep_prob: float, dtype: str
) -> Array:
    """``draw(...)[:, streams]`` without the other streams; in memory the units of a step's streams lie side by side."""
    T, B, H = shape
    mask = np.empty((T, (streams.stop - streams.start) * H), dtype=dtype)
    for t in range(T):
        count, skipped = divmod((t * B + streams.start) * H, 16)
        rng = np.random.Generator(np.random.Philox(key=[seed, step], counter=first + count))
        mask[t] = dropout_mask(rng, skipped + mask[t].size, keep_prob, dtype)[skipped:]
    return mask.reshape(T, -1, H)


def dropout_forward(inputs: Array, mask: Array | None) -> Array:
    """Inputs of any shape times a mask, of the same shape or one that broadcasts to it; None keeps every unit."""
    return inputs if mask is None else inputs * mask


def dropout_backward(doutputs: Array, mask: Array | None) -> Array:
    """Gradient of the inputs: the same mask times the gradient of the outputs."""
    return doutputs if mask is None else doutputs * mask
