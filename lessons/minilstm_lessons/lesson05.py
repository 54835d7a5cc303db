"""Lesson 5, gradient clipping: its exercises."""

import numpy as np

from minilstm import optim
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson05 as solutions

SIZES = {"H": (2, 6), "D": (2, 6)}


def draw_gradient(rng, H, D):
    g = rng.standard_normal((H, D))
    return {"g": g, "limit": rng.uniform(0.2, 0.8) * abs(g).max()}


def clip_each(g, limit):
    """No function of the package: it clips by global norm."""
    clipped = g.clip(-limit, limit)
    return clipped, np.vdot(g, clipped) / np.linalg.norm(g) / np.linalg.norm(clipped)


def draw_limit(rng, *grads):
    """A largest norm below, or above, that of the gradients."""
    norm = np.linalg.norm(np.concatenate([grad.ravel() for grad in grads]))
    return norm * rng.choice([rng.uniform(0.1, 0.3), rng.uniform(1.5, 3)])


def draw_gradients(rng, H, D):
    dW_ih, dW_hh, db = rng.standard_normal((H, D)), 2 * rng.standard_normal((H, H)), 4 * rng.standard_normal(H)
    return {"dW_ih": dW_ih, "dW_hh": dW_hh, "db": db, "max_grad_norm": draw_limit(rng, dW_ih, dW_hh, db)}


def clip_together(dW_ih, dW_hh, db, max_grad_norm):
    grads, norm = optim.clip_by_global_norm({"dW_ih": dW_ih, "dW_hh": dW_hh, "db": db}, max_grad_norm)
    return *grads.values(), norm


def draw_step(rng, H, D):
    W, b, dW, db = (rng.standard_normal(shape) for shape in ((H, D), H, (H, D), H))
    limit = draw_limit(rng, dW, db)
    return {"W": W, "b": b, "dW": dW, "db": db, "learning_rate": rng.uniform(0.1, 0.7), "max_grad_norm": limit}


def step_by_package(W, b, dW, db, learning_rate, max_grad_norm):
    params = {"W": W.copy(), "b": b.copy()}
    grads, _ = optim.clip_by_global_norm({"W": dW, "b": db}, max_grad_norm)
    optim.sgd(params, grads, learning_rate)
    moved = np.concatenate([(params["W"] - W).ravel(), params["b"] - b])
    return params["W"], params["b"], np.linalg.norm(moved)


