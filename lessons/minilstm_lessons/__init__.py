"""What the lessons need beside minilstm itself: the judge of the exercises, a plain RNN, one style for pictures.

``check(function)`` judges an exercise by the function's name. Importing this package limits NumPy to one thread: the
lessons' arrays are small, and a class shares a machine.
"""

from difflib import get_close_matches

from minilstm.blocks import use_threads
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
)
from minilstm_lessons.judge import Verdict, judge

use_threads(1)

LESSONS = lesson01, lesson02, lesson03, lesson04, lesson05, lesson06, lesson07, lesson08, lesson09, lesson10
EXERCISES = {exercise.name: exercise for lesson in LESSONS for exercise in lesson.EXERCISES}


def check(function):
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
    if function.__name__ not in EXERCISES:
        near = get_close_matches(function.__name__, EXERCISES, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(EXERCISES)}"
        return Verdict("stopped", f"no exercise is called {function.__name__}{hint}")
    return judge(function, EXERCISES[function.__name__])
