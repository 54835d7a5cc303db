"""Solutions of lesson 5."""

import numpy as np


def clip_by_value(g, limit):
    """Gradient g (H, D) -> its elements cut to [-limit, limit], and the cosine of the angle between the two."""
    clipped = np.clip(g, -limit, limit)
    dot = (g * clipped).sum()
    length = np.sqrt((g**2).sum())
    clipped_length = np.sqrt((clipped**2).sum())
    return clipped, dot / (length * clipped_length)


def clip_by_global_norm(dW_ih, dW_hh, db, max_grad_norm):
    """Gradients of three parameters -> the three scaled to a global norm of at most max_grad_norm; the norm."""
    squares = (dW_ih**2).sum() + (dW_hh**2).sum() + (db**2).sum()
    norm = np.sqrt(squares)  # before clipping
    scale = max_grad_norm / max(norm, max_grad_norm)
    return scale * dW_ih, scale * dW_hh, scale * db, norm


def clipped_step(W, b, dW, db, learning_rate, max_grad_norm):
    """One step of SGD with clipping by global norm -> the new W and b, and how far they moved in parameter space."""
    norm = np.sqrt((dW**2).sum() + (db**2).sum())
    scale = max_grad_norm / max(norm, max_grad_norm)
    step_W = learning_rate * scale * dW
    step_b = learning_rate * scale * db
    distance = np.sqrt((step_W**2).sum() + (step_b**2).sum())
    return W - step_W, b - step_b, distance
