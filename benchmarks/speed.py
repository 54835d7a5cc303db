"""Training speed of each preset compared with PyTorch on the same machine, alternating, in one run.

    python -m benchmarks.speed                       # CPU: small, medium, large; a few minutes
    python -m benchmarks.speed --device cuda         # PyTorch eager and as a CUDA graph
    python -m benchmarks.speed --device cuda --precision tf32

Writes speed-<device>.json and .png. A ratio is words per second of minilstm divided by that of another side, computed
for each round; its range is over the rounds. The limit is the arithmetic of the matrix products alone at the machine's
rate for large products.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import median

from tqdm import tqdm

from benchmarks.machine import describe, gemm_rate, step_operations
from benchmarks.workers import STEPS_OF_A_TURN, TASKS, VOCAB_SIZE, Worker, shape_of, sides
from minilstm.config import PRESETS

COLOURS = {"minilstm": "#0072B2", "minilstm, no graph": "#56B4E9", "pytorch": "#E69F00", "pytorch, graph": "#D55E00",
           "limit": "#999999"}  # fmt: skip
SECONDS_OF_A_ROUND = 1.5


def compare(preset, config, task, device, rounds):
    """One row of the table: all sides in turn, in `rounds` rounds."""
    workers = {side: Worker(side, config, task, device) for side in sides(task, device)}
    counts = {}
    for side, worker in list(workers.items()):  # warm up, and determine the number of turns per round
        try:
            seconds = STEPS_OF_A_TURN[device] * min(worker.run(3))
        except EOFError:  # its process ended with a traceback
            if side in ("minilstm", "pytorch"):
                raise
            print(f"{side} failed and is left out: see above")
            del workers[side]
            continue
        counts[side] = max(2, round(SECONDS_OF_A_ROUND / seconds))
    times = {side: [] for side in workers}
    for n in range(rounds):
        for side in sorted(workers, reverse=n % 2 == 1):
            times[side].append(median(workers[side].run(counts[side])))
    peaks = {side: worker.close() for side, worker in workers.items()}
    shape = shape_of(config, task)
    words = shape[0] * shape[1]
    limit = words * gemm_rate(device, config) / step_operations(config, VOCAB_SIZE, shape, task == "train")
    ratios = {
        side: [theirs / ours for ours, theirs in zip(times["minilstm"], times[side], strict=True)]
        for side in times
        if side != "minilstm"
    }
    return {
        "preset": preset,
        "task": task,
        "words_per_second": {side: words / median(values) for side, values in times.items()},
        "ratio": median(ratios["pytorch"]),
        "ratio_min": min(ratios["pytorch"]),
        "ratio_max": max(ratios["pytorch"]),
        "ratios": {side: median(values) for side, values in ratios.items()},
        "peak_memory_mb": peaks,
        "limit_words_per_second": limit,
        "fraction_of_limit": words / median(times["minilstm"]) / limit,
        "rounds": rounds,
    }


def print_row(row):
    """Print a row of the table."""
    speed, peak = row["words_per_second"], row["peak_memory_mb"]
    ratio = f"{row['ratio']:.2f} ({row['ratio_min']:.2f}-{row['ratio_max']:.2f})"
    print(
        f"{row['preset']:8}{row['task']:20}{speed['minilstm']:>10.0f}{speed['pytorch']:>10.0f}{ratio:>20}"
        f"{row['limit_words_per_second']:>10.0f}{row['fraction_of_limit']:>10.0%}"
        f"{peak['minilstm']:>10.0f}{peak['pytorch']:>10.0f}",
        flush=True,
    )
    for side in list(speed)[1:]:
        if side != "pytorch":
            print(f"  minilstm / {side}: {row['ratios'][side]:.2f} ({speed[side]:.0f} words/s)", flush=True)


def draw(result, path):
    """Plot words per second as bars: all sides and the limit, training only, one panel per preset."""
    from matplotlib.figure import Figure

    rows = [row for row in result["rows"] if row["task"] == "train"]
    width = 0.9 * (len(rows[0]["words_per_second"]) + 1)
    figure = Figure(figsize=(width * len(rows) + 1, 3.8), dpi=150, layout="constrained")
    for axes, row in zip(figure.subplots(1, len(rows), squeeze=False)[0], rows, strict=True):
        speed = {**row["words_per_second"], "limit": row["limit_words_per_second"]}
        labels = {name: name.replace("pytorch", "PyTorch").replace(", ", ",\n") for name in speed}
        labels["limit"] = "matrix\nproducts\nalone"
        bars = axes.bar([labels[name] for name in speed], list(speed.values()), color=[COLOURS[name] for name in speed])
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=9)
        axes.set_title(f"{row['preset']}: {row['ratio']:.2f} x PyTorch", fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=9)
    figure.axes[0].set_ylabel("training, words per second")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="*", default=["small", "medium", "large"], metavar="preset")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64", "float16"), default="float32")
    parser.add_argument("--precision", choices=("full", "tf32"), default="full")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--out", default="benchmarks/results", help="directory (benchmarks/results)")
    args = parser.parse_args()
    result = {"machine": describe(args.device), "dtype": args.dtype, "precision": args.precision, "rows": []}
    print(*(f"{name}: {value}" for name, value in result["machine"].items()), sep="\n")
    print("                            words per second   minilstm/PyTorch     limit  reached    MB peak, each")
    print("preset  task                  minilstm   PyTorch    (min-max)")
    for preset, task in tqdm(
        [(preset, task) for task in args.tasks for preset in args.presets], leave=False, disable=None
    ):
        config = replace(PRESETS[preset], dtype=args.dtype, precision=args.precision)
        result["rows"].append(compare(preset, config, task, args.device, args.rounds))
        print_row(result["rows"][-1])
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    name = f"speed-{args.device}" + ("-tf32" if args.precision == "tf32" else "")
    (out / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    if "train" in args.tasks:
        draw(result, out / f"{name}.png")
    print(f"written: {out / name}.json and .png")


if __name__ == "__main__":
    main()
