"""The language model: embedding, stacked LSTM layers with dropout between them, a linear layer, softmax.

    x_t -> W[x_t] -> dropout -> LSTM 0 -> dropout -> ... -> LSTM L-1 -> dropout -> linear -> softmax -> loss of x_{t+1}

Zaremba et al., arXiv 1409.2329, figure 2: dropout on the vertical connections between layers, never on the horizontal
ones through time. (Weight drop acts on those, but by changing W_hh: arXiv 1708.02182.)

Parameters are a plain dict, name -> array, with the names and shapes of PyTorch's word-language-model example:
encoder.weight (V, E), rnn.weight_ih_l{k} (4H, D), rnn.weight_hh_l{k} (4H, H), rnn.bias_ih_l{k} (4H,),
decoder.weight (V, H), decoder.bias (V,). The first layer has D = E, the others H. Gradients are a dict with the same
names.

With tied weights (Press and Wolf, arXiv 1608.05859; Inan et al., arXiv 1611.01462) the decoder's is the embedding:

    logits = W h + b,  x_t = W[w_t]          dW = that of the linear layer + that of the embedding

There is no decoder.weight then, and the last layer has E units.

`kernels` is one of two sets of the same functions: minilstm.plain or, on a GPU, minilstm.gpu.fused.
"""

from itertools import pairwise

import numpy as np

from minilstm import plain
from minilstm.config import Config, layer_sizes
from minilstm.layers.regularization import activation_backward, temporal_backward
from minilstm.masks import Masks, no_masks
from minilstm.types import Array, ArrayModule, Cache, Grads, Kernels, Params, State

LSTM_NAMES = {"weight_ih": "rnn.weight_ih_l{}", "weight_hh": "rnn.weight_hh_l{}", "bias": "rnn.bias_ih_l{}"}


