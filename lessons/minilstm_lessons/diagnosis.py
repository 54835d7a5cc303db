"""Why a result is wrong: the usual mistakes, run and compared, and else what is measured.

A cause is named only if a mistake on the exercise's list gives the student's very numbers, or a slip does and stands in
the student's own text. Its line is named only if the slip, undone there and nowhere else, makes the results right.
Nothing is compared with results that are constants: too many mistakes lead to them.
"""

import copy
import itertools
import time
from contextlib import suppress
from functools import partial

import numpy as np

from minilstm_lessons.difference import describe_constant, describe_difference, describe_order, factor, is_wrong
from minilstm_lessons.evidence import remarks, words_of_slip, written
from minilstm_lessons.exercise import BOUND, as_tuple, relative_error, source_of, with_mistakes
from minilstm_lessons.on_device import from_device
from minilstm_lessons.reading import read
from minilstm_lessons.slips import slips
from minilstm_lessons.source import is_stub
from minilstm_lessons.stops import hint_of
from minilstm_lessons.student import in_time, message_of, run

PATIENCE = 1.5  # seconds, after which the judge says that it is looking
LIMIT = 10.0  # seconds, after which it gives up
UNDONE = 0.5  # seconds that a student's function may take when a slip in it is undone


def diagnose(exercise, cases, given, source):
    """Say what is wrong with each wrong result, and why as far as it is known."""
    order = describe_order(exercise, cases, given)
    if order:
        return order
    unexplained = [name for name in exercise.results if is_wrong(name, exercise, cases, given)]
    right = {name for name in exercise.results.keys() - unexplained if not is_yes_or_no([name], cases)}
    constants = {name: describe_constant(name, cases, given) for name in unexplained}
    noted = [*remarks(exercise, source)] if source else []
    hunted = [name for name in unexplained if not constants[name]]
    suspects = []  # causes in words, and the results that they explain
    likely = ""  # the first cause that explains all, though its place in the student's text is not known
    telling = [name for name in hunted if tells_two_mistakes(name, cases, given)]
    for function, words, shown in guesses(exercise, cases, source, pairs=bool(telling)) if hunted else ():
        if likely and shown is of_two:
            break
        explained = explained_by(function, exercise, cases, given)
        if not any(explained.get(name) for name in (telling if shown is of_two else hunted)):
            continue
        if not right <= explained.keys():  # it would have spoiled what is right
            continue
        one_number = all(not cases[0].expected[name].ndim for name, wrong in explained.items() if wrong)
        if one_number and not leaves_others(function, cases[0], explained):
            continue
        words, certain = shown(words, explained)
        if words and len(explained) == len(exercise.results):  # every result, those that are right too
            phrases = [f"{' and '.join(unexplained)}: {words}"]
            cause = "; ".join(phrases + [note for note in noted if is_yes_or_no(unexplained, cases)])
            if certain:
                return cause
            likely = likely or cause
        elif certain:
            suspects.append((words, explained))
    if likely:
        return likely
    phrases = []
    for words, explained in suspects:
        names = [name for name in unexplained if explained.get(name) and not constants[name]]
        if names:
            phrases.append(f"{' and '.join(names)}: {words}")
            unexplained = [name for name in unexplained if name not in names]
    phrases += [f"{name}: {describe_difference(name, exercise, cases, given)}" for name in unexplained]
    return "; ".join(phrases + (noted if unexplained else []))


def leaves_others(function, case, explained):
    """Whether a mistake gives the right results beside those that it explains: a single number may agree by chance."""
    values = as_tuple(function(*copy.deepcopy(case.arguments).values()))
    return all(
        name in explained or relative_error(np.asarray(from_device(value), dtype=float), case.expected[name]) <= BOUND
        for name, value in zip(case.expected, values, strict=True)
    )


def tells_two_mistakes(name, cases, given):
    """Whether a result holds so much that two mistakes at once do not give the same by chance.

    A single number does not, nor 0 and 1, nor an array that only a factor has changed.
    """
    pairs = [(results[name], case.expected[name]) for results, case in zip(given, cases, strict=True)]
    return (
        all(value.ndim for value, _ in pairs)
        and not is_yes_or_no([name], cases)
        and any(factor(value, expected, small=False) is None for value, expected in pairs)
    )


def is_yes_or_no(names, cases):
    """Whether results hold nothing but 0 and 1: so little that several mistakes may well give the same."""
    return all(np.isin(case.expected[name], (0, 1)).all() for case in cases for name in names)


