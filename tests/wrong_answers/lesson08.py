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


def walk(w, pulls, rate, start, *, step=None, count=None, first=None, each=lambda old, new: new):
    first, seen = start if first is None else first, []
    for k, pull in enumerate(pulls):
        old = w
        w = step(w, pull) if step else w - rate * (w - pull)
        if k >= first:
            seen.append(each(old, w))
    return w, sum(seen) / (count or len(seen))


def walks_away(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start, step=lambda w, pull: w - learning_rate * (pull - w))


def twice_as_steep(w, pulls, learning_rate, start):
    return walk(w, pulls, 2 * learning_rate, start)


def jumps(w, pulls, learning_rate, start):
    return walk(w, pulls, 1, start)


def all_from_the_start(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start, step=lambda now, pull, w=w: now - learning_rate * (w - pull))


def follows_all_windows(w, pulls, learning_rate, start):
    return walk(w, [pulls.mean(0)] * len(pulls), learning_rate, start)


def walks_on_from_the_mean(w, pulls, learning_rate, start):
    total, n = 0, 0
    for k in range(len(pulls)):
        w = w - learning_rate * (w - pulls[k])
        if k >= start:
            total, n = total + w, n + 1
            w = total / n
    return w, total / n


def adds_up(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start, count=1)


def divides_by_all(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start, count=len(pulls))


def mean_of_the_whole_walk(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start, first=0)


def begins_late(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start, first=start + 1)


def begins_early(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start, first=start - 1)


def mean_before_the_steps(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start, each=lambda old, new: old)


def mean_of_the_places(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start)[0], np.mean(pulls[start:], axis=0)


def halves_the_mean(w, pulls, learning_rate, start):
    mean = None
    for k, pull in enumerate(pulls):
        w = w - learning_rate * (w - pull)
        if k >= start:
            mean = w if mean is None else 0.5 * mean + 0.5 * w
    return w, mean


def wears_w_out(w, pulls, learning_rate, start):
    seen = []
    for pull in pulls:
        w -= learning_rate * (w - pull)
        seen.append(w.copy())
    return w.copy(), np.mean(seen[start:], axis=0)


def keeps_one_array(w, pulls, learning_rate, start):
    w, seen = w.copy(), []
    for pull in pulls:
        w -= learning_rate * (w - pull)
        seen.append(w)
    return w, np.mean(seen[start:], axis=0)


def forgets_the_mean(w, pulls, learning_rate, start):
    return walk(w, pulls, learning_rate, start)[0]


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
    ("walk_and_mean", walks_away, "goes away from its window's place"),
    ("walk_and_mean", twice_as_steep, "twice as long"),
    ("walk_and_mean", jumps, "the learning rate is missing"),
    ("walk_and_mean", all_from_the_start, "at the first weights"),
    ("walk_and_mean", follows_all_windows, "follows the mean of all windows"),
    ("walk_and_mean", walks_on_from_the_mean, "walks on from the mean"),
    ("walk_and_mean", adds_up, "divide by their number"),
    ("walk_and_mean", divides_by_all, "divided by K"),
    ("walk_and_mean", mean_of_the_whole_walk, "that of the whole walk"),
    ("walk_and_mean", begins_late, "one step late"),
    ("walk_and_mean", begins_early, "one step early"),
    ("walk_and_mean", mean_before_the_steps, "before each step"),
    ("walk_and_mean", mean_of_the_places, "the mean of the windows' places"),
    ("walk_and_mean", halves_the_mean, "halved at every step"),
    ("walk_and_mean", wears_w_out, "changes its argument w in place"),
    ("walk_and_mean", keeps_one_array, "the last weights themselves"),
    ("walk_and_mean", forgets_the_mean, "returned 1 result, expected 2"),
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