def param_shapes(config: Config, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter, in the order of initialization."""
    sizes = layer_sizes(config)
    shapes: dict[str, tuple[int, ...]] = {"encoder.weight": (vocab_size, sizes[0])}
    for k, (D, H) in enumerate(pairwise(sizes)):
        shapes |= {f"rnn.weight_ih_l{k}": (4 * H, D), f"rnn.weight_hh_l{k}": (4 * H, H), f"rnn.bias_ih_l{k}": (4 * H,)}
    if not config.tie_weights:
        shapes["decoder.weight"] = vocab_size, sizes[-1]
    return shapes | {"decoder.bias": (vocab_size,)}


def init_params(config: Config, vocab_size: int, xp: ArrayModule = np) -> Params:
    """Draw the initial weights: uniform in +-init_scale, or embedding_init_scale for the embedding; LSTM biases zero.

    They are drawn on the host in float64, so that a seed gives the same weights on every device and in every precision.

    Parameters
    ----------
    config : Config
        Its init_scale, dtype, seed and those of `layer_sizes` are used.
    vocab_size : int
    xp : module
        numpy or cupy: the device of the parameters.

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
            scale = (name == "encoder.weight" and config.embedding_init_scale) or config.init_scale
            values = rng.uniform(-scale, scale, shape)
            params[name] = xp.asarray(values.astype(weights_dtype(config)))
    return params


def weights_dtype(config: Config) -> str:
    """dtype of the parameters: float32 with half precision, see mixed_precision.py."""
    return "float32" if config.dtype == "float16" else config.dtype


def zero_state(config: Config, batch_size: int, like: Array | None = None) -> list[State]:
    """The state at the start of an epoch: zeros (B, H) for h and c of each layer, on the device of the array `like`."""

    def zeros(H: int) -> Array:
        return np.zeros((batch_size, H), dtype=config.dtype, like=like)

    return [(zeros(H), zeros(H)) for H in layer_sizes(config)[1:]]


def layer_params(params: Params, k: int) -> Params:
    """The parameters of LSTM layer k, named as in lstm.py."""
    return {short: params[name.format(k)] for short, name in LSTM_NAMES.items()}


def decoder_params(params: Params) -> Params:
    """The parameters of the linear layer, named as in linear.py; tied weights are the embedding's."""
    return {"weight": params.get("decoder.weight", params["encoder.weight"]), "bias": params["decoder.bias"]}


def stack_forward(
    params: Params,
    config: Config,
    inputs: Array,
    state: list[State],
    masks: Masks | None = None,
    kernels: Kernels = plain,
) -> tuple[Array, list[State], Cache]:
    """From word ids (T, B) to the top layer's outputs (T, B, H), the state after the window, and a cache.

    Parameters are as for `loss_and_gradients`. Without masks there is no dropout, as in evaluation.
    """
    masks = masks or no_masks(config)
    x, embedding_cache = kernels.embedding_forward(inputs, params["encoder.weight"])
    word_mask = None if masks.words is None else masks.words[inputs]  # (T, B, 1)
    x = kernels.dropout_forward(kernels.dropout_forward(x, word_mask), masks.layers[0])
    outputs, new_state, lstm_caches = x, [], []
    for k in range(config.num_layers):
        layer = layer_params(params, k)
        layer["weight_hh"] = kernels.dropout_forward(layer["weight_hh"], masks.weights[k])
        outputs, layer_state, lstm_cache = kernels.lstm_forward(x, state[k], layer, config.forget_bias)
        x = kernels.dropout_forward(outputs, masks.layers[k + 1])
        new_state.append(layer_state)
        lstm_caches.append(lstm_cache)
    return x, new_state, (embedding_cache, lstm_caches, (word_mask, masks, outputs, x))


def stack_backward(
    dx: Array, config: Config, cache: Cache, loss_weights: Array | None = None, kernels: Kernels = plain
) -> Grads:
    """From the gradient of the top layer's outputs (T, B, H) to the gradients of the embedding and the LSTM layers.

    The gradient of W_hh is still that of the masked weights.
    """
    embedding_cache, lstm_caches, (word_mask, masks, outputs, x) = cache
    grads: Grads = {}
    if config.activation_reg:
        dx = dx + activation_backward(x, config.activation_reg, loss_weights)
    for k in reversed(range(len(lstm_caches))):
        dx = kernels.dropout_backward(dx, masks.layers[k + 1])
        if config.temporal_reg and k == len(lstm_caches) - 1:
            dx = dx + temporal_backward(outputs, config.temporal_reg, loss_weights)
        dx, _, layer_grads = kernels.lstm_backward(dx, None, lstm_caches[k])  # None: truncated BPTT
        grads |= {LSTM_NAMES[short].format(k): grad for short, grad in layer_grads.items()}
    dx = kernels.dropout_backward(kernels.dropout_backward(dx, masks.layers[0]), word_mask)
    grads["encoder.weight"] = kernels.embedding_backward(dx, embedding_cache)["weight"]
    return grads


def loss_forward(
    params: Params,
    config: Config,
    inputs: Array,
    targets: Array,
    state: list[State],
    loss_weights: Array | None = None,
    kernels: Kernels = plain,
) -> tuple[Array, list[State]]:
    """Loss of a window without gradients, for evaluation: the loss, array (), and the new state."""
    x, state, _ = stack_forward(params, config, inputs, state, kernels=kernels)
    logits, _ = kernels.linear_forward(x, decoder_params(params))  # (T, B, V)
    loss, _ = kernels.softmax_cross_entropy_forward(logits, targets, loss_weights)
    return loss, state


def loss_and_gradients(
    params: Params,
    config: Config,
    inputs: Array,
    targets: Array,
    state: list[State],
    masks: Masks | None = None,
    loss_weights: Array | None = None,
    kernels: Kernels = plain,
) -> tuple[Array, Grads, list[State]]:
    """Forward and backward pass of one window of truncated BPTT.

    Parameters
    ----------
    params : dict of array
    config : Config
    inputs, targets : int array (T, B)
        targets[t] is inputs[t + 1].
    state : list of (h, c), each (B, H)
        Carried over from the previous window.
    masks : Masks, optional
        From `draw_masks`.
    loss_weights : array (T, B), optional
        Weight of each target, and of the penalties of its step; ones by default.
    kernels : module
        minilstm.plain or minilstm.gpu.fused.

    Returns
    -------
    loss : array ()
        Nats: summed over T, averaged over B, without the penalties of layers/regularization.py.
    grads : dict
        Of the loss with the penalties: name -> array; for encoder.weight a `SparseGradient`, unless weights are tied.
    state : list of (h, c), each (B, H)
        State after the window; no gradient flows back from it.

    Raises
    ------
    IndexError
        If an input or target is not in the vocabulary.
    """
    x, state, stack_cache = stack_forward(params, config, inputs, state, masks, kernels)
    logits, linear_cache = kernels.linear_forward(x, decoder_params(params))  # (T, B, V)
    loss, softmax_cache = kernels.softmax_cross_entropy_forward(logits, targets, loss_weights)

    with kernels.deferred_products():  # of weight gradients: nothing in the backward pass needs them
        dlogits = kernels.softmax_cross_entropy_backward(softmax_cache)
        dx, decoder_grads = kernels.linear_backward(dlogits, linear_cache)
        grads = {"decoder." + name: grad for name, grad in decoder_grads.items()}
        grads |= stack_backward(dx, config, stack_cache, loss_weights, kernels)
    for k, mask in enumerate((masks or no_masks(config)).weights):
        name = LSTM_NAMES["weight_hh"].format(k)
        grads[name] = kernels.dropout_backward(grads[name], mask)
    if config.tie_weights:
        add_tied(grads)
    return loss, grads, state


def add_tied(grads: Grads) -> None:
    """Add the embedding's gradient to that of the linear layer, whose weight it is; in place."""
    rows, grad = grads["encoder.weight"], grads.pop("decoder.weight")
    grad[rows.ids] += rows.values.astype(grad.dtype, copy=False)  # a repeated row is written with the same values
    grads["encoder.weight"] = grad


def next_word_logits(
    params: Params, config: Config, inputs: Array, state: list[State], kernels: Kernels = plain
) -> tuple[Array, list[State]]:
    """Logits (B, V) of the word after `inputs` (T, B), and the new state, for sampling."""
    x, state, _ = stack_forward(params, config, inputs, state, kernels=kernels)
    logits, _ = kernels.linear_forward(x[-1], decoder_params(params))
    return logits, state
