"""Right answers to the exercises of lesson 9, written otherwise than the solution: (exercise, function)."""

import bisect
import itertools
import math

import numpy as np


def log_of_the_sum(logits, ids):
    log_p = logits - np.logaddexp.reduce(logits, axis=1)[:, None]
    return -log_p[np.arange(len(ids) - 1), ids[1:]] / np.log(2)


def word_by_word(logits, ids):
    bits = []
    for t in range(len(ids) - 1):
        row = [math.exp(s - max(logits[t])) for s in logits[t]]
        bits.append(math.log2(sum(row)) - math.log2(row[ids[t + 1]]))
    return bits


def surprise_in_float32(logits, ids):
    s = logits[:-1].astype(np.float32)
    s = s - s.max(1, keepdims=True)
    total = np.log(np.exp(s).sum(1))
    return (total - np.take_along_axis(s, ids[1:, None], 1)[:, 0]) / np.float32(np.log(2))


def by_lstsq(cells, labels, new_cells):
    X = np.c_[cells, np.ones(len(cells))]
    w = np.linalg.lstsq(X, 2 * labels - 1, rcond=None)[0]
    return w[:-1], w[-1], (np.c_[new_cells, np.ones(len(new_cells))] @ w > 0).astype(int)


def centred(cells, labels, new_cells):
    y = np.where(labels == 1, 1.0, -1.0)
    mean = cells.mean(0)
    w = np.linalg.pinv(cells - mean) @ (y - y.mean())
    b = y.mean() - mean @ w
    return list(w), b, [1 if cell @ w + b > 0 else 0 for cell in new_cells]


def by_qr(cells, labels, new_cells):
    Q, R = np.linalg.qr(np.column_stack([np.ones(len(cells)), cells]))
    b, *w = np.linalg.solve(R, Q.T @ (2.0 * labels - 1))
    return {"guesses": new_cells @ w > -b, "weights": w, "bias": b}


def probe_in_float32(cells, labels, new_cells):
    w, b, guesses = by_lstsq(cells.astype(np.float32), labels, new_cells)
    return w.astype(np.float32), np.float32(b), guesses


def soft(logits, temperature):
    s = logits / temperature
    return np.exp(s - np.logaddexp.reduce(s, axis=1)[:, None])


def by_bisection(logits, temperature, dice):
    s = (logits - logits.max(1, keepdims=True)) / temperature
    p = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    ids = [bisect.bisect_right([*itertools.accumulate(row)], u) for row, u in zip(p, dice, strict=True)]
    return p, np.minimum(ids, p.shape[1] - 1)


def counted(logits, temperature, dice):
    e = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    p = e / e.sum(1)[:, None]
    return p, (np.cumsum(p, 1) <= dice[:, None]).sum(1)


def first_that_is_above(logits, temperature, dice):
    e = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    p = e / e.sum(1)[:, None]
    return p, (p.cumsum(1) > dice[:, None]).argmax(axis=1)


def in_a_loop(logits, temperature, dice):
    p, ids = [], []
    for row, u in zip(logits, dice, strict=True):
        e = [math.exp((s - max(row)) / temperature) for s in row]
        p.append([x / sum(e) for x in e])
        total = 0.0
        word = 0
        while word < len(row) - 1:
            total += p[-1][word]
            if u < total:
                break
            word += 1
        ids.append(word)
    return p, ids


def sample_in_float32(logits, temperature, dice):
    s = logits.astype(np.float32) / np.float32(temperature)
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return p, (p.cumsum(1)[:, :-1] <= dice[:, None]).sum(1)


RIGHT = [
    ("surprise_in_bits", log_of_the_sum),
    ("surprise_in_bits", word_by_word),
    ("surprise_in_bits", surprise_in_float32),
    ("least_squares_probe", by_lstsq),
    ("least_squares_probe", centred),
    ("least_squares_probe", by_qr),
    ("least_squares_probe", probe_in_float32),
    ("sample_with_temperature", by_bisection),
    ("sample_with_temperature", counted),
    ("sample_with_temperature", first_that_is_above),
    ("sample_with_temperature", in_a_loop),
    ("sample_with_temperature", sample_in_float32),
]
