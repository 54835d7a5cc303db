"""`check` with what a judge does not expect: a verdict every time, and right ones afterwards."""

import gc
import importlib.util
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import warnings
import weakref
from asyncio import CancelledError
from bdb import BdbQuit
from fractions import Fraction
from functools import partial
from pathlib import Path

import minilstm_lessons
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from minilstm_lessons import EXERCISES, check
from minilstm_lessons.exercise import with_mistakes
from minilstm_lessons.judge import Verdict, judge

SOFTMAX = EXERCISES["softmax"]
right = SOFTMAX.solution
wrong = with_mistakes(right, SOFTMAX.mistakes[:1])
train_one_epoch = EXERCISES["train_one_epoch"].solution  # takes a dict, params
stack_layers = EXERCISES["stack_layers"].solution  # takes lists


def answer(name="softmax"):
    """Decorate an answer to an exercise."""

    def rename(function):
        function.__name__ = name
        return function

    return rename


def process():
    """What a student's function must leave as it was."""
    return {
        "recursion limit": sys.getrecursionlimit(),
        "trace functions": (sys.gettrace(), sys.getprofile()),
        "streams": (sys.stdout, sys.stderr),
        "floating point errors": (np.geterr(), np.geterrcall()),
        "warnings": ([*warnings.filters], warnings.showwarning),
    }


@pytest.fixture(autouse=True)
def later_verdicts():
    """After each test the same process, and the same verdicts on a right and on a wrong answer."""
    before = process(), check(right), check(wrong)
    assert [verdict.status for verdict in before[1:]] == ["right", "wrong"]
    yield
    assert (process(), check(right), check(wrong)) == before


def judged(function):
    """The verdict, which is one line of ordinary length that can be printed."""
    verdict = check(function)
    assert type(verdict) is Verdict
    assert verdict.status in ("right", "wrong", "wrong shape", "stopped", "not written")
    assert verdict.text.isprintable()
    assert len(verdict.text.encode()) < 3000
    return verdict


def refuse(*args, **kwargs):
    raise NotImplementedError


def leave(*args, **kwargs):
    raise SystemExit(3)


def odd(base=object, *arguments, **methods):
    """An object of a class with these methods, most of which raise."""
    return type("Odd", (base,), {"__hash__": None} | methods)(*arguments)


class Nameless(type):
    """Of a class that does not even tell its name."""

    def __getattribute__(cls, name):
        raise RuntimeError(name)


def nameless(base=object):
    return Nameless("Nameless", (base,), {})()


EXCEPTIONS = {
    "no message": lambda: odd(Exception, __str__=refuse), "a number": lambda: odd(Exception, __str__=lambda error: 5),
    "exits": lambda: odd(Exception, __str__=leave), "no class": lambda: odd(Exception, __class__=property(refuse)),
    "no name": lambda: nameless(Exception), "null": lambda: Exception("a\0b\nc"),
    "long": lambda: ValueError("x" * 10**6), "not to be printed": lambda: ValueError("\ud800 \x1b[31m"),
    "odd message": lambda: NameError(odd(__str__=refuse)), "group": lambda: ExceptionGroup("g", [ValueError(1)]),
    "exit": lambda: SystemExit(object()), "base group": lambda: BaseExceptionGroup("g", [GeneratorExit()]),
    **{kind.__name__: kind for kind in (
        StopIteration, StopAsyncIteration, GeneratorExit, RecursionError, MemoryError, UserWarning, RuntimeWarning,
        BaseException, EOFError, BdbQuit, CancelledError, BufferError, ImportError, SyntaxError, SystemError,
    )},
}  # fmt: skip


@pytest.mark.parametrize("make", EXCEPTIONS.values(), ids=[*EXCEPTIONS])
def test_an_answer_that_raises_has_stopped_at_the_first_call_or_a_later_one(make):
    def raises_from(call, result):
        calls = iter(range(10**6))

        @answer()
        def softmax(logits):
            if next(calls) >= call:
                raise make()
            return result(logits)

        return softmax

    for call in (0, 2):
        verdict = judged(raises_from(call, right))
        assert verdict.status == "stopped"
        assert verdict.text.startswith("softmax stopped with ")  # not the judge itself
    no_shape = raises_from(1, lambda logits: logits[1:])  # it is called again, to find the cause
    assert judged(no_shape).status == "wrong shape"


