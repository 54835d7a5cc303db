"""Two processes that train one network: this one, rank 0, and one that it starts, rank 1, joined by two pipes.

The step is the package's own, minilstm/parallel.py. It asks MPI for six kinds of exchange; `Pipes` does the same by
writing to one pipe and reading from the other, so that lesson 13 needs no MPI. Where no process can be started (in a
browser) `train_together` computes both shares in this process, one after the other.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import NamedTuple

import numpy as np

from minilstm import plain
from minilstm.config import Config
from minilstm.layers.embedding import SparseGradient
from minilstm.masks import draw_masks
from minilstm.parallel import parallel_step
from minilstm.ranks import Ranks, digest_of
from minilstm.step import compute_gradients, init_train_state, train_step, update

SECONDS_TO_END = 10.0  # for the second process, after its last step


class Job(NamedTuple):
    """What is trained on: the same for all processes.

    Attributes
    ----------
    config : Config
    vocab_size : int
    windows : int array (K, 2, T, B)
        Inputs and targets of K steps.
    learning_rate : float
    """

    config: Config
    vocab_size: int
    windows: np.ndarray
    learning_rate: float


class Result(NamedTuple):
    """Of K steps: losses, norms and seconds, each (K,), and the weights at the end. Of two processes also the bytes
    that came through the pipe in the last step, and a fingerprint of the weights of each process."""

    losses: np.ndarray
    norms: np.ndarray
    seconds: np.ndarray
    params: dict
    received: int = 0
    digests: tuple = ()


def train(job, step, params, watch=None) -> Result:
    """Take all steps of a job, by step(inputs, targets, learning_rate) -> loss, norm; after each watch(params)."""
    rows = []
    for inputs, targets in job.windows:
        start = time.perf_counter()
        loss, norm = step(inputs, targets, job.learning_rate)
        rows.append((float(loss), float(norm), time.perf_counter() - start))
        if watch:
            watch(params)
    return Result(*np.array(rows).T, params)


def init_state(job):
    """The train state of a job before its first step, as every process has it."""
    return init_train_state(job.config, [str(n) for n in range(job.vocab_size)])


def train_alone(job, watch=None) -> Result:
    """The job in one process."""
    state = init_state(job)
    return train(job, lambda *arguments: train_step(state, *arguments), state.params, watch)


def train_as_rank(job, comm, watch=None) -> Result:
    """One rank's part of the job: all weights, and its own half of the streams."""
    ranks = Ranks(comm, shared=0)
    state = ranks.own_part(init_state(job))
    step, mine = parallel_step(state, ranks.with_kernels(plain), early=False), ranks.columns(job.config.batch_size)
    before = [0]

    def step_of_rank(inputs, targets, learning_rate):
        before[0] = comm.received
        return step(inputs[:, mine], targets[:, mine], learning_rate)

    result = train(job, step_of_rank, state.params, watch)
    return result._replace(received=comm.received - before[0], digests=tuple(comm.allgather(digest_of(state))))


def train_together(job, watch=None) -> Result:
    """The job in two processes; `watch` is called in this one."""
    if sys.platform == "emscripten":
        print("no second process can be started here: both shares are computed in this one, in turn")
        return train_in_shares(job, watch=watch)
    with second_process(job) as comm:
        return train_as_rank(job, comm, watch)


@contextmanager
def second_process(job):
    """Start rank 1 on the same job; yields rank 0's end of the pipes. No process is left, however the block ends.

    Raises
    ------
    ChildProcessError
        If the second process ends before the first has done with it.
    """
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)  # it is to find the same modules
    command = [sys.executable, "-c", "from minilstm_lessons.two_processes import main; main()"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                                   env=os.environ | {"PYTHONPATH": path})  # fmt: skip
        try:
            pickle.dump(job, process.stdin)
            process.stdin.flush()
            yield Pipes(0, process.stdout, process.stdin)
            process.wait(SECONDS_TO_END)
        except (EOFError, BrokenPipeError):
            process.wait(SECONDS_TO_END)
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().split("\n")[-1]
            raise ChildProcessError(f"the second process has ended: {last or f'status {process.returncode}'}") from None
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # what was to be written
                    pipe.close()


