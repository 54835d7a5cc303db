"""Lesson 11, your own network: its exercises."""

from types import SimpleNamespace

import numpy as np

from minilstm.config import Config
from minilstm.evaluate import perplexity
from minilstm.generate import sample
from minilstm.model import init_params, next_word_logits, zero_state
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson11 as solutions
from minilstm_lessons.solutions.lesson02 import softmax
from minilstm_lessons.solutions.lesson06 import lstm_step_forward


def draw_writer(rng, N, V, H):
    """A network of random weights with biases, a temperature that is not 1, and the dice."""
    config = Config(hidden_size=H, num_layers=1, init_scale=1.5, dtype="float64", seed=int(rng.integers(1000)))
    params = init_params(config, V)
    params["rnn.bias_ih_l0"] = rng.standard_normal(4 * H)
    return {
        "step": lstm_step_forward,
        "softmax": softmax,
        "params": params,
        "start": int(rng.integers(V)),
        "temperature": float(rng.choice([0.4, 0.6, 1.7, 2.5])),
        "dice": rng.random(N),
    }


def package_writer(step, softmax, params, start, temperature, dice):
    """The package's network, and its `sample` with these dice."""
    config = Config(hidden_size=params["encoder.weight"].shape[1], num_layers=1, dtype="float64")
    state, ids = zero_state(config, 1), [start]
    for u in dice:
        logits, state = next_word_logits(params, config, np.array([[ids[-1]]]), state)
        ids.append(sample(logits[0], temperature, SimpleNamespace(random=lambda u=u: u)))
    return np.array(ids[1:])


def draw_losses(rng, N):
    """Surprises of a network, and of the grammar that is right about the text more often than not."""
    floor_losses = rng.exponential(1.2, N)
    return {"losses": floor_losses + 0.3 * abs(rng.standard_normal(N)), "floor_losses": floor_losses}


def package_distance(losses, floor_losses):
    reached, floor = (perplexity(float(values.sum()), len(values)) for values in (losses, floor_losses))
    return reached, floor, (reached - floor) / floor, np.log2(reached / floor)


def draw_triangle(rng, W, E):
    return {"peak": float(rng.uniform(0.5, 3)), "num_warmup": W, "num_legs": E}


def interpolated(peak, num_warmup, num_legs):
    """No function of the package: 0 a leg before the first, the peak at leg W - 1, and 0 a leg after the last."""
    return np.interp(np.arange(num_legs), [-1, num_warmup - 1, num_legs], [0, peak, 0])


STEP = "h, c = step(x, h, c, weight_ih, weight_hh, bias)"
READ = 'x = params["encoder.weight"][[word]]  # (1, H)'
BIAS = ' + params["decoder.bias"]'

