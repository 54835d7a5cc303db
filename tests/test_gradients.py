"""Every analytic gradient against central differences, float64, over random shapes."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilstm.gpu import lstm_kernels as kernels
from minilstm.gradcheck import check_gradients
from minilstm.gradcheck_cases import BOUND, CASES, RandomInputs, Shapes, lstm_case, model_case
from minilstm.layers import lstm

shapes = st.builds(
    Shapes,
    T=st.integers(1, 6),
    B=st.integers(1, 4),
    D=st.integers(1, 5),
    H=st.integers(1, 6),
    V=st.integers(2, 9),
    L=st.integers(1, 3),
)
seeds = st.integers(0, 2**32 - 1)


def worst_error(problem, **options):
    return max(check_gradients(problem.function, problem.params, **options), key=lambda result: result.error)


@pytest.mark.parametrize("make_case", CASES)
@settings(max_examples=12, deadline=None)
@given(shapes=shapes, seed=seeds)
def test_gradients_match_finite_differences_over_random_shapes(make_case, shapes, seed):
    worst = worst_error(make_case(shapes, RandomInputs(seed, np)), max_elements=30, directions=4, seed=seed)
    assert worst.error <= BOUND, worst


@settings(max_examples=8, deadline=None)
@given(shapes=shapes, seed=seeds, forget_bias=st.floats(-3, 3), keep_prob=st.floats(0.3, 1.0))
def test_gradients_of_the_whole_model_match_for_any_forget_bias_and_keep_prob(shapes, seed, forget_bias, keep_prob):
    problem = model_case(shapes, RandomInputs(seed, np), forget_bias, keep_prob)
    worst = worst_error(problem, max_elements=20, directions=4, seed=seed)
    assert worst.error <= BOUND, worst


def test_gradients_of_a_larger_model_match_along_random_directions():
    problem = model_case(Shapes(T=12, B=5, H=24, V=50, L=2), RandomInputs(0, np))
    worst = worst_error(problem, max_elements=0)
    assert worst.by == "directions"
    assert worst.error <= BOUND, worst


def test_gradient_through_two_windows_with_the_state_passed_back_is_that_of_one_long_window():
    draw = RandomInputs(1, np)
    params = {"weight_ih": draw.normal(24, 4), "weight_hh": draw.normal(24, 6), "bias": draw.normal(24)}
    inputs, r = draw.normal(8, 3, 4), draw.normal(8, 3, 6)
    zeros = np.zeros((3, 6)), np.zeros((3, 6))
    _, _, cache = lstm.lstm_forward(inputs, zeros, params)
    _, _, whole = lstm.lstm_backward(r, None, cache)
    _, state, first = lstm.lstm_forward(inputs[:5], zeros, params)
    _, _, second = lstm.lstm_forward(inputs[5:], state, params)
    _, dstate, late = lstm.lstm_backward(r[5:], None, second)
    _, _, early = lstm.lstm_backward(r[:5], dstate, first)
    for name, gradient in whole.items():
        np.testing.assert_allclose(early[name] + late[name], gradient, rtol=1e-10, atol=1e-12)


def backward_lines():
    """Every line of the LSTM's backward math in which a sign can be turned: (module, function name, line)."""
    params = []
    for module, name in ((kernels, "gates_backward"), (lstm, "lstm_backward")):
        source = re.search(rf"def {name}.*?\n\n\n|def {name}.*\Z", Path(module.__file__).read_text(), re.DOTALL)[0]
        body = source.split('"""')[2]
        for line in body.splitlines():
            if (
                re.search(r"= .*(\bd\w+\b.*[*@+]|\.sum|row_product)|: dgates|return dcell \*", line)
                and "reshape(T * B, 4" not in line
            ):
                params.append(pytest.param(module, name, line, id=f"{name}: {line.split('#')[0].strip()}"))
    return params


def with_wrong_sign(line):
    """The same line with the sign of its result turned."""
    if line.strip().startswith('"'):
        return line.replace(": ", ": -(", 1).rstrip(",") + "),"
    code, _, _ = line.partition("  #")
    if "return" in code:
        return code.replace("return ", "return -(") + ")"
    return code.replace("= ", "= -(", 1) + ")"


@pytest.mark.parametrize(("module", "name", "line"), backward_lines())
def test_a_wrong_sign_in_the_backward_pass_is_found(module, name, line, monkeypatch):
    source = Path(module.__file__).read_text()
    broken = dict(vars(module))
    exec(compile(source.replace(line, with_wrong_sign(line)), module.__file__, "exec"), broken)
    monkeypatch.setattr(lstm, "gates_backward", broken["gates_backward"])
    if name == "lstm_backward":
        monkeypatch.setattr("minilstm.gradcheck_cases.lstm_backward", broken["lstm_backward"])
    assert worst_error(lstm_case(Shapes(), RandomInputs(0, np))).error > 1e-2


def test_checker_tells_right_from_wrong_and_puts_parameters_back():
    params = {"x": np.array([[0.3, -1.2], [2.0, 0.7]])}
    before = params["x"].copy()

    def right(params):
        return np.sin(params["x"]).sum(), {"x": np.cos(params["x"])}

    def wrong(params):
        return np.sin(params["x"]).sum(), {"x": np.cos(params["x"]) * [[1, 1], [1, 1.0001]]}

    for options in ({}, {"max_elements": 0}):
        assert check_gradients(right, params, **options)[0].error < 1e-9
        assert check_gradients(wrong, params, **options)[0].error > 1e-6
    np.testing.assert_array_equal(params["x"], before)


def test_checker_calls_nan_infinitely_wrong():
    [result] = check_gradients(lambda p: (p["x"].sum(), {"x": np.full(2, np.nan)}), {"x": np.ones(2)})
    assert result.error == np.inf


def test_checker_refuses_float32_and_gradients_of_another_shape():
    with pytest.raises(ValueError, match="need float64"):
        check_gradients(lambda p: (p["x"].sum(), {"x": p["x"]}), {"x": np.ones(2, np.float32)})
    with pytest.raises(ValueError, match=r"gradient of x should have shape \(2,\)"):
        check_gradients(lambda p: (p["x"].sum(), {"x": np.ones(3)}), {"x": np.ones(2)})
    with pytest.raises(ValueError, match="missing"):
        check_gradients(lambda p: (p["x"].sum(), {}), {"x": np.ones(2)})
