"""Lesson 10, on the GPU: a stand-in for a GPU that writes down its launches, and the exercises."""

import re
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from minilstm.gpu import launch, linear, lstm
from minilstm.optim import clip_by_global_norm
from minilstm_lessons.exercise import Exercise, Mistake
from minilstm_lessons.on_device import OnDevice, from_device
from minilstm_lessons.solutions import lesson10 as solutions

NEW = "zeros", "ones", "full", "arange", "empty"  # functions that make an array out of nothing


PASSES = {"sum_of_squares": 1, "sgd_update": 3}  # kernels for all parameters: ways of each element from or to memory


class Launch(NamedTuple):
    """A call that would be a kernel on a GPU.

    Its name, the bytes it reads and writes, its multiply-adds times two, and whether it is on a graph's second branch.
    """

    name: str
    moved: int
    operations: int
    beside: bool = False


class DeviceArray(np.ndarray):
    """An array that behaves as if it lay on a GPU: each operation on it is written down as a launch.

    It refuses two things: to meet a NumPy array, as CuPy's arrays do, and to become a Python number or a condition,
    which CuPy allows, but which makes the host wait until the GPU has caught up. While `launched` allows waiting, a
    condition is a launch too: the copy of a result to the host, under the name "wait".
    """

    launches = None  # a list while `launched` is listening
    may_wait = False
    beside = False  # whether the launches are on the second branch

    def refuse(self, *_):
        raise TypeError("the host wants to know a number that is on the GPU, and would have to wait for it")

    __float__ = __int__ = __index__ = item = tolist = refuse

    def __bool__(self):
        self.wait()
        return bool(plain(self))

    def wait(self):
        """The host needs a result, or its size."""
        if not DeviceArray.may_wait:
            self.refuse()
        write_down("wait", (self[:0] if self.ndim else self,))

    def get(self):
        """Copy to the host."""
        return np.array(self)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        result = getattr(ufunc, method)(*map(plain, inputs), **kwargs, **({"out": plain(out)} if out else {}))
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        operations = 2 * result.size * inputs[0].shape[-1] if ufunc is np.matmul else 0
        write_down(name, (*inputs, result), operations)
        return out[0] if out else on_device(result)

    def __array_function__(self, function, types, args, kwargs):
        if function in (np.asarray, np.array):  # with like=: from the host to the device
            return copy_to_device(*args, **kwargs)
        if function is np.unique:
            self.wait()  # for the number of different elements, without which no array can be made for them
        result = function(*map(plain, args), **{key: plain(value) for key, value in kwargs.items()})
        if not function.__name__.startswith("empty"):  # which moves nothing
            write_down(function.__name__, (*args, *(result if isinstance(result, tuple) else (result,))))
        return on_device(result)

    def __getitem__(self, key):
        result = plain(self)[plain(key)]
        if np.ndim(result) and result.base is not None:
            return result.view(DeviceArray)  # a view: nothing moves
        write_down("take", (result, result))
        return on_device(result)

    def __setitem__(self, key, value):
        plain(self)[plain(key)] = plain(value)
        write_down("copy", (value, value))

    def astype(self, dtype, copy=True):
        if not copy and self.dtype == dtype:
            return self
        write_down("copy", (self, self))
        return on_device(plain(self).astype(dtype))

    def copy(self):
        write_down("copy", (self, self))
        return on_device(plain(self).copy())


def plain(value):
    """The NumPy array inside; a TypeError for one that never went to the device."""
    if isinstance(value, DeviceArray):
        return value.view(np.ndarray)
    if isinstance(value, tuple | list):
        return type(value)(map(plain, value))
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(
            "a NumPy array meets an array on the GPU: copy it there with np.asarray(..., like=array), or make it there "
            "with np.zeros(..., like=array)"
        )
    return value


