"""Right answers to the exercises of lesson 8, written otherwise than the solution: (exercise, function)."""

import math

import numpy as np

from minilstm.model import loss_and_gradients, zero_state
from minilstm.optim import clip_by_global_norm, sgd
from minilstm.text.batches import get_batch


def in_a_loop(learning_rate, lr_decay, max_epoch, num_epochs):
    rates, rate = [], learning_rate
    for epoch in range(num_epochs):
        if epoch >= max_epoch:
            rate *= lr_decay
        rates.append(rate)
    return rates


def by_cumprod(learning_rate, lr_decay, max_epoch, num_epochs):
    return learning_rate * np.cumprod(np.r_[np.ones(max_epoch), np.full(num_epochs - max_epoch, lr_decay)])


def by_exp(lr, decay, M, E):
    e = np.arange(1, E + 1)
    return {n: lr * math.exp(math.log(decay) * max(0, int(n) - M)) for n in e}.values()


def schedule_in_float32(lr, decay, M, E):
    return np.array([lr * decay ** max(n + 1 - M, 0) for n in range(E)], dtype=np.float32)


def all_kept(w, pulls, learning_rate, start):
    walk = [w]
    for pull in pulls:
        walk.append(walk[-1] + learning_rate * (pull - walk[-1]))
    return walk[-1], np.mean(walk[start + 1 :], axis=0)


def running_mean(w, pulls, rate, start):
    mean, n = 0.0, 0
    for k, pull in enumerate(pulls):
        w = (1 - rate) * w + rate * pull
        if k >= start:
            n += 1
            mean += (w - mean) / n
    return {"mean": mean, "w": w}


def element_by_element(w, pulls, rate, start):
    ends, means = [], []
    for j in range(w.size):
        x, total = float(w[j]), 0.0
        for k, pull in enumerate(pulls[:, j]):
            x -= rate * (x - pull)
            total += x * (k >= start)
        ends.append(x)
        means.append(total / (len(pulls) - start))
    return [ends, means]


def walk_in_float32(w, pulls, rate, start):
    return all_kept(w.astype("float32"), pulls.astype("float32"), np.float32(rate), start)


def with_while(params, config, data, learning_rate):
    params = {name: np.array(value) for name, value in params.items()}
    T, k, losses = config.num_steps, 0, []
    state = zero_state(config, data.shape[1])
    while (k + 1) * T < len(data):
        inputs, targets = data[k * T : (k + 1) * T], data[k * T + 1 : (k + 1) * T + 1]
        loss, grads, state = loss_and_gradients(params, config, inputs, targets, state)
        sgd(params, clip_by_global_norm(grads, config.max_grad_norm)[0], learning_rate)
        losses.append(float(loss))
        k += 1
    return losses, math.exp(sum(losses) / (k * T))


def mean_of_means(params, config, data, learning_rate):
    params = {name: param.copy() for name, param in params.items()}
    K = (len(data) - 1) // config.num_steps
    losses, state = np.zeros(K), zero_state(config, data.shape[1])
    for k in range(K):
        losses[k], grads, state = loss_and_gradients(params, config, *get_batch(data, k, config.num_steps), state)
        grads, _ = clip_by_global_norm(grads, config.max_grad_norm)
        sgd(params, grads, learning_rate)
    return {"perplexity": np.exp(losses.mean() / config.num_steps), "losses": losses}


def rounded_in_the_end(params, config, data, learning_rate):
    losses, perplexity = with_while(params, config, data, learning_rate)
    return np.float32(losses), np.float32(perplexity)


RIGHT = [
    ("learning_rate_schedule", in_a_loop),
    ("learning_rate_schedule", by_cumprod),
    ("learning_rate_schedule", by_exp),
    ("learning_rate_schedule", schedule_in_float32),
    ("walk_and_mean", all_kept),
    ("walk_and_mean", running_mean),
    ("walk_and_mean", element_by_element),
    ("walk_and_mean", walk_in_float32),
    ("train_one_epoch", with_while),
    ("train_one_epoch", mean_of_means),
    ("train_one_epoch", rounded_in_the_end),
]
