"""What a command computes with: the device, the kernels, the threads."""

import hashlib
from argparse import BooleanOptionalAction, Namespace
from pathlib import Path

import numpy as np

import minilstm
from minilstm import __version__, plain, ranks
from minilstm.blocks import default_threads, use_threads
from minilstm.device import keep_freed_memory, select_device
from minilstm.errors import UserError
from minilstm.text.reading import STREAM
from minilstm.types import ArrayModule, Kernels


def select_backend(args: Namespace) -> tuple[ArrayModule, Kernels, str]:
    """The array module and kernels selected by --device and --kernels, and a line that describes the device.

    It also sets the number of threads. In an MPI job the kernels know of the ranks, which must all have the same flags.
    """
    keep_freed_memory()
    world = ranks.world
    if world and STREAM.fullmatch(args.data or ""):
        raise UserError("only one of several processes can read standard input; give a file as the text")
    xp, note = select_device(args.device, world.local_rank if world else None)
    threads = use_threads(args.threads or (max(1, default_threads() // world.local_size) if world else None))
    if xp is np:
        note += f"; {threads} thread{'s'[: threads > 1]}"
    kernels = select_kernels(args.kernels, xp)
    if world:
        versions = {"the version of minilstm": __version__, "the version of NumPy": np.__version__}
        versions["the source of minilstm"] = digest_of_sources()
        computes = {"the device": xp.__name__, "the kernels": kernels.__name__}
        ranks.require_same(world, versions | given_flags(args) | computes)
        kernels, note = world.with_kernels(kernels), f"{note}; {world.size} processes (MPI)"
    return xp, kernels, note


def select_kernels(name: str | None, xp: ArrayModule) -> Kernels:
    """Select a set of functions: "plain", "fused", or by default fused on a GPU and plain on a CPU.

    Raises
    ------
    UserError
        For "fused" on a CPU, or for another name.
    """
    if name not in (None, "plain", "fused"):
        raise UserError(f"there are no kernels {name!r}; give one of plain, fused")
    if name == "fused" and xp is np:
        raise UserError("the fused kernels need a GPU; use the plain kernels")
    if name == "plain" or xp is np:
        return plain
    import minilstm.gpu.fused

    return minilstm.gpu.fused


def digest_of_sources() -> str:
    """A fingerprint of the package's Python files: two installations of a version may differ."""
    package, digest = Path(minilstm.__file__).parent, hashlib.blake2b(digest_size=8)
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def given_flags(args: Namespace) -> dict[str, str]:
    """The command and its flags, name -> value; not those without a value, nor --threads, which may differ."""
    given = {"the command": args.command}
    for action in args.parser._actions:
        value = getattr(args, action.dest, None)
        name = action.option_strings[0] if action.option_strings else action.dest
        if isinstance(action, BooleanOptionalAction) and value is not None:
            given[name] = action.option_strings[not value]  # as --no-... was typed
        elif value not in (None, False) and action.dest != "threads":
            given[name] = "given" if value is True else str(value)
    return given