def diagnose_shape(exercise, cases, given, source):
    """The mistake that gives the student's results, of a wrong shape as they are: "; " and its words, or nothing."""
    arrays = [array for results in given for array in results.values()]
    if arrays and all(array.size > 1 for array in arrays if array.ndim) and not all(
        describe_constant(name, cases, given) for name in exercise.results
    ):  # fmt: skip
        likely = ""
        for guess, words, shown in guesses(exercise, cases, source):
            explained = explained_by(guess, exercise, cases, given)
            if len(explained) == len(exercise.results):
                words, certain = shown(words, explained)
                if certain:
                    return f"; {words}"
                likely = likely or words
        if likely:
            return f"; {likely}"
    return "".join(f"; {words}" for words in remarks(exercise, source)) if source else ""


def diagnose_stop(exercise, cases, given, error, line, number, source):
    """Why a student's function stopped: "; " and words, or nothing.

    A called function that is not written; a mistake that stops with this message in the last case, after the same
    results, if it stands in the student's own text, a slip in the very line; or what such a message means.
    """
    stubs = [f.__name__ for f in source.called if run(is_stub, f)[0] and run(tree_known, f)[0]] if source else []
    if stubs:
        return f"; {' and '.join(sorted(set(stubs)))}, which it calls, is not written yet"
    message = message_of(error)
    for function, words, shown in guesses(exercise, cases, source, number=number) if source else ():
        try:
            function(*copy.deepcopy(cases[-1].arguments).values())
        except Exception as other:
            same = type(other) is type(error) and message_of(other) == message
            explained = explained_by(function, exercise, cases[:-1], given)
            if same and len(explained) == len(exercise.results):
                words, _ = shown(words, explained)
                if words:
                    return "; " + words
    hint = hint_of(message, line)
    return hint and "; " + hint


def tree_known(function):
    return function.__name__ != "<lambda>" and "site-packages" not in function.__code__.co_filename


def guesses(exercise, cases, source, pairs=False, number=None):
    """What a student may have written: a function, words, and a function that gives those to be said.

    The latter takes the words and the results that are explained. It gives the words, or nothing if the cause may not
    be named, and whether it is certain. First come the usual mistakes, then slips, then, if `pairs`, two usual mistakes
    at once. `number` is the line in which the student's function stopped, if it did: there the usual mistakes, too,
    have to be in the student's text.
    """
    if not source_of(exercise.solution):
        return
    parameters = [*cases[-1].arguments]
    waits = watch()

    def show(words, _, mistake=None):
        named = not number or written(mistake, source, parameters)
        return words if named else "", named

    def show_slip(words, explained, slip):
        def makes_right(function):
            return all(not waits() and is_right(function, explained, exercise, case) for case in cases)

        return words_of_slip(words, slip, source, parameters, number, makes_right)

    for mistake in exercise.mistakes:
        yield with_mistakes(exercise.solution, [mistake]), mistake.words, partial(show, mistake=mistake)
        if waits():
            return
    for slip in slips(exercise.solution, copy.deepcopy([*cases[-1].arguments.values()])) if source else ():
        yield slip.function, slip.words, partial(show_slip, slip=slip)
        if waits():
            return
    for two in itertools.combinations(exercise.mistakes, 2) if pairs else ():
        with suppress(SyntaxError, ValueError):  # both change the same line
            yield with_mistakes(exercise.solution, two), "; and ".join(mistake.words for mistake in two), of_two
        if waits():
            return


def is_right(function, names, exercise, case):
    """Whether a student's function, changed by us, gives the right results of these names in one draw."""
    value, error = run(in_time(function, UNDONE), *copy.deepcopy(case.arguments).values())
    results = read(value, exercise, case).results if error is None else None
    return results is not None and all(
        results[name].shape == case.expected[name].shape
        and relative_error(results[name], case.expected[name], name in exercise.small) <= BOUND
        for name in names
    )


def of_two(words, _):
    """The words of two mistakes at once."""
    return words, True


def watch():
    """A function that says once that the judge is looking, if it takes long, and whether to give up."""
    started, said = time.monotonic(), []

    def waits():
        passed = time.monotonic() - started
        if not said and passed > PATIENCE:
            said.append(True)
            with suppress(Exception):  # there may be nothing to print to
                print("… not right yet; looking for the cause", flush=True)
        return passed > LIMIT

    return waits


def explained_by(function, exercise, cases, given):
    """Those results that this function gives too, in every case: name -> whether it is a wrong one."""
    explained = dict.fromkeys(exercise.results, False)
    for case, results in zip(cases, given, strict=True):
        try:
            values = as_tuple(function(*copy.deepcopy(case.arguments).values()))
            guess = {n: np.asarray(from_device(v), dtype=float) for n, v in zip(exercise.results, values, strict=True)}
        except Exception:
            return {}
        for name in list(explained):
            small = name in exercise.small
            if guess[name].shape != results[name].shape or relative_error(results[name], guess[name], small) > BOUND:
                del explained[name]
            elif guess[name].shape == case.expected[name].shape:
                explained[name] |= relative_error(guess[name], case.expected[name], small) > BOUND
        if not explained:
            break
    return explained
