"""Lesson 2, softmax and cross-entropy: its exercises."""

import numpy as np

from minilstm.layers.softmax import softmax_backward as package_backward
from minilstm.layers.softmax import softmax_forward as package_forward
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson02 as solutions

SIZES = {"N": (3, 6), "V": (4, 9)}


def package_cost(logits, targets):
    """The package's softmax layer on given logits: as hidden under the identity matrix. Cost, and its cache."""
    V = logits.shape[1]
    params = {"weight": np.eye(V), "bias": np.zeros(V)}
    return package_forward(logits[None], targets[None], params)


def draw(rng, N, V):
    return {"logits": 3 * rng.standard_normal((N, V)), "targets": rng.integers(V, size=N)}


def draw_large(rng, N, V):
    return {"logits": 2000 * rng.standard_normal((N, V))}


def stable_softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def cost(logits, targets):
    return package_cost(logits, targets)[0]


def dlogits(logits, targets):
    return package_backward(package_cost(logits, targets)[1])[0][0]


EXERCISES = (
    Exercise(
        solutions.softmax,
        SIZES,
        draw_large,
        stable_softmax,
        {"p": "(N, V)"},
        mistakes=(
            Mistake(
                {"logits - logits.max(axis=1, keepdims=True)": "logits"},
                "exp overflows for large logits; subtract each row's largest logit first, p does not change",
            ),
            Mistake(
                {"logits.max(axis=1, keepdims=True)": "logits.max()"},
                "the largest logit of all was subtracted, so rows far below it become 0 / 0: take each row's own",
            ),
            Mistake({"exp.sum(axis=1, keepdims=True)": "exp.sum()"}, "the whole array sums to 1, not each row: axis=1"),
            Mistake(
                {
                    "logits.max(axis=1, keepdims=True)": "logits.max(axis=0)",
                    "exp.sum(axis=1, keepdims=True)": "exp.sum(axis=0)",
                },
                "each column sums to 1, not each row: axis=1",
            ),
        ),
    ),
    Exercise(
        solutions.cross_entropy_backward,
        SIZES,
        draw,
        dlogits,
        {"dlogits": "(N, V)"},
        loss=cost,
        gradients={"dlogits": "logits"},
        mistakes=(
            Mistake(
                {"p[np.arange(N), targets] -= 1": "p[np.arange(N), targets] += 1"},
                "the sign of the one-hot is wrong: p - onehot, so the target's logit is pushed up",
            ),
            Mistake({"p[np.arange(N), targets] -= 1": "pass"}, "the one-hot of the target is missing: p - onehot"),
            Mistake(
                {"p[np.arange(N), targets] -= 1": "p[:, targets] -= 1"},
                "p[:, targets] picks every target's column in every row; use p[np.arange(N), targets]",
            ),
            Mistake(
                {"return p / N": "return p"}, "a sum where the mean is meant: the cost is averaged over the N words"
            ),
            Mistake({"return p / N": "return -p / N"}, "the sign is wrong: p - onehot, not onehot - p"),
        ),
    ),
)