def test_the_line_that_raised_and_its_message_are_told():
    @answer()
    def no_memory(logits):
        return np.empty(10**15) + logits

    text = judged(no_memory).text
    assert text.startswith("softmax stopped with MemoryError in your line ")
    assert "`return np.empty(10**15) + logits`: Unable to allocate" in text


def callable_named(name):
    return odd(__name__=name, __call__=lambda self, logits: right(logits))


NO_FUNCTIONS = {
    "number": lambda: 5, "text": lambda: "softmax", "None": lambda: None, "array": lambda: np.ones(3),
    "module": lambda: np, "partial": lambda: partial(right), "lambda": lambda: lambda logits: right(logits),
    "builtin": lambda: len, "ufunc": lambda: np.exp, "verdict": lambda: Verdict("right", ""), "class": lambda: Verdict,
    "name raises": lambda: odd(__name__=property(refuse)), "name exits": lambda: odd(__name__=property(leave)),
    "name is a number": lambda: callable_named(5), "name is a list": lambda: callable_named(["softmax"]),
    "name is no plain text": lambda: callable_named(odd(str, "softmax")),
    "name is long": lambda: callable_named("softmax" * 10**5),
    "name cannot be printed": lambda: callable_named("\ud800softmax\x1b[31m"), "no name of its class": nameless,
    "attributes raise": lambda: odd(__getattribute__=refuse),
}  # fmt: skip


@pytest.mark.parametrize("make", NO_FUNCTIONS.values(), ids=[*NO_FUNCTIONS])
def test_what_is_no_function_or_no_exercise_is_told(make):
    verdict = judged(make())
    assert verdict.status == "stopped"
    assert "check takes a function, as in check(" in verdict.text or "no exercise is called" in verdict.text


def test_functions_of_the_wrong_kind_are_told():
    @answer()
    def without_parameters(): ...

    @answer()
    def by_keyword(*, logits): ...

    @answer()
    def generator(logits):
        yield right(logits)

    @answer()
    async def coroutine(logits):
        return right(logits)

    softmax = type("softmax", (), {"__init__": lambda self, logits: None})
    for function, words in ((without_parameters, "TypeError"), (by_keyword, "TypeError"), (generator, "a generator"),
                            (coroutine, "a coroutine"), (softmax, "p is a softmax, expected numbers")):  # fmt: skip
        assert words in judged(function).text
    assert judged(callable_named("softmax")).status == "right"


