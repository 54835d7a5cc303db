"""Lesson 1, words to numbers: its exercises."""

import numpy as np

from minilstm.evaluate import perplexity
from minilstm.text.batches import batchify, get_batch, num_windows
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson01 as solutions


def draw_probabilities(rng, N):
    """Every other text or so is so long that the product of its probabilities is 0 in float64; one word is rare."""
    length = N * (200 if rng.random() < 0.5 else 1)
    surprise = rng.uniform(0.1, 8, size=length)
    surprise[rng.integers(length)] = rng.uniform(40, 60)
    return {"probabilities": np.exp(-surprise)}


def package_perplexity(probabilities):
    return perplexity(-np.log(probabilities).sum(), len(probabilities))


def draw_text(rng, B, T, K):
    """A text of K windows of T steps on B streams; text and streams have no word left over, or as many as can be."""
    batch_len = K * T + 1 + int(rng.choice([0, T - 1]))
    tokens = B * batch_len + int(rng.choice([0, B - 1]))
    return {"ids": rng.permutation(tokens) + 1, "batch_size": B, "num_steps": T}


def package_windows(ids, batch_size, num_steps):
    data = batchify(ids, batch_size)
    windows = [get_batch(data, k, num_steps) for k in range(num_windows(len(data), num_steps))]
    inputs, targets = zip(*windows, strict=True)
    return np.stack(inputs), np.stack(targets)


def draw_two_texts(rng, V, N, M):
    """A text to count in, which has every word, and one to judge; both have the same end, a word that comes only there.

    So it makes no difference whether the count of a context includes one at the very end, which nothing follows.
    """
    train = np.concatenate([rng.permutation(V - 1), rng.integers(V - 1, size=N), [V - 1]])
    share = rng.uniform(0.1, 1, size=3)
    text = np.concatenate([rng.integers(V - 1, size=M - 1), train[-3:]])
    return {
        "train": train.tolist(),
        "text": text.tolist(),
        "weights": (np.sort(share) / share.sum()).tolist(),
    }


def trigram_by_tables(train, text, weights):
    """The same mixture from dense tables of counts, V, V^2 and V^3 large, which a real vocabulary would not allow."""
    train, text = np.array(train), np.array(text)
    V = max(train.max(), text.max()) + 1
    two, three = np.zeros((V, V)), np.zeros((V, V, V))
    np.add.at(two, (train[:-1], train[1:]), 1)
    np.add.at(three, (train[:-2], train[1:-1], train[2:]), 1)
    one = np.bincount(train, minlength=V)
    a, b, c = text[:-2], text[1:-1], text[2:]
    bigram = two[b, c] / one[b]
    seen = two[a, b] > 0
    trigram = np.where(seen, three[a, b, c] / np.where(seen, two[a, b], 1), bigram)
    return np.stack([one[c] / len(train), bigram, trigram], axis=1) @ weights


COUNTS_IN_TEXT = {
    "one = Counter(train)": "one = Counter(text)",
    "pairwise(train)": "pairwise(text)",
    "zip(train, train[1:], train[2:], strict": "zip(text, text[1:], text[2:], strict",
}

