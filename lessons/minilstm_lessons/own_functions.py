"""Finds the functions that a student wrote in the notebooks of earlier lessons, and judges them.

A saved notebook is a text file. Its code cells are read, not run: of all that is in them, only the wanted function is
executed, with the functions, imports and plain constants that it uses.
"""

import _thread
import ast
import builtins
import dis
import json
import linecache
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import numpy as np
from IPython.core.inputtransformer2 import TransformerManager

from minilstm_lessons import EXERCISES, check
from minilstm_lessons.grading import submissions
from minilstm_lessons.grading.extract import NoAnswerError, allowed_names, find_answer, parse_cells

MAX_SECONDS = 20  # for one judgement
MODULE = "your_notebooks"  # the module that functions read from notebooks belong to


class Definition(NamedTuple):
    """One statement of a notebook that binds names: a function, an import, or a constant."""

    place: tuple  # number of its cell, and of the statement in the cell
    statement: ast.stmt
    file: str  # what a traceback calls its cell


class Found(NamedTuple):
    """A function of the student's; and words on why there is none, or none that can be loaded, in a place before."""

    function: Any
    where: str = ""
    words: str = ""


class Part(NamedTuple):
    """What does a part's work in the network: `function`, the student's if `is_yours`, and what the judge said."""

    name: str
    lesson: int
    function: Any
    is_yours: bool
    words: str


def read_cells(path):
    """The code cells of a notebook as plain Python, magics translated; nothing if the file is no notebook."""
    try:
        cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [TransformerManager().transform_cell(source) for source in sources]


def read_definitions(path):
    """Name -> its last `Definition` in a notebook; and name -> words for functions in cells that cannot be parsed."""
    definitions, broken = {}, {}
    for number, source in enumerate(read_cells(path), start=1):
        file = f"<{Path(path).name}, code cell {number}>"
        try:
            statements = ast.parse(source).body
        except (SyntaxError, ValueError) as error:
            where = f"line {getattr(error, 'lineno', 0)} of code cell {number}"
            broken |= {name: f"a syntax error in {where}" for name in EXERCISES if f"def {name}(" in source}
            continue
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        for n, statement in enumerate(statements):
            for name in names_bound(statement):
                definitions[name] = Definition((number, n), statement, file)
                broken.pop(name, None)
    return definitions, broken


