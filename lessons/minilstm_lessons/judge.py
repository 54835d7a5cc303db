"""The judge of the exercises: holds a student's function against the package and against finite differences.

An exercise draws random arguments of random shapes. The student's results on them are compared, one by one, with those
of the package, and, where they are gradients, with central differences of the loss. A result that is wrong is compared
with what the usual mistakes would give: each is an edit of the solution, so the judge can run it and see whether it
gives what the student's function gave.
"""

import ast
import copy
import inspect
import math
import textwrap
import warnings
from typing import NamedTuple

import numpy as np

from minilstm.gradcheck import central_difference
from minilstm_lessons.diagnosis import diagnose, diagnose_shape, diagnose_stop
from minilstm_lessons.exercise import BOUND, Case, as_tuple, count, relative_error
from minilstm_lessons.student import describe_error, real_numbers, run

ROUNDS = 5


class Verdict(NamedTuple):
    """What the judge says; `status` is "right", "wrong", "wrong shape", "stopped" or "not written"."""

    status: str
    text: str

    def __repr__(self):
        return {"right": "✔ ", "not written": "… "}.get(self.status, "✘ ") + self.text


def judge(function, exercise, rounds=ROUNDS, seed=0):
    """Judge a student's function.

    Parameters
    ----------
    function : callable
        Takes the exercise's arguments in order.
    exercise : Exercise
    rounds : int
        Random shapes to try.
    seed : int
        Of the random arguments.

    Returns
    -------
    Verdict
        Its text names what is wrong and, where it is known, the usual cause.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():  # the verdict says it
        warnings.simplefilter("ignore")
        return judge_cases(function, exercise, [draw_case(exercise, rng) for rng in generators(seed, rounds)])


def generators(seed, rounds):
    """A random generator for each draw."""
    return [np.random.default_rng([seed, n]) for n in range(rounds)]


def judge_cases(function, exercise, cases):
    """The verdict on some draws."""
    given = []
    for case in cases:
        arguments = copy.deepcopy(case.arguments)
        value, error = run(function, *arguments.values())
        if issubclass(type(error), NotImplementedError):
            value, error = ..., None
        if error is not None:
            words, line = run(describe_error, error)[0] or ("an exception that cannot be shown", "")
            cause = diagnose_stop(exercise, cases[: len(given) + 1], given, error, line)
            del error  # its traceback refers to this frame: a circle, and all that the student's function held in it
            return Verdict("stopped", f"{exercise.name} stopped with {words}{shapes_of(case)}{cause}")
        if value is None and not is_stub(function):
            return Verdict("stopped", f"{exercise.name} returned None: is its return missing?")
        verdict, results = read(value, exercise, case)
        if verdict and verdict.status == "wrong shape":
            given = results_of_any_shape(function, exercise, cases)
            return Verdict("wrong shape", verdict.text + diagnose_shape(exercise, cases, given))
        if verdict:
            return verdict
        changed = [name for name in arguments if not run(same, arguments[name], case.arguments[name])[0]]
        if changed:
            return Verdict(
                "wrong",
                f"{exercise.name} changes its argument {' and '.join(changed)} in place, which its caller still needs: "
                "work on a copy, or write x = x + y instead of x += y",
            )
        given.append(results)
    error = max(relative_error(results[name], case.expected[name]) for results, case in zip(given, cases, strict=True)
                for name in exercise.results)  # fmt: skip
    if error > BOUND:
        return Verdict("wrong", f"{exercise.name} is not right yet: " + diagnose(exercise, cases, given))
    text = f"{exercise.name} is right: max relative error {error:.0e} against the package"
    if exercise.gradients:
        numeric = max(
            relative_error(results[name], finite_differences(exercise.loss, case.arguments, argument))
            for results, case in zip(given[:2], cases[:2], strict=True)
            for name, argument in exercise.gradients.items()
        )
        text += f", {numeric:.0e} against finite differences"
    return Verdict("right", text + f" ({len(cases)} random draws)")


def is_stub(function):
    """Whether a function still has the stub's `...` in it, or nothing can be told because its text is not there."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except Exception:
        return True
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    return any(isinstance(value, ast.Constant) and value.value is ... for value in constants)


