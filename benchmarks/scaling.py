"""A training step on one and two processes (MPI): measured, and predicted for up to 1,024 workers and other networks.

    python -m benchmarks.scaling                     # small, medium, large: about ten minutes
    python -m benchmarks.scaling --megabits 200      # over a network of that speed; needs root and Linux

Writes scaling-cpu.json and scaling-cpu.png. Each process has one thread. Measured in turns, medians over rounds:

    one      one process, B streams, the other one sleeps
    apart    two processes compute at the same time, B/2 streams each, without an exchange: what sharing a machine costs
    strong   two processes, B/2 streams each: the same batch
    late     the same, the exchange begins only after the backward pass
    weak     two processes, B streams each: twice the batch

The model of a step on R workers with b streams each, of n dense gradients and u used rows of the embedding:

    (1)  t(R, b) = p + q b + x(R)
    (2)  x(R) = a + 4 n c + 2 (R - 1) l + 2 (R - 1)/R 4 n / w + (R - 1)(l + u (4 H + 8)(1/w + c))

p and q are fitted to steps of one process with 1 to B streams; a and c (copies and additions in memory) to exchanges of
a process with itself; the network's latency l and bandwidth w to exchanges of two processes. (2) is a ring all-reduce
and a ring all-gather; nothing is hidden behind the backward pass. The networks of predictions have nominal values
(`NETWORKS`).
A GPU's step is that measured on one H100 (benchmarks/results/speed-cuda.json); several have not been measured.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import workers
from benchmarks.machine import describe, make_parser, write
from minilstm import plain
from minilstm.blocks import use_threads
from minilstm.config import PRESETS
from minilstm.device import keep_freed_memory
from minilstm.layers.embedding import SparseGradient
from minilstm.parallel import Exchange, parallel_step
from minilstm.ranks import Ranks, join
from minilstm.step import init_train_state, train_step

COUNTS = 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024
SIZES = 10**3, 10**4, 10**5, 10**6, 4 * 10**6  # numbers in an exchange that is timed by itself
NETWORKS = {  # nominal: seconds of latency, bytes per second in each direction
    "10 Gb/s": (30e-6, 1.25e9),
    "100 Gb/s": (3e-6, 12.5e9),
    "NVLink": (3e-6, 450e9),
}
GPU_STEP = {"small": 0.71e-3, "medium": 4.15e-3, "large": 9.51e-3}  # seconds, H100: speed-cuda.json
GPU_COPIES = 5 / 3e12  # seconds per byte: five passes through memory of 3 TB/s, nominal
SECONDS_OF_A_ROUND = 0.5
KINDS = "one", "apart", "strong", "late", "weak"


def quiet_barrier(comm):
    """Wait for the others without using the processor."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(0.002)


