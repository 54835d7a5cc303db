"""Checkpoints: a train state in a file, for other frameworks and for an exact resume.

Its tensors are those of PyTorch's word-language-model example, with their names and shapes: it loads there as it is.
That model has a second bias of the gates, bias_hh, which is not needed here: in the file it is zero except for
forget_bias at the forget gate. A tied weight has both names. The rest is metadata with a checksum: see tensors.py. What
only training needs is a second file: see moments.py.

Files are written atomically, and the moments first: a kill at any moment leaves either the old checkpoint or the new
one, complete. The format is safetensors; loading executes nothing.
"""

import base64
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from minilstm.config import Config, layer_sizes
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.files import StrPath, atomic_write, read_bytes
from minilstm.model import param_shapes, weights_dtype
from minilstm.runs.metadata import EARLIER_FORMATS, FORMAT, WITHOUT_AVERAGE, parse_metadata
from minilstm.runs.moments import (
    expected_moments,
    from_tensors,
    load_moments,
    moment_tensors,
    moments_path,
    pack_moments,
    remove_other_moments,
)
from minilstm.runs.tensors import (
    DAMAGE,
    MAX_FILE_BYTES,
    contiguous,
    pack_tensors,
    parse_tensors,
    require_checksum,
    require_tensors,
)
from minilstm.step import TrainState, trained_params
from minilstm.types import Array, ArrayModule, Params

UNREADABLE = "{} cannot be read ({}); it is damaged or not a checkpoint: use another copy"
MAX_CARRIED_BYTES = 50_000_000  # of the carried state as text


class Packed(NamedTuple):
    """The contents of the files of a checkpoint; `moments` is None for SGD."""

    step: int
    moments: bytes | None
    checkpoint: bytes


def added_tensors(config: Config, params: Params) -> dict[str, Array]:
    """The tensors that only PyTorch's model has: a tied decoder.weight, and its second biases of the gates, (4H,).

    These are forget_bias for the forget gate (the second of i, f, g, o), zero elsewhere.
    """
    added = {"decoder.weight": to_host(params["encoder.weight"])} if config.tie_weights else {}
    for k, H in enumerate(layer_sizes(config)[1:]):
        bias = np.zeros(4 * H, dtype=weights_dtype(config))
        bias[H : 2 * H] = config.forget_bias
        added[f"rnn.bias_hh_l{k}"] = bias
    return added


def pack_checkpoint(state: TrainState) -> Packed:
    """The contents of the files of a checkpoint.

    Raises
    ------
    UserError
        If a value is not finite, or the carried state is too large.
    """
    config, progress = state.config, state.progress
    tensors = {name: to_host(param) for name, param in trained_params(state).items()}
    tensors |= added_tensors(config, tensors)
    for_training = moment_tensors(state.moments, state.params if state.average else {})
    carried = {f"{part}{k}": to_host(x) for k, hc in enumerate(state.carried) for part, x in zip("hc", hc, strict=True)}
    for name, values in (tensors | for_training | carried).items():
        if not np.isfinite(values).all():
            raise UserError(
                f"diverged: after step {progress.step} {name} is not finite; lower learning_rate, max_grad_norm, "
                "init_scale or forget_bias (the last good checkpoint is kept)"
            )
    carried_text = base64.b64encode(safetensors.numpy.save(contiguous(carried))).decode()
    if len(carried_text) > MAX_CARRIED_BYTES:
        raise UserError(f"the carried state is over {MAX_CARRIED_BYTES:,} bytes; lower batch_size or hidden_size")
    moments, digest = pack_moments(for_training) if for_training else (None, None)
    metadata = {
        "format": FORMAT,
        "config": asdict(config),
        "vocabulary": state.vocabulary,
        "progress": asdict(progress),
        "loss_scale": None if state.loss_scale is None else to_host(state.loss_scale).tolist(),
        "moments": digest,
        "carried": carried_text,
    }
    return Packed(progress.step, moments, pack_tensors(tensors, metadata))


def write_checkpoint(path: Path, packed: Packed) -> None:
    """Write the files of a checkpoint, each atomically, and remove the moments of the one before.

    Raises
    ------
    UserError
        If the disk is full or the directory cannot be written; the old checkpoint is then left intact.
    """
    if packed.moments is not None:
        atomic_write(moments_path(path, packed.step), packed.moments)
    atomic_write(path, packed.checkpoint)
    if packed.moments is not None:
        remove_other_moments(path, packed.step)


def save_checkpoint(path: Path, state: TrainState) -> None:
    """Write a train state, with arrays on any device.

    Raises
    ------
    UserError
        As for `pack_checkpoint` and `write_checkpoint`.
    """
    write_checkpoint(path, pack_checkpoint(state))


