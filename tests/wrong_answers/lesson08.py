"""Wrong answers to the exercises of lesson 8: (exercise, function, words the judge must say)."""

import math

import numpy as np

from minilstm.model import loss_and_gradients, zero_state
from minilstm.optim import clip_by_global_norm, sgd
from minilstm.text.batches import get_batch, num_windows


def decays_one_epoch_late(learning_rate, lr_decay, max_epoch, num_epochs):
    rates = []
    for epoch in range(num_epochs):
        rates.append(learning_rate if epoch <= max_epoch else rates[-1] * lr_decay)
    return rates


def never_at_rest(learning_rate, lr_decay, max_epoch, num_epochs):
    return [learning_rate * lr_decay**epoch for epoch in range(num_epochs)]


def grows_first(learning_rate, lr_decay, max_epoch, num_epochs):
    return [learning_rate * math.pow(lr_decay, epoch + 1 - max_epoch) for epoch in range(num_epochs)]


def one_step_down(learning_rate, lr_decay, max_epoch, num_epochs):
    return [learning_rate if epoch < max_epoch else learning_rate * lr_decay for epoch in range(num_epochs)]


def takes_the_decay_away(learning_rate, lr_decay, max_epoch, num_epochs):
    rates = [learning_rate] * num_epochs
    for epoch in range(max_epoch, num_epochs):
        rates[epoch] = rates[epoch - 1] * (1 - lr_decay)
    return rates


def always_the_same(learning_rate, lr_decay, max_epoch, num_epochs):
    return np.full(num_epochs, learning_rate)


def last_rate_only(learning_rate, lr_decay, max_epoch, num_epochs):
    return learning_rate * lr_decay ** max(num_epochs - max_epoch, 0)


def length_of(grads):
    return math.sqrt(sum(float(np.vdot(g, g)) for g in grads.values()))


def uphill(params, grads, rate, limit):
    n = length_of(grads)
    k = rate * min(1, limit / n)
    return params["weight"] + k * grads["weight"], params["bias"] + k * grads["bias"], n


def each_by_its_own(params, grads, rate, limit):
    new = []
    for name in ("weight", "bias"):
        n = np.linalg.norm(grads[name])
        g = grads[name] * (limit / n) if n > limit else grads[name]
        new.append(params[name] - rate * g)
    return *new, length_of(grads)


def by_value(params, grads, rate, limit):
    new = [params[name] - rate * np.minimum(np.maximum(grads[name], -limit), limit) for name in ("weight", "bias")]
    return *new, length_of(grads)


def always_scaled(params, grads, rate, limit):
    n = length_of(grads)
    return params["weight"] - rate * limit * grads["weight"] / n, params["bias"] - rate * limit * grads["bias"] / n, n


def clips_the_step(params, grads, rate, limit):
    step = {name: rate * grad for name, grad in grads.items()}
    n = length_of(step)
    k = limit / n if n > limit else 1
    return params["weight"] - k * step["weight"], params["bias"] - k * step["bias"], length_of(grads)


def in_place(params, grads, rate, limit):
    n = length_of(grads)
    for name in params:
        params[name] -= rate * min(1, limit / n) * grads[name]
    return params["weight"], params["bias"], n


def norm_after(params, grads, rate, limit):
    n = length_of(grads)
    k = min(1, limit / n)
    return params["weight"] - rate * k * grads["weight"], params["bias"] - rate * k * grads["bias"], k * n


def forgets_the_norm(params, grads, rate, limit):
    k = rate * min(1, limit / length_of(grads))
    return params["weight"] - k * grads["weight"], params["bias"] - k * grads["bias"]


def loop(params, config, data, rate, *, carry=True, limit=None, update=True, order=list, average=None, swap=False):
    weights = {name: np.array(value) for name, value in params.items()}
    T, state, seen = config.num_steps, zero_state(config, data.shape[1]), []
    for k in order(range(num_windows(len(data), T))):
        x, y = get_batch(data, k, T)
        loss, grads, after = loss_and_gradients(weights, config, *((y, x) if swap else (x, y)), state)
        if carry:
            state = after
        clip_by_global_norm(grads, limit or config.max_grad_norm)
        if update:
            sgd(weights, grads, rate)
        seen.append(float(loss))
    return seen, average(seen, T) if average else math.exp(sum(seen) / len(seen) / T)


