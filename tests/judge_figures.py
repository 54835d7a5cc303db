"""Counts the verdicts of the judge on the answers in right_answers and wrong_answers.

    python tests/judge_figures.py [-v]

PYTHONPATH may name another version of minilstm_lessons. A cause is true if the verdict has the words that the bank asks
for, and those name a cause; false if it has words that the bank excludes; else there is none. No
cause is known of a constant.
"""

import itertools
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent))

from minilstm_lessons import EXERCISES, LESSONS
from minilstm_lessons.judge import draw_case, judge

NAMES = [lesson.__name__.partition(".")[2] for lesson in LESSONS]
MEASURED = (  # words that say what is measured, and no cause
    "max relative error", "wrong shape", "stopped with", "expected", "is all zeros", "unchanged", "factor of",
    "in float32", "not written", "another order", "wait for it", "one too few", "is never used", "called again",
    "its own", "ids",
)  # fmt: skip


def constants():
    """Answers that return one number everywhere, or their first argument."""
    for exercise in EXERCISES.values():
        cases = [draw_case(exercise, np.random.default_rng([0, n])) for n in range(5)]
        for number in (0.0, np.nan):
            draws = [[np.full(value.shape, number) for value in case.expected.values()] for case in cases]
            values = itertools.cycle(arrays if len(arrays) > 1 else arrays[0] for arrays in draws)
            yield exercise, lambda *_, values=values: next(values)
        yield exercise, lambda first, *_: first


def count(verbose):
    """A Counter of what the judge said."""
    counts = Counter()

    def note(kind, name, function, verdict):
        counts[kind] += 1
        if verbose and kind in ("right, called wrong", "wrong, called right", "cause: false", "cause: words missing"):
            print(f"{kind}: {name} {function.__name__}: {verdict}", file=sys.stderr)

    for lesson in NAMES:
        for name, function in import_module(f"right_answers.{lesson}").RIGHT:
            verdict = judge(function, EXERCISES[name])
            note(f"right, called {'right' if verdict.status == 'right' else 'wrong'}", name, function, verdict)
    for part in (*NAMES, "evasions", "evasions_gpu", "natural", "no_cause"):
        for name, function, words, *excluded in import_module(f"wrong_answers.{part}").WRONG:
            verdict = judge(function, EXERCISES[name])
            note(f"wrong, called {'right' if verdict.status == 'right' else 'wrong'}", name, function, verdict)
            if any(other in verdict.text for others in excluded for other in others):
                note("cause: false", name, function, verdict)
            elif words not in verdict.text:
                note("cause: words missing", name, function, verdict)
            else:
                note("cause: none" if any(part in words for part in MEASURED) or not words else "cause: true", name,
                     function, verdict)  # fmt: skip
    for exercise, function in constants():
        verdict = judge(function, exercise)
        note(f"constant, called {'right' if verdict.status == 'right' else 'wrong'}", exercise.name, function, verdict)
        causes = [m.words for m in exercise.mistakes] + [" stands where ", " is missing: ", "in each other's place"]
        if any(words in verdict.text for words in causes):
            note("constant, a cause named", exercise.name, function, verdict)
    return counts


if __name__ == "__main__":
    for kind, number in sorted(count("-v" in sys.argv).items()):
        print(f"{number:5} {kind}")
