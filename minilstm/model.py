"""The language model: embedding, stacked LSTM layers with dropout between them, softmax.

    x_t -> W[x_t] -> dropout -> LSTM 0 -> dropout -> ... -> LSTM L-1 -> dropout -> softmax -> cost of x_{t+1}

Zaremba et al., arXiv 1409.2329, figure 2: dropout on the arrows that go up, never on those that go right in time.

Parameters are a plain dict, name -> array, named and shaped as in PyTorch's word-language-model example:
encoder.weight (V, H), rnn.weight_ih_l{k} (4H, H), rnn.weight_hh_l{k} (4H, H), rnn.bias_ih_l{k} (4H,),
decoder.weight (V, H), decoder.bias (V,). Gradients are a dict with the same names.
"""

import numpy as np

from minilstm.layers.dropout import dropout_backward, dropout_forward, dropout_mask, dropout_mask_on_gpu
from minilstm.layers.embedding import embedding_backward, embedding_forward
from minilstm.layers.lstm import lstm_backward, lstm_forward
from minilstm.layers.softmax import logits_forward, softmax_backward, softmax_forward

LSTM_NAMES = {"weight_ih": "rnn.weight_ih_l{}", "weight_hh": "rnn.weight_hh_l{}", "bias": "rnn.bias_ih_l{}"}


def param_shapes(config, vocab_size):
    """Name -> shape of every parameter, in the order in which the initial weights are drawn."""
    H = config.hidden_size
    shapes = {"encoder.weight": (vocab_size, H)}
    for k in range(config.num_layers):
        shapes |= {f"rnn.weight_ih_l{k}": (4 * H, H), f"rnn.weight_hh_l{k}": (4 * H, H), f"rnn.bias_ih_l{k}": (4 * H,)}
    return shapes | {"decoder.weight": (vocab_size, H), "decoder.bias": (vocab_size,)}


def init_params(config, vocab_size, xp):
    """RandomInputs the initial weights: uniform in +-init_scale, LSTM biases zero.

    They are drawn on the host in float64, so that one seed means one start on every device and in every precision.

    Parameters
    ----------
    config : Config
        init_scale, hidden_size, num_layers, dtype and seed are used.
    vocab_size : int
    xp : module
        numpy or cupy: where the parameters shall live.

    Returns
    -------
    params : dict of array
    """
    rng = np.random.default_rng(config.seed)
    params = {}
    for name, shape in param_shapes(config, vocab_size).items():
        if name.startswith("rnn.bias"):
            params[name] = xp.zeros(shape, dtype=weights_dtype(config))
        else:
            values = rng.uniform(-config.init_scale, config.init_scale, shape)
            params[name] = xp.asarray(values.astype(weights_dtype(config)))
    return params


def weights_dtype(config):
    """dtype of the parameters: with half precision float32, see mixed.py."""
    return "float32" if config.dtype == "float16" else config.dtype


def zero_state(config, batch_size, xp):
    """The state at the start of an epoch: for each layer h and c, zeros (B, H)."""
    shape = batch_size, config.hidden_size
    return [
        (xp.zeros(shape, dtype=config.dtype), xp.zeros(shape, dtype=config.dtype)) for _ in range(config.num_layers)
    ]


def draw_masks(config, step, shape, xp):
    """RandomInputs the dropout masks of one training step: for the embedded input and for each layer's output.

    Each step has a random stream of its own, whose key is (seed, step): a resumed run draws what the uninterrupted one
    would, on any device.

    Parameters
    ----------
    config : Config
        keep_prob, hidden_size, num_layers, dtype and seed are used.
    step : int
        Training steps before this one, over all epochs.
    shape : tuple of int
        (T, B).
    xp : module
        numpy or cupy.

    Returns
    -------
    masks : array (num_layers + 1, T, B, H), or None where keep_prob is 1
    """
    if config.keep_prob == 1.0:
        return None
    shape = (config.num_layers + 1, *shape, config.hidden_size)
    if xp.__name__ == "cupy":
        return dropout_mask_on_gpu(config.seed, step, shape, config.keep_prob, config.dtype, xp)
    rng = np.random.Generator(np.random.Philox(key=[config.seed, step]))
    return xp.asarray(dropout_mask(rng, shape, config.keep_prob, config.dtype))