def load_checkpoint(path: StrPath, with_moments: bool = True) -> TrainState:
    """Read a checkpoint and verify its checksum; its arrays are NumPy's.

    Parameters
    ----------
    path : path
    with_moments : bool
        Whether to read what only training needs, too; otherwise `params` are the averaged weights, if there are any.

    Raises
    ------
    UserError
        If a file is missing, truncated, damaged, or not written by minilstm.
    """
    path = Path(path)
    try:
        contents = read_bytes(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} the directory of a minilstm run?") from None
    except OSError as error:
        raise UserError(UNREADABLE.format(path, error)) from None
    state, digest = parse_checkpoint(path, contents)
    del contents  # the moments take twice as much
    if not with_moments or digest is None:
        return state if with_moments else state._replace(moments={})
    shapes = {name: param.shape for name, param in state.params.items()}
    dtype = np.dtype(weights_dtype(state.config))
    adam, averaged = state.config.optimizer == "adam", state.progress.average_start is not None
    tensors = load_moments(path, state.progress.step, digest, expected_moments(shapes, dtype, adam, averaged))
    if averaged:
        state = state._replace(average=state.params, params={name: tensors[f"last.{name}"] for name in shapes})
    return state._replace(moments=from_tensors(tensors, shapes) if adam else {})


def parse_checkpoint(path: Path, contents: bytes) -> tuple[TrainState, str | None]:
    """The train state in the contents of a checkpoint, and the sha256 of its moments if they are in another file.

    Raises
    ------
    UserError
        As for `load_checkpoint`.
    """
    try:
        tensors, metadata = parse_tensors(contents)
    except DAMAGE as error:
        raise UserError(UNREADABLE.format(path, error)) from None
    if not isinstance(metadata, dict) or metadata.get("format") not in (FORMAT, WITHOUT_AVERAGE, *EARLIER_FORMATS):
        raise UserError(f"{path} was not written by this version of minilstm; use that which wrote it, or train again")
    try:
        return unpack_checkpoint(contents, tensors, metadata)
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}); use another copy") from None


def unpack_checkpoint(
    contents: bytes, tensors: dict[str, Array], metadata: dict[str, Any]
) -> tuple[TrainState, str | None]:
    """A train state, and the sha256 of its moments if they are in another file.

    Raises one of `DAMAGE` if the bytes, tensors and metadata of the checkpoint do not match.
    """
    require_checksum(contents, metadata["sha256"])
    config, vocabulary, progress, scale, carried_text, digest = parse_metadata(metadata)
    shapes = param_shapes(config, len(tensors["decoder.bias"]))
    dtype = np.dtype(weights_dtype(config))
    expected = {name: (shape, dtype) for name, shape in shapes.items()}
    expected |= {f"rnn.bias_hh_l{k}": ((4 * H,), dtype) for k, H in enumerate(layer_sizes(config)[1:])}
    if config.tie_weights:
        expected["decoder.weight"] = expected["encoder.weight"]
    moments_inside = config.optimizer == "adam" and metadata["format"] in EARLIER_FORMATS
    if moments_inside:
        expected |= expected_moments(shapes, dtype, adam=True, last=False)
    require_tensors(tensors, expected)
    carried, _ = parse_tensors(base64.b64decode(carried_text, validate=True))
    sizes = layer_sizes(config)[1:]
    state_shapes = {f"{part}{k}": (config.batch_size, H) for k, H in enumerate(sizes) for part in "hc"}
    require_tensors(carried, {name: (shape, np.dtype(config.dtype)) for name, shape in state_shapes.items()})
    for name, tensor in added_tensors(config, tensors).items():
        if not np.array_equal(tensors[name], tensor):
            what = "forget_bias" if name.startswith("rnn") else "the embedding, to which it is tied"
            raise ValueError(f"{name} does not hold {what}")
    state = TrainState(
        config,
        vocabulary,
        params={name: tensors[name] for name in shapes},
        moments=from_tensors(tensors, shapes) if moments_inside else {},
        carried=[(carried[f"h{k}"], carried[f"c{k}"]) for k in range(config.num_layers)],
        loss_scale=None if scale is None else np.array(scale, dtype=np.float32),
        progress=progress,
        average={},
    )
    return state, digest


def on_device(state: TrainState, xp: ArrayModule) -> TrainState:
    """The train state with its arrays on the device of `xp`."""
    return map_arrays(state, xp.asarray)


def map_arrays(state: TrainState, function: Callable[[Array], Array]) -> TrainState:
    """The train state with `function` applied to each of its arrays."""
    return state._replace(
        params={name: function(param) for name, param in state.params.items()},
        moments={name: (function(m), function(v)) for name, (m, v) in state.moments.items()},
        carried=[(function(h), function(c)) for h, c in state.carried],
        loss_scale=None if state.loss_scale is None else function(state.loss_scale),
        average={name: function(param) for name, param in state.average.items()},
    )
