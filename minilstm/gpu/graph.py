"""CUDA graphs: a whole training step, or a window of evaluation, as one launch.

A training step has over a hundred kernels. Each costs the host a few microseconds to launch, and with a batch of 20
most kernels take less than that. A CUDA graph captures the launches once; a single launch then replays them all.

A graph contains addresses, not arrays. The arguments of each call, including numbers, are therefore copied into static
arrays; parameters and state are updated in place; and the memory of intermediate results belongs to the graph alone.

A graph, not a list: kernels captured from one stream form a chain, in which each waits for the one before it. But in
the backward pass nothing waits for the gradient of a weight. Inside `deferred_products`, what is launched in the
context `beside` is captured from a second stream, and the device runs it beside the chain of the first one, whose small
kernels leave most of the device idle:

    first branch    step T-1 -> ... -> step 0 -> dinputs -> step T-1 of the layer below -> ... -> norm, update
    second branch                         `----> weight gradients -> ... -----------------------------^
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from threading import RLock
from typing import Any

import numpy as np

from minilstm.gpu.cublas import handle_of
from minilstm.types import Array

Run = Callable[[], tuple[Array, ...]]
Capture = Callable[[Run], tuple[tuple[Array, ...], Callable[[], None]]]
SECOND_BRANCH = True

one_capture = RLock()  # at a time: there is one pair of streams

capturing: ContextVar[bool] = ContextVar("capturing", default=False)
operands_in_use: ContextVar[list[Any] | None] = ContextVar("operands_in_use", default=None)  # of the second branch


@cache
def streams() -> tuple[Any, Any]:
    """The streams of the two branches.

    They have no priorities, which CuPy's graphs ignore: CUDA keeps them only if a flag is given that CuPy cannot pass.
    With the flag and a preferred first branch, an H100 took 691 instead of 721 microseconds for a step of the preset
    small, 4,085 instead of 4,147 for medium and 9,367 instead of 9,511 for large.
    """
    import cupy

    return cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)


def capture_graph(run: Run) -> tuple[tuple[Array, ...], Callable[[], None]]:
    """Capture the GPU work of a function without arguments; nothing is executed. One thread captures at a time.

    Other threads may use the device meanwhile, but no thread that has multiplied with CuPy's ``@`` may end: CuPy then
    destroys the thread's cuBLAS handle, which waits for the device and makes the capture fail.

    Returns
    -------
    outputs : tuple of array
        The outputs of the function, filled by each replay.
    replay : callable
        Executes the work on the current stream.
    """
    import cupy

    pool = cupy.cuda.MemoryPool()  # arrays outside the graph must never reuse its memory
    for stream in streams():
        handle_of(stream)  # a capture cannot contain the initialization of cuBLAS
    first, _ = streams()
    token = capturing.set(True)
    try:
        with one_capture, cupy.cuda.using_allocator(pool.malloc), first:
            first.begin_capture()
            try:
                outputs = run()
            except BaseException:
                with suppress(Exception):  # a broken capture cannot be ended without an error
                    first.end_capture()
                raise
            graph = first.end_capture()
    finally:
        capturing.reset(token)

    def replay(pool: object = pool) -> None:  # keeps the pool alive
        graph.launch()

    return outputs, replay


@contextmanager
def deferred_products() -> Iterator[None]:
    """During capture, open a second branch for the work in `beside`; at the end the first branch waits for it."""
    operands: list[Any] = []
    token = operands_in_use.set(operands)
    try:
        yield
        if operands:  # otherwise there is nothing to wait for
            first, second = streams()
            first.wait_event(second.record())
    finally:
        operands_in_use.reset(token)


@contextmanager
def beside(*operands: Array) -> Iterator[None]:
    """Capture what follows on the second branch, after everything before it on the first one.

    Its results may be used after `deferred_products`. Without a capture or a second branch, the context does nothing.

    Parameters
    ----------
    operands : array
        All arrays that are read here. They are kept until the branches join: the memory of an array that is given back
        earlier would be used again by the first branch, perhaps before the second has read it.
    """
    in_use = operands_in_use.get()
    if in_use is None or not capturing.get() or not SECOND_BRANCH:
        yield
        return
    first, second = streams()
    second.wait_event(first.record())
    in_use.extend(operands)
    with second:
        yield


def graphed_callable(
    function: Callable[..., tuple[Array, ...]], like: Array, capture: Capture = capture_graph
) -> Callable[..., tuple[Array, ...]]:
    """The same function as a CUDA graph.

    Parameters
    ----------
    function : callable
        Takes arrays, numbers (converted to arrays like `like`) and None; returns a tuple of arrays. It must make all
        changes in place and never read a value on the host.
    like : array
        An array on the device with the dtype for numbers.
    capture : callable
        ``capture(run) -> outputs, replay``. `replay` does the work of `run` and leaves the results in `outputs`.

    Returns
    -------
    callable
        Its first call runs the function directly, which compiles kernels and initializes libraries. The second call
        captures a graph; it and all later calls replay the graph. A call with arrays of another shape than the first
        raises a ValueError and changes nothing.
    """
    arguments: list[Any] = []
    outputs: tuple[Array, ...] = ()
    replay: Callable[[], None] | None = None

    def shape_of(argument: Array | float | None) -> tuple[int, ...] | None:
        return None if argument is None else getattr(argument, "shape", ())

    def static_copy(argument: Array | float | None) -> Array | None:
        if argument is None or isinstance(argument, int | float):
            return argument if argument is None else np.asarray(argument, dtype=like.dtype, like=like)
        return argument.copy()

    def call(*new: Array | float | None) -> tuple[Array, ...]:
        nonlocal outputs, replay
        if not arguments:
            arguments[:] = [static_copy(argument) for argument in new]
            return function(*arguments)
        for argument, value in zip(arguments, new, strict=True):
            shape, new_shape = shape_of(argument), shape_of(value)
            if new_shape != shape:
                raise ValueError(f"this graph is for an argument of shape {shape}, not {new_shape}: compile another")
        for argument, value in zip(arguments, new, strict=True):
            if argument is not None:
                argument[...] = value
        if replay is None:
            outputs, replay = capture(lambda: function(*arguments))
        replay()
        return tuple(output.copy() for output in outputs)

    return call
