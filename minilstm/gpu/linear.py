"""The linear layer on a GPU: layers/linear.py with products by cublas.py, and its gradients on the second branch."""

from minilstm.gpu.cublas import matmul
from minilstm.gpu.graph import beside
from minilstm.types import Array, Cache, Grads, Params


def linear_forward(inputs: Array, params: Params) -> tuple[Array, Cache]:
    """Inputs (..., H) -> outputs (..., V) and a cache, like `minilstm.layers.linear.linear_forward`."""
    rows = inputs.reshape(-1, inputs.shape[-1])  # (N, H)
    outputs = matmul(rows, params["weight"].T)  # (N, V)
    outputs += params["bias"]
    return outputs.reshape(*inputs.shape[:-1], -1), (rows, params)


def linear_backward(doutputs: Array, cache: Cache) -> tuple[Array, Grads]:
    """Gradient of the inputs (..., H) and grads, like `minilstm.layers.linear.linear_backward`."""
    rows, params = cache
    drows = doutputs.reshape(len(rows), -1)  # (N, V)
    with beside(drows, rows):
        grads = {"weight": matmul(drows.T, rows), "bias": drows.sum(axis=0)}  # CuPy adds half precision in float32
    dinputs = matmul(drows, params["weight"])
    return dinputs.reshape(*doutputs.shape[:-1], -1), grads
