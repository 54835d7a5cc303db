"""The CUDA kernels without a GPU: compiled for the CPU unchanged, and the fused set compared with the plain one."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import cuda_on_cpu
import numpy as np
import pytest
import strict_array
from hypothesis import given, settings
from hypothesis import strategies as st

from minilstm import plain
from minilstm.config import Config
from minilstm.device import to_host
from minilstm.events import Report
from minilstm.gpu import fused, launch, multi_tensor
from minilstm.gpu import lstm as gpu_lstm
from minilstm.gradcheck import check_gradients
from minilstm.gradcheck_cases import BOUND, CASES, RandomInputs, Shapes, lstm_case
from minilstm.layers.embedding import SparseGradient
from minilstm.optim import zero_moments
from minilstm.step import init_train_state, train_step
from minilstm.text.corpus import load_corpus
from minilstm.train import train

KERNELS = {
    "lstm": (
        "lstm_step_forward",
        "lstm_step_backward",
        "lstm_step_forward_with_gemm",
        "lstm_step_backward_with_gemm",
    ),
    "softmax": ("softmax_cross_entropy_forward", "softmax_cross_entropy_backward"),
    "embedding": ("embedding_forward", "embedding_backward"),
    "dropout": ("dropout_mask",),
    "multi_tensor": ("sum_of_squares", "norm_and_factor", "sgd_update", "sparse_sgd_update", "adam_update"),
}
TOLERANCE = {"float64": 1e-12, "float32": 2e-5}

pytestmark = pytest.mark.skipif(not cuda_on_cpu.COMPILER, reason="no g++ to compile the kernels with")
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float64", "float32"])


@pytest.fixture(autouse=True, scope="module")
def kernels_on_cpu():
    """The fused set on NumPy arrays, with kernels compiled by g++."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "compile_kernel", cuda_on_cpu.compile_kernel)
        yield


def flatten(value):
    """The arrays in nested tuples, lists and dicts; a sparse gradient as a dense one."""
    if isinstance(value, SparseGradient):
        return [value.to_dense(20)]
    if isinstance(value, dict):
        return [array for name in sorted(value) for array in flatten(value[name])]
    if isinstance(value, tuple | list):
        return [array for item in value for array in flatten(item)]
    return [value]


def assert_close(mine, theirs, dtype):
    for value, reference in zip(flatten(mine), flatten(theirs), strict=True):
        assert value.dtype == reference.dtype
        np.testing.assert_allclose(value, reference, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_the_two_sets_have_the_same_names_and_every_kernel_is_listed():
    assert fused.__all__ == plain.__all__
    files = {path.stem: path.read_text() for path in launch.KERNELS.glob("*.cu")}
    assert set(files) == set(KERNELS)
    for file, text in files.items():
        assert text.count("__global__ void") == len(KERNELS[file])


@settings(max_examples=30, deadline=None)
@given(
    T=st.integers(1, 4), B=sizes, D=sizes, H=st.integers(1, 40), dtype=dtypes, forget_bias=st.floats(-3, 3),
    gemm=st.booleans(), truncated=st.booleans(), seed=seeds,
)  # fmt: skip
def test_fused_lstm_equals_the_plain_one(T, B, D, H, dtype, forget_bias, gemm, truncated, seed):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    params = {"weight_ih": normal(4 * H, D), "weight_hh": normal(4 * H, H) / H**0.5, "bias": normal(4 * H)}
    inputs, doutputs, state = normal(T, B, D), normal(T, B, H), (normal(B, H), normal(B, H))
    dstate = None if truncated else (normal(B, H), normal(B, H))

    def run(kernels):
        outputs, new_state, cache = kernels.lstm_forward(inputs, state, params, forget_bias)
        dinputs, state_gradient, grads = kernels.lstm_backward(doutputs, dstate, cache)
        if truncated and kernels is fused:
            assert state_gradient is None  # nothing needs it
        return outputs, new_state, dinputs, grads, [] if truncated else state_gradient

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", 512 if gemm else 0)
        assert_close(run(fused), run(plain), dtype)


@settings(max_examples=30, deadline=None)
@given(
    T=sizes, B=st.integers(1, 4), V=st.integers(1, 40), dtype=dtypes, scale=st.sampled_from([1, 30, 3000]),
    weighted=st.booleans(), seed=seeds,
)  # fmt: skip
def test_fused_softmax_equals_the_plain_one(T, B, V, dtype, scale, weighted, seed):
    rng = np.random.default_rng(seed)
    logits, weights = (scale * rng.standard_normal((T, B, V))).astype(dtype), rng.random((T, B))
    targets = rng.integers(V, size=(T, B))

    def run(kernels):
        loss, cache = kernels.softmax_cross_entropy_forward(logits, targets, weights if weighted else None)
        return loss / scale, kernels.softmax_cross_entropy_backward(cache)

    assert_close(run(fused), run(plain), dtype)


@settings(max_examples=20, deadline=None)
@given(T=sizes, B=sizes, D=st.integers(1, 40), dtype=dtypes, seed=seeds)
def test_fused_embedding_equals_the_plain_one_and_counts_each_word(T, B, D, dtype, seed):
    rng = np.random.default_rng(seed)
    ids, weight = rng.integers(20, size=(T, B)), rng.standard_normal((20, D)).astype(dtype)
    doutputs = rng.standard_normal((T, B, D)).astype(dtype)

    def run(kernels):
        outputs, cache = kernels.embedding_forward(ids, weight)
        return outputs, kernels.embedding_backward(doutputs, cache)

    assert_close(run(fused), run(plain), dtype)
    grad = run(fused)[1]["weight"]
    np.testing.assert_array_equal(grad.counts[:, 0], np.bincount(ids.ravel(), minlength=20)[ids.ravel()])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("N", "D"), [(600, 5), (37, 300), (256, 1), (1, 256)])  # more than one block has threads
