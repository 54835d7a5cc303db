"""What may stand where a part of a solution stands: operators, functions, names and axes written for one another."""

import ast
import itertools

import numpy as np

SIGNS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.MatMult: "@", ast.Pow: "**",
    ast.Mod: "%", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==",
}  # fmt: skip
OTHERS = {  # operators that are written for one another
    ast.Add: (ast.Sub, ast.Mult), ast.Sub: (ast.Add,), ast.Mult: (ast.Div, ast.Add), ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div,), ast.Mod: (ast.FloorDiv,), ast.MatMult: (ast.Mult,), ast.Pow: (ast.Mult,),
    ast.Lt: (ast.Gt, ast.LtE), ast.LtE: (ast.Gt, ast.Lt, ast.Eq), ast.Gt: (ast.Lt, ast.GtE), ast.GtE: (ast.Lt, ast.Gt),
}  # fmt: skip
FUNCTIONS = {  # names of functions and methods that are written for one another
    "tanh": ("arctan", "sinh"), "exp": ("log", "exp2"), "log": ("log2", "log10", "exp"), "log2": ("log",),
    "sum": ("mean", "max", "prod"), "mean": ("sum",), "max": ("min",), "min": ("max",), "sqrt": ("square",),
    "maximum": ("minimum", "add"), "minimum": ("maximum",), "cumsum": ("cumprod",), "rint": ("floor", "ceil"),
    "zeros": ("ones",), "zeros_like": ("ones_like",), "all": ("any",), "any": ("all",),
}  # fmt: skip
PARTS = {  # what is missing if one side of an operation is
    ast.Add: "a term", ast.Sub: "a term", ast.Mult: "a factor", ast.MatMult: "a factor", ast.Div: "a division",
    ast.FloorDiv: "a division", ast.Mod: "a remainder, %,", ast.Pow: "a power",
}  # fmt: skip
SIGMOID = ast.parse("lambda z: 1 / (1 + np.exp(-z))", mode="eval").body
LONGEST = 16  # characters of the solution in a slip's name


def alike(a, b):
    """Whether one value may be taken for the other: any array or number for another, anything else of one type."""
    arrays = np.ndarray, np.generic, int, float
    return type(a) is type(b) or (isinstance(a, arrays) and isinstance(b, arrays))


def text(node):
    """A part of the solution in a slip's name: itself if it is short, or what kind of part it is."""
    whole = ast.unparse(node)
    if len(whole) <= LONGEST:
        return whole
    kind = {ast.BinOp: "a product or sum", ast.Call: "the result of a call", ast.Subscript: "an element"}
    return kind.get(type(node), "an expression")


