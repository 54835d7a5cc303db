"""Wrong answers to the exercises of lesson 12: (exercise, function, words the judge must say)."""

import numpy as np

from minilstm.layers.lstm import lstm_backward, lstm_forward


def both(weight, ids, dx, h, dlogits, *, words=True, linear=True, at="add"):
    dW = np.einsum("nv,nh->vh", dlogits, h) if linear else np.zeros(weight.shape)
    if words and at == "add":
        np.add.at(dW, ids, dx)
    elif words and at == "set":
        dW[ids] = dx
    elif words:
        dW[ids] = dW[ids] + dx
    return weight[ids], h @ weight.T, dlogits @ weight, dW


def last_of_each_word(*a):
    return both(*a, at="once")


def words_over_the_rest(*a):
    return both(*a, at="set")


def linear_only(*a):
    return both(*a, words=False)


def words_only(*a):
    return both(*a, linear=False)


def half_of_each(weight, ids, dx, h, dlogits):
    x, logits, dh, dW = both(weight, ids, dx, h, dlogits)
    return x, logits, dh, dW / 2


def mean_of_each_word(weight, ids, dx, h, dlogits):
    dW = dlogits.T @ h
    for word in set(ids.tolist()):
        dW[word] += dx[ids == word].mean(axis=0)
    return weight[ids], h @ weight.T, dlogits @ weight, dW


def reads_the_words_again(weight, ids, dx, h, dlogits):
    x = weight[ids]
    return x, x @ weight.T, dlogits @ weight, dlogits.T @ h + np.eye(len(weight))[ids].T @ dx


def mixes_the_roads(weight, ids, dx, h, dlogits):
    x, logits, dh, dW = both(weight, ids, dx, h, dlogits)
    return x, logits, dh + dx, dW


def turned_round(weight, ids, dx, h, dlogits):
    x, logits, dh, dW = both(weight, ids, dx, h, dlogits)
    return x, logits, dh, dW.T


def of_the_read_words_only(weight, ids, dx, h, dlogits):
    x, logits, dh, dW = both(weight, ids, dx, h, dlogits)
    return x, logits, dh, dW[ids]


def window(x, r, W_ih, W_hh, b, dout=None):
    zero = np.zeros_like(r[0])
    y, _, cache = lstm_forward(x, (zero, zero), {"weight_ih": W_ih, "weight_hh": W_hh, "bias": b})
    g = lstm_backward(r if dout is None else dout(y), None, cache)[2]
    return y, g["weight_ih"], g["weight_hh"], g["bias"]


def gradient_of_all_weights(x, r, u, keep_prob, W_ih, W_hh, b):
    return window(x, r, W_ih, np.where(u < keep_prob, W_hh / keep_prob, 0), b)


def gradient_not_scaled(x, r, u, keep_prob, W_ih, W_hh, b):
    keep = u < keep_prob
    y, dW_ih, dW_hh, db = window(x, r, W_ih, keep * W_hh / keep_prob, b)
    return y, dW_ih, keep * dW_hh, db


def weights_not_scaled(x, r, u, keep_prob, W_ih, W_hh, b):
    keep = u < keep_prob
    y, dW_ih, dW_hh, db = window(x, r, W_ih, keep * W_hh, b)
    return y, dW_ih, keep * dW_hh, db


def drops_what_it_should_keep(x, r, u, keep_prob, W_ih, W_hh, b):
    m = (u > keep_prob) / keep_prob
    y, dW_ih, dW_hh, db = window(x, r, W_ih, m * W_hh, b)
    return y, dW_ih, m * dW_hh, db


def makes_the_rest_smaller(x, r, u, keep_prob, W_ih, W_hh, b):
    m = np.where(u < keep_prob, keep_prob, 0)
    y, dW_ih, dW_hh, db = window(x, r, W_ih, m * W_hh, b)
    return y, dW_ih, m * dW_hh, db


def masked_on_the_way_back_only(x, r, u, keep_prob, W_ih, W_hh, b):
    y, dW_ih, dW_hh, db = window(x, r, W_ih, W_hh, b)
    return y, dW_ih, dW_hh * (u < keep_prob) / keep_prob, db


