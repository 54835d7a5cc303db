"""Wrong answers to the exercises of lesson 6: (exercise, function, words the judge must say)."""

import numpy as np


def sig(a):
    return 1 / (1 + np.exp(-a))


def four_gates(x, h, w, u, b, order="ifgo"):
    a = dict(zip(order, np.split(np.dot(x, w.T) + np.dot(h, u.T) + b, 4, axis=1), strict=True))
    return sig(a["i"]), sig(a["f"]), np.tanh(a["g"]), sig(a["o"])


def order_of_other_notes(x, h, c, w, u, b):
    i, f, g, o = four_gates(x, h, w, u, b, order="ifog")
    c = i * g + f * c
    return np.tanh(c) * o, c


def order_of_tensorflow(x, h, c, w, u, b):
    i, f, g, o = four_gates(x, h, w, u, b, order="igfo")
    c = i * g + f * c
    return np.tanh(c) * o, c


def no_tanh_on_the_way_out(x, h, c, w, u, b):
    i, f, g, o = four_gates(x, h, w, u, b)
    c = i * g + f * c
    return c * o, c


def swaps_input_and_forget(x, h, c, w, u, b):
    i, f, g, o = four_gates(x, h, w, u, b)
    c = f * g + i * c
    return np.tanh(c) * o, c


def weights_not_transposed(x, h, c, w, u, b):
    z = x @ w + h @ u + b
    return z, c


def returns_c_first(x, h, c, w, u, b):
    i, f, g, o = four_gates(x, h, w, u, b)
    c = i * g + f * c
    return c, np.tanh(c) * o


def adds_into_the_cell_it_was_given(x, h, c, w, u, b):
    i, f, g, o = four_gates(x, h, w, u, b)
    c *= f
    c += i * g
    return np.tanh(c) * o, c


def gates(dh, dc, zi, zf, zg, zo, c, *, carried=1, slope=1, tanh_power=2, cell="prev", out=1, road=1, last="f"):
    i, f, g, o = sig(zi), sig(zf), np.tanh(zg), sig(zo)
    new = c * f + g * i
    t = np.tanh(new)
    total = carried * dc + road * dh * (1 - t**tanh_power) * (o if out else 1)
    ds = (lambda s: s - s * s) if slope else (lambda s: 1)
    factor = {"prev": c, "new": new}[cell]
    back = {"f": f, "i": i, "1": 1}[last]
    return total * g * ds(i), total * factor * ds(f), total * i * (1 - g * g), dh * t * ds(o), total * back


def dc_of_the_next_step_dropped(*a):
    return gates(*a, carried=0)


def dh_never_reaches_the_cell(*a):
    return gates(*a, road=0)


def no_slope_of_the_sigmoid(*a):
    return gates(*a, slope=0)


def tanh_not_squared(*a):
    return gates(*a, tanh_power=1)


def forget_gate_sees_the_new_cell(*a):
    return gates(*a, cell="new")


def no_output_gate_in_dc(*a):
    return gates(*a, out=0)


def cell_passes_unforgotten(*a):
    return gates(*a, last="1")


def two_mistakes_at_once(*a):
    return gates(*a, cell="new", last="i")


def changes_dc_in_place(dh, dc, zi, zf, zg, zo, c):
    right = gates(dh, dc, zi, zf, zg, zo, c)
    dc += dh
    return right


def step(dout, dh, dc, x, h, c, w, u, b, *, dh_next=1, above=1, dc_next=1, seen=None, order="ifgo", mean=0, **wrong):
    z = np.split(x @ w.T + h @ u.T + b, 4, axis=1)
    *parts, dc_prev = gates(above * dout + dh_next * dh, dc_next * dc, *z, c, **wrong)
    dz = np.hstack([parts["ifgo".index(gate)] for gate in order])
    if seen == "new":
        i, f, g, o = four_gates(x, h, w, u, b)
        return dz @ w, dz @ u, dc_prev, dz.T @ x, dz.T @ (o * np.tanh(f * c + i * g)), dz.sum(0)
    return dz @ w, dz @ u, dc_prev, dz.T @ x, dz.T @ h, dz.mean(0) if mean else dz.sum(0)


def forgets_dh_of_the_next_step(*a):
    return step(*a, dh_next=0)


def forgets_the_layer_above(*a):
    return step(*a, above=0)


def forgets_dc_of_the_next_step(*a):
    return step(*a, dc_next=0)


def own_output_in_the_recurrent_weights(*a):
    return step(*a, seen="new")


