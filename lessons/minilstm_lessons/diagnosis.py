"""Why a result is wrong: the usual mistakes, run and compared, and what can be told without knowing the mistake."""

import ast
import copy
import itertools
import math
from contextlib import suppress

import numpy as np

from minilstm_lessons.exercise import BOUND, as_tuple, count, relative_error, source_of, with_mistakes
from minilstm_lessons.slips import slips
from minilstm_lessons.student import message_of


def diagnose(exercise, cases, given):
    """Say what is wrong with each wrong result, and why as far as it can be told."""
    wrong = [name for name in exercise.results if worst(name, cases, given) > BOUND]
    suspects = []  # mistakes in words, and the results that they explain
    for function, words, usual in guesses(exercise, cases[0]):
        explained = explained_by(function, exercise, cases, given)
        if not usual:
            explained = {name: is_wrong for name, is_wrong in explained.items() if not all_zeros(name, given)}
            words = in_general(exercise, cases, given, explained) + words
        if len(explained) == len(exercise.results):  # every result, those that are right too
            return blame(words, wrong)
        if any(explained.values()):
            suspects.append((words, explained))
    phrases, unexplained = [], wrong
    for words, explained in suspects:
        names = [name for name in unexplained if explained.get(name)]
        if names:
            phrases.append(blame(words, names))
            unexplained = [name for name in unexplained if name not in names]
    phrases += [f"{name}: {describe_difference(name, exercise, cases, given)}" for name in unexplained]
    return "; ".join(phrases)


def diagnose_shape(exercise, cases, given):
    """The mistake that gives the student's results, of a wrong shape as they are: "; " and its words, or nothing."""
    if given and all(array.size for results in given for array in results.values()):
        for guess, words, _ in guesses(exercise, cases[0], pairs=False):
            if len(explained_by(guess, exercise, cases, given)) == len(exercise.results):
                return f"; {words}"
    return ""


STOPS = {  # part of an exception's message -> what it usually means
    "could not be broadcast": "two shapes do not fit: was a sum taken over the wrong axis, without keepdims=True, or "
    "is there a transpose too many or too few?",
    "core dimension": "the inner sizes of the product differ: is a transpose missing, or are its factors swapped?",
    "not aligned": "the inner sizes of the product differ: is a transpose missing, or are its factors swapped?",
    "division by zero": "the divisor can be 0: say what holds then",
    "out of bounds": "an index is past the end: indices begin at 0 and end at size - 1",
    "referenced before": "it is used before anything is in it: set it before the line, or before the loop",
    "not associated with a value": "it is used before anything is in it: set it before the line, or before the loop",
}


def diagnose_stop(exercise, cases, given, error, line):
    """The mistake that stops with this message in the last case, after the same results: "; " and its words.

    Or what such a message usually means, or nothing.
    """
    message = message_of(error)
    with suppress(Exception):  # it may be a part of a statement, or not even text that can be parsed
        line = ast.unparse(ast.parse(line.strip()))
    exact, usual, others = [], [], []  # the student's very line, a mistake on the list, any other slip
    for function, words, listed in guesses(exercise, cases[-1], pairs=False):
        try:
            function(*copy.deepcopy(cases[-1].arguments).values())
        except Exception as other:
            same = type(other) is type(error) and message_of(other) == message
            if same and len(explained_by(function, exercise, cases[:-1], given)) == len(exercise.results):
                (usual if listed else exact if f"`{line}` instead" in words else others).append(words)
    for causes in (exact[:1], usual, others):
        if len(causes) == 1:
            return "; " + causes[0]
    return next(("; " + words for part, words in STOPS.items() if part in message), "")


def guesses(exercise, case, pairs=True):
    """What a student may have written: a function, words, whether it is a usual mistake; last, two of them at once."""
    if not source_of(exercise.solution):
        return
    for mistake in exercise.mistakes:
        yield with_mistakes(exercise.solution, [mistake]), mistake.words, True
    for function, words in slips(exercise.solution, copy.deepcopy([*case.arguments.values()])):
        yield function, words, False
    for two in itertools.combinations(exercise.mistakes, 2) if pairs else ():
        with suppress(SyntaxError, ValueError):  # both change the same line
            yield with_mistakes(exercise.solution, two), "; and ".join(mistake.words for mistake in two), True


def in_general(exercise, cases, given, explained):
    """What can be said of the first result that a slip explains, where that is a sign or a factor."""
    names = [name for name, wrong in explained.items() if wrong]
    general = describe_difference(names[0], exercise, cases, given) if names else ""
    return f"{general}; perhaps " if general.startswith("off by a factor") and "about" not in general else ""


def blame(words, names):
    """Results, and the mistake that explains them, in words."""
    return f"{' and '.join(names)}: {words}"


def explained_by(function, exercise, cases, given):
    """Those results that this function gives too, in every case: name -> whether it is a wrong one."""
    explained = dict.fromkeys(exercise.results, False)
    for case, results in zip(cases, given, strict=True):
        try:
            values = as_tuple(function(*copy.deepcopy(case.arguments).values()))
            guess = {n: np.asarray(v, dtype=float) for n, v in zip(exercise.results, values, strict=True)}
        except Exception:
            return {}
        for name in list(explained):
            if guess[name].shape != results[name].shape or relative_error(results[name], guess[name]) > BOUND:
                del explained[name]
            elif guess[name].shape == case.expected[name].shape:
                explained[name] |= relative_error(guess[name], case.expected[name]) > BOUND
        if not explained:
            break
    return explained


def describe_difference(name, exercise, cases, given):
    """What can be said of a wrong result without knowing the mistake."""
    pairs = [(results[name], case.expected[name]) for results, case in zip(given, cases, strict=True)]
    if not all(np.isfinite(value).all() for value, _ in pairs):
        return "holds inf or nan: look for a division by zero, a log of zero or an overflow"
    if all_zeros(name, given):
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


def all_zeros(name, given):
    """Whether a result is zero everywhere, to which many mistakes lead."""
    return not any(results[name].any() for results in given)


def worst(name, cases, given):
    """Largest relative error of one result over all draws."""
    return max(relative_error(results[name], case.expected[name]) for results, case in zip(given, cases, strict=True))
