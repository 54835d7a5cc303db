"""For evaluation a window's loss, for training the two halves of a step: as functions, or as CUDA graphs.

Between the halves, gradients and update, the processes of an MPI job exchange gradients, which no graph can contain
(parallel.py).
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from minilstm import plain
from minilstm.config import Config
from minilstm.layers.embedding import SparseGradient
from minilstm.masks import Masks, as_masks, flatten_masks
from minilstm.model import loss_forward
from minilstm.step import TrainState, compute_gradients, update
from minilstm.types import Array, Grads, Kernels, Params, State

Loss = Callable[[Array, Array, list[State]], tuple[Array, list[State]]]  # (inputs, targets, state) -> loss, new state


def compile_loss(params: Params, config: Config, kernels: Kernels = plain) -> Loss:
    """`loss_forward` with these parameters; with the fused set, as CUDA graphs, one for each length of a window."""
    if getattr(kernels, "base", kernels) is plain:
        return lambda inputs, targets, state: loss_forward(params, config, inputs, targets, state, kernels=kernels)
    from minilstm.gpu.graph import graphed_callable

    def flat_loss(inputs: Array, targets: Array, *arrays: Array) -> tuple[Array, ...]:
        loss, state = loss_forward(params, config, inputs, targets, pairs(arrays), kernels=kernels)
        return loss, *(array for pair in state for array in pair)

    def pairs(arrays: Sequence[Array]) -> list[State]:
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    graphs = cache(lambda num_steps: graphed_callable(flat_loss, params["decoder.bias"]))

    def compiled(inputs: Array, targets: Array, state: list[State]) -> tuple[Array, list[State]]:
        loss, *arrays = graphs(len(inputs))(inputs, targets, *(array for pair in state for array in pair))
        return loss, pairs(arrays)

    return compiled


def halves(state: TrainState, kernels: Kernels) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two halves of a step: gradients, and the update by gradients."""
    return (
        lambda inputs, targets, masks: compute_gradients(state, inputs, targets, masks, kernels),
        lambda grads, learning_rate, step: update(state, grads, learning_rate, step, kernels),
    )


def graphed_halves(state: TrainState, kernels: Kernels) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The same as two CUDA graphs, with the exchange between them."""
    from minilstm.gpu.graph import graphed_callable

    names: list[tuple[str, bool]] = []  # of the gradients, and whether each is sparse

    def flat_gradients(inputs: Array, targets: Array, *masks: Array | None) -> tuple[Array, ...]:
        loss, grads = compute_gradients(state, inputs, targets, as_masks(masks), kernels)
        names[:] = [(name, isinstance(grad, SparseGradient)) for name, grad in grads.items()]
        return loss, *flat(grads)

    def flat_update(learning_rate: Array, step: Array, *arrays: Array) -> tuple[Array]:
        return (update(state, named(arrays), learning_rate, step, kernels),)

    def flat(grads: Grads) -> list[Array]:
        return [x for grad in grads.values() for x in (grad if isinstance(grad, SparseGradient) else (grad,))]

    def named(arrays: Sequence[Array]) -> Grads:
        rest = iter(arrays)
        return {
            name: SparseGradient(*(next(rest) for _ in range(3))) if sparse else next(rest) for name, sparse in names
        }

    like = state.params["decoder.bias"]
    graphs = cache(lambda num_steps: graphed_callable(flat_gradients, like))
    update_graph = graphed_callable(flat_update, like)

    def gradients(inputs: Array, targets: Array, masks: Masks | None) -> tuple[Array, Grads]:
        loss, *arrays = graphs(len(inputs))(inputs, targets, *flatten_masks(masks))
        return loss, named(arrays)

    return gradients, lambda grads, learning_rate, step: update_graph(learning_rate, step, *flat(grads))[0]
