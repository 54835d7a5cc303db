"""Wrong answers to the exercises of lesson 5: (exercise, function, words the judge must say)."""

import math

import numpy as np


def cosine(a, b):
    return np.dot(a.ravel(), b.ravel()) / math.sqrt(np.dot(a.ravel(), a.ravel()) * np.dot(b.ravel(), b.ravel()))


def only_from_above(g, limit):
    c = g.copy()
    c[c > limit] = limit
    return c, cosine(g, c)


def zero_instead_of_limit(g, limit):
    c = g.copy()
    c[np.abs(c) > limit] = 0
    return c, cosine(g, c)


def sign_lost(g, limit):
    c = g.copy()
    c[np.abs(c) > limit] = limit
    return c, cosine(g, c)


def by_norm_instead(g, limit):
    n = np.linalg.norm(g)
    c = g if n < limit else g / n * limit
    return c, cosine(g, c)


def by_the_largest(g, limit):
    c = g / np.max(np.abs(g)) * limit
    return c, cosine(g, c)


def dot_alone(g, limit):
    c = np.maximum(np.minimum(g, limit), -limit)
    return c, np.vdot(g, c)


def angle(g, limit):
    c = np.maximum(np.minimum(g, limit), -limit)
    return c, math.acos(cosine(g, c))


def one_length_twice(g, limit):
    c = np.maximum(np.minimum(g, limit), -limit)
    return c, np.vdot(g, c) / np.vdot(g, g)


def cosines_of_rows(g, limit):
    c = np.maximum(np.minimum(g, limit), -limit)
    return c, (g * c).sum(1) / np.linalg.norm(g, axis=1) / np.linalg.norm(c, axis=1)


def length_of(*grads):
    return math.sqrt(sum(np.vdot(g, g) for g in grads))


def always_scaled(a, b, c, most):
    n = length_of(a, b, c)
    return a / n * most, b / n * most, c / n * most, n


def each_on_its_own(a, b, c, most):
    out = [g * most / length_of(g) if length_of(g) > most else g for g in (a, b, c)]
    return *out, length_of(a, b, c)


def norms_added(a, b, c, most):
    n = np.linalg.norm(a) + np.linalg.norm(b) + np.linalg.norm(c)
    s = most / n if n > most else 1
    return a * s, b * s, c * s, n


def squared_norm(a, b, c, most):
    n = sum(np.sum(g * g) for g in (a, b, c))
    s = most / n if n > most else 1
    return a * s, b * s, c * s, n


def norm_after(a, b, c, most):
    n = length_of(a, b, c)
    s = min(most / n, 1)
    return a * s, b * s, c * s, length_of(a * s, b * s, c * s)


def bias_forgotten(a, b, c, most):
    n = length_of(a, b)
    s = min(most / n, 1)
    return a * s, b * s, c * s, n


def spectral(a, b, c, most):
    n = math.sqrt(np.linalg.norm(a, ord=2) ** 2 + np.linalg.norm(b, ord=2) ** 2 + np.linalg.norm(c, ord=2) ** 2)
    s = min(most / n, 1)
    return a * s, b * s, c * s, n


def upside_down(a, b, c, most):
    n = length_of(a, b, c)
    s = n / most if n > most else 1
    return a * s, b * s, c * s, n


def by_value(a, b, c, most):
    return *(np.maximum(np.minimum(g, most), -most) for g in (a, b, c)), length_of(a, b, c)


def in_place(a, b, c, most):
    n = length_of(a, b, c)
    for g in (a, b, c):
        g *= min(most / n, 1)
    return a, b, c, n


def bias_unscaled_and_norm_after(a, b, c, most):
    n = length_of(a, b, c)
    s = min(most / n, 1)
    return a * s, b * s, c, min(n, most)


def shrunk(most, *grads):
    s = min(most / length_of(*grads), 1)
    return [s * g for g in grads]


