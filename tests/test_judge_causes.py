"""A cause is named only where it is known: constants, mutants of right answers, results in another order."""

import ast
import copy
import inspect
import itertools
import linecache
import random
import re
import sys
from importlib import import_module

import numpy as np
import pytest
from minilstm_lessons import EXERCISES, LESSONS, diagnosis
from minilstm_lessons.exercise import source_of
from minilstm_lessons.judge import draw_case, judge
from minilstm_lessons.student import in_time, run

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


ONE_EDIT = """
def predicted_speedups(workers, batch_size, machine):
    p = machine["seconds"]
    q = machine["seconds_per_stream"]
    latency = 2 * (workers - 1) * machine["latency"]
    transfer = 2 * (workers - 1) / workers * machine["bytes"] / machine["bandwidth"]
    single = p + q * batch_size
    shared = p + q / workers + latency + transfer  # wrong
    own = p + q * batch_size + latency + transfer
    return shared, single / shared, workers * single / own

def predicted_speedups(workers, batch_size, machine):
    p = machine["seconds"]
    q = machine["seconds_per_stream"]
    latency = 2 * (workers - 1) * machine["latency"]
    transfer = 2 * (workers - 1) / workers * machine["bytes"] / machine["bandwidth"]
    single = p + q * batch_size
    shared = p + q * batch_size / workers + latency + transfer
    own = p + q * batch_size + latency + transfer
    return shared, single / shared, batch_size * single / own  # wrong

def tied_embedding(weight, ids, dx, h, dlogits):
    N, H = h.shape
    x = h[ids]  # wrong
    logits = h @ weight.T
    dh = dlogits @ weight
    dweight = dlogits.T @ h
    for n in range(N):
        dweight[ids[n]] += dx[n]
    return x, logits, dh, dweight

def walk_and_mean(w, pulls, learning_rate, start):
    total = 0
    count = 0
    for k in range(len(pulls)):
        gradient = w  # wrong
        w = w - learning_rate * gradient
        if k >= start:
            total = total + w
            count = count + 1
    return w, total / count

def ring_allreduce(arrays):
    R, n = len(arrays), len(arrays[0])
    bounds = [k * n // R for k in range(R + 1)]
    held = np.array(arrays)
    sent = np.zeros(R)
    for s in range(R):  # wrong
        for r in range(R):
            k = (r - s) % R
            held[(r + 1) % R, bounds[k] : bounds[k + 1]] += held[r, bounds[k] : bounds[k + 1]]
            sent[r] += bounds[k + 1] - bounds[k]
    halfway = held.copy()
    for s in range(R):  # wrong
        for r in range(R):
            k = (r + 1 - s) % R
            held[(r + 1) % R, bounds[k] : bounds[k + 1]] = held[r, bounds[k] : bounds[k + 1]]
            sent[r] += bounds[k + 1] - bounds[k]
    return halfway, held, sent

def rnn_step_backward(dh, x, h_prev, h, W_ih, W_hh, b):
    dz = dh * (1 - h**2)
    dx = dz @ W_ih
    dh_prev = dz @ W_ih  # wrong
    dW_ih = dz.T @ x
    dW_hh = dz.T @ h_prev
    return dx, dh_prev, dW_ih, dW_hh, dz.sum(axis=0)

def clipped_step(W, b, dW, db, learning_rate, max_grad_norm):
    norm = np.sqrt((dW**2).sum() + (db**2).sum())
    scale = max_grad_norm / max(norm, max_grad_norm)
    step_W = learning_rate * scale * dW
    step_b = learning_rate * scale * db
    distance = np.sqrt(step_W.sum() + (step_b**2).sum())  # wrong
    return W - step_W, b - step_b, distance

def softmax(logits):
    largest = logits.max(axis=1, keepdims=True)
    exp = np.exp(logits - logits)  # wrong
    return exp / exp.sum(axis=1, keepdims=True)

def lstm_gates_backward(dh, dc_next, z_i, z_f, z_g, z_o, c_prev):
    i, f, o = (1 / (1 + np.exp(-z)) for z in (z_i, z_f, z_o))
    g = np.tanh(z_g)
    tanh_c = np.tanh(f * c_prev + i * g)
    dc = dc_next + o * (1 - tanh_c**2)  # wrong
    dz_i = dc * g * i * (1 - i)
    dz_f = dc * c_prev * f * (1 - f)
    dz_g = dc * i * (1 - g**2)
    dz_o = dh * tanh_c * o * (1 - o)
    return dz_i, dz_f, dz_g, dz_o, dc * f

def weight_drop(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    mask = np.where(u < keep_prob, 1 / keep_prob, 0)
    dropped = mask  # wrong
    state = np.zeros(r[0].shape), np.zeros(r[0].shape)
    outputs, _, cache = lstm_forward(x, state, {"weight_ih": weight_ih, "weight_hh": dropped, "bias": bias})
    _, _, grads = lstm_backward(r, None, cache)
    return outputs, grads["weight_ih"], grads["weight_hh"] * mask, grads["bias"]
"""


