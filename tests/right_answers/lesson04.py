"""Right answers to the exercises of lesson 4, written otherwise than the solution: (exercise, function)."""

from collections import namedtuple

import numpy as np

Gradients = namedtuple("Gradients", "dx dh_prev dW_ih dW_hh db")


def columns(x, h_prev, W_ih, W_hh, b):
    return np.tanh(W_ih @ x.T + W_hh @ h_prev.T + b[:, None]).T


def one_product(x, h_prev, W_ih, W_hh, b):
    joined = np.concatenate([x, h_prev, np.ones((len(x), 1))], axis=1)
    e = np.exp(2 * (joined @ np.hstack([W_ih, W_hh, b[:, None]]).T))
    return (e - 1) / (e + 1)


def row_by_row(x, h_prev, W_ih, W_hh, b):
    return [np.tanh(W_ih.dot(xi) + W_hh.dot(hi) + b).tolist() for xi, hi in zip(x, h_prev, strict=True)]


def step_in_float32(x, h_prev, W_ih, W_hh, b):
    x, h_prev, W_ih, W_hh, b = (np.float32(a) for a in (x, h_prev, W_ih, W_hh, b))
    return np.tanh(x @ W_ih.T + h_prev @ W_hh.T + b)


def batch_in_a_loop(dh, x, h_prev, h, W_ih, W_hh, b):
    dx, dp = np.zeros_like(x), np.zeros_like(h)
    dU, dW, db = np.zeros_like(W_ih), np.zeros_like(W_hh), np.zeros_like(b)
    for n in range(len(x)):
        dz = dh[n] * (1 - h[n]) * (1 + h[n])
        dx[n], dp[n] = W_ih.T @ dz, W_hh.T @ dz
        dU += np.outer(dz, x[n])
        dW += np.outer(dz, h_prev[n])
        db += dz
    return dx, dp, dU, dW, db


def named(dh, x, h_prev, h, W_ih, W_hh, b):
    z = x @ W_ih.T + h_prev @ W_hh.T + b
    dz = dh / np.cosh(z) ** 2
    return Gradients(dz @ W_ih, dz @ W_hh, np.einsum("bh,bd->hd", dz, x), np.einsum("bh,bk->hk", dz, h_prev), sum(dz))


def in_a_dict(dh, x, h_prev, h, W_ih, W_hh, b):
    dz = dh - dh * h * h
    grads = {"dW_hh": (h_prev.T @ dz).T, "dW_ih": (x.T @ dz).T, "db": np.ones(len(dz)) @ dz}
    return grads | {"dh_prev": np.dot(dz, W_hh), "dx": np.dot(dz, W_ih)}


def back_in_float32(dh, x, h_prev, h, W_ih, W_hh, b):
    return batch_in_a_loop(*(a.astype(np.float32) for a in (dh, x, h_prev, h, W_ih, W_hh, b)))


def recursive(douts, x, h_start, h, W_ih, W_hh, b):
    def back(t, dh_next):
        if t < 0:
            return [], dh_next, 0, 0, 0
        dz = (douts[t] + dh_next) * (1 - h[t] ** 2)
        before = h[t - 1] if t else h_start
        dx, dh, dU, dW, db = back(t - 1, dz @ W_hh)
        return [*dx, dz @ W_ih], dh, dU + dz.T @ x[t], dW + dz.T @ before, db + dz.sum(0)

    return back(len(x) - 1, 0)


def all_dz_first(douts, x, h_start, h, W_ih, W_hh, b):
    states = np.concatenate([h_start[None], h])
    dz = np.zeros_like(h)
    carry = np.zeros_like(h_start)
    for t in reversed(range(len(x))):
        dz[t] = (douts[t] + carry) * (1 - states[t + 1] ** 2)
        carry = dz[t] @ W_hh
    dW_ih = np.tensordot(dz, x, ((0, 1), (0, 1)))
    dW_hh = np.tensordot(dz, states[:-1], ((0, 1), (0, 1)))
    return dz @ W_ih, carry, dW_ih, dW_hh, dz.sum((0, 1))


def whole_way_in_float32(douts, x, h_start, h, W_ih, W_hh, b):
    return all_dz_first(*(np.asarray(a, np.float32) for a in (douts, x, h_start, h, W_ih, W_hh, b)))


RIGHT = [
    ("rnn_step_forward", columns),
    ("rnn_step_forward", one_product),
    ("rnn_step_forward", row_by_row),
    ("rnn_step_forward", step_in_float32),
    ("rnn_step_backward", batch_in_a_loop),
    ("rnn_step_backward", named),
    ("rnn_step_backward", in_a_dict),
    ("rnn_step_backward", back_in_float32),
    ("rnn_bptt", recursive),
    ("rnn_bptt", all_dz_first),
    ("rnn_bptt", whole_way_in_float32),
]
