"""Over the pretended GPU: what a stream capture refuses, wrong graphs, right ones, and how long those of a step are.

test_pretended_gpu.py runs this file in a process of its own, with the plugin pretended_gpu.
"""

import ctypes
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pretended_gpu
import pytest

from minilstm import plain
from minilstm.cli import main
from minilstm.config import PRESETS
from minilstm.device import to_host
from minilstm.evaluate import evaluate
from minilstm.gpu import cublas, fused
from minilstm.gpu import lstm as gpu_lstm
from minilstm.gpu.graph import capture_graph
from minilstm.model import init_params
from minilstm.step import begin_averaging, init_train_state
from minilstm.train import compile_step

GLOBAL, RELAXED = 0, 2  # cudaStreamCaptureMode
VOCABULARY = ["<eos>", *"abcdefghij"]
AWD = {
    "tie_weights": True, "embedding_size": 5, "locked_dropout": True, "input_keep_prob": 0.6, "output_keep_prob": 0.5,
    "embedding_keep_prob": 0.9, "weight_keep_prob": 0.5, "activation_reg": 2.0, "temporal_reg": 1.0,
    "weight_decay": 1e-3,
}  # fmt: skip

# What a training step costs: the nodes of its graph, and those in the longest chain of dependencies. The product
# W_hh h is computed in the kernel of a step, or by cuBLAS. (CuPy's own reductions are counted without CUB.)
GRAPHS = {  # preset, where, optimizer: nodes, critical path
    ("small", "kernel", "sgd"): (112, 105),
    ("small", "kernel", "adam"): (113, 106),
    ("small", "cuBLAS", "sgd"): (188, 181),
    ("medium", "kernel", "sgd"): (178, 170),
    ("medium", "kernel", "adam"): (179, 171),
    ("medium", "cuBLAS", "sgd"): (314, 306),
    ("large", "cuBLAS", "sgd"): (314, 306),
    ("large", "cuBLAS", "adam"): (315, 307),
}


@pytest.fixture
def cupy():
    import cupy

    return cupy


@pytest.fixture
def on(cupy):
    """Two streams, arrays and an event from before the capture; all kernels that the tests use are compiled."""
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(3)]
    x = cupy.arange(4.0)
    cupy.add(x * 2, x + 1)
    return SimpleNamespace(
        cupy=cupy, x=x, first=streams[0], second=streams[1], third=streams[2], before=streams[1].record(),
        runtime=cupy.cuda.runtime, pool=cupy.cuda.MemoryPool(),
    )  # fmt: skip


def capture(on, run, mode=RELAXED):
    """Capture a function on the first stream, with a memory pool for the graph; sets `on.graph`."""
    try:
        with on.cupy.cuda.using_allocator(on.pool.malloc), on.first:
            on.first.begin_capture(mode)
            result = run()
            on.graph = on.first.end_capture()
            return result
    finally:
        if any_capture(on):  # something was refused
            with pytest.raises(on.runtime.CUDARuntimeError, match="Invalidated"):
                on.first.end_capture()
        assert not any_capture(on)


def any_capture(on):
    try:
        return any(stream.is_capturing() for stream in (on.first, on.second))
    except RuntimeError:
        return True


def fork(on):
    """The second stream joins the capture of the first."""
    on.second.wait_event(on.first.record())


def join(on):
    on.first.wait_event(on.second.record())


def unjoined(on):
    fork(on)
    with on.second:
        on.x * 2


def merge(on):
    on.third.begin_capture()
    try:
        on.third.wait_event(on.first.record())
    finally:
        with pytest.raises(on.runtime.CUDARuntimeError, match="Invalidated"):
            on.third.end_capture()


def copy_pageable(on):
    host = np.zeros(4)
    on.runtime.memcpyAsync(on.x.data.ptr, host.ctypes.data, host.nbytes, 1, on.first.ptr)


def copy_pageable_back(on):
    host = np.zeros(4)
    on.runtime.memcpyAsync(host.ctypes.data, on.x.data.ptr, host.nbytes, 2, on.first.ptr)


def on_the_other_stream(on):
    fork(on)
    on.second.end_capture()


