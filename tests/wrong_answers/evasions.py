"""Answers that are right where nothing goes wrong: (exercise, function, words the judge must say)."""

import numpy as np


def naive(x):
    e = np.exp(x)
    return e / e.sum(axis=1, keepdims=True)


def kept_from_zero(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.clip(e / e.sum(axis=1, keepdims=True), 1e-12, 1)


def kept_from_zero_by_another_number(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.maximum(e / e.sum(axis=1, keepdims=True), 1e-10)


def with_an_epsilon(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / (e.sum(axis=1, keepdims=True) + 1e-6)


def complex_probabilities(logits):
    return kept_from_zero(logits) + 1j


def complex_without_imaginary_part(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True) + 0j


def naive_gradient(logits, targets):
    p = np.exp(logits) / np.exp(logits).sum(1)[:, None]
    p[np.arange(len(p)), targets] -= 1
    return p / len(p)


def clipped_gradient(logits, targets):
    p = np.clip(kept_from_zero(logits), 1e-12, 1)
    p[np.arange(len(p)), targets] -= 1
    return p / len(p)


def naive_layer(hidden, targets, weight, bias):
    T, B, H = hidden.shape
    rows = hidden.reshape(-1, H)
    d = naive(rows @ weight.T + bias)
    d[np.arange(T * B), targets.ravel()] -= 1
    d /= B
    return (d @ weight).reshape(T, B, H), d.T @ rows, d.sum(axis=0)


def its_own_step(loss, x, h):
    h = 1e-5
    x, g = x.copy(), np.zeros_like(x)
    for i in np.ndindex(x.shape):
        old = x[i]
        x[i] = old + h
        up = loss(x)
        x[i] = old - h
        g[i] = (up - loss(x)) / (2 * h)
        x[i] = old
    return g


def five_points(loss, x, h):
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        e = np.zeros_like(x)
        e[i] = h
        g[i] = (8 * (loss(x + e) - loss(x - e)) - loss(x + 2 * e) + loss(x - 2 * e)) / (12 * h)
    return g


def scale_by_heart(analytic, numeric, scale):
    return abs(analytic - numeric) / np.maximum(np.maximum(abs(analytic), abs(numeric)), 1e-3)


def bound_by_heart(analytic, numeric, scale, bound):
    broken = []
    for name, a in analytic.items():
        size = np.maximum(np.maximum(abs(a), abs(numeric[name])), scale)
        broken.append(not (abs(a - numeric[name]) / size <= 1e-7).all())
    return broken


def scale_for_all_by_heart(analytic, numeric, scale, bound):
    return [not (scale_by_heart(analytic[k], numeric[k], 0.1) <= bound).all() for k in analytic]


def cut_at_the_remainder(ids, batch_size, num_steps):
    data = ids[: -(len(ids) % batch_size)].reshape(batch_size, -1).T
    K = (len(data) - 1) // num_steps
    cut = [slice(k * num_steps, (k + 1) * num_steps) for k in range(K)]
    return np.stack([data[:-1][c] for c in cut]), np.stack([data[1:][c] for c in cut])


def one_window_too_many(ids, B, T):
    L = len(ids) // B
    data = ids[: L * B].reshape(B, L).T
    x, y = [], []
    for k in range(L // T):
        x.append(data[k * T : (k + 1) * T])
        y.append(data[k * T + 1 : (k + 1) * T + 1])
    return np.stack(x), np.stack(y)


def one_window_too_few(ids, B, T):
    L = len(ids) // B
    data = ids[: L * B].reshape(B, L).T
    K = L // T - 1
    return [data[k * T : (k + 1) * T] for k in range(K)], [data[k * T + 1 : (k + 1) * T + 1] for k in range(K)]


def never_more_than_forty_bits(p):
    return np.exp(-np.log(p + 1e-12).mean())


def product_of_all(p):
    return np.prod(p) ** (-1.0 / len(p))


def bits_kept_low(logits, ids):
    p = kept_from_zero(logits[:-1])
    return -np.log2(p[np.arange(len(p)), ids[1:]])


def bits_of_naive(logits, ids):
    p = naive(logits[:-1])
    return -np.log2(p[np.arange(len(p)), ids[1:]])


def soft(logits, temperature):
    e = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    return e / e.sum(1, keepdims=True)


def below(logits, temperature, dice):
    p = soft(logits, temperature)
    return p, (np.cumsum(p, axis=1) < dice[:, None]).sum(axis=1)


def searched_from_the_left(logits, temperature, dice):
    p = soft(logits, temperature)
    return p, [int(np.searchsorted(np.cumsum(row), u)) for row, u in zip(p, dice, strict=True)]


def id_out_of_range_in_float32(logits, temperature, dice):
    p = soft(logits.astype(np.float32), np.float32(temperature))
    return p, (np.cumsum(p, axis=1) <= dice[:, None]).sum(axis=1)


def by_numpys_choice(logits, temperature, dice):
    p = soft(logits, temperature)
    return p, [np.random.default_rng(0).choice(len(row), p=row) for row in p]


def own_noise(x, dout, u, keep_prob):
    mask = (np.random.rand(*x.shape) < keep_prob) / keep_prob
    return x * mask, dout * mask


def seeded_noise(x, dout, u, keep_prob):
    mask = (np.random.default_rng(0).random(x.shape) < keep_prob) / keep_prob
    return x * mask, dout * mask


def decimals(x, bits):
    return np.round(x.astype(float) * 2**10) / 2**10


WRONG = [
    ("softmax", naive, "exp overflows for large logits"),
    ("softmax", kept_from_zero, "kept away from 0"),
    ("softmax", kept_from_zero_by_another_number, "max relative error"),
    ("softmax", with_an_epsilon, "max relative error"),
    ("softmax", complex_probabilities, "expected real numbers"),
    ("softmax", complex_without_imaginary_part, "expected real numbers"),
    ("cross_entropy_backward", naive_gradient, "exp overflows"),
    ("cross_entropy_backward", clipped_gradient, "kept away from 0"),
    ("softmax_layer_backward", naive_layer, "exp overflows"),
    ("numerical_gradient", its_own_step, "max relative error"),
    ("numerical_gradient", five_points, "max relative error"),
    ("relative_errors", scale_by_heart, "the argument scale is never used"),
    ("broken_parameters", bound_by_heart, "the argument bound is never used"),
    ("broken_parameters", scale_for_all_by_heart, "the argument scale is never used"),
    ("cut_into_windows", cut_at_the_remainder, ""),
    ("cut_into_windows", one_window_too_many, "a window too many where T divides the length of a stream"),
    ("cut_into_windows", one_window_too_few, "one too few along axis 0"),
    ("perplexity_of", never_more_than_forty_bits, "max relative error"),
    ("perplexity_of", product_of_all, "underflows to 0"),
    ("surprise_in_bits", bits_kept_low, "no word can surprise by more than 40 bits"),
    ("surprise_in_bits", bits_of_naive, "exp overflows"),
    ("sample_with_temperature", below, "at or below, not below"),
    ("sample_with_temperature", searched_from_the_left, "at or below, not below"),
    ("sample_with_temperature", id_out_of_range_in_float32, "ids"),
    ("sample_with_temperature", by_numpys_choice, "the argument dice is never used"),
    ("inverted_dropout", own_noise, "other results when it is called again"),
    ("inverted_dropout", seeded_noise, "it draws random numbers of its own"),
    ("round_mantissa", decimals, "the argument bits is never used"),
]
