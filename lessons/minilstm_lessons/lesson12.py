"""Lesson 12, after 2014: its exercises, and what its pictures measure."""

import re
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np

from minilstm.cache import softmax
from minilstm.device import to_host
from minilstm.evaluate import evaluate
from minilstm.events import Report
from minilstm.files import read_text
from minilstm.layers.dropout import dropout_backward, dropout_forward
from minilstm.layers.embedding import embedding_backward, embedding_forward
from minilstm.layers.linear import linear_backward, linear_forward
from minilstm.layers.lstm import lstm_backward, lstm_forward
from minilstm.model import add_tied, decoder_params, stack_forward, zero_state
from minilstm.step import init_train_state
from minilstm.text.grammar import read_grammar
from minilstm.train import train
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson12 as solutions

CAST = "girl", "boy", "place", "treasure", "trade"  # variables of the toy grammar


def train_all(config, corpus):
    """Train as ``minilstm train`` does; returns the train state and the perplexities.

    Those are lists, one number for each epoch: "train", while it learns, and on the validation text "valid" and "last",
    which differ if weights are averaged: "last" is of the weights themselves.
    """
    state = init_train_state(config, corpus.vocabulary)
    rows = {"train": [], "valid": [], "last": []}
    for event in train(state, corpus):
        if isinstance(event, Report) and event.split == "train":
            latest = event.perplexity
        elif isinstance(event, Report) and event.split == "valid":
            rows["train"].append(latest)
            rows["valid"].append(event.perplexity)
            own = evaluate(state.params, config, "valid", corpus.splits["valid"]) if state.average else event.perplexity
            rows["last"].append(own)
    return state, rows


def documents(corpus, rng, count, sentences):
    """Texts with a cast of their own: one girl, boy, place, treasure and trade each, drawn from the toy grammar.

    Parameters
    ----------
    corpus : Corpus
        The toy language.
    rng : random.Random
    count : int
        Number of documents.
    sentences : int
        Of each.

    Returns
    -------
    list of list of str
        The words of each document; a sentence ends with <eos>.
    """
    rules, texts = read_text(corpus.grammar), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grammar.txt"
        for _ in range(count):
            own = re.sub(  # the same rules, with one value for each variable of the cast
                rf"^variable ({'|'.join(CAST)}) = (.*)$",
                lambda found: f"variable {found[1]} = {rng.choice(found[2].split())}",
                rules,
                flags=re.MULTILINE,
            )
            path.write_text(own, encoding="utf-8")
            grammar = read_grammar(path)
            texts.append([word for _ in range(sentences) for word in (*grammar.sample(rng), "<eos>")])
    return texts


def cast_words(corpus):
    """The words that name the cast's girls, boys, places and treasures, as a set."""
    lines = re.findall(r"^variable (girl|boy|place|treasure) = (.*)$", read_text(corpus.grammar), re.MULTILINE)
    return {word for _, values in lines for word in values.split()}


def read_aloud(params, config, ids):
    """What a cache needs of a model that reads a text as one stream.

    Returns
    -------
    p_model : array (T, V)
        Probabilities of each word but the first.
    h : array (T, H)
        The top layer's outputs that they come from.
    targets : array (T,)
        The words that came.
    """
    x, _, _ = stack_forward(params, config, ids[:-1, None], zero_state(config, 1))
    logits, _ = linear_forward(x, decoder_params(params))
    return softmax(to_host(logits[:, 0])), to_host(x[:, 0]).astype(float), ids[1:]


def recurrence(ids, which, edges):
    """How much likelier a word is a given number of words after itself than anywhere, for ranges of that number.

    Only words of which `which` (V,) is true are looked at: of all pairs of places so far apart, the share with the
    same such word at both, over what that share would be if words came independently with these frequencies.

    Parameters
    ----------
    ids : int array (tokens,)
    which : bool array (V,)
    edges : sequence of int
        Range n is the distances from edges[n] to edges[n + 1] - 1.

    Returns
    -------
    array (len(edges) - 1,)
    """
    shares = np.bincount(ids[which[ids]], minlength=len(which)) / len(ids)
    expected = (shares**2).sum()
    found = [((ids[d:] == ids[:-d]) & which[ids[d:]]).mean() / expected for d in range(1, edges[-1])]  # d counts from 1
    return np.array([np.mean(found[first - 1 : end - 1]) for first, end in pairwise(edges)])


