"""A student's own text as a syntax tree: what is written in it, and where."""

import ast
import copy
import inspect
import textwrap
from types import FunctionType
from typing import NamedTuple

REDUCTIONS = "sum", "mean", "max", "min", "prod", "cumsum", "cumprod", "argmax", "argmin", "all", "any"


class Source(NamedTuple):
    """The text of a function and of those that it calls beside it.

    Attributes
    ----------
    trees : list
        In normal spelling, see `normal`. A node has the `number` of the node of `written` that it stands for.
    parameters : list of str
        The function's own.
    called : list
        Functions whose names are called.
    written : list
        The trees as they are written.
    seen : dict
        Name -> value, as far as the function sees them.
    """

    trees: list
    parameters: list
    called: list
    written: list
    seen: dict


def read_source(function):
    """The Source of a student's function; None if its text cannot be found. May raise anything."""
    tree = tree_of(function)
    if tree is None:
        return None
    seen = names_seen(function)
    called = [seen[name] for name in names_called(tree) if isinstance(seen.get(name), FunctionType)]
    helpers = [helper for helper in called if helper is not function and helper.__module__ == function.__module__]
    trees = [tree, *(other for other in map(tree_of, helpers) if other)]
    for each in trees:
        for number, node in enumerate(ast.walk(each)):
            node.number = number
    return Source([normal(t) for t in trees], [*inspect.signature(function).parameters], called, trees, seen)


def tree_of(function):
    """The syntax tree of a function, its line numbers those of its file or cell; None if its text is not there."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except Exception:
        return None
    return ast.increment_lineno(tree, max(first, 1) - 1)


def names_seen(function):
    """Name -> value, of the names outside that a function sees."""
    return function.__globals__ | {
        name: cell.cell_contents
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        if cell != type(cell)()
    }


def names_called(tree):
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def body_of(tree):
    """The statements of the first function in a tree, without its docstring."""
    function = next((node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)), None)
    return [node for node in function.body if not is_constant(node, str)] if function else []


def is_constant(statement, kind):
    """Whether a statement is nothing but a constant of this type."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, kind)
    )


def is_stub(function, solution_tree=None):
    """Whether nothing is written in a function yet, or its text is not there.

    A first line that stands in the solution too may be part of the stub.
    """
    tree = tree_of(function)
    if tree is None:
        return True
    body = body_of(tree)
    if not body:
        return any(isinstance(node, ast.Lambda) and is_ellipsis(node.body) for node in ast.walk(tree))
    given = {ast.dump(node) for node in body_of(solution_tree)} if solution_tree else ()
    written = [node for node in body if not (isinstance(node, ast.Pass | ast.Raise) or is_constant(node, type(...)))]
    return not written or (len(written) < len(body) and len(written) == 1 and ast.dump(written[0]) in given)


def is_ellipsis(node):
    return isinstance(node, ast.Constant) and node.value is ...


def names_used(source):
    """Every name and every attribute that is read anywhere in a student's text, and every text in quotes."""
    nodes = [node for tree in source.trees for node in ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    quoted = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return names | quoted | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def normal(tree):
    """The same text in one spelling: np.sum(x, 0) for x.sum(0) and x.sum(axis=0), x = x + y for x += y."""
    return ast.fix_missing_locations(Normal().visit(copy.deepcopy(tree)))


class Normal(ast.NodeTransformer):
    """Rewrites a tree; the line numbers and the nodes' own numbers stay."""

    def visit_AugAssign(self, node):
        self.generic_visit(node)
        read = copy.deepcopy(node.target)
        read.ctx = ast.Load()
        sum_ = in_place_of(node, ast.BinOp(read, node.op, node.value))
        return ast.copy_location(ast.Assign([node.target], sum_), node)

    def visit_Call(self, node):
        self.generic_visit(node)
        function = node.func
        if not isinstance(function, ast.Attribute):
            return node
        name = {"amax": "max", "amin": "min"}.get(function.attr, function.attr)
        own = not (isinstance(function.value, ast.Name) and function.value.id in ("np", "numpy", "xp"))
        args = [function.value, *node.args] if own else [*node.args]
        keywords = [keyword for keyword in node.keywords if keyword.arg != "keepdims"]
        if name in REDUCTIONS and len(args) == 2:
            keywords.append(ast.keyword("axis", args.pop()))
        if name == "transpose" and len(args) == 1:
            return in_place_of(node, ast.Attribute(args[0], "T", ast.Load()))
        return in_place_of(node, ast.Call(ast.Name(name, ast.Load()), args, keywords))


def in_place_of(node, new):
    """The new node, with the line and the number of the one that it stands for."""
    new.number = getattr(node, "number", None)
    return ast.copy_location(new, node)
