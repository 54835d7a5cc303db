"""Right answers to the exercises of lesson 11, written otherwise than the solution: (exercise, function)."""

import bisect
import itertools
import math

import numpy as np


def by_bisection(step, softmax, params, start, temperature, dice):
    H = params["encoder.weight"].shape[1]
    state, written = (np.zeros((1, H)), np.zeros((1, H))), [start]
    weights = [params[name] for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0")]
    for u in dice:
        x = params["encoder.weight"][written[-1] : written[-1] + 1]
        state = step(x, *state, *weights)
        p = softmax((state[0] @ params["decoder.weight"].T + params["decoder.bias"]) / temperature)
        written.append(bisect.bisect_right([*itertools.accumulate(p[0])][:-1], u))
    return written[1:]


def by_searchsorted(step, softmax, params, start, t, dice):
    W, h = params["decoder.weight"], np.zeros((1, params["decoder.weight"].shape[1]))
    c, ids, word = h.copy(), np.empty(len(dice), dtype=int), start
    for n in range(len(dice)):
        h, c = step(params["encoder.weight"][word].reshape(1, -1), h, c, params["rnn.weight_ih_l0"],
                    params["rnn.weight_hh_l0"], params["rnn.bias_ih_l0"])  # fmt: skip
        p = softmax((h @ W.T + params["decoder.bias"]) / t)[0]
        ids[n] = word = min(np.searchsorted(np.cumsum(p), dice[n], side="right"), len(p) - 1)
    return ids


def by_subtraction(step, softmax, params, start, temperature, dice):
    embedding, W_ih, W_hh, b, W, d = (
        params[name] for name in ("encoder.weight", "rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0",
                                  "decoder.weight", "decoder.bias"))  # fmt: skip
    h, c, ids = np.zeros((1, W.shape[1])), np.zeros((1, W.shape[1])), []
    for u in dice:
        h, c = step(embedding[np.array([ids[-1] if ids else start])], h, c, W_ih, W_hh, b)
        rest, word = u, 0
        for word, p in enumerate(softmax((h @ W.T + d) / temperature)[0]):  # noqa: B007, its last value is used
            if rest < p:
                break
            rest -= p
        ids.append(word)
    return tuple(ids)


def in_logs(losses, floor_losses):
    a, b = losses.mean(), floor_losses.mean()
    return math.exp(a), math.exp(b), math.expm1(a - b), (a - b) / math.log(2)


def word_by_word(losses, floor_losses):
    n, a, b = 0, 0.0, 0.0
    for x, y in zip(losses, floor_losses, strict=True):
        n, a, b = n + 1, a + x, b + y
    ppl, floor = math.exp(a / n), math.exp(b / n)
    return {"extra_bits": math.log2(ppl / floor), "above": (ppl - floor) / floor, "perplexity": ppl, "floor": floor}


def geometric(losses, floor_losses):
    perplexity, floor = (np.prod(np.exp(values)) ** (1 / len(values)) for values in (losses, floor_losses))
    return [perplexity, floor, perplexity / floor - 1, np.log2(perplexity) - np.log2(floor)]


def with_ifs(peak, num_warmup, num_legs):
    rates = []
    for n in range(num_legs):
        if n < num_warmup:
            rates.append(peak * (n + 1) / num_warmup)
        else:
            rates.append(rates[-1] - peak / (num_legs - num_warmup + 1))
    return rates


def two_lines(peak, W, E):
    return np.concatenate([np.linspace(0, peak, W + 1)[1:], np.linspace(peak, 0, E - W + 2)[1:-1]])


def as_array_of_float32(peak, W, E):
    return np.float32([peak * min((n + 1) / W, (E - n) / (E - W + 1)) for n in range(E)])


RIGHT = [
    ("write_words", by_bisection),
    ("write_words", by_searchsorted),
    ("write_words", by_subtraction),
    ("distance_from_floor", in_logs),
    ("distance_from_floor", word_by_word),
    ("distance_from_floor", geometric),
    ("triangle_schedule", with_ifs),
    ("triangle_schedule", two_lines),
    ("triangle_schedule", as_array_of_float32),
]