def answer(text, name, namespace):
    """A function from its text, which `inspect` finds, as it finds that of a cell."""
    file = f"<answer {len(linecache.cache)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    namespace = dict(namespace)
    exec(compile(text, file, "exec"), namespace)
    return namespace[name]


@pytest.mark.parametrize("text", ONE_EDIT.strip().split("\n\n"), ids=lambda text: text[4 : text.index("(")])
def test_the_line_that_is_named_is_a_wrong_one(text):
    name = text[4 : text.index("(")]
    verdict = judge(answer(text, name, EXERCISES[name].solution.__globals__), EXERCISES[name])
    named = {int(number) for number in re.findall(r"in your line (\d+)", verdict.text)}
    wrong = {number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# wrong")}
    assert verdict.status in ("wrong", "wrong shape"), verdict
    assert named <= wrong, f"wrong in {wrong}: {verdict}"


def test_the_undoing_of_a_slip_prints_nothing_and_ends(capsys):
    text = """
def softmax(logits):
    print("called")
    largest = logits.max(axis=1, keepdims=True)
    exp = np.exp(logits - logits)
    return exp / exp.sum(axis=1, keepdims=True)
"""
    verdict = judge(answer(text, "softmax", {"np": np}), EXERCISES["softmax"])
    assert verdict.text.endswith("in your line 5")
    assert capsys.readouterr().out == 6 * "called\n"  # five draws, and the first once more

    def endless():
        while True:
            pass

    before = sys.gettrace()
    assert isinstance(run(in_time(endless, 0.01))[1], TimeoutError)
    assert sys.gettrace() is before


MUTANTS = 2  # of each right answer
OTHERS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.MatMult: ast.Mult}


def edits(part, names):
    """What may stand in the place of a part: another name or number, another operator, or one side of it alone."""
    if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id in names:
        yield from (ast.Name(name, ast.Load()) for name in names if name != part.id)
    elif isinstance(part, ast.Constant) and type(part.value) is int:
        yield from (ast.Constant(part.value + step) for step in (1, -1))
    elif isinstance(part, ast.BinOp):
        yield from (part.left, part.right)
        if type(part.op) in OTHERS:
            yield ast.BinOp(part.left, OTHERS[type(part.op)](), part.right)


def mutant(module, function, rng):
    """A right answer with one operator, name or number changed or one part left out, and the line of the change."""
    tree = ast.parse(inspect.getsource(function))
    parameters = {*inspect.signature(function).parameters}
    nodes = [node for statement in tree.body[0].body for node in ast.walk(statement)]
    set_here = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names = sorted(set_here | parameters & {node.id for node in nodes if isinstance(node, ast.Name)})
    places = [(node, field, new) for node in nodes for field, part in ast.iter_fields(node)
              for new in edits(part, names)]  # fmt: skip
    if not places:
        return None, 0
    node, field, new = rng.choice(places)
    setattr(node, field, new)
    new.changed = True
    text = ast.unparse(ast.fix_missing_locations(tree))
    again = ast.parse(text)
    line = next(new.lineno for old, new in zip(ast.walk(tree), ast.walk(again), strict=True) if hasattr(old, "changed"))
    return answer(text, function.__name__, module.__dict__), line


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name", "function"), RIGHT, ids=[f"{n}-{f.__name__}" for _, n, f in RIGHT])
def test_a_slip_is_named_in_the_line_where_it_is(module, name, function):
    rng = random.Random(f"{name} {function.__name__}")
    for _ in range(MUTANTS):
        changed, line = mutant(module, function, rng)
        verdict = judge(changed, EXERCISES[name], rounds=3) if changed else None
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