def names_bound(statement):
    """The names that a statement binds, if executing it is harmless: no call but in a function's own lines."""
    if isinstance(statement, ast.FunctionDef):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names if alias.name != "*"]
    if isinstance(statement, ast.Assign) and is_plain(statement.value):
        return [node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    return []


def is_plain(value):
    """Whether an expression is a lambda, or has no call, comprehension or await in it."""
    active = ast.Call | ast.comprehension | ast.Await | ast.Yield | ast.YieldFrom
    return isinstance(value, ast.Lambda) or not any(isinstance(node, active) for node in ast.walk(value))


def load(name, definitions):
    """Execute a function's definition and those of all names that it uses, in the notebook's order; may raise."""
    needed, todo = {}, [name]
    while todo:
        current = todo.pop()
        if current in definitions and current not in needed:
            needed[current] = definitions[current]
            todo += global_names(code_of(needed[current]))
    namespace = {"__name__": MODULE, "np": np, "xp": np}
    for definition in sorted(set(needed.values()), key=lambda definition: definition.place):
        try:
            exec(code_of(definition), namespace)  # the student's own definition, chosen above
        except Exception:
            if definition is needed[name]:
                raise
    return namespace[name]


def code_of(definition):
    """A definition, compiled as a module of one statement."""
    return compile(ast.Module([definition.statement], []), definition.file, "exec")


def global_names(code):
    """The names that compiled code reads from its module: not its parameters and local variables."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(global_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)))


def imported_words(name, cells):
    """What the grader says of a function in these cells that is imported, or calls our own; else nothing."""
    try:
        find_answer(name, [parse_cells(cells)], allowed_names(EXERCISES[name]))
    except NoAnswerError as error:
        return str(error) if error.status == "imported" else ""
    return ""


def find(name, lesson, pasted, folder):
    """A student's function: pasted into this notebook, or else from the notebook of its lesson that was saved last.

    One that is imported is none.
    """
    own, entered = pasted.get(name), pasted.get("In", [])  # `In` has the cells that were run here, as Python
    imported = imported_words(name, [submissions.Cell(f"cell {n}", text) for n, text in enumerate(entered)])
    if isinstance(own, FunctionType) and own.__module__ == pasted.get("__name__") and not imported:
        return Found(own, "pasted here")
    paths = sorted(Path(folder).glob(f"*{lesson:02}_*.ipynb"), key=lambda path: path.stat().st_mtime, reverse=True)
    words = imported or ("" if paths else "its notebook is not in this folder")
    for path in paths:
        definitions, broken = read_definitions(path)
        if name in broken:
            words = words or f"{broken[name]} of {path.name}"
        elif name in definitions:
            try:
                imported = imported_words(name, submissions.read_cells(path))
                if imported:
                    words = words or imported
                    continue
                return Found(load(name, definitions), path.name, words)
            except Exception as error:
                words = words or f"{type(error).__name__} where it is defined: {error}"
    return Found(None, words=words)


def judge_within(function, seconds=MAX_SECONDS):
    """`check`, quietly and with a time limit: the verdict's status and its words.

    The limit works like Ctrl-C, so it ends a loop of Python's, and needs threads (a browser's kernel has none).
    """
    lock, timed_out, finished = threading.Lock(), [], []

    def stop():
        with lock:
            if not finished:
                timed_out.append(True)
                _thread.interrupt_main()

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.default_int_handler) if in_main else None  # a shell's & ignores it
    try:
        if in_main:
            with suppress(RuntimeError):  # of a kernel without threads
                timer.start()
        verdict = check(function)
        with lock:
            finished.append(True)
        timer.cancel()
        return verdict.status, verdict.text
    except KeyboardInterrupt:
        if not timed_out:
            raise
        return "stopped", f"{function.__name__} was stopped after {seconds} seconds: does one of its loops never end?"
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)


def rebound(function, **names):
    """The same function with some of its global names bound to other things, as in the functions beside it.

    What is no plain function is returned as it is.
    """
    if not isinstance(function, FunctionType):
        return function
    old, new = function.__globals__, {}
    for name, value in old.items():
        is_sibling = isinstance(value, FunctionType) and value.__globals__ is old
        new[name] = copy_of(value, new) if is_sibling else value
    new |= names
    return copy_of(function, new)


def copy_of(function, namespace):
    new = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__)
    new.__kwdefaults__, new.__doc__, new.__module__ = function.__kwdefaults__, function.__doc__, function.__module__
    return new


def with_defaults(function, solution):
    """A pasted function may use names that its own notebook imported: they are those that the solution uses."""
    if not isinstance(function, FunctionType):
        return function
    known = function.__globals__.keys() | vars(builtins).keys()
    missing = {name: value for name, value in solution.__globals__.items() if name not in known}
    return rebound(function, **missing)


def choose(name, lesson, found, stands_in):
    """The `Part` that a function becomes: itself if the judge says it is right, and else our solution.

    Parameters
    ----------
    found : Found
    stands_in : dict
        Name -> our function, for parts of the same lesson that are not right: a right function may call them.
    """
    solution = EXERCISES[name].solution
    if found.function is None:
        return Part(name, lesson, solution, False, found.words or "not written")
    function = rebound(with_defaults(found.function, solution), **stands_in)
    status, text = judge_within(function)
    if status == "right":
        return Part(name, lesson, function, True, f"right ({found.where})")
    if status == "not written":
        return Part(name, lesson, solution, False, found.words or "not written")
    return Part(
        name, lesson, solution, False, text.removeprefix(f"{name} is not right yet: ").removeprefix(f"{name}: ")
    )


def own_or_ours(function):
    """A function of the student's if the judge says that it is right, and else our solution."""
    return function if judge_within(function)[0] == "right" else EXERCISES[function.__name__].solution