def test_the_gradient_of_a_repeated_word_is_summed_in_order_to_the_last_bit(N, D, dtype):
    rng = np.random.default_rng(N)
    ids = rng.integers(9, size=(N, 1)) ** 3 % 20  # some words are frequent
    doutputs = rng.standard_normal((N, 1, D)).astype(dtype)
    _, cache = fused.embedding_forward(ids, np.zeros((20, D), dtype))
    grad = fused.embedding_backward(doutputs, cache)["weight"]
    expected = np.zeros((20, D), dtype=np.promote_types(dtype, np.float32))
    for word, row in zip(ids[:, 0], doutputs[:, 0], strict=True):
        expected[word] += row
    assert grad.values.dtype == expected.dtype
    np.testing.assert_array_equal(grad.values, expected[ids[:, 0]])
    np.testing.assert_array_equal(grad.counts[:, 0], np.bincount(ids[:, 0])[ids[:, 0]])


def test_ids_outside_the_vocabulary_give_nan_and_are_never_read():
    weight = np.ones((3, 4))
    outputs, _ = fused.embedding_forward(np.array([[0, -1, 3, 2**40]]), weight)
    assert np.isfinite(outputs[0, 0]).all()
    assert np.isnan(outputs[0, 1:]).all()
    rows = np.ones((5, 4))
    _, cache = fused.embedding_forward(np.array([[0, -1, 3, 0]]), rows[1:4])  # with a row on either side
    grads = {"weight": fused.embedding_backward(np.ones((1, 4, 4)), cache)["weight"]}
    clipped, _ = fused.clip_by_global_norm(grads, 100.0)
    fused.sgd({"weight": rows[1:4]}, clipped, 1.0)
    np.testing.assert_array_equal(rows[:, 0], [1, -1, 1, 1, 1])
    for target in (-1, 5, 2**40):
        loss, _ = fused.softmax_cross_entropy_forward(np.zeros((1, 2, 5)), np.array([[0, target]]))
        assert np.isnan(loss)


@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20_000), min_size=3, max_size=3), dtype=dtypes, seed=seeds,
    optimizer=st.sampled_from(["sgd", "adam"]), max_norm=st.sampled_from([1.5, 1e6]), many=st.booleans(),
)  # fmt: skip
def test_fused_clipping_and_updates_equal_the_plain_ones(sizes, dtype, seed, optimizer, max_norm, many):
    rng = np.random.default_rng(seed)
    sizes += [5] * multi_tensor.MAX_ARRAYS if many else []  # more than one launch can take
    ids = rng.integers(20, size=(3, 4))
    params = {f"p{n}": rng.standard_normal(size).astype(dtype) for n, size in enumerate(sizes)}
    params["encoder.weight"] = rng.standard_normal((20, 6)).astype(dtype)
    grads = {name: rng.standard_normal(param.shape).astype(dtype) for name, param in params.items()}
    doutputs = rng.standard_normal((3, 4, 6)).astype(dtype)

    def run(kernels):
        mine = {name: param.copy() for name, param in params.items()}
        my_grads = {name: grad.copy() for name, grad in grads.items()}
        _, cache = kernels.embedding_forward(ids, mine["encoder.weight"])
        my_grads["encoder.weight"] = kernels.embedding_backward(doutputs, cache)["weight"]
        moments = zero_moments(mine)
        my_grads, norm = kernels.clip_by_global_norm(my_grads, max_norm)
        if optimizer == "sgd":
            kernels.sgd(mine, my_grads, 0.3)
        else:
            kernels.adam(mine, my_grads, 0.3, moments, 3)
        return norm, mine, {name: list(pair) for name, pair in moments.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multi_tensor, "BLOCKS", 3)  # fewer blocks here, so that each has something to do
        assert_close(run(fused), run(plain), dtype)


