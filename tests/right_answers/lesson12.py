"""Right answers to the exercises of lesson 12, written otherwise than the solution: (exercise, function)."""

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward


def with_one_hot(weight, ids, dx, h, dlogits):
    onehot = np.eye(len(weight))[ids]
    return onehot @ weight, h @ weight.T, dlogits @ weight, onehot.T @ dx + dlogits.T @ h


def word_by_word(weight, ids, dx, h, dlogits):
    from_logits, from_words = np.zeros_like(weight), np.zeros_like(weight)
    for n, word in enumerate(ids):
        from_words[word] += dx[n]
        from_logits += np.outer(dlogits[n], h[n])
    x = np.stack([weight[word] for word in ids])
    return x, np.einsum("nh,vh->nv", h, weight), np.einsum("nv,vh->nh", dlogits, weight), from_words + from_logits


def sums_over_rows(weight, ids, dx, h, dlogits):
    dW = [h.T @ dlogits[:, v] + dx[ids == v].sum(axis=0) for v in range(len(weight))]
    return {"x": np.take(weight, ids, axis=0), "logits": np.dot(h, weight.T), "dh": dlogits @ weight, "dweight": dW}


def tied_in_float32(weight, ids, dx, h, dlogits):
    weight, dx, h, dlogits = map(np.float32, (weight, dx, h, dlogits))
    dweight = dlogits.T @ h
    for word, row in zip(ids, dx, strict=True):
        dweight[word] += row
    return weight[ids], h @ weight.T, dlogits @ weight, dweight


def with_where(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    m = np.where(u < keep_prob, 1 / keep_prob, 0)
    h0 = np.zeros((x.shape[1], weight_hh.shape[1]))
    y, _, cache = lstm_forward(x, (h0, h0), {"weight_ih": weight_ih, "weight_hh": weight_hh * m, "bias": bias})
    g = lstm_backward(r, (np.zeros_like(h0), np.zeros_like(h0)), cache)[2]
    return [y, g["weight_ih"], g["weight_hh"] * m, g["bias"]]


def dropped_in_a_copy(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    dropped = u >= keep_prob
    W = weight_hh.copy()
    W[dropped] = 0
    zero = np.zeros_like(r[0])
    y, _, cache = lstm_forward(x, (zero, zero), dict(weight_ih=weight_ih, weight_hh=W / keep_prob, bias=bias))
    grads = lstm_backward(r, None, cache)[2]
    dW = grads["weight_hh"] / keep_prob
    dW[dropped] = 0
    return y, grads["weight_ih"], dW, grads["bias"]


def sigma(z):
    return 1 / (1 + np.exp(-z))


def step_by_step(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    """Without the package's LSTM: lessons 4 and 6."""
    m = (u < keep_prob) / keep_prob
    W = weight_hh * m
    h = c = np.zeros_like(r[0])
    steps, outputs = [], []
    for x_t in x:
        zi, zf, zg, zo = np.split(x_t @ weight_ih.T + h @ W.T + bias, 4, axis=1)
        i, f, g, o = sigma(zi), sigma(zf), np.tanh(zg), sigma(zo)
        new = f * c + i * g
        steps.append((x_t, h, c, i, f, g, o, np.tanh(new)))
        h, c = o * np.tanh(new), new
        outputs.append(h)
    dW_ih, dW_hh, db, dh, dc = np.zeros_like(weight_ih), np.zeros_like(W), np.zeros_like(bias), 0, 0
    for r_t, (x_t, h, c, i, f, g, o, tanh_c) in zip(r[::-1], steps[::-1], strict=True):
        dh = dh + r_t
        dc = dc + dh * o * (1 - tanh_c**2)
        dz = np.hstack([dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * tanh_c * o * (1 - o)])
        dW_ih, dW_hh, db = dW_ih + dz.T @ x_t, dW_hh + dz.T @ h, db + dz.sum(axis=0)
        dh, dc = dz @ W, dc * f
    return np.array(outputs), dW_ih, dW_hh * m, db


def window_in_float32(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    x, r, weight_ih, weight_hh, bias = map(np.float32, (x, r, weight_ih, weight_hh, bias))
    return with_where(x, r, u, keep_prob, weight_ih, weight_hh, bias)


def soft(s):
    e = np.exp(s - s.max())
    return e / e.sum()


def with_a_list(p_model, h, targets, size, theta, weight):
    rows, past = [], []
    for p, out, word in zip(p_model, h, targets, strict=True):
        if past:
            share = soft(np.array([theta * np.dot(old, out) for old, _ in past]))
            held = np.zeros_like(p)
            for s, (_, old) in zip(share, past, strict=True):
                held[old] += s
            p = (1 - weight) * p + weight * held
        rows.append(p)
        past = [*past, (out, word)][-size:]
    return rows


def with_bincount(p_model, h, targets, size, theta, weight):
    p = np.array(p_model)
    for t in range(1, len(p)):
        kept = slice(max(0, t - size), t)
        held = np.bincount(targets[kept], soft(theta * h[kept] @ h[t]), minlength=p.shape[1])
        p[t] += weight * (held - p[t])
    return p


def all_at_once(p_model, h, targets, size, theta, weight):
    T, V = p_model.shape
    scores = theta * h @ h.T
    i, t = np.arange(T)[None], np.arange(T)[:, None]
    scores = np.where((i < t) & (i >= t - size), scores, -np.inf)
    scores[0] = 0
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    mixed = (1 - weight) * p_model + weight * (e / e.sum(axis=1, keepdims=True)) @ np.eye(V)[targets]
    mixed[0] = p_model[0]
    return mixed


def text_in_float32(p_model, h, targets, size, theta, weight):
    return np.float32(with_bincount(p_model, h, targets, size, theta, weight))


RIGHT = [
    ("tied_embedding", with_one_hot),
    ("tied_embedding", word_by_word),
    ("tied_embedding", sums_over_rows),
    ("tied_embedding", tied_in_float32),
    ("weight_drop", with_where),
    ("weight_drop", dropped_in_a_copy),
    ("weight_drop", step_by_step),
    ("weight_drop", window_in_float32),
    ("cache_probabilities", with_a_list),
    ("cache_probabilities", with_bincount),
    ("cache_probabilities", all_at_once),
    ("cache_probabilities", text_in_float32),
]
