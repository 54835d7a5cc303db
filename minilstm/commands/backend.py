"""What a command computes with: the device, the kernels, the threads."""

from argparse import Namespace

import numpy as np

from minilstm.blocks import use_threads
from minilstm.device import keep_freed_memory, select_device
from minilstm.model import select_kernels
from minilstm.types import ArrayModule, Kernels


def select_backend(args: Namespace) -> tuple[ArrayModule, Kernels, str]:
    """The array module and kernels selected by --device and --kernels, and a line that describes the device.

    It also sets the number of threads.
    """
    keep_freed_memory()
    xp, note = select_device(args.device)
    threads = use_threads(args.threads)
    if xp is np:
        note += f"; {threads} thread{'s'[: threads > 1]}"
    return xp, select_kernels(args.kernels, xp), note
