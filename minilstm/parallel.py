"""Many processes, one model: data parallelism over MPI, ``mpiexec -n R minilstm train``.

Every process, called a rank, holds all weights and computes with B/R of the batch's B streams. A step is

    (1)  loss_r, dW_r = forward and backward pass over the streams of rank r
    (2)  loss, dW = 1/R sum_r loss_r, 1/R sum_r dW_r
    (3)  norm of dW, clipping, update of W: on each rank, as in a single process

Its result is that of one process: the loss of a window is the mean over its streams, and the mean of R means over B/R
streams each is the mean over all B. So it is for the gradients. Only the order of additions differs, and so rounding.
Apart from (2) a step needs nothing of other ranks, since the LSTM's state is carried along each stream.

(2) is the only exchange. For all ranks to keep the same weights, bit for bit, one rank computes each mean:

    cut      the gradients, in one row of n numbers, are cut into R chunks; rank k receives chunk k of every rank
    add      it adds them in the order of the ranks and divides by R
    join     it sends this chunk of the mean to all

Each rank thus sends (R - 1)/R n numbers twice, as little as is possible: hardly more for a thousand ranks than for ten.
Of the embedding, only rows of words in the window are sent, by each rank to all; all of them add in the same order.
The decoder's gradient, three quarters of all numbers of `small` and 30% of `large`, is known first: on a CPU it is sent
while the backward pass goes on through the LSTM layers. A request to stop (Ctrl-C on one rank, say) is sent along as a
number, so that all ranks stop after the same step.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import numpy as np

from minilstm import plain
from minilstm.compiled import graphed_halves, halves
from minilstm.device import array_module, copy_to, host_buffer, synchronize
from minilstm.layers.embedding import SparseGradient
from minilstm.ranks import Ranks
from minilstm.step import TrainState, prepare_step
from minilstm.types import Array, Cache, Grads, Kernels, State

SECONDS_BETWEEN_CALLS = 0.001  # of MPI by a thread, while another computes


def parallel_step(
    state: TrainState, kernels: Kernels, early: bool = True
) -> Callable[[Array, Array, float], tuple[Array, Array]]:
    """`train_step` of one run on all ranks, as ``step(inputs, targets, learning_rate)``.

    Parameters
    ----------
    state : TrainState
        Of this rank: from `Ranks.own_part`.
    kernels : namespace
        From `Ranks.with_kernels`.
    early : bool
        Whether the decoder's gradient is sent while the backward pass goes on; the result is the same.

    Returns
    -------
    step : callable
        Takes this rank's streams of a window, (T, B/R). Loss and norm are those of the whole batch.
    """
    ranks, fused = kernels.ranks, kernels.base is not plain
    exchange = Exchange(ranks)

    def linear_backward(doutputs: Array, cache: Cache) -> tuple[Array, Grads]:
        with kernels.deferred_products():  # its own, because the gradient must be complete here
            dinputs, grads = kernels.linear_backward(doutputs, cache)
        exchange.start("decoder", ["decoder." + name for name in grads], list(grads.values()))
        return dinputs, grads

    def lstm_backward(doutputs: Array, dstate: State | None, cache: Cache) -> tuple[Array, State, Grads]:
        with exchange.going_on():
            return kernels.lstm_backward(doutputs, dstate, cache)

    def dropout_masks(seed: int, step: int, shapes: Sequence[tuple], *arguments: Any) -> list[Array | None]:
        B = state.config.batch_size
        of_batch = [(shape[0], B, shape[2]) if len(shape) == 3 else shape for shape in shapes]
        return kernels.dropout_masks(seed, step, of_batch, *arguments, streams=ranks.columns(B))

    own = SimpleNamespace(**vars(kernels) | {"dropout_masks": dropout_masks})
    on_cpu = array_module(state.params["decoder.bias"]) is np  # a CUDA graph can contain no exchange
    complete = state.loss_scale is None and not state.config.tie_weights  # what linear_backward computes
    if early and on_cpu and complete:  # half precision divides by the loss scale, tying adds the embedding's gradient
        own.linear_backward, own.lstm_backward = linear_backward, lstm_backward
    gradients, apply = graphed_halves(state, own) if fused else halves(state, own)

    def step(inputs: Array, targets: Array, learning_rate: float) -> tuple[Array, Array]:
        masks = prepare_step(state, inputs, targets, own)
        with np.errstate(over="ignore", invalid="ignore"):
            loss, grads = gradients(inputs, targets, masks)  # (1)
            loss = exchange.finish(loss, grads, kernels.embedding_backward)  # (2)
            norm = apply(grads, learning_rate, state.progress.step + 1)  # (3)
        state.progress.step += 1
        return loss, norm

    return step


class Exchange:
    """Equation (2): the means of the ranks' gradients, in two rows of numbers (the decoder's, all others) and the rows
    of the embedding; each has a communicator of its own, so that ranks may overtake one another."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.comms = ranks, {name: ranks.comm.Dup() for name in ("decoder", "others", "embedding")}
        self.buffers: dict[str, tuple[Array, Array]] = {}
        self.means: Grads = {}
        self.under_way: list[Iterator[None]] = []
        self.pool = ThreadPoolExecutor(1)

    def start(self, part: str, names: Sequence[str], arrays: Sequence[Array]) -> None:
        """Begin with the means of some arrays; `finish` has them under these names."""
        sizes, like, R = [array.size for array in arrays], arrays[0], self.ranks.size
        if part not in self.buffers:
            shape = R, -(-sum(sizes) // R)  # R chunks
            self.buffers[part] = self.empty(shape, like), self.empty(shape, like)
            self.buffers[part][0][...] = 0  # the end of the last chunk may not be used
        row = self.buffers[part][0].reshape(-1)
        for name, array, end in zip(names, arrays, np.cumsum(sizes), strict=True):
            self.means[name] = row[end - array.size : end].reshape(array.shape)
            copy_to(self.means[name], array)
        synchronize(like)
        self.under_way.append(self.mean(self.comms[part], *self.buffers[part]))
        self.advance()

    def mean(self, comm: Any, row: Array, received: Array) -> Iterator[None]:
        """Replace a row of numbers, cut into R chunks, by its mean over all ranks; continues while it need not wait."""
        request = comm.Ialltoall(row, received)  # chunk k goes to rank k; chunk r of `received` is that of rank r
        while not request.Test():
            yield
        mean = received[0]
        for chunk in received[1:]:
            mean += chunk
        mean /= self.ranks.size
        synchronize(mean)
        request = comm.Iallgather(mean, row)
        while not request.Test():
            yield
        self.ranks.bytes_received += 2 * (row.nbytes - mean.nbytes)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Inside, the exchange goes on in a thread: most MPIs send and receive only while they are called."""
        done = threading.Event()

        def go_on() -> None:
            while not done.wait(SECONDS_BETWEEN_CALLS):
                self.advance()

        future = self.pool.submit(copy_context().run, go_on)
        try:
            yield
        finally:
            done.set()
            future.result()  # raises an error of the thread

    def advance(self) -> None:
        """Do what can be done without waiting."""
        self.under_way = [mean for mean in self.under_way if next(mean, "done") is None]

    def finish(self, loss: Array, grads: Grads, add_rows: Callable[..., Grads]) -> Array:
        """Replace the gradients by their means over all ranks; returns the mean of the losses."""
        dense = {name: grad for name, grad in grads.items() if not isinstance(grad, SparseGradient)}
        others = {name: grad for name, grad in dense.items() if name not in self.means}
        like = next(iter(others.values()))
        others["loss"] = loss.reshape(1).astype(like.dtype)
        others["stop"] = np.asarray([bool(self.ranks.requests)], dtype=like.dtype, like=like)
        self.start("others", list(others), list(others.values()))
        for name, grad in grads.items():
            if isinstance(grad, SparseGradient):
                grads[name] = self.mean_of_rows(grad, add_rows)
        while self.under_way:
            time.sleep(0)  # lets other processes run on this processor
            self.advance()
        for name in dense:
            grads[name] = np.asarray(self.means[name], like=like)
        if self.means["stop"][0] > 0 and not self.ranks.stop_requested:
            self.ranks.stop_requested.append("a rank")
        loss = np.array(self.means["loss"][0], like=like)
        self.means = {}
        return loss

    def mean_of_rows(self, grad: SparseGradient, add_rows: Callable[..., Grads]) -> SparseGradient:
        """The mean of the ranks' gradients of the embedding: all their rows, added by `embedding_backward`."""
        comm, R, D = self.comms["embedding"], self.ranks.size, grad.values.shape[1]
        counts = np.empty(R, dtype=np.int64)
        comm.Allgather(np.array([len(grad.ids)]), counts)
        own, own_ids = self.empty(grad.values.shape, grad.values), self.empty(grad.ids.shape, grad.ids)
        copy_to(own, grad.values / (grad.counts * R))  # a repeated row counts once
        copy_to(own_ids, grad.ids)
        N = int(counts.sum())
        rows, ids = self.empty((N, D), grad.values), self.empty((N,), grad.ids)
        synchronize(grad.values)
        requests = comm.Iallgatherv(own, (rows, counts * D)), comm.Iallgatherv(own_ids, (ids, counts))
        while not all(request.Test() for request in requests):
            time.sleep(0)
            self.advance()
        self.ranks.bytes_received += rows.nbytes - own.nbytes + ids.nbytes - own_ids.nbytes + 8 * (R - 1)
        return add_rows(np.asarray(rows, like=grad.values), np.asarray(ids, like=grad.ids))["weight"]

    def empty(self, shape: Any, like: Array) -> Array:
        """Memory that MPI can read and write: that of the host, unless it knows that of the GPU."""
        if self.ranks.cuda_aware:
            return np.empty(shape, dtype=like.dtype, like=like)
        return host_buffer(shape, like)
