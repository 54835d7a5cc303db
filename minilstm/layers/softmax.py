"""The softmax layer: logits over the vocabulary, and the cross-entropy cost of the targets.

    s_n = W h_n + b                        W (V, H)   b (V,)   n = 1 .. N, the N = T B words of a window
    p_n = exp(s_n) / sum_v exp(s_nv)
    cost = sum_n weight_n * -log p_n[target_n] / B

the sum over the T steps of the mean over the batch, as the reference script has it. The gradient is famous:

    ds_n = (p_n - onehot(target_n)) * weight_n / B
    dW = sum_n ds_n h_n^T      db = sum_n ds_n      dh_n = W^T ds_n

Half precision is widened to float32 from the logits to the cost and back.
"""

import numpy as np

from minilstm.device import array_module, on_gpu
from minilstm.gpu.launch import BLOCK_REDUCE, launch


def logits_forward(hidden, params):
    """Scores of every word: hidden (N, H) -> logits (N, V), at least float32."""
    xp = array_module(hidden)
    logits = hidden @ params["weight"].T  # (N, V)
    logits += params["bias"]
    return logits.astype(xp.promote_types(logits.dtype, xp.float32), copy=False)


def softmax_forward(hidden, targets, params, weights=None):
    """Cost of the targets.

    Parameters
    ----------
    hidden : array (T, B, H)
    targets : int array (T, B)
    params : dict
        "weight" (V, H), "bias" (V,).
    weights : array (T, B), optional
        Weight of each target; ones by default.

    Returns
    -------
    cost : array ()
        Nats: summed over T, averaged over B.
    cache : tuple
        What `softmax_backward` needs.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"weight": np.zeros((8, 2)), "bias": np.zeros(8)}
    >>> cost, cache = softmax_forward(np.ones((1, 4, 2)), np.zeros((1, 4), dtype=int), params)
    >>> round(float(np.exp(cost)), 6)  # eight words, equally likely
    8.0
    """
    xp = array_module(hidden)
    T, B, H = hidden.shape
    hidden = hidden.reshape(T * B, H)
    targets = targets.reshape(T * B)
    p = logits_forward(hidden, params)  # (N, V): the logits; in place exp(logits - max), p up to a factor of each row
    weights = xp.ones(T * B, dtype=p.dtype) if weights is None else weights.reshape(T * B).astype(p.dtype)

    total, target_logits = exp_rows(p, targets)  # (N,): p_target = exp(target_logit) / total
    cost = (weights * (xp.log(total) - target_logits)).sum() / B

    return cost, (hidden, targets, params, weights, p, total, (T, B, H))


def softmax_backward(cache):
    """Gradient of the cost.

    Parameters
    ----------
    cache : tuple
        From `softmax_forward`; spent by this call, which works in place.

    Returns
    -------
    dhidden : array (T, B, H)
    grads : dict
        "weight" (V, H), "bias" (V,).
    """
    hidden, targets, params, weights, p, total, (T, B, H) = cache
    xp = array_module(hidden)

    softmax_gradient(p, total, targets, weights / B)  # (N, V): in place of p, the gradient of the logits
    dlogits = p.astype(hidden.dtype, copy=False)
    grads = {"weight": dlogits.T @ hidden, "bias": xp.ones(T * B, dtype=dlogits.dtype) @ dlogits}
    dhidden = (dlogits @ params["weight"]).reshape(T, B, H)

    return dhidden, grads


EXP_ROWS = (
    BLOCK_REDUCE
    + """
extern "C" __global__ void exp_rows(wide* p, const long long* targets, wide* total, wide* target_logits, int V)
{
    __shared__ wide shared[256];
    int n = blockIdx.x;                             // a block does a row, each thread every blockDim.x-th word of it
    wide* row = p + (long long)n * V;
    wide largest = row[0], sum = 0;
    for (int v = threadIdx.x; v < V; v += blockDim.x) largest = fmax(largest, (wide)row[v]);
    largest = block_reduce(largest, shared, true);
    if (threadIdx.x == 0) target_logits[n] = row[targets[n]] - largest;
    __syncthreads();                                // the target's logit is read: now it may be overwritten
    for (int v = threadIdx.x; v < V; v += blockDim.x) sum += row[v] = exp(row[v] - largest);
    sum = block_reduce(sum, shared, false);
    if (threadIdx.x == 0) total[n] = sum;
}
"""
)


def exp_rows(p, targets):
    """Logits to exponentials, in place: p up to a factor of each row, and what the cost needs.

    Parameters
    ----------
    p : array (N, V), float32 or float64
        Logits s on entry; exp(s - max(s)), each row with its own largest, on return.
    targets : int array (N,)

    Returns
    -------
    total : array (N,)
        Sum of each row of p.
    target_logits : array (N,)
        s - max(s) of the target.
    """
    xp = array_module(p)
    N, V = p.shape
    if on_gpu(p):
        total, target_logits = xp.empty(N, dtype=p.dtype), xp.empty(N, dtype=p.dtype)
        launch(EXP_ROWS, N, (p, targets.astype("int64", copy=False), total, target_logits), (np.int32(V),))
        return total, target_logits
    p -= p.max(axis=1, keepdims=True)  # softmax does not change, and exp cannot overflow
    target_logits = p[xp.arange(N), targets]  # (N,)
    xp.exp(p, out=p)
    total = p @ xp.ones(V, dtype=p.dtype)  # (N,): a sum as a product, so that every core adds
    return total, target_logits


SOFTMAX_GRADIENT = """
extern "C" __global__ void softmax_gradient(wide* p, const wide* total, const long long* targets,
                                            const wide* weights, int V)
{
    int n = blockIdx.x;                             // a block does a row, as in exp_rows
    wide* row = p + (long long)n * V;
    for (int v = threadIdx.x; v < V; v += blockDim.x) row[v] = (row[v] / total[n] - (v == targets[n])) * weights[n];
}
"""


def softmax_gradient(p, total, targets, weights):
    """Gradient of the logits, (p - onehot(target)) * weight, in place of p as `exp_rows` left it.

    Parameters
    ----------
    p : array (N, V)
    total, weights : array (N,)
    targets : int array (N,)
    """
    N, V = p.shape
    if on_gpu(p):
        return launch(SOFTMAX_GRADIENT, N, (p, total, targets.astype("int64", copy=False), weights), (np.int32(V),))
    p *= (weights / total)[:, None]
    p[array_module(p).arange(N), targets] -= weights
