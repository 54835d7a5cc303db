"""Dropout masks on a GPU, bit for bit the same as on a CPU: kernels/dropout.cu."""

from collections.abc import Sequence

import numpy as np

from minilstm.gpu import launch
from minilstm.layers.dropout import counts_of, draw_in_turn, keep_threshold
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

    def draw_one(first: int, shape: tuple[int, ...], keep_prob: float) -> Array:
        mask = draw(seed, step, first, shape, keep_prob, dtype, like)
        return mask if streams is None or len(shape) == 2 else mask[:, streams].copy()

    return draw_in_turn(draw_one, shapes, keep_probs)


def draw(seed: int, step: int, first: int, shape: tuple[int, ...], keep_prob: float, dtype: str, like: Array) -> Array:
    """One of the masks, whose random bits begin at the generator's count `first`."""
    threshold = keep_threshold(keep_prob)
    mask = np.empty(shape, dtype=dtype, like=like)
    scale = float(mask.dtype.type(65536 / threshold))  # rounded once, as in the layer
    numbers = np.uint64(seed), np.uint64(step), np.uint64(first), threshold, scale, np.int64(mask.size)
    launch.launch("dropout", "dropout_mask", launch.blocks_for(counts_of(shape)), (mask, *numbers))
    return mask
