"""Whether a piece of a solution, changed by a slip, stands in a student's text under the student's own names."""

import ast


def find(pattern, source, parameters):
    """Whether a pattern occurs in a student's text; see `places_of`."""
    return next(places_of(pattern, source, parameters), None) is not None


def places_of(pattern, source, parameters, literal=frozenset(), whole=False):
    """Where a pattern occurs in a student's text: yields the number of a tree, a node, and what each variable is there.

    Parameters
    ----------
    pattern : ast.expr
        In normal spelling, see `source.normal`. A parameter of the solution stands for the student's parameter in its
        place, a variable of the solution for anything, the same thing each time.
    source : Source
    parameters : list of str
        Of the solution.
    literal : set of str
        Variables that must bear the names that the solution gives them.
    whole : bool
        Whether it must be all that a statement computes.

    Notes
    -----
    A pattern that names no parameter, function or number occurs nearly anywhere; there all variables are literal.
    """
    names = dict(zip(parameters, source.parameters, strict=False))
    if not is_telling(pattern, names):
        literal = {node.id for node in ast.walk(pattern) if isinstance(node, ast.Name)}
    for n, tree in enumerate(source.trees):
        for node in ast.walk(tree):
            for part in computed_by(node) if whole else [node]:
                bound = {}
                if isinstance(part, ast.expr) and matches(pattern, part, names, bound, literal):
                    yield n, part, bound


def computed_by(statement):
    """What a statement computes: its value, or the values of a tuple, or what it appends."""
    if not isinstance(statement, ast.Assign | ast.Return | ast.Expr) or statement.value is None:
        return []
    value = statement.value
    if isinstance(value, ast.Tuple):
        return [value, *value.elts]
    return [value, *value.args] if isinstance(value, ast.Call) else [value]


def is_telling(pattern, names):
    """Whether a pattern has anything in it that is not a variable of the solution's own."""
    for node in ast.walk(pattern):
        if isinstance(node, ast.Name) and node.id in names:
            return True
        if isinstance(node, ast.Attribute) or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            return True
        if isinstance(node, ast.Constant) and node.value not in (0, 1):
            return True
    return False


def matches(pattern, node, names, bound, literal):
    """Whether a node is an instance of a pattern; `bound` holds what each variable stands for."""
    if isinstance(pattern, ast.Name):
        if pattern.id in names or pattern.id in literal:
            return isinstance(node, ast.Name) and node.id == names.get(pattern.id, pattern.id)
        return ast.dump(bound.setdefault(pattern.id, node)) == ast.dump(node)
    if type(pattern) is not type(node):
        return False
    if isinstance(pattern, ast.Constant):
        return pattern.value == node.value
    if isinstance(pattern, ast.Call) and isinstance(pattern.func, ast.Name):
        if not (isinstance(node.func, ast.Name) and node.func.id == pattern.func.id):
            return False
        pairs = [(pattern.args, node.args), (keywords(pattern), keywords(node))]
        return all(match_lists(a, b, names, bound, literal) for a, b in pairs)
    if isinstance(pattern, ast.keyword):
        return pattern.arg == node.arg and matches(pattern.value, node.value, names, bound, literal)
    if isinstance(pattern, ast.BinOp) and isinstance(pattern.op, ast.Add | ast.Mult):
        if type(pattern.op) is not type(node.op):
            return False
        for left, right in ((node.left, node.right), (node.right, node.left)):
            trial = dict(bound)
            if match_lists([pattern.left, pattern.right], [left, right], names, trial, literal):
                bound.update(trial)
                return True
        return False
    for field, value in ast.iter_fields(pattern):
        other = getattr(node, field, None)
        if isinstance(value, list):
            if not isinstance(other, list) or not match_lists(value, other, names, bound, literal):
                return False
        elif isinstance(value, ast.AST):
            if not isinstance(other, ast.AST) or not matches(value, other, names, bound, literal):
                return False
        elif field not in ("kind", "type_comment") and value != other:
            return False
    return True


def keywords(call):
    return sorted(call.keywords, key=lambda keyword: keyword.arg or "")


def match_lists(patterns, nodes, names, bound, literal):
    return len(patterns) == len(nodes) and all(
        matches(p, n, names, bound, literal) if isinstance(p, ast.AST) else p == n
        for p, n in zip(patterns, nodes, strict=True)
    )
