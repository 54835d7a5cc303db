"""A whole training step as one launch: CUDA graphs.

Each of the several hundred kernels of a training step costs the host some microseconds to launch, and with a batch of
20 most kernels take less than that. A CUDA graph captures the launches once; one launch of the graph then replays all.

A graph holds addresses, not arrays. So each call's arguments are copied into arrays that stay where they are, numbers
among them; what a step changes (parameters, state) it writes in place; and the memory of its intermediate results
belongs to the graph alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minilstm.types import Array

Run = Callable[[], tuple[Array, ...]]
Capture = Callable[[Run], tuple[tuple[Array, ...], Callable[[], None]]]


def capture_graph(run: Run) -> tuple[tuple[Array, ...], Callable[[], None]]:
    """Capture what a function of no arguments does on the GPU, without doing it.

    Returns
    -------
    outputs : tuple of array
        What the function returned: filled by each replay.
    replay : callable
        Does it, on the current stream.
    """
    import cupy

    from minilstm.gpu.cublas import capturable_matmul

    pool = cupy.cuda.MemoryPool()  # no array made outside the graph may ever get its memory
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    with cupy.cuda.using_allocator(pool.malloc), stream, capturable_matmul():
        stream.begin_capture()
        outputs = run()
        graph = stream.end_capture()

    def replay(pool: object = pool) -> None:  # which lives as long as this does
        graph.launch()

    return outputs, replay


def graphed_callable(
    function: Callable[..., tuple[Array, ...]], like: Array, capture: Capture = capture_graph
) -> Callable[..., tuple[Array, ...]]:
    """The same function as a CUDA graph.

    Parameters
    ----------
    function : callable
        Takes arrays, numbers (which become arrays like `like`) and None; returns a tuple of arrays. It must write what
        it changes in place, and never look at a value on the host.
    like : array
        On the device, of the dtype that numbers get.
    capture : callable
        ``capture(run) -> outputs, replay``. `replay` does what `run` does, and leaves the results in `outputs`.

    Returns
    -------
    callable
        Its first call runs the function as it is: kernels are compiled, libraries set up their memory. The second
        captures, and from then on each call is a replay.
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
