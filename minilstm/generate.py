"""Sampling: feed a word, draw the next word from the softmax, feed that word, and so on.

    P(w) = exp(s_w / temperature) / sum_v exp(s_v / temperature)

A temperature below 1 sharpens the distribution, above 1 flattens it; 0 is greedy and always takes the likeliest word.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from minilstm import plain
from minilstm.config import Config
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.model import next_word_logits, zero_state
from minilstm.text.corpus import EOS, UNK
from minilstm.types import Array, Kernels, Params


def encode_prompt(prompt: str, vocabulary: Sequence[str], unit: str = "word") -> tuple[list[int], list[str]]:
    """The ids of a prompt's words or characters, and the unknown ones, which are mapped to <unk>.

    Raises
    ------
    UserError
        If there is an unknown word and the vocabulary has no <unk>.

    Examples
    --------
    >>> encode_prompt("a cat", ["a", "<unk>"])
    ([0, 1], ['cat'])
    """
    index = {word: id for id, word in enumerate(vocabulary)}
    words = prompt.split() if unit == "word" else list(prompt)
    unknown = [word for word in dict.fromkeys(words) if word not in index]
    if unknown and UNK not in index:
        raise UserError(
            f"the model does not know {', '.join(map(repr, unknown))} and has no {UNK}; "
            "use words of its vocab.txt"
        )
    return [index[word] if word in index else index[UNK] for word in words], unknown


def sample(logits: Array, temperature: float, rng: np.random.Generator) -> int:
    """Draw an id from one row of logits, (V,)."""
    if not np.isfinite(logits).all():
        raise UserError("the model's logits are not finite: its weights have grown too large; train it again")
    if temperature == 0:
        return int(logits.argmax())
    logits = logits.astype(np.float64)
    p = np.exp((logits - logits.max()) / temperature)  # (V,)
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

    Returns
    -------
    iterator of str
        The words, one at a time as they are drawn.

    Raises
    ------
    UserError
        If the temperature is negative or not finite, or the model's logits are not finite.

    Examples
    --------
    >>> from minilstm import init_params
    >>> config = Config(hidden_size=4)
    >>> len(list(generate(init_params(config, 3), config, ["<eos>", "a", "b"], num_words=5)))
    5
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UserError(f"the temperature must be a number of at least 0, not {temperature}")
    ids = ([vocabulary.index(EOS)] if EOS in vocabulary else []) + list(prompt_ids) or [0]

    def draw_words(ids: list[int]) -> Iterator[str]:
        like, rng = params["decoder.bias"], np.random.default_rng(seed)
        state = zero_state(config, 1, like)
        for _ in range(num_words):
            inputs = np.asarray(np.array(ids)[:, None], like=like)  # (T, 1)
            logits, state = next_word_logits(params, config, inputs, state, kernels)
            ids = [sample(to_host(logits)[0], temperature, rng)]
            yield vocabulary[ids[0]]

    return draw_words(ids)