def forgets_the_state(params, config, data, learning_rate):
    return loop(params, config, data, learning_rate, carry=False)


def forgets_to_clip(params, config, data, learning_rate):
    return loop(params, config, data, learning_rate, limit=1e9)


def forgets_to_learn(params, config, data, learning_rate):
    return loop(params, config, data, learning_rate, update=False)


def climbs(params, config, data, learning_rate):
    return loop(params, config, data, -learning_rate)


def reads_backwards(params, config, data, learning_rate):
    return loop(params, config, data, learning_rate, swap=True)


def last_window_first(params, config, data, learning_rate):
    return loop(params, config, data, learning_rate, order=lambda windows: list(windows)[::-1])


def one_window_short(params, config, data, learning_rate):
    return loop(params, config, data, learning_rate, order=lambda windows: windows[:-1])


def by_windows_not_steps(params, config, data, learning_rate):
    return loop(params, config, data, learning_rate, average=lambda losses, T: math.exp(sum(losses) / len(losses)))


def mean_of_perplexities(params, config, data, learning_rate):
    return loop(
        params, config, data, learning_rate, average=lambda seen, T: sum(math.exp(c / T) for c in seen) / len(seen)
    )


def wears_the_weights_out(params, config, data, learning_rate):
    state, losses = zero_state(config, data.shape[1]), []
    for k in range(num_windows(len(data), config.num_steps)):
        loss, grads, state = loss_and_gradients(params, config, *get_batch(data, k, config.num_steps), state)
        sgd(params, clip_by_global_norm(grads, config.max_grad_norm)[0], learning_rate)
        losses.append(loss)
    return losses, math.exp(sum(losses) / len(losses) / config.num_steps)


def subtracts_the_decay(learning_rate, lr_decay, max_epoch, num_epochs):
    return [learning_rate - lr_decay * max(0, epoch + 1 - max_epoch) for epoch in range(num_epochs)]


def in_stairs(learning_rate, lr_decay, max_epoch, num_epochs):
    return [learning_rate * lr_decay ** (epoch // max_epoch) for epoch in range(num_epochs)]


WRONG = [
    ("learning_rate_schedule", decays_one_epoch_late, "one epoch too many at the initial rate"),
    ("learning_rate_schedule", never_at_rest, "decays from the first epoch on"),
    ("learning_rate_schedule", grows_first, "begins above its initial value"),
    ("learning_rate_schedule", one_step_down, "decays once and then stays"),
    ("learning_rate_schedule", takes_the_decay_away, "lr_decay is the factor itself"),
    ("learning_rate_schedule", always_the_same, "the rate never falls"),
    ("learning_rate_schedule", last_rate_only, "wrong shape"),
    ("clipped_sgd_step", uphill, "the step goes uphill"),
    ("clipped_sgd_step", each_by_its_own, "clipped by its own norm"),
    ("clipped_sgd_step", by_value, "each element was clipped"),
    ("clipped_sgd_step", always_scaled, "small gradients were scaled up"),
    ("clipped_sgd_step", clips_the_step, "clip the gradient first"),
    ("clipped_sgd_step", in_place, "changes its argument params in place"),
    ("clipped_sgd_step", norm_after, "the norm after clipping"),
    ("clipped_sgd_step", forgets_the_norm, "returned 2 results, expected 3"),
    ("train_one_epoch", forgets_the_state, "every window starts from the zero state"),
    ("train_one_epoch", forgets_to_clip, "the gradients are not clipped"),
    ("train_one_epoch", forgets_to_learn, "the weights never change"),
    ("train_one_epoch", climbs, "the update has the wrong sign"),
    ("train_one_epoch", reads_backwards, "in each other's place"),
    ("train_one_epoch", last_window_first, "wrong order"),
    ("train_one_epoch", one_window_short, "wrong shape"),
    ("train_one_epoch", by_windows_not_steps, "not by K windows"),
    ("train_one_epoch", mean_of_perplexities, "the windows' perplexities were averaged"),
    ("train_one_epoch", wears_the_weights_out, "changes its argument params in place"),
    ("learning_rate_schedule", subtracts_the_decay, "it is a factor"),
    ("learning_rate_schedule", in_stairs, "once in every max_epoch epochs"),
]
