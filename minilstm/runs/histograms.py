"""What the histograms of a log show: the gates, the weights and the gradients on one window of text.

It is the same window each time, the first of the training text, from a zero state and without dropout, so that only the
weights make a difference. The plain set of functions computes it from the weights, on their device and in their
precision; training is not affected.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from minilstm.device import to_host
from minilstm.layers.embedding import SparseGradient
from minilstm.model import loss_and_gradients, stack_forward, weights_dtype, zero_state
from minilstm.step import TrainState
from minilstm.text.batches import batchify, get_batch
from minilstm.text.corpus import Corpus
from minilstm.types import Array

Window: TypeAlias = tuple[Array, Array]  # inputs and targets, each (T, B)

BUCKETS = 30  # of a histogram, as TensorBoard draws it
MAX_VALUE = 1e38  # in a histogram; float32 can hold twice that


def first_window(state: TrainState, corpus: Corpus) -> Window:
    """The first window of the training text, on the device."""
    streams = batchify(corpus.splits["train"], state.config.batch_size)
    like = state.params["decoder.bias"]
    inputs, targets = (np.array(ids, like=like) for ids in get_batch(streams, 0, state.config.num_steps))
    return inputs, targets


def arrays_of(state: TrainState, window: Window) -> Iterator[tuple[str, Array]]:
    """Every array that has a histogram, with its tag.

    For each layer k, ``lstm_l{k}/`` i, f, g, o and c: the gates and the cell state, (T, B, H). For each parameter,
    ``weights/`` and ``gradients/`` with its name. The gradients are those before clipping; the embedding's has the rows
    of the words in the window, because all others are zero.
    """
    config, params = replace(state.config, dtype=weights_dtype(state.config)), state.params
    zeros = zero_state(config, config.batch_size, params["decoder.bias"])
    _, _, (_, lstm_caches, _) = stack_forward(params, config, window[0], zeros)
    for k, (_, _, _, steps) in enumerate(lstm_caches):
        i, f, g, o, c_prev, _ = map(np.stack, zip(*steps, strict=True))
        for name, values in (("i", i), ("f", f), ("g", g), ("o", o), ("c", f * c_prev + i * g)):
            yield f"lstm_l{k}/{name}", values
    _, grads, _ = loss_and_gradients(params, config, *window, zeros)
    for name, param in params.items():
        grad = grads[name]
        yield f"weights/{name}", param
        yield f"gradients/{name}", grad.values if isinstance(grad, SparseGradient) else grad


def count_values(values: Array) -> dict[str, Any] | None:
    """The fields of a `HistogramProto`, with buckets of equal width; None if a value is not finite, or too large.

    A bucket contains the values up to its limit.

    Examples
    --------
    >>> fields = count_values(np.array([0.0, 0.5, 1.5, 30.0]))
    >>> fields["bucket"][:3], fields["bucket_limit"][:3], fields["num"], fields["sum"]
    ([2.0, 1.0, 0.0], [1.0, 2.0, 3.0], 4.0, 32.0)
    """
    values = values.reshape(-1)
    low, high = float(values.min()), float(values.max())
    if not (low >= -MAX_VALUE and high <= MAX_VALUE):  # nor if they are NaN
        return None
    span = high - low or 1.0
    places = np.minimum((values - low) / span * BUCKETS, BUCKETS - 1).astype(np.int64)
    counts = to_host(np.bincount(places, minlength=BUCKETS))
    return {
        "min": low,
        "max": high,
        "num": float(values.size),
        "sum": float(values.sum(dtype=np.float64)),
        "sum_squares": float(np.square(values, dtype=np.float64).sum()),
        "bucket_limit": [low + span * (k + 1) / BUCKETS for k in range(BUCKETS)],
        "bucket": counts.astype(float).tolist(),
    }
