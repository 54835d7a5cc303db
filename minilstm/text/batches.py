"""Ids to batches, as the PTB scripts have them.

row b of the batch is    ids[b * batch_len : (b + 1) * batch_len]         batch_len = len(ids) // B
window k is              columns kT .. (k + 1)T, its targets the columns one later
"""

import numpy as np

from minilstm.errors import UserError


def batchify(ids, batch_size):
    """Lay a text out as parallel streams, time-major.

    Parameters
    ----------
    ids : int array (tokens,)
    batch_size : int
        B.

    Returns
    -------
    array (batch_len, B)
        Column b is the b-th stretch of the text; up to B - 1 tokens at the end are left out.

    Examples
    --------
    >>> batchify(np.arange(7), 2)
    array([[0, 3],
           [1, 4],
           [2, 5]])
    """
    batch_len = len(ids) // batch_size
    return np.ascontiguousarray(ids[: batch_size * batch_len].reshape(batch_size, batch_len).T)


def num_windows(batch_len, num_steps):
    """Whole windows in streams of `batch_len`: one token more is needed, the last target."""
    return (batch_len - 1) // num_steps


def get_batch(data, k, num_steps):
    """Inputs and targets of window k of streams (batch_len, B): two views, (T, B); the last may be shorter."""
    start, end = k * num_steps, min((k + 1) * num_steps, len(data) - 1)
    return data[start:end], data[start + 1 : end + 1]


def eval_batches(config, split, ids):
    """The streams on which a split is measured, (batch_len, B), and the length of a window.

    As in the reference: train and valid in the training's batch_size streams, the test in one, so that every word
    after the first is predicted once. That stream's windows are batch_size times longer: as much work for each.
    """
    batch_size, num_steps = config.batch_size, config.num_steps
    if split == "test":
        batch_size, num_steps = 1, num_steps * batch_size
    if len(ids) < 2 * batch_size:
        raise UserError(
            f"the {split} text has {len(ids)} tokens, too few for {batch_size} streams; add text or lower --batch-size"
        )
    return batchify(ids, batch_size), num_steps
