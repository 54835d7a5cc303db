"""What each idea after 2014 is worth: alone, added to a small model, and lost, taken from a model with all of them.

    python -m benchmarks.ablation --data data/ptb              # prints all commands and runs what is not finished
    python -m benchmarks.ablation --data data/ptb --dry-run    # only prints them

All runs are the preset `small` with one more idea or one less, with seed 0, the same schedule and one thread each;
`--jobs` of them run at a time, at the lowest priority. The schedule is that of models with dropout: by itself, `small`
is better with its own. Perplexities are those of the epoch whose validation was best. A run takes half an hour on a
core; with `--device cuda` they are trained on the GPU. Runs are kept in build/ablation and are resumed after an
interrupt. ablation.json and ablation.png are written when all are done, from their metrics.csv.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import describe, make_parser, require_gpu, write
from minilstm.arguments import Parser, positive
from minilstm.commands.train import add_config_flags, config_overrides
from minilstm.config import PRESETS
from minilstm.errors import UserError
from minilstm.runs.directory import read_config, read_description, read_metrics
from minilstm.text.corpus import fingerprints_of_text, load_corpus

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
LOCKED = "locked dropout instead", "all dropout", "only its locked masks"  # what these bars are in the two panels
CURVES = {"small": "-", "small + averaging": "-.", "small + dropout": ":", "all": "-", "all - dropout": "--"}
SEEDS_APART = 1.8  # of the test perplexity: the range of three seeds of `small`


def runs():
    """Name of each run -> flags, in the order of the figure. Locked dropout is dropout: it comes and goes with it."""
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


def require_ours(runs_of_work, work, data):
    """Refuse a folder that holds a run of another text or other flags: its figures would be taken for these."""
    texts = fingerprints_of_text(load_corpus(data))
    for name, flags in runs_of_work.items():
        run = folder_of(name, work)
        if (run / "config.json").exists():
            parser = Parser()
            add_config_flags(parser)
            args = parser.parse_args(flags.split())
            wanted = replace(PRESETS[args.model], **config_overrides(args))
            description = read_description(run)
            if description["text"] != texts or read_config(description, run) != wanted:
                raise UserError(f"{run} is not this run of {data}; give another folder as --work")


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
    with open(run.with_suffix(".log"), "a") as log:
        return subprocess.run(command, stdout=log, stderr=log, preexec_fn=lambda: os.nice(19)).returncode


def measured(name, flags, data, work):
    """A row: perplexities of the best epoch, and of each epoch's validation."""
    rows = read_metrics(folder_of(name, work))
    valid = [row["perplexity"] for row in rows if row["split"] == "valid"]
    test = {row["epoch"]: row["perplexity"] for row in rows if row["split"] == "test"}
    best = valid.index(min(valid)) + 1
    train_of = {row["epoch"]: row["perplexity"] for row in rows if row["split"] == "train"}
    perplexities = {"train": train_of[best], "valid": min(valid), "test": test[best], "valid_by_epoch": valid}
    return {"name": name, "command": f"minilstm train --data {data} {flags}", "best_epoch": best, **perplexities}


def draw(result, path):
    """Bars: test perplexity of `small` with each idea alone, and of the model with all ideas but one; and curves."""
    from matplotlib.figure import Figure

    rows = {row["name"]: row for row in result["rows"]}
    figure = Figure(figsize=(9, 7.5), dpi=150, layout="constrained")
    alone, without, curves = figure.subplot_mosaic([["alone", "without"], ["curves", "curves"]]).values()
    for axes, base, sign, colour, title in (
        (alone, "small", "+", COLOURS[0], "one idea added to small\n(test {:.1f})"),
        (without, "all", "-", COLOURS[1], "one idea taken from all\n(test {:.1f}; another scale)"),
    ):
        change = [rows[f"{base} {sign} {idea}"]["test"] - rows[base]["test"] for idea in IDEAS]
        bars = axes.barh(list(IDEAS), change, color=colour)
        axes.bar_label(bars, fmt="{:+.1f}", fontsize=9, padding=3)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.axvspan(-SEEDS_APART, SEEDS_APART, color="lightgrey", zorder=0)
        axes.set_title(title.format(rows[base]["test"]), fontsize=11)
        axes.set_xlabel("change of the test perplexity")
        axes.invert_yaxis()
        axes.margins(x=0.25)
    alone.set_yticks(range(len(IDEAS)), [LOCKED[0] if idea == "locked dropout" else idea for idea in IDEAS])
    without.set_yticks(range(len(IDEAS)), [*LOCKED[1:], *[""] * (len(IDEAS) - 2)])
    alone.text(-29, len(IDEAS) - 1.8, "grey: as much as\nanother seed changes", va="center", fontsize=9)
    for name, style in CURVES.items():
        valid = rows[name]["valid_by_epoch"]
        curves.plot(
            range(1, len(valid) + 1), valid, style, label=name, color=COLOURS[name.startswith("all")], linewidth=2
        )
    curves.set_xlabel("epoch")
    curves.set_ylabel("validation perplexity (log scale)")
    curves.set_yscale("log")
    curves.set_yticks(ticks := [90, 100, 110, 120, 130, 140, 160, 180, 200], [str(tick) for tick in ticks])
    curves.minorticks_off()
    curves.grid(axis="y", alpha=0.3)
    curves.legend(frameon=False)
    for axes in (alone, without, curves):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main():
    parser = make_parser("ablation", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the Penn Treebank")
    parser.add_argument("--work", type=Path, default=Path("build/ablation"), help="folder of the runs (build/ablation)")
    parser.add_argument("--jobs", type=positive, default=2, help="runs at a time (2)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where they are trained (cpu)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands only")
    args = parser.parse_args()
    for name, flags in runs().items():
        print(f"{name}:\n    minilstm train --data {args.data} --threads 1 {flags}")
    if args.dry_run:
        return 0
    try:
        require_ours(runs(), args.work, args.data)
        for folder in (args.work, args.out):
            folder.mkdir(parents=True, exist_ok=True)
    except (UserError, OSError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    if args.device == "cuda":
        require_gpu(parser)
    try:
        with ThreadPoolExecutor(args.jobs) as pool:
            statuses = list(pool.map(lambda item: train(*item, args.data, args.work, args.device), runs().items()))
    except KeyboardInterrupt:  # the runs have got it, too, and have saved
        parser.exit(130, "interrupted; run this again to go on\n")
    if failed := [name for name, status in zip(runs(), statuses, strict=True) if status]:
        print(f"not finished, run this again: {', '.join(failed)}; see the .log files in {args.work}", file=sys.stderr)
        return 1
    rows = [measured(name, flags, args.data, args.work) for name, flags in runs().items()]
    path = args.out / "ablation.json"
    write({"machine": describe(args.device), "rows": rows}, path, draw)
    for row in rows:
        print(f"{row['name']:40} valid {row['valid']:.2f}, test {row['test']:.2f}, of epoch {row['best_epoch']}")
    print(f"written: {path} and .png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
