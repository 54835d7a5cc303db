"""The CUDA kernels without a GPU: their very text, compiled for the CPU, against the NumPy lines they replace."""

import shutil
import subprocess
from functools import cache, partial

import cuda_on_cpu
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilstm.gpu import launch as cuda
from minilstm.gpu import lstm_kernels as kernels
from minilstm.gpu import multi_tensor as many
from minilstm.gpu import recurrence
from minilstm.gpu.launch import TYPES, name_of, source
from minilstm.gradcheck import check_gradients
from minilstm.gradcheck_cases import BOUND, RandomInputs, Shapes, lstm_case
from minilstm.layers import dropout, softmax

TEXTS = (
    kernels.GATES_FORWARD,
    kernels.GATES_FORWARD_WITH_PRODUCT,
    kernels.GATES_BACKWARD,
    kernels.GATES_BACKWARD_WITH_PRODUCT,
    softmax.EXP_ROWS,
    softmax.SOFTMAX_GRADIENT,
    dropout.DROPOUT_MASK,
)
TOGETHER = (  # not in float16: weights and what is done with them are float32 at least
    many.text_for(many.SUM_OF_SQUARES, ("x",), 3),
    many.text_for(many.SCALE, ("x",), 3),
    many.text_for(many.DESCEND, ("w", "dw"), 3),
)
TO_COMPILE = [
    *(pytest.param(text, dtype, id=f"{name_of(text)}-{dtype}") for text in TEXTS for dtype in TYPES),
    *(pytest.param(text, dtype, id=f"together-{dtype}") for text in TOGETHER for dtype in ("float32", "float64")),
]
TOLERANCE = {"float64": 1e-13, "float32": 2e-6}

needs_compiler = pytest.mark.skipif(not cuda_on_cpu.COMPILER, reason="no g++ to compile the kernels with")
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float64", "float32"])


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return cache(lambda text, dtype: cuda_on_cpu.compile_kernel(text, dtype, tmp_path_factory.mktemp("kernel")))


