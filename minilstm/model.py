"""The language model: embedding, stacked LSTM layers with dropout between them, a linear layer, softmax.

    x_t -> W[x_t] -> dropout -> LSTM 0 -> dropout -> ... -> LSTM L-1 -> dropout -> linear -> softmax -> loss of x_{t+1}

Zaremba et al., arXiv 1409.2329, figure 2: dropout on the vertical connections between layers, never on the horizontal
ones through time.

Parameters are a plain dict, name -> array, with the names and shapes of PyTorch's word-language-model example:
encoder.weight (V, H), rnn.weight_ih_l{k} (4H, H), rnn.weight_hh_l{k} (4H, H), rnn.bias_ih_l{k} (4H,),
decoder.weight (V, H), decoder.bias (V,). Gradients are a dict with the same names.

`kernels` is one of two sets of the same functions: minilstm.plain or, on a GPU, minilstm.gpu.fused.
"""

import numpy as np

from minilstm import plain
from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.types import Array, ArrayModule, Cache, Grads, Kernels, Params, State

LSTM_NAMES = {"weight_ih": "rnn.weight_ih_l{}", "weight_hh": "rnn.weight_hh_l{}", "bias": "rnn.bias_ih_l{}"}


def select_kernels(name: str | None, xp: ArrayModule) -> Kernels:
    """Select a set of functions: "plain", "fused", or by default fused on a GPU and plain on a CPU.

    Raises
    ------
    UserError
        For "fused" on a CPU, or for another name.
    """
    if name not in (None, "plain", "fused"):
        raise UserError(f"there are no kernels {name!r}; give one of plain, fused")
    if name == "fused" and xp is np:
        raise UserError("the fused kernels need a GPU; use the plain kernels")
    if name == "plain" or xp is np:
        return plain
    import minilstm.gpu.fused

    return minilstm.gpu.fused


def param_shapes(config: Config, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter, in the order of initialization."""
    H = config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {"encoder.weight": (vocab_size, H)}
    for k in range(config.num_layers):
        shapes |= {f"rnn.weight_ih_l{k}": (4 * H, H), f"rnn.weight_hh_l{k}": (4 * H, H), f"rnn.bias_ih_l{k}": (4 * H,)}
    return shapes | {"decoder.weight": (vocab_size, H), "decoder.bias": (vocab_size,)}


def init_params(config: Config, vocab_size: int, xp: ArrayModule = np) -> Params:
    """Draw the initial weights: uniform in +-init_scale, LSTM biases zero.

    They are drawn on the host in float64, so that a seed gives the same weights on every device and in every precision.

    Parameters
    ----------
    config : Config
        Its init_scale, hidden_size, num_layers, dtype and seed are used.
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
            values = rng.uniform(-config.init_scale, config.init_scale, shape)
            params[name] = xp.asarray(values.astype(weights_dtype(config)))
    return params


def weights_dtype(config: Config) -> str:
    """dtype of the parameters: float32 with half precision, see mixed_precision.py."""
    return "float32" if config.dtype == "float16" else config.dtype


def zero_state(config: Config, batch_size: int, like: Array | None = None) -> list[State]:
    """The state at the start of an epoch: zeros (B, H) for h and c of each layer, on the device of the array `like`."""

    def zeros() -> Array:
        return np.zeros((batch_size, config.hidden_size), dtype=config.dtype, like=like)

    return [(zeros(), zeros()) for _ in range(config.num_layers)]


def draw_masks(config: Config, step: int, inputs: Array, kernels: Kernels = plain) -> Array | None:
    """Draw the dropout masks of one training step: for the embedded input and for each layer's output.

    Each step has its own random stream with the key (seed, step), so a resumed run draws the same masks as an
    uninterrupted one, on any device.

    Parameters
    ----------
    config : Config
        Its keep_prob, hidden_size, num_layers, dtype and seed are used.
    step : int
        Number of training steps before this one, over all epochs.
    inputs : int array (T, B)
        The step's inputs: they give the masks' T, B and device.
    kernels : module

    Returns
    -------
    masks : array (num_layers + 1, T, B, H), or None if keep_prob is 1
    """
    if config.keep_prob == 1.0:
        return None
    shape = (config.num_layers + 1, *inputs.shape, config.hidden_size)
    return kernels.dropout_masks(config.seed, step, shape, config.keep_prob, config.dtype, inputs)


def layer_params(params: Params, k: int) -> Params:
    """The parameters of LSTM layer k, named as in lstm.py."""
    return {short: params[name.format(k)] for short, name in LSTM_NAMES.items()}


def decoder_params(params: Params) -> Params:
    """The parameters of the linear layer, named as in linear.py."""
    return {"weight": params["decoder.weight"], "bias": params["decoder.bias"]}


def stack_forward(
    params: Params,
    config: Config,
    inputs: Array,
    state: list[State],
    masks: Array | None = None,
    kernels: Kernels = plain,
) -> tuple[Array, list[State], Cache]:
    """From word ids (T, B) to the top layer's outputs (T, B, H), the state after the window, and a cache.

    Parameters are as for `loss_and_gradients`. Without masks there is no dropout, as in evaluation.
    """
    layer_masks = [None] * (config.num_layers + 1) if masks is None else masks
    x, embedding_cache = kernels.embedding_forward(inputs, params["encoder.weight"])
    x = kernels.dropout_forward(x, layer_masks[0])
    new_state, lstm_caches = [], []
    for k in range(config.num_layers):
        x, layer_state, lstm_cache = kernels.lstm_forward(x, state[k], layer_params(params, k), config.forget_bias)
        x = kernels.dropout_forward(x, layer_masks[k + 1])
        new_state.append(layer_state)
        lstm_caches.append(lstm_cache)
    return x, new_state, (embedding_cache, lstm_caches, layer_masks)


def stack_backward(dx: Array, cache: Cache, kernels: Kernels = plain) -> Grads:
    """From the gradient of the top layer's outputs (T, B, H) to the gradients of the embedding and the LSTM layers."""
    embedding_cache, lstm_caches, layer_masks = cache
    grads: Grads = {}
    for k in reversed(range(len(lstm_caches))):
        dx = kernels.dropout_backward(dx, layer_masks[k + 1])
        dx, _, layer_grads = kernels.lstm_backward(dx, None, lstm_caches[k])  # None: truncated BPTT
        grads |= {LSTM_NAMES[short].format(k): grad for short, grad in layer_grads.items()}
    dx = kernels.dropout_backward(dx, layer_masks[0])
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
    masks: Array | None = None,
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
    masks : array (num_layers + 1, T, B, H), optional
        From `draw_masks`.
    loss_weights : array (T, B), optional
        Weight of each target; ones by default.
    kernels : module
        minilstm.plain or minilstm.gpu.fused.

    Returns
    -------
    loss : array ()
        Nats: summed over T, averaged over B.
    grads : dict
        Name -> array; for encoder.weight a `SparseGradient`.
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
        grads |= stack_backward(dx, stack_cache, kernels)
    return loss, grads, state


def next_word_logits(
    params: Params, config: Config, inputs: Array, state: list[State], kernels: Kernels = plain
) -> tuple[Array, list[State]]:
    """Logits (B, V) of the word after `inputs` (T, B), and the new state, for sampling."""
    x, state, _ = stack_forward(params, config, inputs, state, kernels=kernels)
    logits, _ = kernels.linear_forward(x[-1], decoder_params(params))
    return logits, state
