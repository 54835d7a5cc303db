"""Lesson 8, training for real: its exercises."""

import numpy as np

from minilstm.config import Config
from minilstm.evaluate import perplexity
from minilstm.model import init_params
from minilstm.optim import learning_rate_at, sgd, update_average
from minilstm.step import init_train_state, train_step
from minilstm.text.batches import batchify, get_batch, num_windows
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.solutions import lesson08 as solutions


def draw_schedule(rng, M, E):
    return {
        "learning_rate": float(rng.uniform(0.5, 2)),
        "lr_decay": float(rng.uniform(0.4, 0.9)),
        "max_epoch": M,
        "num_epochs": E,
    }


def package_schedule(learning_rate, lr_decay, max_epoch, num_epochs):
    config = Config(learning_rate=learning_rate, lr_decay=lr_decay, max_epoch=max_epoch)
    return np.array([learning_rate_at(config, epoch) for epoch in range(num_epochs)])


def draw_epoch(rng, T, B, H, K):
    """A tiny model and K windows of text, with words left over; the norm is clipped at some steps, not at all."""
    V = 11
    config = Config(
        hidden_size=H, num_steps=T, batch_size=B, max_grad_norm=0.8, init_scale=0.5, keep_prob=1.0, dtype="float64",
        seed=int(rng.integers(1000)),
    )  # fmt: skip
    batch_len = K * T + 1 + int(rng.integers(1, T))
    ids = np.minimum(rng.integers(V, size=batch_len * B), rng.integers(V, size=batch_len * B))
    return {
        "params": init_params(config, V),
        "config": config,
        "data": batchify(ids, B),
        "learning_rate": float(rng.uniform(0.4, 0.9)),
    }


def package_epoch(params, config, data, learning_rate):
    """The package's own training step, on a run before its first step."""
    train_state = init_train_state(config, [str(id) for id in range(len(params["decoder.bias"]))])
    train_state.params.update(params)
    windows = [get_batch(data, k, config.num_steps) for k in range(num_windows(len(data), config.num_steps))]
    losses = [train_step(train_state, inputs, targets, learning_rate)[0] for inputs, targets in windows]
    return np.array(losses), perplexity(sum(losses), len(losses) * config.num_steps)


def draw_walk(rng, K, H):
    return {
        "w": 2 * rng.standard_normal(H),
        "pulls": rng.standard_normal((K, H)),
        "learning_rate": float(rng.uniform(0.3, 0.9)),
        "start": int(rng.integers(2, K - 2)),
    }


def package_walk(w, pulls, learning_rate, start):
    params, average = {"w": w.copy()}, {"w": np.zeros_like(w)}
    for k, pull in enumerate(pulls):
        sgd(params, {"w": params["w"] - pull}, learning_rate)
        if k >= start:
            update_average(average, params, k - start + 1)
    return params["w"], average["w"]


CARRIED = "loss, grads, state = loss_and_gradients(params, config, inputs, targets, state)"
CLIP = "grads, _ = clip_by_global_norm(grads, config.max_grad_norm)"
STEPS = "steps = len(losses) * config.num_steps"
ADD = "mean = mean + w / (K - start)"

