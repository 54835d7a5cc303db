"""A training step on 1, 2, 4, 8 and 16 threads: measured as far as there are processors, and predicted.

    python -m benchmarks.threads                     # toy, small, medium, large; two to five minutes

Writes threads-cpu.json and threads-cpu.png. A step on one thread is divided into parts; part k takes the time t_k in
b_k blocks. On n threads the step is predicted to take

    (1)  t(n) = sum_k t_k / min(s_k(n), b_k / ceil(b_k / n)) - min(D, Q s_P(n - 1)) / s_P(n)
    (2)  s_k(n) = n / (1 + a_k (n - 1)),  a_k = 2 / s_k(2) - 1

The speedups s_k(2) are measured apart from the step: of products of the preset's sizes (P: those that are not
recurrent), of PyTorch's LSTM, and for passes of a copy of the logits, which memory bandwidth limits. (2) is Amdahl's
law with a_k of at least 0.03; that it holds beyond two threads, and so that bandwidth grows on as from one to two, is
an assumption. What one thread computes is a part of one block. D is the time of the weight gradients, which other
threads compute beside Q, the work that is left to the calling thread in the backward pass. The time to wake a thread is
left out; it matters for toy, whose products take a fraction of a millisecond. Nor is it known how far memory bandwidth
limits the recurrent products of large, which read 36 MB of weights in every time step.

Parts of minilstm: the functions of blocks.py that divide work, timed on the calling thread; "one thread" is the rest of
the step. Parts of PyTorch: its operations by name, in the CPU time of its profiler. Its blocks and overlaps are not
known: b_k is unlimited and D is 0.
"""

import math
import re
import sys
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from statistics import median

import numpy as np

from benchmarks import workers
from benchmarks.machine import describe, make_parser, write
from benchmarks.profile import timed
from benchmarks.speed import COLOURS
from minilstm import blocks
from minilstm.config import PRESETS
from minilstm.processors import available_processors

COUNTS = 1, 2, 4, 8, 16
SIDES = {"minilstm": "minilstm", "pytorch": "PyTorch"}
VOCAB_SIZES = {"toy": 321}  # that of data/toy; otherwise the 10,000 words of PTB
SECONDS_OF_A_ROUND = 0.5
GROUPS = "products", "passes", "one thread"
OPERATIONS = {"LSTM": "mkldnn_rnn", "products": "mm$", "passes": "softmax|fill_|copy_|add|mul|div|sum|norm"}


def minilstm_parts(config, vocab_size, threads, steps):
    """Seconds of each (part, number of blocks), medians over steps; None is any number of blocks."""
    workers.VOCAB_SIZE = vocab_size
    seconds, seen, rows = defaultdict(float), {}, []
    start_blocks, deferred_products = blocks.start_blocks, blocks.deferred_products

    def start_and_count(function, todo):
        seen["blocks"] = len(todo)
        return start_blocks(function, todo)

    def product(a, b):
        return "recurrent products" if b.shape[1] == config.batch_size else "products", seen.pop("blocks", 1)

    def deferred(a, b):
        several = seen.pop("blocks", 1) > 1 or a.size * b.shape[1] >= blocks.MIN_PRODUCT
        return ("weight gradients", None) if several else ("products", 1)

    def rows_of(function, *arrays):
        return "passes", seen.pop("blocks", 1)

    @contextmanager
    def backward():
        before, start = sum(seconds.values()), time.perf_counter()
        with deferred_products():
            yield
            end = time.perf_counter()
            seconds["backward pass", 1] += end - start - (sum(seconds.values()) - before)
        seconds["weight gradients", None] += time.perf_counter() - end

    changed = {"deferred_products": backward}
    for name, part in (("matmul", product), ("deferred_matmul", deferred), ("by_rows", rows_of)):
        changed[name] = timed(getattr(blocks, name), part, seconds, lambda: None)
    for name, function in changed.items():  # in the modules that import them; within blocks.py calls stay as they are
        for where, module in list(sys.modules.items()):
            if where.startswith("minilstm.") and module is not blocks and hasattr(module, name):
                setattr(module, name, function)
    blocks.start_blocks = start_and_count
    step = workers.minilstm_step(config, "train", "cpu", graph=False, threads=threads)
    for _ in range(steps + 2):
        seconds.clear()
        start = time.perf_counter()
        step()
        whole = time.perf_counter() - start
        rows.append({**seconds, ("one thread", 1): whole - sum(seconds.values())})
    return {key: median(row[key] for row in rows[2:]) for key in rows[-1]}


