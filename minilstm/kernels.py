"""The pointwise math: NumPy lines, and beside them the CUDA kernels that do the same on a GPU in one pass each.

    i, f, o = sigmoid(z_i), sigmoid(z_f + forget_bias), sigmoid(z_o)        g = tanh(z_g)
    c_t = f * c_{t-1} + i * g                                               h_t = o * tanh(c_t)

Zaremba et al., arXiv 1409.2329, section 3, in PyTorch's gate order i, f, g, o. With s' = s (1 - s) for the sigmoid
and 1 - g^2 for tanh, the chain rule read backwards gives

    dz_o = dh * tanh(c_t) * o (1 - o)            dc = (dc from step t + 1) + dh * o * (1 - tanh(c_t)^2)
    dz_i = dc * g * i (1 - i)                    dz_f = dc * c_{t-1} * f (1 - f)
    dz_g = dc * i * (1 - g^2)                    dc_{t-1} = dc * f

Results are written into arrays that the caller owns, so that those of all steps lie side by side.

On a GPU every NumPy line would be a kernel: a launch that costs microseconds, and a way through memory and back. A
CUDA kernel is a C function which each thread runs for its own element, with all that the lines do in registers. In its
text `real` is the type of the arrays and `wide` that of the arithmetic: float where arrays are half precision.
"""

import numpy as np

from minilstm.cuda import THREADS, launch
from minilstm.device import array_module, on_gpu


def split_gates(gates):
    """Views of the four gates: (B, 4H) -> i, f, g, o, each (B, H)."""
    H = gates.shape[-1] // 4
    return tuple(gates[..., k * H : (k + 1) * H] for k in range(4))


GATES_FORWARD = """
__device__ wide sigmoid(wide z) { return (1 + tanh(z / 2)) / 2; }

extern "C" __global__ void gates_forward(real* gates, const real* recurrent, const real* cell_prev, real* cell,
                                         real* tanh_cell, real* hidden, wide forget_bias, int B, int H)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x;  // this thread's unit: n % H, in row n / H of the batch
    if (n >= B * H) return;
    int k = n / H * 4 * H + n % H;                  // where its z_i is; z_f, z_g and z_o are H, 2H and 3H further
    wide i = sigmoid((wide)gates[k] + (wide)recurrent[k]);
    wide f = sigmoid((wide)gates[k + H] + (wide)recurrent[k + H] + forget_bias);
    wide g = tanh((wide)gates[k + 2 * H] + (wide)recurrent[k + 2 * H]);
    wide o = sigmoid((wide)gates[k + 3 * H] + (wide)recurrent[k + 3 * H]);
    wide c = f * (wide)cell_prev[n] + i * g;
    wide tanh_c = tanh(c);
    gates[k] = i;
    gates[k + H] = f;
    gates[k + 2 * H] = g;
    gates[k + 3 * H] = o;
    cell[n] = c;
    tanh_cell[n] = tanh_c;
    hidden[n] = o * tanh_c;
}
"""


def gates_forward(gates, recurrent, cell_prev, cell, tanh_cell, hidden, forget_bias=0.0):
    """One step forward, in place.

    Parameters
    ----------
    gates : array (B, 4H)
        W_ih x_t + b on entry; the activations i, f, g, o on return.
    recurrent : array (B, 4H)
        W_hh h_{t-1}, the other part of z_t.
    cell_prev : array (B, H)
        c_{t-1}.
    cell, tanh_cell, hidden : array (B, H)
        Receive c_t, tanh(c_t) and h_t.
    forget_bias : float
        Added to z_f.
    """
    if on_gpu(gates):
        return launch_rows(GATES_FORWARD, (gates, recurrent, cell_prev, cell, tanh_cell, hidden), forget_bias)
    xp = array_module(gates)
    gates += recurrent
    i, f, g, o = split_gates(gates)
    i_and_f = gates[..., : 2 * cell.shape[-1]]
    if forget_bias:
        f += forget_bias
    # sigmoid(z) = (1 + tanh(z/2)) / 2, so that one tanh pass serves all four gates and no exp overflows
    for sigmoid_gates in (i_and_f, o):
        sigmoid_gates *= 0.5
    xp.tanh(gates, out=gates)
    for sigmoid_gates in (i_and_f, o):
        sigmoid_gates += 1
        sigmoid_gates *= 0.5
    xp.multiply(f, cell_prev, out=cell)
    cell += i * g
    xp.tanh(cell, out=tanh_cell)
    xp.multiply(o, tanh_cell, out=hidden)


