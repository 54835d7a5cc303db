"""The CUDA kernels compiled for the CPU: the threads of a block take turns, each up to the next __syncthreads()."""

import ctypes
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from minilstm.gpu import launch

COMPILER = shutil.which("g++")
THREADS = 32  # per block here: one warp

PRELUDE = """
#include <algorithm>
#include <cmath>
#include <ucontext.h>
#include <tuple>
using std::exp, std::fmax, std::min, std::nan, std::tanh;
#define __device__ static inline
#define __global__
#define __launch_bounds__(...)
#define __shared__ static
static struct { int x, y; } threadIdx, blockIdx, blockDim, gridDim;
enum { THREADS = 32 };
static ucontext_t scheduler, thread_contexts[THREADS];
static char stacks[THREADS][1 << 16];
static bool finished[THREADS];
static void (*kernel_call)();

static void __syncthreads() { swapcontext(&thread_contexts[threadIdx.x], &scheduler); }
template <class T> static T __shfl_xor_sync(unsigned, T value, int bit)  // a block is one warp
{
    static T values[THREADS];
    values[threadIdx.x] = value;
    __syncthreads();
    value = values[threadIdx.x ^ bit];
    __syncthreads();
    return value;
}
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned __int128)a * b >> 64;
}
static void thread_main()
{
    kernel_call();
    finished[threadIdx.x] = true;  // then uc_link returns to the scheduler
}
static void run_block()
{
    for (int t = 0; t < THREADS; ++t) {
        getcontext(&thread_contexts[t]);
        thread_contexts[t].uc_stack.ss_sp = stacks[t];
        thread_contexts[t].uc_stack.ss_size = sizeof stacks[t];
        thread_contexts[t].uc_link = &scheduler;
        makecontext(&thread_contexts[t], thread_main, 0);
        finished[t] = false;
    }
    for (bool running = true; running;) {
        running = false;
        for (int t = 0; t < THREADS; ++t)
            if (!finished[t]) {
                threadIdx.x = t;
                swapcontext(&scheduler, &thread_contexts[t]);
                running = true;
            }
    }
}
static void run_grid(int blocks_x, int blocks_y)
{
    blockDim.x = THREADS;
    gridDim.x = blocks_x;
    gridDim.y = blocks_y;
    for (blockIdx.y = 0; blockIdx.y < blocks_y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < blocks_x; ++blockIdx.x) run_block();
}
template <class... A> static void launch(void (*kernel)(A...), int blocks_x, int blocks_y, void** pointers)
{
    static void (*the_kernel)(A...);
    static std::tuple<A...>* arguments;
    int n = 0;
    std::tuple<A...> values{*(std::remove_const_t<A>*)pointers[n++]...};  // braces: from left to right
    the_kernel = kernel;
    arguments = &values;
    kernel_call = [] { std::apply(the_kernel, *arguments); };
    run_grid(blocks_x, blocks_y);
}
"""
BOUNDS = r"(?:__launch_bounds__\(.*?\) )?"
KERNEL = re.compile(rf"__global__ void {BOUNDS}(\w+)\(.*?\)\s*{{(.*?)^}}", re.DOTALL | re.MULTILINE)


def compile_source(source):
    """The kernels in a source: name -> ``kernel(grid, block, arguments)``, as in CuPy, but on the CPU."""
    kernels = KERNEL.findall(source)
    wrappers = "".join(
        f'extern "C" void run_{name}(int x, int y, void** pointers) {{ launch({name}, x, y, pointers); }}\n'
        for name, _ in kernels
    )
    folder = Path(tempfile.mkdtemp(prefix="minilstm-kernels-"))
    (folder / "kernels.cpp").write_text(PRELUDE + source + wrappers)
    command = [
        COMPILER,
        "-std=c++17",
        "-O1",
        "-ffp-contract=off",
        "-shared",
        "-fPIC",
        "kernels.cpp",
        "-o",
        "kernels.so",
    ]
    subprocess.run(command, check=True, cwd=folder)
    library = ctypes.CDLL(str(folder / "kernels.so"))
    shutil.rmtree(folder)
    return {name: on_cpu(getattr(library, f"run_{name}"), body) for name, body in kernels}


def on_cpu(function, body):
    """The kernel as called from Python. With one thread per element, it gets as many threads as on a GPU."""
    one_thread_an_element = "blockIdx.x * blockDim.x" in body and "gridDim" not in body

    def kernel(grid, block, arguments):
        blocks_x, blocks_y = (*grid, 1)[:2]
        if one_thread_an_element:
            blocks_x = -(-blocks_x * block[0] // THREADS)
        values = [as_array(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        function(blocks_x, blocks_y, pointers)

    return kernel


@cache
def compile_file(file, dtype, defines):
    return compile_source(launch.kernel_source(file, dtype, **dict(defines)))


def compile_kernel(file, name, dtype, **defines):
    """A replacement for `minilstm.gpu.launch.compile_kernel`."""
    return compile_file(file, dtype, tuple(defines.items()))[name]


def as_array(argument):
    """An argument as a NumPy array that contains it: an array as its address."""
    if isinstance(argument, np.ndarray) and argument.dtype.names is None:
        assert argument.flags.c_contiguous
        return np.uintp(argument.ctypes.data).reshape(1)
    return np.asarray(argument)
