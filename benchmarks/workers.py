"""The two sides of a comparison, each in a process of its own: minilstm, and PyTorch doing the same step.

A process of its own keeps the libraries' threads apart and makes the peak memory that of one side. A worker does a
number of steps when it is told to and answers with the seconds of each.
"""

import multiprocessing
import time
from dataclasses import replace

import numpy as np

from benchmarks.machine import peak_memory_mb
from minilstm.config import PRESETS
from minilstm.device import select_device

TASKS = "train", "evaluate, batch 20", "evaluate, batch 1"
VOCAB_SIZE = 10_000


def shape_of(config, task):
    """(T, B) of one step of a task; a single stream is read in windows of as many words, as minilstm does."""
    T, B = config.num_steps, config.batch_size
    return (T * B, 1) if task == "evaluate, batch 1" else (T, B)


def random_ids(shape):
    """Inputs and targets. Words are as rare as in a text: the n-th has a probability of about 1 / n."""
    rng = np.random.default_rng(0)
    ids = VOCAB_SIZE ** rng.random((2, *shape))
    return ids.astype(np.int64)


def minilstm_step(config, task, device):
    """A function that does one step, and waits until the device has done it."""
    from minilstm.model import cost_forward, zero_state
    from minilstm.train import initial_checkpoint, train_step

    xp, _ = select_device(device)
    checkpoint = initial_checkpoint(config, [str(n) for n in range(VOCAB_SIZE)], xp)
    shape = shape_of(config, task)
    inputs, targets = xp.asarray(random_ids(shape))
    state = zero_state(config, shape[1], xp)

    def step():
        nonlocal state
        if task == "train":
            cost, _ = train_step(checkpoint, inputs, targets, config.learning_rate, xp)
        else:
            cost, state = cost_forward(checkpoint.params, config, inputs, targets, state)
        float(cost)

    return step


def pytorch_step(config, task, device):
    """The same step with PyTorch's Embedding, LSTM, Linear, cross_entropy, clip_grad_norm_ and SGD."""
    import torch

    device = torch.device(device)
    dtype = getattr(torch, config.dtype)
    V, H, L = VOCAB_SIZE, config.hidden_size, config.num_layers
    shape = T, B = shape_of(config, task)
    embedding, lstm, linear = torch.nn.Embedding(V, H), torch.nn.LSTM(H, H, L), torch.nn.Linear(H, V)
    dropout = torch.nn.Dropout(1 - config.keep_prob)
    lstm.dropout = 1 - config.keep_prob
    model = torch.nn.ModuleList([embedding, lstm, linear, dropout]).to(device, dtype)
    model.train(task == "train")
    params = list(model.parameters())
    for param in params:
        torch.nn.init.uniform_(param, -config.init_scale, config.init_scale)
    optimizer = torch.optim.SGD(params, lr=config.learning_rate)
    inputs, targets = torch.from_numpy(random_ids(shape)).to(device)
    state = (torch.zeros(L, B, H, device=device, dtype=dtype),) * 2

    def forward():
        nonlocal state
        hidden, state = lstm(dropout(embedding(inputs)), tuple(part.detach() for part in state))
        logits = linear(dropout(hidden)).reshape(T * B, V)
        return torch.nn.functional.cross_entropy(logits, targets.reshape(T * B), reduction="sum") / B

    def step():
        if task != "train":
            with torch.no_grad():
                return float(forward())
        cost = forward()
        optimizer.zero_grad()
        cost.backward()
        torch.nn.utils.clip_grad_norm_(params, config.max_grad_norm)
        optimizer.step()
        return float(cost.detach())

    return step


SIDES = {"minilstm": minilstm_step, "pytorch": pytorch_step}


def serve(connection, side, preset, task, device, dtype):
    """The worker process: a number of steps in, their seconds out; at the end the peak memory in MB."""
    step = SIDES[side](replace(PRESETS[preset], dtype=dtype), task, device)
    while count := connection.recv():
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
        connection.send(seconds)
    connection.send(peak_memory_mb())


class Worker:
    """A side's process, and the line to it."""

    def __init__(self, *arguments):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def run(self, count):
        """Seconds of each of `count` steps."""
        self.connection.send(count)
        return self.connection.recv()

    def close(self):
        """End the process; returns its peak memory in MB."""
        self.connection.send(0)
        peak = self.connection.recv()
        self.process.join()
        return peak
