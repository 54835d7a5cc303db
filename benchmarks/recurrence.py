"""One LSTM layer on a GPU, with the recurrent matrix product in cuBLAS or in the kernel of the step.

    python -m benchmarks.recurrence                  # needs a GPU

Writes recurrence.json and recurrence.png: microseconds per time step, forward and backward, against hidden size, with
all variants in turn. The crossing of the lines is the right value of `MAX_FUSED_HIDDEN_SIZE` in minilstm/gpu/lstm.py,
and the faster kernel has the right value of `ROWS`.
"""

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np
from matplotlib.figure import Figure

from benchmarks.machine import describe
from minilstm.device import select_device, use_precision
from minilstm.errors import UserError
from minilstm.gpu import launch, lstm
from minilstm.gpu.graph import capture_graph

WAYS = {  # variant -> MAX_FUSED_HIDDEN_SIZE, ROWS
    "cuBLAS": (0, 4),
    "step's kernel, 4 rows": (sys.maxsize, 4),
    "step's kernel, 10 rows": (sys.maxsize, 10),
}
COLOURS = "#0072B2", "#D55E00", "#009E73"
T, B = 20, 20
WINDOWS = 100  # per measurement


def source_with_rows(rows, kernel_source=launch.kernel_source):
    """`kernel_source` with a given number of rows per warp."""

    def changed(file, dtype, **defines):
        return kernel_source(file, dtype, **defines).replace("enum { ROWS = 4 }", f"enum {{ ROWS = {rows} }}")

    return changed


def make_replay(H, largest, rows, dtype, cupy):
    """A function that launches a layer's forward and backward pass over a window as one CUDA graph."""
    rng = np.random.default_rng(0)
    shapes = {"weight_ih": (4 * H, H), "weight_hh": (4 * H, H), "bias": (4 * H,)}
    params = {name: cupy.asarray(rng.uniform(-0.05, 0.05, shape).astype(dtype)) for name, shape in shapes.items()}
    inputs, doutputs = (cupy.asarray(rng.standard_normal((T, B, H)).astype(dtype)) for _ in range(2))
    state = cupy.zeros((B, H), dtype=dtype), cupy.zeros((B, H), dtype=dtype)

    def run():
        outputs, _, cache = lstm.lstm_forward(inputs, state, params)
        return outputs, lstm.lstm_backward(doutputs, None, cache)[0]

    with (
        patch.multiple(lstm, MAX_FUSED_HIDDEN_SIZE=largest, ROWS=rows),
        patch.object(launch, "kernel_source", source_with_rows(rows)),
    ):
        launch.compile_kernel.cache_clear()
        run()  # compiles the kernels and initializes the library
        replay = capture_graph(run)[1]
    launch.compile_kernel.cache_clear()
    return replay


def microseconds(replay, cupy):
    """Time per time step of the window, forward and backward."""
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record()
    for _ in range(WINDOWS):
        replay()
    end.record()
    end.synchronize()
    return 1e3 * cupy.cuda.get_elapsed_time(begin, end) / WINDOWS / T


def draw(result, path):
    """Plot microseconds per step against hidden size, one line per variant."""
    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    sizes = [row["hidden_size"] for row in result["rows"]]
    for way, colour, style in zip(WAYS, COLOURS, ("o-", "s--", "D-."), strict=True):
        axes.loglog(sizes, [row["microseconds"][way] for row in result["rows"]], style, color=colour, label=way)
    axes.axvline(lstm.MAX_FUSED_HIDDEN_SIZE, color="#777777", linestyle=":", label="MAX_FUSED_HIDDEN_SIZE")
    axes.set_xticks(sizes, sizes)
    axes.minorticks_off()
    axes.set_xlabel("hidden size (batch of 20)")
    axes.set_ylabel("µs per time step, both directions")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="recurrent product", frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recurrence", description=__doc__.split("\n")[0])
    parser.add_argument("sizes", nargs="*", type=int, default=[100, 200, 300, 400, 512, 650, 1000, 1500])
    parser.add_argument("--dtype", choices=("float32", "float16", "float64"), default="float32")
    parser.add_argument("--precision", choices=("full", "tf32"), default="full")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", default="benchmarks/results", help="directory (benchmarks/results)")
    args = parser.parse_args()
    try:
        cupy, _ = select_device("cuda")
    except UserError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    use_precision(cupy, args.precision)
    result = {"machine": describe("cuda"), "dtype": args.dtype, "precision": args.precision, "rows": []}
    print("microseconds per time step, forward and backward\nhidden size" + "".join(f"{way:>24}" for way in WAYS))
    for H in args.sizes:
        replays = {way: make_replay(H, *how, args.dtype, cupy) for way, how in WAYS.items()}
        times = {way: [] for way in WAYS}
        for replay in replays.values():  # warm-up: uploads the graph to the device
            microseconds(replay, cupy)
        for _ in range(args.rounds):
            for way, replay in replays.items():
                times[way].append(microseconds(replay, cupy))
        row = {way: median(values) for way, values in times.items()}
        result["rows"].append({"hidden_size": H, "microseconds": row, "rounds": times})
        print(f"{H:11}" + "".join(f"{value:24.2f}" for value in row.values()), flush=True)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "recurrence.json").write_text(json.dumps(result, indent=2) + "\n")
    draw(result, out / "recurrence.png")
    print(f"written: {out / 'recurrence'}.json and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
