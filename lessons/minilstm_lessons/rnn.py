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
    states = np.empty((T + 1, B, H), dtype=inputs.dtype, like=inputs)  # states[t] is h_{t-1}: step t starts from it
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
    dz = np.empty((T, B, H), dtype=inputs.dtype, like=inputs)
    dh_next = np.zeros_like(states[0])
    for t in reversed(range(T)):
        dh = doutputs[t] + dh_next  # h_t feeds the output and step t + 1
        dz[t] = dh * (1 - states[t + 1] ** 2)
        dh_next = dz[t] @ params["weight_hh"]
    dz_flat = dz.reshape(T * B, H)
    grads = {
        "weight_ih": dz_flat.T @ inputs.reshape(T * B, D),
        "weight_hh": dz_flat.T @ states[:-1].reshape(T * B, H),
        "bias": dz_flat.sum(axis=0),
    }
    return dz @ params["weight_ih"], dh_next, grads


def random_params(rng, D, H, radius):
    """Random weights whose recurrent matrix has a given spectral radius.

    Parameters
    ----------
    rng : numpy.random.Generator
    D, H : int
        Input and hidden size.
    radius : float
        Largest absolute value of an eigenvalue of weight_hh.

    Returns
    -------
    params : dict of array
        "weight_ih" (H, D), "weight_hh" (H, H), "bias" (H,), the bias zero.

    Examples
    --------
    >>> params = random_params(np.random.default_rng(0), 3, 8, 0.9)
    >>> round(float(abs(np.linalg.eigvals(params["weight_hh"])).max()), 9)
    0.9
    """
    weight_ih = rng.standard_normal((H, D)) / D**0.5
    weight_hh = rng.standard_normal((H, H))
    weight_hh *= radius / abs(np.linalg.eigvals(weight_hh)).max()
    return {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias": np.zeros(H)}


def gradient_by_distance(params, inputs, hidden, dhidden):
    """Length of the gradient of a loss at the window's last step, k steps back in time.

    The window is cut into windows of one step, so that `rnn_backward` hands the gradient over at each of them.

    Parameters
    ----------
    params : dict of array
    inputs : array (T, B, D)
    hidden : array (B, H)
        The state before the window.
    dhidden : array (B, H)
        Gradient of the loss with respect to the last state, h_{T-1}.

    Returns
    -------
    norms : array (T + 1, B)
        norms[k] is the length of the gradient with respect to h_{T-1-k}, for each sequence of the batch; norms[T] is
        that of the state before the window.

    Examples
    --------
    With no inputs the state stays zero, where tanh has slope 1, and every step back is a product with weight_hh:

    >>> params = {"weight_ih": np.ones((2, 1)), "weight_hh": 0.5 * np.eye(2), "bias": np.zeros(2)}
    >>> gradient_by_distance(params, np.zeros((3, 1, 1)), np.zeros((1, 2)), np.array([[3.0, 4.0]]))[:, 0].tolist()
    [5.0, 2.5, 1.25, 0.625]
    """
    caches = []
    for t in range(len(inputs)):
        outputs, cache = rnn_forward(inputs[t : t + 1], hidden, params)
        hidden = outputs[-1]
        caches.append(cache)
    norms = [np.linalg.norm(dhidden, axis=1)]
    for cache in reversed(caches):
        _, dhidden, _ = rnn_backward(dhidden[None], cache)
        norms.append(np.linalg.norm(dhidden, axis=1))
    return np.stack(norms)
