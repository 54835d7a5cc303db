"""Answers that clip, and fetch a number from the GPU: (exercise, function, words the judge must say)."""

import math

import numpy as np


def clip(gradient, max_norm, norm):
    return gradient * (max_norm / np.maximum(norm, max_norm)), norm


def by_get(gradient, max_norm):
    g = gradient.get()
    return clip(g, max_norm, np.sqrt((g * g).sum()))


def by_asarray(gradient, max_norm):
    g = np.asarray(gradient)
    return clip(g, max_norm, np.sqrt((g * g).sum()))


def by_array(gradient, max_norm):
    return clip(gradient, max_norm, np.linalg.norm(np.array(gradient)))


def prints(gradient, max_norm):
    norm = (gradient**2).sum() ** 0.5
    print(norm)
    return clip(gradient, max_norm, norm)


def formats(gradient, max_norm):
    norm = (gradient**2).sum() ** 0.5
    _ = f"{norm:.3f}"
    return clip(gradient, max_norm, norm)


def shows(gradient, max_norm):
    norm = (gradient**2).sum() ** 0.5
    _ = f"norm {norm}"
    return clip(gradient, max_norm, norm)


def as_complex(gradient, max_norm):
    norm = (gradient**2).sum() ** 0.5
    return clip(gradient, max_norm, abs(complex(norm)))


def as_float(gradient, max_norm):
    return clip(gradient, max_norm, float(np.linalg.norm(gradient)))


def as_int(gradient, max_norm):
    norm = np.linalg.norm(gradient)
    _ = int(norm)
    return clip(gradient, max_norm, norm)


def as_bool(gradient, max_norm):
    norm = np.linalg.norm(gradient)
    return (gradient * max_norm / norm if bool(norm > max_norm) else gradient * 1), norm


def with_item(gradient, max_norm):
    return clip(gradient, max_norm, np.linalg.norm(gradient).item())


def with_tolist(gradient, max_norm):
    norm = math.sqrt(sum(v * v for row in gradient.tolist() for v in row))
    return clip(gradient, max_norm, norm)


def with_math(gradient, max_norm):
    return clip(gradient, max_norm, math.sqrt((gradient * gradient).sum()))


def with_pythons_max(gradient, max_norm):
    norm = np.linalg.norm(gradient)
    return gradient * (max_norm / max(norm, max_norm)), norm


def with_a_buffer(gradient, max_norm):
    return clip(gradient, max_norm, np.linalg.norm(np.frombuffer(gradient)))


ASKS = "wait for it"
WRONG = [
    ("clip_without_waiting", by_get, ASKS),
    ("clip_without_waiting", by_asarray, ASKS),
    ("clip_without_waiting", by_array, ASKS),
    ("clip_without_waiting", prints, ASKS),
    ("clip_without_waiting", formats, ASKS),
    ("clip_without_waiting", shows, ASKS),
    ("clip_without_waiting", as_complex, ASKS),
    ("clip_without_waiting", as_float, ASKS),
    ("clip_without_waiting", as_int, ASKS),
    ("clip_without_waiting", as_bool, ASKS),
    ("clip_without_waiting", with_item, ASKS),
    ("clip_without_waiting", with_tolist, ASKS),
    ("clip_without_waiting", with_math, ASKS),
    ("clip_without_waiting", with_pythons_max, ASKS),
    ("clip_without_waiting", with_a_buffer, "stopped with"),
]
