"""Lesson 13, many machines: bytes and seconds of a step, training to a target, and the exercises.

The two processes are in two_processes.py.
"""

import json
from dataclasses import replace
from itertools import pairwise
from statistics import median

import numpy as np

from minilstm import plain
from minilstm.config import PRESETS
from minilstm.model import loss_forward, param_shapes, zero_state
from minilstm.step import train_step
from minilstm.text.batches import batchify, get_batch
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.measured import measured
from minilstm_lessons.solutions import lesson13 as solutions
from minilstm_lessons.two_processes import Job, init_state


def flat(params):
    """All weights in one row of float64."""
    return np.concatenate([param.ravel() for param in params.values()]).astype(float)


def distance(weights, others):
    """Of each step, how far two rows of weights are apart, relative to their length: from two arrays (K, n)."""
    return np.linalg.norm(weights - others, axis=1) / np.linalg.norm(others, axis=1)


def count_dense(config, vocab_size):
    """The gradient's numbers without the embedding's."""
    shapes = param_shapes(config, vocab_size)
    return sum(int(np.prod(shape)) for name, shape in shapes.items() if name != "encoder.weight")


def scaling(preset):
    """What the project has measured of a preset on two processes (benchmarks/scaling.py), in seconds and bytes.

    Returns a dict with "rows", "received", and for "this machine" and "1000 Mb/s" a dict: the seconds of "one",
    "apart", "strong" and "weak", and the numbers p, q, a, c, latency and bandwidth of the model.
    """
    result = json.loads(measured("scaling-cpu.json").read_text(encoding="utf-8"))
    raw = result["raw"][preset]
    places = {}
    for place, numbers in raw.items():
        seconds = {kind: median(numbers["seconds"][kind]) for kind in ("one", "apart", "strong", "weak")}
        places[place] = seconds | result["model"][preset][place]
    first = raw["this machine"]
    return {"rows": first["rows"], "received": first["bytes"]["strong"], **places}


def predicted_many(preset, kind):
    """The project's fuller model of many workers with a batch each: number of workers -> times the words of one."""
    result = json.loads(measured("scaling-cpu.json").read_text(encoding="utf-8"))
    return {int(R): row["speedup"] for R, row in result["predicted"][preset][kind]["workers"].items()}


def machine_of(preset, latency, bandwidth):
    """A machine of exercise 3: one core as it was measured, joined to others by a network."""
    model = scaling(preset)["this machine"]
    nbytes = 4 * count_dense(PRESETS[preset], 10_000)
    return {"seconds": model["p"], "seconds_per_stream": model["q"], "bytes": nbytes, "latency": latency,
            "bandwidth": bandwidth}  # fmt: skip


def steps_to(target, config, corpus, learning_rate, limit, every=10):
    """After how many steps the perplexity of the first half of the validation text is at most a target.

    Looked at after every tenth step; `limit` if it is not reached before.
    """
    data = batchify(corpus.splits["train"], config.batch_size)
    valid = batchify(corpus.splits["valid"], 200)[:, :100]
    windows = (len(data) - 1) // config.num_steps
    state = init_state(Job(config, len(corpus.vocabulary), np.empty(0), learning_rate))
    for n in range(limit):
        if n % windows == 0:
            state.carried[:] = zero_state(config, config.batch_size, like=state.params["decoder.bias"])
        train_step(state, *get_batch(data, n % windows, config.num_steps), learning_rate)
        if (n + 1) % every == 0:
            start = zero_state(replace(config, batch_size=100), 100, like=state.params["decoder.bias"])
            loss, _ = loss_forward(state.params, config, valid[:-1], valid[1:], start)
            if np.exp(loss / (len(valid) - 1)) <= target:
                return n + 1
    return limit


