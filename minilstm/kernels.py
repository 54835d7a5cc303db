"""The pointwise math of one LSTM step: the four gates, the cell and the hidden state.

    i, f, o = sigmoid(z_i), sigmoid(z_f + forget_bias), sigmoid(z_o)        g = tanh(z_g)
    c_t = f * c_{t-1} + i * g                                               h_t = o * tanh(c_t)

Zaremba et al., arXiv 1409.2329, section 3, in PyTorch's gate order i, f, g, o. With s' = s (1 - s) for the sigmoid
and 1 - g^2 for tanh, the chain rule read backwards gives

    dz_o = dh * tanh(c_t) * o (1 - o)            dc = (dc from step t + 1) + dh * o * (1 - tanh(c_t)^2)
    dz_i = dc * g * i (1 - i)                    dz_f = dc * c_{t-1} * f (1 - f)
    dz_g = dc * i * (1 - g^2)                    dc_{t-1} = dc * f

Results are written into arrays that the caller owns, so that those of all steps lie side by side.
"""

from minilstm.device import array_module


def split_gates(gates):
    """Views of the four gates: (B, 4H) -> i, f, g, o, each (B, H)."""
    H = gates.shape[-1] // 4
    return tuple(gates[..., k * H : (k + 1) * H] for k in range(4))


def gates_forward(gates, cell_prev, cell, tanh_cell, hidden, forget_bias=0.0):
    """One step forward, in place.

    Parameters
    ----------
    gates : array (B, 4H)
        The pre-activations z_t on entry; the activations i, f, g, o on return.
    cell_prev : array (B, H)
        c_{t-1}.
    cell, tanh_cell, hidden : array (B, H)
        Receive c_t, tanh(c_t) and h_t.
    forget_bias : float
        Added to z_f.
    """
    xp = array_module(gates)
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


def gates_backward(dhidden, dcell, gates, cell_prev, tanh_cell, dgates):
    """One step backward: the mirror of `gates_forward`, last line first.

    Parameters
    ----------
    dhidden, dcell : array (B, H)
        Gradients of h_t and of c_t (the part that comes from step t + 1).
    gates, cell_prev, tanh_cell : array (B, 4H), (B, H), (B, H)
        i, f, g, o; c_{t-1}; tanh(c_t), as the forward step left them.
    dgates : array (B, 4H)
        Receives dz_t, the gradient of the pre-activations.

    Returns
    -------
    dcell_prev : array (B, H)
        Gradient of c_{t-1}.
    """
    i, f, g, o = split_gates(gates)
    dz_i, dz_f, dz_g, dz_o = split_gates(dgates)
    dz_o[...] = dhidden * tanh_cell * o * (1 - o)
    dcell = dcell + dhidden * o * (1 - tanh_cell * tanh_cell)
    dz_i[...] = dcell * g * i * (1 - i)
    dz_f[...] = dcell * cell_prev * f * (1 - f)
    dz_g[...] = dcell * i * (1 - g * g)
    return dcell * f