def on_device(value):
    """An array or a NumPy number as an array on the device; those of a tuple; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(map(on_device, value))
    return np.asarray(value).view(DeviceArray) if isinstance(value, np.ndarray | np.generic) else value


def copy_to_device(value, dtype=None):
    """A copy of what the host has: an array or a number."""
    result = np.array(value, dtype=dtype).view(DeviceArray)
    write_down("copy", (result,))
    return result


def write_down(name, arrays, operations=0):
    """A launch, where `launched` is listening."""
    if DeviceArray.launches is not None:
        moved = sum(array.nbytes for array in arrays if isinstance(array, np.ndarray | np.generic))
        DeviceArray.launches.append(Launch(name, moved, operations, DeviceArray.beside))


def write_down_kernel(file, name, grid, arguments, dtype=None):
    """In the place of `minilstm.gpu.launch.launch`: a launch of a kernel, whose results nobody computes."""
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    operations = 0
    if name.endswith("_with_gemm"):
        rows, weights = arrays[:2]
        operations = 2 * len(rows) * weights.size
    if name == "embedding_forward":
        arrays = arrays[1:] + arrays[2:]  # of the matrix only the rows that go into the outputs
    if name == "sparse_sgd_update":
        arrays = arrays[1:] + 2 * arrays[1:2]  # of the matrix only the rows that are read and written
    if name in PASSES:
        moved = PASSES[name] * int(arrays[0]["tensor"]["size"].sum()) * dtype.itemsize
        DeviceArray.launches.append(Launch(f"{name} (.cu)", moved, 0))
    else:
        write_down(f"{name} (.cu)", arrays, operations)


def cuda_functions(file, *names):
    """The text of functions in one of the package's files of CUDA kernels, with the comments above them.

    Examples
    --------
    >>> print(cuda_functions("lstm.cu", "sigmoid"))
    __device__ acc_t sigmoid(acc_t z) { return (1 + tanh(z / 2)) / 2; }
    """
    blocks = (launch.KERNELS / file).read_text(encoding="utf-8").strip().split("\n\n")
    return "\n\n".join(
        next(block for block in blocks if re.search(rf"^[^/\s].* {name}\(", block, re.MULTILINE)) for name in names
    )


@contextmanager
def beside(*operands):
    """In the place of `minilstm.gpu.graph.beside`: its launches are marked."""
    DeviceArray.beside = True
    try:
        yield
    finally:
        DeviceArray.beside = False


@contextmanager
def launched(may_wait=False):
    """``with launched() as launches``: a list that fills with the launches of the block.

    The package's own kernels are written down too, but nothing is computed by them: their results are zeros, or
    whatever was there.
    """
    before = DeviceArray.launches, DeviceArray.may_wait
    DeviceArray.launches, DeviceArray.may_wait = [], may_wait
    try:
        with (
            patch.object(launch, "launch", write_down_kernel),
            patch.object(linear, "beside", beside),
            patch.object(lstm, "beside", beside),
            np.errstate(all="ignore"),
        ):
            yield DeviceArray.launches
    finally:
        DeviceArray.launches, DeviceArray.may_wait = before


class Module(ModuleType):
    """The stand-in for cupy: NumPy's functions, their new arrays on the device."""

    asarray = staticmethod(on_device)

    def __getattr__(self, name):
        function = getattr(np, name)
        if name not in NEW:
            return function

        def make(*args, **kwargs):
            result = on_device(function(*args, **kwargs))
            if name != "empty":
                write_down(name, (result,))
            return result

        return make


device = Module("stand_in_for_cupy")


def draw_gradient(rng, N, M):
    """A gradient longer than the bound, or shorter, on a device that gives no number away."""
    gradient = rng.standard_normal((N, M))
    length = float(np.linalg.norm(gradient))
    return {"gradient": OnDevice(gradient), "max_norm": length * float(rng.choice([0.1, 0.3, 2.5]))}


def clip(gradient, max_norm):
    grads, norm = clip_by_global_norm({"gradient": from_device(gradient)}, max_norm)
    return grads["gradient"], norm


def draw_numbers(rng, N, bits):
    """Numbers of both signs over many powers of two; none lies half way between two that it may be rounded to."""
    x = (rng.choice([-1.0, 1.0], N) * 2.0 ** rng.uniform(-4, 4, N)).astype("float32")
    return {"x": (x.view(np.uint32) | 1).view(np.float32), "bits": bits}  # half way the last bit is 0


def nearest(x, bits):
    """By the bits: add half a step to those of the float32, cut off the rest."""
    cut = 23 - bits
    whole = (x.view(np.uint32).astype(np.uint64) + (1 << (cut - 1))) >> cut << cut
    return whole.astype(np.uint32).view(np.float32)


def draw_kernels(rng, K):
    """Kernels of which some are bound by bytes and some by operations, on a card that makes either side wait."""
    return {
        "moved": 10 ** rng.uniform(3, 8, K),
        "operations": 10 ** rng.uniform(4, 9, K) * rng.integers(0, 2, K),
        "card": {"launch": float(rng.uniform(4e-6, 6e-6)), "start": float(rng.uniform(1e-6, 2e-6)),
                 "bandwidth": 1e12 * float(rng.uniform(1, 4)), "rate": 1e13 * float(rng.uniform(1, 5))},
    }  # fmt: skip


