"""Lesson 3, is my gradient right: its exercises."""

import numpy as np

from minilstm.gradcheck import relative_error
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.lesson02 import layer_loss
from minilstm_lessons.solutions import lesson03 as solutions


def draw_loss(rng, B, H, V):
    """A function of a matrix: lesson 2's loss as a function of the hidden states."""
    weight, bias = rng.standard_normal((V, H)), rng.standard_normal(V)
    targets = rng.integers(V, size=(1, B))

    def loss(x):
        return float(layer_loss(x[None], targets, weight, bias))

    return {"loss": loss, "x": rng.standard_normal((B, H)), "h": float(10 ** rng.uniform(-4, -0.5))}


def central_slopes(loss, x, h):
    """The same two losses from a copy of x for each, of which one element has moved: no function of the package.

    Its differences take four losses, and for the large h of some draws that is another number.
    """
    moves = h * np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([(loss(x + move) - loss(x - move)) / (2 * h) for move in moves]).reshape(x.shape)


def draw_pair(rng, M, N):
    """Gradients over four powers of ten, some wrong, some zero in both."""
    analytic = rng.standard_normal((M, N)) * 10.0 ** rng.integers(-4, 1, (M, N))
    numeric = analytic * rng.choice([-1, 0.3, 0.999, 1 + 1e-9, 1.01, 2.5], (M, N))
    for row, value in enumerate((0.4, -0.4)):  # every kind is there in every draw
        analytic[row, :3], numeric[row, :3] = value, (-value, 3 * value, value / 3)
    analytic[2, 0] = numeric[2, 0] = 0.0
    analytic[2, 1], numeric[2, 1] = 1e-5, 3e-5
    return {"analytic": analytic, "numeric": numeric, "scale": float(10 ** rng.uniform(-4, -2))}


def package_errors(analytic, numeric, scale):
    errors = [relative_error(a, n, scale) for a, n in zip(analytic.flat, numeric.flat, strict=True)]
    return np.array(errors).reshape(analytic.shape)


def draw_parameters(rng, P):
    """One parameter of each kind, and right ones besides, in random order; other bounds and scales in each draw."""
    bound, scale = float(10 ** rng.uniform(-6, -4)), float(10 ** rng.uniform(-4, -0.4))
    kinds = ["turned", "large", "vanishing", "above", "below", "barely", "overflow", *["right"] * P][:P]
    analytic, numeric = {}, {}
    for n, kind in enumerate(rng.permutation(kinds)):
        size = 100.0 if kind == "large" else 1.0
        a = size * rng.uniform(0.5, 1.5, (4, int(rng.integers(4, 7)))) * rng.choice([-1, 1])
        value = a * (1 + bound * rng.uniform(-0.3, 0.3, a.shape))
        place = tuple(rng.integers(a.shape))
        if kind == "turned":  # one element of the wrong sign
            a[place] = -abs(a[place])
            value[place] = -a[place]
        elif kind in ("vanishing", "above"):  # nothing there except noise, within the bound of the scale or above
            a[:] = 0
            value = bound * scale * rng.uniform(-0.4, 0.4, a.shape)
            value[place] *= 10 if kind == "above" else 1
            value[place] += np.sign(value[place]) * bound * scale * (2 if kind == "above" else 0)
        elif kind == "below":  # wrong everywhere, and always too small
            a = value - 0.01 * abs(value)
        elif kind == "barely":  # one element just outside the bound
            a[place] = value[place] * (1 + 3 * bound)
        elif kind == "overflow":
            a[place] = np.inf
        analytic[f"weight_{n}"], numeric[f"weight_{n}"] = a, value
    return {"analytic": analytic, "numeric": numeric, "scale": scale, "bound": bound}


def package_verdicts(analytic, numeric, scale, bound):
    return np.array([(package_errors(analytic[name], numeric[name], scale) > bound).any() for name in analytic])


ERRORS_OF = "relative_errors(analytic[name], numeric[name], scale)"
SIZE = "np.maximum(abs(analytic), abs(numeric))"

