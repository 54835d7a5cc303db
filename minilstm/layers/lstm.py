"""One LSTM layer over T time steps, and backpropagation through time.

    z_t = W_ih x_t + W_hh h_{t-1} + b            W_ih (4H, D)   W_hh (4H, H)   b (4H,)
    c_t, h_t from z_t and c_{t-1}: see kernels.py

Zaremba et al., arXiv 1409.2329, section 3; Hochreiter and Schmidhuber, 1997. The gradient of the cost runs the
steps in reverse (BPTT), carrying dh and dc from step t to step t - 1:

    dh_t = dout_t + W_hh^T dz_{t+1}              dz_t, dc_{t-1} from dh_t and dc_t: see kernels.py
    dW_ih = sum_t dz_t x_t^T      dW_hh = sum_t dz_t h_{t-1}^T      db = sum_t dz_t      dx_t = W_ih^T dz_t

Two products need no loop: W_ih x_t of all steps is one GEMM before it, and each sum over t one GEMM after it. The ones
in the loop, of a few rows with a big matrix, are in recurrence.py.
"""

from minilstm.device import array_module
from minilstm.gpu.lstm_kernels import gates_backward, gates_forward
from minilstm.gpu.recurrence import by_columns, computed, row_product


def lstm_forward(inputs, state, params, forget_bias=0.0):
    """Run one layer over a window.

    Parameters
    ----------
    inputs : array (T, B, D)
    state : tuple of array (B, H)
        h_{-1} and c_{-1}, the hidden and cell state before the window.
    params : dict
        "weight_ih" (4H, D), "weight_hh" (4H, H), "bias" (4H,); gate order i, f, g, o.
    forget_bias : float
        Added to the forget gate's pre-activation.

    Returns
    -------
    outputs : array (T, B, H)
        h_t of every step.
    state : tuple of array (B, H)
        h and c after the window.
    cache : tuple
        What `lstm_backward` needs.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"weight_ih": np.ones((8, 3)), "weight_hh": np.ones((8, 2)), "bias": np.zeros(8)}
    >>> outputs, (hidden, cell), cache = lstm_forward(np.ones((5, 4, 3)), (np.zeros((4, 2)), np.zeros((4, 2))), params)
    >>> outputs.shape, hidden.shape
    ((5, 4, 2), (4, 2))
    """
    xp = array_module(inputs)
    T, B, D = inputs.shape
    H = params["weight_hh"].shape[1]
    hidden = xp.empty((T + 1, B, H), dtype=inputs.dtype)  # hidden[t + 1] is h_t; hidden[0] the state we start from
    cell = xp.empty((T + 1, B, H), dtype=inputs.dtype)
    tanh_cell = xp.empty((T, B, H), dtype=inputs.dtype)
    hidden[0], cell[0] = state

    gates = inputs.reshape(T * B, D) @ params["weight_ih"].T  # (T B, 4H): in place i, f, g, o
    gates += params["bias"]
    gates = gates.reshape(T, B, 4 * H)
    for t in range(T):
        recurrent = row_product(hidden[t], params["weight_hh"].T)  # (B, 4H)
        gates_forward(gates[t], recurrent, cell[t], cell[t + 1], tanh_cell[t], hidden[t + 1], forget_bias)

    return hidden[1:], (hidden[T], cell[T]), (inputs, params, gates, hidden, cell, tanh_cell)


def lstm_backward(doutputs, dstate, cache):
    """Backpropagation through time over the window.

    Parameters
    ----------
    doutputs : array (T, B, H)
        Gradient of every h_t as the layer's output.
    dstate : tuple of array (B, H), or None
        Gradient of the state after the window. None is truncated BPTT: nothing comes back from the next window.
    cache : tuple
        From `lstm_forward`.

    Returns
    -------
    dinputs : array (T, B, D)
    dstate : tuple of array (B, H)
        Gradient of the state before the window.
    grads : dict
        "weight_ih", "weight_hh", "bias", shaped as the parameters.
    """
    inputs, params, gates, hidden, cell, tanh_cell = cache
    xp = array_module(inputs)
    T, B, D = inputs.shape
    H = params["weight_hh"].shape[1]
    dgates = xp.empty((T, B, 4 * H), dtype=inputs.dtype)  # dgates[t] is dz_t
    if dstate is None:
        nothing = xp.zeros((B, H), dtype=inputs.dtype)
        dstate = nothing, nothing
    dh_next, dcell = dstate
    weight_hh = by_columns(params["weight_hh"])

    for t in reversed(range(T)):
        dcell = gates_backward(doutputs[t], dh_next, dcell, gates[t], cell[t], tanh_cell[t], dgates[t])
        dh_next = row_product(dgates[t], weight_hh)  # (B, H)
    dgates = dgates.reshape(T * B, 4 * H)
    grads = {
        "weight_ih": dgates.T @ inputs.reshape(T * B, D),
        "weight_hh": dgates.T @ hidden[:-1].reshape(T * B, H),
        "bias": dgates.sum(axis=0),
    }
    dinputs = (dgates @ params["weight_ih"]).reshape(T, B, D)

    return dinputs, (computed(dh_next), dcell), grads
