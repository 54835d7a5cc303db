"""The judge of the exercises: solutions pass, stubs are "not written", mistakes are named."""

import linecache
from collections import deque
from importlib import import_module

import numpy as np
import pytest
from minilstm_lessons import EXERCISES, LESSONS, check
from minilstm_lessons.exercise import Mistake, source_of, with_mistakes
from minilstm_lessons.judge import draw_case, judge
from minilstm_lessons.slips import slips

WRONG = [wrong for lesson in LESSONS for wrong in
         import_module(f"wrong_answers.{lesson.__name__.partition('.')[2]}").WRONG]  # fmt: skip
WRONG += [wrong for name in ("evasions", "evasions_gpu", "natural") for wrong in
          import_module(f"wrong_answers.{name}").WRONG]  # fmt: skip
RIGHT = [right for lesson in LESSONS for right in
         import_module(f"right_answers.{lesson.__name__.partition('.')[2]}").RIGHT]  # fmt: skip


def written(text, exercise):
    """An answer from its text, which `inspect` finds, as it finds that of a cell."""
    name = f"<answer {len(linecache.cache)}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    namespace = dict(exercise.solution.__globals__) | {"__name__": "answers"}
    exec(compile(text, name, "exec"), namespace)
    return namespace[exercise.name]


def with_mistakes_text(exercise, mistake):
    """The text of the solution with a mistake in it."""
    text = source_of(exercise.solution)
    for old, new in mistake.edits.items():
        text = text.replace(old, new)
    return text


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
        verdict = check(written(with_mistakes_text(exercise, mistake), exercise))
        assert verdict.status != "right", f"{mistake}: {verdict}"
        assert mistake.words in verdict.text, f"{mistake}: {verdict}"


def test_a_mistake_that_finds_no_line_to_edit_is_an_error(exercise):
    gone = Mistake({"a line that is not there": "pass"}, "")
    with pytest.raises(ValueError, match="0 times, not once"):
        with_mistakes(exercise.solution, [gone])

    def neither_right_nor_constant(*arguments):
        arrays = [np.arange(1.0, 1 + np.prod(shape)).reshape(shape) for shape in shapes]
        return arrays if len(arrays) > 1 else arrays[0]

    case = draw_case(exercise, np.random.default_rng([0, 0]))
    shapes = [value.shape for value in case.expected.values()]
    with pytest.raises(ValueError, match="0 times, not once"):
        judge(neither_right_nor_constant, exercise._replace(mistakes=(gone,)), rounds=1)


@pytest.mark.slow
def test_a_slip_in_the_solution_is_named(exercise):
    arguments = draw_case(exercise, np.random.default_rng(0)).arguments.values()
    with np.errstate(all="ignore"):  # as the judge does
        found = list(slips(exercise.solution, arguments))
    for slip in found[:: len(found) // 3]:
        verdict = judge(slip.function, exercise, rounds=3)  # it has no text, so no slip is named
        assert all(slip.words not in verdict.text for slip in found if len(slip.words) > 12), f"{slip.words}: {verdict}"


@pytest.mark.parametrize(("name", "function"), RIGHT, ids=[f"{n}-{f.__name__}" for n, f in RIGHT])
def test_a_right_answer_written_otherwise_is_right(name, function):
    verdict = judge(function, EXERCISES[name])
    assert verdict.status == "right", verdict
    assert "float32" not in function.__name__ or "is right, in float32" in verdict.text, verdict
    more = judge(function, EXERCISES[name], rounds=10, seed=987654)  # as in grading
    assert more.status == "right", more


CONTAINERS = [
    list, deque, iter, lambda values: (value for value in values), lambda values: (values[0], *values[1:]),
    lambda values: dict(enumerate(values)).values(), lambda values: [values[0], dict(enumerate(values[1:]))],
]  # fmt: skip


def test_the_right_results_in_any_container_are_right(exercise):
    def as_tuple_of(arguments):
        results = exercise.solution(*arguments)
        return results if isinstance(results, tuple) else (results,)

    by_name = judge(lambda *arguments: dict(zip(exercise.results, as_tuple_of(arguments), strict=True)), exercise)
    assert by_name.status == "right", by_name
    for pack in CONTAINERS[: -1 if len(exercise.results) == 2 else None] if len(exercise.results) > 1 else [tuple]:
        verdict = judge(lambda *arguments, pack=pack: pack(as_tuple_of(arguments)), exercise)
        assert verdict.status == "right", verdict


@pytest.mark.slow
@pytest.mark.parametrize(("name", "function", "words"), WRONG, ids=[f"{n}-{f.__name__}" for n, f, _ in WRONG])
def test_a_wrong_answer_is_named(name, function, words):
    verdict = judge(function, EXERCISES[name])
    assert verdict.status != "right"
    assert words in verdict.text, verdict


def test_every_exercise_has_three_right_answers_and_six_wrong_ones(exercise):
    assert sum(name == exercise.name for name, _ in RIGHT) >= 3
    assert sum(name == exercise.name for name, *_ in WRONG) >= 6
