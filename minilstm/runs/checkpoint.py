"""Checkpoints: a train state in one file, for other frameworks and for an exact resume.

Tensors have the names and shapes of PyTorch's word-language-model example. That model has a second bias of the gates,
bias_hh, which is not needed here: in the file it is zero except for forget_bias at the forget gate. Adam's moments, if
any, are the tensors ``adam.m.*`` and ``adam.v.*``. The rest is metadata, including a checksum:

    sha256(the whole file, with 64 zeros in place of the digest)

It detects any changed byte, but not forgery.

The file is written atomically: a kill at any moment leaves either the old checkpoint or the new one. Its format is
safetensors; loading executes nothing.
"""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from minilstm.config import Config
from minilstm.device import to_host
from minilstm.errors import UserError
from minilstm.evaluate import perplexity
from minilstm.files import StrPath, atomic_write, parse_json, read_bytes
from minilstm.mixed_precision import INITIAL_LOSS_SCALE
from minilstm.model import param_shapes, weights_dtype
from minilstm.runs.directory import possible
from minilstm.step import MAX_NORMS, Progress, TrainState
from minilstm.types import Array, ArrayModule

FORMAT, EARLIER_FORMAT = "minilstm 3", "minilstm 2"
MAX_FILE_BYTES = 2**34  # a billion float32 parameters with Adam's moments
MAX_CARRIED_BYTES = 50_000_000  # of the carried state as text
MAX_HEADER_BYTES = 60_000_000  # the carried state, MAX_NORMS norms, and what is small
MAX_VALUES = MAX_NORMS + 20_000  # of a header, in objects and lists: 100 layers have 1,000 tensors with 9 values each
BLANK = b"0" * 64
# exceptions raised by the parts of a damaged or foreign file
DAMAGE = KeyError, TypeError, ValueError, AttributeError, RecursionError, safetensors.SafetensorError


def digest_of(contents: bytes, written: bytes) -> bytes:
    """The digest of a file's contents that have `written` in place of BLANK: 64 hexadecimal digits, as bytes."""
    data = 8 + int.from_bytes(contents[:8], "little")  # safetensors: the header's length, the header, the data
    digest = hashlib.sha256(contents[:data].replace(written, BLANK, 1))
    digest.update(memoryview(contents)[data:])
    return digest.hexdigest().encode()


def add_checksum(contents: bytes) -> bytes:
    """Replace the first BLANK of a file's contents by their digest.

    Examples
    --------
    >>> contents = add_checksum((66).to_bytes(8, "little") + b'"' + BLANK + b'"')
    >>> digest_of(contents, contents[9:73]) == contents[9:73]
    True
    """
    return contents.replace(BLANK, digest_of(contents, BLANK), 1)


def bias_hh(config: Config) -> Array:
    """PyTorch's second bias, (4H,): forget_bias for the forget gate (the second of i, f, g, o), zero elsewhere."""
    H = config.hidden_size
    bias = np.zeros(4 * H, dtype=weights_dtype(config))
    bias[H : 2 * H] = config.forget_bias
    return bias


def pack_checkpoint(state: TrainState) -> bytes:
    """The contents of a checkpoint file.

    Raises
    ------
    UserError
        If a value is not finite, or the carried state is too large.
    """
    config, progress = state.config, state.progress
    tensors = {name: to_host(param) for name, param in state.params.items()}
    tensors |= {f"rnn.bias_hh_l{k}": bias_hh(config) for k in range(config.num_layers)}
    for name, (m, v) in state.moments.items():
        tensors |= {f"adam.m.{name}": to_host(m), f"adam.v.{name}": to_host(v)}
    carried = {f"{part}{k}": to_host(x) for k, hc in enumerate(state.carried) for part, x in zip("hc", hc, strict=True)}
    for name, values in (tensors | carried).items():
        if not np.isfinite(values).all():
            raise UserError(
                f"diverged: after step {progress.step} {name} is not finite; lower learning_rate, max_grad_norm, "
                "init_scale or forget_bias (the last good checkpoint is kept)"
            )
    carried_text = base64.b64encode(safetensors.numpy.save(contiguous(carried))).decode()
    if len(carried_text) > MAX_CARRIED_BYTES:
        raise UserError(f"the carried state is over {MAX_CARRIED_BYTES:,} bytes; lower batch_size or hidden_size")
    metadata = {
        "sha256": BLANK.decode(),
        "format": FORMAT,
        "config": asdict(config),
        "vocabulary": state.vocabulary,
        "progress": asdict(progress),
        "loss_scale": None if state.loss_scale is None else to_host(state.loss_scale).tolist(),
        "carried": carried_text,
    }
    return add_checksum(safetensors.numpy.save(contiguous(tensors), {"minilstm": json.dumps(metadata)}))


