"""Perplexity: how many words a model is torn between, on average.

    perplexity = exp(sum of the windows' costs / sum of their steps)

The state is zero at the start of a text and carried from window to window, as in training, so the length of a window
changes speed and memory, not the result.
"""

import math
import sys

from tqdm import tqdm

from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.model import loss_forward, zero_state
from minilstm.text.batches import get_batch


def perplexity(cost, steps):
    """exp(cost / steps); infinite rather than an overflow.

    Examples
    --------
    >>> round(perplexity(2 * math.log(10), 2), 9)
    10.0
    """
    return math.nan if math.isnan(cost) else math.exp(cost / steps) if cost / steps < 700 else math.inf


def evaluate(params, config, split, ids, xp, stopped=()):
    """Perplexity of a split, state carried, every step counted.

    Parameters
    ----------
    params : dict of array
    config : Config
    split : {"train", "valid", "test"}
    ids : int array (tokens,)
        The split's text, on the host.
    xp : module
    stopped : sequence
        Evaluation breaks off once this is not empty: the list that `stop_signals` fills.

    Returns
    -------
    float
        Perplexity over `count_predictions`; NaN if broken off.

    Raises
    ------
    UserError
        If the split is too short, or its perplexity is not a finite number.
    """
    data, num_steps = eval_batches(config, split, ids)
    data = xp.asarray(data)
    steps = len(data) - 1
    state = zero_state(config, data.shape[1], xp)
    costs = []
    for k in tqdm(range(math.ceil(steps / num_steps)), split, leave=False, disable=not sys.stderr.isatty()):
        if stopped:
            return math.nan
        inputs, targets = get_batch(data, k, num_steps)
        cost, state = loss_forward(params, config, inputs, targets, state)
        costs.append(cost)
    result = perplexity(float(to_host(xp.stack(costs)).astype(float).sum()), steps)
    if not math.isfinite(result):
        raise UserError(
            f"diverged: the {split} perplexity is {result}; train again with a lower --learning-rate, --max-grad-norm "
            "or --init-scale"
        )
    return result


def count_predictions(config, split, ids):
    """How many words of a split `evaluate` predicts: in each stream all but the first, (batch_len - 1) * B."""
    data, _ = eval_batches(config, split, ids)
    return (data.shape[0] - 1) * data.shape[1]
