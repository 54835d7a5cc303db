"""The gradient checker, given functions as people write them: a result or a clear error; parameters are restored."""

import math
import warnings

import numpy as np
import pytest

from minilstm import Config, check_gradients, init_params, loss_and_gradients, zero_state
from minilstm.layers.embedding import SparseGradient


def sines(params):
    """The sum of sin(x) over all parameters, and its gradients."""
    loss = sum(np.sin(x).sum() for x in params.values())
    return loss, {name: np.cos(x) for name, x in params.items()}


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return {"small": rng.random((2, 3)), "large": rng.random((20, 20)), "number": np.array(0.3)}


def errors(function, params, **options):
    return {result.name: result.error for result in check_gradients(function, params, **options)}


def with_loss(change):
    """sines with its loss changed."""

    def function(params):
        loss, gradients = sines(params)
        return change(loss), gradients

    return function


def with_gradient(name, change):
    """sines with one gradient changed."""

    def function(params):
        loss, gradients = sines(params)
        return loss, gradients | {name: change(gradients[name])}

    return function


# results


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "change",
    [float, np.float64, np.array, lambda loss: np.array([loss]), lambda loss: np.array([[loss]])],
    ids=["float", "number of NumPy", "array ()", "array (1,)", "array (1, 1)"],
)
def test_a_loss_may_be_any_one_number(params, change):
    assert max(errors(with_loss(change), params).values()) < 1e-9


def test_gradients_may_be_lists_and_numbers(params):
    params = {"small": params["small"], "number": params["number"]}

    def function(params):
        loss, gradients = sines(params)
        return [loss, {"small": gradients["small"].tolist(), "number": float(gradients["number"]), "other": None}]

    assert max(errors(function, params).values()) < 1e-9


def test_the_models_own_function_can_be_checked_with_its_sparse_gradient():
    config = Config(hidden_size=3, batch_size=2, keep_prob=1.0, dtype="float64")
    ids = np.array([[0, 1], [2, 2], [4, 0]])

    def function(params):
        return loss_and_gradients(params, config, ids[:-1], ids[1:], zero_state(config, 2))

    params = init_params(config, 5)
    assert max(errors(function, params).values()) < 1e-7

    def wrong(params):
        loss, gradients, _ = function(params)
        ids, values, _ = gradients["encoder.weight"]
        return loss, gradients | {"encoder.weight": SparseGradient(ids, 1.01 * values)}

    found = errors(wrong, params)
    assert found.pop("encoder.weight") == pytest.approx(0.01, rel=0.01)
    assert max(found.values()) < 1e-7


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["small", "large", "number"])
def test_a_gradient_that_is_not_finite_makes_its_own_parameter_wrong_and_no_other(params, name, value):
    def change(gradient):
        gradient = np.array(gradient)
        gradient.flat[0] = value
        return gradient

    found = errors(with_gradient(name, change), params)
    assert found.pop(name) == math.inf
    assert max(found.values()) < 1e-9


def test_where_every_gradient_is_nan_every_parameter_is_wrong(params):
    def function(params):
        return sines(params)[0], {name: np.full(x.shape, np.nan) for name, x in params.items()}

    assert set(errors(function, params).values()) == {math.inf}


def test_a_loss_that_is_not_finite_beside_the_point_makes_the_parameter_wrong():
    with np.errstate(all="ignore"):
        found = errors(lambda p: (np.log(p["x"]).sum(), {"x": 1 / p["x"]}), {"x": np.array([1e-3, 1.0])})
    assert found == {"x": math.inf}


def test_parameters_may_be_none_or_empty():
    assert check_gradients(lambda params: (1.0, {}), {}) == []
    assert errors(sines, {"x": np.ones(2), "none": np.ones((0, 3))})["none"] == 0