def save_checkpoint(path: Path, state: TrainState) -> None:
    """Write a train state, with arrays on any device, atomically.

    Raises
    ------
    UserError
        If the run has diverged, the disk is full or the directory cannot be written; the old file is then left intact.
    """
    atomic_write(path, pack_checkpoint(state))


def contiguous(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays in C order: safetensors writes their memory unchanged."""
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def load_checkpoint(path: StrPath) -> TrainState:
    """Read a checkpoint and verify its checksum; its arrays are NumPy's.

    Raises
    ------
    UserError
        If the file is missing, truncated, damaged, or not written by minilstm.
    """
    path = Path(path)
    try:
        contents = read_bytes(path, MAX_FILE_BYTES)
        tensors, metadata = parse_tensors(contents)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; is {path.parent} the directory of a minilstm run?") from None
    except (OSError, *DAMAGE) as error:
        raise UserError(
            f"{path} cannot be read ({error}); it is damaged or not a checkpoint: use another copy"
        ) from None
    if not isinstance(metadata, dict) or metadata.get("format") not in (FORMAT, EARLIER_FORMAT):
        raise UserError(f"{path} was not written by this version of minilstm; use that which wrote it, or train again")
    try:
        return unpack_checkpoint(contents, tensors, metadata)
    except DAMAGE as error:
        raise UserError(f"{path} is damaged ({error}); use another copy") from None


def parse_tensors(contents: bytes) -> tuple[dict[str, Array], Any]:
    """The tensors and minilstm's metadata in a file's contents; raises one of `DAMAGE`.

    The header is measured before it is parsed: a list of millions of small values takes many times its size in memory.
    """
    size = int.from_bytes(contents[:8], "little")
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"its header is larger than {MAX_HEADER_BYTES:,} bytes")
    header = parse_values(contents[8 : 8 + size].decode("ascii"))
    metadata = parse_values(header.get("__metadata__", {}).get("minilstm", "{}"))
    return safetensors.numpy.load(contents), metadata  # refuses tensors that do not fill the file exactly


def parse_values(text: str) -> Any:
    """The value of a JSON text of at most MAX_VALUES values, all ASCII; raises one of `DAMAGE`."""
    if text.count(",") > MAX_VALUES or "\\u" in text:  # one wide character widens its whole string
        raise ValueError(f"its header has more than {MAX_VALUES:,} values, or characters that are not ASCII")
    return parse_json(text, 10_000, MAX_VALUES)


def unpack_checkpoint(contents: bytes, tensors: dict[str, Array], metadata: dict[str, Any]) -> TrainState:
    """A train state from the bytes, tensors and metadata of its file; raises one of `DAMAGE` if they do not match."""
    written, vocabulary = metadata["sha256"].encode(), metadata["vocabulary"]
    if type(vocabulary) is not str:
        raise TypeError("its vocabulary is not a fingerprint")
    if digest_of(contents, written) != written:
        raise ValueError("its sha256 does not match its contents")
    config = Config(**metadata["config"])
    counts = {**metadata["progress"]}
    if metadata["format"] == EARLIER_FORMAT:  # with other names and a constant loss scale
        counts["loss"] = counts.pop("cost")
        carried_text, scale = metadata["state"], [INITIAL_LOSS_SCALE, 0.0] if config.dtype == "float16" else None
    else:
        carried_text, scale = metadata["carried"], metadata["loss_scale"]
    progress = Progress(**counts)
    require_possible(progress, scale, config)
    shapes = param_shapes(config, len(tensors["decoder.bias"]))
    dtype = np.dtype(weights_dtype(config))
    expected = {name: (shape, dtype) for name, shape in shapes.items()}
    expected |= {f"rnn.bias_hh_l{k}": ((4 * config.hidden_size,), dtype) for k in range(config.num_layers)}
    if config.optimizer == "adam":
        expected |= {f"adam.{part}.{name}": (shape, dtype) for name, shape in shapes.items() for part in "mv"}
    require_tensors(tensors, expected)
    carried, _ = parse_tensors(base64.b64decode(carried_text, validate=True))
    state_shape = config.batch_size, config.hidden_size
    state_names = [f"{part}{k}" for k in range(config.num_layers) for part in "hc"]
    require_tensors(carried, dict.fromkeys(state_names, (state_shape, np.dtype(config.dtype))))
    for k in range(config.num_layers):
        if not np.array_equal(tensors[f"rnn.bias_hh_l{k}"], bias_hh(config)):
            raise ValueError(f"rnn.bias_hh_l{k} does not hold forget_bias")
    with_moments = shapes if config.optimizer == "adam" else ()
    return TrainState(
        config,
        vocabulary,
        params={name: tensors[name] for name in shapes},
        moments={name: (tensors[f"adam.m.{name}"], tensors[f"adam.v.{name}"]) for name in with_moments},
        carried=[(carried[f"h{k}"], carried[f"c{k}"]) for k in range(config.num_layers)],
        loss_scale=None if scale is None else np.array(scale, dtype=np.float32),
        progress=progress,
    )


def require_tensors(tensors: dict[str, Array], expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    """Raise a ValueError unless tensors have the expected names, shapes and dtypes and all values are finite."""
    if {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} != expected:
        raise ValueError("its tensors do not have the names, shapes and dtype of its config")
    for name, tensor in tensors.items():
        if not np.isfinite((tensor.min(), tensor.max())).all():  # takes no memory; NaN is the least and the greatest
            raise ValueError(f"{name} contains a value that is not finite")


def require_possible(progress: Progress, scale: object, config: Config) -> None:
    """Raise a ValueError unless a run can have these counts, loss, norms and loss scale."""
    counts = progress.epoch, progress.window, progress.step, progress.metric_rows
    if not all(type(count) is int and 0 <= count <= 2**53 for count in counts):
        raise ValueError("its progress has a count that is not a whole number of at least 0")
    loss, norms, steps = progress.loss, progress.norms, progress.window * config.num_steps
    if type(loss) is not float or loss < 0 or not (math.isfinite(perplexity(loss, steps)) if steps else loss == 0):
        raise ValueError("its loss is not possible after so many steps")
    if type(norms) is not list or len(norms) > MAX_NORMS or not all(type(x) is float and possible(x) for x in norms):
        raise ValueError(f"its norms are not a list of up to {MAX_NORMS:,} finite numbers of at least 0")
    if config.dtype != "float16" and scale is None:
        return
    numbers = scale if isinstance(scale, list) and config.dtype == "float16" else []
    if len(numbers) != 2 or not all(type(x) is float and 0 <= x < 1e30 for x in numbers):
        raise ValueError("its loss scale does not fit its dtype")


def on_device(state: TrainState, xp: ArrayModule) -> TrainState:
    """The train state with its arrays on the device of `xp`."""
    return state._replace(
        params={name: xp.asarray(param) for name, param in state.params.items()},
        moments={name: (xp.asarray(m), xp.asarray(v)) for name, (m, v) in state.moments.items()},
        carried=[(xp.asarray(h), xp.asarray(c)) for h, c in state.carried],
        loss_scale=None if state.loss_scale is None else xp.asarray(state.loss_scale),
    )
