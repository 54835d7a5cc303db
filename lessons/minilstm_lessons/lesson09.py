"""Lesson 9, looking inside: its exercises."""

from types import SimpleNamespace

import numpy as np

from minilstm.generate import sample
from minilstm.layers.softmax import softmax_cross_entropy_forward
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson09 as solutions


def draw_sentence(rng, T, V):
    """Rows at three heights in some draws, where exp is 0 or overflows; one word that comes has hardly any p."""
    heights = rng.choice([0, 1]) * rng.permutation(np.resize([0, 1000, -1000], T))
    logits = 2 * rng.standard_normal((T, V)) + heights[:, None]
    ids = rng.integers(V, size=T)
    t = rng.integers(T - 1)
    logits[t, ids[t + 1]] -= 45
    return {"logits": logits, "ids": ids}


def package_surprise(logits, ids):
    """The package's loss of each word alone, in bits."""
    losses = [softmax_cross_entropy_forward(row[None, None], word[None, None])[0]
              for row, word in zip(logits[:-1], ids[1:], strict=True)]  # fmt: skip
    return np.array(losses) / np.log(2)


def draw_cells(rng, N, H, M):
    """Cells off the centre, and labels that depend on them, one more frequent than the other."""
    cells = rng.standard_normal((N + M, H)) + rng.uniform(0.5, 1.5, H)
    scores = cells @ rng.standard_normal(H) + 0.5 * rng.standard_normal(N + M)
    labels = (scores > np.quantile(scores, 0.7)).astype(int)
    return {"cells": cells[:N], "labels": labels[:N], "new_cells": cells[N:]}


def fit(cells, labels, new_cells):
    """Least squares by NumPy's own solver."""
    with_one = np.column_stack([cells, np.ones(len(cells))])
    *weights, bias = np.linalg.lstsq(with_one, np.where(labels == 1, 1.0, -1.0), rcond=None)[0]
    return np.array(weights), bias, new_cells @ weights > -bias


def draw_logits(rng, N, V):
    """Some rows lie so high that exp overflows there, as it does anywhere at a low temperature; in one, one logit.

    Nine rows hold what a word's stretch begins or ends with: dice of 0 where the first word has no probability, dice
    that are exactly a sum, and dice just below 1, which in float32 lie above many a row's last sum.
    """
    logits = 3 * rng.standard_normal((N, V)) + rng.choice([0, 2000], (N, 1))
    logits[rng.integers(N), rng.integers(V)] += 4000
    dice = rng.random(N)
    logits[:4] = -4000.0
    logits[0, :2] = logits[1:3, :4] = 3.0  # probabilities of 1/2 and of 1/4, exact in any precision
    logits[3, 1:] = rng.uniform(size=V - 1)
    logits[4:9] = rng.uniform(size=(5, V))
    dice[:9] = [0.5, 0.25, 0.75, 0.0, *[1 - 1e-9] * 5]
    order = rng.permutation(N)
    return {
        "logits": logits[order],
        "temperature": float(rng.choice([0.4, 0.6, 1.7])),
        "dice": dice[order],
    }


def package_sample(logits, temperature, dice):
    """The softmax of the divided logits, and the ids that the package's `sample` draws with these dice."""
    exp = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    ids = [sample(row, temperature, SimpleNamespace(random=lambda number=number: number))
           for row, number in zip(logits, dice, strict=True)]  # fmt: skip
    return exp / exp.sum(axis=1, keepdims=True), np.array(ids)