class Pipes:
    """The communicator of two processes, as far as minilstm/parallel.py uses MPI's.

    Both processes make the same calls in the same order, and each call returns when it is done. Rank 0 writes first
    while rank 1 reads: if both wrote first, a full pipe would keep both waiting for ever.
    """

    size = 2

    def __init__(self, rank, reader, writer) -> None:
        self.rank, self.reader, self.writer = rank, reader, writer
        self.received = 0  # bytes of arrays

    def swap(self, mine, theirs) -> None:
        """Send an array, and fill another with the one that the other process sends."""
        for turn in (0, 1):
            if turn == self.rank:
                self.writer.write(memoryview(np.ascontiguousarray(mine)).cast("B"))
                self.writer.flush()
            elif self.reader.readinto(memoryview(theirs).cast("B")) < theirs.nbytes:
                raise EOFError("the other process has ended")
        self.received += theirs.nbytes

    def Ialltoall(self, rows, received):  # noqa: N802, MPI's name, as are those below
        """Row k goes to rank k."""
        received[self.rank] = rows[self.rank]
        self.swap(rows[1 - self.rank], received[1 - self.rank])
        return Done()

    def Iallgather(self, mine, rows):  # noqa: N802
        """Every rank gets the arrays of both, in the order of the ranks."""
        rows = rows.reshape(self.size, -1)
        rows[self.rank] = mine
        self.swap(mine, rows[1 - self.rank])
        return Done()

    Allgather = Iallgather

    def Iallgatherv(self, mine, rows_and_counts):  # noqa: N802
        """The same for arrays of different lengths."""
        rows, counts = rows_and_counts
        first, second = np.split(rows.reshape(-1), [int(counts[0])])
        parts = first, second
        parts[self.rank][:] = mine.reshape(-1)
        self.swap(mine, parts[1 - self.rank])
        return Done()

    def allgather(self, value):
        """Any value of each rank."""
        values = [value, value]
        for turn in (0, 1):
            if turn == self.rank:
                pickle.dump(value, self.writer)
                self.writer.flush()
            else:
                values[turn] = pickle.load(self.reader)
        return values

    def Dup(self):  # noqa: N802
        """Another communicator of the same two; here nothing overtakes anything, so one is enough."""
        return self

    def Split_type(self, kind):  # noqa: N802
        """The communicator of the ranks on this machine: both."""
        return self


class Done:
    """An exchange that has been done already."""

    def Test(self) -> bool:  # noqa: N802
        return True


def mean_of(shares, weights):
    """The gradients of the whole batch from those of its shares, weights being each share's part of the streams."""
    mean = {}
    for name, first in shares[0].items():
        parts = [grads[name] for grads in shares]
        if isinstance(first, SparseGradient):  # all rows; those of one word are added
            rows = [part.values * weight for part, weight in zip(parts, weights, strict=True)]
            ids = [part.ids for part in parts]
            mean[name] = plain.embedding_backward(np.concatenate(rows), np.concatenate(ids))["weight"]
        else:
            mean[name] = sum(part * weight for part, weight in zip(parts, weights, strict=True))
    return mean


def masks_of_batch(config, step, inputs, share, vocab_size):
    """Dropout masks of a share: its own streams' part of the masks of the whole batch."""
    masks = draw_masks(config, step, inputs, vocab_size)
    return masks and masks._replace(layers=[mask if mask is None else mask[:, share] for mask in masks.layers])


def train_in_shares(job, cut=None, average: Callable = mean_of, masks_of: Callable = masks_of_batch, watch=None):
    """The job of two processes in one, which computes both shares in turn.

    Parameters
    ----------
    cut : int
        The first `cut` streams are one share, the others the other; half of the streams if not given.
    average, masks_of : callable
        As `mean_of` and `masks_of_batch`, or with a mistake.
    """
    state, B = init_state(job), job.config.batch_size
    cut = B // 2 if cut is None else cut
    shares = slice(0, cut), slice(cut, B)
    parts = [state._replace(carried=[(h[share].copy(), c[share].copy()) for h, c in state.carried]) for share in shares]
    weights = cut / B, 1 - cut / B

    def step(inputs, targets, learning_rate):
        n, pairs = state.progress.step, []
        for part, share in zip(parts, shares, strict=True):
            masks = masks_of(job.config, n, inputs, share, job.vocab_size)
            pairs.append(compute_gradients(part, inputs[:, share], targets[:, share], masks, plain))
        losses, grads = zip(*pairs, strict=True)
        norm = update(state, average(grads, weights), learning_rate, n + 1, plain)
        state.progress.step += 1
        return np.dot(losses, weights), norm

    return train(job, step, state.params, watch)


def main():
    """Rank 1, in a process that `second_process` has started."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends this one
    reader, writer = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # so that nothing printed gets into the pipe
    try:
        train_as_rank(pickle.load(reader), Pipes(1, reader, writer))
    except (EOFError, BrokenPipeError):  # the first process is gone
        os._exit(1)
