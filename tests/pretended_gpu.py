"""The real CuPy without a GPU: its kernels run on the CPU, on a device that enforces the rules of stream capture.

``python -m pytest -p pretended_gpu ...``, with tests/ in PYTHONPATH, activates it before anything imports CuPy. Then
CuPy's compiled modules call pretended_gpu.cpp in place of CUDA and cuBLAS, and g++ compiles in place of NVRTC:

- CuPy's modules find each other's C functions through capsules, in ``__pyx_capi__``. Those of its modules `runtime` and
  `driver` receive the addresses of our functions before any other module reads them. Functions that we do not have
  remain CuPy's, and fail as they do without a GPU.
- Our library bears the name of cuBLAS, so the dynamic loader takes it for cuBLAS.
- CuPy's own headers and the kernels that it generates are compiled with cuda_on_cpu.h. Precompiled device code (CUB,
  Thrust) cannot run: ``CUPY_ACCELERATORS`` is empty, and NumPy sorts.

Memory is NaN when it is allocated and again when CuPy's pools take it back. It lies between pages that cannot be
accessed, so that most accesses out of bounds end the process.
"""

import atexit
import ctypes
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
CACHE = HERE.parent / "build" / "pretended_gpu"  # ignored by git
FLAGS = ["-std=c++17", "-w", "-fPIC", "-ffp-contract=off"]
KERNEL = re.compile(r"__global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(")
PRELUDE = f"""
#define THRUST_DEVICE_SYSTEM THRUST_DEVICE_SYSTEM_CPP
#define __CUDACC_VER_MAJOR__ 13
#include "{HERE / "cuda_on_cpu.h"}"
#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>
"""
folder, library = None, None  # of compiled files; pretended_gpu.cpp


def missing() -> str | None:
    """What this machine lacks to pretend, if anything."""
    if not shutil.which("g++"):
        return "no g++ to compile with"
    if not importlib.util.find_spec("cupy_backends"):
        return "CuPy is not installed: pip install cupy-cuda13x"
    return None


def pytest_configure() -> None:
    """Activate the device when this file is loaded as a plugin."""
    from minilstm.gpu import multi_tensor

    activate()
    multi_tensor.BLOCKS = 4  # the hundreds that keep a card busy would take most of the time here


def activate() -> None:
    """Replace CUDA under CuPy in this process, for good."""
    global folder, library
    assert "cupy" not in sys.modules, "CuPy has been imported already, and has found CUDA or the lack of it"
    runtime, driver = (importlib.import_module(f"cupy_backends.cuda.api.{name}") for name in ("runtime", "driver"))
    cublas = f"libcublas.so.{driver.get_build_version() // 1000}"
    texts = [PRELUDE, *(path.read_text() for path in sorted(HERE.iterdir()) if path.suffix in (".cpp", ".h"))]
    folder = CACHE / hashlib.sha256("".join([cublas, *texts]).encode()).hexdigest()[:12]
    os.environ.update(CUPY_ACCELERATORS="", CUPY_CACHE_DIR=str(folder / "kernels"))
    if not folder.exists():
        build(cublas)
    library = ctypes.PyDLL(str(folder / cublas), mode=ctypes.RTLD_GLOBAL)
    ctypes.py_object.in_dll(library, "runtime_error").value = runtime.CUDARuntimeError
    replace_functions(runtime, "runtime")
    replace_functions(driver, "driver")

    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_LAZY)  # ours lacks most functions of cuBLAS
    importlib.import_module("cupy_backends.cuda.libs.cublas")
    sys.setdlopenflags(flags)
    import cuda.pathfinder
    from cupy_backends.cuda.libs import nvrtc

    cuda.pathfinder.find_nvidia_header_directory = lambda name: str(folder)
    nvrtc.getVersion = lambda: (13, 0)
    import cupy

    cupy.cuda.compiler._NVRTCProgram = Program
    cupy.cuda.thrust.argsort = argsort
    poison_pools()


