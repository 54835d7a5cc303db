"""Solutions of lesson 13."""

import numpy as np


def average_gradients(dense, ids, rows, streams):
    """Gradients of R processes -> those of the whole batch: dense (N, M), the words used (K,), their rows (K, D)."""
    shares = streams / streams.sum()
    mean = sum(share * gradient for share, gradient in zip(shares, dense, strict=True))
    used = np.unique(np.concatenate(ids))
    mean_rows = np.zeros((len(used), rows[0].shape[1]))
    for share, own_ids, own_rows in zip(shares, ids, rows, strict=True):
        places = np.searchsorted(used, own_ids)
        mean_rows[places] += share * own_rows
    return mean, used, mean_rows


def ring_allreduce(arrays):
    """R arrays (n,) on a ring -> what each process holds halfway and at the end (R, n), the numbers each sent (R,)."""
    R, n = len(arrays), len(arrays[0])
    held = np.array(arrays)
    sent = np.zeros(R)
    bounds = np.arange(R + 1) * n // R
    chunks = [slice(bounds[k], bounds[k + 1]) for k in range(R)]
    for s in range(R - 1):
        for r in range(R):
            chunk = chunks[(r - s) % R]
            held[(r + 1) % R, chunk] += held[r, chunk]
            sent[r] += chunk.stop - chunk.start
    halfway = held.copy()
    for s in range(R - 1):
        for r in range(R):
            chunk = chunks[(r + 1 - s) % R]
            held[(r + 1) % R, chunk] = held[r, chunk]
            sent[r] += chunk.stop - chunk.start
    return halfway, held, sent


def predicted_speedups(workers, batch_size, machine):
    """Of R workers (K,): seconds of a step that share one batch (K,), and speedups with one batch for all, and each."""
    p, q, latency = machine["seconds"], machine["seconds_per_stream"], machine["latency"]
    messages = 2 * (workers - 1)
    moved = 2 * (workers - 1) / workers * machine["bytes"]
    exchange = messages * latency + moved / machine["bandwidth"]
    alone = p + q * batch_size
    strong = p + q * batch_size / workers + exchange
    weak = alone + exchange
    return strong, alone / strong, workers * alone / weak
