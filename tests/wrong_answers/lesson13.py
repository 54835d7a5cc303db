"""Wrong answers to the exercises of lesson 13: (exercise, function, words the judge must say)."""

import numpy as np


def averages(part=lambda streams: streams / np.sum(streams), gather=None):
    """A student's average, with one part of it otherwise."""

    def average_gradients(dense, ids, rows, streams):
        parts = part(streams)
        mean = 0
        for p, g in zip(parts, dense, strict=True):
            mean = mean + p * g
        return mean, *(gather or gathered)(parts, ids, rows)

    return average_gradients


def gathered(parts, ids, rows, add=lambda old, new, p: old + p * new):
    words = {}
    for p, own_ids, own_rows in zip(parts, ids, rows, strict=True):
        for i, row in zip(own_ids, own_rows, strict=True):
            words[i] = add(words.get(i, np.zeros(len(row))), row, p)
    used = sorted(words)
    return used, np.array([words[i] for i in used])


def of_the_first_alone(parts, ids, rows):
    _, values = gathered(parts, ids, rows)
    return ids[0], values[: len(ids[0])]


def each_word_as_often_as_read(parts, ids, rows):
    values = np.concatenate([p * r for p, r in zip(parts, rows, strict=True)])
    return np.concatenate(ids), values


every_process_alike = averages(lambda streams: [1 / len(streams)] * len(streams))
added_up = averages(lambda streams: [1.0] * len(streams))
times_streams = averages(lambda streams: [float(b) for b in streams])
overwritten = averages(gather=lambda *a: gathered(*a, add=lambda old, new, p: p * new))
rows_not_weighed = averages(gather=lambda *a: gathered(*a, add=lambda old, new, p: old + new))
the_first_alone = averages(gather=of_the_first_alone)
side_by_side = averages(gather=each_word_as_often_as_read)


def dense_only(dense, ids, rows, streams):
    return np.average(dense, axis=0, weights=streams)


def chunk(k, n, R):
    return k * n // R, (k + 1) * n // R


def ring(rounds=lambda R: R - 1, first=(0, 1), adds=(True, False), chunk_of=chunk, count=lambda size: size, scale=1.0):
    """A student's ring, with one part of it otherwise."""

    def ring_allreduce(arrays):
        R, n = len(arrays), len(arrays[0])
        mine, sent, kept = [np.copy(a) for a in arrays], np.zeros(R), None
        for half in (0, 1):
            for s in range(rounds(R)):
                before = [np.copy(a) for a in mine]
                for r in range(R):
                    a, b = chunk_of((r + first[half] - s) % R, n, R)
                    old = mine[(r + 1) % R][a:b] if adds[half] else 0
                    mine[(r + 1) % R][a:b] = old + before[r][a:b]
                    sent[r] += count(b - a)
            kept = kept or [np.copy(a) for a in mine]
        return np.array(kept), scale_of(mine, scale, R), sent

    return ring_allreduce


def scale_of(arrays, scale, R):
    return np.array(arrays) / (R if scale == "mean" else scale)


