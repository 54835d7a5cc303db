"""Every layer and the whole model as a (loss, gradients) function, for ``minilstm gradcheck`` and the tests.

A fixed random array r of the shape of a layer's output y turns the output into a loss: L = sum(r * y), so dL/dy = r.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from minilstm import plain
from minilstm.config import PRESETS, layer_sizes
from minilstm.gradcheck import GradientCheck, LossAndGradients, check_gradients
from minilstm.layers.dropout import dropout_mask
from minilstm.layers.regularization import (
    activation_backward,
    activation_forward,
    temporal_backward,
    temporal_forward,
)
from minilstm.masks import draw_masks
from minilstm.model import loss_and_gradients, param_shapes, stack_forward
from minilstm.types import Array, ArrayModule, Grads, Kernels, Params

BOUND = 1e-7  # largest relative error of a correct gradient


class Shapes(NamedTuple):
    """T num_steps, B batch_size, D input size, H hidden_size, V vocab_size, L num_layers."""

    T: int = 5
    B: int = 3
    D: int = 4
    H: int = 6
    V: int = 11
    L: int = 2


class GradcheckCase(NamedTuple):
    """A layer's name, and the arguments of `check_gradients`: a (loss, gradients) function and its parameters."""

    layer: str
    function: LossAndGradients
    params: Params


class RandomInputs:
    """Random float64 arrays and ids from one seed, on one device."""

    def __init__(self, seed: int = 0, xp: ArrayModule = np) -> None:
        self.rng, self.xp = np.random.default_rng(seed), xp

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return self.xp.asarray(scale * self.rng.standard_normal(shape))

    def ids(self, high: int, *shape: int) -> Array:
        return self.xp.asarray(self.rng.integers(high, size=shape))


def embedding_case(shapes: Shapes, random: RandomInputs, kernels: Kernels = plain) -> GradcheckCase:
    """Embedding with repeated words."""
    ids = random.ids(shapes.V, shapes.T, shapes.B)
    r = random.normal(shapes.T, shapes.B, shapes.D)

    def function(params: Params) -> tuple[Array, Grads]:
        outputs, cache = kernels.embedding_forward(ids, params["weight"])
        return (r * outputs).sum(), {"weight": kernels.embedding_backward(r, cache)["weight"].to_dense(shapes.V)}

    return GradcheckCase("embedding", function, {"weight": random.normal(shapes.V, shapes.D)})


def dropout_case(shapes: Shapes, random: RandomInputs, kernels: Kernels = plain) -> GradcheckCase:
    """Dropout with a fixed mask."""
    shape = shapes.T, shapes.B, shapes.D
    mask = random.xp.asarray(dropout_mask(np.random.default_rng(0), shape, 0.6, "float64"))
    r = random.normal(*shape)

    def function(params: Params) -> tuple[Array, Grads]:
        outputs = kernels.dropout_forward(params["inputs"], mask)
        return (r * outputs).sum(), {"inputs": kernels.dropout_backward(r, mask)}

    return GradcheckCase("dropout", function, {"inputs": random.normal(*shape)})


def lstm_case(
    shapes: Shapes, random: RandomInputs, kernels: Kernels = plain, forget_bias: float = 0.7
) -> GradcheckCase:
    """LSTM layer, its inputs and a non-zero initial state; the loss depends on every h_t and the final h and c."""
    T, B, D, H = shapes[:4]
    r, r_h, r_c = random.normal(T, B, H), random.normal(B, H), random.normal(B, H)

    def function(params: Params) -> tuple[Array, Grads]:
        outputs, (h, c), cache = kernels.lstm_forward(params["inputs"], (params["h"], params["c"]), params, forget_bias)
        loss = (r * outputs).sum() + (r_h * h).sum() + (r_c * c).sum()
        dinputs, (dh, dc), grads = kernels.lstm_backward(r, (r_h, r_c), cache)
        return loss, {**grads, "inputs": dinputs, "h": dh, "c": dc}

    params = {
        "weight_ih": random.normal(4 * H, D, scale=0.5),
        "weight_hh": random.normal(4 * H, H, scale=0.5),
        "bias": random.normal(4 * H, scale=0.5),
        "inputs": random.normal(T, B, D),
        "h": random.normal(B, H, scale=0.5),
        "c": random.normal(B, H, scale=0.5),
    }
    return GradcheckCase("lstm", function, params)


def linear_case(shapes: Shapes, random: RandomInputs, kernels: Kernels = plain) -> GradcheckCase:
    """Linear layer and its inputs."""
    T, B, _, H, V, _ = shapes
    r = random.normal(T, B, V)

    def function(params: Params) -> tuple[Array, Grads]:
        outputs, cache = kernels.linear_forward(params["inputs"], params)
        dinputs, grads = kernels.linear_backward(r, cache)
        return (r * outputs).sum(), {**grads, "inputs": dinputs}

    params = {"weight": random.normal(V, H), "bias": random.normal(V), "inputs": random.normal(T, B, H)}
    return GradcheckCase("linear", function, params)


