"""Slips: one small change at a time in a solution, such as a student makes in his or her own answer, with its name."""

import ast
import copy
from collections.abc import Callable
from typing import NamedTuple

from minilstm_lessons.changes import changes
from minilstm_lessons.exercise import source_of
from minilstm_lessons.source import normal

SMALL = ast.Subscript, ast.Attribute, ast.Slice, ast.keyword, ast.UnaryOp  # which show no place by themselves


class Slip(NamedTuple):
    """A slip: the solution with it, its name in words, and what it leaves in the text of whoever makes it.

    Attributes
    ----------
    function : callable
    words : str
    written : ast.expr or None
        What stands in the solution then, in normal spelling: the changed part, or what a changed name stands in.
    literal : set of str
        Names in it that the slip puts there.
    removed : ast.expr or None
        What does not stand there any more, if the slip only leaves something out.
    whole : bool
        Whether `written` is all that a statement computes.
    before : ast.AST
        What stands in the solution in the place of `written`, as it is spelt there.
    whole_of : tuple
        The variable that is left alone, if one is, and what it stands in in the solution.
    """

    function: Callable
    words: str
    written: ast.expr | None
    literal: set
    removed: ast.expr | None
    whole: bool
    before: ast.AST
    whole_of: tuple


def slips(solution, arguments):
    """Yield every slip; a name takes the place of another if it can."""
    tree = ast.parse(source_of(solution))
    body = tree.body[0].body
    body.pop(0)  # the docstring
    values = values_of_names(tree, solution, arguments)
    for block in [node.body for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.For | ast.If)]:
        for statement in block:
            for holder, key, node, above in list(places(statement)):
                parent = next((part for part in above if not isinstance(part, SMALL)), None)
                before = copy.deepcopy(parent) if isinstance(parent, ast.expr) else None
                for new, words in changes(node, values):
                    put(holder, key, new)
                    yield Slip(compiled(tree, solution), words, *traces(node, new, parent, before))
                    put(holder, key, node)


def traces(node, new, parent, before):
    """What a change leaves in a text: all of its Slip from `written` on.

    `parent` is what the changed part stands in, and `before` is what it was if it is an expression.
    """
    removed = left_out(node, new)
    whole_of = (new.id, node) if removed is not None and isinstance(new, ast.Name) else ()
    if isinstance(parent, ast.AugAssign) and isinstance(new, ast.operator):
        target = ast.Name(ast.unparse(parent.target), ast.Load())
        node, new = (ast.BinOp(target, operator, parent.value) for operator in (node, new))
        parent = None
    alone = removed is None and not isinstance(new, ast.Name | ast.Constant | ast.Slice | ast.operator)
    if alone or not isinstance(parent, ast.expr):
        written, before = new, node
    else:
        written = parent
    try:
        written = normal(ast.parse(ast.unparse(written), mode="eval")).body
    except SyntaxError:  # of a statement, a slice, a keyword
        written = None
    literal = {new.id} if isinstance(new, ast.Name) and removed is None else set()
    old, present = names_in(node), names_in(new)
    if old != present and sorted(old) == sorted(present):
        literal = set(present)  # its parts are swapped
    return written, literal, removed, written is not None and not isinstance(parent, ast.expr), before, whole_of


def names_in(node):
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]


def left_out(node, new):
    """What a change leaves out; None if it puts something else there."""
    if isinstance(node, ast.BinOp) and new in (node.left, node.right):
        return node.right if new is node.left else node.left
    if isinstance(node, ast.Call) and (new in node.args or new is getattr(node.func, "value", None)):
        return node.func
    return node if isinstance(node, ast.Attribute | ast.UnaryOp | ast.Subscript) else None


def values_of_names(tree, solution, arguments):
    """Name -> what the solution calls so at its end."""
    last = tree.body[0].body[-1]
    value, last.value = last.value, ast.parse("locals()", mode="eval").body
    values = compiled(tree, solution)(*arguments)
    last.value = value
    return values


def compiled(tree, solution):
    """The changed tree as a function, in the solution's module."""
    namespace = dict(solution.__globals__)
    exec(compile(ast.fix_missing_locations(tree), "<slip>", "exec"), namespace)  # our own solution, changed by us
    return namespace[solution.__name__]


def places(node, above=()):
    """Where each part of a statement hangs: (holder, its field or index, part, what it is in, from the inside out).

    The statements within it are left out.
    """
    for field, value in ast.iter_fields(node):
        for holder, key, part in [(value, n, v) for n, v in enumerate(value)] if isinstance(value, list) else [
            (node, field, value)
        ]:  # fmt: skip
            if isinstance(part, ast.AST) and not isinstance(part, ast.stmt):
                yield holder, key, part, (node, *above)
                yield from places(part, (node, *above))


def put(holder, key, node):
    if isinstance(holder, list):
        holder[key] = node
    else:
        setattr(holder, key, node)