def uphill(W, b, dW, db, lr, most):
    dW, db = shrunk(most, dW, db)
    return W + lr * dW, b + lr * db, lr * length_of(dW, db)


def rate_before_clipping(W, b, dW, db, lr, most):
    dW, db = shrunk(most, lr * dW, lr * db)
    return W - dW, b - db, length_of(dW, db)


def never_clipped(W, b, dW, db, lr, most):
    return W - lr * dW, b - lr * db, lr * length_of(dW, db)


def two_norms(W, b, dW, db, lr, most):
    [dW], [db] = shrunk(most, dW), shrunk(most, db)
    return W - lr * dW, b - lr * db, lr * length_of(dW, db)


def no_rate(W, b, dW, db, lr, most):
    dW, db = shrunk(most, dW, db)
    return W - dW, b - db, length_of(dW, db)


def longest_step(W, b, dW, db, lr, most):
    dW, db = shrunk(most, dW, db)
    return W - lr * dW, b - lr * db, lr * most


def distance_of_the_gradient(W, b, dW, db, lr, most):
    n = length_of(dW, db)
    dW, db = shrunk(most, dW, db)
    return W - lr * dW, b - lr * db, n


def distance_without_bias(W, b, dW, db, lr, most):
    dW, db = shrunk(most, dW, db)
    return W - lr * dW, b - lr * db, lr * length_of(dW)


def steps_alone(W, b, dW, db, lr, most):
    dW, db = shrunk(most, dW, db)
    return lr * dW, lr * db, lr * length_of(dW, db)


def two_arguments_changed(W, b, dW, db, lr, most):
    dW, db = shrunk(most, dW, db)
    W -= lr * dW
    b -= lr * db
    return W, b, lr * length_of(dW, db)


WRONG = [
    ("clip_by_value", only_from_above, "large negative elements pass"),
    ("clip_by_value", zero_instead_of_limit, "large elements became 0"),
    ("clip_by_value", sign_lost, "turned positive"),
    ("clip_by_value", by_norm_instead, "this is clipping by norm"),
    ("clip_by_value", by_the_largest, "scaled by the largest"),
    ("clip_by_value", dot_alone, "cosine: this is the dot product"),
    ("clip_by_value", angle, "cosine: this is the angle in radians"),
    ("clip_by_value", one_length_twice, "length of g twice"),
    ("clip_by_value", cosines_of_rows, "expected one number"),
    ("clip_by_global_norm", always_scaled, "small gradients are made longer"),
    ("clip_by_global_norm", each_on_its_own, "clipped by its own norm"),
    ("clip_by_global_norm", norms_added, "the three norms were added up"),
    ("clip_by_global_norm", squared_norm, "the square root is missing"),
    ("clip_by_global_norm", norm_after, "norm: this is the norm after clipping"),
    ("clip_by_global_norm", bias_forgotten, "db is left out of the norm"),
    ("clip_by_global_norm", spectral, "largest singular value"),
    ("clip_by_global_norm", upside_down, "upside down"),
    ("clip_by_global_norm", by_value, "clipping by value"),
    ("clip_by_global_norm", in_place, "in place"),
    ("clip_by_global_norm", bias_unscaled_and_norm_after, "after clipping"),
    ("clip_by_global_norm", bias_unscaled_and_norm_after, "db: is the argument db, unchanged"),
    ("clipped_step", uphill, "uphill"),
    ("clipped_step", rate_before_clipping, "the step was clipped, not the gradient"),
    ("clipped_step", never_clipped, "nothing is clipped"),
    ("clipped_step", two_norms, "clipped by its own norm"),
    ("clipped_step", no_rate, "the learning rate is missing"),
    ("clipped_step", longest_step, "the longest a step can be"),
    ("clipped_step", distance_of_the_gradient, "distance: this is the norm of the gradient"),
    ("clipped_step", distance_without_bias, "left out of the way"),
    ("clipped_step", steps_alone, "this is the step alone"),
    ("clipped_step", two_arguments_changed, "changes its argument W and b in place"),
]
