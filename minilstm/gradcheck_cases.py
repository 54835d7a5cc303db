"""Every layer and the whole model as a (loss, gradients) function, for ``minilstm gradcheck`` and the tests.

A fixed random array r of the shape of a layer's output y turns the output into a loss: L = sum(r * y), so dL/dy = r.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from minilstm import plain
from minilstm.config import PRESETS
from minilstm.gradcheck import GradientCheck, LossAndGradients, check_gradients
from minilstm.layers.dropout import dropout_mask
from minilstm.model import draw_masks, loss_and_gradients, param_shapes
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


def model_case(
    shapes: Shapes, random: RandomInputs, kernels: Kernels = plain, forget_bias: float = 0.7, keep_prob: float = 0.7
) -> GradcheckCase:
    """The whole model: stacked layers, fixed dropout masks, weighted targets, non-zero initial state."""
    T, B, _, H, V, L = shapes
    config = replace(
        PRESETS["toy"], hidden_size=H, num_layers=L, dtype="float64", forget_bias=forget_bias, keep_prob=keep_prob
    )
    inputs, targets = random.ids(V, T, B), random.ids(V, T, B)
    loss_weights = abs(random.normal(T, B))
    state = [(random.normal(B, H, scale=0.5), random.normal(B, H, scale=0.5)) for _ in range(L)]
    masks = draw_masks(config, 0, inputs, kernels)

    def function(params: Params) -> tuple[Array, Grads]:
        loss, grads, _ = loss_and_gradients(params, config, inputs, targets, state, masks, loss_weights, kernels)
        return loss, grads | {"encoder.weight": grads["encoder.weight"].to_dense(V)}

    params = {name: random.normal(*shape, scale=0.5) for name, shape in param_shapes(config, V).items()}
    return GradcheckCase(f"model, {L} layers", function, params)


CASES: tuple[Callable[..., GradcheckCase], ...] = (
    embedding_case,
    dropout_case,
    lstm_case,
    linear_case,
    softmax_case,
    model_case,
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
