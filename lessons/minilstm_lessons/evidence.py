"""What a student's own text shows of a slip or of a usual mistake, and what it shows by itself."""

import ast
import re
from contextlib import suppress

from minilstm_lessons.exercise import source_of
from minilstm_lessons.patterns import find
from minilstm_lessons.source import names_used, normal
from minilstm_lessons.undo import lines_to_undo, places_of_slip


def words_of_slip(words, slip, source, parameters, number, makes_right):
    """The words of a slip that may stand in the student's text, else nothing; and whether the text shows that it does.

    The line is said if the slip, undone there and nowhere else, makes the results right.
    """
    places = places_of_slip(slip, source, parameters)
    words = in_own_names(words, slip, source, parameters)
    if number:  # where it stopped nothing was compared, so what belongs there is not certain
        name, stands, _ = words.partition(" stands where ")
        there = any(node.lineno == number for _, node, _ in places)
        return (f"{name} does not belong there" if stands else words) if there else "", there
    lines = lines_to_undo(slip, places, source, parameters, makes_right)
    if len(lines) == 1:
        return f"{words}, in your line {lines.pop()}", True
    absent = tokens(slip.removed, source, parameters) - names_used(source) if slip.removed is not None else ()
    if absent and not places:
        return f"{words}: {' and '.join(sorted(absent))} does not occur", True
    return words if places else "", False


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
