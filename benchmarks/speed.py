"""Training speed of each preset compared with PyTorch on the same machine, alternating, in one run.

    python -m benchmarks.speed                       # CPU: small, medium, large; a few minutes
    python -m benchmarks.speed --device cuda
    python -m benchmarks.speed --device cuda --precision tf32

Writes speed-<device>.json and .png after each row of the table; --resume keeps the rows that are there. A ratio is
words per second of minilstm divided by that of another side, computed for each round; its range is over the rounds. The
limit is the arithmetic of the matrix products alone at the machine's rate for large products.

On a GPU there are further sides: minilstm without a graph, and with one branch in its graph; PyTorch's step as a CUDA
graph; and PyTorch as it comes. As it comes, PyTorch lets cuDNN multiply in TF32 inside the LSTM, with 11 of float32's
24 significant bits. In the comparison proper, with the side "pytorch", TF32 is off on both sides, or on with
--precision tf32.
"""

from dataclasses import replace
from statistics import median

from tqdm import tqdm

from benchmarks.machine import begin, describe, gemm_rate, make_parser, step_operations, write
from benchmarks.workers import STEPS_OF_A_TURN, TASKS, VOCAB_SIZE, Worker, shape_of, sides
from minilstm.config import PRESETS

COLOURS = {"minilstm": "#0072B2", "pytorch": "#E69F00", "limit": "#999999"}
PALER = {"minilstm": "#56B4E9", "pytorch": "#F2CC85"}  # for their variants, such as "minilstm, no graph"
LABELS = {"limit": "matrix products alone", "pytorch, as it comes": "PyTorch as it comes (TF32 in the LSTM)"}
RIVALS = {"pytorch": "PyTorch", "pytorch, graph": "its graph", "pytorch, as it comes": "as it comes"}
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
    figure = Figure(figsize=(7.5, 0.4 + sum(0.7 + 0.3 * len(row["words_per_second"]) for row in rows)), dpi=150,
                    layout="constrained")  # fmt: skip
    heights = [len(row["words_per_second"]) + 2 for row in rows]
    panels = figure.subplots(len(rows), squeeze=False, height_ratios=heights)[:, 0] if rows else ()
    for axes, row in zip(panels, rows, strict=True):
        speed = {**row["words_per_second"], "limit": row["limit_words_per_second"]}
        labels = [LABELS.get(name, name.replace("pytorch", "PyTorch")) for name in speed]
        colours = [COLOURS.get(name) or PALER[name.split(",")[0]] for name in speed]
        bars = axes.barh(labels, list(speed.values()), color=colours)
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=9, padding=3)
        ratios = [f"{row['ratios'][side]:.2f} x {name}" for side, name in RIVALS.items() if side in row["ratios"]]
        axes.set_title(f"{row['preset']}: {', '.join(ratios)}", fontsize=11, loc="left")
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params(axis="x", nbins=5)
    if rows:
        axes.set_xlabel("training, words per second")
    figure.savefig(path)


def main():
    parser = make_parser("speed", __doc__)
    parser.add_argument("presets", nargs="*", default=["small", "medium", "large"], metavar="preset")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64", "float16"), default="float32")
    parser.add_argument("--precision", choices=("full", "tf32"), default="full")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--resume", action="store_true", help="measure only the rows that the JSON file lacks")
    args = parser.parse_args()
    name = f"speed-{args.device}" + f"-{args.dtype}" * (args.dtype != "float32") + "-tf32" * (args.precision == "tf32")
    path = args.out / f"{name}.json"
    heading = {"machine": describe(args.device), "dtype": args.dtype, "precision": args.precision}
    result = begin(path, heading, args.resume)
    measured = {(row["preset"], row["task"]): row for row in result["rows"]}
    print(*(f"{name}: {value}" for name, value in result["machine"].items()), sep="\n")
    print("                            words per second   minilstm/PyTorch     limit  reached    MB peak, each")
    print("preset  task                  minilstm   PyTorch    (min-max)")
    for preset, task in tqdm(
        [(preset, task) for task in args.tasks for preset in args.presets], leave=False, disable=None
    ):
        row = measured.get((preset, task))
        if not row:
            config = replace(PRESETS[preset], dtype=args.dtype, precision=args.precision)
            row = compare(preset, config, task, args.device, args.rounds)
            result["rows"].append(row)
            write(result, path, draw)
        print_row(row)
    print(f"written: {path} and .png")


if __name__ == "__main__":
    main()