EXERCISES = (
    Exercise(
        solutions.surprise_in_bits,
        {"T": (5, 9), "V": (4, 8)},
        draw_sentence,
        package_surprise,
        {"surprise": "(T - 1,)"},
        mistakes=(
            Mistake(
                {"scores - scores.max(axis=1, keepdims=True)": "scores"},
                "exp overflows for large logits, and is 0 / 0 for small ones: subtract each row's largest first",
            ),
            Mistake(
                {"-np.log2(p_word)": "-scores[np.arange(len(words)), words] / np.log(2)"},
                "the softmax is missing its denominator: a logit alone is no log-probability, subtract the log of the "
                "row's sum",
            ),
            Mistake(
                {"-np.log2(p_word)": "-np.log2(np.clip(p_word, 1e-12, 1))"},
                "p was kept away from 0, so that no word can surprise by more than 40 bits: take p as it is",
            ),
            Mistake(
                {"-np.log2(p_word)": "-np.log(p_word) * np.log(2)"},
                "multiplied by ln 2: a bit is less than a nat, so there are more of them; divide by ln 2, or take "
                "np.log2",
            ),
            Mistake(
                {"-np.log2(p_word)": "-np.log(p_word)"},
                "these are nats, from the natural logarithm; bits are log2, 1 / ln 2 = 1.44 times as many",
            ),
            Mistake(
                {"-np.log2(p_word)": "np.log2(p_word)"},
                "the sign is wrong: a log-probability is negative, a surprise is minus that",
            ),
            Mistake(
                {"logits[:-1]": "logits[1:]"},
                "each word is scored by the logits written after it was read; the logits about ids[t + 1] are row t",
            ),
            Mistake(
                {"ids[1:]": "ids[:-1]"},
                "this scores the word that has just been read, not the one that comes: row t is about ids[t + 1]",
            ),
            Mistake(
                {"logits[:-1]": "logits[1:]", "ids[1:]": "ids[:-1]"},
                "off by one the wrong way: row t + 1 is compared with ids[t]; row t is about ids[t + 1]",
            ),
            Mistake(
                {"exp.sum(axis=1, keepdims=True)": "exp.sum(axis=0)"},
                "each column sums to 1, not each row: axis=1, over the vocabulary",
            ),
            Mistake({"exp.sum(axis=1, keepdims=True)": "exp.sum()"}, "all rows together sum to 1: axis=1, each row"),
            Mistake(
                {"exp / exp.sum(axis=1, keepdims=True)": "exp"},
                "the softmax is missing its denominator: exp alone is no probability, divide by each row's sum",
            ),
            Mistake(
                {"-np.log2(p_word)": "1 / p_word"},
                "1 / p is how many equally likely words there were, the perplexity of one word; bits are its log2",
            ),
            Mistake(
                {"-np.log2(p_word)": "-np.log2(1 - p_word)"},
                "this is the surprise of all other words together: the one that came has probability p, not 1 - p",
            ),
            Mistake(
                {"-np.log2(p_word)": "-p_word * np.log2(p_word)"},
                "p log p is one term of an entropy, the surprise weighted by how often it happens; here the word has "
                "come, so its weight is 1",
            ),
            Mistake(
                {"-np.log2(p_word)": "-(p * np.log2(p)).sum(axis=1)"},
                "this is the entropy, the surprise that was to be expected; asked is that of the word that came",
            ),
            Mistake(
                {"-np.log2(p_word)": "-np.cumsum(np.log2(p_word))"},
                "the surprises are summed up along the sentence: one number for each word alone",
            ),
            Mistake(
                {"-np.log2(p_word)": "-np.log10(p_word)"}, "the logarithm has base 10: bits are base 2, np.log2"
            ),
        ),
    ),
    Exercise(
        solutions.least_squares_probe,
        {"N": (40, 60), "H": (2, 5), "M": (15, 25)},
        draw_cells,
        fit,
        {"weights": "(H,)", "bias": "", "guesses": "(M,)"},
        mistakes=(
            Mistake(
                {"bias = solution[-1]": "bias = targets.mean()"},
                "the bias is the mean of the targets: it is the last number of the solution, the weight of the "
                "column of ones",
            ),
            Mistake(
                {
                    "np.linalg.solve(X.T @ X, X.T @ targets)": (
                        "(lambda w: np.append(w, targets.mean() - cells.mean(axis=0) @ w))(np.linalg.lstsq(cells, "
                        "targets - targets.mean(), rcond=None)[0])"
                    ),
                },
                "the targets were centred, the cells were not: centre both, or append a column of ones",
            ),
            Mistake(
                {"2.0 * labels - 1": "1.0 * labels"},
                "the labels 0 and 1 were fitted as they are: with the threshold at 0 the targets must be -1 and +1",
            ),
            Mistake(
                {"np.linalg.solve(X.T @ X, X.T @ targets)":
                 "np.append(np.linalg.solve(cells.T @ cells, cells.T @ targets), 0.0)"},
                "there is no bias: append a column of ones to the cells, or the line has to go through the origin",
            ),
            Mistake(
                {"np.linalg.solve(X.T @ X, X.T @ targets)":
                 "np.append(np.linalg.solve(cells.T @ cells, cells.T @ targets), targets.mean())"},
                "the bias is the mean of the targets, but the weights were fitted without it: append a column of ones "
                "and fit both together",
            ),
            Mistake(
                {"[cells, ones]": "[ones, cells]"},
                "the column of ones stands first, but the last number was taken for its weight",
            ),
            Mistake(
                {"np.linalg.solve(X.T @ X, X.T @ targets)": "X.T @ targets"},
                "X^T y is only the right side of the normal equations: solve (X^T X) w = X^T y",
            ),
            Mistake(
                {"np.linalg.solve(X.T @ X, X.T @ targets)": "X.T @ targets / len(X)"},
                "the mean of x y is only the right side of the normal equations: solve (X^T X) w = X^T y",
            ),
            Mistake(
                {"np.linalg.solve(X.T @ X, X.T @ targets)": "np.linalg.solve(X.T @ X + np.eye(X.shape[1]), "
                 "X.T @ targets)"},
                "an identity matrix is added to X^T X: that is ridge regression, which shrinks the weights",
            ),
            Mistake(
                {"np.linalg.solve(X.T @ X, X.T @ targets)": "np.linalg.inv(X.T @ X).diagonal() * (X.T @ targets)"},
                "the inverse was multiplied element by element: a product of matrices is @",
            ),
            Mistake(
                {"scores > 0": "scores > 0.5"},
                "the threshold lies half way between the targets -1 and +1: at 0, not 0.5",
            ),
            Mistake({"scores > 0": "scores < 0"}, "the guesses are the wrong way round: a score above 0 means 1"),
            Mistake(
                {"2.0 * labels - 1": "1 - 2.0 * labels"},
                "the targets are swapped: label 1 is +1, label 0 is -1",
            ),
            Mistake({"scores > 0": "scores"}, "these are scores, not guesses: 1 where the score is above 0, else 0"),
            Mistake(
                {"scores > 0": "np.sign(scores)"},
                "the guesses are -1 and +1 as the targets were: asked are labels, 0 and 1",
            ),
            Mistake(
                {"new_cells @ weights + bias": "new_cells @ weights"},
                "the bias was fitted but is missing where the new cells are judged",
            ),
            Mistake(
                {"new_cells @ weights + bias": "new_cells @ weights - bias"},
                "the sign of the bias is wrong where the new cells are judged: x w + b",
            ),
        ),
    ),
    Exercise(
        solutions.sample_with_temperature,
        {"N": (25, 40), "V": (5, 9)},
        draw_logits,
        package_sample,
        {"p": "(N, V)", "ids": "(N,)"},
        mistakes=(
            Mistake(
                {
                    "scores = logits / temperature": "scores = logits",
                    "p = exp / exp.sum(axis=1, keepdims=True)": (
                        "p = (exp / exp.sum(axis=1, keepdims=True)) ** (1 / temperature)"
                    ),
                },
                "p ** (1 / temperature) does not sum to 1 any more: divide by its sum, or divide the logits before "
                "the softmax",
            ),
            Mistake(
                {"scores = logits / temperature": "scores = logits / (1 + temperature)"},
                "1 was added to the temperature: divide by the temperature itself",
            ),
            Mistake(
                {"p.cumsum(axis=1)[:, :-1]": "p[:, ::-1].cumsum(axis=1)"},
                "the words were added up from the last to the first: begin with word 0",
            ),
            Mistake(
                {"logits / temperature": "logits * temperature"},
                "multiplied by the temperature: a low one has to sharpen the distribution, so divide",
            ),
            Mistake(
                {"logits / temperature": "logits"},
                "the temperature has no effect: it divides the logits, before the softmax (dividing p cancels out)",
            ),
            Mistake(
                {"scores - scores.max(axis=1, keepdims=True)": "scores"},
                "exp overflows for large scores (a low temperature makes them): subtract each row's largest first",
            ),
            Mistake(
                {"scores.max(axis=1, keepdims=True)": "scores.max()"},
                "the largest score of all was subtracted, so other rows become 0 / 0: take each row's own",
            ),
            Mistake(
                {"scores.max(axis=1, keepdims=True)": "scores.mean(axis=1, keepdims=True)"},
                "exp still overflows for a score far above the others: subtract the largest of the row, not its "
                "smallest or its mean",
            ),
            Mistake({"exp.sum(axis=1, keepdims=True)": "exp.sum()"}, "the whole array sums to 1, not each row: axis=1"),
            Mistake(
                {"ids = passed.sum(axis=1)": "ids = p.argmax(axis=1)"},
                "always the likeliest word: that is temperature 0; use the dice",
            ),
            Mistake(
                {"passed.sum(axis=1)": "passed.sum(axis=1) + 1"},
                "one too far: the id is the number of cumulative sums that the dice have passed, and ids begin at 0",
            ),
            Mistake(
                {"passed.sum(axis=1)": "passed.sum(axis=1) - 1"},
                "one too few: where the dice have passed no cumulative sum, the id is 0",
            ),
            Mistake(
                {"cumulative <= dice[:, None]": "cumulative < dice[:, None]"},
                "dice that are exactly a sum begin the next word's stretch, and dice of 0 may not draw a word without "
                "probability: at or below, not below",
            ),
            Mistake(
                {"p.cumsum(axis=1)[:, :-1]": "p.cumsum(axis=1)", "<= dice": "> dice"},
                "counted are the cumulative sums above the dice: the id is the number of those at or below",
            ),
            Mistake(
                {"p.cumsum(axis=1)[:, :-1]": "p"},
                "the dice are compared with p itself: add p up along the row first, cumsum(axis=1)",
            ),
            Mistake(
                {"p.cumsum(axis=1)[:, :-1]": "exp.cumsum(axis=1)"},
                "the dice go from 0 to 1, but these sums do not end at 1: add up p, not exp",
            ),
            Mistake(
                {"p.cumsum(axis=1)[:, :-1]": "p.cumsum(axis=0)"},
                "the probabilities are added up over the rows: each row is a distribution of its own, axis=1",
            ),
            Mistake(
                {"dice[:, None]": "dice[0]"}, "one throw for all rows: row n uses dice[n], so dice[:, None]"
            ),
            Mistake(
                {"p.cumsum(axis=1)[:, :-1]": "p.cumsum(axis=1)", "dice[:, None]": "1 - dice[:, None]"},
                "the dice are turned round: count the cumulative sums at or below the dice, not 1 - dice",
            ),
        ),
    ),
)  # fmt: skip