def draw_tied(rng, N, V, H):
    """More words than there are in the vocabulary, so that some are read twice; the last one is never read."""
    return {
        "weight": rng.standard_normal((V, H)),
        "ids": rng.integers(V - 1, size=N),
        "dx": rng.standard_normal((N, H)),
        "h": rng.standard_normal((N, H)),
        "dlogits": rng.standard_normal((N, V)),
    }


def package_tied(weight, ids, dx, h, dlogits):
    """The package's two layers with one matrix, and its sum of their gradients."""
    x, embedding_cache = embedding_forward(ids[None], weight)
    logits, linear_cache = linear_forward(h[None], {"weight": weight, "bias": np.zeros(len(weight))})
    dh, linear_grads = linear_backward(dlogits[None], linear_cache)
    grads = {
        "encoder.weight": embedding_backward(dx[None], embedding_cache)["weight"],
        "decoder.weight": np.array(linear_grads["weight"]),
    }
    add_tied(grads)
    return x[0], logits[0], dh[0], grads["encoder.weight"]


def tied_loss(weight, ids, dx, h, dlogits):
    """A loss with these gradients of x and of the logits; h is taken as given."""
    return (dx * weight[ids]).sum() + (dlogits * (h @ weight.T)).sum()


def draw_window(rng, T, B, D, H):
    """A window with an LSTM; nothing is dropped in one draw of four."""
    return {
        "x": rng.standard_normal((T, B, D)),
        "r": rng.standard_normal((T, B, H)),
        "u": rng.random((4 * H, H)),
        "keep_prob": float(rng.choice([0.35, 0.6, 0.8, 1.0])),
        "weight_ih": 0.7 * rng.standard_normal((4 * H, D)),
        "weight_hh": 0.7 * rng.standard_normal((4 * H, H)),
        "bias": rng.standard_normal(4 * H),
    }


