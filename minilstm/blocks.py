"""Large products and passes in blocks, which the threads of the process share.

A block is a part of a matrix product, or some rows of an array. How an array is cut depends on its shape, never on the
number of threads, and one thread computes a block: the result is the same, bit for bit, for any number of threads.

Each thread takes the next block when it has finished one. The calling thread takes blocks too and waits only for those
that another thread has begun, so it makes progress even where other processes keep the processors busy. (The threads of
a BLAS wait for one another in a loop, which then can take a hundred times longer; and their number affects rounding.)

Only NumPy arrays are cut, no subclass of theirs and no CuPy array: on a GPU every operation runs on the whole device.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from minilstm.processors import available_processors
from minilstm.types import Array

MAX_BLOCKS = 16
MIN_SIZE = 2**17  # elements in a block of rows: less is not worth waking a thread
MIN_PRODUCT = 2**24  # multiplications in a block of a product: likewise
MIN_SLICE = 200  # rows or columns in a block of a product: the BLAS is slow on thin matrices

Finish = Callable[[], Any]  # computes what is left of some blocks and waits for the others


class Threads(NamedTuple):
    """The threads that compute: the calling one and those of the pool."""

    number: int
    pool: ThreadPoolExecutor | None


threads = Threads(1, None)
products_in_work: ContextVar[ExitStack | None] = ContextVar("products_in_work", default=None)  # of deferred_products


def use_threads(count: int | None = None) -> int:
    """Compute blocks on `count` threads, each with a single-threaded BLAS.

    This holds for the whole process, so only programs call it: the command line does, importing the library does not.
    Without a call the calling thread computes every block, with the threads of the BLAS.

    Parameters
    ----------
    count : int, optional
        By default the number of available processors, or fewer if the environment limits the threads of the BLAS
        (OPENBLAS_NUM_THREADS, OMP_NUM_THREADS). There are at most `MAX_BLOCKS` threads.

    Returns
    -------
    int
        The number of threads.

    Raises
    ------
    ValueError
        If `count` is not a whole number of at least 1. Nothing has changed then.
    """
    global threads
    from threadpoolctl import threadpool_limits  # not above: its import sets an environment variable

    if count is not None and (type(count) is not int or count < 1):
        raise ValueError(f"the number of threads must be a whole number of at least 1, not {count!r}")
    default = default_threads()  # even if not needed now: the next line limits the BLAS
    threadpool_limits(1, user_api="blas")
    count = min(count or default, MAX_BLOCKS)
    # the threads of an earlier pool end when nothing uses it any more
    threads = Threads(count, ThreadPoolExecutor(count - 1, "minilstm") if count > 1 else None)
    return count


@cache
def default_threads() -> int:
    """The number of threads if none is given, as it was when first asked: before `use_threads` limited the BLAS."""
    from threadpoolctl import threadpool_info

    of_blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    return min([MAX_BLOCKS, available_processors(), *of_blas])


def start_blocks(function: Callable[..., object], blocks: Sequence[tuple[Any, ...]]) -> Finish:
    """Have the threads of the pool call ``function(*block)`` for every block, with NumPy's error state of the caller.

    Returns
    -------
    finish : function
        Computes the blocks that are left and returns the results in the order of the blocks, or raises an error of
        `function`.
    """
    todo = deque(enumerate(blocks))
    results: list[Any] = [None] * len(blocks)

    def work() -> None:
        while todo:
            try:
                k, block = todo.popleft()
            except IndexError:  # another thread was faster
                return
            results[k] = function(*block)

    def finish() -> list[Any]:
        try:
            work()
        finally:
            todo.clear()
            started = [future for future in futures if not future.cancel()]
            wait(started)
        for future in started:
            future.result()  # raises an error of its thread
        return results

    number, pool = threads
    futures = []
    if pool:
        futures = [pool.submit(copy_context().run, work) for _ in range(min(number - 1, len(blocks)))]
    return finish


def cut(length: int, count: int) -> list[slice]:
    """Cut a range into `count` slices, at multiples of 16.

    Examples
    --------
    >>> cut(100, 3)
    [slice(0, 32, None), slice(32, 64, None), slice(64, 100, None)]
    """
    edges = [0, *(length * k // count // 16 * 16 for k in range(1, count)), length]
    return [slice(*pair) for pair in pairwise(edges)]


def by_rows(function: Callable[..., Any], *arrays: Array) -> list[Any]:
    """Call `function` with the same rows of all arrays, block by block; returns its results in the order of the rows.

    Examples
    --------
    >>> x, y = np.ones((1000, 300)), np.empty((1000, 300))
    >>> sum(by_rows(lambda x, y: np.add(x, x, out=y).sum(), x, y))
    np.float64(600000.0)
    """
    rows, size = len(arrays[0]), arrays[0].size
    count = min(MAX_BLOCKS, size // MIN_SIZE, rows // 16)
    if count < 2 or type(arrays[0]) is not np.ndarray:
        return [function(*arrays)]
    return start_blocks(function, [tuple(x[n] for x in arrays) for n in cut(rows, count)])()


def matmul(a: Array, b: Array) -> Array:
    """The product a @ b of two matrices, (N, K) and (K, M) -> (N, M).

    Examples
    --------
    >>> matmul(np.ones((2, 3)), np.ones((3, 4))).shape
    (2, 4)
    """
    if multiplications(a, b) < 2 * MIN_PRODUCT or type(a) is not np.ndarray:
        return a @ b
    product, finish = start_matmul(a, b)
    finish()
    return product


def multiplications(a: Array, b: Array) -> int:
    """The multiplications of a product, each dimension counted as at least 16: a thin product waits for memory."""
    (N, K), M = a.shape, b.shape[1]
    return max(N, 16) * max(K, 16) * max(M, 16)


def start_matmul(a: Array, b: Array) -> tuple[Array, Finish]:
    """A product, cut along the longest of its three dimensions, and the function that finishes it."""
    (N, K), M = a.shape, b.shape[1]
    longest = max(N, K, M)
    slices = cut(longest, max(1, min(MAX_BLOCKS, longest // MIN_SLICE, multiplications(a, b) // MIN_PRODUCT)))
    product = np.empty((N, M), np.result_type(a, b))
    if longest == N:
        return product, start_blocks(np.matmul, [(a[n], b, product[n]) for n in slices])
    if longest == M:
        return product, start_blocks(np.matmul, [(a, b[:, m], product[:, m]) for m in slices])
    terms = np.empty((len(slices), N, M), product.dtype)
    finish = start_blocks(np.matmul, [(a[:, k], b[k], term) for k, term in zip(slices, terms, strict=True)])

    def finish_sum() -> None:
        finish()
        np.sum(terms, axis=0, out=product)

    return product, finish_sum


def deferred_matmul(a: Array, b: Array) -> Array:
    """Like `matmul`, for a product that is not needed before the end of the context `deferred_products`.

    Other threads compute it there while the caller goes on; without such a context it is computed at once.
    """
    products = products_in_work.get()
    if (
        products is None
        or threads.pool is None
        or multiplications(a, b) < MIN_PRODUCT // 4
        or type(a) is not np.ndarray
    ):
        return matmul(a, b)
    product, finish = start_matmul(a, b)
    products.callback(finish)
    return product


@contextmanager
def deferred_products() -> Iterator[None]:
    """At the end of this context the products by `deferred_matmul` are complete; do not change their factors before."""
    with ExitStack() as products:
        token = products_in_work.set(products)
        try:
            yield
        finally:
            products_in_work.reset(token)
