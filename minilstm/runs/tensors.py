"""safetensors files with a checksum, and how to read such files when they may be damaged or hostile.

The metadata of a file is one JSON object, under the key "minilstm". It includes a checksum:

    sha256(the whole file, with 64 zeros in place of the digest)

It detects any changed byte, but not forgery. Loading executes nothing.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from minilstm.files import parse_json
from minilstm.progress import MAX_NORMS
from minilstm.types import Array

Expected = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]  # name -> shape, dtype

MAX_FILE_BYTES = 2**34  # two billion float32 parameters with both of Adam's moments
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


def require_checksum(contents: bytes, digest: str) -> None:
    """Raise a ValueError unless `digest`, the checksum in a file's contents, is theirs."""
    if digest_of(contents, digest.encode()) != digest.encode():
        raise ValueError("its sha256 does not match its contents")


def pack_tensors(tensors: Mapping[str, Array], metadata: dict[str, Any]) -> bytes:
    """The contents of a file: tensors on the host, and metadata, to which the checksum is added."""
    text = json.dumps({"sha256": BLANK.decode()} | metadata)
    return add_checksum(safetensors.numpy.save(contiguous(tensors), {"minilstm": text}))


def contiguous(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays in C order: safetensors writes their memory unchanged."""
    return {name: np.ascontiguousarray(array) for name, array in tensors.items()}


def parse_tensors(contents: bytes) -> tuple[dict[str, Array], Any]:
    """The tensors and minilstm's metadata in a file's contents; raises one of `DAMAGE`."""
    metadata = parse_values(parse_header(contents).get("__metadata__", {}).get("minilstm", "{}"))
    return safetensors.numpy.load(contents), metadata  # refuses tensors that do not fill the file exactly


def parse_header(contents: bytes) -> dict[str, Any]:
    """The header of a file: name -> dtype, shape and offsets of each tensor, and metadata; raises one of `DAMAGE`.

    It is measured before it is parsed: a list of millions of small values takes many times its size in memory.
    """
    size = int.from_bytes(contents[:8], "little")
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"its header is larger than {MAX_HEADER_BYTES:,} bytes")
    header = parse_values(contents[8 : 8 + size].decode("ascii"))
    if not isinstance(header, dict):
        raise TypeError("its header is not an object")
    return header


def parse_values(text: str) -> Any:
    """The value of a JSON text of at most MAX_VALUES values, all ASCII; raises one of `DAMAGE`."""
    if text.count(",") > MAX_VALUES or "\\u" in text:  # one wide character widens its whole string
        raise ValueError(f"its header has more than {MAX_VALUES:,} values, or characters that are not ASCII")
    return parse_json(text, 10_000, MAX_VALUES)


def require_tensors(tensors: Mapping[str, Array], expected: Expected) -> None:
    """Raise a ValueError unless tensors have the expected names, shapes and dtypes and all values are finite."""
    if {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} != expected:
        raise ValueError("its tensors do not have the names, shapes and dtype of its config")
    for name, tensor in tensors.items():
        if not np.isfinite((tensor.min(), tensor.max())).all():  # takes no memory; NaN is the least and the greatest
            raise ValueError(f"{name} contains a value that is not finite")
