"""Solutions of lesson 7."""

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward


def stack_layers(x, state, layers, masks):
    """LSTM layers on one another, dropout on every arrow that goes up: outputs (T, B, H), hidden and cell (L, B, H)."""
    hidden, cell = [], []
    x = x * masks[0]
    for k in range(len(layers)):
        x, (h, c), _ = lstm_forward(x, state[k], layers[k])
        x = x * masks[k + 1]
        hidden.append(h)
        cell.append(c)
    return x, np.stack(hidden), np.stack(cell)


def truncated_bptt(inputs, r, T, weight_ih, weight_hh, bias):
    """Loss and gradients of a text in windows of T steps, the state carried: loss, dweight_ih, dweight_hh, dbias."""
    params = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    B, H = r.shape[1:]
    state = np.zeros((B, H)), np.zeros((B, H))
    loss = 0.0
    total = {name: np.zeros_like(value) for name, value in params.items()}
    for start in range(0, len(inputs), T):
        x = inputs[start : start + T]
        dout = r[start : start + T]
        outputs, state, cache = lstm_forward(x, state, params)
        loss = loss + (dout * outputs).sum()
        _, _, grads = lstm_backward(dout, None, cache)
        for name in total:
            total[name] = total[name] + grads[name]
    return loss, total["weight_ih"], total["weight_hh"], total["bias"]


def inverted_dropout(x, dout, u, keep_prob):
    """Dropout forward and backward, the random numbers u given: y and dx, shaped as x."""
    kept = u < keep_prob
    mask = kept / keep_prob
    y = x * mask
    dx = dout * mask
    return y, dx
