"""The answer to one exercise out of a submission: its function and the statements that it needs, and nothing else."""

import ast
import builtins
import re
import symtable
import warnings
from typing import NamedTuple

from minilstm.errors import one_line

PACKAGES = "minilstm", "minilstm_lessons"
HARMLESS = "minilstm.types", "minilstm.config", "minilstm.device", "minilstm.errors"  # hold no exercise's answer
REACHING = {"__globals__", "__closure__", "__subclasses__", "__builtins__", "__loader__", "__code__"}
NO_IMPORT = "imported, not written"


class Answer(NamedTuple):
    """What the student's process needs to make an answer.

    Attributes
    ----------
    cells : list of Cell
    keep : list of (int, int, list of int or None)
        Statements to run: the cell, the place in it, and of an import which of its names.
    names : dict of str to list of str
        Module of minilstm -> names that the answer uses.
    statements : list of stmt
        The answer's own statement, and those of the functions that it calls by name.
    remark : str
        What is to be told of it, whatever the verdict.
    """

    cells: list
    keep: list
    names: dict
    statements: list
    remark: str = ""


class NoAnswerError(Exception):
    """Why there is nothing to run: `status`, and words."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status = status


class Binding(NamedTuple):
    """A top-level statement that binds a name."""

    cell: int
    place: int
    alias: int | None
    statement: ast.stmt


class Parsed(NamedTuple):
    """A file: its cells, name -> its bindings, imports of everything (*), and syntax errors, (text, words)."""

    cells: list
    bindings: dict
    stars: list
    errors: list


def parse_cells(cells):
    """Read the cells of a file; those with a syntax error are left out."""
    bindings, stars, errors = {}, [], []
    for number, cell in enumerate(cells):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(cell.text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = getattr(error, "lineno", None)
            where = f"{cell.name}, line {line}" if line else cell.name
            errors.append((cell.text, f"{where}: {getattr(error, 'msg', None) or type(error).__name__}"))
            continue
        for place, statement in enumerate(tree.body):
            for name, alias in bound_names(statement):
                if name == "*":
                    stars.append(Binding(number, place, alias, statement))
                else:
                    bindings.setdefault(name, []).append(Binding(number, place, alias, statement))
    return Parsed(cells, bindings, stars, errors)


def bound_names(statement):
    """The names that a top-level statement binds, each with its place among an import's names.

    Loops and `with` blocks are never run, whatever they bind: there is training in them.
    """
    if isinstance(statement, ast.Import | ast.ImportFrom):
        whole = isinstance(statement, ast.ImportFrom)
        return [
            (alias.asname or (alias.name if whole else alias.name.partition(".")[0]), n)
            for n, alias in enumerate(statement.names)
        ]
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [(statement.name, None)]
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return [(node.id, None) for target in targets for node in ast.walk(target)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]  # fmt: skip
    if isinstance(statement, ast.If | ast.Try):
        blocks = [statement.body, statement.orelse, getattr(statement, "finalbody", []),
                  *(handler.body for handler in getattr(statement, "handlers", []))]  # fmt: skip
        return [(name, None) for block in blocks for part in block for name, _ in bound_names(part)]
    return []


def names_needed(statement):
    """The global names that a statement reads, those in the functions and classes within it too."""
    found = set()
    tables = [symtable.symtable(ast.unparse(statement), "statement", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        top = table.get_type() == "module"
        found |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return found


def allowed_names(exercise):
    """The functions of minilstm that an answer may call: those that the solution calls, and those that are `allowed`.

    Returns
    -------
    dict of str to set of str
        Module -> names.
    """
    solution, found = exercise.solution, {}
    values = {name: solution.__globals__.get(name) for name in solution.__code__.co_names}
    for name, value in (values | {function.__name__: function for function in exercise.allowed}).items():
        module = getattr(value, "__module__", None) or ""
        if module.partition(".")[0] == "minilstm":
            found.setdefault(module, set()).add(name)
    return found


def find_answer(name, files, allowed):
    """The answer to an exercise.

    Parameters
    ----------
    name : str
        Of the exercise.
    files : list of Parsed
    allowed : dict of str to set of str
        See `allowed_names`.

    Raises
    ------
    NoAnswerError
    """
    having = [file for file in files if name in file.bindings]
    own = [file for file in having if not isinstance(file.bindings[name][-1].statement, ast.Import | ast.ImportFrom)]
    having = own or having  # another lesson's notebook may import what this exercise asks to write
    written = [file for file in having if not is_stub(file.bindings[name][-1].statement)]
    if not written:
        raise nothing_written(name, files, having)
    file = written[-1]
    remark = f"written in {len(written)} files, the last was taken" if len(written) > 1 else ""
    keep, names, wanted, seen = set(), {}, [name], set()
    while wanted:
        wanted_name = wanted.pop()
        if wanted_name in seen:
            continue
        seen.add(wanted_name)
        bindings = since_last_definition(file.bindings.get(wanted_name, []))
        if not bindings and not hasattr(builtins, wanted_name):
            bindings = file.stars
        for binding in bindings:
            keep.add(binding[:3])
            for module, imported in package_imports(binding, allowed):
                names.setdefault(module, set()).add(imported)
            if binding.alias is None:
                wanted += names_needed(binding.statement)
    names = {module: sorted(found) for module, found in names.items()}
    return Answer(file.cells, statements_of(keep), names, statements_read(name, file), remark)


def statements_read(name, file):
    """What the judge reads of an answer in a notebook: its statement, and those of the functions that it calls."""
    answer = file.bindings[name][-1].statement
    called = {
        node.func.id for node in ast.walk(answer) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    helpers = [file.bindings[other][-1].statement for other in sorted(called - {name}) if other in file.bindings]
    return [answer, *(helper for helper in helpers if isinstance(helper, ast.FunctionDef))]


def since_last_definition(bindings):
    """The bindings that count: from the last function, class or import on."""
    kinds = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom
    last = max((n for n, binding in enumerate(bindings) if isinstance(binding.statement, kinds)), default=0)
    return bindings[last:]


def statements_of(keep):
    """The statements in their order, the chosen names of an import together."""
    statements = {}
    for cell, place, alias in keep:
        statements.setdefault((cell, place), []).append(alias)
    return [(*at, None if None in aliases else sorted(aliases)) for at, aliases in sorted(statements.items())]


def nothing_written(name, files, having):
    """Why an exercise has no answer, as the exception to raise."""
    for text, words in (error for file in files for error in file.errors):
        if re.search(rf"^\s*def\s+{name}\b", text, re.MULTILINE):
            return NoAnswerError("syntax error", one_line(f"syntax error in {words}", 200))
    if having:
        return NoAnswerError("not written", "not written yet")
    for file in files:
        for star in file.stars:
            list(package_imports(star, {}))  # of all solutions, perhaps
    return NoAnswerError("missing", "not in the submission")


def is_stub(statement):
    """Whether nothing is written in a function: a docstring, `...`, `pass` or a raised NotImplementedError."""
    if not isinstance(statement, ast.FunctionDef):
        return False
    return all(
        isinstance(part, ast.Pass)
        or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        or (isinstance(part, ast.Raise) and "NotImplemented" in ast.unparse(part))
        for part in statement.body
    )


def package_imports(binding, allowed):
    """What a statement imports from minilstm, as pairs of module and name.

    Raises
    ------
    NoAnswerError
        If the exercise's solution does without it, or it is no function that the solution calls.
    """
    found = []
    nodes = [binding.statement] if binding.alias is not None else [*ast.walk(binding.statement)]
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            aliases = node.names if binding.alias is None else [node.names[binding.alias]]
            for alias in aliases:
                module = node.module or "" if isinstance(node, ast.ImportFrom) else alias.name
                if module.partition(".")[0] in PACKAGES:
                    found += allowed_import(module, alias.name, isinstance(node, ast.ImportFrom), allowed)
        elif isinstance(node, ast.Call):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and str(argument.value).partition(".")[0] in PACKAGES:
                    raise NoAnswerError("imported", f"{NO_IMPORT}: {one_line(ast.unparse(node), 80)}")
        elif isinstance(node, ast.Attribute) and node.attr in REACHING:
            raise NoAnswerError("imported", f"{node.attr} is refused while an answer is graded")
    return found


def allowed_import(module, name, from_module, allowed):
    """The pairs of module and name that an import stands for, if all may be used."""
    whole = module if not from_module else f"{module}.{name}"  # `from minilstm import optim` imports a module
    if from_module and module in allowed and name in allowed[module]:
        return [(module, name)]
    if from_module and module in HARMLESS and name != "*":
        return [(module, name)]
    for known, names in allowed.items():
        if from_module and name in names and module == "minilstm":  # a public name of the package
            return [("minilstm", name)]
        if whole == known:
            return [(known, n) for n in names]
    raise NoAnswerError("imported", f"{NO_IMPORT}: {'from ' + module + ' ' if from_module else ''}import "
                   f"{name if from_module else module}")  # fmt: skip
