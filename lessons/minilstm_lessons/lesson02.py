"""Lesson 2, softmax and cross-entropy: its exercises."""

import numpy as np

from minilstm.layers.linear import linear_backward, linear_forward
from minilstm.layers.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson02 as solutions

SIZES = {"N": (3, 6), "V": (4, 9)}


def draw(rng, N, V):
    """Rows at three heights in some draws; in one row a word is nearly certain, and the others have hardly any p."""
    heights = rng.choice([0, 1]) * rng.permutation(np.resize([0, 1000, -1000], N))
    logits = 3 * rng.standard_normal((N, V)) + heights[:, None]
    logits[rng.integers(N), rng.integers(V)] += 45
    return {"logits": logits, "targets": rng.integers(V, size=N)}


def draw_large(rng, N, V):
    """Soft rows at very different heights, and one row with a logit far above its neighbours."""
    logits = 2 * rng.standard_normal((N, V)) + np.linspace(-3000, 3000, N)[:, None]
    logits[rng.integers(N), rng.integers(V)] += 2000
    return {"logits": logits}


def probabilities(logits):
    """From the package's gradient of the mean, (p - onehot) / N: with word 0 as every target."""
    p = len(logits) * logits_gradient(logits, np.zeros(len(logits), dtype=int))
    p[:, 0] += 1
    return p


def mean_loss(logits, targets):
    """The mean over N: the package's loss of a window of one step and N streams."""
    return softmax_cross_entropy_forward(logits[None], targets[None])[0]


def logits_gradient(logits, targets):
    _, cache = softmax_cross_entropy_forward(logits[None], targets[None])
    return softmax_cross_entropy_backward(cache)[0]


def draw_layer(rng, T, B, H, V):
    return {
        "hidden": rng.standard_normal((T, B, H)),
        "targets": rng.integers(V, size=(T, B)),
        "weight": rng.standard_normal((V, H)),
        "bias": rng.standard_normal(V) + rng.choice([0, 1000]),
    }


def layer_loss(hidden, targets, weight, bias):
    logits, _ = linear_forward(hidden, {"weight": weight, "bias": bias})
    return softmax_cross_entropy_forward(logits, targets)[0]


def layer_gradients(hidden, targets, weight, bias):
    logits, linear_cache = linear_forward(hidden, {"weight": weight, "bias": bias})
    _, softmax_cache = softmax_cross_entropy_forward(logits, targets)
    dhidden, grads = linear_backward(softmax_cross_entropy_backward(softmax_cache), linear_cache)
    return dhidden, grads["weight"], grads["bias"]


ONE_HOT = "p[np.arange(N), targets] -= 1"
LAYER_ONE_HOT = "dlogits[np.arange(T * B), targets] -= 1"
LARGEST = "logits.max(axis=1, keepdims=True)"
TOTAL = "exp.sum(axis=1, keepdims=True)"
LAST = (
    ("-1:", "of the last word alone: = stands where += belongs in the loop over the words"),
    ("B - 1 :: B", "of the last stream alone: = stands where += belongs in the loop over the batch"),
)

