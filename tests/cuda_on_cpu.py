"""The CUDA kernels compiled for the CPU, with cuda_on_cpu.h: the threads of a block take turns."""

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
HEADER = Path(__file__).with_name("cuda_on_cpu.h")
FLAGS = ["-std=c++17", "-O1", "-w", "-fPIC", "-ffp-contract=off", "-shared", "-Wl,-Bsymbolic"]
KERNEL = re.compile(r"__global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(")


def compile_source(source):
    """The kernels in a source: name -> ``kernel(grid, block, arguments)``, as in CuPy, but on the CPU."""
    kernels = KERNEL.findall(source)
    wrappers = "".join(
        f'extern "C" void run_{name}(const unsigned* shape, void** pointers) {{'
        f" on_cpu::bind({name}, shape, pointers)(); }}\n"
        for name in kernels
    )
    folder = Path(tempfile.mkdtemp(prefix="minilstm-kernels-"))
    (folder / "kernels.cpp").write_text(source + wrappers)
    subprocess.run([COMPILER, *FLAGS, "-include", HEADER, "kernels.cpp", "-o", "kernels.so"], check=True, cwd=folder)
    library = ctypes.CDLL(str(folder / "kernels.so"))
    shutil.rmtree(folder)
    return {name: on_cpu(getattr(library, f"run_{name}")) for name in kernels}


def on_cpu(function):
    """The kernel as called from Python."""

    def kernel(grid, block, arguments):
        values = [as_array(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        function((ctypes.c_uint * 7)(*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3], 0), pointers)

    return kernel


@cache
def compile_file(file, dtype):
    return compile_source(launch.kernel_source(file, dtype))


def compile_kernel(file, name, dtype):
    """A replacement for `minilstm.gpu.launch.compile_kernel`."""
    return compile_file(file, dtype)[name]


def as_array(argument):
    """An argument as a NumPy array that contains it: an array as its address."""
    if isinstance(argument, np.ndarray) and argument.dtype.names is None:
        assert argument.flags.c_contiguous
        return np.uintp(argument.ctypes.data).reshape(1)
    return np.asarray(argument)
