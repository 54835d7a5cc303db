"""A plain recurrent network (Elman), the simplest thing that has a backward pass through time.

    z_t = W_ih x_t + W_hh h_{t-1} + b        h_t = tanh(z_t)

Elman, 1990. Backwards, with dh_t the gradient of h_t from the output at t and from step t + 1:

    dz_t = dh_t (1 - h_t^2)                  dh_{t-1} = W_hh^T dz_t
    dW_ih = sum_t dz_t x_t^T     dW_hh = sum_t dz_t h_{t-1}^T     db = sum_t dz_t     dx_t = W_ih^T dz_t

The package has only the LSTM; this is here so that lessons can put the two side by side. Shapes are the package's:
inputs (T, B, D), hidden (B, H), weight_ih (H, D), weight_hh (H, H), bias (H,).
"""

import numpy as np


def rnn_forward(inputs, hidden, params):
    """Run the network over a window: returns outputs (T, B, H) and a cache."""
    T, B, _ = inputs.shape
    H = len(params["bias"])
    states = np.empty((T + 1, B, H))  # states[t + 1] is h_t; states[0] the state we start from
    states[0] = hidden
    for t in range(T):
        z = inputs[t] @ params["weight_ih"].T + states[t] @ params["weight_hh"].T + params["bias"]  # (B, H)
        states[t + 1] = np.tanh(z)
    return states[1:], (inputs, params, states)


def rnn_backward(doutputs, cache):
    """Backpropagation through time: returns dinputs (T, B, D), the gradient of the first state, and a dict of grads."""
    inputs, params, states = cache
    T, B, D = inputs.shape
    H = len(params["bias"])
    dz = np.empty((T, B, H))
    dhidden = np.zeros((B, H))
    for t in reversed(range(T)):
        dhidden = dhidden + doutputs[t]  # h_t feeds step t + 1 and the output
        dz[t] = dhidden * (1 - states[t + 1] ** 2)
        dhidden = dz[t] @ params["weight_hh"]
    dz_flat = dz.reshape(T * B, H)
    grads = {
        "weight_ih": dz_flat.T @ inputs.reshape(T * B, D),
        "weight_hh": dz_flat.T @ states[:-1].reshape(T * B, H),
        "bias": dz_flat.sum(axis=0),
    }
    return dz @ params["weight_ih"], dhidden, grads
