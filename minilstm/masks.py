"""The dropout masks of a training step: which there are, by the config. What they do is in layers/dropout.py."""

from collections.abc import Sequence
from typing import NamedTuple

from minilstm import plain
from minilstm.config import Config, layer_sizes
from minilstm.types import Array, Kernels


class Masks(NamedTuple):
    """The dropout masks of one training step, as in layers/dropout.py; None drops nothing.

    Attributes
    ----------
    layers : list of array (T, B, units) or (1, B, units), or None
        For the embedded input and for each layer's output.
    words : array (V, 1) or None
        For the embedding's rows.
    weights : list of array (4H, H) or None
        For each layer's W_hh.
    """

    layers: list[Array | None]
    words: Array | None
    weights: list[Array | None]


def draw_masks(config: Config, step: int, inputs: Array, vocab_size: int, kernels: Kernels = plain) -> Masks | None:
    """Draw the dropout masks of one training step.

    Each step has its own random stream with the key (seed, step), so a resumed run draws the same masks as an
    uninterrupted one, on any device.

    Parameters
    ----------
    config : Config
        Its sizes, its fields named keep_prob, locked_dropout, dtype and seed are used.
    step : int
        Number of training steps before this one, over all epochs.
    inputs : int array (T, B)
        The step's inputs: they give the masks' T, B and device.
    vocab_size : int
    kernels : module

    Returns
    -------
    Masks or None
        None if nothing is dropped.
    """
    sizes, between = layer_sizes(config), config.keep_prob
    T, B = inputs.shape
    outputs = [(1 if config.locked_dropout else T, B, units) for units in sizes]
    keep_probs = [
        config.input_keep_prob or between,
        *[between] * (len(sizes) - 2),
        config.output_keep_prob or between,
    ]
    shapes = [*outputs, (vocab_size, 1), *[(4 * H, H) for H in sizes[1:]]]
    keep_probs += [config.embedding_keep_prob, *[config.weight_keep_prob] * (len(sizes) - 1)]
    if set(keep_probs) == {1.0}:
        return None
    masks = kernels.dropout_masks(config.seed, step, shapes, keep_probs, config.dtype, inputs)
    return as_masks(masks)


def no_masks(config: Config) -> Masks:
    """Masks that drop nothing."""
    return Masks([None] * (config.num_layers + 1), None, [None] * config.num_layers)


def flatten_masks(masks: Masks | None) -> list[Array | None]:
    """The masks of a step as a list, for a CUDA graph; no masks are an empty list."""
    return [] if masks is None else [*masks.layers, masks.words, *masks.weights]


def as_masks(masks: Sequence[Array | None]) -> Masks | None:
    """The reverse of `flatten_masks`, and what `draw_masks` makes of its list: L + 1 layers, words, L weights."""
    layers = len(masks) // 2
    return Masks(list(masks[:layers]), masks[layers], list(masks[layers + 1 :])) if masks else None