def build(cublas: str) -> None:
    """Compile pretended_gpu.cpp into the folder."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as unfinished:
        (Path(unfinished) / "prelude.h").write_text(PRELUDE)
        (Path(unfinished) / "cuda_fp16.h").touch()  # its contents are in cuda_on_cpu.h
        options = ["-O3", "-shared", f"-Wl,-soname,{cublas}", "-Wl,--default-symver"]
        gcc(*FLAGS, *options, HERE / "pretended_gpu.cpp", "-o", Path(unfinished) / cublas)
        shutil.copytree(unfinished, folder, dirs_exist_ok=True)


def gcc(*arguments: object) -> None:
    """Run g++."""
    process = subprocess.run(["g++", *map(str, arguments)], capture_output=True, text=True)
    if process.returncode:
        raise RuntimeError(process.stderr)


def replace_functions(module: object, name: str) -> None:
    """Have C code and Python code call our functions in place of those of a module of CuPy."""
    set_pointer = ctypes.pythonapi.PyCapsule_SetPointer
    set_pointer.argtypes = [ctypes.py_object, ctypes.c_void_p]
    for function_name, capsule in module.__pyx_capi__.items():
        function = getattr(library, f"{name}_{function_name}", None)
        if function is not None:
            set_pointer(capsule, ctypes.cast(function, ctypes.c_void_p))
            signature = str(capsule).split('"')[1]
            types = {"PyObject *": ctypes.py_object, "int": ctypes.c_int, "intptr_t": ctypes.c_ssize_t}
            function.restype = types[signature.split("(")[0].strip()]
            setattr(module, function_name, python_function(function))


def python_function(function: object) -> object:
    """A function of our library for Python code. Like Cython's, it has two more arguments than one sees."""

    def call(*arguments: object) -> object:
        converted = [ctypes.c_ssize_t(x) if isinstance(x, int) else ctypes.py_object(x) for x in arguments]
        return function(*converted, 0, None)

    return call


class Program:
    """In place of `cupy.cuda.compiler._NVRTCProgram`: makes a shared library, with ``bind_<name>`` for each kernel."""

    def __init__(self, source: str, *_: object, name_expressions: Sequence[str] | None = None, **__: object) -> None:
        if name_expressions:
            raise NotImplementedError("kernels that are templates")
        self.source = source

    def compile(self, options: Sequence[str] = (), log_stream: object = None) -> tuple[bytes, None]:
        """The bytes of the library. Without a source, a version, which CuPy makes part of its cache's key."""
        if not self.source:
            return f"// {folder.name}".encode(), None
        options = [*FLAGS, "-O2", *(option for option in options if option.startswith(("-I", "-D")))]
        source = re.sub(r"extern __shared__ (\w+) (\w+)\[\]", r"\1* \2 = (\1*)dynamic_shared", self.source)
        for name in KERNEL.findall(source):
            source += f'\nextern "C" std::function<void()> bind_{name}(const unsigned* shape, void** pointers)'
            source += f"{{ return on_cpu::bind({name}, shape, pointers); }}"
        with tempfile.TemporaryDirectory(dir=CACHE) as temporary:
            if not (folder / "prelude.h.gch").exists():  # precompiled, it takes a quarter of the time
                gcc(*options, folder / "prelude.h", "-o", f"{temporary}/prelude.h.gch")
                os.replace(f"{temporary}/prelude.h.gch", folder / "prelude.h.gch")
            Path(temporary, "kernels.cpp").write_text(source)
            options += ["-shared", "-Wl,-Bsymbolic", "-include", folder / "prelude.h"]
            gcc(*options, f"{temporary}/kernels.cpp", "-o", f"{temporary}/kernels.so")
            return Path(temporary, "kernels.so").read_bytes(), None


def argsort(dtype: object, indices: int, data: int, keys: int, shape: Sequence[int]) -> None:
    """In place of `cupy.cuda.thrust.argsort`: writes to `indices`, an address, in what order `data` is sorted."""
    import cupy
    import numpy as np

    cupy.cuda.get_current_stream().synchronize()  # which a capture does not allow
    arrays = []
    for address, kind in ((indices, np.dtype(np.intp)), (data, np.dtype(dtype))):
        memory = (ctypes.c_char * (int(np.prod(shape)) * kind.itemsize)).from_address(address)
        arrays.append(np.frombuffer(memory, kind).reshape(shape))
    arrays[0][...] = np.argsort(arrays[1], axis=-1, kind="stable")


def poison_pools() -> None:
    """Fill memory with NaN when CuPy's pools hand it out or take it back."""
    import cupy

    class Poison(cupy.cuda.MemoryHook):
        def alloc_postprocess(self, **event: int) -> None:
            if event["mem_ptr"]:  # 0 after an error
                ctypes.memset(event["mem_ptr"], 0xFF, event["mem_size"])

        free_postprocess = alloc_postprocess

    hook = Poison()
    hook.__enter__()
    atexit.register(hook.__exit__, None, None, None)


class Node(NamedTuple):
    """Of a captured graph: a kernel, memset, memcpy or gemm, and the indices of the nodes that it waits for."""

    kind: str
    name: str
    needs: list[int]


def nodes() -> list[Node]:
    """The nodes of the graph captured last, in the order of capture."""
    library.pretended_nodes.restype = ctypes.py_object
    lines = [line.split() for line in library.pretended_nodes().splitlines()]
    return [Node(kind, name, [int(n) for n in needs]) for kind, name, *needs in lines]


def critical_path(graph: list[Node]) -> int:
    """The number of nodes in the longest chain of dependencies."""
    length: list[int] = []
    for node in graph:
        length.append(1 + max((length[n] for n in node.needs), default=0))
    return max(length)
