"""Wrong answers to the exercises of lesson 7: (exercise, function, words the judge must say)."""

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward


def run(x, state, layers, masks, *, last=True, first=True, own_state=True, up=False, drop_state=False):
    y, after = x * masks[0] if first else x, []
    bottom = y
    for n, (params, mask) in enumerate(zip(layers, masks[1:], strict=True)):
        out, s, _ = lstm_forward(bottom if up else y, state[n if own_state else 0], params)
        y = out if n == len(layers) - 1 and not last else out * mask
        after.append((y[-1], s[1]) if drop_state else s)
    return y, np.array([a[0] for a in after]), np.array([a[1] for a in after])


def top_is_not_dropped(*a):
    return run(*a, last=False)


def bottom_is_not_dropped(*a):
    return run(*a, first=False)


def all_start_from_one_state(*a):
    return run(*a, own_state=False)


def all_read_the_embedding(*a):
    return run(*a, up=True)


def state_goes_through_the_mask(*a):
    return run(*a, drop_state=True)


def only_the_outputs(*a):
    return run(*a)[0]


def state_goes_up(x, state, layers, masks):
    s = state[0]
    hs, cs, x = [], [], x * masks[0]
    for params, mask in zip(layers, masks[1:], strict=True):
        x, s, _ = lstm_forward(x, s, params)
        x = x * mask
        hs += [s[0]]
        cs += [s[1]]
    return x, np.stack(hs), np.stack(cs)


def loop(x, r, T, w, u, b, *, carry=True, add=True, whole=False, feed=None, step=None):
    p = dict(weight_ih=w, weight_hh=u, bias=b)
    zero = np.zeros(r.shape[1:])
    s, loss, dw, du, db = (zero, zero), 0, 0, 0, 0
    end = len(x) - len(x) % T if whole else len(x)
    for t in range(0, end, step or T):
        out, after, cache = lstm_forward(x[t : t + T], s, p)
        s = after if carry else s
        g = lstm_backward(r[t : t + T] if feed is None else feed(r[t : t + T], out), None, cache)[2]
        loss += (r[t : t + T] * out).sum()
        if add:
            dw, du, db = dw + g["weight_ih"], du + g["weight_hh"], db + g["bias"]
        else:
            dw, du, db = g["weight_ih"], g["weight_hh"], g["bias"]
    return loss, dw, du, db


def starts_anew_at_every_window(*a):
    return loop(*a, carry=False)


def keeps_the_last_gradient(*a):
    return loop(*a, add=False)


def whole_windows_only(*a):
    return loop(*a, whole=True)


def one_step_at_a_time(*a):
    return loop(*a, step=1)


def feeds_the_outputs_back(*a):
    return loop(*a, feed=lambda r, out: out)


def one_long_window(x, r, T, w, u, b):
    return loop(x, r, len(x), w, u, b)


def forgets_the_cell(x, r, T, w, u, b):
    p, h, total = {"weight_ih": w, "weight_hh": u, "bias": b}, np.zeros(r.shape[1:]), [0, 0, 0, 0]
    for t in range(0, len(x), T):
        out, (h, _), cache = lstm_forward(x[t : t + T], (h, np.zeros_like(h)), p)
        g = lstm_backward(r[t : t + T], None, cache)[2]
        parts = (r[t : t + T] * out).sum(), g["weight_ih"], g["weight_hh"], g["bias"]
        total = [a + b for a, b in zip(total, parts, strict=True)]
    return total


def not_scaled(x, dout, u, keep_prob):
    return np.where(u < keep_prob, x, 0), np.where(u < keep_prob, dout, 0)


def scaled_forward_only(x, dout, u, keep_prob):
    return np.where(u < keep_prob, x / keep_prob, 0), np.where(u < keep_prob, dout, 0)


def drops_what_it_should_keep(x, dout, u, keep_prob):
    keep = u >= keep_prob
    return keep * x / keep_prob, keep * dout / keep_prob


def takes_it_for_a_drop_rate(x, dout, u, keep_prob):
    keep = u > keep_prob
    return keep * x / (1 - keep_prob), keep * dout / (1 - keep_prob)


def gradient_is_not_masked(x, dout, u, keep_prob):
    return x * (u < keep_prob) / keep_prob, dout


def gradient_times_the_input(x, dout, u, keep_prob):
    m = (u < keep_prob) / keep_prob
    return m * x, dout * m * x


WRONG = [
    ("stack_layers", top_is_not_dropped, "the last mask is missing"),
    ("stack_layers", bottom_is_not_dropped, "the mask of the embedded input is missing"),
    ("stack_layers", all_start_from_one_state, "every layer starts from layer 0's state"),
    ("stack_layers", all_read_the_embedding, "every layer reads the embedded input"),
    ("stack_layers", state_goes_through_the_mask, "the state that goes on in time is dropped"),
    ("stack_layers", state_goes_up, "handed up from layer to layer"),
    ("stack_layers", only_the_outputs, "1 result"),
    ("truncated_bptt", starts_anew_at_every_window, "starts from a state of zero"),
    ("truncated_bptt", keeps_the_last_gradient, "only the last window's gradient"),
    ("truncated_bptt", whole_windows_only, "the last window may be shorter"),
    ("truncated_bptt", one_step_at_a_time, "the windows overlap"),
    ("truncated_bptt", feeds_the_outputs_back, "takes the gradient of the outputs"),
    ("truncated_bptt", one_long_window, "this is the full gradient"),
    ("truncated_bptt", forgets_the_cell, "only h is carried"),
    ("inverted_dropout", not_scaled, "the expected output must be x"),
    ("inverted_dropout", scaled_forward_only, "dx is not divided by keep_prob"),
    ("inverted_dropout", drops_what_it_should_keep, "kept and dropped are swapped"),
    ("inverted_dropout", takes_it_for_a_drop_rate, "the probability to drop"),
    ("inverted_dropout", gradient_is_not_masked, "dx: is the argument dout, unchanged"),
    ("inverted_dropout", gradient_times_the_input, "the derivative of m * x is m"),
]