EXERCISES = (
    Exercise(
        solutions.softmax,
        SIZES,
        draw_large,
        probabilities,
        {"p": "(N, V)"},
        small=("p",),
        mistakes=(
            Mistake(
                {"exp / total": "np.clip(exp / total, 1e-12, 1)"},
                "p was kept away from 0: the rows do not sum to 1 any more, and a word may well have no probability",
            ),
            Mistake(
                {"exp / total": "1 / (1 + np.exp(-logits))"},
                "this is the sigmoid of each logit alone; softmax makes the words of a row share a probability of 1",
            ),
            Mistake({"exp / total": "exp / total**2"}, "divided by the sum of the row twice: divide once"),
            Mistake(
                {"logits.max(axis=1, keepdims=True)": "logits.max(axis=0)"},
                "the largest logit of each column was subtracted, so that rows far below become 0 / 0: take the "
                "largest of each row, axis=1",
            ),
            Mistake(
                {"logits - largest": "logits"},
                "exp overflows for large logits; subtract each row's largest logit first, p does not change",
            ),
            Mistake(
                {LARGEST: "logits.max()"},
                "the largest logit of all was subtracted, so rows far below it become 0 / 0: take each row's own",
            ),
            Mistake(
                {LARGEST: "logits.mean(axis=1, keepdims=True)"},
                "exp still overflows for a logit far above the others: subtract the largest of the row, not its "
                "smallest or its mean",
            ),
            Mistake(
                {LARGEST: "abs(logits).max(axis=1, keepdims=True)"},
                "the largest size was subtracted, so a row of large negative logits becomes 0 / 0: take the largest "
                "logit, without abs",
            ),
            Mistake({TOTAL: "exp.sum()"}, "the whole array sums to 1, not each row: axis=1"),
            Mistake(
                {LARGEST: "logits.max(axis=0)", TOTAL: "exp.sum(axis=0)"}, "each column sums to 1, not each row: axis=1"
            ),
            Mistake({TOTAL: "exp.sum(axis=0)"}, "divided by the sums of the columns, not of the rows: axis=1"),
            Mistake({"exp / total": "exp"}, "not divided by the sum of its row, so a row does not sum to 1"),
            Mistake(
                {"logits - largest": "largest - logits"},
                "the sign in the exponent is turned, so that the largest logit gets the smallest p: exp(logits - max)",
            ),
            Mistake({"np.exp(logits - largest)": "logits - largest"}, "exp is missing"),
            Mistake({"exp / total": "logits - largest - np.log(total)"}, "this is log p; p itself is asked"),
            Mistake({"exp / total": "np.log(exp / total)"}, "this is log p, and -inf where p underflows; p is asked"),
            Mistake(
                {"exp / total": "exp == 1"},
                "all or nothing: this is the arg max; softmax gives the others their share exp(s) / sum",
            ),
        ),
    ),
    Exercise(
        solutions.cross_entropy_backward,
        SIZES,
        draw,
        logits_gradient,
        {"dlogits": "(N, V)"},
        small=("dlogits",),
        loss=mean_loss,
        gradients={"dlogits": "logits"},
        mistakes=(
            Mistake(
                {"p[np.arange(N), targets] -= 1": "p[np.arange(N), targets] = -1"},
                "the target's p was overwritten: subtract 1 from it, p - 1, with -=",
            ),
            Mistake(
                {"p[np.arange(N), targets] -= 1": "p[np.arange(N), targets] = 1 - p[np.arange(N), targets]"},
                "the sign is wrong at the targets alone: there it is p - 1, not 1 - p",
            ),
            Mistake(
                {"p[np.arange(N), targets] -= 1": "p = np.log(p); p[np.arange(N), targets] -= 1"},
                "this starts from log p: it is p - onehot",
            ),
            Mistake(
                {"p = softmax(logits)": "p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)"},
                "exp overflows for large logits, and is 0 / 0 for small ones: subtract each row's largest logit first",
            ),
            Mistake(
                {"p = softmax(logits)": "p = np.clip(softmax(logits), 1e-12, 1)"},
                "p was kept away from 0, which only a logarithm needs: there is none in this gradient",
            ),
            Mistake(
                {"p = softmax(logits)": "p = np.exp(logits)"},
                "the softmax is missing its denominator: divide exp by each row's sum",
            ),
            Mistake(
                {"p[np.arange(N), targets] -= 1": "p[np.arange(N), np.roll(targets, 1)] -= 1"},
                "the targets are one row too late: row n takes targets[n]",
            ),
            Mistake(
                {"p[np.arange(N), targets] -= 1": "p[np.arange(N), np.roll(targets, -1)] -= 1"},
                "the targets are one row too early: row n takes targets[n]",
            ),
            Mistake(
                {ONE_HOT: "p[np.arange(N), targets] += 1"},
                "the sign of the one-hot is wrong: p - onehot, so that a step down the gradient pushes the target up",
            ),
            Mistake({ONE_HOT: "pass"}, "the one-hot of the target is missing: p - onehot"),
            Mistake({"return p / N": "return -p / N"}, "the sign is wrong: p - onehot, not onehot - p"),
            Mistake(
                {"return p / N": "return p"}, "a sum where the mean is meant: the loss is averaged over the N words"
            ),
            Mistake(
                {ONE_HOT: "p[:, targets] -= 1"},
                "p[:, targets] picks every target's column in every row; one column in each row is asked for",
            ),
            Mistake(
                {ONE_HOT: "p = (p - 1) * np.eye(p.shape[1])[targets]"},
                "right at the targets and zero elsewhere; the sum in softmax holds every logit, so each of the others "
                "has the gradient p",
            ),
            Mistake(
                {ONE_HOT: "p = -np.eye(p.shape[1])[targets] / p"},
                "this is the gradient of p, -1 / p at the target; go on through softmax to the logits",
            ),
            Mistake(
                {ONE_HOT: "p = (p - np.eye(p.shape[1])[targets]) * p * (1 - p)"},
                "p (1 - p) is one factor too many: the log of the loss has cancelled it",
            ),
            Mistake({"softmax(logits)": "logits.copy()"}, "softmax is missing: it is p - onehot, not logits - onehot"),
            Mistake({"p / N": "p / p.size"}, "divided by N V; the mean is over the N words alone"),
            Mistake({"p / N": "p / p.shape[1]"}, "divided by V, the number of logits; the mean is over the N words"),
        ),
    ),
    Exercise(
        solutions.softmax_layer_backward,
        {"T": (2, 4), "B": (2, 5), "H": (3, 6), "V": (4, 8)},
        draw_layer,
        layer_gradients,
        {"dhidden": "(T, B, H)", "dweight": "(V, H)", "dbias": "(V,)"},
        loss=layer_loss,
        gradients={"dhidden": "hidden", "dweight": "weight", "dbias": "bias"},
        mistakes=(
            Mistake(
                {"dlogits.T @ hidden": "dlogits.T @ np.roll(hidden, B, axis=0)"},
                "off by one step in time: the logits of step t were made with hidden[t], not hidden[t - 1]",
            ),
            Mistake(
                {"targets = targets.reshape(T * B)": "targets = np.tile(targets[0], T)"},
                "the targets of step 0 were used at every step: step t takes targets[t]",
            ),
            Mistake(
                {"softmax(hidden @ weight.T + bias)": "np.exp(hidden @ weight.T + bias)"},
                "the softmax is missing its denominator: divide exp by each row's sum",
            ),
            Mistake(
                {
                    "softmax(hidden @ weight.T + bias)": "np.exp(hidden @ weight.T + bias)",
                    "    dlogits[np.arange": "    dlogits /= dlogits.sum(axis=1, keepdims=True)\n    dlogits[np.arange",
                },
                "exp overflows for large logits: subtract each row's largest logit first",
            ),
            Mistake(
                {"dlogits / B": "dlogits / (T * B)"},
                "divided by T B; the loss is averaged over the batch and summed over the steps: divide by B alone",
            ),
            Mistake(
                {"dlogits = dlogits / B": "pass"}, "not divided by B; the loss is the mean over the batch at each step"
            ),
            Mistake({"dlogits / B": "dlogits / T"}, "divided by T; the mean is over the batch, B, and T is summed"),
            Mistake({LAYER_ONE_HOT: "pass"}, "the one-hot of the target is missing: dlogits = (p - onehot) / B"),
            Mistake(
                {LAYER_ONE_HOT: "dlogits[np.arange(T * B), targets] += 1"},
                "the sign of the one-hot is wrong: dlogits = (p - onehot) / B",
            ),
            Mistake({"dlogits / B": "-dlogits / B"}, "the sign is wrong: p - onehot, not onehot - p"),
            Mistake({"hidden @ weight.T + bias": "hidden @ weight.T"}, "p was computed without the bias"),
            Mistake(
                {"targets.reshape(T * B)": "targets.T.reshape(T * B)"},
                "the targets stand in another order than hidden: flatten both time-major, without a transpose",
            ),
            Mistake(
                {"(dlogits @ weight).reshape(T, B, H)": "(dlogits @ weight).reshape(B, T, H).swapaxes(0, 1)"},
                "its rows are put back in another order than they were flattened: reshape(T, B, H)",
            ),
            *(Mistake({"dlogits.T @ hidden": f"dlogits[{rows}].T @ hidden[{rows}]"}, words) for rows, words in LAST),
            *(Mistake({"dlogits.sum(axis=0)": f"dlogits[{rows}].sum(axis=0)"}, words) for rows, words in LAST),
            Mistake(
                {"dlogits.T @ hidden": "dlogits[-B:].T @ hidden[-B:]"},
                "of the last time step alone: add up over all steps (+= in a loop, or one product over all T B rows)",
            ),
            Mistake(
                {"dlogits.sum(axis=0)": "dlogits[-B:].sum(axis=0)"},
                "of the last time step alone: the bias is added at every step, so sum over all of them",
            ),
            Mistake(
                {"dlogits.sum(axis=0)": "dlogits.mean(axis=0)"},
                "a mean where the sum is meant: the 1 / B is in dlogits already",
            ),
            Mistake(
                {"dlogits.T @ hidden": "dlogits.T @ hidden / (T * B)"},
                "divided by T B once more: the 1 / B is in dlogits already",
            ),
        ),
    ),
)
