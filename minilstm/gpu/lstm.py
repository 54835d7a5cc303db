"""The LSTM on a GPU: the loops of layers/lstm.py, with one kernel of kernels/lstm.cu per time step.

In the plain set every NumPy operation is a separate kernel: a launch of several microseconds and a pass through memory.
Here one kernel computes all gates of a step. For a small layer it also computes the recurrent product W_hh h_{t-1}; for
a large layer, whose weights it could not read from memory fast enough, cuBLAS does.
"""

import numpy as np

from minilstm.gpu import launch
from minilstm.types import Array, Cache, Grads, Params, State

MAX_FUSED_HIDDEN_SIZE = 512  # for the product in the kernel: an estimate; benchmarks/recurrence.py measures it
WARP, ROWS = 32, 4  # as in kernels/lstm.cu: a warp computes one unit for ROWS rows of the batch


def lstm_forward(inputs: Array, state: State, params: Params, forget_bias: float = 0.0) -> tuple[Array, State, Cache]:
    """Run one layer over a window; parameters and returns as for `minilstm.layers.lstm.lstm_forward`."""
    T, B, D = inputs.shape
    W_hh = params["weight_hh"]
    H = W_hh.shape[1]
    h = np.empty((T + 1, B, H), dtype=inputs.dtype, like=inputs)  # h[t + 1] is h_t; h[0] is before the window
    c = np.empty((T + 1, B, H), dtype=inputs.dtype, like=inputs)
    tanh_c = np.empty((T, B, H), dtype=inputs.dtype, like=inputs)
    h[0], c[0] = state
    gates = inputs.reshape(T * B, D) @ params["weight_ih"].T  # (T B, 4H): W_ih x_t + b; i, f, g, o after the step
    gates += params["bias"]
    gates = gates.reshape(T, B, 4 * H)
    for t in range(T):
        arrays = gates[t], c[t], c[t + 1], tanh_c[t], h[t + 1], float(forget_bias), B, H
        if H <= MAX_FUSED_HIDDEN_SIZE:
            launch.launch("lstm", "lstm_step_forward_with_gemm", grid_with_gemm(B, H), (h[t], W_hh, *arrays))
        else:
            launch.launch("lstm", "lstm_step_forward", launch.blocks_for(B * H), (h[t] @ W_hh.T, *arrays))
    return h[1:].copy(), (h[T].copy(), c[T].copy()), (inputs, params, h, c, tanh_c, gates)


def lstm_backward(doutputs: Array, dstate: State | None, cache: Cache) -> tuple[Array, State, Grads]:
    """Backpropagation through time; parameters and returns as for `minilstm.layers.lstm.lstm_backward`."""
    inputs, params, h, c, tanh_c, gates = cache
    T, B, D = inputs.shape
    W_hh = params["weight_hh"]
    H = W_hh.shape[1]
    fused = H <= MAX_FUSED_HIDDEN_SIZE
    if fused:
        W_hh_T = W_hh.T.copy()  # (H, 4H), contiguous; once a window
    dz = np.empty((T, B, 4 * H), dtype=inputs.dtype, like=inputs)
    dc = np.empty((T, B, H), dtype=inputs.dtype, like=inputs)  # dc[t] is the gradient of c_{t-1}
    zeros = np.zeros_like(h[0])
    dh_next, dc_next = (zeros, zeros) if dstate is None else dstate
    for t in reversed(range(T)):
        arrays = doutputs[t], dc_next, gates[t], c[t], tanh_c[t], dz[t], dc[t], B, H
        if fused and t < T - 1:
            launch.launch("lstm", "lstm_step_backward_with_gemm", grid_with_gemm(B, H), (dz[t + 1], W_hh_T, *arrays))
        else:
            launch.launch("lstm", "lstm_step_backward", launch.blocks_for(B * H), (dh_next, *arrays))
        dc_next = dc[t]
        if not fused:
            dh_next = dz[t] @ W_hh  # (B, H)
    if fused:
        dh_next = dz[0] @ W_hh
    dz = dz.reshape(T * B, 4 * H)
    grads = {
        "weight_ih": dz.T @ inputs.reshape(T * B, D),
        "weight_hh": dz.T @ h[:-1].reshape(T * B, H),
        "bias": np.ones(T * B, dtype=dz.dtype, like=dz) @ dz,
    }
    dinputs = (dz @ params["weight_ih"]).reshape(T, B, D)
    return dinputs, (dh_next, dc_next.copy()), grads


def grid_with_gemm(B: int, H: int) -> tuple[int]:
    """The grid of the kernels with the product: a warp for each of the H units and each ROWS rows."""
    return launch.blocks_for(WARP * H * -(-B // ROWS))
