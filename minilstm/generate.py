"""Sampling: feed a word, draw the next from the softmax, feed that one.

    P(w) = exp(s_w / temperature) / sum_v exp(s_v / temperature)

A temperature below 1 sharpens the distribution, above 1 flattens it; 0 takes the likeliest word.
"""

import math
import sys

import numpy as np

from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.model import next_word_logits, zero_state
from minilstm.text.corpus import EOS, UNK


def encode_prompt(prompt, vocabulary):
    """The ids of a prompt's words; a word that is not in the vocabulary is <unk>, and that is said on standard error.

    Raises
    ------
    UserError
        If there is such a word, and no <unk>.
    """
    index = {word: id for id, word in enumerate(vocabulary)}
    words = prompt.split()
    unknown = ", ".join(repr(word) for word in dict.fromkeys(words) if word not in index)
    if unknown and UNK not in index:
        raise UserError(f"--prompt: the model does not know {unknown} and has no {UNK}; use words of its vocab.txt")
    if unknown:
        print(f"minilstm: the model reads {unknown} as {UNK}", file=sys.stderr)
    return [index.get(word, index.get(UNK)) for word in words]


def sample(logits, temperature, rng):
    """RandomInputs an id from one row of logits (V,)."""
    if not np.isfinite(logits).all():
        raise UserError("the model's scores are not finite: its weights have grown too big; train it again")
    if temperature == 0:
        return int(logits.argmax())
    logits = logits.astype(np.float64)
    p = np.exp((logits - logits.max()) / temperature)  # (V,)
    cumulative = np.cumsum(p)
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def generate(params, config, vocabulary, prompt_ids, num_words, temperature, seed, xp):
    """Write text.

    Parameters
    ----------
    params : dict of array
    config : Config
    vocabulary : list of str
    prompt_ids : list of int
        Read first, after the end of an imagined sentence before.
    num_words : int
    temperature : float
    seed : int
        The words are drawn on the host: one seed writes one text.
    xp : module

    Returns
    -------
    iterator of str
        Each next word, as it is drawn.

    Raises
    ------
    UserError
        If the temperature is negative or not a number, or the model's scores are not finite.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise UserError(f"--temperature must be a number of at least 0, not {temperature}")
    ids = ([vocabulary.index(EOS)] if EOS in vocabulary else []) + prompt_ids or [0]
    return draw_words(params, config, vocabulary, ids, num_words, temperature, np.random.default_rng(seed), xp)


def draw_words(params, config, vocabulary, ids, num_words, temperature, rng, xp):
    """Read the ids, then draw word after word."""
    state = zero_state(config, 1, xp)
    for _ in range(num_words):
        logits, state = next_word_logits(params, config, xp.asarray(np.array(ids)[:, None]), state)
        ids = [sample(to_host(logits)[0], temperature, rng)]
        yield vocabulary[ids[0]]
