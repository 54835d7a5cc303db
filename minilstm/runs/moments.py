"""What only training needs: a second file of a checkpoint, so that the first holds nothing but PyTorch's tensors.

These are Adam's moments, ``adam.m.*`` and ``adam.v.*``; and where weights are averaged, the weights of the last step,
``last.*``: the first file then has their average, which is the model.

After step 297, ``checkpoint.safetensors`` and ``checkpoint-moments-297.safetensors`` belong together. A checkpoint is
saved in three steps, and a kill between any two of them leaves a checkpoint with its moments:

    1. the moments, under the name of their step: the old checkpoint and its moments are still there
    2. the checkpoint, which contains the sha256 of its moments, in place of the old one
    3. the old moments are removed
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.files import names_in, read_bytes, remove
from minilstm.runs.tensors import DAMAGE, MAX_FILE_BYTES, contiguous, parse_tensors, require_tensors
from minilstm.types import Array, Params

Moments = dict[str, tuple[Array, Array]]
Shapes = Mapping[str, tuple[int, ...]]
Expected = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


def moments_path(checkpoint: Path, step: int) -> Path:
    """The file of the moments of a checkpoint.

    Examples
    --------
    >>> moments_path(Path("checkpoint.safetensors"), 297).name
    'checkpoint-moments-297.safetensors'
    """
    return checkpoint.with_name(f"{checkpoint.stem}-moments-{step}.safetensors")


def is_moments_file(name: str, stem: str = "checkpoint") -> bool:
    """Whether this is a name that `moments_path` gives, for a checkpoint of this stem."""
    return re.fullmatch(rf"{re.escape(stem)}-moments-\d{{1,16}}\.safetensors", name, re.ASCII) is not None


def moment_tensors(moments: Moments, last: Params) -> dict[str, Array]:
    """The moments, and the weights of the last step if there are any, as tensors of a file, on the host."""
    adam = {f"adam.{part}.{name}": x for name, mv in moments.items() for part, x in zip("mv", mv, strict=True)}
    return {name: to_host(x) for name, x in (adam | {f"last.{name}": x for name, x in last.items()}).items()}


def from_tensors(tensors: Mapping[str, Array], shapes: Shapes) -> Moments:
    """Adam's moments of parameters of these names, from such tensors."""
    return {name: (tensors[f"adam.m.{name}"], tensors[f"adam.v.{name}"]) for name in shapes}


def expected_moments(shapes: Shapes, dtype: np.dtype[Any], adam: bool, last: bool) -> Expected:
    """The shape and dtype of each tensor: of Adam's moments, of the weights of the last step."""
    prefixes = [*["adam.m", "adam.v"] * adam, *["last"] * last]
    return {f"{prefix}.{name}": (shape, dtype) for name, shape in shapes.items() for prefix in prefixes}


def pack_moments(tensors: Mapping[str, Array]) -> tuple[bytes, str]:
    """The contents of a file of moments, and their checksum."""
    contents = safetensors.numpy.save(contiguous(tensors))
    return contents, sha256(contents).hexdigest()


def load_moments(checkpoint: Path, step: int, digest: str, expected: Expected) -> dict[str, Array]:
    """Read the tensors that belong to a checkpoint.

    Parameters
    ----------
    checkpoint : Path
    step : int
    digest : str
        The checksum of the file, according to the checkpoint.
    expected : dict
        Name -> shape and dtype of each tensor.

    Raises
    ------
    UserError
        If the file is missing, damaged, or not that of the checkpoint.
    """
    path = moments_path(checkpoint, step)
    try:
        contents = read_bytes(path, MAX_FILE_BYTES)
        if sha256(contents).hexdigest() != digest:
            raise ValueError(f"its sha256 is not the one in {checkpoint.name}")
        tensors, _ = parse_tensors(contents)
        require_tensors(tensors, expected)
    except FileNotFoundError:
        what = "Adam's moments" if any(name.startswith("adam") for name in expected) else "the weights of the last step"
        raise UserError(f"{path} is missing: training cannot continue without {what}; restore it") from None
    except (OSError, *DAMAGE) as error:
        raise UserError(
            f"{path} cannot be used ({error}); it is damaged or of another run: restore the one saved with "
            f"{checkpoint.name}"
        ) from None
    return tensors


def remove_other_moments(checkpoint: Path, step: int) -> None:
    """Remove the moments of all other steps: of earlier checkpoints, or of one that was never completed."""
    for name in names_in(checkpoint.parent):
        if is_moments_file(name, checkpoint.stem) and name != moments_path(checkpoint, step).name:
            remove(checkpoint.with_name(name))
