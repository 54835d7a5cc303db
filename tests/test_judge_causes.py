"""A cause is named only where it is known: constants, mutants of right answers, results in another order."""

import ast
import copy
import inspect
import itertools
import linecache
import random
import re
from importlib import import_module

import numpy as np
import pytest
from minilstm_lessons import EXERCISES, LESSONS, diagnosis
from minilstm_lessons.exercise import source_of
from minilstm_lessons.judge import draw_case, judge

NO_CAUSE = import_module("wrong_answers.no_cause").WRONG
RIGHT = [
    (module, name, function)
    for lesson in LESSONS
    for module in [import_module(f"right_answers.{lesson.__name__.partition('.')[2]}")]
    for name, function in module.RIGHT
]


@pytest.fixture(params=EXERCISES.values(), ids=list(EXERCISES))
def exercise(request):
    return request.param


@pytest.mark.parametrize(("name", "function", "words", "false"), NO_CAUSE, ids=[f.__name__ for _, f, *_ in NO_CAUSE])
def test_no_cause_is_named_where_none_is_known(name, function, words, false):
    text = judge(function, EXERCISES[name]).text
    assert words in text
    assert not [other for other in false if other in text], text


def names_a_cause(text, exercise):
    causes = [mistake.words for mistake in exercise.mistakes] + [" stands where ", " is missing", "does not belong"]
    return [words for words in causes if words in text]


@pytest.mark.parametrize("number", [0.0, np.nan, np.inf, 1.0, 0.1])
def test_of_a_constant_no_cause_is_named(exercise, number):
    cases = [draw_case(exercise, np.random.default_rng([0, n])) for n in range(5)]
    shapes = itertools.cycle([[value.shape for value in case.expected.values()] for case in cases])

    def constant(*arguments):
        values = [np.full(shape, number) for shape in next(shapes)]
        return values if len(values) > 1 else values[0]

    verdict = judge(constant, exercise)
    assert verdict.status == "wrong"
    assert not names_a_cause(verdict.text, exercise), verdict


def test_of_an_argument_returned_as_it_is_no_cause_is_named():
    for name, place in (("softmax", 0), ("cross_entropy_backward", 0), ("relative_errors", 0), ("round_mantissa", 0)):
        verdict = judge(lambda *arguments, place=place: arguments[place], EXERCISES[name])
        assert "unchanged" in verdict.text
        assert not names_a_cause(verdict.text, EXERCISES[name]), verdict


def test_results_in_another_order_are_told(exercise):
    if len(exercise.results) == 1:
        pytest.skip("one result")
    for order in (lambda values: values[::-1], lambda values: (*values[1:], values[0])):
        verdict = judge(lambda *arguments, order=order: order(exercise.solution(*arguments)), exercise)
        assert verdict.status == "wrong"
        assert f"the results are in another order: expected ({', '.join(exercise.results)}), returned (" in verdict.text


OTHERS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.MatMult: ast.Mult}


def mutant(module, function, rng):
    """A right answer with one operator or name changed, and the line of the change."""
    tree = ast.parse(inspect.getsource(function))
    names = sorted(
        {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & {*inspect.signature(function).parameters}
    )
    operators = [node for node in ast.walk(tree) if isinstance(node, ast.BinOp) and type(node.op) in OTHERS]
    reads = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    places = operators + [node for node in reads if node.id in names and len(names) > 1]
    if not places:
        return None, 0
    node = rng.choice(places)
    if isinstance(node, ast.BinOp):
        node.op = OTHERS[type(node.op)]()
    else:
        node.id = rng.choice([name for name in names if name != node.id])
    node.changed = True
    text = ast.unparse(ast.fix_missing_locations(tree))
    again = ast.parse(text)
    line = next(new.lineno for old, new in zip(ast.walk(tree), ast.walk(again), strict=True) if hasattr(old, "changed"))
    name = f"<mutant {len(linecache.cache)}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    namespace = dict(module.__dict__)
    exec(compile(text, name, "exec"), namespace)
    return namespace[function.__name__], line


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name", "function"), RIGHT, ids=[f"{n}-{f.__name__}" for _, n, f in RIGHT])
def test_a_slip_is_named_in_the_line_where_it_is(module, name, function):
    answer, line = mutant(module, function, random.Random(f"{name} {function.__name__}"))
    verdict = judge(answer, EXERCISES[name], rounds=3) if answer else None
    named = re.findall(r"(?:stands where|is missing).*?, in your line (\d+)", verdict.text) if verdict else []
    assert all(int(number) == line for number in named), f"changed in line {line}: {verdict}"


def test_no_message_gives_a_line_of_the_solution_away(exercise):
    tree = ast.parse(source_of(exercise.solution))
    tree.body[0].body.pop(0)
    lines = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.stmt) and not hasattr(node, "body")]
    spaceless = ["".join(line.split()) for line in lines if len(line) > 12]
    for mistake in exercise.mistakes:
        assert not [line for line in spaceless if line in "".join(mistake.words.split())], mistake.words


def test_a_search_that_takes_long_says_so_once_and_ends(monkeypatch, capsys):
    exercise = EXERCISES["lstm_step_backward"]

    def unexplained(*arguments):
        return [value**3 + 1 for value in copy.deepcopy(exercise.solution(*arguments))]

    whole = judge(unexplained, exercise)
    capsys.readouterr()
    monkeypatch.setattr(diagnosis, "PATIENCE", -1.0)
    assert judge(unexplained, exercise) == whole
    assert capsys.readouterr().out == "… not right yet; looking for the cause\n"
    monkeypatch.setattr(diagnosis, "LIMIT", -1.0)
    assert judge(unexplained, exercise).status == "wrong"
