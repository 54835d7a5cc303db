"""On a real GPU: the same numbers as on the CPU, replayed as one graph, the same twice."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from minilstm.cli import main
from minilstm.config import PRESETS
from minilstm.device import select_device, to_host
from minilstm.errors import UserError
from minilstm.gpu import lstm_kernels as kernels
from minilstm.gpu.cublas import recordable_products
from minilstm.gradcheck_cases import BOUND, Shapes, check_layers
from minilstm.layers import softmax
from minilstm.model import draw_masks
from minilstm.runs.checkpoint import save_checkpoint
from minilstm.text.batches import batchify, get_batch, num_windows
from minilstm.text.corpus import load_corpus
from minilstm.train import compile_step, init_train_state, train_step, update

try:
    cupy, NOTE = select_device("cuda")
except UserError as error:
    cupy, NOTE = None, str(error)
pytestmark = pytest.mark.skipif(cupy is None, reason=f"no GPU to test on: {NOTE}")

CONFIG = replace(
    PRESETS["toy"], hidden_size=24, num_layers=2, num_steps=7, batch_size=5, keep_prob=0.7, forget_bias=0.5
)


def train_some(config, xp, steps=8, graph=True):
    corpus = load_corpus()
    checkpoint = init_train_state(config, corpus.vocabulary, xp)
    device_step = compile_step(checkpoint, xp) if graph else partial(update, checkpoint)
    data = xp.asarray(batchify(corpus.splits["train"], config.batch_size))
    assert num_windows(len(data), config.num_steps) > steps
    seen = [
        train_step(
            checkpoint, *get_batch(data, k, config.num_steps), config.learning_rate / (1 + k // 4), xp, device_step
        )
        for k in range(steps)
    ]
    return checkpoint, np.array([[float(to_host(x)) for x in pair] for pair in seen])


@pytest.mark.parametrize("shapes", [Shapes(), Shapes(T=9, B=1, D=3, H=17, V=300, L=3)], ids=str)
def test_every_gradient_matches_finite_differences(shapes):
    for layer, result in check_layers(cupy, shapes):
        assert result.error <= BOUND, (layer, result)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_kernels_equal_the_numpy_lines(dtype):
    rng = np.random.default_rng(0)
    B, H, N, V = 20, 203, 37, 10_001
    tolerance = {"float64": 1e-13, "float32": 2e-6, "float16": 4e-3}[dtype]
    wide = "float32" if dtype == "float16" else dtype
    z, recurrent, *rest = ((rng.standard_normal((B, n * H))).astype(dtype) for n in (4, 4, 1, 1, 1, 1))
    logits, targets, weights = rng.standard_normal((N, V)).astype(wide), rng.integers(V, size=N), rng.random(N)

    def both_ways(xp):
        gates, added, cell_prev, doutputs, dh_next, dcell = map(xp.asarray, (z.copy(), recurrent, *rest))
        cell, tanh_cell, hidden = (xp.empty_like(cell_prev) for _ in range(3))
        kernels.gates_forward(gates, added, cell_prev, cell, tanh_cell, hidden, 0.5)
        dgates = xp.empty_like(gates)
        dcell_prev = kernels.gates_backward(doutputs, dh_next, dcell, gates, cell_prev, tanh_cell, dgates)
        p, ids = xp.asarray(logits.copy()), xp.asarray(targets)
        total, target_logits = softmax.exp_rows(p, ids)
        softmax.softmax_gradient(p, total, ids, xp.asarray(weights.astype(wide)))
        return map(to_host, (gates, cell, tanh_cell, hidden, dgates, dcell_prev, total, target_logits, p))

    for mine, theirs in zip(both_ways(cupy), both_ways(np), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_products_that_a_graph_can_record_equal_numpys(dtype):
    rng = np.random.default_rng(0)
    rows, matrix, columns = (rng.standard_normal(shape).astype(dtype) for shape in ((7, 30), (30, 11), (11, 30)))
    tolerance = {"float64": 1e-13, "float32": 1e-5, "float16": 1e-2}[dtype]
    a, b, c = map(cupy.asarray, (rows, matrix, columns))
    with recordable_products(cupy):
        products = [a @ b, a @ c.T, b.T @ a.T, c @ a.T, a[0] @ b, a[:1] @ b, b[:, :1].copy().T @ a.T]
    expected = [rows @ matrix, rows @ columns.T, matrix.T @ rows.T, columns @ rows.T, rows[0] @ matrix]
    expected += [rows[:1] @ matrix, matrix[:, :1].T @ rows.T]
    for value, reference in zip(products, expected, strict=True):
        assert value.shape == reference.shape
        np.testing.assert_allclose(to_host(value), reference, rtol=tolerance, atol=tolerance * 10)
    assert "__matmul__" not in vars(cupy.ndarray)  # CuPy's own product again
    with pytest.raises(ValueError, match="gaps in memory"), recordable_products(cupy):
        a[:, ::2] @ b[::2]


def test_masks_are_the_cpus():
    for dtype in ("float64", "float32", "float16"):
        config = replace(CONFIG, dtype=dtype, seed=7)
        mine, theirs = (to_host(draw_masks(config, 3, (7, 5), xp)) for xp in (cupy, np))
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_training_in_float64_gives_the_cpus_numbers(optimizer, graph):
    config = replace(CONFIG, dtype="float64", optimizer=optimizer, learning_rate={"adam": 1e-3, "sgd": 1.0}[optimizer])
    mine, my_costs = train_some(config, cupy, graph=graph)
    theirs, their_costs = train_some(config, np)
    np.testing.assert_allclose(my_costs, their_costs, rtol=1e-9)
    for name, param in theirs.params.items():
        np.testing.assert_allclose(to_host(mine.params[name]), param, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_graph_gives_the_eager_steps_numbers_and_the_same_ones_twice(dtype, tmp_path):
    config = replace(CONFIG, dtype=dtype)
    runs = {name: train_some(config, cupy, steps=12, graph=name != "eager") for name in ("eager", "once", "twice")}
    for name, (checkpoint, _) in runs.items():
        save_checkpoint(tmp_path / name, checkpoint)
    assert (tmp_path / "once").read_bytes() == (tmp_path / "twice").read_bytes()
    tolerance = 1e-4 if dtype == "float32" else 2e-2
    np.testing.assert_allclose(runs["once"][1], runs["eager"][1], rtol=tolerance)


def test_a_run_begun_on_one_device_goes_on_on_the_other(tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--out", run, "--device", "cuda", "--max-steps", "30"]) == 0
    assert main(["train", "--out", run, "--device", "cpu", "--resume", "--max-steps", "40"]) == 0
    assert main(["train", "--out", run, "--device", "cuda", "--resume", "--max-steps", "50"]) == 0
    assert main(["evaluate", run, "--device", "cuda"]) == 0
    assert main(["generate", run, "--device", "cuda", "--words", "5"]) == 0
    assert "Device: cuda" in capsys.readouterr().out
