"""Solutions of lesson 9."""

import numpy as np


def surprise_in_bits(logits, ids):
    """Logits (T, V), row t written after reading ids[t] -> the surprise (T - 1,) of every word but the first."""
    scores = logits[:-1]  # (T - 1, V): row t is about the word at t + 1
    words = ids[1:]  # (T - 1,)
    exp = np.exp(scores - scores.max(axis=1, keepdims=True))  # of the largest it is 1: no overflow
    p = exp / exp.sum(axis=1, keepdims=True)
    p_word = p[np.arange(len(words)), words]
    return -np.log2(p_word)


def least_squares_probe(cells, labels, new_cells):
    """Fit cells (N, H) to labels (N,) of 0 and 1; return weights (H,), bias, and guesses (M,) for new_cells (M, H)."""
    ones = np.ones((len(cells), 1))
    targets = 2.0 * labels - 1
    X = np.concatenate([cells, ones], axis=1)  # (N, H + 1): the last weight is the bias
    solution = np.linalg.solve(X.T @ X, X.T @ targets)
    weights = solution[:-1]
    bias = solution[-1]
    scores = new_cells @ weights + bias
    guesses = scores > 0
    return weights, bias, guesses


def sample_with_temperature(logits, temperature, dice):
    """Logits (N, V) and dice (N,), uniform in [0, 1) -> the probabilities (N, V) and the id (N,) each row draws."""
    scores = logits / temperature
    exp = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = exp / exp.sum(axis=1, keepdims=True)
    cumulative = p.cumsum(axis=1)[:, :-1]  # (N, V - 1): rounding may leave the last sum, which is 1, below the dice
    passed = cumulative <= dice[:, None]
    ids = passed.sum(axis=1)
    return p, ids
