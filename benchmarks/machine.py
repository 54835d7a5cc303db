"""What the benchmarks share: command line, results, the machine and its limits, the work of a training step."""

import argparse
import json
import os
import platform
import re
import resource
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import numpy as np

from minilstm.blocks import default_threads
from minilstm.device import select_device, use_precision
from minilstm.errors import UserError
from minilstm.files import atomic_write


def make_parser(name, doc):
    """The command line of ``python -m benchmarks.<name>``, with the option that all have."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=doc.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="directory (benchmarks/results)")
    return parser


def require_gpu(parser):
    """CuPy; without a usable GPU the program ends with one line and status 2."""
    try:
        return select_device("cuda")[0]
    except UserError as error:
        return parser.exit(2, f"{parser.prog}: error: {error}\n")


def begin(path, heading, resume):
    """A result without rows; with `resume` the one in a file, if it has the same heading: machine, dtype and so on."""
    if resume and path.exists():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        if {name: earlier.get(name) for name in heading} == heading:
            return earlier
        print(f"{path} is of another machine or setting and will be replaced")
    return heading | {"rows": []}


def write(result, path, draw=None):
    """Write a result to a JSON file, atomically, and a picture of it beside the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2) + "\n"
    atomic_write(path, text)
    if draw:
        draw(json.loads(text), path.with_suffix(".png"))


def describe(device):
    """Processor, threads, device and library versions as a dict."""
    cpu = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            cpu = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), cpu)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    description = {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": default_threads(),
        "python": platform.python_version(),
        "numpy": f"{np.__version__}, {blas['name']} {blas['version']}",
        "device": select_device(device)[1],
    }
    try:
        description["torch"] = version("torch")  # without importing it: endurance.py measures this process's memory
    except PackageNotFoundError:
        description["torch"] = None
    if device == "cuda":
        from cupy.cuda import runtime

        numbers = {"runtime": runtime.runtimeGetVersion(), "driver": runtime.driverGetVersion()}
        description |= {f"CUDA {name}": f"{n // 1000}.{n % 1000 // 10}" for name, n in numbers.items()}
    return description


def peak_memory_mb():
    """Peak memory of this process. On Linux getrusage would include the process that it was forked from."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def gemm_rate(device, config, rounds=5):
    """Operations per second of a large square matrix product, median over rounds: the limit of this machine."""
    xp, _ = select_device(device)
    use_precision(xp, config.precision)
    size = 8192 if device == "cuda" else 3072
    rng = np.random.default_rng(0)
    a, b = (xp.asarray(rng.standard_normal((size, size), dtype="float32").astype(config.dtype)) for _ in range(2))
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        float((a @ b)[0, 0])
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / median(seconds[1:])


def copy_rate(device, rounds=5):
    """Bytes per second of a large copy, reads and writes both counted, median over rounds."""
    xp, _ = select_device(device)
    a = xp.ones(2**28 if device == "cuda" else 2**25, dtype="float32")
    b = xp.empty_like(a)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        b[...] = a
        float(b[0])
        seconds.append(time.perf_counter() - start)
    return 2 * a.nbytes / median(seconds[1:])


def step_operations(config, vocab_size, shape, train):
    """Operations of a step's matrix products: 2 m n k per product, with two more products each in the backward pass."""
    words, H = shape[0] * shape[1], config.hidden_size
    forward = 2 * words * (config.num_layers * 4 * H * (H + H) + H * vocab_size)
    return 3 * forward if train else forward


def step_bytes(config, vocab_size, shape):
    """Memory traffic of a training step of the fused set with SGD, without caches, in bytes, counted by hand.

    Passes over each array, for N = T B words:

    - W_hh of each layer: read by T products forward and T - 1 backward, plus 5 for the update. These are: the gradient
      is written, read for the norm and read by the update, which reads and writes the weight.
    - W_ih of each layer and the decoder's weight: read by one product forward and one backward, plus 5.
    - The embedding: read forward, plus 5, in N rows only, as if all words of the window were different.
    - The logits (N, V): written by the product; read and written by the bias; read twice by the softmax, which writes
      the exponentials; these are read by its backward pass, which writes ds; ds is read by two products and a sum.

    Not counted are arrays of N times a few H elements (activations, their gradients, masks), biases, and the transposed
    copy of W_hh.
    """
    T, B = shape
    N, V, H, L = T * B, vocab_size, config.hidden_size, config.num_layers
    recurrent, other, embedding = L * 4 * H * H, L * 4 * H * H + V * H, N * H
    elements = (2 * T - 1 + 5) * recurrent + (2 + 5) * other + (1 + 5) * embedding + 11 * N * V
    return np.dtype(config.dtype).itemsize * elements