def pytorch_parts(config, vocab_size, threads, steps):
    """The same for PyTorch, means over steps; `OPERATIONS` has the names of each part's operations."""
    from torch.profiler import ProfilerActivity, profile

    workers.VOCAB_SIZE = vocab_size
    step = workers.pytorch_step(config, "train", "cpu", threads=threads)
    step()
    seconds = Counter()
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        whole = (time.perf_counter() - start) / steps
    for event in trace.events():
        for part, pattern in OPERATIONS.items():
            if re.search(f"^aten::.*({pattern})", event.name):
                seconds[part, None] += 1e-6 * event.self_cpu_time_total / steps
                break
    return {**seconds, ("one thread", 1): whole - sum(seconds.values())}


def work_arrays(config, vocab_size):
    """Arrays of the step: the weights of a layer (4H, H) and of the linear layer (V, H), hidden units, logits."""
    words, H = config.num_steps * config.batch_size, config.hidden_size
    return [np.ones(shape, config.dtype) for shape in ((4 * H, H), (vocab_size, H), (words, H), (words, vocab_size))]


def minilstm_work(config, vocab_size):
    """The function that sets the number of threads, and one for each kind of work: its time shows how far they help."""
    W, V, x, logits = work_arrays(config, vocab_size)
    h, copy = x[: config.batch_size], logits.copy()
    return blocks.use_threads, {
        "products": lambda: (blocks.matmul(x, W.T), blocks.matmul(x, V.T)),
        "recurrent products": lambda: blocks.matmul(W, h.T),
        "passes": lambda: blocks.by_rows(np.copyto, copy, logits),
    }


def pytorch_work(config, vocab_size):
    """The same for PyTorch."""
    import torch

    W, V, x, logits = map(torch.from_numpy, work_arrays(config, vocab_size))
    copy, lstm = logits.clone(), torch.nn.LSTM(config.hidden_size, config.hidden_size)
    windows = x.reshape(config.num_steps, config.batch_size, config.hidden_size)
    return torch.set_num_threads, {
        "products": lambda: (x @ W.T, x @ V.T),
        "LSTM": lambda: lstm(windows),
        "passes": lambda: copy.copy_(logits),
    }


def work_seconds(work_of, config, vocab_size, counts, rounds=5):
    """Seconds of each kind of work on each number of threads, in turn, medians over rounds."""
    set_threads, kinds = work_of(config, vocab_size)
    times = {kind: {n: [] for n in counts} for kind in kinds}
    for _ in range(rounds):
        for n in counts:
            set_threads(n)
            for kind, function in kinds.items():
                function()
                repeats, start = 0, time.perf_counter()
                while (taken := time.perf_counter() - start) < 0.03:
                    function()
                    repeats += 1
                times[kind][n].append(taken / repeats)
    return {kind: {n: median(taken) for n, taken in row.items()} for kind, row in times.items()}


FUNCTIONS = {"minilstm": (minilstm_parts, minilstm_work), "pytorch": (pytorch_parts, pytorch_work)}


def predict(parts, work, n):
    """Equation (1): the time on n threads relative to one."""

    def speedup(kind, n):
        a = max(0.03, 2 * work[kind][2] / work[kind][1] - 1)
        return n / (1 + a * (n - 1))  # (2)

    def faster(kind, count):
        kind = kind if kind in work else "products"
        return speedup(kind, n) if count is None else min(speedup(kind, n), count / math.ceil(count / n))

    beside, gradients = parts.get(("backward pass", 1), 0.0), parts.get(("weight gradients", None), 0.0)
    total = sum(taken / faster(*key) for key, taken in parts.items())
    hidden = min(gradients, beside * speedup("products", n - 1)) / speedup("products", n)
    return (total - hidden) / sum(parts.values())


def measure_steps(preset, counts, rounds):
    """Seconds per step of each side on each number of threads, in turn: a list over rounds."""
    arguments = PRESETS[preset], "train", "cpu"
    crew = {
        (side, n): workers.Worker(side, *arguments, n, VOCAB_SIZES.get(preset, workers.VOCAB_SIZE))
        for side in SIDES
        for n in counts
    }
    turns = {key: max(1, round(SECONDS_OF_A_ROUND / min(worker.run(2)))) for key, worker in crew.items()}
    times = {key: [] for key in crew}
    for n in range(rounds):
        for key in list(crew)[:: -1 if n % 2 else 1]:
            times[key].append(median(crew[key].run(turns[key])))
    for worker in crew.values():
        worker.close()
    return times


