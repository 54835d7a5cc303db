"""Neural cache: words of the recent past come again. It needs no training.

Grave, Joulin and Usunier, arXiv 1612.04426, section 3. The cache holds the top layer's last N outputs h_i, each with
the word that followed it. A word is likely if it followed outputs that resemble the present one:

    (1)  p_cache(w) = sum_i [w_i+1 = w] exp(theta h_t h_i) / sum_i exp(theta h_t h_i)       t - N <= i < t
    (2)  p(w)       = (1 - lambda) p_model(w) + lambda p_cache(w)
"""

import math

import numpy as np
from tqdm import tqdm

from minilstm import plain
from minilstm.config import Config, layer_sizes
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.evaluate import perplexity
from minilstm.model import decoder_params, stack_forward, zero_state
from minilstm.types import Array, Kernels, Params

WINDOW = 200  # words predicted at a time: affects speed and memory, not the result


def evaluate_with_cache(
    params: Params,
    config: Config,
    ids: Array,
    size: int,
    theta: float,
    weight: float,
    kernels: Kernels = plain,
    show_progress: bool = False,
) -> float:
    """Perplexity of a text, read as one stream, of a model with a cache.

    Parameters
    ----------
    params : dict of array
    config : Config
    ids : int array (tokens,)
        On the host; at least two.
    size : int
        N, words in the cache.
    theta : float
        Sharpness of the resemblance; 0 makes p_cache the frequencies of the words in the cache.
    weight : float
        lambda, the share of the cache, at least 0 and below 1.
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
        If a parameter is outside its range, theta so large that it overflows, or the text has fewer than two words.

    Examples
    --------
    >>> from minilstm import init_params
    >>> config = Config(hidden_size=4, init_scale=1e-9)  # untrained: 10 words, equally likely
    >>> text = np.array([3] * 50)
    >>> round(evaluate_with_cache(init_params(config, 10), config, text, size=10, theta=1.0, weight=0.5), 2)
    1.88
    """
    if size < 1 or not 0 <= weight < 1 or not (math.isfinite(theta) and theta >= 0):
        raise UserError(
            f"a cache needs a size of at least 1, theta >= 0 and 0 <= lambda < 1, not {size, theta, weight}"
        )
    if len(ids) < 2:
        raise UserError(f"the text has {len(ids)} tokens; give at least 2")
    like = params["decoder.bias"]
    text = np.asarray(ids, dtype=np.int64, like=like)
    state = zero_state(config, 1, like)
    H = layer_sizes(config)[-1]
    past_h, past_next = np.zeros((0, H), like.dtype, like=like), text[:0]  # (M, H), (M,) with M <= N
    loss, starts = 0.0, range(0, len(text) - 1, WINDOW)
    for start in tqdm(starts, "cache", leave=False) if show_progress else starts:
        targets = text[start + 1 :][:WINDOW]  # (T,)
        T, M = len(targets), len(past_h)
        x, state, _ = stack_forward(params, config, text[start:][:T, None], state, kernels=kernels)
        logits, _ = kernels.linear_forward(x, decoder_params(params))  # (T, 1, V)
        p_model = np.take_along_axis(softmax(logits[:, 0]), targets[:, None], axis=1)[:, 0]  # (T,)
        h, word_after = (
            np.concatenate([past_h, x[:, 0].astype(like.dtype)]),
            np.concatenate([past_next, targets]),
        )  # (M + T, H), (M + T,)
        age = np.arange(M, M + T, like=like)[:, None] - np.arange(M + T, like=like)  # (T, M + T), of each h
        in_cache = (age > 0) & (age <= size)
        p = np.where(in_cache, softmax(np.where(in_cache, theta * (h[M:] @ h.T), -np.inf)), 0)  # (T, M + T)
        p_cache = (p * (word_after == targets[:, None])).sum(axis=1)  # (1)
        share = np.where(in_cache.any(axis=1), weight, 0.0)  # nothing is in the cache before the first word
        loss -= float(to_host(np.log((1 - share) * p_model + share * p_cache).sum()))  # (2)
        past_h, past_next = h[-size:], word_after[-size:]
    result = perplexity(loss, len(text) - 1)
    if math.isnan(result):
        raise UserError(f"the perplexity with a cache is {result}; lower its theta, {theta:g}")
    return result


def softmax(s: Array) -> Array:
    """exp(s) / sum exp(s) over the last axis, in float64; a row of -inf alone becomes NaN."""
    s = s.astype(np.float64)
    with np.errstate(invalid="ignore"):
        e = np.exp(s - s.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)
