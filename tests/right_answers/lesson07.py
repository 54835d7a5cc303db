"""Right answers to the exercises of lesson 7, written otherwise than the solution: (exercise, function)."""

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward


def zipped(x, state, layers, masks):
    first, *others = masks
    x = first * x
    ends = []
    for layer, start, mask in zip(layers, state, others, strict=True):
        out, end, _ = lstm_forward(x, start, layer)
        ends.append(end)
        x = out * mask
    return x, [h for h, _ in ends], [c for _, c in ends]


def recursive(x, state, layers, masks):
    if not layers:
        return x * masks[0], (), ()
    out, (h, c), _ = lstm_forward(x * masks[0], state[0], layers[0])
    top, hidden, cell = recursive(out, state[1:], layers[1:], masks[1:])
    return top, (h, *hidden), (c, *cell)


def into_arrays(x, state, layers, masks):
    L, (B, H) = len(layers), state[0][0].shape
    ends = np.empty((2, L, B, H))
    for k in range(L):
        x, ends[:, k], _ = lstm_forward(x * masks[k], state[k], layers[k])
    return x * masks[-1], ends


def stack_in_float32(x, state, layers, masks):
    layers = [{name: value.astype(np.float32) for name, value in layer.items()} for layer in layers]
    state = [(h.astype(np.float32), c.astype(np.float32)) for h, c in state]
    return zipped(x.astype(np.float32), state, layers, [mask.astype(np.float32) for mask in masks])


def windows_first(inputs, r, T, weight_ih, weight_hh, bias):
    params = dict(weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)
    state = np.zeros((2, *r.shape[1:]))
    edges = range(T, len(inputs), T)
    losses, grads = [], []
    for x, d in zip(np.split(inputs, edges), np.split(r, edges), strict=True):
        out, state, cache = lstm_forward(x, tuple(state), params)
        losses.append(np.vdot(d, out))
        grads.append(lstm_backward(d, None, cache)[2])
    return sum(losses), {name: sum(g[name] for g in grads) for name in params}


def with_while(inputs, r, T, weight_ih, weight_hh, bias):
    p = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": bias}
    h = c = np.zeros(r.shape[1:])
    loss, dU, dW, db = 0, 0, 0, 0
    while len(inputs):
        y, (h, c), cache = lstm_forward(inputs[:T], (h, c), p)
        _, _, g = lstm_backward(r[:T], (np.zeros_like(h), np.zeros_like(c)), cache)
        loss += np.sum(r[:T] * y)
        dU, dW, db = dU + g["weight_ih"], dW + g["weight_hh"], db + g["bias"]
        inputs, r = inputs[T:], r[T:]
    return loss, dU, dW, db


def as_dict(inputs, r, T, weight_ih, weight_hh, bias):
    return dict(zip(("loss", "dweight_ih", "dweight_hh", "dbias"), with_while(inputs, r, T, weight_ih, weight_hh, bias),
                    strict=True))  # fmt: skip


def text_in_float32(inputs, r, T, *params):
    p = dict(zip(("weight_ih", "weight_hh", "bias"), map(np.float32, params), strict=True))
    state = np.zeros(r.shape[1:], np.float32), np.zeros(r.shape[1:], np.float32)
    r, total = np.float32(r), [np.float32(0)] * 4
    for s in range(0, len(inputs), T):
        y, state, cache = lstm_forward(np.float32(inputs[s : s + T]), state, p)
        g = lstm_backward(r[s : s + T], None, cache)[2]
        total = [a + b for a, b in zip(total, [(r[s : s + T] * y).sum(), *g.values()], strict=True)]
    return total


def with_where(x, dout, u, keep_prob):
    return np.where(u < keep_prob, x / keep_prob, 0), np.where(u < keep_prob, dout / keep_prob, 0)


def in_one_array(x, dout, u, keep_prob):
    return np.array([x, dout]) * (u < keep_prob) / keep_prob


def dropped_in_place(x, dout, u, keep_prob):
    y, dx = x / keep_prob, dout / keep_prob
    y[u >= keep_prob] = dx[u >= keep_prob] = 0
    return iter([y, dx])


def dropout_in_float32(x, dout, u, keep_prob):
    m = (u < keep_prob).astype(np.float32) / np.float32(keep_prob)
    return x.astype(np.float32) * m, dout.astype(np.float32) * m


RIGHT = [
    ("stack_layers", zipped),
    ("stack_layers", recursive),
    ("stack_layers", into_arrays),
    ("stack_layers", stack_in_float32),
    ("truncated_bptt", windows_first),
    ("truncated_bptt", with_while),
    ("truncated_bptt", as_dict),
    ("truncated_bptt", text_in_float32),
    ("inverted_dropout", with_where),
    ("inverted_dropout", in_one_array),
    ("inverted_dropout", dropped_in_place),
    ("inverted_dropout", dropout_in_float32),
]
