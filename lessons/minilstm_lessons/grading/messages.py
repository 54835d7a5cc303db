"""Values between the grader and the process of a student's code: JSON and raw numbers, never pickles.

Reading a message runs no code of whoever wrote it. Only NumPy and the standard library are imported here, because the
student's process loads this file alone.
"""

import itertools
import json
import math
import os
import re
import select
import struct
import time
from collections import deque
from collections.abc import Iterator, Mapping, MappingView

import numpy as np

HEAD = struct.Struct(">QQ")  # bytes of the JSON, bytes of the numbers
MAX_JSON, MAX_NUMBERS = 20_000_000, 64_000_000
MAX_SIZE = 10**6  # elements of an array whose numbers are sent
MAX_PARTS, MAX_DEPTH = 100_000, 20  # of a list in a list
NUMBERS = re.compile(r"[<>|=]?[biufc]\d{1,2}")


class BrokenError(Exception):
    """The message is none of ours, or its sender is gone."""


def encode(value, numbers, special=None, depth=0):
    """A value as JSON; the bytes of its arrays are appended to the list `numbers`.

    ``special(value, numbers)`` may return the JSON of a value of a kind that is not known here, or None.
    """
    if value is None or type(value) in (bool, int, float):
        return {"is": "plain", "value": value}
    if type(value) is str:
        return {"is": "plain", "value": value[:MAX_SIZE].encode(errors="replace").decode()}
    if value is ...:
        return {"is": "ellipsis"}
    known = special(value, numbers) if special else None
    if known is not None:
        return known
    if depth > MAX_DEPTH:
        return {"is": "other", "type": "list in itself"}
    if isinstance(value, Mapping):
        keys = [key if isinstance(key, str | int) else repr(key) for key in itertools.islice(value, MAX_PARTS)]
        parts = encode_all(value.values(), numbers, special, depth)
        return {"is": "dict", "keys": keys, "parts": parts}
    if isinstance(value, tuple | list | deque | MappingView | Iterator):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {"is": kind, "parts": encode_all(value, numbers, special, depth)}
    return encode_array(value, numbers)


def encode_all(values, numbers, special, depth):
    return [encode(part, numbers, special, depth + 1) for part in itertools.islice(values, MAX_PARTS)]


def encode_array(value, numbers):
    """An array or anything that NumPy or float() makes numbers of; otherwise the name of its type."""
    other = {"is": "other", "type": type(value).__name__[:100].encode(errors="replace").decode()}
    if np.ma.is_masked(value):
        return other
    if not isinstance(value, np.ndarray | np.generic):
        try:
            value = np.asarray(value) if hasattr(value, "__array__") else np.float64(value.__float__())
        except Exception:
            return other
    array = np.asarray(value)
    if array.size > MAX_SIZE:
        return {"is": "huge", "shape": array.shape}
    if array.dtype == np.longdouble or array.dtype.kind == "O":
        if any(isinstance(part, str | bytes | complex) for part in array.flat):
            return other
        try:
            array = array.astype(float)
        except Exception:
            return other
    if not NUMBERS.fullmatch(array.dtype.str):
        return other
    numbers.append(np.ascontiguousarray(array).tobytes())
    return {"is": "number" if isinstance(value, np.generic) else "array", "dtype": array.dtype.str,
            "shape": array.shape}  # fmt: skip


def decode(node, numbers, special=None):
    """The value that was encoded; `numbers` is a list of one memoryview, from which it takes its arrays' bytes.

    Raises
    ------
    BrokenError
    """
    try:
        return decode_node(node, numbers, special)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, MemoryError, OverflowError) as error:
        raise BrokenError(f"a message cannot be read: {type(error).__name__}") from None


def decode_node(node, numbers, special):
    kind = node["is"]
    if kind == "plain" and isinstance(node["value"], str | int | float | None):
        return node["value"]
    if kind == "ellipsis":
        return ...
    if kind in ("tuple", "list"):
        return (tuple if kind == "tuple" else list)(decode_node(part, numbers, special) for part in node["parts"])
    if kind == "dict":
        parts = [decode_node(part, numbers, special) for part in node["parts"]]
        return dict(zip(node["keys"], parts, strict=True))
    if kind == "huge":
        return np.broadcast_to(np.float64(0), [int(n) for n in node["shape"]])
    if kind in ("array", "number") and NUMBERS.fullmatch(node["dtype"]):
        dtype, shape = np.dtype(node["dtype"]), [int(n) for n in node["shape"]]
        size = dtype.itemsize * math.prod(shape)
        if any(n < 0 for n in shape) or size > len(numbers[0]):
            raise ValueError(shape)
        array = np.frombuffer(numbers[0][:size], dtype).reshape(shape).copy()
        numbers[0] = numbers[0][size:]
        return array if kind == "array" else array[()]
    if kind == "other":
        return type(str(node["type"])[:100].replace("\0", ""), (), {})()
    if special:
        return special(node, lambda part: decode_node(part, numbers, special))
    raise ValueError(kind)


def send(descriptor, message, numbers=()):
    """Write a message: a dict, and the bytes of its arrays."""
    text, body = json.dumps(message).encode(), b"".join(numbers)
    data = memoryview(HEAD.pack(len(text), len(body)) + text + body)
    while data:
        data = data[os.write(descriptor, data) :]


def receive(descriptor, until=None):
    """Read a message.

    Parameters
    ----------
    descriptor : int
    until : float, optional
        On the clock `time.monotonic`.

    Returns
    -------
    message : dict
    numbers : memoryview

    Raises
    ------
    BrokenError
    TimeoutError
    """
    text_size, body_size = HEAD.unpack(read(descriptor, HEAD.size, until))
    if text_size > MAX_JSON or body_size > MAX_NUMBERS:
        raise BrokenError("a message is too long")
    try:
        message = json.loads(read(descriptor, text_size, until))
    except (ValueError, RecursionError):
        raise BrokenError("a message is not JSON") from None
    if not isinstance(message, dict):
        raise BrokenError("a message is no dict")
    return message, memoryview(read(descriptor, body_size, until))


def read(descriptor, size, until):
    data = bytearray()
    while len(data) < size:
        if until is not None and not select.select([descriptor], [], [], max(0, until - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(descriptor, min(size - len(data), 1 << 20))
        if not part:
            raise BrokenError("the process has ended")
        data += part
    return bytes(data)