def timed_steps(step, count):
    """Median seconds of a step."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def make_step(config, b, params, ranks=None, early=True):
    """A training step of b streams, with the other ranks or alone; all steps share their weights."""
    state = init_train_state(config, [str(n) for n in range(workers.VOCAB_SIZE)], params=params)
    state = state._replace(carried=[(h[:b].copy(), c[:b].copy()) for h, c in state.carried])
    inputs, targets = workers.random_ids((config.num_steps, b))
    if ranks is None:
        return lambda: train_step(state, inputs, targets, 1e-3)
    step = parallel_step(state, ranks.with_kernels(plain), early)
    return lambda: step(inputs, targets, 1e-3)


def exchange_seconds(ranks, sizes, repeats=9):
    """Median seconds of an exchange of so many numbers and one row of an embedding."""
    result = []
    for size in sizes:
        exchange, x = Exchange(ranks), np.ones(size, np.float32)

        def once(exchange=exchange, x=x):
            rows = SparseGradient(np.zeros(1, np.int64), np.ones((1, 1), np.float32))
            exchange.finish(np.zeros((), np.float32), {"x": x, "rows": rows}, plain.embedding_backward)

        once()
        result.append(timed_steps(once, repeats))
    return result


def worker(preset, rounds):
    """One rank of the measurement; rank 0 prints the result as JSON."""
    from mpi4py import MPI

    keep_freed_memory()
    ranks = join()
    use_threads(1)
    config, R = PRESETS[preset], ranks.size
    B = config.batch_size
    params = init_train_state(config, [str(n) for n in range(workers.VOCAB_SIZE)]).params
    steps = {
        "one": make_step(config, B, params),
        "apart": make_step(config, B // R, params),
        "strong": make_step(config, B // R, params, ranks),
        "late": make_step(config, B // R, params, ranks, early=False),
        "weak": make_step(config, B, params, ranks),
    }
    streams = [b for b in (1, 2, 5, 10) if b < B]
    steps |= {f"{b} streams": make_step(config, b, params) for b in streams}
    alone = {"one", *(f"{b} streams" for b in streams)}
    times, counts, received = {kind: [] for kind in steps}, {}, {}
    for n in range(rounds + 1):
        for kind in list(steps)[:: -1 if n % 2 else 1]:
            quiet_barrier(ranks.comm)
            if kind in alone and ranks.rank:
                continue
            before = ranks.bytes_received
            seconds = timed_steps(steps[kind], counts.get(kind, 2))
            if n == 0:  # warms up, and says how many steps fill a round
                count = max(2, round(SECONDS_OF_A_ROUND / seconds))
                counts[kind] = count if kind in alone else ranks.comm.bcast(count)
                received[kind] = (ranks.bytes_received - before) // 2
            else:
                times[kind].append(seconds)
    quiet_barrier(ranks.comm)
    two = exchange_seconds(ranks, SIZES)
    quiet_barrier(ranks.comm)
    if ranks.rank == 0:
        itself = exchange_seconds(Ranks(MPI.COMM_SELF, MPI.COMM_TYPE_SHARED), SIZES)
        used = len(np.unique(workers.random_ids((config.num_steps, B // R))[0]))
        numbers = sum(param.size for name, param in params.items() if name != "encoder.weight")
        out = {"seconds": times, "two": two, "itself": itself, "bytes": received, "rows": used, "numbers": numbers}
        print(json.dumps(out), file=sys.__stdout__, flush=True)
    quiet_barrier(ranks.comm)


@contextmanager
def slow_network(megabits):
    """Two network namespaces, joined by a link of that many megabits per second; yields mpiexec's options there."""
    names, folder = ("minilstm0", "minilstm1"), tempfile.TemporaryDirectory()
    launch = Path(folder.name) / "launch"
    launch.write_text(
        '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nhost=$1; shift\n'
        f'[ "$host" = 10.77.0.2 ] && exec ip netns exec {names[1]} sh -c "$*"\n'
        f'exec ip netns exec {names[0]} sh -c "$*"\n'
    )
    launch.chmod(0o755)
    commands = [f"netns add {name}" for name in names]
    commands += [f"link add link0 netns {names[0]} type veth peer name link0 netns {names[1]}"]
    for n, name in enumerate(names):
        commands += [f"-n {name} addr add 10.77.0.{n + 1}/24 dev link0", f"-n {name} link set lo up"]
        commands += [f"-n {name} link set link0 up"]
        commands += [f"netns exec {name} tc qdisc add dev link0 root tbf rate {megabits}mbit burst 64kb latency 50ms"]
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True)
        time.sleep(3)  # until the link is up
        environment = {"UCX_TLS": "tcp,self", "MPIR_CVAR_CH4_NETMOD": "ucx", "MPIR_CVAR_NOLOCAL": "1"}
        options = ["-launcher", "ssh", "-launcher-exec", str(launch), "-hosts", "10.77.0.1,10.77.0.2"]
        yield ["ip", "netns", "exec", names[0], "env", *(f"{k}={v}" for k, v in environment.items())], options
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)
        folder.cleanup()


def measure(preset, rounds, megabits=None):
    """Start the two ranks, and read what rank 0 prints."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpiexec = shutil.which("mpiexec", path=path)
    with slow_network(megabits) if megabits else nullcontext(([], [])) as (prefix, options):
        program = [sys.executable, "-m", "benchmarks.scaling", "--worker", preset, "--rounds", str(rounds)]
        command = [*prefix, mpiexec, *options, "-n", "2", *program]
        process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
    return json.loads(process.stdout)


def line(x, y):
    """Intercept and slope, at least 0, that fit best in relative error."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    a, b = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones_like(y), rcond=None)[0]
    return (float(a), float(b)) if a > 0 else (0.0, float((x / y).sum() / (x * x / y / y).sum()))