rest_forgotten = ring(chunk_of=lambda k, n, R: (k * (n // R), (k + 1) * (n // R)))
never_adds = ring(adds=(False, False))
always_adds = ring(adds=(True, True))
hands_out_the_wrong_chunk = ring(first=(0, 0))
counts_messages = ring(count=lambda size: 1)
mean_at_the_end = ring(scale="mean")
one_round_too_few = ring(rounds=lambda R: R - 2)


def the_other_way(arrays):
    R, n = len(arrays), len(arrays[0])
    held, sent = np.stack(arrays), np.zeros(R)
    edges = [k * n // R for k in range(R + 1)]
    for s in range(2 * R - 2):
        old = held.copy()
        for r in range(R):
            k = (r - s if s < R - 1 else r + 1 - (s - R + 1)) % R
            part = slice(edges[k], edges[k + 1])
            held[r - 1, part] = old[r, part] + (old[r - 1, part] if s < R - 1 else 0)
            sent[r] += edges[k + 1] - edges[k]
        if s == R - 2:
            halfway = held.copy()
    return halfway, held, sent


def longer_ones_first(k, n, R):
    edges = np.cumsum([0] + [len(part) for part in np.array_split(np.arange(n), R)])
    return edges[k], edges[k + 1]


as_array_split = ring(chunk_of=longer_ones_first)


def no_ring_at_all(arrays):
    total = np.sum(arrays, axis=0)
    R, n = len(arrays), len(total)
    return np.tile(total, (R, 1)), np.tile(total, (R, 1)), np.full(R, 2 * (R - 1) * n)


def two_results(arrays):
    return np.tile(np.sum(arrays, axis=0), (len(arrays), 1)), np.zeros(len(arrays))


def speedups(messages=lambda R: 2 * (R - 1), way=lambda R: 2 * (R - 1) / R, strong_of=None, weak_of=None):
    """A student's model, with one part of it otherwise."""

    def predicted_speedups(workers, batch_size, machine):
        R = np.asarray(workers, dtype=float)
        p, q = machine["seconds"], machine["seconds_per_stream"]
        x = machine["latency"] * messages(R) + machine["bytes"] * way(R) / machine["bandwidth"]
        t = (strong_of or (lambda p, q, B, R: p + q * B / R))(p, q, batch_size, R) + x
        one = p + q * batch_size
        return t, one / t, (weak_of or (lambda one, x, R: R * one / (one + x)))(one, x, R)

    return predicted_speedups


efficiency = speedups(weak_of=lambda one, x, R: one / (one + x))
weak_upside_down = speedups(weak_of=lambda one, x, R: (one + x) / one)
one_way = speedups(way=lambda R: (R - 1) / R)
half_the_rounds = speedups(messages=lambda R: R - 1)
one_latency = speedups(messages=lambda R: 1)
recursive = speedups(messages=lambda R: 2 * np.log2(R))
whole_gradient_each_round = speedups(way=lambda R: 2 * (R - 1))
the_limit = speedups(way=lambda R: 2)
without_latency = speedups(messages=lambda R: 0)
all_shared = speedups(strong_of=lambda p, q, B, R: (p + q * B) / R)
nothing_shared = speedups(strong_of=lambda p, q, B, R: p + q * B)


WRONG = [
    ("average_gradients", every_process_alike, "every process counts the same"),
    ("average_gradients", added_up, "added up, not averaged"),
    ("average_gradients", times_streams, "divide by all streams"),
    ("average_gradients", overwritten, "only the last one's row is left"),
    ("average_gradients", rows_not_weighed, "the rows are not weighed"),
    ("average_gradients", the_first_alone, "wrong shape"),
    ("average_gradients", side_by_side, "wrong shape"),
    ("average_gradients", dense_only, "expected 3"),
    ("ring_allreduce", rest_forgotten, "the last n % R numbers are in no chunk"),
    ("ring_allreduce", never_adds, "what arrives overwrites what is there"),
    ("ring_allreduce", always_adds, "what arrives is added again"),
    ("ring_allreduce", hands_out_the_wrong_chunk, "begins with a chunk that is not complete"),
    ("ring_allreduce", counts_messages, "messages were counted"),
    ("ring_allreduce", mean_at_the_end, "at the end these are means"),
    ("ring_allreduce", the_other_way, "the messages go around the other way"),
    ("ring_allreduce", as_array_split, "these are the chunks of np.array_split"),
    ("ring_allreduce", one_round_too_few, "max relative error"),
    ("ring_allreduce", no_ring_at_all, "which is what all ranks together send"),
    ("ring_allreduce", two_results, "expected 3"),
    ("predicted_speedups", efficiency, "this is the efficiency"),
    ("predicted_speedups", weak_upside_down, "upside down"),
    ("predicted_speedups", one_way, "only one way of the numbers"),
    ("predicted_speedups", half_the_rounds, "R - 1 rounds in each half"),
    ("predicted_speedups", one_latency, "latency was paid once"),
    ("predicted_speedups", recursive, "rounds of a recursive exchange"),
    ("predicted_speedups", whole_gradient_each_round, "sent in every round"),
    ("predicted_speedups", the_limit, "the limit for many workers"),
    ("predicted_speedups", without_latency, "the latency is missing"),
    ("predicted_speedups", all_shared, "everyone pays it whole"),
    ("predicted_speedups", nothing_shared, "each worker has batch_size / R streams"),
]
