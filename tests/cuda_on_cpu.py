"""The text of a CUDA kernel, compiled for the CPU: each block's threads are threads, and __syncthreads() a barrier."""

import ctypes
import re
import shutil
import subprocess

import numpy as np

from minilstm.gpu.launch import name_of, source

COMPILER = shutil.which("g++")
THREADS = 32  # of a block here, one warp: fewer than on a GPU, or their number would take long

PRELUDE = """
#include <algorithm>
#include <barrier>
#include <cmath>
#include <thread>
#include <vector>
using std::exp, std::fmax, std::min, std::tanh;
#define __device__ static inline
#define __global__
#define __shared__ static
struct Index { int x; };
static thread_local Index threadIdx, blockIdx;
static Index blockDim;
static std::barrier<>* block_barrier;
static void __syncthreads() { block_barrier->arrive_and_wait(); }
template <class T> static T __shfl_xor_sync(unsigned, T value, int bit)  // where the block is one warp
{
    static T values[32];
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
template <class Kernel> static void run(int blocks, int threads, Kernel kernel)
{
    blockDim.x = threads;
    std::barrier<> within(threads), between(threads);  // the second also waits for threads that have returned
    block_barrier = &within;
    std::vector<std::thread> running;
    for (int thread = 0; thread < threads; ++thread)
        running.emplace_back([=, &between] {
            threadIdx.x = thread;
            for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
                kernel();
                between.arrive_and_wait();
            }
        });
    for (auto& thread : running) thread.join();
}
"""


def compile_kernel(text, dtype, folder):
    """A function ``f(blocks, *arrays_and_numbers)`` that runs a kernel on this machine's CPU."""
    name = name_of(text)
    parameters = re.search(rf"{name}\((.*?)\)", text, re.DOTALL)[1]
    names = ", ".join(re.findall(r"(\w+)(?:,|$)", parameters))
    call = f"run(blocks, threads, [=] {{ {name}({names}); }});"
    wrapper = f'extern "C" void run_it(int blocks, int threads, {parameters}) {{ {call} }}'
    path = folder / f"{name}_{dtype}.cpp"
    path.write_text(PRELUDE + source(text, dtype) + wrapper)
    library = path.with_suffix(".so")
    command = [COMPILER, "-std=c++20", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-pthread", path, "-o", library]
    subprocess.run(command, check=True)
    function = ctypes.CDLL(str(library)).run_it

    def run(blocks, *arguments):
        function(blocks, THREADS, *map(as_ctypes, arguments))

    return run


def as_ctypes(value):
    """A NumPy array as a pointer, a NumPy number as a C number of its type."""
    if isinstance(value, np.ndarray):
        assert value.flags.c_contiguous
        return value.ctypes.data_as(ctypes.c_void_p)
    return np.ctypeslib.as_ctypes_type(value.dtype)(value)
