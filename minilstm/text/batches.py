"""Ids to batches, laid out as in the PTB scripts.

`batchify` cuts the text into B streams of equal length and places them side by side. With the alphabet as the text and
B = 3, each stream is one column, read downwards; y and z do not fill another row and are dropped:

    a i q
    b j r
    c k s         row t holds token t of every stream
    d l t
    e m u
    f n v
    g o w
    h p x

`get_batch` takes T consecutive rows as inputs, and the same rows shifted down by one as targets. With T = 3:

              inputs    targets
    window 0  a i q     b j r
              b j r     c k s
              c k s     d l t
    window 1  d l t     e m u
              e m u     f n v
              f n v     g o w

Each column of window 1 continues the same column of window 0, so the LSTM's state can be carried from one window to the
next. The columns are treated as independent texts: the model never learns that i follows h. Training skips an
incomplete last window (here the single row g o w); evaluation does not.
"""

import math

import numpy as np

from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.text.corpus import Corpus, lacks_blanks
from minilstm.types import Array

MAX_TOKENS = 20_000  # of a window in evaluation
MIN_VARIED = 5  # steps of a window whose length varies


def batchify(ids: Array, batch_size: int) -> Array:
    """Split a text into parallel streams, time-major.

    Parameters
    ----------
    ids : int array (tokens,)
    batch_size : int
        B, the number of streams.

    Returns
    -------
    array (batch_len, B)
        Column b is the b-th stretch of the text; up to B - 1 tokens at the end are dropped.

    Examples
    --------
    >>> batchify(np.arange(7), 2)
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    batch_len = len(ids) // batch_size
    return np.ascontiguousarray(ids[: batch_size * batch_len].reshape(batch_size, batch_len).T)


def num_windows(batch_len: int, num_steps: int) -> int:
    """Number of complete windows in streams of `batch_len` tokens; the last target takes one extra token."""
    return (batch_len - 1) // num_steps


def window_starts(config: Config, batch_len: int, epoch: int) -> Array:
    """Where the windows of an epoch of training begin, and where the last one ends: int array (windows + 1,).

    With `vary_num_steps` each has a length of its own, so that no word is always the first of its window: T, or T / 2
    with probability 0.05, plus a normal deviate of 5, and at least 5 (Merity et al., arXiv 1708.02182, section 5.1).
    They follow from the seed and the epoch. The loss is a sum over the steps, so a longer window has a larger gradient,
    as it has there by its learning rate.

    Parameters
    ----------
    config : Config
        Its num_steps, vary_num_steps and seed are used.
    batch_len : int
    epoch : int
        From 0.

    Examples
    --------
    >>> window_starts(Config(num_steps=20), 90, epoch=0).tolist()
    [0, 20, 40, 60, 80]
    """
    T = config.num_steps
    if not config.vary_num_steps:
        return np.arange(num_windows(batch_len, T) + 1) * T
    rng = np.random.default_rng([config.seed, epoch])
    most = batch_len // MIN_VARIED + 1
    base = np.where(rng.random(most) < 0.95, T, T / 2)
    ends = np.cumsum(np.maximum(MIN_VARIED, rng.normal(base, 5).astype(int)))
    if batch_len > T:
        ends[0] = min(ends[0], batch_len - 1)  # a text that is long enough for T steps always has a window
    return np.concatenate(([0], ends[ends < batch_len]))


def windows_before(config: Config, batch_len: int, epoch: int) -> int:
    """Number of windows in all epochs before this one; the arguments are those of `window_starts`."""
    if not config.vary_num_steps:
        return epoch * num_windows(batch_len, config.num_steps)
    return sum(len(window_starts(config, batch_len, n)) - 1 for n in range(epoch))


def get_batch(data: Array, k: int, num_steps: int) -> tuple[Array, Array]:
    """Inputs and targets of window k.

    Parameters
    ----------
    data : array (batch_len, B)
        The result of `batchify`.
    k : int
        Index of the window, from 0.
    num_steps : int
        T.

    Returns
    -------
    inputs, targets : array (T, B)
        Views of `data`; the last window may be shorter.

    Examples
    --------
    >>> inputs, targets = get_batch(batchify(np.arange(7), 2), 0, num_steps=2)
    >>> inputs
    array([[0, 3],
           [1, 4]])
    >>> targets
    array([[1, 4],
           [2, 5]])
    """
    start, end = k * num_steps, min((k + 1) * num_steps, len(data) - 1)
    if not 0 <= start < end:
        raise ValueError(f"window {k} of {num_steps} steps is outside the data, which has {len(data)} rows")
    return data[start:end], data[start + 1 : end + 1]


def eval_batches(config: Config, split: str, ids: Array) -> tuple[Array, int]:
    """Lay out a split for evaluation, as the reference implementation does.

    The train and valid splits use the batch size of training. The test split is a single stream, so that every word
    after the first is predicted exactly once; its windows are batch_size times longer, for the same work per window.
    Very long windows are shortened: the perplexity does not depend on their length, the memory does.

    Returns
    -------
    data : array (batch_len, B)
    num_steps : int
        Length of a window.

    Raises
    ------
    UserError
        If the text is too short for the streams.
    """
    batch_size, num_steps = config.batch_size, config.num_steps
    if split == "test":
        batch_size, num_steps = 1, num_steps * batch_size
    if len(ids) < 2 * batch_size:
        raise UserError(
            f"the {split} text has {len(ids)} tokens, too few for {batch_size} streams; give at least "
            f"{2 * batch_size}{', or lower batch_size' * (batch_size > 1)}"
        )
    return batchify(ids, batch_size), max(1, min(num_steps, MAX_TOKENS // batch_size))


def require_length(corpus: Corpus, config: Config) -> None:
    """Check that every split is long enough: for one window of training, and one prediction of each stream.

    Raises
    ------
    UserError
    """
    B = config.batch_size
    needed = {"train": (config.num_steps + 1) * B, "valid": 2 * B, "test": 2}
    sizes = {split: len(ids) for split, ids in corpus.splits.items()}
    short = [split for split in needed if sizes[split] < needed[split]]
    if not short:
        return
    what = "; ".join(f"the {split} text has {sizes[split]} tokens, but needs {needed[split]}" for split in short)
    share = 0.05 * sum(sizes.values())  # of valid and test, if they are from a single file: they have whole lines
    factor = max(needed[split] / min(sizes[split], share if split != "train" else math.inf) for split in short)
    cures = [f"give {math.ceil(12 * factor) / 10:g} times as much text"]
    cures += ["lower batch_size"] * (B > 1) + ["lower num_steps"] * ("train" in short)
    cures += ["read characters with unit char, if the text has no blanks"] * lacks_blanks(corpus, config.unit)
    raise UserError(f"{what} for {B} streams of {config.num_steps} steps: {', or '.join(cures)}")
