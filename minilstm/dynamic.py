"""Dynamic evaluation: the model goes on learning from the text that it has already predicted.

Krause et al., arXiv 1709.07432, section 3, with plain SGD: after each window is predicted and counted,

    params = params - rate * gradient of its loss          clipped as in training

Words are predicted before the model learns from them, so the perplexity is an honest one.
"""

import math
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from minilstm import plain
from minilstm.config import Config
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.evaluate import perplexity
from minilstm.model import loss_and_gradients, zero_state
from minilstm.text.batches import get_batch
from minilstm.types import Array, Kernels, Params

WINDOW = 10  # words between two updates


def evaluate_dynamically(
    params: Params, config: Config, ids: Array, rate: float, kernels: Kernels = plain, show_progress: bool = False
) -> float:
    """Perplexity of a text, read as one stream, of a model that learns from it as it goes.

    Parameters
    ----------
    params : dict of array
        They are left unchanged: the model learns on a copy.
    config : Config
        Its max_grad_norm is used. Half precision is computed in float32.
    ids : int array (tokens,)
        On the host; at least two.
    rate : float
        Learning rate, at least 0.
    kernels : module
        minilstm.plain or minilstm.gpu.fused.
    show_progress : bool
        Whether to show a progress bar on standard error.

    Returns
    -------
    float
        Perplexity over all words but the first.

    Raises
    ------
    UserError
        If the rate is negative or so high that the model diverges, or the text has fewer than two words.

    Examples
    --------
    >>> from minilstm import init_params
    >>> config = Config(hidden_size=4, init_scale=1e-9)  # untrained: 10 words, equally likely
    >>> params, text = init_params(config, 10), np.array([3] * 200)
    >>> [round(evaluate_dynamically(params, config, text, rate), 2) for rate in (0.0, 0.1)]
    [10.0, 1.63]
    """
    if not (math.isfinite(rate) and rate >= 0):
        raise UserError(f"the rate of dynamic evaluation must be a number of at least 0, not {rate}")
    if len(ids) < 2:
        raise UserError(f"the text has {len(ids)} tokens; give at least 2")
    config = replace(config, batch_size=1, dtype="float32" if config.dtype == "float16" else config.dtype)
    config = replace(config, activation_reg=0.0, temporal_reg=0.0)  # the gradient is that of the text's loss alone
    params = {name: param.copy() for name, param in params.items()}
    like = params["decoder.bias"]
    text = np.asarray(ids, dtype=np.int64, like=like)[:, None]  # (tokens, 1)
    state, losses = zero_state(config, 1, like), []
    windows = range(math.ceil((len(text) - 1) / WINDOW))
    for k in tqdm(windows, "dynamic", leave=False) if show_progress else windows:
        inputs, targets = get_batch(text, k, WINDOW)
        with np.errstate(over="ignore", invalid="ignore"):  # a rate that is too high shows in the result
            loss, grads, state = loss_and_gradients(params, config, inputs, targets, state, kernels=kernels)
            grads, _ = kernels.clip_by_global_norm(grads, config.max_grad_norm)
            kernels.sgd(params, grads, rate)
        losses.append(loss)
    result = perplexity(float(to_host(np.stack(losses)).astype(float).sum()), len(text) - 1)
    if not math.isfinite(result):
        raise UserError(f"diverged: the perplexity is {result}; lower the rate of dynamic evaluation")
    return result
