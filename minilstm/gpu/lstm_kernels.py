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

from minilstm.device import array_module, on_gpu
from minilstm.gpu.launch import launch_threads
from minilstm.gpu.recurrence import ROW_PRODUCTS, Product


def split_gates(gates):
    """Views of the four gates: (B, 4H) -> i, f, g, o, each (B, H)."""
    H = gates.shape[-1] // 4
    return tuple(gates[..., k * H : (k + 1) * H] for k in range(4))


UNIT_FORWARD = """
__device__ wide sigmoid(wide z) { return (1 + tanh(z / 2)) / 2; }

// Unit j in row b of the batch; r_i, r_f, r_g and r_o are its four numbers of W_hh h_{t-1}.
__device__ void unit_forward(int b, int j, wide r_i, wide r_f, wide r_g, wide r_o, real* gates, const real* cell_prev,
                             real* cell, real* tanh_cell, real* hidden, wide forget_bias, int H)
{
    int n = b * H + j, k = b * 4 * H + j;           // its places in (B, H) and, for z_i, in (B, 4H); z_f is H further
    wide i = sigmoid((wide)gates[k] + r_i);
    wide f = sigmoid((wide)gates[k + H] + r_f + forget_bias);
    wide g = tanh((wide)gates[k + 2 * H] + r_g);
    wide o = sigmoid((wide)gates[k + 3 * H] + r_o);
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

GATES_FORWARD = (
    UNIT_FORWARD
    + """
extern "C" __global__ void gates_forward(const real* recurrent, real* gates, const real* cell_prev, real* cell,
                                         real* tanh_cell, real* hidden, wide forget_bias, int B, int H)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x, b = n / H, j = n % H;  // this thread's row and unit
    if (b >= B) return;
    const real* r = recurrent + b * 4 * H + j;
    unit_forward(b, j, r[0], r[H], r[2 * H], r[3 * H], gates, cell_prev, cell, tanh_cell, hidden, forget_bias, H);
}
"""
)

GATES_FORWARD_WITH_PRODUCT = (
    UNIT_FORWARD
    + ROW_PRODUCTS
    + """
extern "C" __global__ void gates_forward_with_product(const real* rows, const real* columns, real* gates,
                                                      const real* cell_prev, real* cell, real* tanh_cell, real* hidden,
                                                      wide forget_bias, int B, int H)
{
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, j = warp % H, first = warp / H * ROWS;
    if (first >= B) return;
    wide r[4];
    row_products<4>(r, rows, columns + (long long)j * H, H * H, first, B, H);
    int thread = threadIdx.x % WARP, b = first + thread;
    if (thread >= ROWS || b >= B) return;
    unit_forward(b, j, r[0], r[1], r[2], r[3], gates, cell_prev, cell, tanh_cell, hidden, forget_bias, H);
}
"""
)


def gates_forward(gates, recurrent, cell_prev, cell, tanh_cell, hidden, forget_bias=0.0):
    """One step forward, in place.

    Parameters
    ----------
    gates : array (B, 4H)
        W_ih x_t + b on entry; the activations i, f, g, o on return.
    recurrent : array (B, 4H), or Product
        W_hh h_{t-1}, the other part of z_t; from `row_product`.
    cell_prev : array (B, H)
        c_{t-1}.
    cell, tanh_cell, hidden : array (B, H)
        Receive c_t, tanh(c_t) and h_t.
    forget_bias : float
        Added to z_f.
    """
    if on_gpu(gates):
        arrays = gates, cell_prev, cell, tanh_cell, hidden
        return launch_gates(GATES_FORWARD, GATES_FORWARD_WITH_PRODUCT, recurrent, arrays, forget_bias)
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


UNIT_BACKWARD = """
// Unit j in row b of the batch; dh is the whole gradient of its h_t.
__device__ void unit_backward(int b, int j, wide dh, const real* dcell, const real* gates, const real* cell_prev,
                              const real* tanh_cell, real* dgates, real* dcell_prev, int H)
{
    int n = b * H + j, k = b * 4 * H + j;           // as in unit_forward
    wide i = gates[k], f = gates[k + H], g = gates[k + 2 * H], o = gates[k + 3 * H], tanh_c = tanh_cell[n];
    wide dc = (wide)dcell[n] + dh * o * (1 - tanh_c * tanh_c);
    dgates[k + 3 * H] = dh * tanh_c * o * (1 - o);
    dgates[k] = dc * g * i * (1 - i);
    dgates[k + H] = dc * (wide)cell_prev[n] * f * (1 - f);
    dgates[k + 2 * H] = dc * i * (1 - g * g);
    dcell_prev[n] = dc * f;
}
"""

GATES_BACKWARD = (
    UNIT_BACKWARD
    + """
