"""Solutions of lesson 6."""

import numpy as np


def sigmoid(z):
    """1 / (1 + exp(-z)), written so that no exp overflows."""
    return 0.5 * (1 + np.tanh(0.5 * z))


def lstm_step_forward(x, h_prev, c_prev, weight_ih, weight_hh, bias):
    """One step forward: x (B, D), h_prev and c_prev (B, H) -> h, c, each (B, H)."""
    H = h_prev.shape[1]
    z = x @ weight_ih.T + h_prev @ weight_hh.T + bias  # (B, 4H)
    i = sigmoid(z[:, 0 * H : 1 * H])
    f = sigmoid(z[:, 1 * H : 2 * H])
    g = np.tanh(z[:, 2 * H : 3 * H])
    o = sigmoid(z[:, 3 * H : 4 * H])
    c = f * c_prev + i * g
    h = o * np.tanh(c)
    return h, c


def lstm_gates_backward(dh, dc_next, z_i, z_f, z_g, z_o, c_prev):
    """Gradients of h and c (B, H) -> dz_i, dz_f, dz_g, dz_o, dc_prev, each (B, H)."""
    i = sigmoid(z_i)
    f = sigmoid(z_f)
    g = np.tanh(z_g)
    o = sigmoid(z_o)
    c = f * c_prev + i * g
    tanh_c = np.tanh(c)

    do = dh * tanh_c
    dc = dc_next + dh * o * (1 - tanh_c**2)
    di = dc * g
    df = dc * c_prev
    dg = dc * i
    dc_prev = dc * f
    dz_i = di * i * (1 - i)
    dz_f = df * f * (1 - f)
    dz_g = dg * (1 - g**2)
    dz_o = do * o * (1 - o)
    return dz_i, dz_f, dz_g, dz_o, dc_prev


def lstm_step_backward(dout, dh_next, dc_next, x, h_prev, c_prev, weight_ih, weight_hh, bias):
    """One step backward: returns dx, dh_prev, dc_prev, dweight_ih, dweight_hh, dbias."""
    H = h_prev.shape[1]
    z = x @ weight_ih.T + h_prev @ weight_hh.T + bias  # (B, 4H)
    i = sigmoid(z[:, 0 * H : 1 * H])
    f = sigmoid(z[:, 1 * H : 2 * H])
    g = np.tanh(z[:, 2 * H : 3 * H])
    o = sigmoid(z[:, 3 * H : 4 * H])
    c = f * c_prev + i * g
    tanh_c = np.tanh(c)

    dh = dout + dh_next  # h feeds the layer above and the next step
    do = dh * tanh_c
    dc = dc_next + dh * o * (1 - tanh_c**2)
    di = dc * g
    df = dc * c_prev
    dg = dc * i
    dc_prev = dc * f
    dz_i = di * i * (1 - i)
    dz_f = df * f * (1 - f)
    dz_g = dg * (1 - g**2)
    dz_o = do * o * (1 - o)
    dz = np.concatenate([dz_i, dz_f, dz_g, dz_o], axis=1)  # (B, 4H)

    dx = dz @ weight_ih
    dh_prev = dz @ weight_hh
    dweight_ih = dz.T @ x
    dweight_hh = dz.T @ h_prev
    dbias = dz.sum(axis=0)
    return dx, dh_prev, dc_prev, dweight_ih, dweight_hh, dbias
