"""Solutions of lesson 4."""

import numpy as np


def rnn_step_forward(x, h_prev, W_ih, W_hh, b):
    """Input x (B, D) and the state before it, h_prev (B, H) -> the state after it, h (B, H)."""
    from_input = x @ W_ih.T  # (B, H)
    from_past = h_prev @ W_hh.T  # (B, H)
    z = from_input + from_past + b
    return np.tanh(z)


def rnn_step_backward(dh, x, h_prev, h, W_ih, W_hh, b):
    """Gradient dh (B, H) of the state h -> dx (B, D), dh_prev (B, H), dW_ih (H, D), dW_hh (H, H), db (H,)."""
    slope = 1 - h**2  # (B, H), of tanh at z
    dz = dh * slope
    dx = dz @ W_ih
    dh_prev = dz @ W_hh
    dW_ih = dz.T @ x
    dW_hh = dz.T @ h_prev
    db = dz.sum(axis=0)
    return dx, dh_prev, dW_ih, dW_hh, db


def rnn_bptt(douts, x, h_start, h, W_ih, W_hh, b):
    """Gradients douts (T, B, H) of the outputs -> dx (T, B, D), dh_start (B, H), dW_ih, dW_hh, db, over all steps."""
    T = len(x)
    dx = np.zeros_like(x)
    dW_ih, dW_hh, db = np.zeros_like(W_ih), np.zeros_like(W_hh), np.zeros_like(b)
    dh_next = np.zeros_like(h_start)  # what step t + 1 hands back: nothing at the last step
    for t in range(T - 1, -1, -1):
        dh = douts[t] + dh_next
        h_prev = h[t - 1] if t > 0 else h_start
        dz = dh * (1 - h[t] ** 2)
        dh_next = dz @ W_hh
        dx[t] = dz @ W_ih
        dW_ih += dz.T @ x[t]
        dW_hh += dz.T @ h_prev
        db += dz.sum(axis=0)
    return dx, dh_next, dW_ih, dW_hh, db