# errors


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda p: 3.0, "must return (loss, gradients), not float"),
        (lambda p: None, "must return (loss, gradients), not NoneType"),
        (lambda p: np.ones(2), "must return (loss, gradients), not ndarray float64 (2,)"),
        (lambda p: (), "must return (loss, gradients), not tuple"),
        (lambda p: (3.0,), "the gradients must be a dict of arrays, but are missing"),
        (lambda p: sines(p)[::-1], "the loss must be one float64 number, not dict"),
        (
            lambda p: (3.0, np.ones(3)),
            "the gradients must be a dict of arrays, but are ndarray float64 (3,)",
        ),
        (
            lambda p: (3.0, [np.ones(3)]),
            "the gradients must be a dict of arrays, but are list",
        ),
        (with_loss(lambda loss: [loss]), "the loss must be one float64 number, not list"),
        (with_loss(lambda loss: None), "the loss must be one float64 number, not NoneType"),
        (with_loss(lambda loss: np.ones(3)), "the loss must be one float64 number, not ndarray float64 (3,)"),
        (with_loss(lambda loss: np.ones(0)), "the loss must be one float64 number, not ndarray float64 (0,)"),
        (with_loss(np.float32), "the loss must be one float64 number, not float32 float32 ()"),
        (with_loss(complex), "the loss must be one float64 number, not complex"),
        (with_loss(str), "the loss must be one float64 number, not str"),
        (with_loss(lambda loss: loss * np.nan), "the loss is nan; finite differences need a finite one"),
        (with_loss(lambda loss: loss + np.inf), "the loss is inf; finite differences need a finite one"),
        (with_gradient("small", lambda g: None), "the gradient of small is missing"),
        (with_gradient("small", lambda g: g.T), "the gradient of small should have shape (2, 3), but is (3, 2)"),
        (
            with_gradient("small", lambda g: g[0].tolist()),
            "the gradient of small should have shape (2, 3), but is (3,)",
        ),
        (with_gradient("number", lambda g: [0.1]), "the gradient of number should have shape (), but is (1,)"),
    ],
)
def test_a_function_that_returns_something_else_is_told_what_it_should(params, function, says):
    with pytest.raises(ValueError) as error:  # noqa: PT011, its whole text is checked
        check_gradients(function, params)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1.0, "but x is float"),
        ([1.0, 2.0], "but x is list"),
        (np.float64(1.0), "but x is float64"),
        (np.ones(2, np.float32), "but x is ndarray float32 (2,)"),
        (np.ones(2, int), "but x is ndarray int64 (2,)"),
    ],
)
def test_parameters_that_are_not_float64_arrays_are_refused(value, says):
    with pytest.raises(ValueError, match="finite differences need float64 arrays") as error:
        check_gradients(sines, {"x": value})
    assert says in str(error.value)


@pytest.mark.parametrize("options", [{"step": 0}, {"step": -1e-3}, {"step": math.nan}, {"directions": 0}])
def test_settings_that_check_nothing_are_refused(params, options):
    with pytest.raises(ValueError, match="step must be above 0 and directions at least 1"):
        check_gradients(sines, params, **options)


class RandomFunction:
    """sines with a random number in the loss, in a gradient, or in a dropout mask."""

    def __init__(self, kind, keep_prob=0.5):
        self.rng, self.kind, self.keep_prob = np.random.default_rng(0), kind, keep_prob

    def __call__(self, params):
        loss, gradients = sines(params)
        if self.kind == "loss":
            loss += 1e-6 * self.rng.random()
        elif self.kind == "gradient":
            gradients["small"] = gradients["small"] + 1e-6 * self.rng.random()
        else:  # two units, as a small dropout layer
            mask = (self.rng.random(2) < self.keep_prob) / self.keep_prob
            loss, gradients = (mask * params["x"]).sum(), {"x": mask}
        return loss, gradients


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_random_function_is_said_to_be_random(params, kind):
    with pytest.raises(ValueError, match="the function is random: for the same params its loss is"):
        check_gradients(RandomFunction(kind), params)


@pytest.mark.parametrize("keep_prob", [0.5, 0.9])
def test_a_mask_that_is_often_the_same_is_found_to_be_random_or_did_not_matter(keep_prob):
    function, found = RandomFunction("mask", keep_prob), 0
    for _ in range(20):
        try:
            assert errors(function, {"x": np.array([1.0, 2.0])})["x"] < 1e-9
        except ValueError as error:
            assert "the function is random" in str(error)  # noqa: PT017, it may also be right
            found += 1
    assert found > 10


def test_a_function_that_changes_its_parameters_is_not_deterministic():
    def function(params):
        loss, gradients = sines(params)
        params["x"] -= 0.1 * gradients["x"]
        return loss, gradients

    with pytest.raises(ValueError, match="the function is random"):
        check_gradients(function, {"x": np.array([1.0, 2.0])})


def test_rounding_that_differs_between_calls_is_not_randomness(params):
    rng = np.random.default_rng(0)
    assert max(errors(with_loss(lambda loss: loss * (1 + 1e-15 * rng.random())), params).values()) < 1e-8


@pytest.mark.parametrize("options", [{}, {"max_elements": 0}])
@pytest.mark.parametrize("calls", [1, 4, 6, 7, 30])
def test_the_parameters_are_restored_where_the_function_fails(params, options, calls):
    before = {name: x.copy() for name, x in params.items()}
    remaining = iter(range(calls))

    def function(params):
        if next(remaining, None) is None:
            raise ZeroDivisionError
        return sines(params)

    with pytest.raises(ZeroDivisionError):
        check_gradients(function, params, **options)
    for name, x in params.items():
        np.testing.assert_array_equal(x, before[name])


def test_gradients_in_memory_that_is_reused_are_kept(params):
    memory = {name: np.empty_like(x) for name, x in params.items()}

    def function(params):
        for name, x in params.items():
            np.cos(x, out=memory[name])
        return sines(params)[0], memory

    with warnings.catch_warnings(action="error"):
        assert max(errors(function, params).values()) < 1e-9


@pytest.mark.parametrize("wrong", [[np.ones(2)], np.ones(2), None])
def test_parameters_that_are_no_dict_are_told(wrong):
    with pytest.raises(ValueError, match="the parameters must be a dict, name -> array, not"):
        check_gradients(sines, wrong)