EXERCISES = (
    Exercise(
        solutions.numerical_gradient,
        {"B": (2, 4), "H": (2, 5), "V": (3, 7)},
        draw_loss,
        central_slopes,
        {"gradient": "(B, H)"},
        mistakes=(
            Mistake(
                {
                    "x[index] = start + h": "x[index[0]] += h",
                    "start = x[index]\n": "row = x[index[0]].copy(); start = x[index]\n",
                    "x[index] = start - h": "x[index[0]] = row; x[index] = start - h",
                },
                "a whole row was moved on one side: move one element alone",
            ),
            Mistake(
                {"start - h": "start", "(2 * h)": "h"},
                "a forward difference, from x to x + h, whose error falls as h only; go h to both sides",
            ),
            Mistake(
                {"start + h": "start", "(2 * h)": "h"},
                "a backward difference, from x - h to x, whose error falls as h only; go h to both sides",
            ),
            Mistake({"(2 * h)": "h"}, "twice the slope: x + h and x - h are 2 h apart, divide by 2 * h"),
            Mistake(
                {"start - h": "start"},
                "half the slope: the second loss is taken at x itself; from x + h go back by 2 * h, to x - h",
            ),
            Mistake({"(2 * h)": "2 * h"}, "/ 2 * h divides by 2 and then multiplies by h: write / (2 * h)"),
            Mistake({"above - below": "below - above"}, "the sign is wrong: loss(x + h) - loss(x - h)"),
            Mistake(
                {"x[index] = start\n": "pass\n"},
                "an element is not put back before the next one is moved: store its old value and write it back",
            ),
            Mistake(
                {
                    "x[index] = start + h": "x += h",
                    "x[index] = start - h": "x -= 2 * h",
                    "x[index] = start\n": "x += h\n",
                },
                "all of x was moved at once, which gives the sum of all slopes everywhere: move one element at a time",
            ),
            Mistake(
                {"np.ndindex(x.shape)": "range(len(x))", "start = x[index]\n": "start = x[index].copy()\n"},
                "a whole row was moved at once, which gives the sum of its slopes: move one element at a time "
                "(np.ndindex gives the index of each)",
            ),
            Mistake(
                {"gradient[index] = (above - below) / (2 * h)": "gradient[index] = above - below"},
                "a difference, not yet a slope: divide by 2 * h",
            ),
        ),
    ),
    Exercise(
        solutions.relative_errors,
        {"M": (3, 5), "N": (4, 7)},
        draw_pair,
        package_errors,
        {"errors": "(M, N)"},
        mistakes=(
            Mistake(
                {"abs(analytic - numeric)": "(abs(analytic) - abs(numeric))"},
                "the sizes were subtracted, so that a wrong sign is no error at all: |a - n|, the difference first "
                "and then abs",
            ),
            Mistake(
                {"abs(analytic - numeric)": "abs(abs(analytic) - abs(numeric))"},
                "the sizes were subtracted, so that a wrong sign is no error at all: |a - n|, the difference first "
                "and then abs",
            ),
            Mistake(
                {"abs(analytic - numeric)": "(analytic - numeric) ** 2"},
                "the difference was squared, which makes small errors vanish: take its abs",
            ),
            Mistake(
                {
                    "return difference / np.maximum(size, scale)": (
                        "return difference / np.sqrt(analytic**2 + numeric**2)"
                    ),
                },
                "divided by the root of the sum of squares, without a floor: take the larger of the two sizes and "
                "scale",
            ),
            Mistake({"return difference / np.maximum(size, scale)": "return difference"}, "this is the absolute error"),
            Mistake(
                {"abs(analytic - numeric)": "(analytic - numeric)"},
                "the difference has kept its sign, and a test like error < bound lets every negative one pass: abs",
            ),
            Mistake(
                {"np.maximum(size, scale)": "size"},
                "the floor is missing: where both gradients nearly vanish this is noise over noise, or 0 / 0; divide "
                "by scale at least",
            ),
            Mistake({"np.maximum(size, scale)": "(size + scale)"}, "scale was added; it is a floor, the least divisor"),
            Mistake({"np.maximum(size, scale)": "np.minimum(size, scale)"}, "a minimum where the maximum is meant"),
            Mistake({SIZE: "abs(analytic)"}, "divided by |analytic| alone: take the larger of the two sizes"),
            Mistake({SIZE: "abs(numeric)"}, "divided by |numeric| alone: take the larger of the two sizes"),
            Mistake(
                {SIZE: "abs(analytic) + abs(numeric)"}, "divided by the sum of the two sizes: take the larger of them"
            ),
            Mistake(
                {SIZE: "np.maximum(analytic, numeric)"},
                "the sizes are missing their abs: a negative gradient is not a small one",
            ),
            Mistake({SIZE: "np.minimum(abs(analytic), abs(numeric))"}, "divided by the smaller of the two sizes"),
            Mistake(
                {SIZE: "np.maximum(abs(analytic), abs(numeric)).max()"},
                "divided by the largest of the whole array: each element by its own size",
            ),
        ),
    ),
    Exercise(
        solutions.broken_parameters,
        {"P": (7, 10)},
        draw_parameters,
        package_verdicts,
        {"broken": "(P,)"},
        mistakes=(
            Mistake(
                {"not right.all()": "(~right).sum() % 2 == 1"},
                "every wrong element turns the verdict round, so an even number of them passes: one is enough, and "
                "it stays broken",
            ),
            Mistake(
                {"right.all()": "(errors.min() <= bound)"},
                "the smallest error was looked at: take the largest, every element must be right",
            ),
            Mistake(
                {"errors <= bound": "~(errors > bound)"},
                "a gradient with inf in it passes: its error is nan, and nan > bound is False; ask that every error "
                "is <= bound instead",
            ),
            Mistake({"not right.all()": "right.all()"}, "turned round: True is for the broken ones"),
            Mistake({"right.all()": "right.any()"}, "one right element is not enough: every element must be right"),
            Mistake(
                {"errors <= bound": "np.mean(errors) <= bound"},
                "the mean of the errors lets one wrong element hide among many right ones: look at each, or the worst",
            ),
            Mistake(
                {ERRORS_OF: "abs(analytic[name] - numeric[name])"},
                "by the absolute error, large gradients are called broken for their rounding: take the relative error",
            ),
            Mistake(
                {ERRORS_OF: "relative_errors(analytic[name], numeric[name], 0.0)"},
                "without the floor a gradient that vanishes is called broken for its rounding: use scale",
            ),
            Mistake(
                {
                    ERRORS_OF: "(analytic[name] - numeric[name]) "
                    "/ np.maximum(np.maximum(abs(analytic[name]), abs(numeric[name])), scale)"
                },
                "the errors have kept their sign, and one that is too small everywhere passes: abs",
            ),
            Mistake(
                {ERRORS_OF: "relative_errors(analytic[name].flat[0], numeric[name].flat[0], scale)"},
                "only one element of each parameter was looked at",
            ),
            Mistake(
                {
                    ERRORS_OF: "relative_errors(np.linalg.norm(analytic[name]), np.linalg.norm(numeric[name]), scale)",
                },
                "the norms of the two gradients were compared: an element of the wrong sign does not change a norm",
            ),
        ),
    ),
)
