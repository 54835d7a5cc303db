"""What a command computes with: the device, the kernels, the threads."""

from argparse import Namespace

import numpy as np

from minilstm import __version__, ranks
from minilstm.arguments import to_flag
from minilstm.blocks import default_threads, use_threads
from minilstm.device import keep_freed_memory, select_device
from minilstm.errors import UserError
from minilstm.model import select_kernels
from minilstm.text.reading import STREAM
from minilstm.types import ArrayModule, Kernels


def select_backend(args: Namespace) -> tuple[ArrayModule, Kernels, str]:
    """The array module and kernels selected by --device and --kernels, and a line that describes the device.

    It also sets the number of threads. In an MPI job the kernels know of the ranks, which must all have the same flags.
    """
    keep_freed_memory()
    world = ranks.world
    xp, note = select_device(args.device, world.local_rank if world else None)
    threads = use_threads(args.threads or (max(1, default_threads() // world.local_size) if world else None))
    if xp is np:
        note += f"; {threads} thread{'s'[: threads > 1]}"
    kernels = select_kernels(args.kernels, xp)
    if world:
        if STREAM.fullmatch(args.data or ""):
            raise UserError("only one of several processes can read standard input; give a file as the text")
        flags = {to_flag(name): value for name, value in vars(args).items() if name not in ("parser", "threads")}
        versions = {"the version of minilstm": __version__, "the version of NumPy": np.__version__}
        ranks.require_same(world, versions | flags | {"the device": xp.__name__, "the kernels": kernels.__name__})
        kernels, note = world.with_kernels(kernels), f"{note}; {world.size} processes (MPI)"
    return xp, kernels, note
