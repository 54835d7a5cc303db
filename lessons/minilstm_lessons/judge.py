"""The judge of the exercises: holds a student's function against the package and against finite differences.

An exercise draws random arguments of random shapes. The student's results on them are compared, one by one, with those
of the package, and, where they are gradients, with central differences of the loss. A result that is wrong is compared
with what the usual mistakes would give: each is an edit of the solution, so the judge can run it and see whether it
gives what the student's function gave.
"""

import ast
import copy
import warnings
from typing import NamedTuple

import numpy as np

from minilstm.gradcheck import central_difference
from minilstm_lessons.diagnosis import diagnose, diagnose_shape, diagnose_stop
from minilstm_lessons.difference import describe_order, errors_of
from minilstm_lessons.exercise import BOUND, Case, as_tuple, relative_error, source_of
from minilstm_lessons.float32 import is_right_in_float32
from minilstm_lessons.on_device import from_device
from minilstm_lessons.reading import describe_shape, read
from minilstm_lessons.source import is_stub, names_used, read_source
from minilstm_lessons.student import MAX_SIZE, describe_error, run

ROUNDS = 5
FLOAT32 = {"float32", "single"}  # its names in a student's text
ROUNDING = 1e-9  # largest relative error that is rounding in float64


class Verdict(NamedTuple):
    """What the judge says; `status` is "right", "wrong", "wrong shape", "stopped" or "not written"."""

    status: str
    text: str

    def __repr__(self):
        return {"right": "✔ ", "not written": "… "}.get(self.status, "✘ ") + self.text


def judge(function, exercise, rounds=ROUNDS, seed=0, marked=False):
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
    marked : bool
        Whether the function's text is known to name float32 (see `names_float32`). Where the text can be read from the
        function, as in a notebook, the judge reads it there too.

    Returns
    -------
    Verdict
        Its text names what is wrong and, where it is known, the usual cause.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():  # the verdict says it
        warnings.simplefilter("ignore")
        return judge_cases(function, exercise, [draw_case(exercise, rng) for rng in generators(seed, rounds)], marked)


def generators(seed, rounds):
    """A random generator for each draw."""
    return [np.random.default_rng([seed, n]) for n in range(rounds)]


def names_float32(source):
    """Whether float32 stands anywhere in a student's text, a Source."""
    return bool(names_used(source) & FLOAT32)


def judge_cases(function, exercise, cases, marked=False):
    """The verdict on some draws."""
    name = exercise.name
    source = run(read_source, function)[0]
    given, marked = [], marked or bool(source and names_float32(source))
    for case in cases:
        arguments = copy.deepcopy(case.arguments)
        value, error = run(function, *arguments.values())
        if issubclass(type(error), NotImplementedError):
            value, error = ..., None
        if error is not None:
            words, line, number = run(describe_error, error)[0] or ("an exception that cannot be shown", "", 0)
            cause = diagnose_stop(exercise, cases[: len(given) + 1], given, error, line, number or -1, source)
            del error  # its traceback refers to this frame: a circle, and all that the student's function held in it
            return Verdict("stopped", f"{name} stopped with {words}{shapes_of(case)}{cause}")
        if value is None and not run(is_stub, function, ast.parse(source_of(exercise.solution)))[0]:
            return Verdict("stopped", f"{name} returned None: is its return missing?")
        results, in_float32, status, words = read(value, exercise, case)
        if results is None:
            return Verdict(status, f"{name}{' ' if words.startswith('returned') else ': '}{words}")
        shape = wrong_shape(results, exercise, case)
        if shape:
            given = [] if is_huge(results) else results_of_all(function, exercise, cases)
            order = describe_order(exercise, cases, given)
            if order:
                return Verdict("wrong", f"{name} is not right yet: {order}")
            cause = diagnose_shape(exercise, cases, given, source)
            return Verdict("wrong shape", f"{name}: wrong shape: {shape}{cause}")
        changed = [name for name in arguments if not run(same, arguments[name], case.arguments[name])[0]]
        if changed:
            return Verdict(
                "wrong",
                f"{name} changes its argument {' and '.join(changed)} in place, which its caller still needs: "
                "work on a copy, or write x = x + y instead of x += y",
            )
        given.append(results)
        marked = marked or in_float32
    error = max(max(errors_of(result, exercise, cases, given)) for result in exercise.results)
    if error <= BOUND and not (marked and error > ROUNDING):
        return Verdict("right", words_of_right(exercise, cases, given, error))
    if error <= BOUND or is_right_in_float32(exercise, cases, given, marked):
        text = f"{name} is right, in float32: max relative error {plain_error(exercise, cases, given):.0e}"
        return Verdict("right", f"{text} against the package in float64 ({len(cases)} random draws)")
    if differs_when_called_again(function, exercise, cases[0], given[0]):
        return Verdict("wrong", f"{name} is not right yet: it gives other results when it is called again, so it draws "
                       "random numbers of its own or keeps something from call to call")  # fmt: skip
    return Verdict("wrong", f"{name} is not right yet: " + diagnose(exercise, cases, given, source))


