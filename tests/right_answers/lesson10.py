"""Right answers to the exercises of lesson 10, written otherwise than the solution: (exercise, function)."""

import numpy as np


def with_where(gradient, max_norm):
    norm = np.sqrt(np.sum(gradient**2))
    return gradient * np.where(norm > max_norm, max_norm / norm, 1.0), norm


def with_minimum(gradient, max_norm):
    norm = np.linalg.norm(gradient)
    return gradient * np.minimum(1, max_norm / norm), norm


def divided(gradient, max_norm):
    flat = gradient.reshape(-1)
    norm = (flat @ flat) ** 0.5
    return [gradient / (norm / max_norm).clip(1, None), norm]


def clip_in_float32(gradient, max_norm):
    gradient = gradient.astype(np.float32)
    norm = (gradient * gradient).sum() ** np.float32(0.5)
    return gradient * (np.float32(max_norm) / np.maximum(norm, np.float32(max_norm))), norm


def by_splitting(x, bits):
    x = x.astype(np.float64)
    c = (2.0 ** (52 - bits) + 1) * x
    return c - (c - x)


def by_adding_a_large_number(x, bits):
    x = x.astype(np.float64)
    large = 1.5 * 2.0 ** (np.floor(np.log2(abs(x))) + 52 - bits)
    return (x + large) - large


def by_the_bits(x, bits):
    cut = 23 - bits
    n = x.view(np.int32)
    return ((n + (1 << (cut - 1))) & ~((1 << cut) - 1)).view(np.float32)


def number_by_number(x, bits):
    result = []
    for value in x:
        step = 2.0 ** (np.floor(np.log2(abs(value))) - bits)
        result.append(round(float(value) / step) * step)
    return result


def with_accumulated_ends(moved, operations, card):
    t = card["start"] + np.maximum(moved / card["bandwidth"], operations / card["rate"])
    end = 0.0
    for k, own in enumerate(t, 1):
        end = own + (end if end > k * card["launch"] else k * card["launch"])
    return t, end, card["launch"] + sum(t)


def longest_chain(moved, operations, card):
    t = np.array([max(m / card["bandwidth"], n / card["rate"]) for m, n in zip(moved, operations, strict=True)])
    t = t + card["start"]
    rest = np.cumsum(t[::-1])[::-1]
    return {"kernels": t, "graph": t.sum() + card["launch"],
            "one_by_one": max(card["launch"] * np.arange(1, len(t) + 1) + rest)}  # fmt: skip


def times_in_float32(moved, operations, card):
    t, end, graph = with_accumulated_ends(moved.astype(np.float32), operations.astype(np.float32), card)
    return np.float32(t), np.float32(end), np.float32(graph)


RIGHT = [
    ("clip_without_waiting", with_where),
    ("clip_without_waiting", with_minimum),
    ("clip_without_waiting", divided),
    ("clip_without_waiting", clip_in_float32),
    ("round_mantissa", by_splitting),
    ("round_mantissa", by_adding_a_large_number),
    ("round_mantissa", by_the_bits),
    ("round_mantissa", number_by_number),
    ("step_times", with_accumulated_ends),
    ("step_times", longest_chain),
    ("step_times", times_in_float32),
]
