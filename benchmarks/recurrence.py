"""One LSTM layer on a GPU, with the recurrent matrix product in cuBLAS or in the kernel of the step.

    python -m benchmarks.recurrence                  # needs a GPU

Writes recurrence.json and recurrence.png after each size: microseconds per time step, forward and backward, against
hidden size, with both variants in turn; --resume keeps the sizes that are there. Where the lines cross is the right
value of `MAX_FUSED_HIDDEN_SIZE` in minilstm/gpu/lstm.py. Weight gradients, the same for both, are not on a second
branch here.
"""

import sys
from statistics import median
from unittest.mock import patch

import numpy as np

from benchmarks.machine import begin, describe, make_parser, require_gpu, write
from minilstm.device import use_precision
from minilstm.gpu import lstm
from minilstm.gpu.graph import capture_graph

WAYS = {"cuBLAS": 0, "step's kernel": sys.maxsize}  # variant -> MAX_FUSED_HIDDEN_SIZE
STYLES = ("#0072B2", "o-"), ("#D55E00", "s--"), ("#009E73", "D-.")  # the third for a result of earlier variants
TICKS = 5, 10, 20, 50, 100, 200
T, B = 20, 20
WINDOWS = 100  # per measurement


def make_replay(H, largest, dtype, cupy):
    """A function that launches a layer's forward and backward pass over a window as one CUDA graph."""
    rng = np.random.default_rng(0)
    shapes = {"weight_ih": (4 * H, H), "weight_hh": (4 * H, H), "bias": (4 * H,)}
    params = {name: cupy.asarray(rng.uniform(-0.05, 0.05, shape).astype(dtype)) for name, shape in shapes.items()}
    inputs, doutputs = (cupy.asarray(rng.standard_normal((T, B, H)).astype(dtype)) for _ in range(2))
    state = cupy.zeros((B, H), dtype=dtype), cupy.zeros((B, H), dtype=dtype)

    def run():
        outputs, _, cache = lstm.lstm_forward(inputs, state, params)
        return outputs, lstm.lstm_backward(doutputs, None, cache)[0]

    with patch.object(lstm, "MAX_FUSED_HIDDEN_SIZE", largest):
        run()  # compiles the kernels and initializes the library
        return capture_graph(run)[1]


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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=150, layout="constrained")
    axes = figure.subplots()
    sizes = [row["hidden_size"] for row in result["rows"]]
    for way, (colour, style) in zip(result["rows"][0]["microseconds"], STYLES, strict=False):
        axes.loglog(sizes, [row["microseconds"][way] for row in result["rows"]], style, color=colour, label=way)
    axes.axvline(lstm.MAX_FUSED_HIDDEN_SIZE, color="#777777", linestyle=":", label="MAX_FUSED_HIDDEN_SIZE")
    axes.set_xticks(sizes, sizes)
    axes.set_yticks(TICKS, TICKS)
    axes.minorticks_off()
    axes.set_xlabel("hidden size (batch of 20)")
    axes.set_ylabel("µs per time step, both directions")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="recurrent product", frameon=False)
    figure.savefig(path)


def main():
    parser = make_parser("recurrence", __doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[100, 200, 300, 400, 512, 650, 1000, 1500])
    parser.add_argument("--dtype", choices=("float32", "float16", "float64"), default="float32")
    parser.add_argument("--precision", choices=("full", "tf32"), default="full")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--resume", action="store_true", help="measure only the rows that the JSON file lacks")
    args = parser.parse_args()
    cupy = require_gpu(parser)
    use_precision(cupy, args.precision)
    path = args.out / "recurrence.json"
    heading = {"machine": describe("cuda"), "dtype": args.dtype, "precision": args.precision}
    result = begin(path, heading, args.resume)
    measured = {row["hidden_size"] for row in result["rows"]}
    print("microseconds per time step, forward and backward\nhidden size" + "".join(f"{way:>24}" for way in WAYS))
    for H in sorted({*args.sizes} - measured):
        replays = {way: make_replay(H, largest, args.dtype, cupy) for way, largest in WAYS.items()}
        times = {way: [] for way in WAYS}
        for replay in replays.values():  # warm-up: uploads the graph to the device
            microseconds(replay, cupy)
        for _ in range(args.rounds):
            for way, replay in replays.items():
                times[way].append(microseconds(replay, cupy))
        row = {way: median(values) for way, values in times.items()}
        result["rows"].append({"hidden_size": H, "microseconds": row, "rounds": times})
        write(result, path, draw)
        print(f"{H:11}" + "".join(f"{value:24.2f}" for value in row.values()), flush=True)
    print(f"written: {path} and .png")


if __name__ == "__main__":
    main()