def joins_the_gates_in_another_order(*a):
    return step(*a, order="ifog")


def mean_over_the_batch(*a):
    return step(*a, mean=1)


def weight_gradients_transposed(*a):
    dx, dh, dc, dw, du, db = step(*a)
    return dx, dh, dc, dw.T, du.T, db


def multiplies_by_the_transpose(dout, dh, dc, x, h, c, w, u, b):
    dz = np.ones((len(x), len(b)))
    return dz @ w.T, dz @ u.T, dc, dz.T @ x, dz.T @ h, dz.sum(0)


def tanh_not_squared_in_the_step(*a):
    return step(*a, tanh_power=1)


def new_cell_and_new_output(*a):
    return step(*a, seen="new", cell="new")


def everything_through_the_output_gate(dh, dc_next, z_i, z_f, z_g, z_o, c_prev):
    i, f, o = (1 / (1 + np.exp(-z)) for z in (z_i, z_f, z_o))
    g = np.tanh(z_g)
    t = np.tanh(f * c_prev + i * g)
    d = (dc_next + dh) * o * (1 - t * t)
    return d * g * (i - i * i), d * c_prev * (f - f * f), d * i * (1 - g * g), dh * t * (o - o * o), d * f


def cell_carried_twice(dh, dc_next, z_i, z_f, z_g, z_o, c_prev):
    i, f, o = (1 / (1 + np.exp(-z)) for z in (z_i, z_f, z_o))
    g = np.tanh(z_g)
    t = np.tanh(f * c_prev + i * g)
    d = dc_next + dh * o * (1 - t * t)
    return d * g * (i - i * i), d * c_prev * (f - f * f), d * i * (1 - g * g), dh * t * (o - o * o), d * f + dc_next


WRONG = [
    ("lstm_step_forward", order_of_other_notes, "the order i, f, o, g"),
    ("lstm_step_forward", order_of_tensorflow, "the order i, g, f, o"),
    ("lstm_step_forward", no_tanh_on_the_way_out, "the tanh of the cell is missing"),
    ("lstm_step_forward", swaps_input_and_forget, "input and forget gate are swapped"),
    ("lstm_step_forward", weights_not_transposed, "arguments: x"),
    ("lstm_step_forward", returns_c_first, "another order: expected (h, c), returned (c, h)"),
    ("lstm_step_forward", adds_into_the_cell_it_was_given, "changes its argument c_prev in place"),
    ("lstm_gates_backward", dc_of_the_next_step_dropped, "dc from the next step is forgotten"),
    ("lstm_gates_backward", dh_never_reaches_the_cell, "c_t also feeds h_t"),
    (
        "lstm_gates_backward",
        no_slope_of_the_sigmoid,
        "the slope of the sigmoid is missing: * s * (1 - s), for s = i, f, o",
    ),
    ("lstm_gates_backward", tanh_not_squared, "the square is missing"),
    ("lstm_gates_backward", forget_gate_sees_the_new_cell, "the forget gate multiplies c_{t-1}"),
    ("lstm_gates_backward", no_output_gate_in_dc, "lacks the output gate"),
    ("lstm_gates_backward", cell_passes_unforgotten, "dc_prev lacks the forget gate"),
    ("lstm_gates_backward", two_mistakes_at_once, "the input gate where the forget gate belongs"),
    ("lstm_gates_backward", changes_dc_in_place, "changes its argument dc_next in place"),
    ("lstm_step_backward", forgets_dh_of_the_next_step, "dh of the next step is forgotten"),
    ("lstm_step_backward", forgets_the_layer_above, "dout is forgotten"),
    ("lstm_step_backward", forgets_dc_of_the_next_step, "dc from the next step is forgotten"),
    ("lstm_step_backward", own_output_in_the_recurrent_weights, "z_t was made with h_{t-1}"),
    ("lstm_step_backward", joins_the_gates_in_another_order, "dz is joined in the order i, f, o, g"),
    ("lstm_step_backward", mean_over_the_batch, "a mean over the batch where the sum is meant"),
    ("lstm_step_backward", weight_gradients_transposed, "it is transposed"),
    ("lstm_step_backward", multiplies_by_the_transpose, "stopped"),
    ("lstm_step_backward", tanh_not_squared_in_the_step, "the square is missing"),
    ("lstm_step_backward", new_cell_and_new_output, "z_t was made with h_{t-1}"),
    ("lstm_gates_backward", everything_through_the_output_gate, "it reaches c_t directly"),
    ("lstm_gates_backward", cell_carried_twice, "it is in dc already"),
]
