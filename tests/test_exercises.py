"""The judge of the exercises: solutions pass, stubs are "not written", mistakes are named."""

from importlib import import_module

import numpy as np
import pytest
from minilstm_lessons import EXERCISES, LESSONS, check
from minilstm_lessons.exercise import Mistake, with_mistakes
from minilstm_lessons.judge import draw_case, judge
from minilstm_lessons.slips import slips

WRONG = [wrong for lesson in LESSONS for wrong in
         import_module(f"wrong_answers.{lesson.__name__.partition('.')[2]}").WRONG]  # fmt: skip


@pytest.fixture(params=EXERCISES.values(), ids=list(EXERCISES))
def exercise(request):
    return request.param


def test_the_solution_is_right(exercise):
    verdict = check(exercise.solution)
    assert verdict.status == "right", verdict
    assert ("finite differences" in verdict.text) == bool(exercise.gradients)


def test_an_unwritten_answer_is_not_an_error(exercise):
    def unwritten(*arguments):
        raise NotImplementedError

    def stub(*arguments): ...  # your code here

    for function in (unwritten, stub, lambda *arguments: ...):
        assert judge(function, exercise).text == f"{exercise.name}: not written yet"


def test_an_answer_that_returns_nothing_a_misspelt_one_and_one_that_exits_are_told(exercise):
    def no_return(*arguments):
        value = arguments  # noqa: F841

    def leaves(*arguments):
        raise SystemExit(3)

    assert "is its return missing?" in judge(no_return, exercise).text
    assert judge(leaves, exercise).status == "stopped"
    no_return.__name__ = exercise.name + "x"
    assert f"did you mean {exercise.name}?" in check(no_return).text


@pytest.mark.slow
def test_every_mistake_on_the_list_is_named(exercise):
    assert len(exercise.mistakes) >= 3
    for mistake in exercise.mistakes:
        verdict = check(with_mistakes(exercise.solution, [mistake]))
        assert verdict.status != "right", f"{mistake}: {verdict}"
        assert mistake.words in verdict.text, f"{mistake}: {verdict}"


def test_a_mistake_that_finds_no_line_to_edit_is_an_error(exercise):
    gone = Mistake({"a line that is not there": "pass"}, "")
    with pytest.raises(ValueError, match="0 times, not once"):
        with_mistakes(exercise.solution, [gone])
    with pytest.raises(ValueError, match="0 times, not once"):
        judge(lambda *arguments: [0] * len(exercise.results), exercise._replace(mistakes=(gone,)))


@pytest.mark.slow
def test_a_slip_in_the_solution_is_named(exercise):
    arguments = draw_case(exercise, np.random.default_rng(0)).arguments.values()
    with np.errstate(all="ignore"):  # as the judge does
        found = list(slips(exercise.solution, arguments))
    for function, words in found[:: len(found) // 3]:
        verdict = judge(function, exercise, rounds=3)
        assert verdict.status != "wrong" or "; for example" not in verdict.text, f"{words}: {verdict}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "function", "words"), WRONG, ids=[f"{n}-{f.__name__}" for n, f, _ in WRONG])
def test_a_wrong_answer_is_named(name, function, words):
    verdict = judge(function, EXERCISES[name])
    assert verdict.status != "right"
    assert words in verdict.text, verdict


def test_every_exercise_has_three_wrong_answers(exercise):
    assert sum(name == exercise.name for name, _, _ in WRONG) >= 3
