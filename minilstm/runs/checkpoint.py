"""One file that holds a run: parameters any framework can read, and what an exact resume needs.

Tensors have the names and shapes of PyTorch's word-language-model example. That model adds a second bias to the
gates, bias_hh; ours has one, so the file's bias_hh is zero, or forget_bias in the forget gate's place. Adam's moments,
where there are any, are the tensors ``adam.m.*`` and ``adam.v.*``. The rest is metadata, and with it the sha256 of the
whole file, so that a byte that changes on the disk or on the way is noticed.

The file is written in one piece: a kill at any moment leaves the old checkpoint or the new one. Its format is
safetensors; loading executes nothing.
"""

import base64
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from minilstm.config import Config
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.files import atomic_write, parse_json, read_bytes
from minilstm.model import param_shapes, weights_dtype
from minilstm.runs.checksum import BLANK, digest_of, seal

FORMAT = "minilstm 2"
LARGEST = 2**34  # bytes of a file that is read: a billion float32 parameters with Adam's moments
MOST_STATE = 50_000_000  # bytes of the carried state as text; safetensors reads headers of up to 100 MB
# what the parts of a file that is not as we wrote it may raise
DAMAGE = KeyError, TypeError, ValueError, AttributeError, RecursionError, safetensors.SafetensorError


@dataclass
class Progress:
    """How far a run has come; the training loop counts here.

    Attributes
    ----------
    epoch, window : int
        The next window to train on, counted from 0. `window` may be one past the last: the epoch's evaluation is due.
    step : int
        Windows trained on so far, over all epochs.
    cost : float
        Sum of the costs of this epoch's windows.
    norms : list of float
        Gradient norms since the last report.
    metric_rows : int
        Rows of metrics.csv that are older than this.
    """

    epoch: int
    window: int
    step: int
    cost: float
    norms: list
    metric_rows: int


class Checkpoint(NamedTuple):
    """What a file holds, on the host.

    Attributes
    ----------
    config : Config
    vocabulary : str
        Fingerprint of the vocabulary.
    params : dict of array
    moments : dict
        Adam's name -> (m, v); empty for SGD.
    state : list of (h, c)
        The carried state, each (B, H).
    progress : Progress
    """

    config: Config
    vocabulary: str
    params: dict
    moments: dict
    state: list
    progress: Progress


def bias_hh(config):
    """PyTorch's second bias, (4H,): zeros, and forget_bias for the forget gate (the second of i, f, g, o)."""
    H = config.hidden_size
    bias = np.zeros(4 * H, dtype=weights_dtype(config))
    bias[H : 2 * H] = config.forget_bias
    return bias


def pack_checkpoint(checkpoint):
    """The bytes of a checkpoint's file.

    Raises
    ------
    UserError
        If something in it is not finite, or the carried state is too big.
    """
    config, vocabulary, params, moments, state, progress = checkpoint
    tensors = {name: to_host(param) for name, param in params.items()}
    tensors |= {f"rnn.bias_hh_l{k}": bias_hh(config) for k in range(config.num_layers)}
    for name, (m, v) in moments.items():
        tensors |= {f"adam.m.{name}": to_host(m), f"adam.v.{name}": to_host(v)}
    carried = {f"{part}{k}": to_host(x) for k, layer in enumerate(state) for part, x in zip("hc", layer, strict=True)}
    for name, values in (tensors | carried).items():
        if not np.isfinite(values).all():
            raise UserError(
                f"diverged: after step {progress.step} {name} is not finite; lower --learning-rate, --max-grad-norm, "
                "--init-scale or --forget-bias (the last good checkpoint is kept)"
            )
    metadata = {
        "sha256": BLANK.decode(),
        "format": FORMAT,
        "config": asdict(config),
        "vocabulary": vocabulary,
        "progress": asdict(progress),
        "state": base64.b64encode(safetensors.numpy.save(contiguous(carried))).decode(),
    }
    if len(metadata["state"]) > MOST_STATE:
        raise UserError(f"the carried state is over {MOST_STATE:,} bytes; lower --batch-size or --hidden-size")
    return seal(safetensors.numpy.save(contiguous(tensors), {"minilstm": json.dumps(metadata)}))


def save_checkpoint(path, checkpoint):
    """Write a checkpoint in one piece.

    Parameters
    ----------
    path : Path
    checkpoint : Checkpoint
        Its arrays may be on any device.

    Raises
    ------
    UserError
        If the run has diverged, the disk is full or the directory cannot be written; the old file is still there then.
    """
    atomic_write(path, pack_checkpoint(checkpoint))


