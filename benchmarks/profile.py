"""Breakdown of the time of a training step.

    python -m benchmarks.profile                     # CPU: small, medium, large
    python -m benchmarks.profile --device cuda

Writes profile-<device>.json and profile-<device>.png. The step runs with instrumented functions; "other" is the rest of
the step. On several threads it includes the gradients of the weights, which are finished after the backward pass.
"""

import time
from collections import defaultdict
from statistics import median
from types import SimpleNamespace

from benchmarks.machine import describe, make_parser, write
from benchmarks.workers import minilstm_step
from minilstm.commands.backend import select_kernels
from minilstm.config import PRESETS
from minilstm.device import select_device

PARTS = {
    "embedding": ["embedding_forward", "embedding_backward"],
    "LSTM forward": ["lstm_forward"],
    "LSTM backward": ["lstm_backward"],
    "linear forward": ["linear_forward"],
    "linear backward": ["linear_backward"],
    "softmax": ["softmax_cross_entropy_forward", "softmax_cross_entropy_backward"],
    "clipping": ["clip_by_global_norm"],
    "update": ["sgd"],
}
COLOURS = "#56B4E9", "#0072B2", "#003F6B", "#E69F00", "#D55E00", "#F0E442", "#009E73", "#CC79A7", "#BBBBBB"


def timed(function, part, seconds, wait):
    """Wrap a function to add its running time to seconds[part]; `part` can be a function of its arguments."""

    def call(*args, **kwargs):
        wait()
        start = time.perf_counter()
        result = function(*args, **kwargs)
        wait()
        taken = time.perf_counter() - start
        seconds[part(*args) if callable(part) else part] += taken
        return result

    return call


def profile(preset, device, steps):
    """Milliseconds of each part of a step, medians over steps."""
    xp, _ = select_device(device)
    wait = xp.cuda.Device().synchronize if device == "cuda" else lambda: None
    seconds, rows = defaultdict(float), []
    kernels = SimpleNamespace(**vars(select_kernels(None, xp)))
    for part, names in PARTS.items():
        for name in names:
            setattr(kernels, name, timed(getattr(kernels, name), part, seconds, wait))
    step = minilstm_step(PRESETS[preset], "train", device, graph=False, kernels=kernels)
    for _ in range(steps + 2):
        seconds.clear()
        start = time.perf_counter()
        float(step())
        whole = time.perf_counter() - start
        rows.append({**seconds, "other": whole - sum(seconds.values())})
    return {part: 1000 * median(row[part] for row in rows[2:]) for part in rows[0]}


def draw(result, path):
    """Plot one stacked bar per preset, in percent of its step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 1.0 + 0.75 * len(result["rows"])), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for preset, parts in reversed(result["rows"].items()):
        total, left = sum(parts.values()), 0.0
        for part, colour in zip([*PARTS, "other"], COLOURS, strict=True):
            share = 100 * parts[part] / total
            first = preset == next(iter(result["rows"]))
            axes.barh(f"{preset}\n{total:.0f} ms", share, left=left, color=colour, label=part if first else None)
            if share > 5:
                axes.text(left + share / 2, f"{preset}\n{total:.0f} ms", f"{share:.0f}", ha="center", va="center",
                          color="white" if colour in ("#0072B2", "#003F6B", "#D55E00") else "black")  # fmt: skip
            left += share
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent of the training step")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path)


def main():
    parser = make_parser("profile", __doc__)
    parser.add_argument("presets", nargs="*", default=["small", "medium", "large"], metavar="preset")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--steps", type=int, default=15)
    args = parser.parse_args()
    result = {"machine": describe(args.device), "unit": "milliseconds per training step", "rows": {}}
    for preset in args.presets:
        parts = result["rows"][preset] = profile(preset, args.device, args.steps)
        total = sum(parts.values())
        print(f"{preset}: {total:.1f} ms per step")
        for part in [*PARTS, "other"]:
            print(f"  {part:18}{parts[part]:>9.2f} ms{parts[part] / total:>7.0%}", flush=True)
    path = args.out / f"profile-{args.device}.json"
    write(result, path, draw)
    print(f"written: {path} and .png")


if __name__ == "__main__":
    main()
