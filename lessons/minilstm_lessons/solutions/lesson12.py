"""Solutions of lesson 12."""

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward


def tied_embedding(weight, ids, dx, h, dlogits):
    """One matrix (V, H) as embedding and as linear layer, forward and backward: x, logits, dh and dweight."""
    x = weight[ids]
    logits = h @ weight.T
    dh = dlogits @ weight
    dweight = dlogits.T @ h
    np.add.at(dweight, ids, dx)  # a word that was read twice gets both its rows
    return x, logits, dh, dweight


def weight_drop(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    """An LSTM with dropped recurrent weights: outputs (T, B, H), and the gradients of weight_ih, weight_hh, bias."""
    mask = (u < keep_prob) / keep_prob  # (4H, H)
    params = {"weight_ih": weight_ih, "weight_hh": mask * weight_hh, "bias": bias}
    zeros = np.zeros(r.shape[1:])
    outputs, _, cache = lstm_forward(x, (zeros, zeros), params)
    _, _, grads = lstm_backward(r, None, cache)
    dweight_hh = mask * grads["weight_hh"]
    return outputs, grads["weight_ih"], dweight_hh, grads["bias"]


def cache_probabilities(p_model, h, targets, size, theta, weight):
    """A model's probabilities (T, V) mixed with those of a cache of the last `size` words."""
    p = p_model.copy()
    for t in range(1, len(h)):
        first = max(t - size, 0)
        scores = theta * (h[first:t] @ h[t])
        exp = np.exp(scores - scores.max())
        p_cache = np.zeros(p.shape[1])
        np.add.at(p_cache, targets[first:t], exp / exp.sum())
        p[t] = (1 - weight) * p_model[t] + weight * p_cache
    return p