extern "C" __global__ void gates_backward(const real* dh_next, const real* doutputs, const real* dcell,
                                          const real* gates, const real* cell_prev, const real* tanh_cell,
                                          real* dgates, real* dcell_prev, int B, int H)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x, b = n / H, j = n % H;  // as in gates_forward
    if (b >= B) return;
    wide dh = (wide)doutputs[n] + (wide)dh_next[n];
    unit_backward(b, j, dh, dcell, gates, cell_prev, tanh_cell, dgates, dcell_prev, H);
}
"""
)

GATES_BACKWARD_WITH_PRODUCT = (
    UNIT_BACKWARD
    + ROW_PRODUCTS
    + """
extern "C" __global__ void gates_backward_with_product(const real* rows, const real* columns, const real* doutputs,
                                                       const real* dcell, const real* gates, const real* cell_prev,
                                                       const real* tanh_cell, real* dgates, real* dcell_prev,
                                                       int B, int H)
{
    int warp = (blockIdx.x * blockDim.x + threadIdx.x) / WARP, j = warp % H, first = warp / H * ROWS;
    if (first >= B) return;
    wide dh_next[1];
    row_products<1>(dh_next, rows, columns + (long long)j * 4 * H, 0, first, B, 4 * H);
    int thread = threadIdx.x % WARP, b = first + thread;
    if (thread >= ROWS || b >= B) return;
    wide dh = (wide)doutputs[b * H + j] + dh_next[0];
    unit_backward(b, j, dh, dcell, gates, cell_prev, tanh_cell, dgates, dcell_prev, H);
}
"""
)


def gates_backward(doutputs, dh_next, dcell, gates, cell_prev, tanh_cell, dgates):
    """One step backward: the mirror of `gates_forward`, last line first.

    Parameters
    ----------
    doutputs, dh_next : array (B, H)
        The two parts of dh_t: from the layer above, and W_hh^T dz_{t+1} from step t + 1, which may be a `Product`.
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
        arrays = doutputs, dcell, gates, cell_prev, tanh_cell, dgates, dcell_prev
        launch_gates(GATES_BACKWARD, GATES_BACKWARD_WITH_PRODUCT, dh_next, arrays)
        return dcell_prev
    i, f, g, o = split_gates(gates)
    dz_i, dz_f, dz_g, dz_o = split_gates(dgates)
    dhidden = doutputs + dh_next
    dz_o[...] = dhidden * tanh_cell * o * (1 - o)
    dcell = dcell + dhidden * o * (1 - tanh_cell * tanh_cell)
    dz_i[...] = dcell * g * i * (1 - i)
    dz_f[...] = dcell * cell_prev * f * (1 - f)
    dz_g[...] = dcell * i * (1 - g * g)
    return dcell * f


def launch_gates(text, text_with_product, recurrent, arrays, *numbers):
    """Launch the kernel for a recurrent part that is an array, or the one that does its `Product`."""
    B, H = arrays[-1].shape
    numbers = [*map(float, numbers), B, H]
    if isinstance(recurrent, Product):
        launch_threads(text_with_product, recurrent.threads(H), (*recurrent, *arrays), *numbers)
    else:
        launch_threads(text, B * H, (recurrent, *arrays), *numbers)
