"""The LSTM on a GPU: the loops of layers/lstm.py, with one kernel of kernels/lstm.cu per time step.

In the plain set every NumPy operation is a separate kernel: a launch of several microseconds and a pass through memory.
Here one kernel computes all gates of a step. For a small layer it also computes the recurrent product W_hh h_{t-1}; for
a large layer, whose weights it could not read from memory fast enough, cuBLAS does.
"""

from typing import Any

import numpy as np

from minilstm.gpu import launch
from minilstm.gpu.cublas import matmul
from minilstm.gpu.graph import beside
from minilstm.types import Array, Cache, Grads, Params, State

# Measured on an H100 with benchmarks/recurrence.py: up to 400 units the product in the kernel is faster than cuBLAS, at
# 512 as fast, above slower.
MAX_FUSED_HIDDEN_SIZE = 512

WARP, ROWS = 32, 4  # as in reduce.cuh and lstm.cu


def lstm_forward(inputs: Array, state: State, params: Params, forget_bias: float = 0.0) -> tuple[Array, State, Cache]:
    """Run one layer over a window; parameters and returns as for `minilstm.layers.lstm.lstm_forward`.

    Nothing is copied that need not be: outputs and the new state are views of the cache, which also refers to the state
    before the window. Change none of them before the backward pass.
    """
    T, B, D = inputs.shape
    W_hh, bias = params["weight_hh"], params["bias"]
    H = W_hh.shape[1]
    h = np.empty((T + 1, B, H), dtype=inputs.dtype, like=inputs)  # h[t + 1] is h_t; h[0] is before the window
    c = np.empty((T, B, H), dtype=inputs.dtype, like=inputs)
    tanh_c = np.empty((T, B, H), dtype=inputs.dtype, like=inputs)
    h[0], c_prev = state
    gates = matmul(inputs.reshape(T * B, D), params["weight_ih"].T)  # (T B, 4H): W_ih x_t; i, f, g, o after the step
    gates = gates.reshape(T, B, 4 * H)
    for t in range(T):
        arrays = bias, gates[t], c_prev, c[t], tanh_c[t], h[t + 1], float(forget_bias), B, H
        if H <= MAX_FUSED_HIDDEN_SIZE:
            launch_with_gemm("lstm_step_forward_with_gemm", B, H, (h[t], W_hh, *arrays))
        else:
            launch.launch("lstm", "lstm_step_forward", launch.blocks_for(B * H), (matmul(h[t], W_hh.T), *arrays))
        c_prev = c[t]
    return h[1:], (h[T], c[T - 1]), (inputs, params, state[1], h, c, tanh_c, gates)


def lstm_backward(doutputs: Array, dstate: State | None, cache: Cache) -> tuple[Array, State | None, Grads]:
    """Backpropagation through time; parameters and returns as for `minilstm.layers.lstm.lstm_backward`.

    In truncated BPTT, where `dstate` is None, nothing needs the gradient of the state before the window: it is None.
    """
    inputs, params, c_before, h, c, tanh_c, gates = cache
    T, B, D = inputs.shape
    W_hh = params["weight_hh"]
    H = W_hh.shape[1]
    fused = H <= MAX_FUSED_HIDDEN_SIZE
    if fused:
        W_hh_T = W_hh.T.copy()  # (H, 4H), contiguous; once a window
    dz = np.empty((T, B, 4 * H), dtype=inputs.dtype, like=inputs)
    dc = np.empty((T, B, H), dtype=inputs.dtype, like=inputs)  # dc[t] is the gradient of c_{t-1}
    dh_next, dc_next = (launch.NULL, launch.NULL) if dstate is None else dstate  # null pointers stand for zeros
    for t in reversed(range(T)):
        c_prev = c[t - 1] if t > 0 else c_before
        arrays = doutputs[t], dc_next, gates[t], c_prev, tanh_c[t], dz[t], dc[t], B, H
        if fused and t < T - 1:
            launch_with_gemm("lstm_step_backward_with_gemm", B, H, (dz[t + 1], W_hh_T, *arrays))
        else:
            launch.launch("lstm", "lstm_step_backward", launch.blocks_for(B * H), (dh_next, *arrays), dtype=dz.dtype)
        dc_next = dc[t]
        if not fused and (t > 0 or dstate is not None):
            dh_next = matmul(dz[t], W_hh)  # (B, H)
    if fused and dstate is not None:
        dh_next = matmul(dz[0], W_hh)
    dz = dz.reshape(T * B, 4 * H)
    with beside(dz, inputs, h):
        grads = {
            "weight_ih": matmul(dz.T, inputs.reshape(T * B, D)),
            "weight_hh": matmul(dz.T, h[:-1].reshape(T * B, H)),
            "bias": dz.sum(axis=0),  # CuPy adds half precision in float32
        }
    dinputs = matmul(dz, params["weight_ih"]).reshape(T, B, D)
    return dinputs, None if dstate is None else (dh_next, dc_next), grads


def launch_with_gemm(name: str, B: int, H: int, arguments: tuple[Any, ...]) -> None:
    """Launch a kernel with the product: a warp for each of the H units and each `ROWS` rows of the batch."""
    launch.launch("lstm", name, launch.blocks_for(WARP * H * -(-B // ROWS)), arguments)