def simulate(moved, operations, card):
    """A step as a host and a GPU that take turns on a clock."""
    kernels = np.array([card["start"] + max(m / card["bandwidth"], n / card["rate"])
                        for m, n in zip(moved, operations, strict=True)])  # fmt: skip
    host = gpu = 0.0
    for kernel in kernels:
        host += card["launch"]
        gpu = kernel + (host if host > gpu else gpu)
    return kernels, gpu, card["launch"] + sum(kernels)


EXERCISES = (
    Exercise(
        solutions.clip_without_waiting,
        {"N": (3, 6), "M": (7, 9)},
        draw_gradient,
        clip,
        {"clipped": "(N, M)", "norm": ""},
        mistakes=(
            Mistake(
                {"max_norm / np.maximum(norm, max_norm)": "1 / np.maximum(norm * max_norm, 1.0)"},
                "multiplied by max_norm where it divides: the scale is max_norm / norm, or 1 for a short gradient",
            ),
            Mistake(
                {"np.maximum(norm, max_norm)": "norm"},
                "a gradient shorter than max_norm is made longer: divide by the larger of the two, np.maximum",
            ),
            Mistake(
                {"np.maximum(norm, max_norm)": "np.minimum(norm, max_norm)"},
                "the smaller and the larger of two numbers are exchanged: long gradients stay long and short ones grow",
            ),
            Mistake(
                {"max_norm / np.maximum(norm, max_norm)": "np.maximum(norm, max_norm) / max_norm"},
                "the scale is upside down: long gradients get longer",
            ),
            Mistake(
                {"squares.sum() ** 0.5": "squares.sum()"},
                "this is the square of the norm: take the root of the sum",
            ),
            Mistake(
                {"squares.sum() ** 0.5": "squares.mean() ** 0.5"},
                "this is the root of the mean of the squares: a norm is the root of their sum",
            ),
            Mistake(
                {"squares.sum() ** 0.5": "abs(gradient).sum()"},
                "this is the sum of absolute values: the norm is the root of the sum of squares",
            ),
            Mistake(
                {"squares.sum() ** 0.5": "abs(gradient).max()"},
                "this is the largest element: the norm is the root of the sum of squares",
            ),
            Mistake(
                {"return gradient * scale, norm": "return gradient * scale, norm * scale"},
                "this is the norm after clipping: asked is the one before, which tells how often clipping acts",
            ),
            Mistake(
                {"return gradient * scale, norm": "return np.clip(gradient, -max_norm, max_norm), norm"},
                "each element was clipped by itself, which bends the gradient: scale them all by one number",
            ),
            Mistake(
                {"return gradient * scale, norm": "return gradient / norm, norm"},
                "the gradient was brought to length 1, whatever its length and max_norm were",
            ),
        ),
    ),
    Exercise(
        solutions.round_mantissa,
        {"N": (20, 40), "bits": (5, 12)},
        draw_numbers,
        nearest,
        {"rounded": "(N,)"},
        mistakes=(
            Mistake(
                {"return np.ldexp(whole, exponent - bits - 1)": "return np.round(x, bits)"},
                "np.round(x, bits) keeps decimal places after the point: asked are binary places after the leading 1",
            ),
            Mistake(
                {"np.rint(steps)": "np.trunc(steps)"},
                "the bits were cut off, not rounded: every number moves towards zero, by up to a whole step",
            ),
            Mistake(
                {"np.rint(steps)": "np.floor(steps)"},
                "floor moves every number down, negative ones away from zero: round to the nearest, np.rint",
            ),
            Mistake(
                {"np.rint(steps)": "np.ceil(steps)"},
                "ceil moves every number up: round to the nearest, np.rint",
            ),
            Mistake(
                {"np.rint(steps)": "np.floor(steps + 0.5 * (steps > 0))"},
                "half a step was added to positive numbers only: round both signs to the nearest, np.rint",
            ),
            Mistake(
                {"2.0 ** (bits + 1)": "2.0 ** bits", "exponent - bits - 1": "exponent - bits"},
                "one bit too few: the leading 1 and `bits` bits after it are bits + 1 in all",
            ),
            Mistake(
                {"2.0 ** (bits + 1)": "2.0 ** (bits + 2)", "exponent - bits - 1": "exponent - bits - 2"},
                "one bit too many: the leading 1 and `bits` bits after it are bits + 1 in all",
            ),
            Mistake(
                {"exponent - bits - 1": "exponent - bits"},
                "twice as large as it should be: what was multiplied by 2 ** (bits + 1) is divided by 2 ** bits",
            ),
            Mistake(
                {"exponent - bits - 1": "-bits - 1"},
                "the exponent got lost: multiply the fraction by 2 ** exponent again, np.ldexp",
            ),
            Mistake(
                {"np.frexp(x)": "x, 0"},
                "the step is the same for all numbers: that is fixed point; in floating point it grows with the "
                "power of two, so take that out first, np.frexp",
            ),
            Mistake(
                {"np.frexp(x)": "2 * x, -1"},
                "the step is the same for all numbers: that is fixed point, rounded to 1 / 2 ** (bits + 2)",
            ),
            Mistake(
                {"np.frexp(x)": "x / 2, 1"},
                "the step is the same for all numbers, 1 / 2 ** bits: that is fixed point; take the power of two out "
                "first, np.frexp",
            ),
            Mistake(
                {"return np.ldexp(whole, exponent - bits - 1)": "return x.astype(np.float16)"},
                "float16 always has 10 bits after the leading 1: asked are `bits` of them",
            ),
        ),
    ),
    Exercise(
        solutions.step_times,
        {"K": (8, 16)},
        draw_kernels,
        simulate,
        {"kernels": "(K,)", "one_by_one": "", "graph": ""},
        mistakes=(
            Mistake(
                {"launched = (k + 1) * card[\"launch\"]": "launched = card[\"launch\"]"},
                "every kernel waits for one launch alone: number k is ready after k + 1 launches",
            ),
            Mistake(
                {"max(end, launched) + kernels[k]": "max(end, launched)"},
                "the kernel's own time is missing: it begins at the later of the two, and ends kernels[k] later",
            ),
            Mistake(
                {"np.maximum(moving, computing)": "(moving + computing)"},
                "moving and computing were added: they overlap, so the slower of the two counts",
            ),
            Mistake(
                {"np.maximum(moving, computing)": "np.minimum(moving, computing)"},
                "the faster of moving and computing was taken: a kernel is done when the slower one is",
            ),
            Mistake({"np.maximum(moving, computing)": "moving"}, "the operations were left out: some kernels compute"),
            Mistake({"np.maximum(moving, computing)": "computing"}, "the bytes were left out: most kernels move data"),
            Mistake(
                {"card[\"start\"] + np.maximum(moving, computing)": "np.maximum(moving, computing)"},
                "every kernel needs card[\"start\"] on the GPU before its work",
            ),
            Mistake(
                {"card[\"start\"] + np.maximum(moving, computing)":
                 "np.maximum(card[\"start\"], np.maximum(moving, computing))"},
                "card[\"start\"] comes before the work and is added to it; it is not a least time",
            ),
            Mistake(
                {"card[\"start\"] + np.maximum(moving, computing)":
                 "card[\"launch\"] + card[\"start\"] + np.maximum(moving, computing)"},
                "the launch was counted into the kernel: it is the host's time, while the GPU may be busy",
            ),
            Mistake(
                {"max(end, launched) + kernels[k]": "end + card[\"launch\"] + kernels[k]"},
                "launches and kernels were added up: the host launches the next kernel while the GPU works, so a "
                "kernel begins at the later of its launch and the end of the one before",
            ),
            Mistake(
                {"max(end, launched) + kernels[k]": "end + kernels[k]"},
                "no kernel waits for its launch: number k cannot begin before the host has launched k + 1 of them",
            ),
            Mistake(
                {"max(end, launched) + kernels[k]": "launched + kernels[k]"},
                "a kernel does not wait for the one before it: one at a time, in order",
            ),
            Mistake(
                {"max(end, launched) + kernels[k]": "max(end, launched + kernels[k])"},
                "a kernel does not wait for the one before it: take the later of the two beginnings, then add its time",
            ),
            Mistake(
                {"max(end, launched) + kernels[k]": "min(end, launched) + kernels[k]"},
                "a kernel begins when it is launched and the GPU is free: the later of the two, max",
            ),
            Mistake(
                {"max(end, launched) + kernels[k]": "max((k + 1) * card[\"launch\"], kernels[: k + 1].sum())"},
                "the larger of all launches and all kernels is only a bound: follow them one by one, the GPU may idle "
                "at first and be late afterwards",
            ),
            Mistake(
                {"(k + 1) * card[\"launch\"]": "k * card[\"launch\"]"},
                "kernel 0 has to be launched too: number k is ready after k + 1 launches",
            ),
            Mistake(
                {"graph = card[\"launch\"] + kernels.sum()": "graph = kernels.sum()"},
                "the graph itself has to be launched: once",
            ),
            Mistake(
                {"graph = card[\"launch\"] + kernels.sum()": "graph = len(kernels) * card[\"launch\"] + kernels.sum()"},
                "a graph is launched once, however many kernels are in it",
            ),
        ),
    ),
)  # fmt: skip