def draw_shares(rng, R, N, M, D):
    """Gradients of processes with unequal numbers of streams, some of whose words are the same and some are not."""
    V, counts = D + 8, rng.permutation(np.arange(R) + 3)  # words read by each
    ids = [np.append(1, rng.permutation(np.arange(2, V - 1))[: count - 1]) for count in counts]  # word 1 by all
    ids[-1] = np.append(ids[-1], V - 1)  # the last word by one alone
    return {
        "dense": [rng.standard_normal((N, M)) for _ in range(R)],
        "ids": [np.sort(own) for own in ids],
        "rows": [rng.standard_normal((len(own), D)) for own in ids],
        "streams": rng.permutation(np.arange(1, R + 1) * 3 + rng.integers(0, 3, R)),
    }


def package_average(dense, ids, rows, streams):
    """The rows are added by the package's embedding_backward, as on each rank of an MPI job."""
    shares = streams / sum(streams)
    scaled = [share * own for share, own in zip(shares, rows, strict=True)]
    added = plain.embedding_backward(np.concatenate(scaled), np.concatenate(ids))["weight"]
    return np.tensordot(shares, np.stack(dense), axes=1), added.ids, added.values


def draw_ring(rng, R, n):
    """Arrays whose length R does not divide."""
    return {"arrays": [rng.standard_normal(n + (n % R == 0)) for _ in range(R)]}