@pytest.mark.parametrize(
    "new", ["(((((", '"""', "x", "", "\0", "def softmax(logits):\n\treturn (\n", "\n" + "-" * 5000 + "1"]
)
def test_an_answer_whose_source_has_changed_or_cannot_be_found_is_judged(tmp_path, new):
    def answers(result):
        """One whose file is another now, and one that no file has but whose module claims to know its text."""
        path = tmp_path / "answers.py"
        path.write_text(f"\ndef softmax(logits):\n    return {result}\n")
        spec = importlib.util.spec_from_file_location("answers", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        path.write_text("\n" + new)
        namespace = {"__loader__": odd(get_source=refuse), "__name__": "answers"}
        exec(compile(f"def softmax(logits): return {result}", "<nowhere>", "exec"), namespace)
        return module.softmax, namespace["softmax"]

    assert {judged(function).status for function in answers("None")} <= {"not written", "stopped"}
    for function in answers("1 / 0"):
        assert judged(function).text.startswith("softmax stopped with ZeroDivisionError")

    @answer()
    def wraps_itself(logits):
        value = logits  # noqa: F841

    wraps_itself.__wrapped__ = wraps_itself
    assert judged(wraps_itself).status == "not written"  # nothing can be told


def endless_list():
    values = []
    values.append(values)
    return values


def huge(value):
    """An array that takes no memory until it is converted."""
    return np.broadcast_to(value, (10**7, 10**7))


NO_NUMBERS = {  # from p, the right result
    "complex": lambda p: p.astype(complex), "complex list": lambda p: p.astype(complex).tolist(),
    "complex objects": lambda p: np.array([*map(np.complex64, p.flat), None])[:-1].reshape(p.shape),
    "text": lambda p: p.astype(str), "text list": lambda p: p.astype(str).tolist(), "bytes": lambda p: p.astype("S30"),
    "text objects": lambda p: p.astype(str).astype(object), "masked": lambda p: np.ma.array(p, mask=p < 0.5),
    "fields": lambda p: p.view([("p", float)]), "dates": lambda p: p.astype("M8[s]"),
    "time": lambda p: p.astype("m8[s]"), "ragged": lambda p: [[1], [1, 2]], "generator": lambda p: (row for row in p),
    "set": lambda p: {0.5}, "large number": lambda p: 10**400, "large numbers": lambda p: [[10**400]],
    "raises": lambda p: odd(__array__=refuse, __eq__=refuse), "exits": lambda p: odd(__array__=leave),
    "no number": lambda p: odd(__float__=refuse), "no class": lambda p: odd(__class__=property(refuse)),
    "raises as list": lambda p: odd(list, p, __iter__=refuse), "no name of its class": lambda p: nameless(),
    "endless": lambda p: odd(__len__=lambda self: 2**62, __getitem__=lambda self, index: 0.0),
    "list in itself": lambda p: endless_list(), "huge text": lambda p: huge("a"),
}  # fmt: skip


@pytest.mark.parametrize("convert", NO_NUMBERS.values(), ids=[*NO_NUMBERS])
def test_a_result_that_is_not_real_numbers_is_told(convert):
    @answer()
    def softmax(logits):
        return convert(right(logits))

    @answer("clip_by_value")
    def second_of_two(g, limit):
        return EXERCISES["clip_by_value"].solution(g, limit)[0], convert(g)

    assert judged(softmax).status == "wrong shape"
    assert judged(second_of_two).status == "wrong shape"
    assert "expected" in judged(softmax).text


def test_what_a_result_is_instead_of_numbers_is_named():
    def text_of(convert):
        return judged(answer()(lambda logits: convert(right(logits)))).text

    assert text_of(lambda p: p + 0j) == "softmax: p is an array of complex128, expected real numbers"
    assert text_of(lambda p: p.astype("S5")) == "softmax: p is an array of |S5, expected real numbers"
    assert text_of(lambda p: np.ma.array(p, mask=True)) == "softmax: p is a MaskedArray, expected numbers"
    assert text_of(lambda p: odd(__array__=refuse)) == "softmax: p is a Odd, expected numbers"
    assert text_of(lambda p: odd(__class__=property(refuse))) == "softmax: what it returned cannot be read, expected p"


@pytest.mark.parametrize("value", [np.array(0, dtype) for dtype in "dfl?O"], ids="dfl?O")
def test_a_huge_result_is_of_the_wrong_shape_and_is_not_converted(value):
    assert "wrong shape: p is (10000000, 10000000)" in judged(answer()(lambda logits: huge(value))).text


ODD_ARRAY = type("OddArray", (np.ndarray,), {name: refuse for name in ("__array_ufunc__", "__eq__", "astype", "copy")})
RIGHT_NUMBERS = [
    np.ndarray.tolist, np.asfortranarray, np.ma.array, lambda p: p.astype(np.longdouble), lambda p: p.astype(object),
    lambda p: [[Fraction(x) for x in row] for row in p], lambda p: p.view(ODD_ARRAY),
]  # fmt: skip


@pytest.mark.parametrize("convert", RIGHT_NUMBERS)
def test_right_numbers_of_any_kind_are_right(convert):
    assert judged(answer()(lambda logits: convert(right(logits)))).status == "right"


@pytest.mark.parametrize("factor", [np.nan, np.inf, -np.inf, 1e308, -1e308, 5e-324])
def test_results_out_of_range_are_wrong(factor):
    assert judged(answer()(lambda logits: right(logits) * factor)).status == "wrong"
    assert judged(answer("clip_by_value")(lambda g, limit: (g, factor))).status == "wrong"


scalars = (
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.binary(),
    st.dates(),
)
anything = st.recursive(
    st.one_of(*scalars), lambda parts: st.lists(parts) | st.lists(parts).map(tuple) | st.dictionaries(st.text(), parts)
)


@settings(max_examples=100, deadline=None)
@given(anything, st.sampled_from(["softmax", "clip_by_value", "numerical_gradient", "learning_rate_schedule"]))
def test_no_result_is_too_odd(value, name):
    assert judged(answer(name)(lambda *arguments: value)).status != "right"


def raise_in_judge(frame, event, argument):
    if "minilstm_lessons" in frame.f_code.co_filename:
        raise LookupError
    return raise_in_judge


def lowest_recursion_limit():
    for limit in range(10, 1000):
        try:
            return sys.setrecursionlimit(limit)
        except RecursionError:
            continue


def replace_streams():
    sys.stdout = io.StringIO()
    sys.stdout.close()
    sys.stderr = None


def raise_floating_point_errors():
    np.seterr(all="raise")
    np.seterrcall(raise_in_judge)


def raise_warnings():
    warnings.simplefilter("error")
    warnings.showwarning = raise_in_judge


CHANGES = [
    raise_floating_point_errors, raise_warnings, lowest_recursion_limit, replace_streams,
    lambda: sys.settrace(raise_in_judge), lambda: sys.setprofile(raise_in_judge),
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=["errors", "warnings", "recursion", "streams", "trace", "profile"])
def test_a_change_of_the_process_ends_with_the_answer(change):
    def changes_before(result):
        """An answer that knows its result before it changes anything, so that it can still return it."""

        @answer()
        def softmax(logits):
            value = result(logits)
            change()
            return value

        return softmax

    def divide(logits):
        change()
        return 1 // 0

    before = process()
    assert judged(changes_before(right)).status == "right"
    assert check(changes_before(wrong)) == check(wrong)
    assert judged(changes_before(lambda logits: logits[1:])).status == "wrong shape"
    assert judged(answer()(divide)).status == "stopped"
    assert process() == before


def test_a_warning_that_an_answer_made_an_error_is_none_to_the_judge():
    @answer()
    def softmax(logits):
        warnings.simplefilter("error")
        return [[np.ma.masked, *row[1:]] for row in right(logits)]  # NumPy warns when it converts the first to nan

    assert "p: holds inf or nan" in judged(softmax).text


@pytest.mark.parametrize("name", ["chdir", "modules", "random"])
def test_a_change_that_stays_does_not_reach_the_judge(name, tmp_path, monkeypatch):
    """A working directory that is gone, solutions that are no longer among the imported modules, random seeds."""
    monkeypatch.chdir(tmp_path)  # and back, in the end
    modules = {key: module for key, module in sys.modules.items() if key.startswith("minilstm_lessons.solutions.")}

    @answer()
    def softmax(logits):
        if name == "chdir":
            folder = tmp_path / f"gone{random.random()}"
            folder.mkdir()
            os.chdir(folder)
            folder.rmdir()
        elif name == "modules":
            for key in modules:
                sys.modules.pop(key, None)
        else:
            np.random.seed(0)
            random.seed(0)
        return logits**2  # which only slips may explain, so that they are tried

    try:
        assert judged(softmax).status == "wrong"
        assert check(wrong).text == "softmax is not right yet: p: " + SOFTMAX.mistakes[0].words
    finally:
        sys.modules.update(modules)


def test_arguments_and_results_that_are_changed_later_do_not_reach_the_judge():
    kept = []

    def spoil_and_keep(*values):
        for value in kept:
            value.clear() if isinstance(value, dict | list) else value.fill(7)
        kept.extend(values)

    def keeping(function):
        @answer(function.__name__)
        def keeps(*arguments):
            results = function(*arguments)
            values = *arguments[:2], *(results if isinstance(results, tuple) else (results,))
            spoil_and_keep(*(value for value in values if isinstance(value, dict | list | np.ndarray)))
            return results

        return keeps

    for function in (right, train_one_epoch, stack_layers):
        for _ in range(3):
            assert judged(keeping(function)).status == "right"


def put(key, value):
    return lambda arguments: arguments[0].__setitem__(key, value)


def in_itself(arguments):
    arguments[1].append(arguments[1])


SPOILS = {
    "dates": ("softmax", lambda arguments: setattr(arguments[0], "dtype", "M8[s]")),
    "shape": ("softmax", lambda arguments: setattr(arguments[0], "shape", (-1,))),
    "size": ("softmax", lambda arguments: arguments[0].resize((0,), refcheck=False)),
    "raises": ("train_one_epoch", put("decoder.weight", odd(__array__=refuse, __eq__=refuse))),
    "exits": ("train_one_epoch", put("decoder.weight", odd(__array__=leave))),
    "ragged": ("train_one_epoch", put("decoder.weight", [[1], [1, 2]])),
    "text": ("train_one_epoch", put("decoder.weight", "text")),
    "dict in itself": ("train_one_epoch", lambda arguments: put("decoder.weight", arguments[0])(arguments)),
    "empty": ("train_one_epoch", lambda arguments: arguments[0].clear()),
    "list in itself": ("stack_layers", in_itself),
}


@pytest.mark.parametrize(("name", "spoil"), SPOILS.values(), ids=[*SPOILS])
def test_any_change_of_an_argument_is_told(name, spoil):
    @answer(name)
    def function(*arguments):
        results = EXERCISES[name].solution(*arguments)
        spoil(arguments)
        return results

    assert "changes its argument" in judged(function).text


def test_another_result_at_each_call():
    results = [right, wrong, None, lambda logits: logits[1:], lambda logits: 1 // 0, lambda logits: "x", np.shape]
    turn = iter(range(10**6))

    @answer()
    def softmax(logits):
        function = results[next(turn) % len(results)]
        return function and function(logits)

    for _ in range(10):
        judged(softmax)


def test_check_inside_the_function_that_is_checked():
    verdicts = []

    @answer()
    def softmax(logits):
        verdicts.append(check(softmax))
        return right(logits)

    assert judged(softmax).status == "right"
    assert {verdict.status for verdict in verdicts} == {"stopped"}
    assert "call it after the function" in verdicts[0].text


def test_where_the_stack_is_too_full_for_the_judge_there_is_a_verdict():
    def deepest():
        try:
            return deepest()
        except RecursionError:
            return check(right)

    verdict = deepest()
    assert verdict.status == "stopped"
    assert verdict.text.startswith("the judge itself stopped with RecursionError: maximum recursion depth exceeded")


def test_ctrl_c_goes_through_and_nothing_stays(signals_heard):
    @answer()
    def softmax(logits):
        np.seterr(all="raise")
        lowest_recursion_limit()
        while True:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        check(softmax)


CHANGED_SOLUTIONS = """
from minilstm_lessons import check
from minilstm_lessons.solutions import lesson02

def softmax(logits):
    return logits

open(lesson02.__file__, "w").write("(((((")
print(lesson02.__file__)
print(check(softmax).text)
"""


def test_solutions_whose_files_change_after_the_import_are_still_edited_for_the_cause(tmp_path):
    package = Path(minilstm_lessons.__file__).parent
    shutil.copytree(package, tmp_path / package.name)
    command = [sys.executable, "-c", CHANGED_SOLUTIONS]
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert result.stderr == ""
    file, text = result.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path)
    assert text == judged(answer()(lambda logits: logits)).text


def test_without_the_source_of_a_solution_a_wrong_answer_is_wrong():
    namespace = {}
    exec("def softmax(logits):\n    return abs(logits)", namespace)
    exercise = SOFTMAX._replace(solution=namespace["softmax"], answer=namespace["softmax"])
    assert judge(abs, exercise).status == "right"
    assert "off by a factor of 2" in judge(lambda logits: 2 * abs(logits), exercise).text
    assert judge(lambda logits: logits[1:], exercise).status == "wrong shape"
    assert judge(lambda logits: 1 // 0, exercise).status == "stopped"


def test_nothing_of_a_students_function_is_kept():
    class Large:
        pass

    kept = []

    def allocate():
        large = Large()
        kept.append(weakref.ref(large))
        return large

    @answer()
    def raises(logits):
        large = allocate()
        raise ValueError(large)

    @answer()
    def returns(logits):
        return allocate()

    gc.disable()
    try:
        for function in (raises, returns):
            judged(function)
            assert kept[-1]() is None
    finally:
        gc.enable()
