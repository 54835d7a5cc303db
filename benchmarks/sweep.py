"""Scaling: time per word against each size of the model, and memory against the length of the corpus.

    python -m benchmarks.sweep

Writes sweep-cpu.json and sweep-cpu.png. One size is varied at a time, with the others as in `small`. The sizes of one
curve are measured in turn, round after round, so that a slow period of the machine affects all of them.
"""

import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from tqdm import tqdm

import benchmarks.workers as workers
from benchmarks.machine import describe, make_parser, write
from minilstm.config import PRESETS

SWEEPS = {
    "hidden_size": (50, 100, 200, 400, 800),
    "vocab_size": (1_000, 3_000, 10_000, 30_000),
    "num_steps": (5, 10, 20, 40, 80),
    "batch_size": (5, 10, 20, 40, 80),
}
CORPUS_MB = 1, 10, 100
COLOURS = "#0072B2", "#D55E00"


def step_of(name, value):
    """A training step of `small` with one size changed."""
    workers.VOCAB_SIZE = value if name == "vocab_size" else 10_000
    config = PRESETS["small"] if name == "vocab_size" else replace(PRESETS["small"], **{name: value})
    return workers.minilstm_step(config, "train", "cpu"), config.num_steps * config.batch_size


def time_sweep(name, values, rounds):
    """Microseconds per word at each value, medians over rounds."""
    steps = {value: step_of(name, value) for value in values}
    times = {value: [] for value in values}
    for _ in range(rounds + 1):
        for value, (step, words) in steps.items():
            start = time.perf_counter()
            step()
            times[value].append(1e6 * (time.perf_counter() - start) / words)
    return {value: median(taken[1:]) for value, taken in times.items()}


def memory_of_training(megabytes):
    """Peak memory in MB of ten training steps on a text of a given size, with the command line."""
    rng = random.Random(0)
    words = [f"word{n}" for n in range(10_000)]
    with tempfile.TemporaryDirectory() as folder:
        for split, size in (("train", megabytes * 1e6), ("valid", 1e5), ("test", 1e5)):
            with open(Path(folder, f"{split}.txt"), "w") as file:
                if split == "train":
                    file.write(" ".join(words) + "\n")
                while file.tell() < size:
                    file.writelines(" ".join(rng.choices(words, k=20)) + "\n" for _ in range(1000))
        code = (
            "import sys; from benchmarks.machine import peak_memory_mb; from minilstm.cli import main;"
            "main(sys.argv[1:]);"
            "print('peak', peak_memory_mb())"
        )
        flags = ["--data", folder, "--out", f"{folder}/run", "--max-steps", "10", "--device", "cpu", "--model", "small"]
        output = subprocess.run(
            [sys.executable, "-c", code, "train", *flags], capture_output=True, text=True, check=True
        )
    return float(output.stdout.rsplit("peak ", 1)[1])


def draw(result, path):
    """Plot five panels: time per word against each size, memory against the size of the corpus."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.2), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(result["microseconds_per_word"]) + 1)
    ticks = 20, 50, 100, 200, 500, 1000
    for axes, (name, times) in zip(panels, result["microseconds_per_word"].items(), strict=False):
        axes.plot([int(value) for value in times], list(times.values()), "o-", color=COLOURS[0])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(20, 1000)
        axes.set_yticks(ticks, labels=map(str, ticks))
        axes.set_yticks([], minor=True)
        axes.set_xticks([int(value) for value in times], labels=[f"{int(value):,}" for value in times], fontsize=8)
        axes.set_xticks([], minor=True)
        axes.set_xlabel(name)
    panels[0].set_ylabel("training time,\nmicroseconds per word")
    memory = result["peak_memory_mb"]
    panels[-1].plot([int(size) for size in memory], list(memory.values()), "s-", color=COLOURS[1])
    panels[-1].set_ylim(0, 1000)
    panels[-1].set_xscale("log")
    panels[-1].set_xticks([int(size) for size in memory], labels=list(map(str, memory)))
    panels[-1].set_xticks([], minor=True)
    panels[-1].set_xlabel("training text, MB")
    panels[-1].set_ylabel("peak memory, MB")
    for axes in panels:
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main():
    parser = make_parser("sweep", __doc__)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    result = {"machine": describe("cpu"), "microseconds_per_word": {}, "peak_memory_mb": {}}
    for name, values in tqdm(SWEEPS.items(), leave=False, disable=None):
        result["microseconds_per_word"][name] = time_sweep(name, values, args.rounds)
        row = ", ".join(f"{value:,}: {taken:.0f}" for value, taken in result["microseconds_per_word"][name].items())
        print(f"microseconds per word against {name}: {row}", flush=True)
    for megabytes in tqdm(CORPUS_MB, leave=False, disable=None):
        result["peak_memory_mb"][megabytes] = memory_of_training(megabytes)
        print(f"peak memory with a text of {megabytes} MB: {result['peak_memory_mb'][megabytes]:.0f} MB", flush=True)
    path = args.out / "sweep-cpu.json"
    write(result, path, draw)
    print(f"written: {path} and .png")


if __name__ == "__main__":
    main()