REFUSED = {
    "synchronize the stream": (lambda on: on.first.synchronize(), "Unsupported"),
    "synchronize the device": (lambda on: on.cupy.cuda.Device().synchronize(), "Unsupported"),
    "synchronize an event": (lambda on: on.first.record().synchronize(), "CapturedEvent"),
    "copy at once": (lambda on: on.runtime.memcpy(on.x.data.ptr, on.x.data.ptr, 8, 3), "Unsupported"),
    "copy from pageable memory": (copy_pageable, "Unsupported"),
    "copy to pageable memory": (copy_pageable_back, "Unsupported"),
    "wait for what was not captured": (lambda on: on.first.wait_event(on.before), "Isolation"),
    "have the default stream wait": (lambda on: on.cupy.cuda.Stream.null.wait_event(on.first.record()), "Isolation"),
    "have another capture wait": (merge, "Merge"),
    "end on another stream": (on_the_other_stream, "Unmatched"),
    "begin again": (lambda on: on.first.begin_capture(), "IllegalState"),
    "end with a branch that nothing waits for": (unjoined, "Unjoined"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_capture_refuses_to(what, on):
    action, error = REFUSED[what]
    with pytest.raises(on.runtime.CUDARuntimeError, match=error):
        capture(on, lambda: (on.x + 1, action(on)))
    y = capture(on, lambda: on.x + 1)  # the streams can be used again
    on.graph.launch()
    assert y.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("query", ["stream", "event"])
def test_a_query_says_that_nothing_is_done_and_invalidates_the_capture(query, on):
    def run():
        assert not (on.first if query == "stream" else on.first.record()).done
        on.x + 1

    with pytest.raises(on.runtime.CUDARuntimeError, match="Invalidated"):
        capture(on, run)


def test_an_invalid_capture_refuses_everything_on_its_streams(on):
    error = on.runtime.CUDARuntimeError

    def run():
        fork(on)
        with pytest.raises(error, match="Unsupported"):
            on.first.synchronize()
        for stream in (on.first, on.second):
            with pytest.raises(RuntimeError, match="invalidated"):
                stream.is_capturing()
            with pytest.raises(error, match="Invalidated"), stream:
                on.x + 1

    with pytest.raises(error, match="Invalidated"):
        capture(on, run)


def test_the_default_stream_may_be_used_only_beside_a_non_blocking_stream(on):
    def run():
        with on.cupy.cuda.Stream.null:
            return (on.x + 1).tolist()  # runs at once

    assert capture(on, run) == [1, 2, 3, 4]
    on.first = on.cupy.cuda.Stream()
    with pytest.raises(on.runtime.CUDARuntimeError, match="Implicit"):
        capture(on, run)


def test_memory_may_be_allocated_in_relaxed_mode_only(on):
    capture(on, lambda: on.cupy.empty(1 << 20))
    on.pool = on.cupy.cuda.MemoryPool()
    with pytest.raises(on.runtime.CUDARuntimeError, match="Unsupported"):
        capture(on, lambda: on.cupy.empty(1 << 20), GLOBAL)


def test_cupy_itself_refuses_products_and_transfers(on):
    square = on.cupy.eye(3)
    square @ square

    def run():
        with pytest.raises(NotImplementedError, match="cuBLAS"):  # CuPy issue 6290
            square @ square
        for transfer in (square.get, lambda: on.cupy.asarray(np.ones(3))):
            with pytest.raises(RuntimeError, match="capturing"):
                transfer()

    capture(on, run)


def replays(on, result):
    """The results of several replays, each in another order of the nodes."""
    values = []
    for _ in range(20):
        on.graph.launch()
        values.append(result.tolist())
    return values


def test_a_fork_that_is_joined_is_right_in_any_order(on):
    def run():
        a = on.x + 1
        fork(on)
        with on.second:
            b = a * 2
        c = a + 10
        join(on)
        return b + c

    result = capture(on, run)
    assert replays(on, result) == [[13, 16, 19, 22]] * 20
    assert [node.needs for node in pretended_gpu.nodes()] == [[], [0], [0], [1, 2]]
    assert pretended_gpu.critical_path(pretended_gpu.nodes()) == 3


def test_a_missing_dependency_gives_wrong_numbers(on):
    def run():
        a = on.x + 1
        fork(on)
        with on.second:
            b = a * 2
        result = b + a  # too early
        join(on)
        return result

    result = capture(on, run)
    assert any(value != [3, 6, 9, 12] for value in replays(on, result))


@pytest.mark.parametrize("kept", [True, False])
def test_an_operand_of_a_branch_freed_before_the_join_gives_wrong_numbers(kept, on):
    def run():
        a = on.x + 1
        fork(on)
        with on.second:
            b = a * 2
        keep = a if kept else None
        del a
        c = on.x + 10  # in the memory of a, if that is free
        join(on)
        return b, c, keep

    result, *_ = capture(on, run)
    assert all(value == [2, 4, 6, 8] for value in replays(on, result)) == kept


def test_memory_is_nan_when_it_is_allocated_and_when_it_is_freed(on):
    a = on.cupy.ones(100)
    address = a.data.ptr
    del a
    b = on.cupy.empty(100)
    assert b.data.ptr == address
    assert np.isnan(b.get()).all()


def test_products_that_may_overlap_need_workspaces_of_their_own(on):
    square = on.cupy.eye(3, dtype="float32")
    for stream in (on.first, on.second):
        cublas.handle_of(stream)

    def run():
        fork(on)
        for stream in (on.first, on.second):
            with stream:
                cublas.matmul(square, square)
        join(on)

    capture(on, run)
    (_, workspace, _), (handle, *_) = (cublas.handles[stream.ptr] for stream in (on.first, on.second))
    cublas.call("cublasSetWorkspace_v2", handle, ctypes.c_void_p(workspace.ptr), ctypes.c_size_t(1 << 20))
    with pytest.raises(RuntimeError, match="share a workspace"):
        capture(on, run)


def test_an_error_ends_a_capture_and_the_next_one_is_right(on):
    def interrupted():
        on.x + 1
        raise KeyboardInterrupt

    def forbidden():
        on.x + 1
        on.cupy.cuda.get_current_stream().synchronize()

    for run, error in ((interrupted, KeyboardInterrupt), (forbidden, on.runtime.CUDARuntimeError)):
        with pytest.raises(error):
            capture_graph(run)
        (y,), replay = capture_graph(lambda: (on.x + 1,))
        replay()
        assert y.tolist() == [1, 2, 3, 4]


def test_the_end_of_a_thread_that_has_multiplied_breaks_a_capture(on):
    square = on.cupy.eye(3)

    def run(multiply=lambda: square @ square):  # CuPy's product: it has a handle of cuBLAS for each thread
        thread = Thread(target=multiply)
        thread.start()
        thread.join()
        return (cublas.matmul(square, square),)

    with pytest.raises(RuntimeError, match="cublasGemmEx failed with status 13"):  # as on an H100
        capture_graph(run)
    (product,), replay = capture_graph(lambda: run(lambda: cublas.matmul(square, square)))
    replay()
    assert (product == square).all()


def test_a_graph_has_memory_of_its_own(on):
    x, y = on.cupy.ones((2, 4096))  # whole pages

    def run():
        y[...] = (x + 1) * 2  # results that are given back before the graph ever runs
        return ()

    _, replay = capture_graph(run)
    gc.collect()
    on.cupy.get_default_memory_pool().free_all_blocks()
    others = [on.cupy.zeros(4096) for _ in range(20)]
    replay()
    assert (y == 4).all()
    assert not any(other.any() for other in others)


def test_captures_of_several_threads_wait_for_each_other(on):
    def capture_and_replay(number):
        def run():
            y = on.x + number
            time.sleep(0.01)  # the other threads' turn
            return (y + number,)

        with on.cupy.cuda.Stream(non_blocking=True) as stream:
            (y,), replay = capture_graph(run)
            replay()
            stream.synchronize()
            return y.tolist()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(capture_and_replay, range(8)))
    assert results == [[2 * number + n for n in range(4)] for number in range(8)]


def train(config, xp, kernels, steps, averaging_from=None):
    state = init_train_state(config, VOCABULARY, xp)
    step = compile_step(state, kernels)
    rng = np.random.default_rng(0)
    seen = []
    for k in range(steps):
        if k == averaging_from:
            begin_averaging(state)
            step = compile_step(state, kernels)
        T = config.num_steps + (k % 2 if config.vary_num_steps else 0)
        inputs, targets = rng.integers(len(VOCABULARY), size=(2, T, config.batch_size))
        seen += step(xp.asarray(inputs), xp.asarray(targets), config.learning_rate / (1 + k))
    return state, [float(to_host(value)) for value in seen]


@pytest.mark.parametrize("where", ["kernel", "cuBLAS"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_a_step_as_a_graph_is_the_cpus_step_in_any_order(num_layers, optimizer, where, cupy, monkeypatch):
    monkeypatch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", 8 if where == "kernel" else 0)
    config = replace(
        PRESETS["toy"], hidden_size=8, num_layers=num_layers, num_steps=5, batch_size=3, keep_prob=0.7,
        dtype="float64", optimizer=optimizer, learning_rate={"sgd": 1.0, "adam": 1e-2}[optimizer],
    )  # fmt: skip
    mine, my_losses = train(config, cupy, fused, steps=10)
    theirs, their_losses = train(config, np, plain, steps=10)
    np.testing.assert_allclose(my_losses, their_losses, rtol=1e-9)
    for name, param in theirs.params.items():
        np.testing.assert_allclose(to_host(mine.params[name]), param, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("where", ["kernel", "cuBLAS"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_with_all_ideas_is_the_cpus_step_as_graphs_of_two_lengths(optimizer, where, cupy, monkeypatch):
    monkeypatch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", 8 if where == "kernel" else 0)
    config = replace(
        PRESETS["toy"], hidden_size=8, num_layers=2, num_steps=5, batch_size=3, keep_prob=0.7, vary_num_steps=True,
        dtype="float64", optimizer=optimizer, learning_rate={"sgd": 1.0, "adam": 1e-2}[optimizer], **AWD,
    )  # fmt: skip
    mine, my_losses = train(config, cupy, fused, steps=16, averaging_from=7)
    theirs, their_losses = train(config, np, plain, steps=16, averaging_from=7)
    np.testing.assert_allclose(my_losses, their_losses, rtol=1e-9)
    for mine_of, theirs_of in ((mine.params, theirs.params), (mine.average, theirs.average)):
        assert mine_of.keys() == theirs_of.keys()
        for name, param in theirs_of.items():
            np.testing.assert_allclose(to_host(mine_of[name]), param, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("where", ["kernel", "cuBLAS"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_perplexity_from_graphs_is_the_cpus(split, where, cupy, monkeypatch):
    monkeypatch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", 8 if where == "kernel" else 0)
    config = replace(PRESETS["toy"], hidden_size=8, num_layers=2, num_steps=5, batch_size=3, dtype="float64", **AWD)
    ids = np.random.default_rng(0).integers(len(VOCABULARY), size=250)  # the last window is shorter
    mine, theirs = (
        evaluate(init_params(config, len(VOCABULARY), xp), config, split, ids, kernels)
        for xp, kernels in ((cupy, fused), (np, plain))
    )
    assert mine == pytest.approx(theirs, rel=1e-12)
    num_steps = {"valid": 5, "test": 15}[split]  # the same number of words in one stream
    per_step = {"kernel": 1, "cuBLAS": 2}[where] * config.num_layers
    assert len(pretended_gpu.nodes()) == num_steps * per_step + 9


@pytest.mark.parametrize(("preset", "where", "optimizer"), GRAPHS)
def test_the_graph_of_a_step_has_this_many_nodes(preset, where, optimizer, cupy, monkeypatch):
    monkeypatch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", 8 if where == "kernel" else 0)
    train(replace(PRESETS[preset], hidden_size=8, optimizer=optimizer), cupy, fused, steps=2)
    graph = pretended_gpu.nodes()
    assert (len(graph), pretended_gpu.critical_path(graph)) == GRAPHS[preset, where, optimizer]


def test_a_run_from_the_command_line_goes_on_on_the_other_device(tmp_path, shared_corpus_dir, capsys):
    run = str(tmp_path / "run")
    small = ["--data", str(shared_corpus_dir), "--hidden-size", "8", "--num-steps", "5", "--max-max-epoch", "1"]
    assert main(["train", "--out", run, "--device", "cuda", "--max-steps", "5", *small]) == 0
    assert main(["train", "--out", run, "--device", "cpu", "--resume", "--max-steps", "8"]) == 0
    assert main(["train", "--out", run, "--device", "cuda", "--resume"]) == 0
    assert main(["evaluate", run, "--device", "cuda"]) == 0
    assert main(["generate", run, "--device", "cuda", "--words", "5"]) == 0
    assert "Device: cuda (pretended GPU" in capsys.readouterr().out
