"""Wrong answers to the exercises of lesson 4: (exercise, function, words the judge must say)."""

import numpy as np


def no_bias(x, h, Wx, Wh, b):
    return np.tanh(np.dot(x, Wx.T) + np.dot(h, Wh.T))


def amnesia(x, h, Wx, Wh, b):
    return np.tanh(np.einsum("bd,hd->bh", x, Wx) + b)


def square_matrix_turned(x, h, Wx, Wh, b):
    return np.tanh(np.einsum("bd,hd->bh", x, Wx) + np.einsum("bk,kh->bh", h, Wh) + b)


def never_squashed(x, h, Wx, Wh, b):
    return (Wx @ x.T + Wh @ h.T).T + b


def logistic(x, h, Wx, Wh, b):
    z = x @ Wx.T + h @ Wh.T + b
    return np.exp(z) / (1 + np.exp(z))


def columns(x, h, Wx, Wh, b):
    return np.tanh(Wx @ x.T + Wh @ h.T + b[:, None])


def no_transpose(x, h, Wx, Wh, b):
    return np.tanh(x @ Wx + h @ Wh + b)


def turned_and_without_bias(x, h, Wx, Wh, b):
    return np.tanh(x @ Wx.T + h @ Wh)


def back(dz, x, h_prev, Wx, Wh):
    """The five products of a step, in the order asked for."""
    return np.dot(dz, Wx), np.dot(dz, Wh), np.dot(x.T, dz).T, np.dot(h_prev.T, dz).T, np.ones(len(dz)) @ dz


def linear_slope(dh, x, h_prev, h, Wx, Wh, b):
    return back(dh * (1 - h), x, h_prev, Wx, Wh)


def no_slope(dh, x, h_prev, h, Wx, Wh, b):
    return back(dh, x, h_prev, Wx, Wh)


def sigmoid_slope(dh, x, h_prev, h, Wx, Wh, b):
    return back(dh * h - dh * h * h, x, h_prev, Wx, Wh)


def slope_at_the_old_state(dh, x, h_prev, h, Wx, Wh, b):
    return back(dh - dh * h_prev * h_prev, x, h_prev, Wx, Wh)


def tanh_of_tanh(dh, x, h_prev, h, Wx, Wh, b):
    return back(dh / np.cosh(h) ** 2, x, h_prev, Wx, Wh)


def new_state_in_the_weights(dh, x, h_prev, h, Wx, Wh, b):
    return back(dh - dh * h * h, x, h, Wx, Wh)


def turned_on_the_way_back(dh, x, h_prev, h, Wx, Wh, b):
    dx, _, dWx, dWh, db = back(dh - dh * h * h, x, h_prev, Wx, Wh)
    return dx, (Wh @ (dh - dh * h * h).T).T, dWx, dWh, db


def outer_product_turned(dh, x, h_prev, h, Wx, Wh, b):
    dx, dh_prev, dWx, _, db = back(dh - dh * h * h, x, h_prev, Wx, Wh)
    return dx, dh_prev, dWx, np.einsum("bi,bj->ij", h_prev, dh - dh * h * h), db


def bias_averaged(dh, x, h_prev, h, Wx, Wh, b):
    dx, dh_prev, dWx, dWh, db = back(dh - dh * h * h, x, h_prev, Wx, Wh)
    return dx, dh_prev, dWx, dWh, db / len(x)


def bias_before_tanh(dh, x, h_prev, h, Wx, Wh, b):
    dx, dh_prev, dWx, dWh, _ = back(dh - dh * h * h, x, h_prev, Wx, Wh)
    return dx, dh_prev, dWx, dWh, sum(dh)


def two_at_once(dh, x, h_prev, h, Wx, Wh, b):
    return turned_on_the_way_back(dh, x, h, h, Wx, Wh, b)


def bptt(douts, x, h_start, h, Wx, Wh, *, carry=1, before=None, slope=lambda h: 1 - h * h, steps=None, turn=False):
    """BPTT by concatenation and einsum, with places for mistakes."""
    states = np.concatenate([h_start[None], h])
    before = states[:-1] if before is None else before(states)
    dzs, road = np.zeros_like(h), np.zeros_like(h_start)
    for t in reversed(range(len(x))) if steps is None else steps(len(x)):
        dzs[t] = (douts[t] + carry * road) * slope(h[t])
        road = np.einsum("bi,ji->bj" if turn else "bi,ij->bj", dzs[t], Wh)
    return dzs @ Wx, road, np.einsum("tbi,tbj->ij", dzs, x), np.einsum("tbi,tbj->ij", dzs, before), dzs.sum((0, 1))


def forgets_the_road(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, carry=0)


def subtracts_the_road(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, carry=-1)


def one_step_late(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, before=lambda states: states[1:])


