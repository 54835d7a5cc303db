"""Kernels of a training step on a GPU: number and time by family of kernels.

    python -m benchmarks.launches                    # needs a GPU, and PyTorch for its profiler

Writes launches.json and launches.png after each preset; --resume keeps the presets that are there. The step is timed
without the profiler, which slows it down. Its time is compared with two limits of the device: the matrix products at
the rate of a large product, and the memory traffic of weights, gradients and logits at the rate of a large copy (caches
can make the step faster than that). Kernels of the two branches of the graph run at the same time, so that the sum over
the families can exceed the step; what is left of the step are gaps, in which no kernel runs.

Without a single kernel in the profile, the profiler has failed: then nothing is written, and the exit status is 1.
"""

import re
import time
from collections import Counter
from dataclasses import replace
from statistics import median

from benchmarks.machine import (
    begin,
    copy_rate,
    describe,
    gemm_rate,
    make_parser,
    require_gpu,
    step_bytes,
    step_operations,
    write,
)
from benchmarks.workers import STEPS_OF_A_TURN, VOCAB_SIZE, minilstm_step, shape_of
from minilstm.config import PRESETS

FAMILIES = {  # the first match wins: some of the LSTM's steps compute a product, too
    "LSTM steps": "^lstm_step",
    "matrix products": "gemm|gemv|nvjet|cutlass|cublas|xmma|splitk|dot_kernel|reduce_1block|scal_kernel",
    "softmax": "^softmax",
    "embedding": "^embedding",
    "dropout masks": "^dropout",
    "norm, clipping, update": "sum_of_squares|norm_and_factor|_update$",
    "copies": "memcpy|memset|copy",
    "other": "",
}
COLOURS = "#D55E00", "#0072B2", "#E69F00", "#F0E442", "#CC79A7", "#009E73", "#56B4E9", "#BBBBBB"


def family_of(kernel):
    """The family of a kernel, by its name in the profiler."""
    return next(name for name, pattern in FAMILIES.items() if re.search(pattern, kernel, re.IGNORECASE))


def step_microseconds(step, turns=10):
    """Time of a step without the profiler, median over turns; as in training, the loss is read every few steps."""
    times = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        for _ in range(STEPS_OF_A_TURN["cuda"]):
            loss = step()
        float(loss)
        times.append(1e6 * (time.perf_counter() - start) / STEPS_OF_A_TURN["cuda"])
    return median(times[1:])


def profile_kernels(step, steps):
    """Name and microseconds of each kernel in a number of steps."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        for _ in range(steps):
            loss = step()
        float(loss)
    events = [event for event in trace.events() if "cuda" in str(event.device_type).lower()]
    return [(event.name, event.time_range.elapsed_us()) for event in events]


def count_by_family(profiled, steps):
    """Number of kernels and their microseconds in one of the steps by family, and the number by name."""
    kernels, times, names = Counter(), Counter(), Counter()
    for name, microseconds in profiled:
        kernels[family_of(name)] += 1 / steps
        times[family_of(name)] += microseconds / steps
        names[name] += 1 / steps
    return {
        "kernels": {family: round(kernels[family], 1) for family in FAMILIES},
        "microseconds": {family: times[family] for family in FAMILIES},
        "names": {name: round(count, 1) for name, count in names.most_common()},
    }


def measure(preset, precision, steps):
    """One row: a preset's step, its kernels and its limits."""
    config = replace(PRESETS[preset], precision=precision)
    step, shape = minilstm_step(config, "train", "cuda"), shape_of(config, "train")
    whole = step_microseconds(step)
    profiled = profile_kernels(step, steps)
    if not profiled:
        raise SystemExit(f"{preset}: the profiler has not seen a kernel")
    operations, moved = step_operations(config, VOCAB_SIZE, shape, True), step_bytes(config, VOCAB_SIZE, shape)
    limits = {
        "products at the GEMM rate": 1e6 * operations / gemm_rate("cuda", config),
        "bytes at the copy rate": 1e6 * moved / copy_rate("cuda"),
    }
    return {
        "preset": preset,
        "step_microseconds": whole,
        "limits_microseconds": limits,
        "fraction_of_limits": {name: limit / whole for name, limit in limits.items()},
        **count_by_family(profiled, steps),
    }


def print_row(row):
    """Print a preset's families and limits."""
    whole = row["step_microseconds"]
    print(f"{row['preset']}: {whole:.0f} us per step, {sum(row['kernels'].values()):.0f} kernels")
    for family, number in row["kernels"].items():
        print(f"  {family:24}{number:>8.0f} kernels{row['microseconds'][family]:>10.0f} us")
    for name, fraction in row["fraction_of_limits"].items():
        print(f"  limit, {name}: {row['limits_microseconds'][name]:.0f} us, {fraction:.0%} of the step", flush=True)


def draw(result, path):
    """Plot a stacked bar for each preset, in microseconds per step, with the step and the two limits as lines."""
    from matplotlib.figure import Figure

    rows = result["rows"]
    figure = Figure(figsize=(7.5, 1.2 + 0.9 * len(rows)), dpi=150, layout="constrained")
    for axes, row in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        left = 0.0
        for (family, taken), colour in zip(row["microseconds"].items(), COLOURS, strict=True):
            axes.barh(row["preset"], taken, left=left, color=colour, label=family)
            left += taken
        axes.axvline(row["step_microseconds"], color="black", linewidth=2.5, label="step")
        for name, style in (("products at the GEMM rate", "--"), ("bytes at the copy rate", ":")):
            axes.axvline(row["limits_microseconds"][name], color="black", linestyle=style, label=name)
        axes.set_xlim(0)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("microseconds per training step")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    figure.savefig(path)


def main():
    parser = make_parser("launches", __doc__)
    parser.add_argument("presets", nargs="*", default=["small", "medium", "large"], metavar="preset")
    parser.add_argument("--precision", choices=("full", "tf32"), default="full")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--resume", action="store_true", help="measure only the rows that the JSON file lacks")
    args = parser.parse_args()
    require_gpu(parser)
    path = args.out / "launches.json"
    result = begin(path, {"machine": describe("cuda"), "precision": args.precision}, args.resume)
    measured = {row["preset"] for row in result["rows"]}
    for preset in args.presets:
        if preset not in measured:
            result["rows"].append(measure(preset, args.precision, args.steps))
            write(result, path, draw)
            print_row(result["rows"][-1])
    print(f"written: {path} and .png")


if __name__ == "__main__":
    main()
