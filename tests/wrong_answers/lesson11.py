"""Wrong answers to the exercises of lesson 11: (exercise, function, words the judge must say)."""

import numpy as np


def writer(reads=lambda ids: ids[-1], keep_h=1, keep_c=1, logits=None, choose=None):
    """A student's loop, with one line of it otherwise."""
    logits = logits or (lambda h, c, params, t: (h @ params["decoder.weight"].T + params["decoder.bias"]) / t)
    choose = choose or (lambda p, u, dice: (np.cumsum(p)[:-1] <= u).sum())

    def write_words(step, softmax, params, start, temperature, dice):
        H = params["encoder.weight"].shape[1]
        h, c, ids = np.zeros((1, H)), np.zeros((1, H)), [start]
        for u in dice:
            x = params["encoder.weight"][[reads(ids)]]
            h, c = step(
                x, keep_h * h, keep_c * c, *(params[f"rnn.{n}_l0"] for n in ("weight_ih", "weight_hh", "bias_ih"))
            )
            p = softmax(logits(h, c, params, temperature))[0]
            ids.append(choose(p, u, dice))
        return np.array(ids[1:])

    return write_words


always_the_first = writer(reads=lambda ids: ids[0])
without_memory = writer(keep_h=0, keep_c=0)
without_cell = writer(keep_c=0)
from_the_cell = writer(logits=lambda h, c, params, t: (c @ params["decoder.weight"].T + params["decoder.bias"]) / t)
without_bias = writer(logits=lambda h, c, params, t: h @ params["decoder.weight"].T / t)
temperature_ignored = writer(logits=lambda h, c, params, t: h @ params["decoder.weight"].T + params["decoder.bias"])
times_temperature = writer(logits=lambda h, c, params, t: (h @ params["decoder.weight"].T + params["decoder.bias"]) * t)
greedy = writer(choose=lambda p, u, dice: p.argmax())
one_throw = writer(choose=lambda p, u, dice: (np.cumsum(p)[:-1] <= dice[0]).sum())


def with_the_start(*arguments):
    return np.append(arguments[3], writer()(*arguments))


def per_cent(losses, floor_losses):
    p, f = np.exp(np.mean(losses)), np.exp(np.mean(floor_losses))
    return p, f, (p - f) / f * 100, np.log2(p / f)


def share_of_the_wrong_one(losses, floor_losses):
    p, f = np.exp(np.mean(losses)), np.exp(np.mean(floor_losses))
    return p, f, (p - f) / p, np.log2(p / f)


def extra_in_nats(losses, floor_losses):
    p, f = np.exp(np.mean(losses)), np.exp(np.mean(floor_losses))
    return p, f, p / f - 1, np.mean(losses - floor_losses)


def of_the_whole_text(losses, floor_losses):
    p, f = np.exp(np.mean(losses)), np.exp(np.mean(floor_losses))
    return p, f, p / f - 1, np.sum(losses - floor_losses) / np.log(2)


def means_of_inverses(losses, floor_losses):
    p, f = np.mean(np.exp(losses)), np.mean(np.exp(floor_losses))
    return p, f, p / f - 1, np.mean(losses - floor_losses) / np.log(2)


def plain_difference(losses, floor_losses):
    p, f = np.exp(np.mean(losses)), np.exp(np.mean(floor_losses))
    return p, f, p - f, np.log2(p / f)


def only_perplexities(losses, floor_losses):
    return np.exp(np.mean(losses)), np.exp(np.mean(floor_losses))


def starts_at_nothing(peak, W, E):
    return [peak * n / W if n < W else peak * (E - n) / (E - W + 1) for n in range(E)]


def ends_at_nothing(peak, W, E):
    return [peak * min((n + 1) / W, (E - 1 - n) / (E - W)) for n in range(E)]


def holds_the_peak(peak, W, E):
    return [peak * min((n + 1) / W, (E - n) / (E - W)) for n in range(E)]


def climbs_and_stays(peak, W, E):
    return [peak * min((n + 1) / W, 1) for n in range(E)]


def without_peak(peak, W, E):
    return [min((n + 1) / W, (E - n) / (E - W + 1)) for n in range(E)]


def halves(peak, W, E):
    return [peak * (n + 1) / W if n < W else peak * 0.5 ** (n + 1 - W) for n in range(E)]


WRONG = [
    ("write_words", always_the_first, "it always reads `start`"),
    ("write_words", without_memory, "the state starts from zero at each word"),
    ("write_words", without_cell, "the cell is not carried"),
    ("write_words", from_the_cell, "what goes up from the LSTM is h"),
    ("write_words", without_bias, "bias is missing in the logits"),
    ("write_words", temperature_ignored, "the temperature has no effect"),
    ("write_words", times_temperature, "so divide"),
    ("write_words", greedy, "that is temperature 0"),
    ("write_words", one_throw, "one throw for all words"),
    ("write_words", with_the_start, "wrong shape"),
    ("distance_from_floor", per_cent, "these are per cent"),
    ("distance_from_floor", share_of_the_wrong_one, "a share of the floor"),
    ("distance_from_floor", extra_in_nats, "these are nats"),
    ("distance_from_floor", of_the_whole_text, "bits a word"),
    ("distance_from_floor", means_of_inverses, "the mean was taken of 1 / p"),
    ("distance_from_floor", plain_difference, "divide it by the floor"),
    ("distance_from_floor", only_perplexities, "expected 4"),
    ("triangle_schedule", starts_at_nothing, "the first leg has a rate of 0"),
    ("triangle_schedule", ends_at_nothing, "the last leg has a rate of 0"),
    ("triangle_schedule", holds_the_peak, "the peak is held for two legs"),
    ("triangle_schedule", climbs_and_stays, "the rate stays at the peak"),
    ("triangle_schedule", without_peak, "the factor `peak` is missing"),
    ("triangle_schedule", halves, "in equal steps"),
]
