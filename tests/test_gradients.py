"""Every analytic gradient against central differences, float64, over random shapes."""

import ast
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilstm import plain
from minilstm.gradcheck import check_gradients
from minilstm.gradcheck_cases import (
    BOUND,
    CASES,
    RandomInputs,
    Shapes,
    dropout_case,
    embedding_case,
    linear_case,
    lstm_case,
    model_case,
    softmax_case,
)
from minilstm.layers import dropout, embedding, linear, lstm, softmax

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


def worst_error(case, **options):
    return max(check_gradients(case.function, case.params, **options), key=lambda result: result.error)


@pytest.mark.parametrize("make_case", CASES)
@settings(max_examples=12, deadline=None)
@given(shapes=shapes, seed=seeds)
def test_gradients_match_finite_differences_over_random_shapes(make_case, shapes, seed):
    worst = worst_error(make_case(shapes, RandomInputs(seed)), max_elements=30, directions=4, seed=seed)
    assert worst.error <= BOUND, worst


@settings(max_examples=8, deadline=None)
@given(shapes=shapes, seed=seeds, forget_bias=st.floats(-3, 3), keep_prob=st.floats(0.3, 1.0))
def test_gradients_of_the_whole_model_match_for_any_forget_bias_and_keep_prob(shapes, seed, forget_bias, keep_prob):
    case = model_case(shapes, RandomInputs(seed), plain, forget_bias, keep_prob)
    worst = worst_error(case, max_elements=20, directions=4, seed=seed)
    assert worst.error <= BOUND, worst


def test_gradients_of_a_larger_model_match_along_random_directions():
    case = model_case(Shapes(T=12, B=5, H=24, V=50, L=2), RandomInputs(0))
    worst = worst_error(case, max_elements=0)
    assert worst.by == "directions"
    assert worst.error <= BOUND, worst


def test_gradient_through_two_windows_with_the_state_passed_back_is_that_of_one_long_window():
    random = RandomInputs(1)
    params = {"weight_ih": random.normal(24, 4), "weight_hh": random.normal(24, 6), "bias": random.normal(24)}
    inputs, r = random.normal(8, 3, 4), random.normal(8, 3, 6)
    zeros = np.zeros((3, 6)), np.zeros((3, 6))
    _, _, cache = lstm.lstm_forward(inputs, zeros, params)
    _, _, whole = lstm.lstm_backward(r, None, cache)
    _, state, first = lstm.lstm_forward(inputs[:5], zeros, params)
    _, _, second = lstm.lstm_forward(inputs[5:], state, params)
    _, dstate, late = lstm.lstm_backward(r[5:], None, second)
    _, _, early = lstm.lstm_backward(r[:5], dstate, first)
    for name, gradient in whole.items():
        np.testing.assert_allclose(early[name] + late[name], gradient, rtol=1e-10, atol=1e-12)


# Every backward function: its module, the function through which a case calls it, that case, and the minimum number of
# terms in it whose sign can be flipped, so that a rewritten layer cannot leave nothing to test.
BACKWARD = {
    "lstm_step_backward": (lstm, "lstm_backward", lstm_case, 18),
    "lstm_backward": (lstm, "lstm_backward", lstm_case, 6),
    "linear_backward": (linear, "linear_backward", linear_case, 3),
    "softmax_cross_entropy_backward": (softmax, "softmax_cross_entropy_backward", softmax_case, 3),
    "embedding_backward": (embedding, "embedding_backward", embedding_case, 1),
    "dropout_backward": (dropout, "dropout_backward", dropout_case, 1),
}


def source_of(name):
    return Path(BACKWARD[name][0].__file__).read_text(encoding="utf-8")


def terms_of(name):
    """The terms in a backward function: whole results, products, the parts of sums, values added to an array.

    Returns
    -------
    list of (int, int)
        Start and end of each in the source, in bytes, as in syntax trees.
    """
    source = source_of(name)
    [function] = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name]
    lines = [0, *accumulate(len(line) for line in source.encode().splitlines(keepends=True))]
    found = set()

    def take(node):
        found.add((lines[node.lineno - 1] + node.col_offset, lines[node.end_lineno - 1] + node.end_col_offset))

    def visit(node):
        if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Pow):
            take(node)
            for part in sum_of(node):
                take(part)
        elif isinstance(node, ast.AugAssign):
            take(node.value)
        elif isinstance(node, ast.Call):
            if ast.unparse(node.func) == "np.add.reduceat":
                take(node.args[0])
            elif ast.unparse(node.func) in ("matmul", "deferred_matmul"):
                take(node)
            elif isinstance(node.func, ast.Attribute):
                if node.func.attr == "sum":
                    take(node)
                else:
                    visit(node.func.value)  # matmul(a, b).reshape(...), whose argument is a shape
        elif not isinstance(node, ast.Subscript):
            for child in ast.iter_child_nodes(node):
                visit(child)

    def sum_of(node):
        """The parts of the sums in an expression, such as a and b * c in a + b * c."""
        for part in ast.walk(node):
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add | ast.Sub):
                yield from (part.left, part.right) if part is node else (part.right,)

    for statement in function.body:
        visit(statement)
    return sorted(found)


def with_wrong_sign(source, term):
    """The source with the sign of one term flipped."""
    source, (start, end) = source.encode(), term
    return b"".join((source[:start], b"(-(", source[start:end], b"))", source[end:])).decode()


def label(name, term):
    return f"{name}: {' '.join(source_of(name).encode()[slice(*term)].decode().split())}"


def kernels_with(name, source):
    """The plain set with the one function that leads to `name` taken from a layer file's source text."""
    module, entry, _, _ = BACKWARD[name]
    namespace = {"__name__": module.__name__}
    exec(compile(source, module.__file__, "exec"), namespace)
    return SimpleNamespace(**{**vars(plain), entry: namespace[entry]})


@pytest.mark.parametrize("name", BACKWARD)
def test_every_backward_function_has_terms_to_turn_and_is_right_as_it_stands(name):
    _, _, make_case, least = BACKWARD[name]
    assert len(terms_of(name)) >= least
    assert worst_error(make_case(Shapes(), RandomInputs(0), kernels_with(name, source_of(name)))).error <= BOUND


@pytest.mark.parametrize(
    ("name", "term"),
    [pytest.param(name, term, id=label(name, term)) for name in BACKWARD for term in terms_of(name)],
)
def test_a_wrong_sign_in_a_backward_pass_is_found(name, term):
    source = source_of(name)
    wrong = with_wrong_sign(source, term)
    assert ast.dump(ast.parse(wrong)) != ast.dump(ast.parse(source))
    kernels = kernels_with(name, wrong)
    assert worst_error(BACKWARD[name][2](Shapes(), RandomInputs(0), kernels)).error > 1e-2


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
