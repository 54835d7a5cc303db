"""What a figure was measured on, and how fast that machine multiplies matrices."""

import os
import platform
import re
import resource
import sys
import time
from statistics import median

import numpy as np

from minilstm.device import select_device


def describe(device):
    """The machine, in a few words each."""
    cpu = platform.processor()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            cpu = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), cpu)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    description = {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": os.environ.get("OPENBLAS_NUM_THREADS", "default"),
        "python": platform.python_version(),
        "numpy": f"{np.__version__}, {blas['name']} {blas['version']}",
        "device": select_device(device)[1],
    }
    try:
        import torch

        description["torch"] = torch.__version__
    except ImportError:
        description["torch"] = None
    return description


def peak_memory_mb():
    """The most memory that this process has held. On Linux getrusage would count what it was forked from, too."""
    if os.path.exists("/proc/self/status"):
        with open("/proc/self/status") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def gemm_rate(device, dtype, size=3072, rounds=5):
    """Operations per second of a big square matrix product, the median of a few: as fast as this machine goes."""
    xp, _ = select_device(device)
    a, b = (xp.asarray(np.random.default_rng(0).random((size, size)).astype(dtype)) for _ in range(2))
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        float((a @ b)[0, 0])
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / median(seconds[1:])


def step_operations(config, vocab_size, shape, train):
    """Operations of a step's matrix products: 2 m n k for each product, and two more of each in the backward pass."""
    words, H = shape[0] * shape[1], config.hidden_size
    forward = 2 * words * (config.num_layers * 4 * H * (H + H) + H * vocab_size)
    return 3 * forward if train else forward