GATES_BACKWARD = """
extern "C" __global__ void gates_backward(const real* doutputs, const real* drecurrent, const real* dcell,
                                          const real* gates, const real* cell_prev, const real* tanh_cell,
                                          real* dgates, real* dcell_prev, int B, int H)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x;  // as in gates_forward
    if (n >= B * H) return;
    int k = n / H * 4 * H + n % H;
    wide i = gates[k], f = gates[k + H], g = gates[k + 2 * H], o = gates[k + 3 * H], tanh_c = tanh_cell[n];
    wide dh = (wide)doutputs[n] + (wide)drecurrent[n];
    wide dc = (wide)dcell[n] + dh * o * (1 - tanh_c * tanh_c);
    dgates[k + 3 * H] = dh * tanh_c * o * (1 - o);
    dgates[k] = dc * g * i * (1 - i);
    dgates[k + H] = dc * (wide)cell_prev[n] * f * (1 - f);
    dgates[k + 2 * H] = dc * i * (1 - g * g);
    dcell_prev[n] = dc * f;
}
"""


def gates_backward(doutputs, drecurrent, dcell, gates, cell_prev, tanh_cell, dgates):
    """One step backward: the mirror of `gates_forward`, last line first.

    Parameters
    ----------
    doutputs, drecurrent : array (B, H)
        The two parts of dh_t: from the layer above, and W_hh^T dz_{t+1} from step t + 1.
    dcell : array (B, H)
        The part of dc_t that comes from step t + 1.
    gates, cell_prev, tanh_cell : array (B, 4H), (B, H), (B, H)
        i, f, g, o; c_{t-1}; tanh(c_t), as the forward step left them.
    dgates : array (B, 4H)
        Receives dz_t, the gradient of the pre-activations.

    Returns
    -------
    dcell_prev : array (B, H)
        Gradient of c_{t-1}.
    """
    if on_gpu(gates):
        dcell_prev = array_module(gates).empty_like(dcell)
        launch_rows(GATES_BACKWARD, (doutputs, drecurrent, dcell, gates, cell_prev, tanh_cell, dgates, dcell_prev))
        return dcell_prev
    i, f, g, o = split_gates(gates)
    dz_i, dz_f, dz_g, dz_o = split_gates(dgates)
    dhidden = doutputs + drecurrent
    dz_o[...] = dhidden * tanh_cell * o * (1 - o)
    dcell = dcell + dhidden * o * (1 - tanh_cell * tanh_cell)
    dz_i[...] = dcell * g * i * (1 - i)
    dz_f[...] = dcell * cell_prev * f * (1 - f)
    dz_g[...] = dcell * i * (1 - g * g)
    return dcell * f


EXP_ROWS = """
// The sum, or the largest, of one number of each thread of the block: in log2(blockDim.x) rounds the upper half of the
// threads hands its numbers to the lower half. The order is always the same, and so is the result, bit for bit.
__device__ wide block_reduce(wide value, wide* shared, bool largest)
{
    shared[threadIdx.x] = value;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            wide other = shared[threadIdx.x + half];
            shared[threadIdx.x] = largest ? fmax(shared[threadIdx.x], other) : shared[threadIdx.x] + other;
        }
    }
    __syncthreads();
    value = shared[0];
    __syncthreads();
    return value;
}

extern "C" __global__ void exp_rows(wide* p, const int* targets, wide* total, wide* target_logits, int V)
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
        launch(EXP_ROWS, N, (p, targets.astype("int32", copy=False), total, target_logits), (np.int32(V),))
        return total, target_logits
    p -= p.max(axis=1, keepdims=True)  # softmax does not change, and exp cannot overflow
    target_logits = p[xp.arange(N), targets]  # (N,)
    xp.exp(p, out=p)
    total = p @ xp.ones(V, dtype=p.dtype)  # (N,): a sum as a product, so that every core adds
    return total, target_logits


SOFTMAX_GRADIENT = """
extern "C" __global__ void softmax_gradient(wide* p, const wide* total, const int* targets, const wide* weights, int V)
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
        return launch(SOFTMAX_GRADIENT, N, (p, total, targets.astype("int32", copy=False), weights), (np.int32(V),))
    p *= (weights / total)[:, None]
    p[array_module(p).arange(N), targets] -= weights


def launch_rows(text, arrays, *numbers):
    """Launch a kernel that has a thread for each unit of each row of the last array, (B, H)."""
    B, H = arrays[-1].shape
    wide = np.float64 if arrays[0].dtype == "float64" else np.float32
    launch(text, -(-B * H // THREADS), arrays, (*map(wide, numbers), np.int32(B), np.int32(H)))
