"""The two halves of a training step, gradients and update, as functions of one run or as two CUDA graphs.

Between them the processes of an MPI job exchange the gradients (parallel.py), which no graph can contain.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from minilstm.layers.embedding import SparseGradient
from minilstm.masks import Masks, as_masks, flatten_masks
from minilstm.step import TrainState, compute_gradients, update
from minilstm.types import Array, Grads, Kernels


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
