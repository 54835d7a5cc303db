"""On a real GPU: both sets agree with the CPU, a graph agrees with the eager step, and results are reproducible."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from minilstm import plain
from minilstm.cli import main
from minilstm.config import PRESETS
from minilstm.device import select_device, to_host
from minilstm.errors import UserError
from minilstm.evaluate import evaluate
from minilstm.gpu import fused, launch
from minilstm.gpu.cublas import matmul
from minilstm.gpu.graph import capture_graph
from minilstm.gradcheck_cases import BOUND, Shapes, check_layers
from minilstm.masks import draw_masks, flatten_masks
from minilstm.model import init_params, loss_and_gradients, zero_state
from minilstm.runs.checkpoint import save_checkpoint
from minilstm.step import init_train_state, train_step
from minilstm.text.batches import batchify, get_batch, num_windows
from minilstm.text.corpus import load_corpus
from minilstm.train import compile_step

try:
    cupy, NOTE = select_device("cuda")
except UserError as error:
    if os.environ.get("MINILSTM_REQUIRE_GPU") == "1":
        raise  # this machine is said to have a GPU: a skip would hide that it cannot be used
    cupy, NOTE = None, str(error)
pytestmark = pytest.mark.skipif(cupy is None, reason=f"no GPU to test on: {NOTE}")

CONFIG = replace(
    PRESETS["toy"], hidden_size=24, num_layers=2, num_steps=7, batch_size=5, keep_prob=0.7, forget_bias=0.5
)
AWD = {
    "tie_weights": True, "embedding_size": 13, "locked_dropout": True, "input_keep_prob": 0.6, "output_keep_prob": 0.5,
    "embedding_keep_prob": 0.9, "weight_keep_prob": 0.5, "activation_reg": 2.0, "temporal_reg": 1.0,
    "weight_decay": 1e-3,
}  # fmt: skip


def train_some(config, xp, kernels, steps=8, graph=False):
    corpus = load_corpus()
    state = init_train_state(config, corpus.vocabulary, xp)
    step = compile_step(state, kernels) if graph else lambda *arguments: train_step(state, *arguments, kernels)
    ids = xp.asarray(batchify(corpus.splits["train"], config.batch_size))
    assert num_windows(len(ids), config.num_steps) > steps
    seen = [step(*get_batch(ids, k, config.num_steps), config.learning_rate / (1 + k // 4)) for k in range(steps)]
    return state, np.array([[float(to_host(x)) for x in pair] for pair in seen])


@pytest.mark.parametrize("kernels", [plain, fused], ids=["plain", "fused"])
@pytest.mark.parametrize("shapes", [Shapes(), Shapes(T=9, B=1, D=3, H=17, V=300, L=3)], ids=str)
def test_every_gradient_matches_finite_differences(shapes, kernels):
    for layer, result in check_layers(cupy, kernels, shapes):
        assert result.error <= BOUND, (layer, result)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("hidden_size", [24, 203, 600])
def test_loss_and_gradients_of_both_sets_are_the_cpus(dtype, hidden_size):
    config = replace(CONFIG, dtype=dtype, hidden_size=hidden_size, keep_prob=1.0)
    tolerance = {"float64": 1e-12, "float32": 2e-5, "float16": 2e-2}[dtype]
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(321, size=(2, 7, 5))
    params = init_train_state(config, load_corpus().vocabulary).params
    params = {name: param.astype(dtype) for name, param in params.items()}
    loss, grads, _ = loss_and_gradients(params, config, inputs, targets, zero_state(config, 5))
    on_gpu = {name: cupy.asarray(param) for name, param in params.items()}
    like = on_gpu["decoder.bias"]
    for kernels in (plain, fused):
        result = loss_and_gradients(
            on_gpu, config, cupy.asarray(inputs), cupy.asarray(targets), zero_state(config, 5, like), kernels=kernels
        )
        np.testing.assert_allclose(to_host(result[0]), loss, rtol=tolerance)
        for name, grad in grads.items():
            mine, theirs = result[1][name], grad
            if name == "encoder.weight":
                mine, theirs = mine.to_dense(321), theirs.to_dense(321)
            np.testing.assert_allclose(to_host(mine), theirs, rtol=tolerance, atol=tolerance * abs(theirs).max())


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_products_that_a_graph_can_capture_equal_numpys(dtype):
    rng = np.random.default_rng(0)
    rows, matrix, columns = (rng.standard_normal(shape).astype(dtype) for shape in ((7, 30), (30, 11), (11, 30)))
    tolerance = {"float64": 1e-13, "float32": 1e-5, "float16": 1e-2}[dtype]
    a, b, c = map(cupy.asarray, (rows, matrix, columns))
    products = [matmul(a, b), matmul(a, c.T), matmul(b.T, a.T), matmul(c, a.T), matmul(a[:1], b)]
    products += [matmul(b[:, :1].copy().T, a.T)]
    expected = [rows @ matrix, rows @ columns.T, matrix.T @ rows.T, columns @ rows.T, rows[:1] @ matrix]
    expected += [matrix[:, :1].T @ rows.T]
    for value, reference in zip(products, expected, strict=True):
        assert value.shape == reference.shape
        np.testing.assert_allclose(to_host(value), reference, rtol=tolerance, atol=tolerance * 10)
    with pytest.raises(ValueError, match="not contiguous"):
        matmul(a[:, ::2], b[::2])


def test_a_capture_does_not_disturb_products_of_other_threads_and_streams():
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((30, 30)) for _ in range(2)]
    a, b = map(cupy.asarray, arrays)

    def multiply(stream):
        with stream:
            products = a @ b, matmul(a, b)
            stream.synchronize()
        return products

    with ThreadPoolExecutor(1) as pool:  # its thread starts in the capture and ends after it, as graph.py demands

        def run():
            elsewhere.extend(pool.submit(multiply, cupy.cuda.Stream(non_blocking=True)).result())
            return (matmul(a, b),)

        elsewhere = list(multiply(cupy.cuda.get_current_stream()))
        outputs, replay = capture_graph(run)
    replay()
    elsewhere += multiply(cupy.cuda.get_current_stream())
    assert len(elsewhere) == 6
    for product in (*outputs, *elsewhere):
        np.testing.assert_allclose(to_host(product), arrays[0] @ arrays[1], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", ["lstm_step_forward_with_gemm", "lstm_step_backward_with_gemm"])
def test_the_loads_of_the_products_in_a_kernel_overlap(name):
    kernel = launch.compile_kernel("lstm", name, "float32")
    assert kernel.num_regs >= 50  # each value that is under way has a register
    assert kernel.local_size_bytes == 0


def test_masks_are_the_cpus():
    inputs = np.zeros((7, 5), int)
    for dtype in ("float64", "float32", "float16"):
        for ideas in ({}, AWD):
            config = replace(CONFIG, dtype=dtype, seed=7, **ideas)
            expected = flatten_masks(draw_masks(config, 3, inputs, 31))
            for kernels in (plain, fused):
                masks = flatten_masks(draw_masks(config, 3, cupy.asarray(inputs), 31, kernels))
                assert len(masks) == len(expected)
                for mask, theirs in zip(masks, expected, strict=True):
                    assert (mask is None) == (theirs is None)
                    if theirs is not None:
                        np.testing.assert_array_equal(to_host(mask), theirs)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("how", ["plain", "fused", "fused, graph"])
@pytest.mark.parametrize("ideas", [{}, AWD], ids=["", "awd"])
def test_training_in_float64_gives_the_cpus_numbers(optimizer, how, ideas):
    config = replace(CONFIG, dtype="float64", optimizer=optimizer, learning_rate={"adam": 1e-3, "sgd": 1.0}[optimizer])
    config = replace(config, **ideas)
    kernels = plain if how == "plain" else fused
    mine, my_losses = train_some(config, cupy, kernels, graph="graph" in how)
    theirs, their_losses = train_some(config, np, plain)
    np.testing.assert_allclose(my_losses, their_losses, rtol=1e-9)
    for name, param in theirs.params.items():
        np.testing.assert_allclose(to_host(mine.params[name]), param, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("kernels", [plain, fused], ids=["plain", "fused"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_perplexity_is_the_cpus(split, kernels):
    config, corpus = replace(CONFIG, dtype="float64", init_scale=0.5), load_corpus()
    ids = corpus.splits[split][:400]  # the last window is shorter
    mine, theirs = (
        evaluate(init_params(config, len(corpus.vocabulary), xp), config, split, ids, its)
        for xp, its in ((cupy, kernels), (np, plain))
    )
    assert mine == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_graph_gives_the_eager_steps_numbers_and_the_same_ones_twice(dtype, tmp_path):
    config = replace(CONFIG, dtype=dtype)
    runs = {name: train_some(config, cupy, fused, 12, graph=name != "eager") for name in ("eager", "once", "twice")}
    for name, (state, _) in runs.items():
        save_checkpoint(tmp_path / name, state)
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()
    tolerance = 1e-4 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(runs["once"][1], runs["eager"][1], rtol=tolerance)


def test_ids_outside_the_vocabulary_make_the_loss_nan():
    state = init_train_state(CONFIG, ["a", "b"], cupy)
    ids = cupy.zeros((7, 5), dtype="int32")
    for inputs, targets in ((ids - 1, ids), (ids, ids + 2)):
        loss, _ = train_step(state, inputs, targets, 0.0, fused)
        assert not np.isfinite(to_host(loss))


def test_a_run_can_be_resumed_on_the_other_device(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--out", run, "--device", "cuda", "--max-steps", "30"]) == 0
    assert main(["train", "--out", run, "--device", "cpu", "--resume", "--max-steps", "40"]) == 0
    assert main(["train", "--out", run, "--device", "cuda", "--resume", "--max-steps", "50"]) == 0
    assert main(["train", "--out", run, "--device", "cuda", "--kernels", "plain", "--resume", "--max-steps", "60"]) == 0
    assert main(["evaluate", run, "--device", "cuda"]) == 0
    assert main(["generate", run, "--device", "cuda", "--words", "5"]) == 0
    assert "Device: cuda" in capsys.readouterr().out