def softmax_case(shapes: Shapes, random: RandomInputs, kernels: Kernels = plain) -> GradcheckCase:
    """Softmax and cross-entropy with weighted targets."""
    T, B, V = shapes.T, shapes.B, shapes.V
    targets = random.ids(V, T, B)
    loss_weights = abs(random.normal(T, B))

    def function(params: Params) -> tuple[Array, Grads]:
        loss, cache = kernels.softmax_cross_entropy_forward(params["logits"], targets, loss_weights)
        return loss, {"logits": kernels.softmax_cross_entropy_backward(cache)}

    return GradcheckCase("softmax", function, {"logits": random.normal(T, B, V)})


def regularization_case(shapes: Shapes, random: RandomInputs, kernels: Kernels = plain) -> GradcheckCase:
    """Both penalties on the last layer's outputs, with weighted steps."""
    step_weights = abs(random.normal(shapes.T, shapes.B))

    def function(params: Params) -> tuple[Array, Grads]:
        h = params["outputs"]
        loss = activation_forward(h, 2.0, step_weights) + temporal_forward(h, 3.0, step_weights)
        return loss, {"outputs": activation_backward(h, 2.0, step_weights) + temporal_backward(h, 3.0, step_weights)}

    return GradcheckCase("regularization", function, {"outputs": random.normal(shapes.T, shapes.B, shapes.H)})


def model_case(
    shapes: Shapes,
    random: RandomInputs,
    kernels: Kernels = plain,
    forget_bias: float = 0.7,
    keep_prob: float = 0.7,
    **fields: Any,
) -> GradcheckCase:
    """The whole model: stacked layers, fixed dropout masks, weighted targets, non-zero initial state.

    `fields` are further values of the config.
    """
    T, B, _, H, V, L = shapes
    fields |= {"hidden_size": H, "num_layers": L, "dtype": "float64"}
    config = replace(PRESETS["toy"], forget_bias=forget_bias, keep_prob=keep_prob, **fields)
    inputs, targets = random.ids(V, T, B), random.ids(V, T, B)
    loss_weights = abs(random.normal(T, B))
    state = [(random.normal(B, n, scale=0.5), random.normal(B, n, scale=0.5)) for n in layer_sizes(config)[1:]]
    masks = draw_masks(config, 0, inputs, V, kernels)

    def function(params: Params) -> tuple[Array, Grads]:
        loss, grads, _ = loss_and_gradients(params, config, inputs, targets, state, masks, loss_weights, kernels)
        if config.activation_reg or config.temporal_reg:
            x, _, (_, _, (_, _, outputs, _)) = stack_forward(params, config, inputs, state, masks, kernels)
            loss = loss + activation_forward(x, config.activation_reg, loss_weights)
            loss = loss + temporal_forward(outputs, config.temporal_reg, loss_weights)
        if not config.tie_weights:
            grads["encoder.weight"] = grads["encoder.weight"].to_dense(V)
        return loss, grads

    params = {name: random.normal(*shape, scale=0.5) for name, shape in param_shapes(config, V).items()}
    return GradcheckCase(f"model, {L} layers", function, params)


def awd_case(shapes: Shapes, random: RandomInputs, kernels: Kernels = plain) -> GradcheckCase:
    """The whole model with all ideas that change its gradients: layers/dropout.py, layers/regularization.py, tying."""
    case = model_case(
        shapes, random, kernels, tie_weights=True, embedding_size=shapes.D, locked_dropout=True, input_keep_prob=0.8,
        output_keep_prob=0.6, embedding_keep_prob=0.9, weight_keep_prob=0.5, activation_reg=2.0, temporal_reg=1.0,
    )  # fmt: skip
    return case._replace(layer="AWD-LSTM")


CASES: tuple[Callable[..., GradcheckCase], ...] = (
    embedding_case,
    dropout_case,
    lstm_case,
    linear_case,
    softmax_case,
    regularization_case,
    model_case,
    awd_case,
)


def check_layers(
    xp: ArrayModule = np, kernels: Kernels = plain, shapes: Shapes | None = None, seed: int = 0
) -> Iterator[tuple[str, GradientCheck]]:
    """Check every layer and the whole model.

    Parameters
    ----------
    xp : module
        numpy or cupy.
    kernels : module
        minilstm.plain or minilstm.gpu.fused.
    shapes : Shapes, optional
    seed : int

    Yields
    ------
    layer : str
    result : GradientCheck

    Examples
    --------
    >>> all(result.error < BOUND for layer, result in check_layers())
    True
    """
    for make_case in CASES:
        case = make_case(shapes or Shapes(), RandomInputs(seed, xp), kernels)
        for result in check_gradients(case.function, case.params, seed=seed):
            yield case.layer, result
