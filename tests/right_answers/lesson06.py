"""Right answers to the exercises of lesson 6, written otherwise than the solution: (exercise, function)."""

import numpy as np


def logistic(z):
    return np.where(z >= 0, 1 / (1 + np.exp(-abs(z))), np.exp(-abs(z)) / (1 + np.exp(-abs(z))))


def by_split(x, h_prev, c_prev, weight_ih, weight_hh, bias):
    zi, zf, zg, zo = np.split(x @ weight_ih.T + h_prev @ weight_hh.T + bias, 4, axis=1)
    c = logistic(zf) * c_prev + logistic(zi) * np.tanh(zg)
    return logistic(zo) * np.tanh(c), c


def stacked(x, h_prev, c_prev, weight_ih, weight_hh, bias):
    B, H = h_prev.shape
    z = (weight_ih @ x.T + weight_hh @ h_prev.T + bias[:, None]).T.reshape(B, 4, H)
    i, f, o = (1 / (1 + np.exp(-z[:, k])) for k in (0, 1, 3))
    c = f * c_prev + i * np.tanh(z[:, 2])
    return np.array([o * np.tanh(c), c])


def unit_by_unit(x, h_prev, c_prev, weight_ih, weight_hh, bias):
    B, H = h_prev.shape
    h, c = np.zeros((B, H)), np.zeros((B, H))
    for b in range(B):
        for k in range(H):
            rows = [q * H + k for q in range(4)]
            i, f, g, o = (weight_ih[row] @ x[b] + weight_hh[row] @ h_prev[b] + bias[row] for row in rows)
            c[b, k] = logistic(f) * c_prev[b, k] + logistic(i) * np.tanh(g)
            h[b, k] = logistic(o) * np.tanh(c[b, k])
    return {"c": c, "h": h}


def forward_in_float32(*arguments):
    return by_split(*(a.astype(np.float32) for a in arguments))


def of_gates(dh, dc_next, z_i, z_f, z_g, z_o, c_prev):
    i, f, o = map(logistic, (z_i, z_f, z_o))
    g = np.tanh(z_g)
    c = c_prev * f + g * i
    dc = dc_next + dh * o / np.cosh(c) ** 2
    return (dc * g * i * logistic(-z_i), dc * c_prev * f * logistic(-z_f), dc * i / np.cosh(z_g) ** 2,
            dh * np.tanh(c) * o * logistic(-z_o), dc * f)  # fmt: skip


def gates_in_one_array(*arguments):
    return np.stack(of_gates(*arguments))


def gates_in_a_dict(*arguments):
    return dict(zip(("dz_i", "dz_f", "dz_g", "dz_o", "dc_prev"), of_gates(*arguments), strict=True))


def gates_in_float32(*arguments):
    return [a.astype(np.float32) for a in of_gates(*(a.astype(np.float32) for a in arguments))]


def whole_step(dout, dh_next, dc_next, x, h_prev, c_prev, weight_ih, weight_hh, bias):
    z = np.split(x @ weight_ih.T + h_prev @ weight_hh.T + bias, 4, axis=1)
    *dz, dc_prev = of_gates(dout + dh_next, dc_next, *z, c_prev)
    dz = np.hstack(dz)
    joined = dz.T @ np.hstack([x, h_prev])
    D = x.shape[1]
    return dz @ weight_ih, dz @ weight_hh, dc_prev, joined[:, :D], joined[:, D:], dz.sum(0)


def example_by_example(dout, dh_next, dc_next, x, h_prev, c_prev, weight_ih, weight_hh, bias):
    rows, total = [], [0, 0, 0]
    for b in range(len(x)):
        cut = slice(b, b + 1)
        *row, dU, dW, db = whole_step(dout[cut], dh_next[cut], dc_next[cut], x[cut], h_prev[cut], c_prev[cut],
                                      weight_ih, weight_hh, bias)  # fmt: skip
        rows.append(row)
        total = [a + b for a, b in zip(total, (dU, dW, db), strict=True)]
    return [*(np.concatenate(parts) for parts in zip(*rows, strict=True)), *total]


def step_nested(*arguments):
    dx, dh, dc, dU, dW, db = whole_step(*arguments)
    return dx, (dh, dc), {"weight_ih": dU, "weight_hh": dW, "bias": db}


def step_in_float32(*arguments):
    return whole_step(*(np.float32(a) for a in arguments))


RIGHT = [
    ("lstm_step_forward", by_split),
    ("lstm_step_forward", stacked),
    ("lstm_step_forward", unit_by_unit),
    ("lstm_step_forward", forward_in_float32),
    ("lstm_gates_backward", of_gates),
    ("lstm_gates_backward", gates_in_one_array),
    ("lstm_gates_backward", gates_in_a_dict),
    ("lstm_gates_backward", gates_in_float32),
    ("lstm_step_backward", whole_step),
    ("lstm_step_backward", example_by_example),
    ("lstm_step_backward", step_nested),
    ("lstm_step_backward", step_in_float32),
]
