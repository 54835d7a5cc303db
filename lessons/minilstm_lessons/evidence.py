"""What a student's own text shows of a slip or of a usual mistake, and what it shows by itself."""

import ast
import re
from contextlib import suppress

from minilstm_lessons.exercise import source_of
from minilstm_lessons.patterns import find
from minilstm_lessons.source import names_used, normal


def words_of_slip(words, slip, source, parameters, number):
    """The words of a slip that stands in the student's text, and its line there; else nothing."""
    line = None
    if slip.written is not None:
        line = find(slip.written, source, parameters, slip.literal, whole=slip.whole and slip.removed is not None)
    words = in_own_names(words, slip, source, parameters)
    if number:  # where it stopped nothing was compared, so what belongs there is not certain
        name, stands, _ = words.partition(" stands where ")
        return (f"{name} does not belong there" if stands else words) if line == number else ""
    if line:
        return f"{words}, in your line {line}"
    absent = tokens(slip.removed, source, parameters) - names_used(source) if slip.removed is not None else ()
    return f"{words}: {' and '.join(sorted(absent))} does not occur" if absent else ""


def in_own_names(words, slip, source, parameters):
    """The words of a slip with the student's names; "something" for a variable that has no such name there."""
    names = dict(zip(parameters, source.parameters, strict=False))
    used = names_used(source)
    for name in slip.function.__code__.co_varnames:
        own = names.get(name) or (name if name in used else "something")
        words = re.sub(rf"\b{name}\b", own, words)
    return words


def tokens(node, source, parameters):
    """The names of functions and parameters in a part of a solution, as the student has them."""
    names = dict(zip(parameters, source.parameters, strict=False))
    parts = [*ast.walk(node)]
    found = {names[part.id] for part in parts if isinstance(part, ast.Name) and part.id in names}
    return found | {part.attr for part in parts if isinstance(part, ast.Attribute)}


def written(mistake, source, parameters):
    """Whether one of a mistake's edits stands in a student's text."""
    for new in mistake.edits.values():
        with suppress(SyntaxError):
            for statement in ast.parse(new.strip()).body:
                value = getattr(normal(statement), "value", None)
                if isinstance(value, ast.expr) and find(value, source, parameters):
                    return True
    return False


def remarks(exercise, source):
    """What a student's text shows by itself: an argument that is never used, random numbers of its own."""
    used, needed = names_used(source), {
        node.id for node in ast.walk(ast.parse(source_of(exercise.solution) or "0")) if isinstance(node, ast.Name)
    }  # fmt: skip
    parameters = exercise.solution.__code__.co_varnames[: exercise.solution.__code__.co_argcount]
    unused = [own for own, name in zip(source.parameters, parameters, strict=False)
              if name in needed and own not in used]  # fmt: skip
    if unused and len(unused) < len(parameters):
        yield f"the argument {' and '.join(unused)} is never used"
    if used & {"default_rng", "rand", "randn", "random", "uniform", "choice"} and not needed & {"random"}:
        yield "it draws random numbers of its own"
