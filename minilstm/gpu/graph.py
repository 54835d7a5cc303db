"""CUDA graphs: a whole training step as one launch.

A training step has several hundred kernels. Each costs the host a few microseconds to launch, and with a batch of 20
most kernels take less than that. A CUDA graph captures the launches once; a single launch then replays them all.

A graph contains addresses, not arrays. The arguments of each call, including numbers, are therefore copied into static
arrays; parameters and state are updated in place; and the memory of intermediate results belongs to the graph alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minilstm.types import Array

Run = Callable[[], tuple[Array, ...]]
Capture = Callable[[Run], tuple[tuple[Array, ...], Callable[[], None]]]


def capture_graph(run: Run) -> tuple[tuple[Array, ...], Callable[[], None]]:
    """Capture the GPU work of a function without arguments; nothing is executed.

    Returns
    -------
    outputs : tuple of array
        The outputs of the function, filled by each replay.
    replay : callable
        Executes the work on the current stream.
    """
    import cupy

    from minilstm.gpu.cublas import capturable_matmul

    pool = cupy.cuda.MemoryPool()  # arrays outside the graph must never reuse its memory
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    with cupy.cuda.using_allocator(pool.malloc), stream, capturable_matmul():
        stream.begin_capture()
        outputs = run()
        graph = stream.end_capture()

    def replay(pool: object = pool) -> None:  # keeps the pool alive
        graph.launch()

    return outputs, replay


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
        captures a graph; it and all later calls replay the graph.
    """
    arguments: list[Any] = []
    outputs: tuple[Array, ...] = ()
    replay: Callable[[], None] | None = None

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
            if argument is not None:
                argument[...] = value
        if replay is None:
            outputs, replay = capture(lambda: function(*arguments))
        replay()
        return tuple(output.copy() for output in outputs)

    return call
