"""Mistakes that come naturally, in a student's own words: (exercise, function, words the judge must say)."""

from collections import Counter
from itertools import pairwise

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward
from minilstm.model import loss_and_gradients, zero_state
from minilstm.optim import clip_by_global_norm, sgd
from minilstm.text.batches import get_batch, num_windows


def sigma(z):
    return 1 / (1 + np.exp(-z))


def gradient_handed_forward(inputs, r, T, weight_ih, weight_hh, bias):
    params = dict(weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)
    zeros = np.zeros(r.shape[1:])
    state, dstate = (zeros, zeros), (zeros, zeros)
    loss, sums = 0.0, {name: 0.0 for name in params}
    for s in range(0, len(inputs), T):
        y, state, cache = lstm_forward(inputs[s : s + T], state, params)
        loss += np.sum(r[s : s + T] * y)
        _, dstate, grads = lstm_backward(r[s : s + T], dstate, cache)
        sums = {name: sums[name] + grads[name] for name in sums}
    return (loss, *sums.values())


def bias_for_each_product(x, h_prev, W_ih, W_hh, b):
    return np.tanh((x @ W_ih.T + b) + (h_prev @ W_hh.T + b))


def bias_for_each_product_of_the_cell(x, h_prev, c_prev, weight_ih, weight_hh, bias):
    z = x @ weight_ih.T + bias + h_prev @ weight_hh.T + bias
    zi, zf, zg, zo = np.split(z, 4, axis=1)
    c = sigma(zf) * c_prev + sigma(zi) * np.tanh(zg)
    return sigma(zo) * np.tanh(c), c


def forgets_what_it_should_keep(x, h_prev, c_prev, weight_ih, weight_hh, bias):
    zi, zf, zg, zo = np.split(x @ weight_ih.T + h_prev @ weight_hh.T + bias, 4, axis=1)
    c = (1 - sigma(zf)) * c_prev + sigma(zi) * np.tanh(zg)
    return sigma(zo) * np.tanh(c), c


def gates_that_keep_the_rest(dh, dc_next, z_i, z_f, z_g, z_o, c_prev):
    i, f, o, g = sigma(z_i), sigma(z_f), sigma(z_o), np.tanh(z_g)
    t = np.tanh(f * c_prev + i * g)
    dc = dc_next + dh * o * (1 - t * t)
    return (dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o), dc * (1 - f))


def drops_the_incoming_state(x, state, layers, masks):
    hs, cs = [], []
    for k, layer in enumerate(layers):
        h, c = state[k]
        x, (h, c), _ = lstm_forward(x * masks[k], (h * masks[k][0], c), layer)
        hs.append(h)
        cs.append(c)
    return x * masks[-1], hs, cs


def drops_all_that_comes_in(x, state, layers, masks):
    hs, cs = [], []
    for k, layer in enumerate(layers):
        h, c = state[k]
        x, (h, c), _ = lstm_forward(x * masks[k], (h * masks[k][0], c * masks[k][0]), layer)
        hs.append(h)
        cs.append(c)
    return x * masks[-1], np.array(hs), np.array(cs)


def rows_overwritten(dh, x, h_prev, h, W_ih, W_hh, b):
    dx, dh_prev = np.zeros_like(x), np.zeros_like(h_prev)
    for n in range(len(x)):
        dz = dh[n] * (1 - h[n] ** 2)
        dx[n], dh_prev[n] = W_ih.T @ dz, W_hh.T @ dz
        dW_ih = np.outer(dz, x[n])
        dW_hh = np.outer(dz, h_prev[n])
        db = dz
    return dx, dh_prev, dW_ih, dW_hh, db


def words_overwritten(hidden, targets, weight, bias):
    dhidden = np.zeros_like(hidden)
    for t in range(hidden.shape[0]):
        for n in range(hidden.shape[1]):
            s = weight @ hidden[t, n] + bias
            ds = np.exp(s - s.max())
            ds /= ds.sum()
            ds[targets[t, n]] -= 1
            ds /= hidden.shape[1]
            dhidden[t, n] = weight.T @ ds
            dweight = np.outer(ds, hidden[t, n])
            dbias = ds
    return dhidden, dweight, dbias


def loss_after_the_step(params, config, data, learning_rate):
    params = {name: param.copy() for name, param in params.items()}
    state, losses = zero_state(config, data.shape[1]), []
    for k in range(num_windows(len(data), config.num_steps)):
        batch = get_batch(data, k, config.num_steps)
        _, grads, after = loss_and_gradients(params, config, *batch, state)
        grads, _ = clip_by_global_norm(grads, config.max_grad_norm)
        sgd(params, grads, learning_rate)
        losses.append(loss_and_gradients(params, config, *batch, state)[0])
        state = after
    return losses, np.exp(np.sum(losses) / (len(losses) * config.num_steps))


def sign_lost(x, bits):
    m, e = np.frexp(abs(x).astype(float))
    return np.ldexp(np.round(m * 2 ** (bits + 1)), e - bits - 1)