def passed_on(arrays):
    """The ring by following each chunk on its way: an own computation, for the package leaves the way to MPI."""
    R, n = len(arrays), len(arrays[0])
    bounds = [k * n // R for k in range(R + 1)]
    halfway, sent = np.array(arrays), np.zeros(R)
    for k, (first, last) in enumerate(pairwise(bounds)):
        total = halfway[k, first:last].copy()
        for step in range(1, R):  # from rank k on, once around
            r = (k + step) % R
            total = total + arrays[r][first:last]
            halfway[r, first:last] = total
        for r in range(R):
            sent[r] += (last - first) * ((r != (k - 1) % R) + (r != (k - 2) % R))
    return halfway, np.tile(np.sum(arrays, axis=0), (R, 1)), sent


def draw_machine(rng, K, B):
    """One worker and growing numbers of them, and a machine on which each part of a step counts."""
    return {
        "workers": np.cumsum(np.append(1, rng.integers(1, 6, K - 1))),
        "batch_size": B,
        "machine": {
            "seconds": float(rng.uniform(0.01, 0.03)),
            "seconds_per_stream": float(rng.uniform(0.001, 0.004)),
            "bytes": float(rng.uniform(1e7, 5e7)),
            "bandwidth": float(rng.uniform(1e9, 3e9)),
            "latency": float(rng.uniform(1e-4, 3e-4)),
        },
    }


def simulated_speedups(workers, batch_size, machine):
    """A message at a time around the ring."""
    strong, weak, fair = [], [], []
    p, q = machine["seconds"], machine["seconds_per_stream"]
    alone = p + q * batch_size
    for R in workers:
        exchange = 0.0
        for _ in range(2 * (int(R) - 1)):
            exchange += machine["latency"] + machine["bytes"] / R / machine["bandwidth"]
        strong.append(p + q * batch_size / R + exchange)
        fair.append(alone / strong[-1])
        weak.append(R * batch_size / (alone + exchange) / (batch_size / alone))
    return np.array(strong), np.array(fair), np.array(weak)


EXCHANGE = 'exchange = messages * latency + moved / machine["bandwidth"]'

EXERCISES = (
    Exercise(
        solutions.average_gradients,
        {"R": (2, 4), "N": (5, 7), "M": (8, 10), "D": (3, 6)},
        draw_shares,
        package_average,
        {"mean": "(N, M)", "used": "(K,)", "mean_rows": "(K, D)"},
        mistakes=(
            Mistake(
                {"streams / streams.sum()": "np.ones(len(streams)) / len(streams)"},
                "every process counts the same: one with more streams has a larger part in the mean over the batch",
            ),
            Mistake(
                {"streams / streams.sum()": "np.ones(len(streams))"},
                "the gradients are added up, not averaged: weigh each by its process's part of the streams",
            ),
            Mistake(
                {"streams / streams.sum()": "1.0 * streams"},
                "weighed by the number of streams: divide by all streams, so that the weights add up to 1",
            ),
            Mistake(
                {"streams / streams.sum()": "streams / streams.max()"},
                "the weights do not add up to 1: divide by all streams, not by the largest number",
            ),
            Mistake(
                {"streams / streams.sum()": "(1 / streams) / (1 / streams).sum()"},
                "the process with the fewest streams counts the most: it is the other way round",
            ),
            Mistake(
                {"mean_rows[places] += share * own_rows": "mean_rows[places] = share * own_rows"},
                "of a word that several processes have read, only the last one's row is left: add them",
            ),
            Mistake(
                {"mean_rows[places] += share * own_rows": "mean_rows[places] += own_rows"},
                "the rows are not weighed: each process's rows count as much as its streams do",
            ),
            Mistake(
                {"mean_rows[places] += share * own_rows": "mean_rows[places] += own_rows / len(rows)"},
                "every process's rows count the same: weigh them by its part of the streams, like the dense gradients",
            ),
            Mistake(
                {
                    "mean_rows[places] += share * own_rows": "mean_rows[places] += share * own_rows / "
                    "sum(s * np.isin(used[places], i) for s, i in zip(streams / streams.sum(), ids, strict=True))"
                    "[:, None]"
                },
                "each row is the mean over those processes alone that have read its word: for the others it is zero, "
                "and those zeros count",
            ),
            Mistake(
                {"mean_rows[places] += share * own_rows": "mean_rows[: len(own_rows)] += share * own_rows"},
                "the rows were added in the order in which they stand, whatever their ids: row k is of word ids[k]",
            ),
            Mistake(
                {"np.unique(np.concatenate(ids))": "np.sort(np.concatenate(ids))"},
                "a word that several processes have read appears several times among those used: once",
            ),
        ),
    ),
    Exercise(
        solutions.ring_allreduce,
        {"R": (3, 5), "n": (11, 23)},
        draw_ring,
        passed_on,
        {"halfway": "(R, n)", "held": "(R, n)", "sent": "(R,)"},
        mistakes=(
            Mistake(
                {"bounds = np.arange(R + 1) * n // R": "bounds = np.arange(R + 1) * (n // R)"},
                "the last n % R numbers are in no chunk: chunk k ends at (k + 1) n // R",
            ),
            Mistake(
                {
                    "bounds = np.arange(R + 1) * n // R": "bounds = np.append(0, np.cumsum("
                    "[len(a) for a in np.array_split(held[0], R)]))"
                },
                "these are the chunks of np.array_split, of which the longer come first: chunk k is from k n // R to "
                "(k + 1) n // R",
            ),
            Mistake(
                {
                    "held[(r + 1) % R, chunk] += held[r, chunk]": "held[(r - 1) % R, chunk] += held[r, chunk]",
                    "held[(r + 1) % R, chunk] = held[r, chunk]": "held[(r - 1) % R, chunk] = held[r, chunk]",
                },
                "the messages go around the other way, from rank r to rank r - 1",
            ),
            Mistake(
                {"held[(r + 1) % R, chunk] += held[r, chunk]": "held[(r + 1) % R, chunk] = held[r, chunk]"},
                "in the first half what arrives overwrites what is there: it has to be added",
            ),
            Mistake(
                {"held[(r + 1) % R, chunk] = held[r, chunk]": "held[(r + 1) % R, chunk] += held[r, chunk]"},
                "in the second half what arrives is added again: it is complete, and takes the place of what is there",
            ),
            Mistake(
                {"(r + 1 - s) % R": "(r - s) % R"},
                "the second half begins with a chunk that is not complete: rank r has completed chunk r + 1",
            ),
            Mistake(
                {"chunks[(r - s) % R]": "chunks[(r + s) % R]"},
                "in the first half the chunks go by in the other order: in round s rank r sends chunk r - s",
            ),
            Mistake(
                {"halfway = held.copy()": "halfway = held"},
                "what is said to be held halfway is what is held at the end: halfway each rank has one complete chunk "
                "(an array that is changed later has to be copied)",
            ),
            Mistake(
                {"return halfway, held, sent": "return halfway / R, held / R, sent"},
                "these are means: what is asked for is the sum",
            ),
            Mistake(
                {"return halfway, held, sent": "return halfway, held / R, sent"},
                "at the end these are means: what is asked for is the sum",
            ),
            Mistake(
                {"return halfway, held, sent": "return halfway, held, np.full(R, 2.0 * (R - 1))"},
                "messages were counted: asked are the numbers in them",
            ),
            Mistake(
                {"return halfway, held, sent": "return halfway, held, np.full(R, 2.0 * (R - 1) / R * n)"},
                "every rank is said to send the same, 2 (R - 1) n / R: where R does not divide n the chunks differ",
            ),
            Mistake(
                {"return halfway, held, sent": "return halfway, held, sent / 2"},
                "only one of the two halves was counted in what is sent",
            ),
            Mistake(
                {"return halfway, held, sent": "return halfway, held, np.full(R, 2.0 * (R - 1) * n)"},
                "this is 2 (R - 1) n, which is what all ranks together send: each sends one chunk in a round",
            ),
        ),
    ),
    Exercise(
        solutions.predicted_speedups,
        {"K": (4, 7), "B": (10, 40)},
        draw_machine,
        simulated_speedups,
        {"seconds": "(K,)", "strong": "(K,)", "weak": "(K,)"},
        mistakes=(
            Mistake(
                {"workers * alone / weak": "alone / weak"},
                "this is the efficiency: with a batch for each, R workers do R times the work in a step",
            ),
            Mistake(
                {"workers * alone / weak": "weak / alone"},
                "the last one is upside down: R workers do R batches in the time of a step",
            ),
            Mistake(
                {"return strong, alone / strong": "return strong, strong / alone"},
                "the speedup is upside down: above 1 means faster than one worker",
            ),
            Mistake(
                {"2 * (workers - 1) / workers": "(workers - 1) / workers"},
                "only one way of the numbers was counted: the chunks go around to be added, and again to be handed out",
            ),
            Mistake(
                {"messages = 2 * (workers - 1)": "messages = workers - 1"},
                "there are R - 1 rounds in each half, so twice as many latencies",
            ),
            Mistake(
                {"messages = 2 * (workers - 1)": "messages = 2 * workers"},
                "R workers need R - 1 rounds in each half; one worker has none to wait for",
            ),
            Mistake(
                {"messages = 2 * (workers - 1)": "messages = 1"},
                "latency was paid once: each of the 2 (R - 1) rounds waits for a message",
            ),
            Mistake(
                {"messages = 2 * (workers - 1)": "messages = 2 * np.log2(workers)"},
                "that is the number of rounds of a recursive exchange: on a ring it is 2 (R - 1)",
            ),
            Mistake(
                {"2 * (workers - 1) / workers": "2 * (workers - 1)"},
                "the whole gradient was sent in every round: a message is a chunk, 1 / R of it",
            ),
            Mistake(
                {"2 * (workers - 1) / workers": "2"},
                "2 bytes / bandwidth is the limit for many workers: one sends nothing, two send half of it each way",
            ),
            Mistake({EXCHANGE: 'exchange = moved / machine["bandwidth"]'}, "the latency is missing"),
            Mistake({EXCHANGE: "exchange = messages * latency"}, "the bytes are missing: moved / bandwidth"),
            Mistake(
                {"p + q * batch_size / workers + exchange": "(p + q * batch_size) / workers + exchange"},
                "the first part, p, was divided among the workers too: it does not depend on the streams, and everyone "
                "pays it whole",
            ),
            Mistake(
                {"p + q * batch_size / workers + exchange": "p + q * batch_size + exchange"},
                "with one batch for all, each worker has batch_size / R streams",
            ),
            Mistake(
                {"weak = alone + exchange": "weak = strong"},
                "with a batch for each, every worker computes as long as one alone does; the time was taken of one "
                "batch for all",
            ),
        ),
    ),
)
