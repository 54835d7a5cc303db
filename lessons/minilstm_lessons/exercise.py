"""What an exercise is, and how far two results are apart."""

import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

BOUND = 1e-7  # largest relative error of an answer that is right
SMALL = 1e-7  # size of an element below which rounding may be all of it


class Mistake(NamedTuple):
    """A usual mistake: what a student writes instead of lines of the solution, old -> new, and what to say then."""

    edits: dict
    words: str


class Exercise(NamedTuple):
    """What a student writes, and how it is judged.

    Attributes
    ----------
    solution : function
        From `solutions`; its name is the exercise's.
    sizes : dict
        Name of a size -> (least, most), both included. One draw takes a different number for each.
    draw : callable
        ``draw(rng, **sizes) -> dict``: the arguments, in the function's order.
    answer : callable
        ``answer(**arguments)``: what the package gives, one result or a tuple.
    results : dict
        Name of a result -> its shape in letters, "(T, B, H)"; "" is a number.
    loss : callable, optional
        ``loss(**arguments) -> float``, of which some results are gradients.
    gradients : dict
        Name of a result -> name of the argument it is the loss's gradient of.
    mistakes : tuple of Mistake
    small : tuple of str
        Results of which each element is held against its own size, however small it is beside others.
    allowed : tuple of function
        Of the package: an answer may import and call them, beside those that the solution calls.
    """

    solution: Callable
    sizes: dict
    draw: Callable
    answer: Callable
    results: dict
    loss: Callable | None = None
    gradients: dict = {}  # noqa: RUF012, a NamedTuple's default
    mistakes: tuple = ()
    small: tuple = ()
    allowed: tuple = ()

    @property
    def name(self):
        return self.solution.__name__


class Case(NamedTuple):
    """One draw: the sizes, the arguments, and the expected results by name."""

    sizes: dict
    arguments: dict
    expected: dict


@cache
def source_of(solution):
    """A solution's text as it was when first asked for; "" if only its compiled file is installed."""
    try:
        return inspect.getsource(solution)
    except OSError:
        return ""


def keep_sources(exercises):
    """Read the solutions' texts now: the judge edits them, and their files may change later."""
    for exercise in exercises:
        source_of(exercise.solution)


def with_mistakes(solution, mistakes):
    """The solution with the mistakes' lines in it, as a function."""
    source = source_of(solution)
    for mistake in mistakes:
        for old, new in mistake.edits.items():
            if source.count(old) != 1:
                raise ValueError(f"{solution.__name__} has {old!r} {source.count(old)} times, not once")
            source = source.replace(old, new)
    namespace = dict(solution.__globals__)
    exec(source, namespace)  # our own solution, edited by our own list
    return namespace[solution.__name__]


def relative_error(value, expected, small=False):
    """Largest difference, over the largest element; infinite where only one of the two is a number.

    If `small`, each difference is taken over its own element, down to elements of `SMALL`.
    """
    finite = np.isfinite(value)
    if not np.array_equal(value[~finite], expected[~finite], equal_nan=True) or not np.isfinite(expected[finite]).all():
        return math.inf
    value, expected = value[finite], expected[finite]
    if small:
        sizes = np.maximum(np.maximum(abs(value), abs(expected)), SMALL)
        return float((abs(value - expected) / sizes).max(initial=0.0))
    error = float(abs(value - expected).max(initial=0.0))
    return error and error / max(float(abs(expected).max()), float(abs(value).max()))


def as_tuple(value):
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def count(n, word):
    """3, "result" -> "3 results"."""
    return f"{n} {word}{'' if n == 1 else 's'}"
