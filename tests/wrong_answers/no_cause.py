"""Wrong answers whose cause nothing shows: (exercise, function, words the judge must say, words it must not say).

For most of these the judge has once named a cause that was false.
"""

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward


def soft(s):
    e = np.exp(s - s.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def ids_for_one_hot(logits, targets):
    return (soft(logits) - targets[:, None]) / len(targets)


def no_loop_at_all(inputs, r, T, weight_ih, weight_hh, bias):
    params = dict(weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)
    zeros = np.zeros(r.shape[1:])
    y, _, cache = lstm_forward(inputs, (zeros, zeros), params)
    return (r * y).sum(), *lstm_backward(r, None, cache)[2].values()


def a_list_in_a_list(p):
    return [[np.exp(-np.log(p).mean())]]


def other_order(dh, x, h_prev, h, W_ih, W_hh, b):
    dz = dh * (1 - h**2)
    return dz.sum(axis=0), dz @ W_ih, dz @ W_hh, dz.T @ x, dz.T @ h_prev


def last_two_swapped(hidden, targets, weight, bias):
    T, B, H = hidden.shape
    d = soft(hidden @ weight.T + bias)
    d[np.arange(T)[:, None], np.arange(B), targets] -= 1
    d = d.reshape(T * B, -1) / B
    return (d @ weight).reshape(T, B, H), d.sum(axis=0), d.T @ hidden.reshape(T * B, H)


def twice_the_rate(W, b, dW, db, learning_rate, max_grad_norm):
    norm = np.sqrt((dW**2).sum() + (db**2).sum())
    step = learning_rate * min(1, max_grad_norm / norm)
    return W - step * dW, b - step * db, step


def norm_over_limit(dW_ih, dW_hh, db, max_grad_norm):
    norm = np.sqrt((dW_ih**2).sum() + (dW_hh**2).sum() + (db**2).sum())
    scale = min(1, max_grad_norm / norm)
    return dW_ih * scale, dW_hh * scale, db * scale, norm * max_grad_norm


def per_word_instead_of_mean(p):
    return float(np.exp(-np.log(p)).max())


def a_column_for_a_row(x, h_prev, W_ih, W_hh, b):
    return np.tanh(x @ W_ih.T + h_prev @ W_hh.T + b[:, None])


def concatenated_the_wrong_way(x, h_prev, c_prev, weight_ih, weight_hh, bias):
    z = np.concatenate([x, h_prev]) @ np.concatenate([weight_ih, weight_hh], axis=1).T + bias
    return z, z


def squares_its_argument(x, dout, u, keep_prob):
    return x * (u < keep_prob) / keep_prob, dout**2


def another_activation(x, h_prev, W_ih, W_hh, b):
    z = x @ W_ih.T + h_prev @ W_hh.T + b
    return z / (1 + abs(z))


FACTOR = "factor of", "another for each draw", "mean is meant", "sum is meant"
NAMED = "stands where", "swapped", "is missing", "transposed"


def each_step_alone(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    mask = (u < keep_prob) / keep_prob
    h = c = np.zeros_like(r[0])
    params = {"weight_ih": weight_ih, "weight_hh": mask * weight_hh, "bias": bias}
    outputs, total = [], [0, 0, 0]
    for t in range(len(x)):
        y, (h, c), cache = lstm_forward(x[t : t + 1], (h, c), params)
        grads = lstm_backward(r[t : t + 1], None, cache)[2]
        outputs.append(y[0])
        total = [old + new for old, new in zip(total, grads.values(), strict=True)]
    return np.array(outputs), total[0], mask * total[1], total[2]


def geometric_mixture(p_model, h, targets, size, theta, weight):
    p = p_model.copy()
    for t in range(1, len(h)):
        kept = slice(max(0, t - size), t)
        held = np.bincount(targets[kept], soft(theta * h[kept] @ h[t]), minlength=p.shape[1])
        mixed = p[t] ** (1 - weight) * held**weight
        p[t] = mixed / mixed.sum()
    return p


def both_gradients_at_the_words(weight, ids, dx, h, dlogits):
    dh = dlogits @ weight
    dweight = dlogits.T @ h
    np.add.at(dweight, ids, dx + dh)
    return weight[ids], h @ weight.T, dh, dweight


WRONG = [
    ("cross_entropy_backward", ids_for_one_hot, "max relative error", NAMED),
    ("truncated_bptt", no_loop_at_all, "the full gradient, of one window", ("swapped",)),
    ("perplexity_of", a_list_in_a_list, "wrong shape", (*NAMED, *FACTOR)),
    ("rnn_step_backward", other_order, "the results are in another order", ("axis", *NAMED)),
    ("softmax_layer_backward", last_two_swapped, "returned (dhidden, dbias, dweight)", ("axis", "stands where")),
    ("clipped_step", twice_the_rate, "distance", FACTOR),
    ("clip_by_global_norm", norm_over_limit, "norm: off by a factor of max_grad_norm", NAMED),
    ("perplexity_of", per_word_instead_of_mean, "max relative error", (*FACTOR, *NAMED)),
    ("rnn_step_forward", a_column_for_a_row, "stopped with ValueError", ("sum", "is missing", "swapped")),
    ("lstm_step_forward", concatenated_the_wrong_way, "stopped with ValueError", ("sum", "transpose", *NAMED)),
    ("inverted_dropout", squares_its_argument, "dx: max relative error", NAMED),
    ("rnn_step_forward", another_activation, "max relative error", (*NAMED, "sigmoid")),
    ("weight_drop", each_step_alone, "dweight_hh: max relative error", ["mask", "dropped", "divided", "handed back"]),
    ("cache_probabilities", geometric_mixture, "right at 1 time step", ["swapped", "sum", "alone", "off by one"]),
    ("tied_embedding", both_gradients_at_the_words, "dweight: max relative error", ["road", "dx was added", "mean"]),
]