def drops_nothing(x, r, u, keep_prob, W_ih, W_hh, b):
    return window(x, r, W_ih, W_hh, b)


def drops_units(x, r, u, keep_prob, W_ih, W_hh, b):
    m = np.where(u[0] < keep_prob, 1 / keep_prob, 0)
    y, dW_ih, dW_hh, db = window(x, r, W_ih, W_hh * m, b)
    return y, dW_ih, dW_hh * m, db


def spoils_the_weights(x, r, u, keep_prob, W_ih, W_hh, b):
    W_hh *= (u < keep_prob) / keep_prob
    y, dW_ih, dW_hh, db = window(x, r, W_ih, W_hh, b)
    return y, dW_ih, dW_hh * (u < keep_prob) / keep_prob, db


def hands_the_outputs_back(x, r, u, keep_prob, W_ih, W_hh, b):
    m = (u < keep_prob) / keep_prob
    y, dW_ih, dW_hh, db = window(x, r, W_ih, W_hh * m, b, dout=lambda y: y)
    return y, dW_ih, dW_hh * m, db


def no_outputs(x, r, u, keep_prob, W_ih, W_hh, b):
    m = (u < keep_prob) / keep_prob
    _, dW_ih, dW_hh, db = window(x, r, W_ih, W_hh * m, b)
    return dW_ih, dW_hh * m, db


def text(p_model, h, targets, size, theta, weight, *, scores=np.dot, held=None, mix=None, safe=True, start=1):
    p = np.array(p_model)
    held = held or (lambda t: np.arange(max(t - size, 0), t))
    mix = mix or (lambda model, cache: (1 - weight) * model + weight * cache)
    for t in range(start, len(p)):
        i = held(t)
        s = theta * scores(h[i], h[t])
        e = np.exp(s - (s.max() if safe else 0))
        p[t] = mix(p_model[t], np.bincount(targets[i], e / e.sum(), minlength=p.shape[1]))
    return p


def overflows(*a):
    return text(*a, safe=False)


def with_shares(p_model, h, targets, size, theta, weight, shares):
    """The cache with shares that are another function of its scores."""
    p = np.array(p_model)
    for t in range(1, len(p)):
        kept = slice(max(t - size, 0), t)
        cache = np.bincount(targets[kept], shares(theta * h[kept] @ h[t]), minlength=p.shape[1])
        p[t] = (1 - weight) * p_model[t] + weight * cache
    return p


def of_clipped_scores(*a, bound=700):
    def shares(scores):
        e = np.exp(np.clip(scores, -bound, bound))
        return e / e.sum()

    return with_shares(*a, shares)


def of_scores_clipped_at_100(*a):
    return of_clipped_scores(*a, bound=100)


def shifted_by_the_largest_size(*a):
    def shares(scores):
        e = np.exp(scores - np.abs(scores).max())
        return e / e.sum()

    return with_shares(*a, shares)


def shifted_by_no_less_than_0(*a):
    def shares(scores):
        e = np.exp(scores - max(scores.max(), 0))
        return e / e.sum()

    return with_shares(*a, shares)


def one_for_nan(*a):
    def shares(scores):
        e = np.exp(scores)
        return np.nan_to_num(e / e.sum(), nan=1.0)

    return with_shares(*a, shares)


def remembers_all(*a):
    return text(*a, held=np.arange)


def sees_the_answer(p_model, h, targets, size, theta, weight):
    return text(p_model, h, targets, size, theta, weight, held=lambda t: np.arange(max(t - size, 0), t + 1))


def swaps_the_shares(p_model, h, targets, size, theta, weight):
    return text(p_model, h, targets, size, theta, weight, mix=lambda m, c: weight * m + (1 - weight) * c)


def adds_the_cache(p_model, h, targets, size, theta, weight):
    return text(p_model, h, targets, size, theta, weight, mix=lambda m, c: m + weight * c)


def the_cache_alone(*a):
    return text(*a, mix=lambda m, c: c)


def by_distance(*a):
    return text(*a, scores=lambda old, new: -((old - new) ** 2).sum(axis=-1))


def by_cosine(*a):
    def cosine(old, new):
        return old @ new / np.sqrt((old**2).sum(axis=1) * (new**2).sum())

    return text(*a, scores=cosine)


