"""Every layer, and the whole model, as a (loss, gradients) function: what ``minilstm gradcheck`` and the tests check.

A layer's output y is turned into a loss by a fixed random array r of the same shape: L = sum(r * y), so dL/dy = r.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minilstm.config import PRESETS
from minilstm.gradcheck import check_gradients
from minilstm.layers.dropout import dropout_backward, dropout_forward, dropout_mask
from minilstm.layers.embedding import embedding_backward, embedding_forward
from minilstm.layers.lstm import lstm_backward, lstm_forward
from minilstm.layers.softmax import softmax_backward, softmax_forward
from minilstm.model import draw_masks, loss_and_gradients, param_shapes

BOUND = 1e-7  # largest relative error of a gradient that is right


class Shapes(NamedTuple):
    """T num_steps, B batch_size, D input size, H hidden_size, V vocab_size, L num_layers."""

    T: int = 5
    B: int = 3
    D: int = 4
    H: int = 6
    V: int = 11
    L: int = 2


class GradcheckCase(NamedTuple):
    """What `check_gradients` takes: a layer's name, its (loss, gradients) function, and where to check it."""

    layer: str
    function: Any
    params: dict


class RandomInputs:
    """Random float64 arrays and ids of one seed, on one device."""

    def __init__(self, seed, xp):
        self.rng, self.xp = np.random.default_rng(seed), xp

    def normal(self, *shape, scale=1.0):
        return self.xp.asarray(scale * self.rng.standard_normal(shape))

    def ids(self, high, *shape):
        return self.xp.asarray(self.rng.integers(high, size=shape))


def embedding_case(shapes, draw):
    """Embedding, with words that repeat."""
    ids = draw.ids(shapes.V, shapes.T, shapes.B)
    r = draw.normal(shapes.T, shapes.B, shapes.D)

    def function(params):
        outputs, cache = embedding_forward(ids, params["weight"])
        return (r * outputs).sum(), {"weight": embedding_backward(r, cache)["weight"].to_dense(shapes.V)}

    return GradcheckCase("embedding", function, {"weight": draw.normal(shapes.V, shapes.D)})


def dropout_case(shapes, draw):
    """Dropout under one fixed mask."""
    shape = shapes.T, shapes.B, shapes.D
    mask = draw.xp.asarray(dropout_mask(np.random.default_rng(0), shape, 0.6, "float64"))
    r = draw.normal(*shape)

    def function(params):
        return (r * dropout_forward(params["inputs"], mask)).sum(), {"inputs": dropout_backward(r, mask)}

    return GradcheckCase("dropout", function, {"inputs": draw.normal(*shape)})


def lstm_case(shapes, draw, forget_bias=0.7):
    """LSTM layer, its inputs and non-zero initial state; the loss sees every h_t and the final h and c."""
    T, B, D, H = shapes[:4]
    r, r_hidden, r_cell = draw.normal(T, B, H), draw.normal(B, H), draw.normal(B, H)

    def function(params):
        state = params["hidden"], params["cell"]
        outputs, (hidden, cell), cache = lstm_forward(params["inputs"], state, params, forget_bias)
        loss = (r * outputs).sum() + (r_hidden * hidden).sum() + (r_cell * cell).sum()
        dinputs, (dhidden, dcell), grads = lstm_backward(r, (r_hidden, r_cell), cache)
        return loss, {**grads, "inputs": dinputs, "hidden": dhidden, "cell": dcell}

    params = {
        "weight_ih": draw.normal(4 * H, D, scale=0.5),
        "weight_hh": draw.normal(4 * H, H, scale=0.5),
        "bias": draw.normal(4 * H, scale=0.5),
        "inputs": draw.normal(T, B, D),
        "hidden": draw.normal(B, H, scale=0.5),
        "cell": draw.normal(B, H, scale=0.5),
    }
    return GradcheckCase("lstm", function, params)


def softmax_case(shapes, draw):
    """Softmax projection and cross-entropy with weighted targets."""
    T, B, _, H, V, _ = shapes
    targets = draw.ids(V, T, B)
    weights = abs(draw.normal(T, B))

    def function(params):
        cost, cache = softmax_forward(params["hidden"], targets, params, weights)
        dhidden, grads = softmax_backward(cache)
        return cost, {**grads, "hidden": dhidden}

    params = {"weight": draw.normal(V, H), "bias": draw.normal(V), "hidden": draw.normal(T, B, H)}
    return GradcheckCase("softmax", function, params)


def model_case(shapes, draw, forget_bias=0.7, keep_prob=0.7):
    """The whole model: stacked, fixed dropout masks, weighted targets, non-zero initial state."""
    T, B, _, H, V, L = shapes
    config = replace(
        PRESETS["toy"], hidden_size=H, num_layers=L, dtype="float64", forget_bias=forget_bias, keep_prob=keep_prob
    )
    inputs, targets = draw.ids(V, T, B), draw.ids(V, T, B)
    weights = abs(draw.normal(T, B))
    state = [(draw.normal(B, H, scale=0.5), draw.normal(B, H, scale=0.5)) for _ in range(L)]
    masks = draw_masks(config, 0, (T, B), draw.xp)

    def function(params):
        cost, grads, _ = loss_and_gradients(params, config, inputs, targets, state, masks, weights)
        return cost, grads | {"encoder.weight": grads["encoder.weight"].to_dense(V)}

    return GradcheckCase(f"model, {L} layers", function, {
        name: draw.normal(*shape, scale=0.5) for name, shape in param_shapes(config, V).items()
    })  # fmt: skip


CASES = embedding_case, dropout_case, lstm_case, softmax_case, model_case


def check_layers(xp, shapes=None, seed=0):
    """Check every layer and the whole model.

    Parameters
    ----------
    xp : module
        numpy or cupy.
    shapes : Shapes, optional
    seed : int

    Yields
    ------
    layer : str
    result : GradientCheck
    """
    for make_case in CASES:
        problem = make_case(shapes or Shapes(), RandomInputs(seed, xp))
        for result in check_gradients(problem.function, problem.params, seed=seed):
            yield problem.layer, result
