"""The sides of a comparison, each in a separate process: minilstm, and PyTorch with the same step.

Separate processes keep the libraries' threads apart and make peak memory that of one side. On request a worker does a
number of turns and returns the seconds per step of each.
"""

import multiprocessing
import time
from functools import partial

import numpy as np

from benchmarks.machine import peak_memory_mb
from minilstm.blocks import default_threads, use_threads
from minilstm.commands.backend import select_kernels
from minilstm.compiled import compile_loss
from minilstm.device import keep_freed_memory, select_device, use_precision
from minilstm.model import loss_forward, zero_state
from minilstm.step import init_train_state, train_step
from minilstm.train import compile_step

STEPS_OF_A_TURN = {"cpu": 1, "cuda": 20}  # between two reads of the loss; training reads it every 20 steps
TASKS = "train", "evaluate, batch 20", "evaluate, batch 1"
VOCAB_SIZE = 10_000


def shape_of(config, task):
    """(T, B) of one step of a task; with a single stream the window has the same number of words, as in minilstm."""
    T, B = config.num_steps, config.batch_size
    return (T * B, 1) if task == "evaluate, batch 1" else (T, B)


def random_ids(shape):
    """Inputs and targets, with Zipf's law as in a text: the n-th word has a probability proportional to about 1 / n."""
    rng = np.random.default_rng(0)
    ids = VOCAB_SIZE ** rng.random((2, *shape))
    return ids.astype(np.int64)


def minilstm_step(config, task, device, graph=True, kernels=None, threads=None):
    """A function that does one step and returns its loss, on the device; on a GPU with or without a CUDA graph.

    `kernels` and `threads` default to those of the command line; other kernels can be given without a graph.
    """
    keep_freed_memory()
    use_threads(threads)
    xp, _ = select_device(device)
    kernels = kernels or select_kernels(None, xp)
    use_precision(xp, config.precision)
    state = init_train_state(config, [str(n) for n in range(VOCAB_SIZE)], xp)
    shape = shape_of(config, task)
    inputs, targets = xp.asarray(random_ids(shape))
    carried = zero_state(config, shape[1], inputs)
    compiled = compile_step(state, kernels) if graph and task == "train" else None
    loss_of = (
        compile_loss(state.params, config, kernels)
        if graph
        else partial(loss_forward, state.params, config, kernels=kernels)
    )

    def step():
        nonlocal carried
        if compiled:
            loss, _ = compiled(inputs, targets, config.learning_rate)
        elif task == "train":
            loss, _ = train_step(state, inputs, targets, config.learning_rate, kernels)
        else:
            loss, carried = loss_of(inputs, targets, carried)
        return loss

    return step


def minilstm_with_one_branch(*args, **kwargs):
    """`minilstm_step` without the second branch of its graph; the setting is of this process."""
    from minilstm.gpu import graph

    graph.SECOND_BRANCH = False
    return minilstm_step(*args, **kwargs)


def pytorch_step(config, task, device, graph=False, threads=None, defaults=False):
    """The same step with PyTorch's Embedding, LSTM, Linear, cross_entropy, clip_grad_norm_ and SGD.

    By default PyTorch lets cuDNN, and so the LSTM, use TF32, but not its own products; here `config.precision` decides
    on both, unless `defaults` is true.
    """
    import torch

    torch.set_num_threads(threads or default_threads())
    if not defaults:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.precision == "tf32"
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
    state = tuple(torch.zeros(L, B, H, device=device, dtype=dtype) for _ in range(2))

    def forward():
        hidden, new_state = lstm(dropout(embedding(inputs)), state)
        for old, new in zip(state, new_state, strict=True):
            old.data.copy_(new.detach())
        logits = linear(dropout(hidden)).reshape(T * B, V)
        return torch.nn.functional.cross_entropy(logits, targets.reshape(T * B), reduction="sum") / B

    def step():
        if task != "train":
            with torch.no_grad():
                return forward()
        loss = forward()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(params, config.max_grad_norm)
        optimizer.step()
        return loss.detach()

    return pytorch_graph(step) if graph else step


def pytorch_graph(step):
    """A step as one CUDA graph: warmed up on a side stream, captured once."""
    import torch

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        graph.replay()
        return loss

    return replay


SIDES = {
    "minilstm": minilstm_step,
    "minilstm, no graph": partial(minilstm_step, graph=False),
    "minilstm, one branch": minilstm_with_one_branch,
    "pytorch": pytorch_step,
    "pytorch, graph": partial(pytorch_step, graph=True),
    "pytorch, as it comes": partial(pytorch_step, defaults=True),
}


def sides(task, device):
    """The sides to compare: for training on a GPU all of them."""
    return list(SIDES) if device == "cuda" and task == "train" else ["minilstm", "pytorch"]


def serve(connection, side, config, task, device, threads=None, vocab_size=VOCAB_SIZE):
    """The worker process: receives a number of turns, sends seconds per step of each; at the end peak memory in MB."""
    global VOCAB_SIZE
    VOCAB_SIZE = vocab_size
    step, steps = SIDES[side](config, task, device, threads=threads), STEPS_OF_A_TURN[device]
    while count := connection.recv():
        seconds = []
        for _ in range(count):
            start = time.perf_counter()
            for _ in range(steps):
                loss = step()
            float(loss)  # waits for the device
            seconds.append((time.perf_counter() - start) / steps)
        connection.send(seconds)
    connection.send(peak_memory_mb())


def alone(function, *arguments):
    """Call a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


class Worker:
    """A side's process and the connection to it; the arguments are those of `serve` after the first."""

    def __init__(self, *arguments):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()

    def run(self, count):
        """Seconds per step in each of `count` turns."""
        self.connection.send(count)
        return self.connection.recv()

    def close(self):
        """End the process; returns its peak memory in MB."""
        self.connection.send(0)
        peak = self.connection.recv()
        self.process.join()
        return peak
