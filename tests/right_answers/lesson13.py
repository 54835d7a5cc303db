"""Right answers to the exercises of lesson 13, written otherwise than the solution: (exercise, function)."""

from collections import defaultdict

import numpy as np


def word_by_word(dense, ids, rows, streams):
    B, total, words = sum(streams), 0.0, defaultdict(float)
    for gradient, own_ids, own_rows, b in zip(dense, ids, rows, streams, strict=True):
        total = total + gradient * b
        for word, row in zip(own_ids, own_rows, strict=True):
            words[word] = words[word] + row * b / B
    used = sorted(words)
    return total / B, used, [words[word] for word in used]


def through_a_whole_matrix(dense, ids, rows, streams):
    V, D = max(own.max() for own in ids) + 1, rows[0].shape[1]
    whole, seen = np.zeros((V, D)), np.zeros(V, dtype=bool)
    for own_ids, own_rows, b in zip(ids, rows, streams, strict=True):
        np.add.at(whole, own_ids, own_rows * b)
        seen[own_ids] = True
    return np.average(dense, axis=0, weights=streams), np.flatnonzero(seen), whole[seen] / streams.sum()


def all_rows_side_by_side(dense, ids, rows, streams):
    part = np.array(streams) / np.sum(streams)
    used, inverse = np.unique(np.concatenate(ids), return_inverse=True)
    scaled = np.concatenate([p * r for p, r in zip(part, rows, strict=True)])
    one_hot = inverse == np.arange(len(used))[:, None]
    return {"used": used, "mean": np.einsum("r,rnm->nm", part, np.array(dense)), "mean_rows": one_hot @ scaled}


def average_in_float32(dense, ids, rows, streams):
    dense, rows = [np.float32(g) for g in dense], [np.float32(r) for r in rows]
    mean, used, values = through_a_whole_matrix(dense, ids, rows, streams)
    return np.float32(mean), used, np.float32(values)


def by_lists_of_chunks(arrays):
    R = len(arrays)
    edges = [k * len(arrays[0]) // R for k in range(R + 1)]
    held = [[np.array(a[edges[k] : edges[k + 1]]) for k in range(R)] for a in arrays]
    sent = [0] * R

    def round_of(first, take):
        moving = [(r, (r + first) % R) for r in range(R)]
        parcels = [held[r][k].copy() for r, k in moving]
        for (r, k), parcel in zip(moving, parcels, strict=True):
            sent[r] += len(parcel)
            neighbour = held[(r + 1) % R]
            neighbour[k] = take(neighbour[k], parcel)

    for s in range(R - 1):
        round_of(-s, lambda own, parcel: own + parcel)
    halfway = [np.concatenate(chunks) for chunks in held]
    for s in range(R - 1):
        round_of(1 - s, lambda own, parcel: parcel)
    return halfway, [np.concatenate(chunks) for chunks in held], sent


def from_the_end_result(arrays):
    stacked = np.stack(arrays)
    R, n = stacked.shape
    edges = np.array([k * n // R for k in range(R + 1)])
    halfway = np.empty((R, n))
    for r in range(R):
        for k in range(R):
            ranks = [(k + j) % R for j in range((r - k) % R + 1)]
            halfway[r, edges[k] : edges[k + 1]] = stacked[ranks, edges[k] : edges[k + 1]].sum(axis=0)
    sizes = np.diff(edges)
    sent = [2 * n - sizes[(r + 1) % R] - sizes[(r + 2) % R] for r in range(R)]
    return halfway, np.broadcast_to(stacked.sum(axis=0), (R, n)), np.array(sent)


def receiving(arrays):
    R, n = len(arrays), len(arrays[0])
    held, sent = [a.copy() for a in arrays], np.zeros(R, dtype=int)

    def chunk(k):
        return slice((k % R) * n // R, (k % R + 1) * n // R)

    for s in range(2 * R - 2):
        old = [a.copy() for a in held]
        for r in range(R):
            c = chunk(r - 1 - s)
            held[r][c] = old[r - 1][c] + (old[r][c] if s < R - 1 else 0)
            sent[r - 1] += c.stop - c.start
        if s == R - 2:
            halfway = np.array(held)
    return halfway, np.array(held), sent


def worker_by_worker(workers, batch_size, machine):
    rows, one = [], machine["seconds"] + machine["seconds_per_stream"] * batch_size
    for R in workers:
        message = machine["latency"] + machine["bytes"] / R / machine["bandwidth"]
        x = (R - 1) * message * 2
        t = machine["seconds"] + machine["seconds_per_stream"] * (batch_size / R) + x
        rows.append((t, one / t, R * one / (one + x)))
    return list(zip(*rows, strict=True))


def in_words_per_second(R, B, m):
    x = 2 * (1 - 1 / R) * m["bytes"] / m["bandwidth"] + 2 * m["latency"] * R - 2 * m["latency"]
    t = m["seconds"] + m["seconds_per_stream"] * B / R + x
    base = B / (m["seconds"] + B * m["seconds_per_stream"])
    return {"weak": B * R / (m["seconds"] + m["seconds_per_stream"] * B + x) / base, "strong": B / t / base,
            "seconds": t}  # fmt: skip


def in_parts(workers, batch_size, machine):
    names = "seconds", "seconds_per_stream", "bytes", "bandwidth", "latency"
    p, q, n, w, a = (machine[name] for name in names)
    rounds = 2 * (np.asarray(workers) - 1)
    exchange = rounds * (a + n / w / workers)
    one = p + q * batch_size
    strong = one - q * batch_size * (1 - 1 / workers) + exchange
    return strong, one / strong, workers / (1 + exchange / one)


RIGHT = [
    ("average_gradients", word_by_word),
    ("average_gradients", through_a_whole_matrix),
    ("average_gradients", all_rows_side_by_side),
    ("average_gradients", average_in_float32),
    ("ring_allreduce", by_lists_of_chunks),
    ("ring_allreduce", from_the_end_result),
    ("ring_allreduce", receiving),
    ("predicted_speedups", worker_by_worker),
    ("predicted_speedups", in_words_per_second),
    ("predicted_speedups", in_parts),
]
