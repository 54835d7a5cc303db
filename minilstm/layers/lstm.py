"""The LSTM: one time step forward, the same step backward, and the two loops over time.

    (1)  z_t = W_ih x_t + W_hh h_{t-1} + b               W_ih (4H, D)   W_hh (4H, H)   b (4H,)
    (2)  i, f, o = sigmoid(z_i), sigmoid(z_f + forget_bias), sigmoid(z_o)
    (3)  g = tanh(z_g)
    (4)  c_t = f * c_{t-1} + i * g
    (5)  h_t = o * tanh(c_t)

Zaremba et al., arXiv 1409.2329, section 3; Hochreiter and Schmidhuber, 1997. The gates are in the order i, f, g, o, as
in PyTorch. `dx` always denotes the gradient of the loss with respect to `x`.

Only the recurrent product W_hh h_{t-1} depends on the previous step. The products W_ih x_t of all steps are therefore
computed as one matrix product before the loop, and the weight gradients after it.
"""

import numpy as np

from minilstm.blocks import deferred_matmul, matmul
from minilstm.types import Array, Cache, Grads, Params, State


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z)), written with tanh to avoid overflow in exp."""
    return 0.5 * np.tanh(0.5 * z) + 0.5


def split_gates(gates: Array) -> tuple[Array, Array, Array, Array]:
    """Views of the four gates: (B, 4H) -> i, f, g, o, each (B, H)."""
    H = gates.shape[1] // 4
    return gates[:, :H], gates[:, H : 2 * H], gates[:, 2 * H : 3 * H], gates[:, 3 * H :]


def lstm_step_forward(
    z_ih: Array, h_prev: Array, c_prev: Array, W_hh: Array, forget_bias: float = 0.0
) -> tuple[Array, Array, Cache]:
    """One time step; z_ih (B, 4H) is W_ih x_t + b, h_prev and c_prev (B, H) are the state before the step."""
    z = z_ih + matmul(W_hh, h_prev.T).T  # (1) (B, 4H); h as columns: up to twice as fast in BLAS as h as rows
    z_i, z_f, z_g, z_o = split_gates(z)
    i, f, o = sigmoid(z_i), sigmoid(z_f + forget_bias), sigmoid(z_o)  # (2) each (B, H)
    g = np.tanh(z_g)  # (3)
    c = f * c_prev + i * g  # (4)
    tanh_c = np.tanh(c)
    h = o * tanh_c  # (5)
    return h, c, (i, f, g, o, c_prev, tanh_c)


def lstm_step_backward(
    dh: Array, dc_next: Array, W_hh: Array, cache: Cache, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """The same step backward; dh is the gradient of h_t, dc_next that of c_t through step t + 1, each (B, H).

    Returns dz, which is `out` if given, dh_prev and dc_prev.
    """
    i, f, g, o, c_prev, tanh_c = cache
    do = dh * tanh_c  # (5)
    dc = dc_next + dh * o * (1 - tanh_c * tanh_c)  # (5) tanh' = 1 - tanh^2
    di, df, dg = dc * g, dc * c_prev, dc * i  # (4)
    dc_prev = dc * f  # (4)
    dz_g = dg * (1 - g * g)  # (3)
    dz_i, dz_f, dz_o = di * i * (1 - i), df * f * (1 - f), do * o * (1 - o)  # (2) sigmoid' = sigmoid (1 - sigmoid)
    dz = np.concatenate((dz_i, dz_f, dz_g, dz_o), axis=1, out=out)  # (B, 4H)
    dh_prev = matmul(W_hh.T, dz.T).T  # (1)
    return dz, dh_prev, dc_prev


def lstm_forward(inputs: Array, state: State, params: Params, forget_bias: float = 0.0) -> tuple[Array, State, Cache]:
    """Run one layer over a window.

    Parameters
    ----------
    inputs : array (T, B, D)
    state : tuple of array (B, H)
        h_{-1} and c_{-1}, the hidden and cell state before the window.
    params : dict
        "weight_ih" (4H, D), "weight_hh" (4H, H), "bias" (4H,).
    forget_bias : float
        Added to the forget gate's pre-activation.

    Returns
    -------
    outputs : array (T, B, H)
        h_t of every step.
    state : tuple of array (B, H)
        h and c after the window.
    cache : tuple
        For `lstm_backward`.

    Examples
    --------
    >>> params = {"weight_ih": np.ones((8, 3)), "weight_hh": np.ones((8, 2)), "bias": np.zeros(8)}
    >>> outputs, (h, c), cache = lstm_forward(np.ones((5, 4, 3)), (np.zeros((4, 2)), np.zeros((4, 2))), params)
    >>> outputs.shape, h.shape
    ((5, 4, 2), (4, 2))
    """
    T, B, D = inputs.shape
    H = params["weight_hh"].shape[1]
    z_ih = matmul(inputs.reshape(T * B, D), params["weight_ih"].T) + params["bias"]  # (1) (T B, 4H), all steps at once
    z_ih = z_ih.reshape(T, B, 4 * H)
    hs = np.empty((T + 1, B, H), dtype=z_ih.dtype, like=z_ih)  # hs[t] is h_{t-1}, the state before step t
    hs[0], c = state[0], state[1].copy()
    caches = []
    for t in range(T):
        hs[t + 1], c, cache = lstm_step_forward(z_ih[t], hs[t], c, params["weight_hh"], forget_bias)
        caches.append(cache)
    # copies, so that changes to the results cannot reach the cache
    return hs[1:].copy(), (hs[T].copy(), c.copy()), (inputs, params, hs, caches)


def lstm_backward(doutputs: Array, dstate: State | None, cache: Cache) -> tuple[Array, State, Grads]:
    """Backpropagation through time over the window.

    Parameters
    ----------
    doutputs : array (T, B, H)
        Gradient of every h_t as the layer's output.
    dstate : tuple of array (B, H), or None
        Gradient of the state after the window. None is truncated BPTT: no gradient from the next window.
    cache : tuple
        From `lstm_forward`.

    Returns
    -------
    dinputs : array (T, B, D)
    dstate : tuple of array (B, H)
        Gradient of the state before the window.
    grads : dict
        "weight_ih", "weight_hh", "bias", with the shapes of the parameters.
    """
    inputs, params, hs, caches = cache
    T, B, D = inputs.shape
    H = params["weight_hh"].shape[1]
    dz = np.empty((T, B, 4 * H), dtype=hs.dtype, like=hs)
    dh_next, dc_next = (np.zeros_like(hs[0]), np.zeros_like(hs[0])) if dstate is None else dstate
    for t in reversed(range(T)):
        dh = doutputs[t] + dh_next  # h_t feeds the layer above and step t + 1
        _, dh_next, dc_next = lstm_step_backward(dh, dc_next, params["weight_hh"], caches[t], out=dz[t])
    dz = dz.reshape(T * B, 4 * H)
    grads = {  # (1), summed over all steps
        "weight_ih": deferred_matmul(dz.T, inputs.reshape(T * B, D)),
        "weight_hh": deferred_matmul(dz.T, hs[:-1].reshape(T * B, H)),
        "bias": np.ones_like(dz[:, 0]) @ dz,  # in float16, .sum() would round after each term
    }
    dinputs = matmul(dz, params["weight_ih"]).reshape(T, B, D)  # (1)
    return dinputs, (dh_next, dc_next), grads