def launcher(compiled):
    """What stands in for `launch` where arrays are NumPy's: the compiled text, blocks of a few threads."""

    def launch(text, blocks, arrays, numbers):
        if "blockIdx.x * blockDim.x" in text:
            blocks = -(-blocks * cuda.THREADS // cuda_on_cpu.THREADS)
        compiled(text, arrays[0].dtype.name)(blocks, *arrays, *numbers)

    return launch


@pytest.fixture(scope="module")
def on_kernels(compiled):
    """``on_kernels(function, ...)`` calls it while the package takes its GPU's branches, on NumPy arrays."""

    def call(function, *args):
        with pytest.MonkeyPatch.context() as patch:
            for module in (kernels, many, recurrence, softmax):
                patch.setattr(module, "on_gpu", lambda array: True)
            for module in (cuda, many, softmax):
                patch.setattr(module, "launch", launcher(compiled))
            return function(*args)

    return call


def close(values, expected, dtype):
    for value, reference in zip(values, expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@needs_compiler
@settings(max_examples=30, deadline=None)
@given(B=sizes, H=sizes, dtype=dtypes, forget_bias=st.floats(-3, 3), seed=seeds)
def test_gate_kernels_equal_the_numpy_lines(on_kernels, B, H, dtype, forget_bias, seed):
    rng = np.random.default_rng(seed)
    gates, recurrent, cell_prev, doutputs, dh_next, dcell = (
        (2 * rng.standard_normal((B, width * H))).astype(dtype) for width in (4, 4, 1, 1, 1, 1)
    )

    def both_ways():
        z, dgates = gates.copy(), np.empty_like(gates)
        cell, tanh_cell, hidden = (np.empty_like(cell_prev) for _ in range(3))
        kernels.gates_forward(z, recurrent, cell_prev, cell, tanh_cell, hidden, forget_bias)
        dcell_prev = kernels.gates_backward(doutputs, dh_next, dcell, z, cell_prev, tanh_cell, dgates)
        return z, cell, tanh_cell, hidden, dgates, dcell_prev

    close(on_kernels(both_ways), both_ways(), dtype)


@needs_compiler
@settings(max_examples=30, deadline=None)
@given(B=sizes, H=st.integers(1, 40), dtype=dtypes, forget_bias=st.floats(-3, 3), seed=seeds)
def test_gate_kernels_that_do_the_product_equal_product_and_numpy_lines(on_kernels, B, H, dtype, forget_bias, seed):
    rng = np.random.default_rng(seed)
    gates, dgates_next, hidden_prev, cell_prev, doutputs, dcell = (
        (2 * rng.standard_normal((B, width * H))).astype(dtype) for width in (4, 4, 1, 1, 1, 1)
    )
    weight_hh = (rng.standard_normal((4 * H, H)) / H**0.5).astype(dtype)

    def both_ways():
        z, dgates = gates.copy(), np.empty_like(gates)
        cell, tanh_cell, hidden = (np.empty_like(cell_prev) for _ in range(3))
        recurrent = recurrence.row_product(hidden_prev, weight_hh.T)
        kernels.gates_forward(z, recurrent, cell_prev, cell, tanh_cell, hidden, forget_bias)
        dh_next = recurrence.row_product(dgates_next, recurrence.by_columns(weight_hh))
        dcell_prev = kernels.gates_backward(doutputs, dh_next, dcell, z, cell_prev, tanh_cell, dgates)
        return z, cell, tanh_cell, hidden, dgates, dcell_prev

    for value, reference in zip(on_kernels(both_ways), both_ways(), strict=True):  # sums of up to 160 products
        np.testing.assert_allclose(value, reference, rtol=20 * TOLERANCE[dtype], atol=20 * TOLERANCE[dtype])


@needs_compiler
@settings(max_examples=30, deadline=None)
@given(N=sizes, V=st.integers(1, 40), dtype=dtypes, scale=st.sampled_from([1, 30, 3000]), seed=seeds)
def test_softmax_kernels_equal_the_numpy_lines(on_kernels, N, V, dtype, scale, seed):
    rng = np.random.default_rng(seed)
    logits, weights = (scale * rng.standard_normal((N, V))).astype(dtype), rng.random(N).astype(dtype)
    targets = rng.integers(V, size=N)

    def both_ways():
        p = logits.copy()
        total, target_logits = softmax.exp_rows(p, targets)
        exponentials = p.copy()
        softmax.softmax_gradient(p, total, targets, weights)
        return total, target_logits, exponentials, p

    close(on_kernels(both_ways), both_ways(), dtype)


@needs_compiler
def test_gradient_of_the_gate_kernels_matches_finite_differences(on_kernels):
    rng = np.random.default_rng(0)
    B, H = 3, 5
    recurrent, cell_prev, r_hidden, r_cell = (rng.standard_normal((B, width * H)) for width in (4, 1, 1, 1))

    def loss(params):
        z, dgates = params["gates"].copy(), np.empty((B, 4 * H))
        cell, tanh_cell, hidden = (np.empty((B, H)) for _ in range(3))
        kernels.gates_forward(z, recurrent, params["cell_prev"], cell, tanh_cell, hidden, 0.5)
        dcell_prev = kernels.gates_backward(r_hidden, 0 * r_hidden, r_cell, z, params["cell_prev"], tanh_cell, dgates)
        return (r_hidden * hidden).sum() + (r_cell * cell).sum(), {"gates": dgates, "cell_prev": dcell_prev}

    params = {"gates": rng.standard_normal((B, 4 * H)), "cell_prev": cell_prev}
    for result in on_kernels(check_gradients, loss, params):
        assert result.error < 1e-7, result


@needs_compiler
@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 20_000), min_size=1, max_size=4), dtype=dtypes, seed=seeds)
def test_kernels_for_many_arrays_equal_the_numpy_lines(on_kernels, sizes, dtype, seed):
    rng = np.random.default_rng(seed)
    weights, gradients = ([rng.standard_normal(size).astype(dtype) for size in sizes] for _ in range(2))
    factor = np.asarray(rng.random(), dtype)

    def both_ways():
        w, dw = ([array.copy() for array in arrays] for arrays in (weights, gradients))
        total = many.sum_of_squares(dw)
        many.scale(dw, factor)
        scaled = [array.copy() for array in dw]
        many.descend(w, dw, 0.3)
        return [total, *scaled, *w]

    for value, reference in zip(on_kernels(both_ways), both_ways(), strict=True):
        np.testing.assert_allclose(value, reference, rtol=10 * TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


@needs_compiler
@pytest.mark.parametrize("small", [0, recurrence.SMALL], ids=["product apart", "one kernel a step"])
def test_gradients_of_a_layer_on_kernels_match_finite_differences(on_kernels, small, monkeypatch):
    monkeypatch.setattr(recurrence, "SMALL", small)
    problem = lstm_case(Shapes(T=2, B=5, D=2, H=3), RandomInputs(0, np))
    options = {"max_elements": 2, "directions": 3}
    for result in on_kernels(partial(check_gradients, **options), problem.function, problem.params):
        assert result.error <= BOUND, result


@needs_compiler
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**53), step=st.integers(0, 2**40), size=st.integers(1, 300), keep_prob=st.floats(0.01, 1))
def test_the_dropout_kernel_draws_the_very_masks_that_numpy_draws(compiled, seed, step, size, keep_prob):
    rng = np.random.Generator(np.random.Philox(key=[seed, step]))
    expected = dropout.dropout_mask(rng, size, keep_prob, "float32")
    mask = np.full(size, np.nan, dtype="float32")
    threshold = dropout.threshold_of(keep_prob)
    numbers = np.uint64(seed), np.uint64(step), np.int32(threshold), np.float32(65536 / threshold), np.int64(size)
    compiled(dropout.DROPOUT_MASK, "float32")(-(-size // (16 * cuda_on_cpu.THREADS)), mask, *numbers)
    np.testing.assert_array_equal(mask, expected)


@needs_compiler
def test_a_wrong_sign_in_a_kernel_is_found(compiled, tmp_path):
    text = softmax.SOFTMAX_GRADIENT.replace("- (v == targets[n])", "+ (v == targets[n])")
    assert text != softmax.SOFTMAX_GRADIENT
    p, total, targets, weights = np.ones((2, 3)), np.full(2, 3.0), np.array([0, 1]), np.ones(2)
    expected = p.copy()
    softmax.softmax_gradient(expected, total, targets, weights)
    cuda_on_cpu.compile_kernel(text, "float64", tmp_path)(2, p, total, targets, weights, np.int32(3))
    assert not np.allclose(p, expected)


@pytest.mark.skipif(not shutil.which("nvcc"), reason="no nvcc to compile the kernels with")
@pytest.mark.parametrize(("text", "dtype"), TO_COMPILE)
def test_nvcc_compiles_the_kernels(text, dtype, tmp_path):
    path = tmp_path / "kernel.cu"
    path.write_text(source(text, dtype))
    subprocess.run(
        ["nvcc", "-arch=sm_90", "-cubin", "-Werror=all-warnings", path, "-o", tmp_path / "kernel.cubin"], check=True
    )
