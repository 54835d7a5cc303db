"""Solutions of lesson 2."""

import numpy as np


def softmax(logits):
    """Logits (N, V) -> probabilities (N, V), each row summing to 1."""
    largest = logits.max(axis=1, keepdims=True)  # (N, 1)
    exp = np.exp(logits - largest)  # (N, V)
    total = exp.sum(axis=1, keepdims=True)  # (N, 1)
    return exp / total


def cross_entropy_backward(logits, targets):
    """Gradient (N, V) of the mean over N of -log p[target]."""
    N = len(targets)
    p = softmax(logits)  # (N, V)
    p[np.arange(N), targets] -= 1
    return p / N


def softmax_layer_backward(hidden, targets, weight, bias):
    """Gradients of hidden (T, B, H), weight (V, H) and bias (V,); the loss is the sum over T of the mean over B."""
    T, B, H = hidden.shape
    hidden = hidden.reshape(T * B, H)
    targets = targets.reshape(T * B)
    dlogits = softmax(hidden @ weight.T + bias)  # (T B, V)
    dlogits[np.arange(T * B), targets] -= 1
    dlogits = dlogits / B
    dhidden = (dlogits @ weight).reshape(T, B, H)
    dweight = dlogits.T @ hidden
    dbias = dlogits.sum(axis=0)
    return dhidden, dweight, dbias
