"""What the lessons need beside minilstm itself: the judge of the exercises, a plain RNN, one style for pictures.

``check(function)`` judges an exercise by the function's name. Importing this package limits NumPy to one thread: the
lessons' arrays are small, and a class shares a machine.
"""

from difflib import get_close_matches

from minilstm.blocks import use_threads
from minilstm.errors import one_line
from minilstm_lessons import (
    lesson01,
    lesson02,
    lesson03,
    lesson04,
    lesson05,
    lesson06,
    lesson07,
    lesson08,
    lesson09,
    lesson10,
    lesson11,
    lesson12,
    lesson13,
)
from minilstm_lessons.exercise import keep_sources
from minilstm_lessons.judge import Verdict, judge
from minilstm_lessons.student import run, running

use_threads(1)

LESSONS = (
    lesson01, lesson02, lesson03, lesson04, lesson05, lesson06, lesson07, lesson08, lesson09, lesson10, lesson11,
    lesson12, lesson13,
)  # fmt: skip
EXERCISES = {exercise.name: exercise for lesson in LESSONS for exercise in lesson.EXERCISES}
MAX_CHARS = 2000  # of a verdict
keep_sources(EXERCISES.values())


def check(function=None):
    """Judge a student's function; returns a Verdict, which says what is right or wrong.

    Parameters
    ----------
    function : callable
        Named as its exercise.

    Examples
    --------
    >>> def softmax(logits):
    ...     ...  # your code here
    >>> check(softmax)
    … softmax: not written yet
    """
    if running.get():
        return Verdict("stopped", "check does nothing inside a function that it judges: call it after the function")
    try:
        verdict = judge_by_name(function)
        return verdict._replace(text=one_line(verdict.text, MAX_CHARS))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return Verdict("stopped", f"the judge itself stopped with {type(error).__name__}: {error}")


def judge_by_name(function):
    """The verdict on a function, or that there is no exercise of its name."""
    name = run(getattr, function, "__name__")[0]
    if type(name) is not str:
        first = next(iter(EXERCISES))
        kind = run(lambda: f"an object of type {type(function).__name__}")[0]
        return Verdict("stopped", f"check takes a function, as in check({first}), not {kind or 'such an object'}")
    if name not in EXERCISES:
        near = get_close_matches(name, EXERCISES, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(EXERCISES)}"
        return Verdict("stopped", f"no exercise is called {name}{hint}")
    return judge(function, EXERCISES[name])
