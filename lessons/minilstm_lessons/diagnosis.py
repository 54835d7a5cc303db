"""Why a result is wrong: the usual mistakes, run and compared, and what can be told without knowing the mistake."""

import copy
import itertools
import math

import numpy as np

from minilstm_lessons.exercise import BOUND, ERRORS, as_tuple, count, relative_error, with_mistakes


def diagnose(exercise, cases, given):
    """Say what is wrong with each wrong result, and why as far as it can be told."""
    wrong = [name for name in exercise.results if worst(name, cases, given) > BOUND]
    singles = [(mistake,) for mistake in exercise.mistakes]
    pairs = itertools.combinations(exercise.mistakes, 2)
    suspects = []  # mistakes, and the results that they explain
    for edits in itertools.chain(singles, pairs):
        explained = explained_by(edits, exercise, cases, given)
        if len(explained) == len(exercise.results):  # every result, those that are right too
            return blame(edits, wrong)
        suspects.append((edits, explained))
    words, unexplained = [], wrong
    for edits, explained in suspects:
        names = [name for name in unexplained if explained.get(name)]
        if names:
            words.append(blame(edits, names))
            unexplained = [name for name in unexplained if name not in names]
    words += [f"{name}: {describe_difference(name, exercise, cases, given)}" for name in unexplained]
    return "; ".join(words)


def blame(edits, names):
    """Results, and the mistakes that explain them, in words."""
    return f"{' and '.join(names)}: {'; and '.join(mistake.words for mistake in edits)}"


def explained_by(edits, exercise, cases, given):
    """Those results that the solution with these mistakes in it gives too: name -> whether it is a wrong one."""
    try:
        function = with_mistakes(exercise.solution, edits)
        guesses = []
        for case in cases:
            values = as_tuple(function(*copy.deepcopy(case.arguments).values()))
            guesses.append({n: np.asarray(v, dtype=float) for n, v in zip(exercise.results, values, strict=True)})
    except ERRORS:
        return {}
    pairs = list(zip(given, guesses, strict=True))
    return {
        name: worst(name, cases, guesses) > BOUND
        for name in exercise.results
        if all(relative_error(results[name], guess[name]) <= BOUND for results, guess in pairs)
    }


def describe_difference(name, exercise, cases, given):
    """What can be said of a wrong result without knowing the mistake."""
    pairs = [(results[name], case.expected[name]) for results, case in zip(given, cases, strict=True)]
    if not all(np.isfinite(value).all() for value, _ in pairs):
        return "holds inf or nan: look for a division by zero, a log of zero or an overflow"
    if not any(value.any() for value, _ in pairs):
        return "is all zeros: is it ever added to?"
    ratios = [factor(value, expected) for value, expected in pairs]
    if None not in ratios:
        return f"off by a factor of {describe_factor(ratios, cases)}"
    if all(value.ndim == 2 and value.shape[0] == value.shape[1] for value, _ in pairs) and all(
        relative_error(value.T, expected) <= BOUND for value, expected in pairs
    ):
        return "transposed: the shape cannot show it, because the matrix is square"
    value, expected = max(pairs, key=lambda pair: relative_error(*pair))
    if exercise.results[name].startswith("(T"):
        right = [t for t in range(len(value)) if relative_error(value[t], expected[t]) <= BOUND]
        if right:
            steps = f"{count(len(right), 'time step')} of {len(value)}"
            return f"right at {steps} (t = {', '.join(map(str, right))}), wrong at the others"
    index = np.unravel_index(np.argmax(abs(value - expected)), value.shape)
    place = f"[{', '.join(map(str, index))}]" if index else ""
    return (
        f"max relative error {relative_error(value, expected):.0e}; for example {name}{place} is {value[index]:.6g}, "
        f"expected {expected[index]:.6g}"
    )


def factor(value, expected):
    """The number k with value = k * expected, or None."""
    square = (expected * expected).sum()
    k = float((value * expected).sum() / square) if square else 0.0
    return k if k and relative_error(value, k * expected) <= BOUND else None


def describe_factor(ratios, cases):
    """A factor in words: a number, or one of the sizes, and what usually causes it."""
    if np.allclose(ratios, ratios[0], rtol=1e-6):
        k = ratios[0]
        usual = {
            -1: ": a sign is wrong",
            2: ": a term is counted twice, or the 2 of a square's derivative is left over",
            0.5: ": a factor 2 is missing, or one of two equal terms",
        }
        return next((f"{known:g}{words}" for known, words in usual.items() if math.isclose(k, known, rel_tol=1e-6)),
                    f"about {k:.3g}")  # fmt: skip
    names = [*cases[0].sizes, *itertools.combinations(cases[0].sizes, 2)]
    for sign, name in itertools.product((1, -1), names):
        known = [math.prod(case.sizes[part] for part in as_tuple(name)) for case in cases]
        text = ("-" if sign < 0 else "") + " ".join(as_tuple(name))
        if np.allclose(ratios, sign * np.array(known), rtol=1e-6):
            return f"{text}: a sum where the mean is meant, or a division by it that is missing"
        if np.allclose(ratios, sign / np.array(known), rtol=1e-6):
            return f"1 / {text}: a mean where the sum is meant, or one division by it too many"
    return f"about {min(ratios):.3g} to {max(ratios):.3g}, another for each draw: a scale that depends on the data"


def worst(name, cases, given):
    """Largest relative error of one result over all draws."""
    return max(relative_error(results[name], case.expected[name]) for results, case in zip(given, cases, strict=True))