def plain_error(exercise, cases, given):
    return max(relative_error(results[name], case.expected[name]) for results, case in zip(given, cases, strict=True)
               for name in exercise.results)  # fmt: skip


def words_of_right(exercise, cases, given, error):
    """What is said of an answer that is right."""
    text = f"{exercise.name} is right: max relative error {error:.0e} against the package"
    if exercise.gradients:
        numeric = max(
            relative_error(results[name], finite_differences(exercise.loss, case.arguments, argument))
            for results, case in zip(given[:2], cases[:2], strict=True)
            for name, argument in exercise.gradients.items()
        )
        text += f", {numeric:.0e} against finite differences"
    return text + f" ({len(cases)} random draws)"


def wrong_shape(results, exercise, case):
    """In words, which result is of a wrong shape, the first one; or nothing."""
    for result, array in results.items():
        shape, letters = case.expected[result].shape, exercise.results[result]
        if array.shape != shape:
            expected = f"{letters} = {shape}" if letters else "one number"
            return f"{result} is {array.shape}, expected {expected}{describe_shape(array, shape)}"
    return ""


def is_huge(results):
    return any(array.size > MAX_SIZE for array in results.values())


def results_of_all(function, exercise, cases):
    """The results of each draw by name, of any shape; nothing if any cannot be read."""
    given = []
    for case in cases:
        value, error = run(function, *copy.deepcopy(case.arguments).values())
        if error is not None:
            return []
        results = read(value, exercise, case).results
        if results is None or is_huge(results):
            return []
        given.append(results)
    return given


def differs_when_called_again(function, exercise, case, results):
    again = results_of_all(function, exercise, [case])
    return bool(again) and any(
        again[0][name].shape != results[name].shape or not np.array_equal(again[0][name], results[name], equal_nan=True)
        for name in results
    )


def draw_case(exercise, rng):
    """Draw sizes, all different, and arguments; ask the package for the results."""
    while True:
        sizes = {name: int(rng.integers(least, most + 1)) for name, (least, most) in exercise.sizes.items()}
        if len(set(sizes.values())) == len(sizes):
            break
    arguments = exercise.draw(rng, **sizes)
    expected = as_tuple(exercise.answer(**copy.deepcopy(arguments)))
    expected = [np.asarray(from_device(value), dtype=float) for value in expected]
    expected = dict(zip(exercise.results, expected, strict=True))
    return Case(sizes, arguments, expected)


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
    a, b = from_device(a), from_device(b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f")


def shapes_of(case):
    """The shapes of the arguments, for somebody whose product does not fit."""
    shapes = [f"{name} {value.shape}" for name, value in case.arguments.items() if getattr(value, "ndim", 0)]
    return f" (arguments: {', '.join(shapes)})" if shapes else ""
