"""Solutions of lesson 1."""

from collections import Counter
from itertools import pairwise

import numpy as np


def perplexity_of(probabilities):
    """Perplexity of a text, from the probability (N,) that a model gave to each of its words."""
    surprise = -np.log(probabilities)  # (N,), nats
    mean_surprise = surprise.mean()
    return np.exp(mean_surprise)


def cut_into_windows(ids, batch_size, num_steps):
    """A text as ids (tokens,) -> inputs and targets of its K windows, each (K, T, B)."""
    batch_len = len(ids) // batch_size
    rows = ids[: batch_size * batch_len].reshape(batch_size, batch_len)
    data = rows.T  # (batch_len, B)
    num_windows = (batch_len - 1) // num_steps
    inputs, targets = [], []
    for k in range(num_windows):
        start = k * num_steps
        end = start + num_steps
        inputs.append(data[start:end])
        targets.append(data[start + 1 : end + 1])
    return np.stack(inputs), np.stack(targets)


def interpolated_trigram(train, text, weights):
    """P(word | two words before) for each word of a text after its second, counted in another text."""
    one = Counter(train)
    two = Counter(pairwise(train))
    three = Counter(zip(train, train[1:], train[2:], strict=False))
    probabilities = []
    for a, b, c in zip(text, text[1:], text[2:], strict=False):
        unigram = one[c] / len(train)
        bigram = two[b, c] / one[b]
        trigram = bigram
        if two[a, b]:
            trigram = three[a, b, c] / two[a, b]
        mixture = weights[0] * unigram + weights[1] * bigram + weights[2] * trigram
        probabilities.append(mixture)
    return np.array(probabilities)