def wraps_around(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, before=lambda states: np.roll(states[1:], 1, axis=0))


def starts_from_zero(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, 0 * h_start, h, Wx, Wh)


def one_minus_h(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, slope=lambda h: 1 - h)


def forward_in_time(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, steps=range)


def forgets_step_zero(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, steps=lambda T: reversed(range(1, T)))


def turned_road(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, turn=True)


def weights_of_one_step(douts, x, h_start, h, Wx, Wh, b):
    dx, dh_start, dWx, _, db = bptt(douts, x, h_start, h, Wx, Wh)
    return dx, dh_start, dWx, step_zero(douts, x, h_start, h, Wh), db


def step_zero(douts, x, h_start, h, Wh):
    """What step 0 alone gives to dW_hh: the last value of a variable that is overwritten in the loop."""
    road = 0
    for t in reversed(range(len(x))):
        dz = (douts[t] + road) * (1 - h[t] * h[t])
        road = dz @ Wh
    return dz.T @ h_start


def averages_over_time(douts, x, h_start, h, Wx, Wh, b):
    dx, dh_start, *grads = bptt(douts, x, h_start, h, Wx, Wh)
    return dx, dh_start, *(grad / len(x) for grad in grads)


def late_and_turned(douts, x, h_start, h, Wx, Wh, b):
    return bptt(douts, x, h_start, h, Wx, Wh, before=lambda states: states[1:], turn=True)


def goes_round_the_tanh(douts, x, h_start, h, W_ih, W_hh, b):
    before = np.concatenate([h_start[None], h[:-1]])
    dz, back = np.zeros_like(h), 0
    for t in reversed(range(len(h))):
        dz[t] = (1 - h[t] * h[t]) * douts[t] + back
        back = dz[t] @ W_hh
    return (dz @ W_ih, back, np.einsum("tbh,tbd->hd", dz, x), np.einsum("tbh,tbk->hk", dz, before), dz.sum(axis=(0, 1)))


def the_input_once_more(x, h_prev, W_ih, W_hh, b):
    return np.tanh(x @ W_ih.T + x @ W_ih.T @ W_hh.T + b)


WRONG = [
    ("rnn_step_forward", no_bias, "the bias b is missing"),
    ("rnn_step_forward", amnesia, "the past is missing"),
    ("rnn_step_forward", square_matrix_turned, "W_hh is the wrong way round"),
    ("rnn_step_forward", never_squashed, "tanh is still to come"),
    ("rnn_step_forward", logistic, "sigmoid of z"),
    ("rnn_step_forward", columns, "it is transposed"),
    ("rnn_step_forward", no_transpose, "stopped with ValueError"),
    ("rnn_step_forward", turned_and_without_bias, "wrong way round"),
    ("rnn_step_backward", linear_slope, "not 1 - h"),
    ("rnn_step_backward", no_slope, "slope of tanh is missing"),
    ("rnn_step_backward", sigmoid_slope, "slope of the sigmoid"),
    ("rnn_step_backward", slope_at_the_old_state, "with the new h, not with h_prev"),
    ("rnn_step_backward", tanh_of_tanh, "without another tanh"),
    ("rnn_step_backward", new_state_in_the_weights, "dW_hh: the wrong state"),
    ("rnn_step_backward", turned_on_the_way_back, "dh_prev: W_hh is the wrong way round"),
    ("rnn_step_backward", outer_product_turned, "dW_hh: transposed"),
    ("rnn_step_backward", bias_averaged, "db: a mean where the sum"),
    ("rnn_step_backward", bias_before_tanh, "db: the gradient goes through tanh first"),
    ("rnn_step_backward", two_at_once, "the wrong state"),
    ("rnn_bptt", forgets_the_road, "what step t + 1 hands back is forgotten"),
    ("rnn_bptt", subtracts_the_road, "sign of what step t + 1 hands back"),
    ("rnn_bptt", one_step_late, "dW_hh: off by one step"),
    ("rnn_bptt", wraps_around, "reads h[-1] as the last state"),
    ("rnn_bptt", starts_from_zero, "need not be zero"),
    ("rnn_bptt", one_minus_h, "not 1 - h"),
    ("rnn_bptt", forward_in_time, "the loop runs forward in time"),
    ("rnn_bptt", forgets_step_zero, "stops before step 0"),
    ("rnn_bptt", turned_road, "wrong way round on the road back"),
    ("rnn_bptt", weights_of_one_step, "only one step is left"),
    ("rnn_bptt", averages_over_time, "divided by T"),
    ("rnn_bptt", late_and_turned, "off by one step"),
    ("rnn_bptt", goes_round_the_tanh, "goes round the tanh"),
    ("rnn_step_forward", the_input_once_more, "the argument h_prev is never used"),
]
