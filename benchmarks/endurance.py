"""Endurance: memory and open files of one process over ten thousand training steps.

    python -m benchmarks.endurance

Linux only. Writes endurance-cpu.json and endurance-cpu.png. A reduced toy preset trains on a short text, so that the
run has a hundred epochs with evaluations, checkpoints and curves. The process is measured every hundred steps.
"""

import contextlib
import io
import os
import random
import re
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.machine import describe, make_parser, write
from minilstm import plain
from minilstm.blocks import use_threads
from minilstm.device import keep_freed_memory
from minilstm.runs.plot import COLOURS
from minilstm.runs.recorder import train_and_record
from minilstm.runs.session import new_run

EVERY = 100  # steps between two measurements
OVERRIDES = {"hidden_size": 32, "num_steps": 10, "batch_size": 10, "max_max_epoch": 10**6}


def resident_mb():
    """Resident memory of this process in MB."""
    with open("/proc/self/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1]) * 1024 / 1e6


def open_files():
    """Number of open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def write_corpus(folder):
    """Write three texts with ten different words; an epoch has 99 steps."""
    rng = random.Random(0)
    for split, lines in (("train", 1000), ("valid", 100), ("test", 100)):
        text = "".join(" ".join(rng.choices("abcdefghij", k=9)) + "\n" for _ in range(lines))
        Path(folder, f"{split}.txt").write_text(text)


def measure(steps):
    """Memory in MB and number of open files after every `EVERY` steps of one run."""
    result = {"steps": [], "memory_mb": [], "open_files": []}
    keep_freed_memory()  # as the command line does, and so the threads
    use_threads()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        write_corpus(folder)
        with new_run(OVERRIDES, folder, f"{folder}/run", False, np) as (run, state, corpus, _):
            for step in tqdm(range(EVERY, steps + 1, EVERY), disable=None):
                train_and_record(run, state, corpus, plain, max_steps=step)
                result["steps"].append(state.progress.step)
                result["memory_mb"].append(resident_mb())
                result["open_files"].append(open_files())
    return result


def draw(result, path):
    """Plot memory (above) and open files (below) against training steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.4), dpi=150, layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    above.plot(result["steps"], result["memory_mb"], color=COLOURS[0], linewidth=2)
    above.set_ylim(0, 1.3 * max(result["memory_mb"]))
    above.set_ylabel("memory held, MB", fontsize=12)
    below.plot(result["steps"], result["open_files"], color=COLOURS[1], linewidth=2)
    below.set_ylim(0, 2 * max(result["open_files"]))
    below.set_ylabel("open files", fontsize=12)
    below.set_xlabel("training steps done", fontsize=12)
    below.xaxis.set_major_formatter("{x:,.0f}")
    for axes in (above, below):
        axes.tick_params(labelsize=11)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main():
    parser = make_parser("endurance", __doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    args = parser.parse_args()
    result = {"machine": describe("cpu"), "config": OVERRIDES} | measure(args.steps)
    memory, half = result["memory_mb"], len(result["steps"]) // 2
    print(f"memory after {result['steps'][half]:,} steps: {memory[half]:.1f} MB; at the end: {memory[-1]:.1f} MB")
    print(f"open files: {min(result['open_files'])} to {max(result['open_files'])}")
    path = args.out / "endurance-cpu.json"
    write(result, path, draw)
    print(f"written: {path} and .png")


if __name__ == "__main__":
    main()
