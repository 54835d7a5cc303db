"""Right answers to the exercises of lesson 1, written otherwise than the solution: (exercise, function)."""

import math
from collections import defaultdict
from fractions import Fraction
from functools import lru_cache

import numpy as np


def by_power_of_two(p):
    return 2 ** (-np.log2(p).mean())


def geometric_mean_in_pieces(p):
    return math.prod(float(x) ** (-1 / len(p)) for x in p)


def loop_with_math(p):
    total = 0.0
    for x in p:
        total -= math.log(x)
    return math.exp(total / len(p))


def float32_perplexity(p):
    return np.exp(-np.log(p.astype(np.float32)).mean())


def slices_of_each_stream(ids, B, T):
    n = len(ids) // B
    streams = [ids[b * n : (b + 1) * n] for b in range(B)]
    starts = range(0, n - T, T)
    x = [[[s[start + t] for s in streams] for t in range(T)] for start in starts]
    y = [[[s[start + t + 1] for s in streams] for t in range(T)] for start in starts]
    return x, y


def stacked_windows(ids, batch_size, num_steps):
    L = len(ids) // batch_size
    data = np.reshape(ids[: L * batch_size], (batch_size, -1)).T
    K = (L - 1) // num_steps
    return np.stack([data[s : s + K * num_steps].reshape(K, num_steps, batch_size) for s in (0, 1)])


def one_array_of_indices(ids, batch_size, num_steps):
    L = len(ids) // batch_size
    K = (L - 1) // num_steps
    k, t, b = np.ogrid[:K, :num_steps, :batch_size]
    place = b * L + k * num_steps + t
    return {"inputs": ids[place], "targets": ids[place + 1]}


def windows_until_the_end(ids, batch_size, num_steps):
    L = len(ids) // batch_size
    data = ids[: L * batch_size].reshape(batch_size, L).T
    x, y, at = [], [], 0
    while at + num_steps + 1 <= L:
        x.append(data[at : at + num_steps])
        y.append(data[at + 1 : at + num_steps + 1])
        at += num_steps
    return (window for window in (np.array(x), np.array(y)))


def counts_in_dicts(train, text, w):
    n1, n2, n3 = defaultdict(int), defaultdict(int), defaultdict(int)
    followed = defaultdict(int)
    for i, word in enumerate(train):
        n1[word] += 1
        if i >= 1:
            n2[train[i - 1], word] += 1
            followed[train[i - 1]] += 1
        if i >= 2:
            n3[train[i - 2], train[i - 1], word] += 1
    result = []
    for i in range(2, len(text)):
        a, b, c = text[i - 2 : i + 1]
        p2 = n2[b, c] / followed[b]
        p3 = n3[a, b, c] / n2[a, b] if n2[a, b] else p2
        result.append(np.dot(w, [n1[c] / len(train), p2, p3]))
    return result


def in_fractions(train, text, weights):
    def share(context, word):
        n = len(context)
        seen = [train[i + n] for i in range(len(train) - n) if train[i : i + n] == context]
        return Fraction(seen.count(word), len(seen)) if seen else None

    rows = []
    for a, b, c in zip(text, text[1:], text[2:], strict=False):
        one, two, three = share([], c), share([b], c), share([a, b], c)
        rows.append([float(p) for p in (one, two, two if three is None else three)])
    return np.array(rows) @ np.array(weights)


def cached(train, text, weights):
    @lru_cache(None)
    def count(*gram):
        return sum(tuple(train[i : i + len(gram)]) == gram for i in range(len(train)))

    out = np.zeros(len(text) - 2, np.float32)
    for i, (a, b, c) in enumerate(zip(text, text[1:], text[2:], strict=False)):
        p1, p2 = count(c) / len(train), count(b, c) / count(b)
        p3 = count(a, b, c) / count(a, b) if count(a, b) > 0 else p2
        out[i] = weights[0] * p1 + weights[1] * p2 + weights[2] * p3
    return out


RIGHT = [
    ("perplexity_of", by_power_of_two),
    ("perplexity_of", geometric_mean_in_pieces),
    ("perplexity_of", loop_with_math),
    ("perplexity_of", float32_perplexity),
    ("cut_into_windows", slices_of_each_stream),
    ("cut_into_windows", stacked_windows),
    ("cut_into_windows", one_array_of_indices),
    ("cut_into_windows", windows_until_the_end),
    ("interpolated_trigram", counts_in_dicts),
    ("interpolated_trigram", in_fractions),
    ("interpolated_trigram", cached),
]