def measure(preset, counts, rounds):
    """Measurements and predictions of one preset: two dicts, side -> number of threads -> row."""
    config, vocab_size = PRESETS[preset], VOCAB_SIZES.get(preset, workers.VOCAB_SIZE)
    words = config.num_steps * config.batch_size
    times = measure_steps(preset, counts, rounds)
    measured, predicted = {"work_seconds": {}}, {}
    for side, (parts_of, work_of) in FUNCTIONS.items():
        work = measured["work_seconds"][side] = workers.alone(work_seconds, work_of, config, vocab_size, counts)
        one, measured[side], predicted[side] = median(times[side, 1]), {}, {}
        for n in counts:
            steps = min(50, max(5, round(SECONDS_OF_A_ROUND / median(times[side, n]))))
            parts = workers.alone(parts_of, config, vocab_size, n, steps)
            measured[side][n] = {
                "milliseconds": 1e3 * median(times[side, n]),
                "range": [1e3 * min(times[side, n]), 1e3 * max(times[side, n])],
                "words_per_second": words / median(times[side, n]),
                "parts": [
                    {"part": k, "blocks": b, "milliseconds": 1e3 * t} for (k, b), t in sorted(parts.items(), key=str)
                ],
            }
            if n == 1:
                parts_of_one = parts
        for n in COUNTS[1:] if 2 in counts else ():
            taken = one * predict(parts_of_one, work, n)
            predicted[side][n] = {"milliseconds": 1e3 * taken, "words_per_second": words / taken}
    return measured, predicted


def grouped(row):
    """Milliseconds of each group of parts of a measured row; what has one block is work on one thread."""
    groups = dict.fromkeys(GROUPS, 0.0)
    for part in row["parts"]:
        group = "one thread" if part["blocks"] == 1 else "passes" if part["part"] == "passes" else "products"
        groups[group] += part["milliseconds"]
    return groups


def print_rows(preset, measured, predicted):
    """Print the rows of a preset."""
    for side, name in SIDES.items():
        for n in sorted({*measured[side], *predicted[side]}):
            line, row, guess = f"{preset:8}{name:9}{n:>7}", measured[side].get(n), predicted[side].get(n)
            if row:
                low, high = row["range"]
                line += f"{row['milliseconds']:>9.1f}{f'({low:.1f}-{high:.1f})':>17}{row['words_per_second']:>9.0f}"
                line += "".join(f"{taken:>10.1f}" for taken in grouped(row).values())
            if guess:
                line = f"{line:90}{guess['milliseconds']:>10.1f}"
            if row and guess:
                line += f"{guess['milliseconds'] / row['milliseconds'] - 1:>+7.0%}"
            print(line, flush=True)


def draw(result, path):
    """Plot words per second against threads, one panel per preset: measured solid, predicted dashed and hollow."""
    from matplotlib.figure import Figure

    presets = list(result["measured"])
    lines = -(-len(presets) // 2)
    figure = Figure(figsize=(7.5, 0.8 + 2.7 * lines), dpi=150, layout="constrained")
    panels = figure.subplots(lines, 2, squeeze=False).flat
    for axes, preset in zip(panels, presets, strict=False):
        measured, predicted = result["measured"][preset], result["predicted"][preset]
        for (side, name), marker in zip(SIDES.items(), "os", strict=True):
            speed = {int(n): row["words_per_second"] for n, row in measured[side].items()}
            guess = {1: speed[1]} | {int(n): row["words_per_second"] for n, row in predicted[side].items()}
            style = {"color": COLOURS[side], "marker": marker}
            axes.plot(list(guess), list(guess.values()), "--", **style, markevery=slice(1, None),
                      markerfacecolor="white", markersize=8, label=f"{name}, predicted")  # fmt: skip
            axes.plot(list(speed), list(speed.values()), **style, linewidth=2.5, label=f"{name}, measured")
        axes.set_xscale("log", base=2)
        axes.set_xticks(COUNTS, labels=map(str, COUNTS))
        axes.set_ylim(0)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(preset)
        axes.set_xlabel("threads")
        axes.set_ylabel("training, words/s")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path)


def main():
    parser = make_parser("threads", __doc__)
    parser.add_argument("presets", nargs="*", default=["toy", "small", "medium", "large"], metavar="preset")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    counts = [n for n in COUNTS if n <= available_processors()]
    result = {"machine": describe("cpu"), "rounds": args.rounds, "measured": {}, "predicted": {}}
    print(*(f"{name}: {value}" for name, value in result["machine"].items()), sep="\n")
    print("milliseconds per step           measured                        of which                 predicted")
    print("preset  side     threads   median        (range)  words/s  products    passes  1 thread              error")
    for preset in args.presets:
        result["measured"][preset], result["predicted"][preset] = measure(preset, counts, args.rounds)
        print_rows(preset, result["measured"][preset], result["predicted"][preset])
    path = args.out / "threads-cpu.json"
    write(result, path, draw)
    print(f"written: {path} and .png")


if __name__ == "__main__":
    main()
