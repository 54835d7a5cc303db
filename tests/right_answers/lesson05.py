"""Right answers to the exercises of lesson 5, written otherwise than the solution: (exercise, function)."""

import math
from collections import deque

import numpy as np


def cut_with_where(g, limit):
    c = np.where(g > limit, limit, np.where(g < -limit, -limit, g))
    return c, np.vdot(g, c) / np.linalg.norm(g) / np.linalg.norm(c)


def cut_by_sign(g, limit):
    c = np.sign(g) * np.minimum(abs(g), limit)
    unit = g / np.sqrt((g * g).sum())
    return [c.tolist(), float((unit * c).sum() / math.sqrt((c * c).sum()))]


def cut_in_float32(g, limit):
    g = g.astype(np.float32)
    c = g.clip(-np.float32(limit), np.float32(limit))
    return c, (g * c).sum() / np.sqrt((g * g).sum() * (c * c).sum())


def cut_in_a_loop(g, limit):
    c = np.array([[max(-limit, min(limit, v)) for v in row] for row in g])
    a, b = g.ravel(), c.ravel()
    return {"clipped": c, "cosine": a @ b / np.sqrt((a @ a) * (b @ b))}


def global_with_if(dW_ih, dW_hh, db, limit):
    norm = np.linalg.norm([np.linalg.norm(g) for g in (dW_ih, dW_hh, db)])
    if norm > limit:
        return dW_ih * limit / norm, dW_hh * limit / norm, db * limit / norm, norm
    return dW_ih.copy(), dW_hh.copy(), db.copy(), norm


def global_nested(dW_ih, dW_hh, db, limit):
    flat = np.concatenate([g.ravel() for g in (dW_ih, dW_hh, db)])
    norm = math.sqrt(flat @ flat)
    return [g * min(1.0, limit / norm) for g in (dW_ih, dW_hh, db)], norm


def global_in_a_deque(dW_ih, dW_hh, db, limit):
    squares = sum(float(v) ** 2 for g in (dW_ih, dW_hh, db) for v in g.flat)
    return deque([*(g / max(1, squares**0.5 / limit) for g in (dW_ih, dW_hh, db)), squares**0.5])


def global_in_float32(dW_ih, dW_hh, db, limit):
    return global_with_if(*(g.astype(np.float32) for g in (dW_ih, dW_hh, db)), np.float32(limit))


def step_with_if(W, b, dW, db, lr, limit):
    norm = np.hypot(np.linalg.norm(dW), np.linalg.norm(db))
    rate = lr * limit / norm if norm >= limit else lr
    return W - rate * dW, b - rate * db, rate * norm


def step_measured_afterwards(W, b, dW, db, lr, limit):
    norm = np.sqrt(np.sum(dW**2) + np.sum(db**2))
    new_W, new_b = W - lr * dW / max(1, norm / limit), b - lr * db / max(1, norm / limit)
    moved = [*(new_W - W).ravel(), *(new_b - b)]
    return new_W, new_b, math.dist(moved, [0] * len(moved))


def step_of_one_vector(W, b, dW, db, lr, limit):
    theta, g = np.r_[W.ravel(), b], np.r_[dW.ravel(), db]
    step = lr * g * min(1, limit / np.linalg.norm(g))
    new = theta - step
    return new[: W.size].reshape(W.shape), new[W.size :], np.linalg.norm(step)


def step_in_float32(W, b, dW, db, lr, limit):
    return step_with_if(*(np.float32(a) for a in (W, b, dW, db, lr, limit)))


RIGHT = [
    ("clip_by_value", cut_with_where),
    ("clip_by_value", cut_by_sign),
    ("clip_by_value", cut_in_float32),
    ("clip_by_value", cut_in_a_loop),
    ("clip_by_global_norm", global_with_if),
    ("clip_by_global_norm", global_nested),
    ("clip_by_global_norm", global_in_a_deque),
    ("clip_by_global_norm", global_in_float32),
    ("clipped_step", step_with_if),
    ("clipped_step", step_measured_afterwards),
    ("clipped_step", step_of_one_vector),
    ("clipped_step", step_in_float32),
]