def contiguous(tensors):
    """The same arrays in C order: safetensors writes memory as it lies."""
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def load_checkpoint(path):
    """Read a checkpoint and check that it is whole: every byte is as it was written.

    Parameters
    ----------
    path : path

    Returns
    -------
    Checkpoint

    Raises
    ------
    UserError
        If there is no such file, or it is cut short, damaged, or not written by minilstm.
    """
    path = Path(path)
    try:
        contents = read_bytes(path, LARGEST)
        tensors = safetensors.numpy.load(contents)  # refuses what does not fill the file exactly
        header = parse_json(contents[8 : 8 + int.from_bytes(contents[:8], "little")].decode(), 10_000)
        metadata = parse_json(header.get("__metadata__", {}).get("minilstm", "{}"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} the directory of a minilstm run?") from None
    except (OSError, *DAMAGE) as error:
        raise UserError(
            f"{path} cannot be read ({error}); it is damaged or not a checkpoint: use another copy"
        ) from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise UserError(f"{path} was not written by this version of minilstm; only its own checkpoints can be used")
    try:
        return unpack_checkpoint(contents, tensors, metadata)
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}); use another copy") from None


def unpack_checkpoint(contents, tensors, metadata):
    """A checkpoint from its file's bytes, tensors and metadata; one of `DAMAGE` if they do not belong together."""
    written = metadata["sha256"].encode()
    if digest_of(contents, written) != written:
        raise ValueError("its bytes are not those that were written, as their sha256 shows")
    config = Config(**metadata["config"])
    progress = Progress(**metadata["progress"])
    require_possible(progress)
    shapes = param_shapes(config, len(tensors["decoder.bias"]))
    dtype = np.dtype(weights_dtype(config))
    expected = {name: (shape, dtype) for name, shape in shapes.items()}
    expected |= {f"rnn.bias_hh_l{k}": ((4 * config.hidden_size,), dtype) for k in range(config.num_layers)}
    if config.optimizer == "adam":
        wide = np.promote_types(dtype, np.float32)
        expected |= {f"adam.{part}.{name}": (shape, wide) for name, shape in shapes.items() for part in "mv"}
    require_tensors(tensors, expected)
    carried = safetensors.numpy.load(base64.b64decode(metadata["state"], validate=True))
    state_shape = config.batch_size, config.hidden_size
    state_names = [f"{part}{k}" for k in range(config.num_layers) for part in "hc"]
    require_tensors(carried, dict.fromkeys(state_names, (state_shape, np.dtype(config.dtype))))
    for k in range(config.num_layers):
        if not np.array_equal(tensors[f"rnn.bias_hh_l{k}"], bias_hh(config)):
            raise ValueError(f"rnn.bias_hh_l{k} does not hold forget_bias")
    params = {name: tensors[name] for name in shapes}
    names = shapes if config.optimizer == "adam" else ()
    moments = {name: (tensors[f"adam.m.{name}"], tensors[f"adam.v.{name}"]) for name in names}
    state = [(carried[f"h{k}"], carried[f"c{k}"]) for k in range(config.num_layers)]
    return Checkpoint(config, str(metadata["vocabulary"]), params, moments, state, progress)


def require_tensors(tensors, expected):
    """A ValueError if tensors do not have the expected (shape, dtype) by name, or a value is not finite."""
    if {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} != expected:
        raise ValueError("its tensors do not have the names, shapes and dtype of its config")
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} holds a value that is not finite")


def require_possible(progress):
    """A ValueError if counts are not whole numbers of at least 0, or cost and norms not finite numbers."""
    counts = progress.epoch, progress.window, progress.step, progress.metric_rows
    if not all(type(count) is int and 0 <= count <= 2**53 for count in counts):
        raise ValueError("its progress is not in whole numbers of at least 0")
    if not all(type(value) is float and math.isfinite(value) for value in (progress.cost, *progress.norms)):
        raise ValueError("its progress has a cost or norm that is not a finite number")


def on_device(checkpoint, xp):
    """The same checkpoint with its arrays on a device."""

    def move(arrays):
        return tuple(xp.asarray(array) for array in arrays)

    return checkpoint._replace(
        params={name: xp.asarray(param) for name, param in checkpoint.params.items()},
        moments={name: move(pair) for name, pair in checkpoint.moments.items()},
        state=[move(layer) for layer in checkpoint.state],
    )