def fit(preset, raw):
    """The numbers of the model, from what was measured."""
    config = PRESETS[preset]
    streams = {config.batch_size: raw["seconds"]["one"]}
    streams |= {int(kind.split()[0]): times for kind, times in raw["seconds"].items() if kind.endswith("streams")}
    p, q = line(list(streams), [median(times) for times in streams.values()])
    nbytes = [4 * size for size in SIZES]
    a, c = line(nbytes, raw["itself"])
    a2, slope = line(nbytes, raw["two"])
    return {
        "p": p,
        "q": q,
        "a": a,
        "c": c,
        "latency": max(a2 - a, 0.0) / 3,  # (2) for R = 2, without rows
        "bandwidth": 1 / max(slope - c, 1e-12),
    }


def exchange_parts(R, preset, raw, a, c, latency, bandwidth, b):
    """The terms of (2)."""
    config = PRESETS[preset]
    row = 4 * config.hidden_size + 8
    used = raw["rows"] * b / (config.batch_size / 2)  # measured with half of the batch
    nbytes = 4 * raw["numbers"]
    return {
        "memory": a + nbytes * c,
        "latency": 3 * (R - 1) * latency if R > 1 else 0.0,
        "gradients": 2 * (R - 1) / R * nbytes / bandwidth,
        "rows": (R - 1) * used * row * (1 / bandwidth + c),
    }


def predict_two(preset, raw, model):
    """Seconds of the kinds with an exchange, on two processes; the computation is that of `apart`, or of `one`."""
    seconds, B = {kind: median(times) for kind, times in raw["seconds"].items()}, PRESETS[preset].batch_size
    numbers = {name: model[name] for name in ("a", "c", "latency", "bandwidth")}
    contention = seconds["apart"] / (model["p"] + model["q"] * B / 2)
    strong = seconds["apart"] + sum(exchange_parts(2, preset, raw, **numbers, b=B / 2).values())
    weak = seconds["one"] * max(1.0, contention) + sum(exchange_parts(2, preset, raw, **numbers, b=B).values())
    return {"strong": strong, "late": strong, "weak": weak}


def predict_many(preset, raw, model):
    """Weak scaling, B streams a worker: rows for each kind of worker and network, by number of workers."""
    B, result = PRESETS[preset].batch_size, {}
    kinds = {
        "CPU, 10 Gb/s": (model["p"] + model["q"] * B, model["a"], model["c"], "10 Gb/s"),
        "CPU, 100 Gb/s": (model["p"] + model["q"] * B, model["a"], model["c"], "100 Gb/s"),
        "GPU, 100 Gb/s": (GPU_STEP[preset], 20e-6, GPU_COPIES, "100 Gb/s"),
        "GPU, NVLink": (GPU_STEP[preset], 20e-6, GPU_COPIES, "NVLink"),
    }
    for kind, (compute, a, c, network) in kinds.items():
        latency, bandwidth = NETWORKS[network]
        rows = {}
        for R in COUNTS:
            parts = exchange_parts(R, preset, raw, a, c, latency, bandwidth, B) if R > 1 else {}
            efficiency = compute / (compute + sum(parts.values()))
            rows[R] = {"milliseconds": 1e3 * (compute + sum(parts.values())), "speedup": R * efficiency}
            rows[R] |= {"efficiency": efficiency, "largest": max(parts, key=parts.get) if parts else None}
        below = next((R for R in COUNTS if rows[R]["efficiency"] < 0.5), None)
        result[kind] = {"workers": rows, "below half at": below, "because of": below and rows[below]["largest"]}
    return result


def summary(raw):
    """Milliseconds of each kind, and the range over rounds."""
    rows = {kind: [1e3 * t for t in times] for kind, times in raw["seconds"].items()}
    return {kind: {"milliseconds": median(t), "range": [min(t), max(t)]} for kind, t in rows.items()}


