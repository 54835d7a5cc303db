"""Undoes a slip at a place of a student's own text, to see whether that makes the results right.

A slip's pattern may match a line that is right. Only the undoing shows which line is not.
"""

import ast
import copy
import itertools

from minilstm_lessons.patterns import places_of
from minilstm_lessons.student import run

TRIES = 40  # names that are tried for a variable of the solution


def lines_to_undo(slip, places, source, parameters, makes_right):
    """The lines of a student's text where the undoing of a slip makes the results right.

    Parameters
    ----------
    slip : Slip
    places : list
        Where it may stand, see `places_of`.
    source : Source
    parameters : list of str
        Of the solution.
    makes_right : callable
        Of a function: whether it gives the right results.

    Returns
    -------
    set of int
    """
    places = [(slip, *place) for place in places]
    places += [other for place in places for other in places_before(*place, source)]
    return {
        node.lineno
        for each, n, node, bound in places
        if any(makes_right(function) for function in undone(each, n, node, bound, source, parameters))
    }


def places_before(slip, n, node, bound, source):
    """Where the variable is set that a slip has left alone at a place: what is missing may be missing there."""
    name, whole = slip.whole_of or ("", None)
    if isinstance(bound.get(name), ast.Name):
        for other in ast.walk(source.trees[n]):
            targets = other.targets if isinstance(other, ast.Assign) else []
            if any(isinstance(target, ast.Name) and target.id == bound[name].id for target in targets):
                yield slip._replace(before=whole), n, other.value, bound | {name: other.value}


def places_of_slip(slip, source, parameters):
    """Where a slip may stand in a student's text, see `places_of`."""
    if slip.written is None:
        return []
    return [*places_of(slip.written, source, parameters, slip.literal, slip.whole and slip.removed is not None)]


def undone(slip, n, node, bound, source, parameters):
    """Yield the student's function with a slip undone at a place.

    A variable of the solution that the place does not show may be any of the student's: each is tried.
    """
    number = getattr(node, "number", None)
    if number is None or not all(is_function(tree) for tree in source.written):
        return
    tree = source.written[n]
    parts = {part.number: part for part in ast.walk(tree)}
    own = {name: ast.Name(other, ast.Load()) for name, other in zip(parameters, source.parameters, strict=False)}
    for name, part in bound.items():
        if getattr(part, "number", None) in parts:
            own[name] = as_read(parts[part.number])
    theirs = {part.id for part in ast.walk(slip.before) if isinstance(part, ast.Name)}
    unknown = sorted((theirs & {*slip.function.__code__.co_varnames}) - own.keys())
    names = sorted(names_set(tree))
    choices = [sorted(names, key=lambda name, like=like: name != like) for like in unknown]
    news = [renamed(parts[number], slip.before)] if isinstance(slip.before, ast.Call) else []
    for chosen in itertools.islice(itertools.product(*choices), TRIES):
        known = own | {name: ast.Name(other, ast.Load()) for name, other in zip(unknown, chosen, strict=True)}
        news.append(Filled(known).visit(copy.deepcopy(slip.before)))
    for new in news:
        trees = [Replaced(number, new).visit(copy.deepcopy(t)) if t is tree else t for t in source.written]
        function, error = run(compiled, trees, slip.function.__globals__ | source.seen)
        if error is None:
            yield function


def renamed(node, call):
    """A call of the student's with another's name of the function, and the student's own arguments."""
    node = copy.deepcopy(node)
    name = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
    for field in ("attr", "id"):
        if hasattr(getattr(node, "func", None), field):
            setattr(node.func, field, name)
    return node


def is_function(tree):
    return len(tree.body) == 1 and isinstance(tree.body[0], ast.FunctionDef)


def names_set(tree):
    """The parameters and variables in a student's text."""
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return names | {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}


def as_read(part):
    """What is computed at a place: x + y for x += y, and x for the x that is set."""
    part = copy.deepcopy(part)
    if isinstance(part, ast.AugAssign):
        part = ast.BinOp(part.target, part.op, part.value)
    for place in (part, getattr(part, "left", None)):
        if hasattr(place, "ctx"):
            place.ctx = ast.Load()
    return part


def compiled(trees, seen):
    """The first of some functions, which see one another; without what decorates them."""
    body = [copy.deepcopy(tree.body[0]) for tree in trees]
    for function in body:
        function.decorator_list = []
    seen = dict(seen)
    exec(compile(ast.fix_missing_locations(ast.Module(body, [])), "<undone>", "exec"), seen)
    return seen[body[0].name]


class Filled(ast.NodeTransformer):
    """Puts the student's parts in the place of the solution's names."""

    def __init__(self, known):
        self.known = known

    def visit_Name(self, node):
        new = copy.deepcopy(self.known.get(node.id, node))
        if hasattr(new, "ctx"):
            new.ctx = node.ctx
        return new


class Replaced(ast.NodeTransformer):
    """Puts a new part in the place of one with a certain number."""

    def __init__(self, number, new):
        self.number, self.new = number, new

    def visit(self, node):
        if getattr(node, "number", None) != self.number:
            return self.generic_visit(node)
        if not isinstance(node, ast.AugAssign):
            return self.new
        target, new = node.target, self.new
        if isinstance(new, ast.BinOp) and ast.unparse(new.left) == ast.unparse(target):
            return ast.AugAssign(target, new.op, new.right)
        return ast.Assign([target], new)