EXERCISES = (
    Exercise(
        solutions.clip_by_value,
        SIZES,
        draw_gradient,
        clip_each,
        {"clipped": "(H, D)", "cosine": ""},
        mistakes=(
            Mistake(
                {"np.clip(g, -limit, limit)": "np.minimum(g, limit)"},
                "large negative elements pass: cut at -limit as well",
            ),
            Mistake(
                {"np.clip(g, -limit, limit)": "np.maximum(g, -limit)"},
                "large positive elements pass: cut at +limit as well",
            ),
            Mistake(
                {"np.clip(g, -limit, limit)": "np.clip(g, 0, limit)"},
                "the negative elements are lost: the interval is [-limit, limit]",
            ),
            Mistake(
                {"np.clip(g, -limit, limit)": "np.minimum(abs(g), limit)"},
                "the signs are lost: cut to [-limit, limit], not |g| to [0, limit]",
            ),
            Mistake(
                {"np.clip(g, -limit, limit)": "np.where(abs(g) > limit, limit, g)"},
                "the large negative elements turned positive: they become -limit",
            ),
            Mistake(
                {"np.clip(g, -limit, limit)": "np.where(abs(g) > limit, 0, g)"},
                "large elements became 0: they become limit or -limit, so that they still count",
            ),
            Mistake(
                {"np.clip(g, -limit, limit)": "g * min(1, limit / np.linalg.norm(g))"},
                "this is clipping by norm, which keeps the direction: here each element is cut on its own",
            ),
            Mistake(
                {"np.clip(g, -limit, limit)": "g * min(1, limit / abs(g).max())"},
                "all elements were scaled by the largest, which keeps the direction: here each is cut on its own",
            ),
            Mistake(
                {"np.clip(g, -limit, limit)": "limit * np.sign(g)"},
                "every element became limit or -limit: those between them stay as they are",
            ),
            Mistake(
                {"dot / (length * clipped_length)": "dot"},
                "this is the dot product: divide it by both lengths",
            ),
            Mistake(
                {"dot / (length * clipped_length)": "dot / length"},
                "divided by the length of g alone: divide by the length of the clipped gradient too",
            ),
            Mistake(
                {"dot / (length * clipped_length)": "dot / clipped_length"},
                "divided by the length of the clipped gradient alone: divide by the length of g too",
            ),
            Mistake(
                {"dot / (length * clipped_length)": "dot / length**2"},
                "divided by the length of g twice: one of the two lengths is that of the clipped gradient",
            ),
            Mistake(
                {"dot / (length * clipped_length)": "dot / (length * clipped_length) ** 2"},
                "a square root is missing: a length is the root of the sum of squares",
            ),
            Mistake(
                {"dot / (length * clipped_length)": "np.arccos(dot / (length * clipped_length))"},
                "this is the angle in radians; its cosine is asked for",
            ),
            Mistake(
                {"dot / (length * clipped_length)": "np.degrees(np.arccos(dot / (length * clipped_length)))"},
                "this is the angle in degrees; its cosine is asked for",
            ),
            Mistake(
                {"dot / (length * clipped_length)": "clipped_length / length"},
                "this is how much shorter the gradient became, not how far it turned: use the dot product",
            ),
        ),
    ),
    Exercise(
        solutions.clip_by_global_norm,
        SIZES,
        draw_gradients,
        clip_together,
        {"dW_ih": "(H, D)", "dW_hh": "(H, H)", "db": "(H,)", "norm": ""},
        mistakes=(
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "max_grad_norm / norm"},
                "small gradients are made longer: leave them alone where the norm is below max_grad_norm",
            ),
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "max_grad_norm / min(norm, max_grad_norm)"},
                "min where max is meant: short gradients grow and long ones are not clipped",
            ),
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "max(norm, max_grad_norm) / max_grad_norm"},
                "the fraction is upside down: long gradients grow",
            ),
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "1 / max(norm, max_grad_norm)"},
                "max_grad_norm is missing above the fraction line",
            ),
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "max_grad_norm / (norm + max_grad_norm)"},
                "every gradient is made shorter: max(norm, max_grad_norm), not the sum of the two",
            ),
            Mistake(
                {"np.sqrt(squares)": "squares"},
                "the square root is missing: the norm is the root of the sum of all squares",
            ),
            Mistake(
                {
                    "squares = (dW_ih**2).sum() + (dW_hh**2).sum() + (db**2).sum()": (
                        "squares = ((dW_ih**2).sum()**.5 + (dW_hh**2).sum()**.5 + (db**2).sum()**.5) ** 2"
                    )
                },
                "the three norms were added up: add the squares of all, then take one root",
            ),
            Mistake(
                {
                    "squares = (dW_ih**2).sum() + (dW_hh**2).sum() + (db**2).sum()": (
                        "squares = max((dW_ih**2).sum(), (dW_hh**2).sum(), (db**2).sum())"
                    )
                },
                "only the longest of the three counts: add the squares of all, then take one root",
            ),
            Mistake(
                {
                    "(dW_ih**2).sum() + (dW_hh**2).sum() + (db**2).sum()": (
                        "np.mean([*dW_ih.ravel() ** 2, *dW_hh.ravel() ** 2, *db**2])"
                    )
                },
                "a mean where the sum is meant: the norm is the root of the sum of all squares",
            ),
            Mistake(
                {
                    "(dW_ih**2).sum() + (dW_hh**2).sum() + (db**2).sum()": (
                        "(abs(dW_ih).sum() + abs(dW_hh).sum() + abs(db).sum()) ** 2"
                    )
                },
                "absolute values were added up: square first, sum, then one root",
            ),
            Mistake(
                {
                    "(dW_ih**2).sum() + (dW_hh**2).sum() + (db**2).sum()": (
                        "max(abs(dW_ih).max(), abs(dW_hh).max(), abs(db).max()) ** 2"
                    )
                },
                "this is the largest element: the norm is the root of the sum of all squares",
            ),
            Mistake(
                {
                    "(dW_ih**2).sum() + (dW_hh**2).sum() + (db**2).sum()": (
                        "np.linalg.norm(dW_ih, 2)**2 + np.linalg.norm(dW_hh, 2)**2 + (db**2).sum()"
                    )
                },
                "np.linalg.norm(W, 2) of a matrix is its largest singular value; its length is np.linalg.norm(W)",
            ),
            Mistake({" + (db**2).sum()": ""}, "db is left out of the norm: global means all parameters together"),
            Mistake({" + (dW_hh**2).sum()": ""}, "dW_hh is left out of the norm: global means all parameters together"),
            Mistake(
                {
                    "scale * dW_ih": "dW_ih * min(1, max_grad_norm / np.linalg.norm(dW_ih))",
                    "scale * dW_hh": "dW_hh * min(1, max_grad_norm / np.linalg.norm(dW_hh))",
                    "scale * db": "db * min(1, max_grad_norm / np.linalg.norm(db))",
                },
                "each gradient was clipped by its own norm: one factor for all, from the norm of all together",
            ),
            Mistake(
                {
                    "scale * dW_ih": "dW_ih.clip(-max_grad_norm, max_grad_norm)",
                    "scale * dW_hh": "dW_hh.clip(-max_grad_norm, max_grad_norm)",
                    "scale * db": "db.clip(-max_grad_norm, max_grad_norm)",
                },
                "this is clipping by value: scale all gradients by one factor",
            ),
            Mistake(
                {"scale * db, norm": "scale * db, min(norm, max_grad_norm)"},
                "this is the norm after clipping: return the one before it, which says how the run is doing",
            ),
            Mistake({"scale * db, norm": "scale * db, scale"}, "this is the factor: return the norm before clipping"),
            Mistake(
                {"scale * db, norm": "scale * db, squares"},
                "the square root is missing: the norm is the root of the sum of all squares",
            ),
        ),
    ),
    Exercise(
        solutions.clipped_step,
        SIZES,
        draw_step,
        step_by_package,
        {"W": "(H, D)", "b": "(H,)", "distance": ""},
        mistakes=(
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "min(1, max_grad_norm / (norm + 1e-6))"},
                "1e-6 was added to the norm, so that the length after clipping is not max_grad_norm",
            ),
            Mistake(
                {"W - step_W, b": "W - scale * dW / learning_rate, b"}, "divided by the learning rate: multiply by it"
            ),
            Mistake(
                {
                    "scale = max_grad_norm / max(norm, max_grad_norm)": (
                        "scale = min(learning_rate, max_grad_norm / norm)"
                    ),
                    "learning_rate * scale * dW": "learning_rate * scale * dW",
                },
                "the factor is cut at the learning rate instead of 1: it is min(1, max_grad_norm / norm)",
            ),
            Mistake(
                {"b - step_b, distance": "b - step_b, norm"},
                "this is the norm of the gradient; the distance is that of the step, after clipping and learning rate",
            ),
            Mistake(
                {"b - step_b, distance": "b - step_b, scale * norm"},
                "this is the norm after clipping: the learning rate is missing",
            ),
            Mistake(
                {"b - step_b, distance": "b - step_b, learning_rate * norm"},
                "this is how far the step would go without clipping",
            ),
            Mistake(
                {"b - step_b, distance": "b - step_b, learning_rate * max_grad_norm"},
                "this is the longest a step can be; where the norm is below max_grad_norm it is shorter",
            ),
            Mistake(
                {"b - step_b, distance": "b - step_b, distance**2"},
                "the square root is missing: the distance is the root of the sum of squares",
            ),
            Mistake(
                {"(step_W**2).sum() + (step_b**2).sum()": "(step_W**2).sum()"}, "the step of b is left out of the way"
            ),
            Mistake(
                {
                    "np.sqrt((step_W**2).sum() + (step_b**2).sum())": (
                        "np.sqrt((step_W**2).sum()) + np.sqrt((step_b**2).sum())"
                    )
                },
                "two distances at right angles do not add up: add their squares, then take one root",
            ),
            Mistake(
                {"W - step_W, b - step_b": "W + step_W, b + step_b"},
                "uphill: a step of descent goes against the gradient, W - learning_rate * dW",
            ),
            Mistake({"W - step_W, b": "step_W, b"}, "this is the step alone: return where it leads, W minus the step"),
            Mistake(
                {"b - step_b, distance": "step_b, distance"},
                "this is the step alone: return where it leads, b minus the step",
            ),
            Mistake(
                {
                    "norm = np.sqrt((dW**2).sum() + (db**2).sum())": (
                        "norm = learning_rate * np.sqrt((dW**2).sum() + (db**2).sum())"
                    )
                },
                "the step was clipped, not the gradient: clip first, then multiply by the learning rate",
            ),
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "1.0"},
                "nothing is clipped: where the norm is above max_grad_norm, scale the gradients down",
            ),
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "max_grad_norm / norm"},
                "short gradients are made longer: leave them alone where the norm is below max_grad_norm",
            ),
            Mistake(
                {"max_grad_norm / max(norm, max_grad_norm)": "1 / max(norm, max_grad_norm)"},
                "max_grad_norm is missing above the fraction line",
            ),
            Mistake(
                {"np.sqrt((dW**2).sum() + (db**2).sum())": "(dW**2).sum() + (db**2).sum()"},
                "the square root of the norm is missing",
            ),
            Mistake(
                {
                    "learning_rate * scale * dW": "learning_rate * dW * min(1, max_grad_norm / np.linalg.norm(dW))",
                    "learning_rate * scale * db": "learning_rate * db * min(1, max_grad_norm / np.linalg.norm(db))",
                },
                "each gradient was clipped by its own norm: one factor for both, from the norm of both together",
            ),
            Mistake(
                {
                    "learning_rate * scale * dW": "learning_rate * dW.clip(-max_grad_norm, max_grad_norm)",
                    "learning_rate * scale * db": "learning_rate * db.clip(-max_grad_norm, max_grad_norm)",
                },
                "this is clipping by value: scale both gradients by one factor",
            ),
            Mistake(
                {"learning_rate * scale * dW": "scale * dW", "learning_rate * scale * db": "scale * db"},
                "the learning rate is missing",
            ),
            Mistake({"learning_rate * scale * db": "learning_rate * db"}, "the step of b is not scaled"),
            Mistake({"learning_rate * scale * dW": "learning_rate * dW"}, "the step of W is not scaled"),
            Mistake({" + (db**2).sum()": ""}, "db is left out of the norm: global means both together"),
        ),
    ),
)
