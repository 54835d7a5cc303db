"""Half precision with float32 master weights (Micikevicius et al., arXiv 1710.03740, section 3).

    W16 = half(W)      dW16 = gradient of S * cost at W16, in float16      dW = dW16 / S, clipping, update in float32

float16 has 11 bits and no number below 6e-8. A step of learning_rate * dW would round to nothing beside a weight, so
the weights that are updated are float32; and most gradients of logits would round to zero, so the cost is scaled by S
and the gradients scaled back.
"""

from minilstm.device import array_module
from minilstm.layers.embedding import SparseGradient
from minilstm.model import loss_and_gradients

LOSS_SCALE = 1024.0  # gradient elements of up to 64 fit; a larger one makes the norm infinite, and that ends the run


def half_loss_and_gradients(params, config, inputs, targets, state, masks=None):
    """`loss_and_gradients` computed in half precision: float32 params in, float32 cost and gradients out."""
    xp = array_module(inputs)
    half = {name: param.astype("float16") for name, param in params.items()}
    weights = LOSS_SCALE * xp.ones(inputs.shape, dtype="float32")  # (T, B), of each target
    cost, grads, state = loss_and_gradients(half, config, inputs, targets, state, masks, weights)
    return cost / LOSS_SCALE, {name: unscaled(grad) for name, grad in grads.items()}, state


def unscaled(grad):
    """A gradient in float32, without the loss scale."""
    if isinstance(grad, SparseGradient):
        return SparseGradient(grad.ids, grad.values.astype("float32") / LOSS_SCALE, grad.counts.astype("float32"))
    return grad.astype("float32") / LOSS_SCALE
