"""One file that holds a run: parameters any framework can read, and what an exact resume needs.

Tensors have the names and shapes of PyTorch's word-language-model example. That model adds a second bias to the
gates, bias_hh; ours has one, so the file's bias_hh is zero, or forget_bias in the forget gate's place. Adam's moments,
where there are any, are the tensors ``adam.m.*`` and ``adam.v.*``. The rest is metadata.

The file is written in one piece: a kill at any moment leaves the old checkpoint or the new one. Its format is
safetensors; loading executes nothing.
"""

import base64
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from minilstm.config import Config
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.files import write_whole
from minilstm.model import param_shapes, weights_dtype

FORMAT = "minilstm 1"


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
        If the disk is full or the directory cannot be written; the old file is still there then.
    """
    config, vocabulary, params, moments, state, progress = checkpoint
    tensors = {name: to_host(param) for name, param in params.items()}
    tensors |= {f"rnn.bias_hh_l{k}": bias_hh(config) for k in range(config.num_layers)}
    for name, (m, v) in moments.items():
        tensors |= {f"adam.m.{name}": to_host(m), f"adam.v.{name}": to_host(v)}
    carried = {f"{part}{k}": to_host(x) for k, layer in enumerate(state) for part, x in zip("hc", layer, strict=True)}
    metadata = {
        "format": FORMAT,
        "config": asdict(config),
        "vocabulary": vocabulary,
        "progress": asdict(progress),
        "state": base64.b64encode(safetensors.numpy.save(contiguous(carried))).decode(),
    }
    write_whole(path, safetensors.numpy.save(contiguous(tensors), {"minilstm": json.dumps(metadata)}))


def contiguous(tensors):
    """The same arrays in C order: safetensors writes memory as it lies."""
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def load_checkpoint(path):
    """Read a checkpoint and check that it is whole.

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
    if not path.is_file():
        raise UserError(f"{path} does not exist; is {path.parent} the directory of a minilstm run?")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("minilstm", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); it is damaged or not a checkpoint: use another copy"
        ) from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise UserError(f"{path} was not written by this version of minilstm; only its own checkpoints can be used")
    try:
        config = Config(**metadata["config"])
        progress = Progress(**metadata["progress"])
        carried = safetensors.numpy.load(base64.b64decode(metadata["state"]))
        state = [(carried[f"h{k}"], carried[f"c{k}"]) for k in range(config.num_layers)]
        moments = {
            name.removeprefix("adam.m."): (tensors.pop(name), tensors.pop(name.replace(".m.", ".v.", 1)))
            for name in sorted(tensors)
            if name.startswith("adam.m.")
        }
        for k in range(config.num_layers):
            del tensors[f"rnn.bias_hh_l{k}"]
        shapes = param_shapes(config, len(tensors["decoder.bias"]))
        expected = {name: (shape, weights_dtype(config)) for name, shape in shapes.items()}
        if {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} != expected:
            raise ValueError("its tensors do not have the names, shapes and dtype of its config")
        vocabulary = metadata["vocabulary"]
    except (KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise UserError(f"{path} is damaged ({error}); use another copy") from None
    params = {name: tensors[name] for name in shapes}
    return Checkpoint(config, vocabulary, params, moments, state, progress)


def on_device(checkpoint, xp):
    """The same checkpoint with its arrays on a device."""

    def move(arrays):
        return tuple(xp.asarray(array) for array in arrays)

    return checkpoint._replace(
        params={name: xp.asarray(param) for name, param in checkpoint.params.items()},
        moments={name: move(pair) for name, pair in checkpoint.moments.items()},
        state=[move(layer) for layer in checkpoint.state],
    )