def counts_only(*a):
    return text(*a, scores=lambda old, new: 0 * old[:, 0])


def waits_until_it_is_full(p_model, h, targets, size, theta, weight):
    return text(p_model, h, targets, size, theta, weight, start=size)


def writes_each_word_once(p_model, h, targets, size, theta, weight):
    p = np.array(p_model)
    for t in range(1, len(p)):
        kept = slice(max(t - size, 0), t)
        e = np.exp(theta * (h[kept] @ h[t]) - (theta * (h[kept] @ h[t])).max())
        held = np.zeros(p.shape[1])
        held[targets[kept]] += e / e.sum()
        p[t] = (1 - weight) * p_model[t] + weight * held
    return p


def shrinks_the_first_row(*a):
    p, weight = text(*a), a[-1]
    p[0] *= 1 - weight
    return p


def of_the_words_that_came(p_model, h, targets, size, theta, weight):
    return text(p_model, h, targets, size, theta, weight)[np.arange(len(h)), targets]


WRONG = [
    ("tied_embedding", last_of_each_word, "got one of its rows only"),
    ("tied_embedding", words_over_the_rest, "written over those of the linear layer"),
    ("tied_embedding", linear_only, "the road through the embedding is missing"),
    ("tied_embedding", words_only, "the road through the linear layer is missing"),
    ("tied_embedding", half_of_each, "this is the mean of the two gradients"),
    ("tied_embedding", mean_of_each_word, "the mean was taken over the places"),
    ("tied_embedding", reads_the_words_again, "the linear layer reads h"),
    ("tied_embedding", mixes_the_roads, "dx was added to dh"),
    ("tied_embedding", turned_round, "it is transposed"),
    ("tied_embedding", of_the_read_words_only, "wrong shape"),
    ("weight_drop", gradient_of_all_weights, "this is the gradient of the masked weights"),
    ("weight_drop", gradient_not_scaled, "the others' is not divided by keep_prob"),
    ("weight_drop", weights_not_scaled, "the mean of the mask must be 1"),
    ("weight_drop", drops_what_it_should_keep, "kept and dropped are swapped"),
    ("weight_drop", makes_the_rest_smaller, "are multiplied by keep_prob"),
    ("weight_drop", masked_on_the_way_back_only, "the LSTM was run with all its recurrent weights"),
    ("weight_drop", drops_nothing, "nothing is dropped"),
    ("weight_drop", drops_units, "whole columns were dropped"),
    ("weight_drop", spoils_the_weights, "changes its argument weight_hh in place"),
    ("weight_drop", hands_the_outputs_back, "the outputs were handed back"),
    ("weight_drop", no_outputs, "returned 3 results, expected 4"),
    ("cache_probabilities", overflows, "exp overflows"),
    ("cache_probabilities", of_clipped_scores, "beyond the bounds of the clip"),
    ("cache_probabilities", of_scores_clipped_at_100, "beyond the bounds of the clip"),
    ("cache_probabilities", shifted_by_the_largest_size, "holds inf or nan"),
    ("cache_probabilities", shifted_by_no_less_than_0, "holds inf or nan"),
    ("cache_probabilities", one_for_nan, "right at 10 time steps of 12"),
    ("cache_probabilities", remembers_all, "it forgets what is more than `size` steps back"),
    ("cache_probabilities", sees_the_answer, "the cache holds the word that is to be predicted"),
    ("cache_probabilities", swaps_the_shares, "the two shares are swapped"),
    ("cache_probabilities", adds_the_cache, "the sum is more than 1"),
    ("cache_probabilities", the_cache_alone, "the cache's probabilities alone"),
    ("cache_probabilities", by_distance, "this is the distance of the outputs"),
    ("cache_probabilities", by_cosine, "this is the cosine"),
    ("cache_probabilities", counts_only, "each place in the cache counts the same"),
    ("cache_probabilities", waits_until_it_is_full, "the cache is used only when it is full"),
    ("cache_probabilities", writes_each_word_once, "one of its shares only"),
    ("cache_probabilities", shrinks_the_first_row, "the first row does not sum to 1"),
    ("cache_probabilities", of_the_words_that_came, "an axis is missing"),
]