def print_rows(preset, where, raw, predicted):
    for kind in KINDS:
        row, guess = summary(raw)[kind], predicted.get(kind)
        text = f"{preset:8}{where:12}{kind:8}{row['milliseconds']:>9.1f}"
        text += f"{'({:.1f}-{:.1f})'.format(*row['range']):>18}"
        if guess:
            text += f"{1e3 * guess:>12.1f}{1e3 * guess / row['milliseconds'] - 1:>+8.0%}"
        print(text, flush=True)


def draw(result, path):
    """Speedup against workers, one panel per preset: two processes measured, many predicted."""
    from matplotlib.figure import Figure

    presets = list(result["measured"])
    figure = Figure(figsize=(3.4 * len(presets), 4.2), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(presets), squeeze=False)[0]
    styles = {
        "CPU, 10 Gb/s": "#D55E00",
        "CPU, 100 Gb/s": "#0072B2",
        "GPU, 100 Gb/s": "#E69F00",
        "GPU, NVLink": "#009E73",
    }
    for axes, preset in zip(panels, presets, strict=True):
        axes.plot(COUNTS, COUNTS, color="#999999", linewidth=1, label="ideal")
        for kind, colour in styles.items():
            rows = result["predicted"][preset][kind]["workers"]
            axes.plot([int(R) for R in rows], [row["speedup"] for row in rows.values()], "--", color=colour,
                      linewidth=2, label=f"{kind}, predicted")  # fmt: skip
        seconds = {kind: row["milliseconds"] for kind, row in result["measured"][preset]["this machine"].items()}
        axes.plot([2], [2 * seconds["one"] / seconds["weak"]], "o", color="black", markersize=7, zorder=5,
                  label="two processes here, measured")  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks([1, 4, 16, 64, 256, 1024], labels=["1", "4", "16", "64", "256", "1024"])
        axes.set_yticks([1, 4, 16, 64, 256, 1024], labels=["1", "4", "16", "64", "256", "1024"])
        axes.set_title(preset)
        axes.set_xlabel("workers, 20 streams each")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("words/s, relative to one worker")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(path)


def main():
    parser = make_parser("scaling", __doc__)
    parser.add_argument("presets", nargs="*", default=["small", "medium", "large"], metavar="preset")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabits", type=int, help="also over a network of so many megabits per second (needs root)")
    parser.add_argument("--worker", metavar="PRESET", help="for mpiexec: one of the two processes")
    args = parser.parse_args()
    if args.worker:
        return worker(args.worker, args.rounds)
    result = {"machine": describe("cpu"), "load before": os.getloadavg()[0], "rounds": args.rounds}
    result |= {"measured": {}, "model": {}, "predicted for two": {}, "bytes of a step": {}, "predicted": {}, "raw": {}}
    print(*(f"{name}: {value}" for name, value in result["machine"].items()), sep="\n")
    print("preset  network     kind    median, ms           (range)   predicted   error")
    for preset in args.presets:
        for name in ("measured", "model", "predicted for two", "raw"):
            result[name][preset] = {}
        for megabits in (None, args.megabits) if args.megabits else (None,):
            where = f"{megabits} Mb/s" if megabits else "this machine"
            raw = measure(preset, args.rounds, megabits)
            model = fit(preset, raw)
            predicted = predict_two(preset, raw, model)
            result["raw"][preset][where], result["measured"][preset][where] = raw, summary(raw)
            result["model"][preset][where], result["predicted for two"][preset][where] = model, predicted
            result["bytes of a step"][preset] = raw["bytes"]
            print_rows(preset, where, raw, predicted)
            if megabits is None:
                result["predicted"][preset] = predict_many(preset, raw, model)
        for kind, rows in result["predicted"][preset].items():
            print(
                f"{preset:8}{kind:16}below half of the ideal at {rows['below half at']} workers: {rows['because of']}"
            )
    result["load after"] = os.getloadavg()[0]
    path = args.out / "scaling-cpu.json"
    write(result, path, draw)
    print(f"written: {path} and .png")


if __name__ == "__main__":
    main()
