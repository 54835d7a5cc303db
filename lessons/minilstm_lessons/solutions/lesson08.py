"""Solutions of lesson 8."""

import numpy as np

from minilstm.evaluate import perplexity
from minilstm.model import loss_and_gradients, zero_state
from minilstm.optim import clip_by_global_norm, sgd
from minilstm.text.batches import get_batch, num_windows


def learning_rate_schedule(learning_rate, lr_decay, max_epoch, num_epochs):
    """The learning rate of each epoch, (num_epochs,)."""
    epochs = np.arange(num_epochs)  # counted from 0
    decays = np.maximum(epochs + 1 - max_epoch, 0)  # how often the rate has been decayed
    return learning_rate * lr_decay**decays


def train_one_epoch(params, config, data, learning_rate):
    """Train on each window of the streams (batch_len, B) in turn: the windows' losses (K,), the epoch's perplexity."""
    params = {name: param.copy() for name, param in params.items()}
    state = zero_state(config, data.shape[1])
    losses = []
    for k in range(num_windows(len(data), config.num_steps)):
        inputs, targets = get_batch(data, k, config.num_steps)
        loss, grads, state = loss_and_gradients(params, config, inputs, targets, state)
        grads, _ = clip_by_global_norm(grads, config.max_grad_norm)
        sgd(params, grads, learning_rate)
        losses.append(loss)
    steps = len(losses) * config.num_steps
    return np.array(losses), perplexity(sum(losses), steps)


def walk_and_mean(w, pulls, learning_rate, start):
    """SGD on windows with loss |w - pulls[k]|^2 / 2: the last weights, and their mean from step `start` on."""
    K = len(pulls)
    mean = np.zeros_like(w)
    for k in range(K):
        gradient = w - pulls[k]
        w = w - learning_rate * gradient
        if k >= start:
            mean = mean + w / (K - start)
    return w, mean