def b_outside(x, h_prev, W_ih, W_hh, b):
    return np.tanh(np.dot(x, W_ih.T) + np.dot(h_prev, W_hh.T)) + b


def dx_from_the_last_step(douts, x, h_start, h, W_ih, W_hh, b):
    dx, dW_ih, dW_hh, db = [], 0, 0, 0
    carry = np.zeros_like(h_start)
    for t in reversed(range(len(x))):
        dz = (douts[t] + carry) * (1 - h[t] ** 2)
        carry = dz @ W_hh
        dx.append(dz @ W_ih)
        dW_ih = dW_ih + dz.T @ x[t]
        dW_hh = dW_hh + dz.T @ (h[t - 1] if t else h_start)
        db = db + dz.sum(axis=0)
    return np.array(dx), carry, dW_ih, dW_hh, db


def trigram(train, text, weights, rule):
    one, two = Counter(train), Counter(pairwise(train))
    three = Counter(zip(train, train[1:], train[2:], strict=False))
    return [rule(one, two, three, len(train), len(one), *gram) for gram in zip(text, text[1:], text[2:], strict=False)]


def adds_one_everywhere(train, text, weights):
    def rule(one, two, three, N, V, a, b, c):
        p = (one[c] + 1) / (N + V), (two[b, c] + 1) / (one[b] + V), (three[a, b, c] + 1) / (two[a, b] + V)
        return np.dot(weights, p)

    return trigram(train, text, weights, rule)


def adds_one_to_triples(train, text, weights):
    def rule(one, two, three, N, V, a, b, c):
        p = one[c] / N, two[b, c] / one[b], (three[a, b, c] + 1) / (two[a, b] + V)
        return np.dot(weights, p)

    return trigram(train, text, weights, rule)


def backs_off(train, text, weights):
    def rule(one, two, three, N, V, a, b, c):
        if three[a, b, c]:
            return three[a, b, c] / two[a, b]
        return two[b, c] / one[b] if two[b, c] else one[c] / N

    return trigram(train, text, weights, rule)


def largest_of_all_epochs(lr, decay, max_epoch, num_epochs):
    return lr * decay ** np.max(np.arange(num_epochs) + 1 - max_epoch, 0) * np.ones(num_epochs)


def pythons_max_of_an_array(lr, decay, max_epoch, num_epochs):
    return lr * decay ** max(np.arange(num_epochs) + 1 - max_epoch, 0)


def np_max_of_two(analytic, numeric, scale):
    return abs(analytic - numeric) / np.max(np.maximum(abs(analytic), abs(numeric)), scale)


def unpacks_too_few(x, state, layers, masks):
    for layer, pair in zip(layers, state, strict=True):
        x, end = lstm_forward(x, pair, layer)
    return x, end, end


def no_column(logits):
    e = np.exp(logits - logits.max(axis=1))
    return e / e.sum(axis=1)


def softmax(logits): ...  # your code here


def calls_a_stub(logits, targets):
    p = softmax(logits)
    p[np.arange(len(targets)), targets] -= 1
    return p / len(targets)


def forgets_to_return(logits):
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)  # noqa: F841
    ...  # your code here


WRONG = [
    ("truncated_bptt", gradient_handed_forward, "the state's gradient is handed forward"),
    ("rnn_step_forward", bias_for_each_product, "the bias is added twice"),
    ("lstm_step_forward", bias_for_each_product_of_the_cell, "the bias is added twice"),
    ("lstm_step_forward", forgets_what_it_should_keep, "1 - f where f belongs"),
    ("lstm_gates_backward", gates_that_keep_the_rest, "1 - f where f belongs"),
    ("stack_layers", drops_the_incoming_state, "the incoming state is dropped"),
    ("stack_layers", drops_all_that_comes_in, "the incoming state is dropped"),
    ("rnn_step_backward", rows_overwritten, "= stands where += belongs in the loop over the batch"),
    ("softmax_layer_backward", words_overwritten, "= stands where += belongs in the loop over the words"),
    ("train_one_epoch", loss_after_the_step, "the loss was taken after the step"),
    ("round_mantissa", sign_lost, "right but for the sign"),
    ("rnn_step_forward", b_outside, "the bias is added after tanh"),
    ("rnn_bptt", dx_from_the_last_step, "dx: the steps are in reverse order"),
    ("interpolated_trigram", adds_one_everywhere, "one was added to every count"),
    ("interpolated_trigram", adds_one_to_triples, "one was added to the count of every triple"),
    ("interpolated_trigram", backs_off, "this is back-off"),
    ("learning_rate_schedule", largest_of_all_epochs, "is np.maximum"),
    ("learning_rate_schedule", pythons_max_of_an_array, "np.maximum"),
    ("relative_errors", np_max_of_two, "element by element, is np.maximum"),
    ("stack_layers", unpacks_too_few, "more values than there are names"),
    ("softmax", no_column, "keepdims=True is missing"),
    ("cross_entropy_backward", calls_a_stub, "softmax, which it calls, is not written yet"),
    ("softmax", forgets_to_return, "is its return missing?"),
]
