"""What a student's function returned, as one array for each result, whatever it is packed in."""

import itertools
import math
from collections import deque
from collections.abc import Iterator, Mapping, MappingView
from typing import NamedTuple

import numpy as np

from minilstm_lessons.exercise import count
from minilstm_lessons.student import real_numbers, run

PACKED = tuple, list, deque


class Answer(NamedTuple):
    """What was read: the results by name, as arrays of any shape, or else the verdict's status and its words."""

    results: dict | None
    in_float32: bool = False
    status: str = ""
    words: str = ""


def read(value, exercise, case):
    """An Answer, also if what the function returned has methods that raise."""
    words = f"what it returned cannot be read, expected {', '.join(exercise.results)}"
    return run(read_results, value, exercise.results, case)[0] or Answer(None, False, "wrong shape", words)


def read_results(value, names, case):
    if value is None or value is Ellipsis:
        return Answer(None, False, "not written", "not written yet")
    values = values_of(value, [*names], [case.expected[name].shape for name in names])
    if len(values) != len(names):
        words = f"returned {count(len(values), 'result')}, expected {len(names)}: {', '.join(names)}"
        return Answer(None, False, "wrong shape", words)
    results, in_float32 = {}, False
    for result, value in zip(names, values, strict=True):
        if value is None or value is Ellipsis:
            return Answer(None, False, "not written", f"{result} is not written yet")
        try:
            results[result] = real_numbers(unpacked(value))
        except Exception:
            found = f"a {type(value).__name__}, expected numbers"
            if type(value) is np.ndarray:
                found = f"an array of {value.dtype}, expected real numbers"
            return Answer(None, False, "wrong shape", f"{result} is {found}")
        in_float32 |= getattr(value, "dtype", None) == np.float32
    return Answer(results, in_float32)


def values_of(value, names, shapes):
    """The values returned, one for each result if possible: a container in a container counts if that is then so."""
    if isinstance(value, Mapping):
        value = [value[name] for name in names] if set(value) == set(names) else [*value.values()]
        if len(names) == 1 and len(value) != 1:
            return [value]
    elif len(names) == 1:
        alone = isinstance(value, tuple | MappingView) and len(value) == 1
        return [*value] if alone and np.shape(next(iter(value))) == shapes[0] else [value]
    values = several(value, len(names))
    if len(values) == len(names):
        return values
    flat = [*itertools.chain.from_iterable(map(inner, values))]
    for n, part in enumerate(values):
        if isinstance(part, np.ndarray) and part.ndim:
            split = [*values[:n], *part, *values[n + 1 :]]
            flat = split if [getattr(value, "shape", None) for value in split] == shapes else flat
    return flat if len(flat) == len(names) else values


def several(value, number):
    """The values in a container; what is none is a single value. An endless one is left soon after `number`."""
    if isinstance(value, PACKED):
        return [*value]
    if isinstance(value, MappingView):
        return [*value]
    if isinstance(value, Iterator):
        return [*itertools.islice(value, number + 1)]
    if isinstance(value, np.ndarray) and value.ndim and len(value) == number:
        return [*value]
    return [value]


def inner(part):
    """The values in one part of a container, if that is a container too."""
    if isinstance(part, Mapping):
        return [*part.values()]
    return [*part] if isinstance(part, PACKED) else [part]


def unpacked(value):
    """A single result out of a container that NumPy does not read."""
    if isinstance(value, Mapping):
        value = value.values()
    return [*value] if isinstance(value, MappingView | deque) else value


def describe_shape(array, shape):
    """What can be told from a wrong shape alone: ": " and the words, or nothing."""
    if array.shape == shape[::-1]:
        return ": it is transposed"
    if array.size == math.prod(shape):
        return ": the right number of elements, in another arrangement"
    if array.ndim < len(shape):
        return ": an axis is missing"
    if array.ndim > len(shape):
        return ": it has an axis too many"
    apart = [axis for axis in range(len(shape)) if array.shape[axis] != shape[axis]]
    if len(apart) == 1 and array.shape[apart[0]] - shape[apart[0]] in (1, -1):
        return f": one too {'many' if array.shape > shape else 'few'} along axis {apart[0]}"
    return ""