def layer_params(params, k):
    """The parameters of LSTM layer k under the names that lstm.py uses."""
    return {short: params[name.format(k)] for short, name in LSTM_NAMES.items()}


def decoder_params(params):
    """The parameters of the softmax layer under the names that softmax.py uses."""
    return {"weight": params["decoder.weight"], "bias": params["decoder.bias"]}


def stack_forward(params, config, inputs, state, masks=None):
    """From word ids to the top layer's outputs.

    Parameters
    ----------
    params : dict of array
    config : Config
        num_layers and forget_bias are used.
    inputs : int array (T, B)
    state : list of (h, c), each (B, H)
    masks : array (num_layers + 1, T, B, H), optional
        From `draw_masks`; without it nothing is dropped (evaluation).

    Returns
    -------
    outputs : array (T, B, H)
    state : list of (h, c), each (B, H)
        After the window.
    cache : tuple
    """
    masks = [None] * (config.num_layers + 1) if masks is None else masks
    x, embedding_cache = embedding_forward(inputs, params["encoder.weight"])
    x = dropout_forward(x, masks[0])
    new_state, lstm_caches = [], []
    for k in range(config.num_layers):
        x, layer_state, lstm_cache = lstm_forward(x, state[k], layer_params(params, k), config.forget_bias)
        x = dropout_forward(x, masks[k + 1])
        new_state.append(layer_state)
        lstm_caches.append(lstm_cache)
    return x, new_state, (embedding_cache, lstm_caches, masks)


def stack_backward(doutputs, cache):
    """From the gradient of the top layer's outputs (T, B, H) to the gradients of embedding and LSTM layers."""
    embedding_cache, lstm_caches, masks = cache
    dx, grads = doutputs, {}
    for k in reversed(range(len(lstm_caches))):
        dx = dropout_backward(dx, masks[k + 1])
        dx, _, layer_grads = lstm_backward(dx, None, lstm_caches[k])  # None: truncated BPTT
        grads |= {LSTM_NAMES[short].format(k): grad for short, grad in layer_grads.items()}
    dx = dropout_backward(dx, masks[0])
    grads["encoder.weight"] = embedding_backward(dx, embedding_cache)["weight"]
    return grads


def loss_forward(params, config, inputs, targets, state, weights=None):
    """Cost of a window without gradients, for evaluation: returns the cost, array (), and the new state."""
    x, state, _ = stack_forward(params, config, inputs, state)
    cost, _ = softmax_forward(x, targets, decoder_params(params), weights)
    return cost, state


def loss_and_gradients(params, config, inputs, targets, state, masks=None, weights=None):
    """Forward and backward pass of one window of truncated BPTT.

    Parameters
    ----------
    params : dict of array
    config : Config
    inputs, targets : int array (T, B)
        targets[t] is inputs[t + 1].
    state : list of (h, c), each (B, H)
        Carried over from the window before.
    masks : array (num_layers + 1, T, B, H), optional
        From `draw_masks`.
    weights : array (T, B), optional
        Weight of each target; ones by default.

    Returns
    -------
    cost : array ()
        Nats: summed over T, averaged over B.
    grads : dict
        Name -> array; that of encoder.weight is a `SparseGradient` (layers/embedding.py), the used rows alone.
    state : list of (h, c), each (B, H)
        After the window; no gradient flows back from it.
    """
    x, state, stack_cache = stack_forward(params, config, inputs, state, masks)
    cost, softmax_cache = softmax_forward(x, targets, decoder_params(params), weights)

    dx, decoder_grads = softmax_backward(softmax_cache)
    grads = {"decoder." + name: grad for name, grad in decoder_grads.items()}
    grads |= stack_backward(dx, stack_cache)
    return cost, grads, state


def next_word_logits(params, config, inputs, state):
    """Scores of the word that follows `inputs` (T, B): logits (B, V) and the new state, for sampling."""
    x, state, _ = stack_forward(params, config, inputs, state)
    return logits_forward(x[-1], decoder_params(params)), state
