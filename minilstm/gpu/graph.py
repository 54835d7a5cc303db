"""A whole training step as one launch: CUDA graphs.

Each of the several hundred kernels of a training step costs the host some microseconds to launch, and with a batch of
20 most kernels take less than that. A CUDA graph is a recording of launches, made once; one launch then replays all.

A recording holds addresses, not arrays. So each call's arguments are copied into arrays that stay where they are,
numbers among them; what a step leaves behind (parameters, state) it writes in place; and the memory of its intermediate
results belongs to the recording alone.
"""

NUMBERS = int, float


def fixed(function, record, asarray):
    """The same function, called with the same arrays every time, so that it can be recorded and replayed.

    Parameters
    ----------
    function : callable
        Takes arrays, numbers (which become arrays) and None; returns a tuple of arrays. Must write what it changes in
        place, and never look at a value on the host.
    record : callable
        ``record(run) -> outputs, replay``: `record_graph` on a GPU. `run` takes nothing; `replay` does what `run`
        does and leaves the results in `outputs`.
    asarray : callable
        Turns a number into an array of no dimensions.

    Returns
    -------
    callable
        Its first call runs the function as it is: kernels are compiled, libraries set up their memory. The second
        records, and from then on each call is a replay.
    """
    arguments, outputs, replay = [], None, None

    def call(*new):
        nonlocal outputs, replay
        if not arguments:
            arguments[:] = [asarray(x) if isinstance(x, NUMBERS) else x if x is None else x.copy() for x in new]
            return function(*arguments)
        for x, value in zip(arguments, new, strict=True):
            if x is not None:
                x[...] = value
        if replay is None:
            outputs, replay = record(lambda: function(*arguments))
        replay()
        return tuple(output.copy() for output in outputs)

    return call


def record_graph(run, cupy):
    """Record what a function of no arguments does on the GPU, without doing it.

    Returns
    -------
    outputs : tuple of array
        What the function returned: filled by each replay.
    replay : callable
        Does it, on the current stream.
    """
    pool = cupy.cuda.MemoryPool()  # no array made outside the recording may ever get its memory
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.get_current_stream().synchronize()
    with cupy.cuda.using_allocator(pool.malloc), stream:
        stream.begin_capture()
        outputs = run()
        graph = stream.end_capture()

    def replay(pool=pool):  # which lives as long as this does
        graph.launch()

    return outputs, replay