@pytest.mark.parametrize(
    "make_case", [*CASES[:-2], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[-2:])]
)
def test_gradients_of_the_fused_set_match_finite_differences(make_case):
    case = make_case(Shapes(T=2, B=5, D=2, H=3, V=7), RandomInputs(0), fused)
    for result in check_gradients(case.function, case.params, max_elements=2, directions=3):
        assert result.error <= BOUND, result


def test_gradients_of_a_large_layer_match_finite_differences(monkeypatch):
    monkeypatch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", 0)
    case = lstm_case(Shapes(T=2, B=5, D=2, H=3), RandomInputs(0), fused)
    for result in check_gradients(case.function, case.params, max_elements=2, directions=3):
        assert result.error <= BOUND, result


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**53), step=st.integers(0, 2**40), size=st.integers(1, 300), keep_prob=st.floats(0.01, 1))
def test_the_dropout_kernel_draws_the_very_masks_that_numpy_draws(seed, step, size, keep_prob):
    ids = np.zeros((1, 1), int)
    shapes, keep_probs = [(size,), (3, 5), (size, 1)], [keep_prob, 1.0, 0.5]
    mine, theirs = (kernels.dropout_masks(seed, step, shapes, keep_probs, "float32", ids) for kernels in (fused, plain))
    assert mine[1] is theirs[1] is None
    for mask, expected in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("file", "name", "right", "wrong"),
    [
        ("softmax", "softmax_cross_entropy_backward", "- (v == target ? w : 0)", "+ (v == target ? w : 0)"),
        ("lstm", "lstm_step_backward", "dc * i * (1 - g * g)", "dc * i * (1 + g * g)"),
        ("embedding", "embedding_backward", "sum += (acc_t)", "sum -= (acc_t)"),
    ],
)
def test_a_wrong_sign_in_a_kernel_is_found(file, name, right, wrong, monkeypatch):
    @cache
    def compile_wrong(a_file, a_name, dtype):
        source = launch.kernel_source(a_file, dtype)
        if a_name == name:
            assert source.count(right) == 1
            source = source.replace(right, wrong)
        return cuda_on_cpu.compile_source(source)[a_name]

    monkeypatch.setattr(launch, "compile_kernel", compile_wrong)
    make_case = next(case for case in CASES if case.__name__ == f"{file}_case")
    case = make_case(Shapes(T=2, B=5, D=2, H=3, V=7), RandomInputs(0), partial_set(monkeypatch))
    results = check_gradients(case.function, case.params, max_elements=2, directions=3)
    assert max(result.error for result in results) > 1e-2


def partial_set(monkeypatch):
    """The fused set with the LSTM's product outside the kernel, like the mutated kernel."""
    monkeypatch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", 0)
    return fused


