"""Solutions of lesson 11."""

import numpy as np


def write_words(step, softmax, params, start, temperature, dice):
    """Let a network write: after the word `start`, one word (its id) for each of the dice (N,)."""
    weight_ih, weight_hh, bias = (params[f"rnn.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih"))
    h = c = np.zeros((1, weight_hh.shape[1]))
    word = start
    ids = []
    for u in dice:
        x = params["encoder.weight"][[word]]  # (1, H)
        h, c = step(x, h, c, weight_ih, weight_hh, bias)
        logits = h @ params["decoder.weight"].T + params["decoder.bias"]  # (1, V)
        p = softmax(logits / temperature)[0]
        cumulative = p.cumsum()[:-1]
        word = (cumulative <= u).sum()
        ids.append(word)
    return np.array(ids)


def distance_from_floor(losses, floor_losses):
    """Surprises of a network and of the grammar in nats, (N,) -> perplexity, floor, the share above it, extra bits."""
    perplexity = np.exp(losses.mean())
    floor = np.exp(floor_losses.mean())
    above = perplexity / floor - 1
    extra = losses - floor_losses
    extra_bits = extra.mean() / np.log(2)
    return perplexity, floor, above, extra_bits


def triangle_schedule(peak, num_warmup, num_legs):
    """The learning rate of each leg, (E,): up to the peak in `num_warmup` equal steps, then down in equal steps."""
    legs = np.arange(num_legs)  # counted from 0
    up = (legs + 1) / num_warmup
    down = (num_legs - legs) / (num_legs - num_warmup + 1)
    return peak * np.minimum(up, down)
