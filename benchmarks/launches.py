"""Kernel launches of a training step on a GPU: number and time by family of kernels.

    python -m benchmarks.launches                    # needs a GPU, and PyTorch for its profiler

Writes launches.json and launches.png. The times are compared with two limits of the device: the matrix products at the
rate of a large product, and the necessary memory traffic at the rate of a large copy.
"""

import argparse
import json
import re
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import copy_rate, describe, gemm_rate, step_bytes, step_operations
from benchmarks.workers import VOCAB_SIZE, minilstm_step, shape_of
from minilstm.config import PRESETS
from minilstm.device import select_device
from minilstm.errors import UserError

FAMILIES = {
    "LSTM steps": r"lstm_step",  # first match wins: some of these compute a product, too
    "matrix products": r"gemm|gemv|cutlass|cublas|splitK|dot_kernel|sm90_|sm80_",
    "softmax": r"softmax_cross_entropy",
    "embedding": r"embedding_",
    "dropout masks": r"dropout_mask",
    "norm, clipping, SGD": r"sum_of_squares|^scale|sgd_update",
    "copies": r"Memcpy|Memset|copy",
    "other": r"",
}
COLOURS = "#D55E00", "#0072B2", "#E69F00", "#F0E442", "#CC79A7", "#009E73", "#56B4E9", "#BBBBBB"


def measure(config, steps):
    """Number of kernels and microseconds of one step by family, and the time of the step including gaps."""
    from torch.profiler import ProfilerActivity, profile

    step = minilstm_step(config, "train", "cuda")
    for _ in range(5):
        loss = step()
    float(loss)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        for _ in range(steps):
            loss = step()
        float(loss)
    events = [event for event in trace.events() if "cuda" in str(event.device_type).lower()]
    counts, times = defaultdict(float), defaultdict(float)
    for event in events:
        family = next(name for name, pattern in FAMILIES.items() if re.search(pattern, event.name, re.IGNORECASE))
        counts[family] += 1 / steps
        times[family] += event.time_range.elapsed_us() / steps
    whole = max(e.time_range.end for e in events) - min(e.time_range.start for e in events)
    return {
        "kernels": {family: round(counts[family], 1) for family in FAMILIES},
        "microseconds": {family: times[family] for family in FAMILIES},
        "step_microseconds": whole / steps,
    }


def draw(result, path):
    """Plot a stacked bar for each preset, in microseconds per step, with the two limits as lines."""
    from matplotlib.figure import Figure

    rows = result["rows"]
    figure = Figure(figsize=(7.5, 1.2 + 0.9 * len(rows)), dpi=150, layout="constrained")
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        left = 0.0
        for (family, time), colour in zip(row["microseconds"].items(), COLOURS, strict=True):
            axes.barh(row["preset"], time, left=left, color=colour, label=family)
            left += time
        axes.barh(row["preset"], max(0.0, row["step_microseconds"] - left), left=left, color="white",
                  edgecolor="#555555", label="gaps")  # fmt: skip
        for name, style in (("products at the GEMM rate", "-"), ("bytes at the copy rate", ":")):
            axes.axvline(row["limits_microseconds"][name], color="black", linestyle=style, label=name)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("microseconds per training step")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launches", description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="*", default=["small", "medium", "large"], metavar="preset")
    parser.add_argument("--precision", choices=("full", "tf32"), default="full")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", default="benchmarks/results", help="directory (benchmarks/results)")
    args = parser.parse_args()
    try:
        select_device("cuda")
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    result = {"machine": describe("cuda"), "precision": args.precision, "rows": []}
    for preset in args.presets:
        config = replace(PRESETS[preset], precision=args.precision)
        row = {"preset": preset, **measure(config, args.steps)}
        shape = shape_of(config, "train")
        operations, moved = step_operations(config, VOCAB_SIZE, shape, True), step_bytes(config, VOCAB_SIZE, shape)
        row["limits_microseconds"] = {
            "products at the GEMM rate": 1e6 * operations / gemm_rate("cuda", config),
            "bytes at the copy rate": 1e6 * moved / copy_rate("cuda"),
        }
        result["rows"].append(row)
        print(f"{preset}: {row['step_microseconds']:.0f} us per step, {sum(row['kernels'].values()):.0f} kernels")
        for family in FAMILIES:
            print(f"  {family:20}{row['kernels'][family]:>8.0f} kernels{row['microseconds'][family]:>10.0f} us")
        for name, time in row["limits_microseconds"].items():
            print(f"  limit, {name}: {time:.0f} us, {time / row['step_microseconds']:.0%} of the step", flush=True)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "launches.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(result, out / "launches.png")
    print(f"written: {out / 'launches'}.json and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
