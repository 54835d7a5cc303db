"""What is measured of a wrong result, without knowing the mistake."""

import itertools
import math

import numpy as np

from minilstm_lessons.exercise import BOUND, as_tuple, count, relative_error
from minilstm_lessons.on_device import from_device

ROUNDING = 1e-12  # relative error of a number that went through a few operations which cancel each other


def is_wrong(name, exercise, cases, given):
    """Whether a result is wrong in any draw."""
    return any(error > BOUND for error in errors_of(name, exercise, cases, given))


def errors_of(name, exercise, cases, given):
    """Relative error of one result in each draw."""
    small = name in exercise.small
    return [relative_error(results[name], case.expected[name], small)
            for results, case in zip(given, cases, strict=True)]  # fmt: skip


def describe_constant(name, cases, given):
    """In words, if a result is the same number everywhere or an argument as it is, to which many mistakes lead."""
    values = [results[name] for results in given]
    if not any(value.size for value in values):
        return "is empty"
    if not any(np.isfinite(value).any() for value in values):
        return "is nan everywhere" if all(np.isnan(value).all() for value in values) else "holds nothing but inf or nan"
    if not any(value.any() for value in values):
        return "is all zeros" if values[0].ndim else "is always 0"
    if len(values) > 1 and len({number for value in values for number in np.unique(value)}) == 1:
        return f"is {values[0].flat[0]:.6g} {'everywhere' if values[0].ndim else 'in every draw'}"
    for argument in cases[0].arguments:
        if all(is_argument(value, case.arguments[argument]) for value, case in zip(values, cases, strict=True)):
            return f"is the argument {argument}, unchanged"
    return ""


def is_argument(value, argument):
    try:
        argument = np.asarray(from_device(argument), dtype=float)
        return argument.shape == value.shape and relative_error(value, argument) <= ROUNDING
    except Exception:
        return False


def describe_order(exercise, cases, given):
    """In words, if the results are right but some stand in one another's place; else nothing."""
    names = [*exercise.results]
    if len(names) < 2 or not given:
        return ""

    def agrees(own, other):
        return all(
            results[own].shape == case.expected[other].shape
            and relative_error(results[own], case.expected[other], other in exercise.small) <= BOUND
            for results, case in zip(given, cases, strict=True)
        )

    wrong = [name for name in names if not agrees(name, name)]
    alike = {own: [other for other in wrong if agrees(own, other)] for own in wrong}
    for order in itertools.permutations(wrong) if wrong and all(alike.values()) else ():
        if all(other in alike[own] for own, other in zip(wrong, order, strict=True)):
            found = dict(zip(wrong, order, strict=True))
            returned = ", ".join(found.get(name, name) for name in names)
            return f"the results are in another order: expected ({', '.join(names)}), returned ({returned})"
    pairs = [f"{a} and {b} are swapped" for a, b in itertools.combinations(wrong, 2) if a in alike[b] and b in alike[a]]
    return "; ".join(pairs)


def describe_difference(name, exercise, cases, given):
    """What is measured of a wrong result, in words."""
    pairs = [(results[name], case.expected[name]) for results, case in zip(given, cases, strict=True)]
    constant = describe_constant(name, cases, given)
    if constant:
        return constant
    if not all(np.isfinite(value).all() for value, _ in pairs):
        return "holds inf or nan: look for a division by zero, a log of zero or an overflow"
    for other in exercise.results:
        if other != name and all(is_argument(value, case.expected[other]) for (value, _), case in
                                 zip(pairs, cases, strict=True)):  # fmt: skip
            return f"is what is expected as {other}"
    ratios = [factor(value, expected, name in exercise.small) for value, expected in pairs]
    words = describe_factor(ratios, cases, pairs[0][0].ndim) if None not in ratios else ""
    return words or describe_place(name, exercise, pairs)


def describe_place(name, exercise, pairs):
    """Where a result is wrong."""

    small = name in exercise.small

    def agree(change):
        return all(relative_error(change(value), expected, small) <= BOUND for value, expected in pairs)

    ndim = pairs[0][0].ndim
    if ndim == 2 and all(value.shape[0] == value.shape[1] for value, _ in pairs) and agree(np.transpose):
        return "transposed: the shape cannot show it, because the matrix is square"
    for axis in range(ndim):
        if agree(lambda value, axis=axis: np.flip(value, axis)):
            return f"in reverse order along axis {axis}"
    if all(relative_error(abs(value), abs(expected), small) <= BOUND for value, expected in pairs):
        return "right but for the sign" + (" of some elements" if ndim else "")
    value, expected = max(pairs, key=lambda pair: relative_error(*pair, small))
    right = [n for n in range(len(value)) if relative_error(value[n], expected[n], small) <= BOUND] if ndim else []
    if right and exercise.results[name].startswith("(T"):
        steps = f"{count(len(right), 'time step')} of {len(value)}"
        return f"right at {steps} (t = {', '.join(map(str, right))}), wrong at the others"
    index = np.unravel_index(np.argmax(abs(value - expected)), value.shape)
    place = f"[{', '.join(map(str, index))}]" if index else ""
    example = f"for example {name}{place} is {value[index]:.6g}, expected {expected[index]:.6g}"
    if ndim == 1 and all(np.array_equal(expected, np.rint(expected)) for _, expected in pairs):  # bools, ids
        return f"{(value != expected).sum()} of {len(value)} are wrong; {example}"
    return f"max relative error {relative_error(value, expected, small):.0e}; {example}"


def factor(value, expected, small):
    """The number k with value = k * expected, or None."""
    square = (expected * expected).sum()
    k = float((value * expected).sum() / square) if square else 0.0
    return k if k and relative_error(value, k * expected, small) <= BOUND else None


def describe_factor(ratios, cases, ndim):
    """A factor in words: of one of the sizes or arguments, or, of an array, a number; of a single number it is none."""
    for name, known in scalars(cases).items():
        for text, k in ((name, known), (f"1 / {name}", 1 / known)):
            for sign in ("", "-"):
                if np.allclose(ratios, -k if sign else k, rtol=1e-6):
                    return f"off by a factor of {sign}{text}"
    if not ndim:
        return ""
    if not np.allclose(ratios, ratios[0], rtol=1e-6):
        return f"off by a factor, another in each draw: about {min(ratios):.3g} to {max(ratios):.3g}"
    if math.isclose(ratios[0], -1, rel_tol=1e-6):
        return "off by a factor of -1: a sign is wrong"
    return f"off by a factor of {ratios[0]:.3g} in each draw"


def scalars(cases):
    """Name -> its value in each draw: the sizes, products of two of them, and the arguments that are positive numbers.

    Only those that are another in some draw.
    """
    sizes = cases[0].sizes
    names = [*sizes, *itertools.combinations(sizes, 2)]
    known = {" ".join(as_tuple(n)): [math.prod(case.sizes[part] for part in as_tuple(n)) for case in cases]
             for n in names}  # fmt: skip
    for name, value in cases[0].arguments.items():
        if isinstance(value, int | float) and value > 0:
            known.setdefault(name, [case.arguments[name] for case in cases])
    return {name: np.array(values, dtype=float) for name, values in known.items() if len({*values}) > 1}
