"""Sampling: feed a word, draw the next word from the softmax, feed that word, and so on.

    P(w) = exp(s_w / temperature) / sum_v exp(s_v / temperature)

A temperature below 1 sharpens the distribution, above 1 flattens it; 0 is greedy and always takes the likeliest word.

The tail of the distribution can be cut off: top-k keeps the k likeliest words (Fan et al., arXiv 1805.04833), top-p the
fewest likeliest words whose probabilities sum to at least p, the nucleus (Holtzman et al., arXiv 1904.09751).
"""

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from minilstm import plain
from minilstm.config import Config
from minilstm.device import to_host
from minilstm.errors import UserError, escape_control_chars
from minilstm.model import next_word_logits, zero_state
from minilstm.text.corpus import EOS, UNK
from minilstm.types import Array, Kernels, Params


def split_prompt(prompt: str, unit: str = "word") -> list[str]:
    """The tokens of a prompt, words or characters as in a text file, where each newline is <eos>.

    Examples
    --------
    >>> split_prompt("a cat\\n<unk> a")
    ['a', 'cat', '<eos>', '<unk>', 'a']
    >>> split_prompt("a\\nb", "char")
    ['a', '<eos>', 'b']
    """
    lines = re.split("\r\n|\r|\n", prompt)
    tokens = [token for line in lines for token in [*(list(line) if unit == "char" else line.split()), EOS]]
    return tokens[:-1]  # no newline after the last line


def encode_prompt(prompt: str, vocabulary: Sequence[str], unit: str = "word") -> tuple[list[int], list[str]]:
    """The ids of a prompt's words or characters, and the unknown ones, which are mapped to <unk>.

    Raises
    ------
    UserError
        If there is an unknown one and the vocabulary has no <unk>.

    Examples
    --------
    >>> encode_prompt("a cat", ["a", "<unk>"])
    ([0, 1], ['cat'])
    """
    index = {word: id for id, word in enumerate(vocabulary)}
    tokens = split_prompt(prompt, unit)
    unknown = [token for token in dict.fromkeys(tokens) if token not in index]
    if unknown and UNK not in index:
        raise UserError(f"the model does not know {quoted(unknown)} and has no {UNK}; use words of its vocab.txt")
    return [index[token] if token in index else index[UNK] for token in tokens], unknown


def quoted(tokens: Sequence[str]) -> str:
    """A list of tokens for a message."""
    return ", ".join(f"'{escape_control_chars(token)}'" for token in tokens)


def sample(
    logits: Array,
    temperature: float,
    rng: np.random.Generator,
    top_k: int | None = None,
    top_p: float = 1.0,
    excluded: Sequence[int] = (),
) -> int:
    """Draw an id from one row of logits, (V,), on the host; see `generate`.

    First the ids in `excluded` become impossible, then the temperature applies, then top_k, then top_p.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> {sample(np.log([0.1, 0.3, 0.2, 0.4]), 1.0, rng, top_p=0.6) for _ in range(100)}
    {1, 3}
    """
    if not np.isfinite(logits).all():
        raise UserError("the model's logits are not finite: its weights have grown too large; train it again")
    logits = logits.astype(np.float64)
    logits[list(excluded)] = -np.inf
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # a tiny temperature: the exponent may be -inf
        p = np.exp((logits - logits.max()) / temperature)  # (V,)
    if top_k is not None or top_p < 1:
        ranked = np.argsort(-logits, kind="stable")  # likeliest first; of equal ones the first, as argmax
        kept = len(ranked) if top_k is None else top_k
        if top_p < 1:
            cumulative = np.cumsum(p[ranked[:kept]])
            kept = int(np.searchsorted(cumulative, top_p * cumulative[-1])) + 1
        p[ranked[kept:]] = 0
    cumulative = np.cumsum(p)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def generate(
    params: Params,
    config: Config,
    vocabulary: Sequence[str],
    prompt_ids: Sequence[int] = (),
    num_words: int = 100,
    temperature: float = 1.0,
    seed: int = 0,
    kernels: Kernels = plain,
    top_k: int | None = None,
    top_p: float = 1.0,
    no_unk: bool = False,
) -> Iterator[str]:
    """Generate text.

    Parameters
    ----------
    params : dict of array
    config : Config
    vocabulary : list of str
    prompt_ids : list of int
        Read first, after an <eos>; see `encode_prompt`.
    num_words : int
    temperature : float
    seed : int
        The words are drawn on the host; a seed determines the text.
    kernels : module
        minilstm.plain or minilstm.gpu.fused.
    top_k : int, optional
        Draw only from the top_k likeliest words.
    top_p : float
        Draw only from the fewest likeliest words whose probabilities, after temperature and top_k, sum to at least
        top_p.
    no_unk : bool
        Never draw <unk>.

    Returns
    -------
    iterator of str
        The words, one at a time as they are drawn.

    Raises
    ------
    UserError
        If the temperature is negative or not finite, top_k is below 1, top_p is not above 0 and at most 1, there is no
        word but <unk>, or the model's logits are not finite.

    Examples
    --------
    >>> from minilstm import init_params
    >>> config = Config(hidden_size=4)
    >>> len(list(generate(init_params(config, 3), config, ["<eos>", "a", "b"], num_words=5)))
    5
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UserError(f"the temperature must be a number of at least 0, not {temperature}")
    if top_k is not None and not (isinstance(top_k, int | np.integer) and top_k >= 1):
        raise UserError(f"top_k must be a whole number of at least 1, not {top_k!r}")
    if not 0 < top_p <= 1:
        raise UserError(f"top_p must be greater than 0 and at most 1, not {top_p}")
    excluded = [id for id, word in enumerate(vocabulary) if no_unk and word == UNK]
    if len(excluded) == len(vocabulary):
        raise UserError(f"the vocabulary has no word but {UNK}; allow it")
    ids = ([vocabulary.index(EOS)] if EOS in vocabulary else []) + list(prompt_ids) or [0]

    def draw_words(ids: list[int]) -> Iterator[str]:
        like, rng = params["decoder.bias"], np.random.default_rng(seed)
        state = zero_state(config, 1, like)
        for _ in range(num_words):
            inputs = np.asarray(np.array(ids)[:, None], like=like)  # (T, 1)
            logits, state = next_word_logits(params, config, inputs, state, kernels)
            ids = [sample(to_host(logits)[0], temperature, rng, top_k, top_p, excluded)]
            yield vocabulary[ids[0]]

    return draw_words(ids)