def package_weight_drop(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    """The package's functions in the order of `stack_forward` and `loss_and_gradients`."""
    mask = None if keep_prob == 1 else np.where(u < keep_prob, 1 / keep_prob, 0)
    zeros = np.zeros(r.shape[1:])
    layer = {"weight_ih": weight_ih, "weight_hh": dropout_forward(weight_hh, mask), "bias": bias}
    outputs, _, cache = lstm_forward(x, (zeros, zeros), layer)
    grads = lstm_backward(r, None, cache)[2]
    return outputs, grads["weight_ih"], dropout_backward(grads["weight_hh"], mask), grads["bias"]


def weight_drop_loss(x, r, u, keep_prob, weight_ih, weight_hh, bias):
    return (r * package_weight_drop(x, r, u, keep_prob, weight_ih, weight_hh, bias)[0]).sum()


def draw_text(rng, T, V, H):
    """A text with a model's outputs, of which the first four are long.

    Unless theta is 0, exp of a score overflows for two unlike words in the cache at step 2, and is 0 for all of them at
    step 3.
    """
    h = rng.standard_normal((T, H))
    h[:4] = np.outer([*rng.permutation([60, 61, 62]), -63], h[0] / np.linalg.norm(h[0]))
    targets = rng.integers(V, size=T)
    targets[1] = (targets[0] + rng.integers(1, V)) % V
    return {
        "p_model": rng.dirichlet(np.ones(V), T),
        "h": h,
        "targets": targets,
        "size": int(rng.choice([3, 4, 6, 50])),
        "theta": float(rng.choice([0.0, 0.5, 0.7, 1.5])),
        "weight": float(rng.uniform(0.1, 0.7)),
    }


def package_cache(p_model, h, targets, size, theta, weight):
    """Equations (1) and (2) of the package's cache.py for all words of the vocabulary, all steps at once."""
    T, V = p_model.shape
    age = np.arange(T)[:, None] - np.arange(T)
    in_cache = (age > 0) & (age <= size)
    p = np.where(in_cache, softmax(np.where(in_cache, theta * (h @ h.T), -np.inf)), 0)  # (T, T)
    share = np.where(in_cache.any(axis=1, keepdims=True), weight, 0.0)
    return (1 - share) * p_model + share * (p @ (targets[:, None] == np.arange(V)))


BOTH_ROADS = "np.add.at(dweight, ids, dx)"
LINEAR = "dweight = dlogits.T @ h"
MASK = "mask = (u < keep_prob) / keep_prob"
MASKED = "mask * weight_hh"
GRADIENT = 'dweight_hh = mask * grads["weight_hh"]'
FIRST = "first = max(t - size, 0)"
SCORES = "scores = theta * (h[first:t] @ h[t])"
ADD = "np.add.at(p_cache, targets[first:t], exp / exp.sum())"
MIXED = "(1 - weight) * p_model[t] + weight * p_cache"

EXERCISES = (
    Exercise(
        solutions.tied_embedding,
        {"N": (7, 10), "V": (4, 6), "H": (2, 3)},
        draw_tied,
        package_tied,
        {"x": "(N, H)", "logits": "(N, V)", "dh": "(N, H)", "dweight": "(V, H)"},
        loss=tied_loss,
        gradients={"dh": "h", "dweight": "weight"},
        mistakes=(
            Mistake(
                {BOTH_ROADS: "dweight[ids] += dx"},
                "a word that was read twice got one of its rows only: += with an array of ids writes each row once",
            ),
            Mistake(
                {BOTH_ROADS: "dweight[ids] = dx"},
                "the embedding's rows were written over those of the linear layer: the two gradients add up",
            ),
            Mistake(
                {BOTH_ROADS: "pass"}, "the road through the embedding is missing: dx belongs to the rows that were read"
            ),
            Mistake(
                {LINEAR: "dweight = np.zeros(weight.shape)"},
                "the road through the linear layer is missing: each row, read or not, has a gradient from the logits",
            ),
            Mistake(
                {LINEAR: "dweight = 0.5 * dlogits.T @ h", BOTH_ROADS: "np.add.at(dweight, ids, 0.5 * dx)"},
                "this is the mean of the two gradients: the matrix stands in two places, so it has their sum",
            ),
            Mistake(
                {BOTH_ROADS: "np.add.at(dweight, ids, -dx)"},
                "the embedding's part has the wrong sign: both parts are added",
            ),
            Mistake(
                {BOTH_ROADS: "np.add.at(dweight, ids, dx / np.bincount(ids)[ids][:, None])"},
                "the mean was taken over the places where a word was read: its rows add up",
            ),
            Mistake(
                {LINEAR: "dweight = dlogits.T @ h; dweight[np.setdiff1d(np.arange(len(weight)), ids)] = 0"},
                "words that were not read got no gradient: from the logits every row has one",
            ),
            Mistake(
                {LINEAR: "dweight = dlogits.T @ x"},
                "the linear layer reads h, not x: its gradient is the product of dlogits and h",
            ),
            Mistake(
                {LINEAR: "dweight = dlogits.T @ dx"},
                "dx is no output of the forward pass: the linear layer's gradient is the product of dlogits and h",
            ),
            Mistake({"logits = h @ weight.T": "logits = x @ weight.T"}, "the linear layer reads h, the LSTM's output"),
            Mistake(
                {"dh = dlogits @ weight\n": "dh = dlogits @ weight + dx\n"},
                "dx was added to dh: it is the gradient of the LSTM's input, and dh that of its output",
            ),
            Mistake(
                {BOTH_ROADS: "np.add.at(dweight, ids, x)"},
                "the rows that were read were added, and not their gradients dx",
            ),
            Mistake(
                {BOTH_ROADS: "np.add.at(dweight, ids, dh)"},
                "dh was added at the words that were read: that is the gradient of the LSTM's output; theirs is dx",
            ),
        ),
    ),
    Exercise(
        solutions.weight_drop,
        {"T": (4, 6), "B": (2, 3), "D": (7, 8), "H": (2, 3)},
        draw_window,
        package_weight_drop,
        {"outputs": "(T, B, H)", "dweight_ih": "(4H, D)", "dweight_hh": "(4H, H)", "dbias": "(4H,)"},
        loss=weight_drop_loss,
        gradients={"dweight_ih": "weight_ih", "dweight_hh": "weight_hh", "dbias": "bias"},
        allowed=(dropout_forward, dropout_backward),  # the notebook shows them above the exercise
        mistakes=(
            Mistake(
                {GRADIENT: 'dweight_hh = grads["weight_hh"]'},
                "this is the gradient of the masked weights: a weight that was dropped had no effect, and gets none",
            ),
            Mistake(
                {GRADIENT: 'dweight_hh = (u < keep_prob) * grads["weight_hh"]'},
                "dropped weights have no gradient, but the others' is not divided by keep_prob: the mask has both",
            ),
            Mistake(
                {GRADIENT: 'dweight_hh = grads["weight_hh"] / keep_prob'},
                "divided by keep_prob, but the dropped weights still have a gradient",
            ),
            Mistake(
                {GRADIENT: 'dweight_hh = mask * mask * grads["weight_hh"]'},
                "the mask was applied twice on the way back: once is enough",
            ),
            Mistake(
                {MASK: "mask = (u < keep_prob) * 1.0"},
                "the weights that are kept are not divided by keep_prob: the mean of the mask must be 1",
            ),
            Mistake(
                {MASK: "mask = (u < keep_prob) * keep_prob"},
                "the weights that are kept are multiplied by keep_prob: they have to make up for the others, so divide",
            ),
            Mistake(
                {MASK: "mask = (u < 1 - keep_prob) / keep_prob"},
                "kept where u is below 1 - keep_prob: keep_prob is the probability to keep",
            ),
            Mistake(
                {MASK: "mask = (u >= keep_prob) / keep_prob"},
                "kept and dropped are swapped: a weight is kept where u is below keep_prob",
            ),
            Mistake(
                {MASK: "mask = (u >= keep_prob) / max(1 - keep_prob, 1e-300)"},
                "keep_prob was taken for the probability to drop",
            ),
            Mistake(
                {MASKED: "weight_hh"},
                "the LSTM was run with all its recurrent weights: they are multiplied by the mask before the layer",
            ),
            Mistake(
                {MASKED: "weight_hh", GRADIENT: 'dweight_hh = grads["weight_hh"]'},
                "nothing is dropped: the recurrent weights are multiplied by the mask before the layer",
            ),
            Mistake(
                {MASK: "mask = np.repeat(u[:, :1] < keep_prob, len(u) // 4, axis=1) / keep_prob"},
                "whole rows were dropped, by the first number of each: every weight has a number of its own",
            ),
            Mistake(
                {MASK: "mask = np.repeat(u[:1] < keep_prob, len(u), axis=0) / keep_prob"},
                "whole columns were dropped, by the numbers of the first row: that is dropout of units, not of weights",
            ),
            Mistake(
                {MASK: "mask = np.tile(u[: len(u) // 4] < keep_prob, (4, 1)) / keep_prob"},
                "all four gates have the mask of the first: each of the 4 H rows has its own",
            ),
            Mistake(
                {"lstm_backward(r, None, cache)": "lstm_backward(outputs, None, cache)"},
                "the outputs were handed back: `lstm_backward` takes their gradient, r",
            ),
        ),
    ),
    Exercise(
        solutions.cache_probabilities,
        {"T": (10, 14), "V": (4, 7), "H": (2, 3)},
        draw_text,
        package_cache,
        {"p": "(T, V)"},
        mistakes=(
            Mistake(
                {"scores - scores.max()": "scores"},
                "exp overflows where two outputs are long: subtract the largest of the scores first",
            ),
            Mistake(
                {"scores - scores.max()": "np.clip(scores, -700, 700)"},
                "two scores beyond the bounds of the clip count the same: subtract the largest of the scores instead",
            ),
            Mistake(
                {"targets[first:t]": "targets[first + 1 : t + 1]"},
                "off by one: the word kept with h[i] is the one that followed it, and that after h[t] is unknown yet",
            ),
            Mistake(
                {"h[first:t] @ h[t]": "h[first : t + 1] @ h[t]", "targets[first:t]": "targets[first : t + 1]"},
                "the cache holds the word that is to be predicted already: it has the words before step t only",
            ),
            Mistake(
                {"targets[first:t]": "np.append(targets[-1:], targets)[first:t]"},
                "the word kept with h[i] is the one that had been read: it is the one that followed, targets[i]",
            ),
            Mistake(
                {FIRST: "first = 0"},
                "the cache holds all that was read: it forgets what is more than `size` steps back",
            ),
            Mistake(
                {FIRST: "first = max(t - size + 1, 0)"}, "the cache holds one word too few: the last `size` of them"
            ),
            Mistake(
                {FIRST: "first = max(t - size - 1, 0)"}, "the cache holds one word too many: the last `size` of them"
            ),
            Mistake(
                {ADD: "p_cache[targets[first:t]] += exp / exp.sum()"},
                "a word that stands in the cache twice got one of its shares only: += with an array of ids writes each "
                "place once",
            ),
            Mistake(
                {ADD: "np.maximum.at(p_cache, targets[first:t], exp / exp.sum())"},
                "a word that stands in the cache twice got its largest share only: the shares add up",
            ),
            Mistake(
                {ADD: "np.add.at(p_cache, targets[first:t], exp)"},
                "the shares do not sum to 1: divide by the sum over the cache",
            ),
            Mistake(
                {SCORES: "scores = h[first:t] @ h[t]"}, "theta has no effect: it multiplies the products of the outputs"
            ),
            Mistake(
                {SCORES: "scores = 0 * h[first:t, 0]"},
                "each place in the cache counts the same, as with theta = 0: weigh it by how its output resembles h[t]",
            ),
            Mistake(
                {SCORES: "scores = theta * (h[first:t] @ h[t]) / np.linalg.norm(h[first:t], axis=1) "
                 "/ np.linalg.norm(h[t])"},
                "this is the cosine of the angle between the outputs: asked is their product alone",
            ),
            Mistake(
                {SCORES: "scores = -theta * ((h[first:t] - h[t]) ** 2).sum(axis=1)"},
                "this is the distance of the outputs: asked is their product",
            ),
            Mistake(
                {SCORES: "scores = theta * (h[first:t] @ h[t - 1])"},
                "the cache was asked with the output before: the present one is h[t]",
            ),
            Mistake(
                {MIXED: "weight * p_model[t] + (1 - weight) * p_cache"},
                "the two shares are swapped: weight is the share of the cache",
            ),
            Mistake(
                {MIXED: "p_model[t] + weight * p_cache"},
                "the sum is more than 1: what the cache gets is taken from the model",
            ),
            Mistake({MIXED: "p_cache"}, "these are the cache's probabilities alone: mix them with the model's"),
            Mistake(
                {"p = p_model.copy()": "p = (1 - weight) * p_model"},
                "the first row does not sum to 1: nothing is in the cache yet, so the model has the whole share",
            ),
            Mistake(
                {"range(1, len(h))": "range(size, len(h))"},
                "the cache is used only when it is full: it begins with one word, at step 1",
            ),
        ),
    ),
)  # fmt: skip