EXERCISES = (
    Exercise(
        solutions.write_words,
        {"N": (24, 32), "V": (5, 9), "H": (2, 4)},
        draw_writer,
        package_writer,
        {"ids": "(N,)"},
        mistakes=(
            Mistake(
                {READ: 'x = params["encoder.weight"][[start]]'},
                "it always reads `start`: the word that has just been written is what the network reads next",
            ),
            Mistake(
                {STEP: "h, c = step(x, 0 * h, 0 * c, weight_ih, weight_hh, bias)"},
                "the state starts from zero at each word: h and c of one step go into the next",
            ),
            Mistake(
                {STEP: "h, c = step(x, h, 0 * c, weight_ih, weight_hh, bias)"},
                "the cell is not carried: c of one step goes into the next, like h",
            ),
            Mistake(
                {STEP: "h, c = step(x, 0 * h, c, weight_ih, weight_hh, bias)"},
                "h is not carried: h of one step goes into the next, like c",
            ),
            Mistake({BIAS: ""}, "the linear layer's bias is missing in the logits"),
            Mistake({"h @ params": "c @ params"}, "the linear layer reads the cell c: what goes up from the LSTM is h"),
            Mistake({"logits / temperature": "logits"}, "the temperature has no effect: divide the logits by it"),
            Mistake(
                {"logits / temperature": "logits * temperature"},
                "the logits are multiplied by the temperature: a low one has to make differences larger, so divide",
            ),
            Mistake(
                {"softmax(logits / temperature)[0]": "softmax(logits)[0] / temperature"},
                "the probabilities were divided by the temperature: divide the logits, before softmax",
            ),
            Mistake(
                {"word = (cumulative <= u).sum()": "word = p.argmax()"},
                "always the likeliest word: that is temperature 0; u has to draw it",
            ),
            Mistake(
                {"(cumulative <= u)": "(cumulative <= dice[0])"},
                "one throw for all words: each has its own, dice[n]",
            ),
            Mistake({"(cumulative <= u)": "(p <= u)"}, "u was compared with p itself: add p up along the words first"),
            Mistake(
                {"(cumulative <= u).sum()": "(cumulative >= u).sum()"},
                "the cumulative sums above u were counted: the id is the number of those that u has passed",
            ),
            Mistake(
                {"(cumulative <= u).sum()": "min((cumulative <= u).sum() + 1, len(p) - 1)"},
                "one id too far: a u below the first cumulative sum draws word 0",
            ),
            Mistake(
                {"ids = []": "ids = [start]", "np.array(ids)": "np.array(ids[:-1])"},
                "`start` is given, not written: the first id is the word after it",
            ),
        ),
    ),
    Exercise(
        solutions.distance_from_floor,
        {"N": (5, 12)},
        draw_losses,
        package_distance,
        {"perplexity": "", "floor": "", "above": "", "extra_bits": ""},
        mistakes=(
            Mistake(
                {"perplexity / floor - 1": "1 - floor / perplexity"},
                "the share was taken of the network's perplexity: above the floor is a share of the floor",
            ),
            Mistake({"perplexity / floor - 1": "perplexity / floor"}, "1 is missing: at the floor itself it is 0"),
            Mistake(
                {"perplexity / floor - 1": "100 * (perplexity / floor - 1)"},
                "these are per cent: a share is asked, 0.1 for 10%",
            ),
            Mistake(
                {"perplexity / floor - 1": "perplexity - floor"},
                "this is the difference of the perplexities: divide it by the floor",
            ),
            Mistake(
                {"extra.mean() / np.log(2)": "extra.mean()"}, "these are nats: divide by log 2 to have them in bits"
            ),
            Mistake(
                {"extra.mean() / np.log(2)": "extra.mean() * np.log(2)"},
                "multiplied by log 2: a bit is less than a nat, so there are more of them; divide",
            ),
            Mistake(
                {"extra.mean() / np.log(2)": "extra.sum() / np.log(2)"},
                "a sum over the text where the mean is meant: bits a word",
            ),
            Mistake(
                {"extra.mean() / np.log(2)": "np.log2(perplexity - floor)"},
                "this is the log of the difference of the perplexities: it is the difference of their logs",
            ),
            Mistake(
                {"losses - floor_losses": "floor_losses - losses"},
                "the sign is wrong: the network pays more than the grammar, and that is positive",
            ),
            Mistake(
                {
                    "np.exp(losses.mean())": "np.exp(losses).mean()",
                    "np.exp(floor_losses.mean())": ("np.exp(floor_losses).mean()"),
                },
                "the mean was taken of 1 / p, which one surprising word decides: take the mean of the surprise, then "
                "exp",
            ),
            Mistake(
                {
                    "np.exp(losses.mean())": "2 ** losses.mean()",
                    "np.exp(floor_losses.mean())": ("2 ** floor_losses.mean()"),
                },
                "2 ** x goes with bits, and these are nats: np.exp",
            ),
            Mistake(
                {"np.exp(losses.mean())": "losses.mean()", "np.exp(floor_losses.mean())": "floor_losses.mean()"},
                "these are mean surprises: a perplexity is their exponential",
            ),
        ),
    ),
    Exercise(
        solutions.triangle_schedule,
        {"W": (2, 4), "E": (7, 12)},
        draw_triangle,
        interpolated,
        {"rates": "(E,)"},
        mistakes=(
            Mistake(
                {"(legs + 1) / num_warmup": "legs / num_warmup"},
                "the first leg has a rate of 0 and learns nothing: leg n, counted from 0, has (n + 1) / W of the peak",
            ),
            Mistake(
                {"(num_legs - legs) / (num_legs - num_warmup + 1)": "(num_legs - 1 - legs) / (num_legs - num_warmup)"},
                "the last leg has a rate of 0 and learns nothing: 0 would come one leg after the last",
            ),
            Mistake(
                {"(num_legs - num_warmup + 1)": "(num_legs - num_warmup)"},
                "the peak is held for two legs: leg W - 1 is at the peak, and leg W is one step down",
            ),
            Mistake(
                {"(num_legs - legs) / (num_legs - num_warmup + 1)": "1 + 0 * legs"},
                "the rate stays at the peak: after the warm-up it goes down",
            ),
            Mistake(
                {"np.minimum(up, down)": "down"},
                "there is no warm-up: the first W legs climb, from peak / W to the peak",
            ),
            Mistake(
                {"np.minimum(up, down)": "np.maximum(up, down)"},
                "the larger of the two lines was taken where the smaller is meant",
            ),
            Mistake(
                {"(num_legs - legs) / (num_legs - num_warmup + 1)": "(num_legs - legs) / num_legs"},
                "the way down starts at the first leg: it starts from the peak, at leg W - 1",
            ),
            Mistake({"return peak * ": "return "}, "the factor `peak` is missing"),
            Mistake(
                {"(num_legs - legs) / (num_legs - num_warmup + 1)": "0.5 ** np.maximum(legs + 1 - num_warmup, 0)"},
                "the rate is halved in each leg: it goes down in equal steps, on a straight line",
            ),
        ),
    ),
)
