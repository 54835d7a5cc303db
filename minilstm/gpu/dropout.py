"""Dropout masks on a GPU, bit for bit the same as on a CPU: kernels/dropout.cu."""

import numpy as np

from minilstm.gpu import launch
from minilstm.layers.dropout import keep_threshold
from minilstm.types import Array


def dropout_masks(seed: int, step: int, shape: tuple[int, ...], keep_prob: float, dtype: str, like: Array) -> Array:
    """Draw all masks of a training step, like `minilstm.layers.dropout.dropout_masks`."""
    threshold = keep_threshold(keep_prob)
    mask = np.empty(shape, dtype=dtype, like=like)
    scale = float(mask.dtype.type(65536 / threshold))  # rounded once, as in the layer
    numbers = np.uint64(seed), np.uint64(step), threshold, scale, np.int64(mask.size)
    launch.launch("dropout", "dropout_mask", launch.blocks_for(-(-mask.size // 16)), (mask, *numbers))
    return mask