EXERCISES = (
    Exercise(
        solutions.learning_rate_schedule,
        {"M": (2, 4), "E": (7, 12)},
        draw_schedule,
        package_schedule,
        {"rates": "(E,)"},
        mistakes=(
            Mistake(
                {"learning_rate * lr_decay**decays": "learning_rate - decays * lr_decay"},
                "lr_decay is subtracted each time: it is a factor, multiply by it",
            ),
            Mistake(
                {"lr_decay**decays": "lr_decay ** (epochs // max_epoch)"},
                "decays once in every max_epoch epochs: after the first max_epoch it decays in each epoch",
            ),
            Mistake(
                {"lr_decay**decays": "lr_decay ** np.cumsum(epochs * (epochs + 1 > max_epoch))"},
                "the rate that has been decayed already is multiplied by a power of lr_decay: multiply by lr_decay "
                "once an epoch",
            ),
            Mistake(
                {"epochs + 1 - max_epoch": "epochs - max_epoch"},
                "one epoch too many at the initial rate: max_epoch of them, so epoch number max_epoch, counted from 0, "
                "is decayed once",
            ),
            Mistake(
                {"epochs + 1 - max_epoch": "epochs + 2 - max_epoch"},
                "one epoch too few at the initial rate: max_epoch of them",
            ),
            Mistake(
                {"np.maximum(epochs + 1 - max_epoch, 0)": "epochs + 1 - max_epoch"},
                "the rate begins above its initial value, because the exponent is negative before max_epoch: take "
                "max(..., 0)",
            ),
            Mistake(
                {"np.maximum(epochs + 1 - max_epoch, 0)": "epochs - max_epoch"},
                "the rate begins above its initial value, because the exponent is negative before max_epoch: take "
                "max(..., 0)",
            ),
            Mistake(
                {"np.maximum(epochs + 1 - max_epoch, 0)": "epochs"},
                "decays from the first epoch on: the first max_epoch epochs keep the initial rate",
            ),
            *(
                Mistake(
                    {"np.maximum(epochs + 1 - max_epoch, 0)": exponent},
                    "all epochs have the last one's rate: np.max takes the largest of all, and its second argument is "
                    "an axis; the larger of each and 0 is np.maximum",
                )
                for exponent in ("np.max(epochs + 1 - max_epoch, 0)", "0 * epochs + np.max(epochs + 1 - max_epoch, 0)")
            ),
            Mistake(
                {"np.maximum(epochs + 1 - max_epoch, 0)": "(epochs + 1 > max_epoch)"},
                "decays once and then stays: each epoch after max_epoch multiplies by lr_decay again",
            ),
            Mistake(
                {"np.maximum(epochs + 1 - max_epoch, 0)": "(epochs + 1 >= max_epoch)"},
                "decays once and then stays: each epoch after max_epoch multiplies by lr_decay again",
            ),
            Mistake(
                {"lr_decay**decays": "lr_decay * decays"},
                "multiplied by the number of decays where the power is meant",
            ),
            Mistake(
                {"learning_rate * lr_decay**decays": "learning_rate * (1 - lr_decay) ** decays"},
                "lr_decay is the factor itself, not what is taken away",
            ),
            Mistake(
                {"learning_rate * lr_decay**decays": "learning_rate / lr_decay**decays"},
                "the rate grows: a power of lr_decay is below 1, multiply by it",
            ),
            Mistake({"learning_rate * lr_decay**decays": "lr_decay**decays"}, "the factor learning_rate is missing"),
            Mistake(
                {"np.maximum(epochs + 1 - max_epoch, 0)": "0 * epochs"},
                "the rate never falls: each epoch after max_epoch multiplies by lr_decay",
            ),
            Mistake(
                {"np.maximum(epochs + 1 - max_epoch, 0)": "np.minimum(epochs + 1, max_epoch)"},
                "decays in the first max_epoch epochs and keeps the rate afterwards: it is the other way round",
            ),
        ),
    ),
    Exercise(
        solutions.train_one_epoch,
        {"T": (3, 5), "B": (2, 4), "H": (3, 6), "K": (5, 8)},
        draw_epoch,
        package_epoch,
        {"losses": "(K,)", "perplexity": ""},
        mistakes=(
            Mistake(
                {"sgd(params, grads, learning_rate)": "sgd(params, grads, learning_rate / data.shape[1])"},
                "the step was divided by B: the gradient is of a mean over the batch already",
            ),
            Mistake(
                {"losses.append(loss)": "losses.append(loss / config.num_steps)"},
                "the losses were divided by T, once too often: a window's loss is the sum over its steps, and the "
                "perplexity divides by all steps",
            ),
            Mistake(
                {"np.array(losses)": "np.array(losses) / config.num_steps"},
                "the losses were divided by T: a window's loss is the sum over its steps",
            ),
            Mistake(
                {CARRIED: CARRIED.replace("state = ", "_ = ")},
                "every window starts from the zero state: keep the state that loss_and_gradients returns and hand it "
                "to the next window",
            ),
            Mistake(
                {
                    CARRIED: "before = state\n        " + CARRIED,
                    "losses.append(loss)": (
                        "losses.append(loss_and_gradients(params, config, inputs, targets, before)[0])"
                    ),
                },
                "the loss was taken after the step on its window: asked is the one before it",
            ),
            Mistake(
                {"losses.append(loss)": "losses.append(loss_and_gradients(params, config, inputs, targets, state)[0])"},
                "the loss was taken again after the step, and from the state after the window: asked is the one before",
            ),
            Mistake(
                {CLIP: "pass"},
                "the gradients are not clipped, or only after the update: clip_by_global_norm comes between backward "
                "and update",
            ),
            Mistake(
                {"sgd(params, grads, learning_rate)": "pass"},
                "the weights never change: apply the gradients with sgd after each window",
            ),
            Mistake(
                {"sgd(params, grads, learning_rate)": "sgd(params, grads, -learning_rate)"},
                "the losses rise: the update has the wrong sign",
            ),
            Mistake(
                {"sgd(params, grads, learning_rate)": "sgd(params, grads, config.learning_rate)"},
                "updates with config.learning_rate, the initial one: use the rate of this epoch, learning_rate",
            ),
            Mistake(
                {CARRIED: CARRIED.replace("inputs, targets,", "inputs, inputs,")},
                "the model is asked to predict the word it has just read: pass the targets",
            ),
            Mistake(
                {CARRIED: CARRIED.replace("inputs, targets,", "targets, inputs,")},
                "inputs and targets are in each other's place, so the model reads backwards",
            ),
            Mistake(
                {
                    "for k in range(num_windows(len(data), config.num_steps)):": "for k in "
                    "reversed(range(num_windows(len(data), config.num_steps))):"
                },
                "the windows come in the wrong order: the state fits only the window that follows",
            ),
            Mistake(
                {
                    "for k in range(num_windows(len(data), config.num_steps)):": "for k in "
                    "np.random.default_rng(0).permutation(num_windows(len(data), config.num_steps)):"
                },
                "the windows were shuffled: the state fits only the window that follows",
            ),
            Mistake(
                {
                    "get_batch(data, k, config.num_steps)": "(data[k : k + config.num_steps], "
                    "data[k + 1 : k + 1 + config.num_steps])"
                },
                "the windows overlap: window k begins at step k T, as get_batch(data, k, num_steps) cuts it",
            ),
            Mistake(
                {STEPS: "steps = len(losses)"},
                "the loss of a window is summed over its T steps: divide by K T steps, not by K windows",
            ),
            Mistake(
                {STEPS: STEPS + " * data.shape[1]"},
                "divided by B too many: a window's loss is already the mean over the batch",
            ),
            Mistake({STEPS: "steps = 1"}, "exp of the sum of all losses: divide by the K T steps first"),
            Mistake(
                {STEPS: "steps = len(data) - 1"},
                "divided by all steps of the streams: those that fill no whole window were not trained on",
            ),
            Mistake(
                {"perplexity(sum(losses), steps)": "sum(losses) / steps"},
                "this is the mean loss of a step: exp of it is missing, as perplexity(loss, steps) takes it",
            ),
            Mistake(
                {"perplexity(sum(losses), steps)": "np.exp(np.array(losses) / config.num_steps).mean()"},
                "the windows' perplexities were averaged: average the losses, then take exp",
            ),
            Mistake(
                {"perplexity(sum(losses), steps)": "perplexity(losses[-1], config.num_steps)"},
                "this is the last window's perplexity: the epoch's is over all windows",
            ),
        ),
    ),
    Exercise(
        solutions.walk_and_mean,
        {"K": (7, 12), "H": (2, 5)},
        draw_walk,
        package_walk,
        {"w": "(H,)", "mean": "(H,)"},
        mistakes=(
            Mistake(
                {"w - learning_rate * gradient": "w + learning_rate * gradient"},
                "each step goes away from its window's place: the gradient is w - pulls[k], and it is subtracted",
            ),
            Mistake(
                {"gradient = w - pulls[k]": "gradient = 2 * (w - pulls[k])"},
                "the gradient is twice as long: that of |w - a|^2 / 2 is w - a",
            ),
            Mistake(
                {"learning_rate * gradient": "gradient"},
                "the learning rate is missing: w ends at the last window's place",
            ),
            Mistake(
                {"w - learning_rate * gradient": "(1 - learning_rate) * gradient"},
                "w is counted from the window's place: add pulls[k] again, or subtract the step from w",
            ),
            Mistake(
                {
                    "K = len(pulls)": "K, first = len(pulls), w",
                    "gradient = w - pulls[k]": "gradient = first - pulls[k]",
                },
                "every gradient is taken at the first weights: take it where w is now",
            ),
            Mistake(
                {"gradient = w - pulls[k]": "gradient = w - pulls.mean(axis=0)"},
                "each step follows the mean of all windows: step k sees window k alone",
            ),
            Mistake(
                {ADD: ADD + "; w = mean * (K - start) / (k - start + 1)"},
                "the training walks on from the mean: the mean must leave w alone",
            ),
            Mistake({"w / (K - start)": "w"}, "the weights were added up: divide by their number, K - start"),
            Mistake({"w / (K - start)": "w / K"}, "divided by K, but only K - start sets of weights are in the sum"),
            Mistake(
                {"if k >= start:": "if True:", "w / (K - start)": "w / K"},
                "the mean is that of the whole walk: it begins after step number start",
            ),
            Mistake(
                {"if k >= start:": "if k > start:", "w / (K - start)": "w / (K - start - 1)"},
                "the mean begins one step late: the weights after step number start, counted from 0, belong to it",
            ),
            Mistake(
                {"if k >= start:": "if k > start:"},
                "the weights after step number start are missing in the sum, though they are counted",
            ),
            Mistake(
                {"if k >= start:": "if k >= start - 1:", "w / (K - start)": "w / (K - start + 1)"},
                "the mean begins one step early: after step number start, counted from 0",
            ),
            Mistake(
                {ADD: "mean = mean + (w + learning_rate * gradient) / (K - start)"},
                "the mean takes the weights before each step: it is that of the weights after them",
            ),
            Mistake(
                {"return w, mean": "return w, pulls[start:].mean(axis=0)"},
                "this is the mean of the windows' places: asked is that of the weights",
            ),
            Mistake(
                {ADD: "mean = w if k == start else (mean + w) / 2"},
                "the mean is halved at every step and forgets the early weights: each of them counts 1 / (K - start)",
            ),
            Mistake(
                {"return w, mean": "return w, w"},
                "the mean is the last weights themselves: keep a sum beside w",
            ),
        ),
    ),
)
