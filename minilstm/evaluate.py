"""Perplexity: the effective number of equally likely next words.

    perplexity = exp(sum of the windows' losses / sum of their steps)

The state is zero at the start of a text and carried from window to window, as in training. The length of a window
therefore affects speed and memory, but not the result.
"""

import math
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from minilstm import plain
from minilstm.compiled import compile_loss
from minilstm.config import Config
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.events import Report
from minilstm.model import zero_state
from minilstm.text.batches import eval_batches, get_batch
from minilstm.text.corpus import SPLITS, Corpus
from minilstm.types import Array, Kernels, Params


def perplexity(loss: float, steps: int) -> float:
    """exp(loss / steps); infinite instead of an overflow error.

    Examples
    --------
    >>> round(perplexity(2 * math.log(10), 2), 9)
    10.0
    """
    return math.nan if math.isnan(loss) else math.exp(loss / steps) if loss / steps < 700 else math.inf


def format_perplexity(value: float, unit: str = "word") -> str:
    """A perplexity as the reference implementation prints it, but not in full above a million.

    That of characters is followed by its logarithm, as is usual for them.

    Examples
    --------
    >>> format_perplexity(114.902), format_perplexity(4.2e21)
    ('114.902', '4.2e+21')
    >>> format_perplexity(4, "char")
    '4.000 (2.000 bits per character)'
    """
    text = f"{value:.4g}" if value > 1e6 else f"{value:.3f}"
    return f"{text} ({math.log2(value):.3f} bits per character)" if unit == "char" else text


def evaluate(
    params: Params,
    config: Config,
    split: str,
    ids: Array,
    kernels: Kernels = plain,
    stop_requested: Sequence[object] = (),
    show_progress: bool = False,
) -> float:
    """Perplexity of a split, with carried state, over every step.

    Parameters
    ----------
    params : dict of array
    config : Config
    split : {"train", "valid", "test"}
        The test split is read as one stream, the others as batch_size streams.
    ids : int array (tokens,)
        The text of the split, on the host.
    kernels : module
        minilstm.plain or minilstm.gpu.fused.
    stop_requested : sequence
        Evaluation is aborted when this becomes non-empty.
    show_progress : bool
        Whether to show a progress bar on standard error.

    Returns
    -------
    float
        Perplexity over `count_predictions` words; NaN if aborted.

    Raises
    ------
    UserError
        If there is no such split, its text is too short, or its perplexity is not finite.

    Examples
    --------
    >>> from minilstm import init_params
    >>> config = Config(hidden_size=4, init_scale=1e-9)
    >>> round(evaluate(init_params(config, 10), config, "test", np.arange(100) % 10), 3)  # untrained: 10 words
    10.0
    """
    require_split(split)
    streams, num_steps = eval_batches(config, split, ids)
    like = params["decoder.bias"]
    ranks, B = getattr(kernels, "ranks", None), streams.shape[1]
    if ranks:
        streams, stop_requested = streams[:, ranks.columns(B)], ranks.requests
    batch_ids = np.asarray(streams, dtype=np.int64, like=like)  # (batch_len, B), as gpu/ reads them
    steps = len(batch_ids) - 1
    loss_of, state = compile_loss(params, config, kernels), zero_state(config, batch_ids.shape[1], like)
    losses = []
    windows = range(math.ceil(steps / num_steps) if batch_ids.size else 0)
    for k in tqdm(windows, split, leave=False) if show_progress else windows:
        if stop_requested:
            break
        inputs, targets = get_batch(batch_ids, k, num_steps)
        loss, state = loss_of(inputs, targets, state)
        losses.append(loss)
    total = float(to_host(np.stack(losses)).astype(float).sum()) if losses else 0.0
    if ranks:
        total, stop_requested = ranks.mean_over_streams(total, batch_ids.shape[1], B), ranks.stop_requested
    if stop_requested:
        return math.nan
    result = perplexity(total, steps)
    if not math.isfinite(result):
        raise UserError(
            f"diverged: the {split} perplexity is {result}; train again with a lower learning_rate, max_grad_norm "
            "or init_scale"
        )
    return result


def evaluate_split(
    at: tuple[int, int],
    params: Params,
    config: Config,
    corpus: Corpus,
    split: str,
    kernels: Kernels,
    stop_requested: Sequence[object],
    show_progress: bool,
) -> Report:
    """Perplexity of a whole split with the parameters at (epoch, step), as a report."""
    ids = corpus.splits[split]
    result = evaluate(params, config, split, ids, kernels, stop_requested, show_progress)
    return Report(*at, split, result, count_predictions(config, split, ids))


def count_predictions(config: Config, split: str, ids: Array) -> int:
    """Number of words of a split that `evaluate` predicts: all but the first of each stream, (batch_len - 1) * B."""
    require_split(split)
    streams, _ = eval_batches(config, split, ids)
    return (streams.shape[0] - 1) * streams.shape[1]


def require_split(split: str) -> None:
    """Refuse an unknown name: the layout of the text, and so the perplexity, depends on the split."""
    if split not in SPLITS:
        raise UserError(f"there is no split {split!r}; give one of {', '.join(map(repr, SPLITS))}")