def changes(node, values):
    """What may stand where this part of the solution stands: pairs of the new part and words for the change."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in values:
        for name in values:
            if name != node.id and alike(values[name], values[node.id]):
                yield ast.Name(name, ast.Load()), f"{name} stands where {node.id} belongs"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        for value in (node.value + 1, node.value - 1, -node.value, 2 * node.value):
            yield ast.Constant(value), f"{value:g} stands where {node.value:g} belongs"
    elif isinstance(node, ast.BinOp):
        yield from changes_of_operation(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand, f"the minus before {text(node.operand)} is missing"
    elif isinstance(node, ast.Compare):
        for other in OTHERS.get(type(node.ops[0]), ()):
            words = f"{SIGNS[other]} stands where {SIGNS[type(node.ops[0])]} belongs"
            yield ast.Compare(node.left, [other()], node.comparators), words
    elif isinstance(node, ast.Attribute) and node.attr == "T":
        yield node.value, f"{text(node.value)} is not transposed, .T is missing"
    elif isinstance(node, ast.Call):
        yield from changes_of_call(node)
    elif isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Load):
        for elements, a, b in swapped(node.elts):
            new = type(node)(elements, ast.Load())
            yield new, f"{a} and {b} are swapped"
    elif isinstance(node, ast.IfExp):
        yield node.body, f"it is always {text(node.body)}, also where not {text(node.test)}"
        yield node.orelse, f"it is always {text(node.orelse)}, also where {text(node.test)}"
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value, f"the index of {text(node)} is missing"
    elif isinstance(node, ast.Slice):
        for part in ("lower", "upper"):
            if getattr(node, part):
                words = f"the end {text(getattr(node, part))} of the slice {text(node)} is missing"
                yield ast.Slice(**{"lower": node.lower, "upper": node.upper} | {part: None}), words
    elif isinstance(node, ast.operator) and type(node) in (ast.Add, ast.Sub):
        yield ast.Sub() if isinstance(node, ast.Add) else ast.Add(), "a sign is wrong"  # of += and -=


def changes_of_operation(node):
    """Another operator, one side alone, the sides swapped, or a factor of a matrix product transposed."""
    left, right, sign = text(node.left), text(node.right), SIGNS[type(node.op)]
    for other in OTHERS[type(node.op)]:
        yield ast.BinOp(node.left, other(), node.right), f"{SIGNS[other]} stands where {sign} belongs"
    kind = PARTS[type(node.op)]
    yield node.left, f"{kind} is missing"
    yield node.right, f"{kind} is missing"
    if isinstance(node.op, ast.Sub):
        yield ast.UnaryOp(ast.USub(), node.right), "a term is missing before the -"
    if not isinstance(node.op, ast.Add | ast.Mult):
        yield ast.BinOp(node.right, node.op, node.left), f"the two sides of {sign} are swapped"
    if isinstance(node.op, ast.MatMult):
        turned = ast.Attribute(node.left, "T", ast.Load()), ast.Attribute(node.right, "T", ast.Load())
        yield ast.BinOp(turned[0], node.op, node.right), f"{left} is transposed, which its square shape cannot show"
        yield ast.BinOp(node.left, node.op, turned[1]), f"{right} is transposed, which its square shape cannot show"


def changes_of_call(node):
    """Another function, none, another axis, keepdims left out, arguments swapped, a loop shorter or turned round."""
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else text(function)
    for other in FUNCTIONS.get(name, ()):
        new = ast.Attribute(function.value, other, ast.Load()) if isinstance(function, ast.Attribute) else ast.Name(
            other, ast.Load()
        )  # fmt: skip
        yield ast.Call(new, node.args, node.keywords), f"{other} stands where {name} belongs"
    if name == "tanh":
        yield ast.Call(SIGMOID, node.args, []), "a sigmoid stands where tanh belongs"
    if name == "sigmoid":
        yield ast.Call(ast.parse("np.tanh", mode="eval").body, node.args, []), "tanh stands where sigmoid belongs"
    if name == "range":
        yield ast.Call(ast.Name("reversed", ast.Load()), [node], []), "the loop runs in the wrong direction"
        for part, words in (("[1:]", "the first round"), ("[:-1]", "the last round")):
            yield ast.parse(f"{ast.unparse(node)}{part}", mode="eval").body, f"{words} of the loop is missing"
    method = isinstance(function, ast.Attribute) and text(function.value) not in ("np", "xp", "card")
    for argument in [function.value] if method else node.args:
        if name != "range":
            yield argument, f"{name} is missing" if len(node.args) < 2 else f"{name} is missing, {text(argument)} alone"
    for arguments, a, b in swapped(node.args):
        yield ast.Call(function, arguments, node.keywords), f"{a} and {b} are swapped"
    for n, keyword in enumerate(node.keywords):
        others = node.keywords[:n] + node.keywords[n + 1 :]
        yield ast.Call(function, node.args, others), f"{text(keyword)} is missing"
        if keyword.arg == "axis":
            other = ast.keyword("axis", ast.Constant(1 - keyword.value.value))
            words = f"axis={other.value.value} stands where {text(keyword)} belongs"
            yield ast.Call(function, node.args, [*others, other]), words


def swapped(nodes):
    """The same nodes with two of them in each other's place, and the two in words."""
    for i, j in itertools.combinations(range(len(nodes)), 2):
        new = list(nodes)
        new[i], new[j] = nodes[j], nodes[i]
        yield new, text(nodes[i]), text(nodes[j])