@pytest.mark.slow
@pytest.mark.parametrize("gemm", [True, False], ids=["small layer", "large layer"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_fused_set_trains_on_arrays_that_never_meet_numpys_nor_wait(optimizer, gemm, monkeypatch):
    def compile_for_strict_arrays(*args):
        kernel = cuda_on_cpu.compile_kernel(*args)
        return lambda grid, block, arguments: kernel(grid, block, [getattr(x, "array", x) for x in arguments])

    monkeypatch.setattr(launch, "compile_kernel", compile_for_strict_arrays)
    monkeypatch.setattr(strict_array.StrictArray, "__bool__", strict_array.StrictArray.refuse)
    monkeypatch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", 512 if gemm else 0)
    config = Config(hidden_size=6, num_layers=2, num_steps=4, batch_size=3, dtype="float64", optimizer=optimizer)
    ids = np.random.default_rng(0).integers(11, size=(4, 2, 4, 3))
    results = {}
    for xp, kernels in ((strict_array, fused), (np, plain)):
        state = init_train_state(config, [f"w{n}" for n in range(11)], xp)
        for inputs, targets in ids:
            loss, norm = train_step(state, xp.asarray(inputs), xp.asarray(targets), 0.01, kernels)
        results[kernels] = [to_host(x) for x in (loss, norm, *state.params.values())]
    for mine, theirs in zip(results[fused], results[plain], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_arrays_that_are_not_contiguous_are_refused():
    x = np.ones((4, 6))
    with pytest.raises(ValueError, match="not contiguous"):
        launch.launch("softmax", "softmax_cross_entropy_backward", (2,), (x[:, ::2], x[0], x[0], x[0], x, 3))
    with pytest.raises(ValueError, match="not contiguous"):
        multi_tensor.clip_by_global_norm({"x": x[:, ::2]}, 1.0)


def registers(source, tmp_path):
    """Compile a source or a file with nvcc: kernel -> registers per thread. No kernel may use memory for a variable."""
    if isinstance(source, str):
        (tmp_path / "kernels.cu").write_text(source)
        source = tmp_path / "kernels.cu"
    command = [
        "nvcc",
        "-arch=sm_90",
        "-cubin",
        "-Werror=all-warnings",
        "-Xptxas",
        "-v",
        source,
        "-o",
        tmp_path / "cubin",
    ]
    report = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    names = re.findall(r"Compiling entry function '(\w+)'", report)
    assert set(re.findall(r"(\d+) bytes stack frame", report)) == {"0"}, report
    return dict(zip(names, map(int, re.findall(r"Used (\d+) registers", report)), strict=True))


needs_nvcc = pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc to compile the kernels with")


@pytest.mark.slow
@needs_nvcc
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("file", KERNELS)
def test_nvcc_compiles_the_kernels(file, dtype, tmp_path):
    assert set(registers(launch.kernel_source(file, dtype), tmp_path)) == set(KERNELS[file])
    if dtype == "float32":  # and the file alone, as an editor would check it
        registers(launch.KERNELS / f"{file}.cu", tmp_path)


@pytest.mark.slow
@needs_nvcc
def test_the_loads_of_the_products_in_a_kernel_overlap(tmp_path):
    source = launch.kernel_source("lstm", "float32")
    with_bounds = registers(source, tmp_path)
    without = registers(source.replace("__launch_bounds__(256, 1)", ""), tmp_path)
    for name in ("lstm_step_forward_with_gemm", "lstm_step_backward_with_gemm"):
        assert with_bounds[name] >= 50  # each value that is under way has a register
    assert without["lstm_step_backward_with_gemm"] < 50  # what the bounds are for


def test_half_precision_masks_have_the_layers_value_for_every_threshold(monkeypatch):
    scales = []
    monkeypatch.setattr(launch, "launch", lambda file, name, grid, arguments: scales.append(arguments[5]))
    like = np.zeros(1)
    thresholds = range(2, 65536)  # 65536 / 1 is too large for half precision; with 65536 there is no mask
    expected = np.ones(len(thresholds), np.float16)
    for n, threshold in enumerate(thresholds):
        fused.dropout_masks(0, 0, [(1,)], [threshold / 65536], "float16", like)
        expected[n] *= 65536 / threshold  # as in layers/dropout.py
    np.testing.assert_array_equal(np.float32(scales).astype(np.float16), expected)


def test_truncated_bptt_computes_no_product_for_the_state_before_the_window(monkeypatch):
    T, rng, products = 5, np.random.default_rng(0), []

    def counted(a, b):
        products.append((a.shape, b.shape))
        return a @ b

    monkeypatch.setattr(gpu_lstm, "matmul", counted)
    params = {"weight_ih": rng.random((8, 3)), "weight_hh": rng.random((8, 2)), "bias": np.zeros(8)}
    state = rng.random((4, 2)), rng.random((4, 2))
    for largest, recurrent in ((512, 0), (0, T - 1)):
        monkeypatch.setattr(gpu_lstm, "MAX_FUSED_HIDDEN_SIZE", largest)
        for dstate, more in ((None, 0), (state, 1)):
            _, _, cache = fused.lstm_forward(rng.random((T, 4, 3)), state, params)
            products.clear()
            fused.lstm_backward(rng.random((T, 4, 2)), dstate, cache)
            assert len(products) == 3 + recurrent + more  # dW_ih, dW_hh, dinputs


def test_training_and_evaluation_give_the_kernels_ids_that_they_need_not_convert(monkeypatch):
    dtypes = set()

    def embedding_forward(ids, weight, forward=plain.embedding_forward):
        dtypes.add(ids.dtype)
        return forward(ids, weight)

    monkeypatch.setattr(plain, "embedding_forward", embedding_forward)
    corpus = load_corpus()
    corpus = corpus._replace(splits={name: ids[:500] for name, ids in corpus.splits.items()})
    state = init_train_state(Config(hidden_size=4, max_max_epoch=1), corpus.vocabulary)
    assert [report.split for report in train(state, corpus) if isinstance(report, Report)][-1] == "test"
    assert dtypes == {np.dtype(np.int64)}


def test_where_a_gpu_is_required_the_gpu_tests_fail_without_one():
    tests = Path(__file__).with_name("test_gpu.py")
    environment = os.environ | {"MINILSTM_REQUIRE_GPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode not in (0, 5)
    assert "--device cuda" in result.stdout
