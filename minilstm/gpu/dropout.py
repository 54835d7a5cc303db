"""Dropout masks on a GPU, bit for bit the same as on a CPU: kernels/dropout.cu."""

from collections.abc import Sequence

import numpy as np

from minilstm.gpu import launch
from minilstm.layers.dropout import counts_of, keep_threshold
from minilstm.types import Array


def dropout_masks(
    seed: int,
    step: int,
    shapes: Sequence[tuple[int, ...]],
    keep_probs: Sequence[float],
    dtype: str,
    like: Array,
    streams: slice | None = None,
) -> list[Array | None]:
    """Draw all masks of a training step, like `minilstm.layers.dropout.dropout_masks`."""
    masks: list[Array | None] = []
    first = 0  # count of the generator at which a mask begins
    for shape, keep_prob in zip(shapes, keep_probs, strict=True):
        if keep_prob == 1:
            masks.append(None)
            continue
        mask = draw(seed, step, first, shape, keep_prob, dtype, like)
        masks.append(mask if streams is None or len(shape) == 2 else mask[:, streams].copy())
        first += counts_of(shape)
    return masks


def draw(seed: int, step: int, first: int, shape: tuple[int, ...], keep_prob: float, dtype: str, like: Array) -> Array:
    """One of the masks, whose random bits begin at the generator's count `first`."""
    threshold = keep_threshold(keep_prob)
    mask = np.empty(shape, dtype=dtype, like=like)
    scale = float(mask.dtype.type(65536 / threshold))  # rounded once, as in the layer
    numbers = np.uint64(seed), np.uint64(step), np.uint64(first), threshold, scale, np.int64(mask.size)
    launch.launch("dropout", "dropout_mask", launch.blocks_for(counts_of(shape)), (mask, *numbers))
    return mask