def draw_case(exercise, rng):
    """Draw sizes, all different, and arguments; ask the package for the results."""
    while True:
        sizes = {name: int(rng.integers(least, most + 1)) for name, (least, most) in exercise.sizes.items()}
        if len(set(sizes.values())) == len(sizes):
            break
    arguments = exercise.draw(rng, **sizes)
    expected = as_tuple(exercise.answer(**copy.deepcopy(arguments)))
    expected = {name: np.asarray(value, dtype=float) for name, value in zip(exercise.results, expected, strict=True)}
    return Case(sizes, arguments, expected)


def read(value, exercise, case):
    """As `read_results`, if what the function returned has methods that raise, too."""
    words = f"{exercise.name}: what it returned cannot be read, expected {', '.join(exercise.results)}"
    return run(read_results, value, exercise, case)[0] or (Verdict("wrong shape", words), None)


def read_results(value, exercise, case):
    """The results by name, as arrays; or the verdict that they cannot be read."""
    name, names = exercise.name, list(exercise.results)
    if value is None or value is Ellipsis:
        return Verdict("not written", f"{name}: not written yet"), None
    if isinstance(value, dict):
        return Verdict("wrong shape", f"{name} returned a dict, expected {', '.join(names)}, in this order"), None
    values = (value,) if len(names) == 1 else as_tuple(value)
    if len(values) != len(names):
        return Verdict(
            "wrong shape", f"{name} returned {count(len(values), 'result')}, expected {len(names)}: {', '.join(names)}"
        ), None
    results = {}
    for result, value in zip(names, values, strict=True):
        if value is None or value is Ellipsis:
            return Verdict("not written", f"{name}: {result} is not written yet"), None
        try:
            results[result] = real_numbers(value)
        except Exception:
            found = f"a {type(value).__name__}, expected numbers"
            if type(value) is np.ndarray:
                found = f"an array of {value.dtype}, expected real numbers"
            return Verdict("wrong shape", f"{name}: {result} is {found}"), None
    for result, array in results.items():
        shape, letters = case.expected[result].shape, exercise.results[result]
        if array.shape != shape:
            expected = f"{letters} = {shape}" if letters else "one number"
            hint = describe_shape(array, shape)
            return Verdict(
                "wrong shape", f"{name}: wrong shape: {result} is {array.shape}, expected {expected}{hint}"
            ), None
    return None, results


def results_of_any_shape(function, exercise, cases):
    """The results of each draw by name, not held against the expected shapes; nothing if any cannot be read."""

    def by_name(value):
        return {n: real_numbers(v) for n, v in zip(exercise.results, as_tuple(value), strict=True)}

    given = []
    for case in cases:
        value = run(function, *copy.deepcopy(case.arguments).values())[0]
        results = run(by_name, value)[0]
        if results is None:
            return []
        given.append(results)
    return given


def describe_shape(array, shape):
    """What can be told from a wrong shape alone: ": " and the words, or nothing."""
    if array.shape == shape[::-1]:
        return ": it is transposed"
    if array.size == math.prod(shape):
        return ": the right number of elements, in another arrangement"
    if array.ndim < len(shape):
        return ": an axis is missing, by a sum or a mean over it or by an index"
    if array.ndim > len(shape):
        return ": an axis too many, over which a sum is missing, or two arrays that broadcast against each other"
    apart = [axis for axis in range(len(shape)) if array.shape[axis] != shape[axis]]
    if len(apart) == 1 and array.shape[apart[0]] - shape[apart[0]] in (1, -1):
        return f": one too {'many' if array.shape > shape else 'few'} along axis {apart[0]}"
    if 1 in array.shape:
        return ": an axis of size 1 is left from keepdims=True, an index or a maximum"
    return ""


def finite_differences(loss, arguments, name, step=1e-3):
    """The slope of the loss along every element of one argument: an array of that argument's shape."""
    arguments = copy.deepcopy(arguments)
    values = arguments[name]
    slopes = np.empty_like(values)
    for index in np.ndindex(values.shape):
        start = values[index]

        def loss_at(h, index=index, start=start):
            values[index] = start + h
            return float(loss(**arguments))

        slopes[index] = central_difference(loss_at, step)
        values[index] = start
    return slopes


def same(a, b):
    """Whether an argument is still what it was."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f")


def shapes_of(case):
    """The shapes of the arguments, for somebody whose product does not fit."""
    shapes = [f"{name} {np.shape(value)}" for name, value in case.arguments.items() if np.ndim(value)]
    return f" (arguments: {', '.join(shapes)})" if shapes else ""