EXERCISES = (
    Exercise(
        solutions.perplexity_of,
        {"N": (4, 30)},
        draw_probabilities,
        package_perplexity,
        {"perplexity": ""},
        mistakes=(
            Mistake(
                {"surprise.mean()": "surprise.sum() / (len(surprise) + 1)"},
                "divided by N + 1: divide by N, the number of words",
            ),
            Mistake(
                {"-np.log(probabilities)": "np.log(probabilities)"},
                "the sign is wrong: log p is negative and surprise is -log p; a perplexity is never below 1",
            ),
            Mistake(
                {"return np.exp(mean_surprise)": "return mean_surprise"},
                "this is the mean surprise, the cross-entropy in nats: exp of it is missing",
            ),
            Mistake(
                {"surprise.mean()": "surprise.sum()"},
                "a sum where the mean is meant: this grows with the length of the text",
            ),
            Mistake(
                {"return np.exp(mean_surprise)": "return (1 / probabilities).mean()"},
                "the mean was taken of 1 / p, so one unlikely word outweighs all others: take it of -log p, then exp",
            ),
            Mistake(
                {"return np.exp(mean_surprise)": "return 1 / probabilities.mean()"},
                "the mean was taken of p itself, where unlikely words hardly count: take it of -log p, then exp",
            ),
            Mistake(
                {"return np.exp(mean_surprise)": "return probabilities.prod() ** (-1 / len(probabilities))"},
                "right on paper, but the product of many probabilities underflows to 0: add logarithms instead",
            ),
            Mistake(
                {"return np.exp(mean_surprise)": "return probabilities.prod() ** (1 / len(probabilities))"},
                "this is the geometric mean of p, the inverse of a perplexity, by a product that underflows to 0 in a "
                "long text: take the mean of -log p, then exp",
            ),
            Mistake(
                {"np.log(probabilities)": "np.log2(probabilities)"},
                "log2 goes with 2 ** x and log with exp(x): the two bases must be the same",
            ),
            Mistake(
                {"np.log(probabilities)": "np.log10(probabilities)"},
                "log10 goes with 10 ** x and log with exp(x): the two bases must be the same",
            ),
            Mistake(
                {"np.exp(mean_surprise)": "2**mean_surprise"},
                "np.log goes with np.exp, 2 ** x with np.log2: the two bases must be the same",
            ),
            Mistake(
                {"np.exp(mean_surprise)": "10**mean_surprise"},
                "np.log goes with np.exp, 10 ** x with np.log10: the two bases must be the same",
            ),
            Mistake(
                {"surprise.mean()": "surprise.sum() / (len(surprise) - 1)"},
                "divided by N - 1: every word of the text counts, divide by N",
            ),
            Mistake(
                {"surprise.mean()": "np.median(surprise)"},
                "that is the median: rare words, which hurt most, would not count; take the mean",
            ),
        ),
    ),
    Exercise(
        solutions.cut_into_windows,
        {"B": (2, 4), "T": (3, 6), "K": (2, 5)},
        draw_text,
        package_windows,
        {"inputs": "(K, T, B)", "targets": "(K, T, B)"},
        mistakes=(
            Mistake(
                {"reshape(batch_size, batch_len)": "reshape(batch_len, batch_size)", "rows.T": "rows"},
                "neighbouring words were dealt out to different streams: a stream is an unbroken stretch of the text, "
                "so reshape to (B, batch_len) and transpose",
            ),
            Mistake(
                {
                    "data[start:end]": "ids[k * batch_size * num_steps :][: batch_size * num_steps]"
                    ".reshape(batch_size, num_steps).T",
                    "data[start + 1 : end + 1]": "ids[k * batch_size * num_steps + 1 :][: batch_size * num_steps]"
                    ".reshape(batch_size, num_steps).T",
                },
                "the text was cut into windows first and dealt out to streams after, so that column b of window k + 1 "
                "does not go on where column b of window k stopped: cut it into B streams first",
            ),
            Mistake(
                {"ids[: batch_size * batch_len]": "ids[-batch_size * batch_len :]"},
                "the words left over were dropped at the start of the text: drop those at its end",
            ),
            Mistake(
                {"start = k * num_steps": "start = k"},
                "the windows overlap: window k begins at step k T, not at step k",
            ),
            Mistake(
                {"data[start + 1 : end + 1]": "data[start:end]"},
                "the targets are the inputs themselves: the target is the next word, one step later",
            ),
            Mistake(
                {"data[start + 1 : end + 1]": "data[start + 2 : end + 2]"},
                "the targets are two steps later than the inputs: the target is the next word, one step later",
            ),
            Mistake(
                {"data[start + 1 : end + 1]": "np.roll(data, 1, axis=0)[start:end]"},
                "the targets are the words before: the target is the next word, one step later",
            ),
            Mistake(
                {"data[start + 1 : end + 1]": "np.roll(data[start:end], -1, axis=0)"},
                "the last target of each window is the window's own first word: it is the first word of the next "
                "window, so take targets from the stream, one step later",
            ),
            Mistake(
                {"data[start + 1 : end + 1]": "np.roll(data, -1, axis=1)[start:end]"},
                "the targets come from the neighbouring stream: one later in time, along axis 0 of (batch_len, B)",
            ),
            Mistake(
                {"(batch_len - 1) // num_steps": "batch_len // num_steps"},
                "a window too many where T divides the length of a stream: its last word has none after it to be its "
                "target",
            ),
            Mistake(
                {"(batch_len - 1) // num_steps": "(batch_len - 1) // num_steps - 1"},
                "the last window is left out, though each of its words has a target",
            ),
            Mistake(
                {"(batch_len - 1) // num_steps": "batch_len // num_steps - 1"},
                "the last window is left out where one word follows it, which is all that its targets need",
            ),
        ),
    ),
    Exercise(
        solutions.interpolated_trigram,
        {"V": (5, 8), "N": (30, 50), "M": (12, 25)},
        draw_two_texts,
        trigram_by_tables,
        {"probabilities": "(M,)"},
        mistakes=(
            Mistake(
                {"two[b, c] / one[b]": "two[b, c] / (one[b] + 1)"},
                "one was added to the count of b, so the bigram does not sum to 1: divide by the count of b itself",
            ),
            Mistake(
                {"two[b, c] / one[b]": "(two[b, c] + 1) / (one[b] + len(one))"},
                "one was added to the count of every pair (Laplace's rule): here the counts are taken as they are",
            ),
            Mistake(
                {
                    "trigram = bigram\n": "trigram = 1 / len(one)\n",
                    "three[a, b, c] / two[a, b]": "(three[a, b, c] + 1) / (two[a, b] + len(one))",
                },
                "one was added to the count of every triple (Laplace's rule): here the counts are taken as they are",
            ),
            Mistake(
                {
                    "two[b, c] / one[b]": "(two[b, c] + 1) / (one[b] + len(one))",
                    "trigram = bigram\n": "trigram = 1 / len(one)\n",
                    "three[a, b, c] / two[a, b]": "(three[a, b, c] + 1) / (two[a, b] + len(one))",
                },
                "one was added to the counts of pairs and triples (Laplace's rule): here they are taken as they are",
            ),
            Mistake(
                {
                    "one[c] / len(train)": "(one[c] + 1) / (len(train) + len(one))",
                    "two[b, c] / one[b]": "(two[b, c] + 1) / (one[b] + len(one))",
                    "trigram = bigram\n": "trigram = 1 / len(one)\n",
                    "three[a, b, c] / two[a, b]": "(three[a, b, c] + 1) / (two[a, b] + len(one))",
                },
                "one was added to every count (Laplace's rule): here the counts are taken as they are",
            ),
            Mistake(
                {
                    "append(mixture)": "append(trigram if three[a, b, c] else bigram if two[b, c] else unigram)",
                },
                "this is back-off, which takes the longest context that was seen: here all three are mixed by their "
                "weights",
            ),
            Mistake(
                {"    if two[a, b]:": "    if three[a, b, c]:"},
                "the bigram was taken wherever the triple was never seen: only where the pair (a, b) was never seen",
            ),
            Mistake(
                {"trigram = bigram\n": "trigram = 1 / len(one)\n"},
                "where the pair (a, b) was never seen every word was taken for equally likely: take the bigram, "
                "which knows more",
            ),
            Mistake(
                {"weights[0] * unigram": "weights[1] * unigram", "weights[1] * bigram": "weights[0] * bigram"},
                "the weights of unigram and bigram are swapped: weights[0] belongs to the unigram, weights[1] to "
                "the bigram",
            ),
            Mistake(
                {"one[c] / len(train)": "(one[c] + 1) / (len(train) + len(one))"},
                "one was added to every count (Laplace's rule): here the counts are taken as they are",
            ),
            Mistake(
                {
                    "weights[0] * unigram": "weights[2] * unigram",
                    "weights[2] * trigram": "weights[0] * trigram",
                },
                "the weights are in reverse order: weights[0] belongs to the unigram, weights[2] to the trigram",
            ),
            Mistake(
                {"trigram = bigram\n": "trigram = 0.0\n"},
                "where the pair (a, b) was never seen, the trigram's share is lost and the probabilities do not sum "
                "to 1: take the bigram in its place",
            ),
            Mistake(
                {"trigram = bigram\n": "trigram = unigram\n"},
                "where the pair (a, b) was never seen the unigram was taken for the trigram: take the bigram, which "
                "knows more",
            ),
            Mistake(
                COUNTS_IN_TEXT | {"one[c] / len(train)": "one[c] / len(text)"},
                "counted in the very text that is judged, so the model has seen the answers: count in train",
            ),
            Mistake(
                {"two[b, c] / one[b]": "two[b, c] / one[c]"},
                "the pair's count was divided by that of c, which gives P(b | c): divide by the count of the word "
                "before, b",
            ),
            Mistake(
                {"two[b, c] / one[b]": "two[b, c] / len(train)"},
                "a pair's share of all pairs is P(b, c): divide by the count of b to get P(c | b)",
            ),
            Mistake(
                {"two[b, c] / one[b]": "two[c, b] / one[b]"},
                "the bigram's pair is the wrong way round: b comes first, c follows",
            ),
            Mistake(
                {"two[b, c] / one[b]": "two[a, c] / one[a]"},
                "the bigram looks at a, two words back: the word before c is b",
            ),
            Mistake(
                {"three[a, b, c] / two[a, b]": "three[a, b, c] / one[b]"},
                "the triple's count was divided by that of one word: divide by the count of the pair (a, b)",
            ),
            Mistake(
                {"three[a, b, c] / two[a, b]": "three[a, b, c] / one[a]"},
                "the triple's count was divided by that of one word: divide by the count of the pair (a, b)",
            ),
            Mistake(
                {"three[a, b, c] / two[a, b]": "three[a, b, c] / len(train)"},
                "a triple's share of all triples is P(a, b, c): divide by the count of (a, b) to get P(c | a, b)",
            ),
            Mistake(
                {"one[c] / len(train)": "1 / len(one)"},
                "the unigram takes every word for equally likely: it is the count of c over the length of train",
            ),
            Mistake(
                {"one[c] / len(train)": "one[c] / len(one)"},
                "the unigram was divided by the number of different words: divide by the number of all, len(train)",
            ),
            Mistake(
                {"one[c] / len(train)": "one[b] / len(train)"},
                "the unigram counts b, the word before: it is the probability of c",
            ),
            Mistake(
                {"mixture = weights[0] * unigram + ": "mixture = "},
                "the unigram's share is missing, so a word in a new place can get probability 0",
            ),
            Mistake(
                {"mixture = weights[0] * unigram + weights[1] * bigram + weights[2] * trigram": "mixture = trigram"},
                "the trigram alone: mix the three with their weights",
            ),
            Mistake(
                {"append(mixture)": "append(np.log(mixture))"},
                "these are logarithms: return the probabilities themselves",
            ),
        ),
    ),
)
