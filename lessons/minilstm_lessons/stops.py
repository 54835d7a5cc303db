"""What the message of an exception usually means, told from the message and the student's own line alone."""

import re

REDUCED = re.compile(r"\b(?:np|numpy)\.(max|min|amax|amin)\(")
SHAPES = re.compile(r"\(([\d, ]*)\)")

HINTS = {  # part of an exception's message -> what it means
    "division by zero": "the divisor can be 0: say what holds then",
    "out of bounds": "an index is past the end: indices begin at 0 and end at size - 1",
    "referenced before": "it is used before anything is in it: set it before the line, or before the loop",
    "not associated with a value": "it is used before anything is in it: set it before the line, or before the loop",
    "too many values to unpack": "the right side has more values than there are names on the left",
    "not enough values to unpack": "the right side has fewer values than there are names on the left",
    "truth value of an array": "an if, and, or, max or min of Python takes one number, not an array: np.maximum, "
    "np.minimum and np.where go element by element",
    "all input arrays must have the same shape": "the arrays to be stacked are not all of one length: look at the last",
    "inhomogeneous": "the parts are not all of one length: look at the last",
    "object is not callable": "a name is followed by parentheses, but it is no function: was a * or an index meant?",
}


def hint_of(message, line):
    """Words for an exception, or nothing."""
    reduced = REDUCED.search(line)
    if reduced and ("integer" in message or "axis" in message):
        name = reduced[1].replace("a", "", reduced[1].startswith("a"))
        return (
            f"the second argument of np.{reduced[1]} is an axis: the larger or smaller of two, element by element, "
            f"is np.{name}imum"
        )
    if "could not be broadcast" in message or "non-broadcastable" in message or "could not broadcast" in message:
        return broadcast_hint([shape_of(text) for text in SHAPES.findall(message)][:2])
    if "core dimension" in message or "not aligned" in message or "mismatch" in message:
        return "the inner sizes of the product differ"
    return next((words for part, words in HINTS.items() if part in message), "")


def shape_of(text):
    return tuple(int(size) for size in text.split(",") if size.strip())


def broadcast_hint(shapes):
    """Why two shapes do not fit, as far as they tell."""
    if len(shapes) < 2:
        return "two shapes do not fit"
    left, right = shapes
    if left == right[::-1]:
        return "the two shapes do not fit: each is the other one transposed"
    long, short = (left, right) if len(left) >= len(right) else (right, left)
    if len(short) == 1 and len(long) == 2 and short[0] == long[0]:
        return (
            f"the {short[0]} numbers are laid along the last axis, which has {long[-1]}: to give one to each row, make "
            f"them a column, ({short[0]}, 1)"
        )
    return "the two shapes do not fit: axes are compared from the last one on, and must be equal or 1"
