"""What each idea after 2014 is worth: alone, added to a small model, and lost, taken from a model with all of them.

    python -m benchmarks.ablation --data data/ptb              # prints all commands and runs what is not finished
    python -m benchmarks.ablation --data data/ptb --dry-run    # only prints them

All runs are the preset `small` with one more idea or one less, the same number of epochs and one thread each; `--jobs`
of them run at a time, at the lowest priority. A run takes half an hour on a core; with `--device cuda` they are trained
on the GPU. Runs are kept in build/ablation and are resumed after an interrupt. ablation.json and ablation.png are
written when all are done, from their metrics.csv.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import describe, make_parser, write
from minilstm.errors import UserError
from minilstm.runs.directory import read_metrics

# Learning rate and epochs of every run; the small model needs fewer, with dropout it needs more.
SCHEDULE = "--model small --max-epoch 6 --lr-decay 0.6 --max-max-epoch 13"
IDEAS = {
    "dropout": "--keep-prob 0.75",
    "locked dropout": "--locked-dropout",  # with dropout: see `runs`
    "tied weights": "--tie-weights",
    "embedding dropout": "--embedding-keep-prob 0.95",
    "weight drop": "--weight-keep-prob 0.8",
    "activation penalties": "--activation-reg 2 --temporal-reg 1",
    "windows of random length": "--vary-num-steps",
    "averaging": "--average-after 1",
}
COLOURS = "#0072B2", "#D55E00"


def runs():
    """Name of each run -> flags, in the order of the figure."""
    every = " ".join(IDEAS.values())
    result = {"small": "", "all": every}
    for idea, flags in IDEAS.items():
        with_dropout = f"{IDEAS['dropout']} {flags}" if idea == "locked dropout" else flags
        without = [other for name, other in IDEAS.items() if name != idea]
        if idea == "dropout":  # nothing is locked without it
            without.remove(IDEAS["locked dropout"])
        result |= {f"small + {idea}": with_dropout, f"all - {idea}": " ".join(without)}
    return {name: f"{SCHEDULE} {flags}".strip() for name, flags in result.items()}


def folder_of(name, work):
    """The directory of a run."""
    return work / name.replace(" ", "-").replace("+", "with").replace("---", "-without-")


def is_finished(run):
    """Whether a run has its last row, the test perplexity."""
    try:
        return any(row["split"] == "test" for row in read_metrics(run))
    except UserError:
        return False


def train(name, flags, data, work, device):
    """Train one run or resume it; returns its exit status."""
    run = folder_of(name, work)
    if is_finished(run):
        return 0
    resumes = (run / "checkpoint.safetensors").exists()
    arguments = ["--resume"] if resumes else ["--data", str(data), "--overwrite", *flags.split()]
    command = [sys.executable, "-m", "minilstm", "train", "--threads", "1", "--device", device]
    command += ["--out", str(run), *arguments]
    work.mkdir(parents=True, exist_ok=True)
    with open(run.with_suffix(".log"), "a") as log:
        return subprocess.run(command, stdout=log, stderr=log, preexec_fn=lambda: os.nice(19)).returncode


def measured(name, flags, work):
    """A row: perplexities of the best epoch, and of each epoch's validation."""
    rows = read_metrics(folder_of(name, work))
    valid = [row["perplexity"] for row in rows if row["split"] == "valid"]
    test = {row["epoch"]: row["perplexity"] for row in rows if row["split"] == "test"}
    best = valid.index(min(valid)) + 1
    train_of = {row["epoch"]: row["perplexity"] for row in rows if row["split"] == "train"}
    perplexities = {"train": train_of[best], "valid": min(valid), "test": test[best], "valid_by_epoch": valid}
    return {"name": name, "command": f"minilstm train --data data/ptb {flags}", "best_epoch": best, **perplexities}


def draw(result, path):
    """Bars: test perplexity of `small` with each idea alone, and of the model with all ideas but one; and curves."""
    from matplotlib.figure import Figure

    rows = {row["name"]: row for row in result["rows"]}
    figure = Figure(figsize=(9, 7.5), dpi=150, layout="constrained")
    alone, without, curves = figure.subplot_mosaic([["alone", "without"], ["curves", "curves"]]).values()
    for axes, base, sign, colour, title in (
        (alone, "small", "+", COLOURS[0], "one idea added to small"),
        (without, "all", "-", COLOURS[1], "one idea taken from all"),
    ):
        change = [rows[f"{base} {sign} {idea}"]["test"] - rows[base]["test"] for idea in IDEAS]
        bars = axes.barh(list(IDEAS), change, color=colour)
        axes.bar_label(bars, fmt="{:+.1f}", fontsize=9, padding=3)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_title(f"{title} (test {rows[base]['test']:.1f})", fontsize=11)
        axes.set_xlabel("change of the test perplexity")
        axes.invert_yaxis()
        axes.margins(x=0.2)
    without.set_yticklabels([])
    for name, style in (("small", "-"), ("small + tied weights", "--"), ("small + dropout", ":"), ("all", "-")):
        valid = rows[name]["valid_by_epoch"]
        curves.plot(range(1, len(valid) + 1), valid, style, label=name, color=COLOURS[name == "all"], linewidth=2)
    curves.set_xlabel("epoch")
    curves.set_ylabel("validation perplexity")
    curves.set_yscale("log")
    curves.yaxis.set_major_formatter("{x:.0f}")
    curves.yaxis.set_minor_formatter("{x:.0f}")
    curves.legend(frameon=False)
    for axes in (alone, without, curves):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main():
    parser = make_parser("ablation", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the Penn Treebank")
    parser.add_argument("--work", type=Path, default=Path("build/ablation"), help="folder of the runs (build/ablation)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where they are trained (cpu)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    args = parser.parse_args()
    for name, flags in runs().items():
        print(f"{name}:\n    minilstm train --data {args.data} --threads 1 {flags}")
    if args.dry_run:
        return 0
    with ThreadPoolExecutor(args.jobs) as pool:
        statuses = list(pool.map(lambda item: train(*item, args.data, args.work, args.device), runs().items()))
    if failed := [name for name, status in zip(runs(), statuses, strict=True) if status]:
        print(f"not finished, run this again: {', '.join(failed)}; see the .log files in {args.work}", file=sys.stderr)
        return 1
    rows = [measured(name, flags, args.work) for name, flags in runs().items()]
    path = args.out / "ablation.json"
    write({"machine": describe(args.device), "rows": rows}, path, draw)
    for row in rows:
        print(f"{row['name']:40} valid {row['valid']:.2f}, test {row['test']:.2f}, of epoch {row['best_epoch']}")
    print(f"written: {path} and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
