"""The direction of imports, checked in the source itself. ARCHITECTURE.md has the diagram."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import tokenize
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_LINES = 250

# From the bottom up. A module may import from its own level and from the levels below, never from above.
# "minilstm" is the package's own __init__.py, the public names.
FLOORS = (
    ("types", "errors", "files", "config", "device", "events", "processors", "blocks"),
    ("layers",),
    ("optim",),
    ("plain",),
    ("gpu",),
    ("masks", "model"),
    ("gradcheck", "gradcheck_function", "gradcheck_cases", "mixed_precision"),
    ("text",),
    ("progress", "step"),
    ("ranks", "compiled"),
    ("parallel",),
    ("train", "evaluate", "generate", "score", "cache", "dynamic"),
    ("runs",),
    ("minilstm",),
    ("arguments", "flags", "commands", "cli"),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Stricter than their level: all that these may import besides the standard library.
ONLY = {
    "layers": {"numpy", "types", "blocks", "layers"},  # the mathematics is independent of the device
    "text": {"numpy", "pooch", "types", "errors", "files", "config", "text"},  # text does not depend on models
    "optim": {"numpy", "types", "config", "blocks", "layers"},
}

# Packages that only these modules may import.
HOME = {
    "cupy": {"device", "gpu"},
    "cupy_backends": {"device", "gpu"},
    "cupyx": {"device", "gpu"},
    "matplotlib": {"runs"},
    "mpi4py": {"ranks"},
    "safetensors": {"runs"},
    "tensorboardX": {"runs"},
    "threadpoolctl": {"blocks", "runs"},
    "pooch": {"text"},
}

# A library reports through return values and exceptions; the command line prints. These modules are commands.
PRINTING_ROOMS = {"arguments", "commands", "cli", "runs"}
PRINTING_FUNCTIONS = {("text.grammar", "main"), ("ranks", "leave")}


def read_package():
    """All sources of the package, ``{"minilstm/layers/lstm.py": source}``."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "minilstm").rglob("*.py"))
    }


def module_of(path):
    """The dotted name below the package: "layers.lstm" for minilstm/layers/lstm.py, "minilstm" for the package."""
    parts = path.removesuffix(".py").split("/")[1:]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts) or "minilstm"


def room_of(module):
    return module.partition(".")[0]


def imports_of(path, source, modules):
    """All imports of a file, including those inside functions.

    Returns
    -------
    set of (str, int)
        Module and line. Modules of this package are named as in `module_of`, others by the first part of their name.
    """
    package = path.split("/")[:-1]  # the folders of the file, for relative imports

    def resolve(name):
        parts = name.split(".")
        if parts[0] != "minilstm":
            return parts[0]
        while len(parts) > 1 and ".".join(parts[1:]) not in modules:
            parts.pop()  # a function or a class: its module
        return ".".join(parts[1:]) or "minilstm"

    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("import_module", "importlib.import_module"):
            names = [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        found |= {(resolve(name), node.lineno) for name in names}
    return found


def import_problems(sources):
    """Imports in the wrong direction, one line each."""
    modules = {module_of(path) for path in sources}
    graph = {}
    problems = []
    for path, source in sources.items():
        module = module_of(path)
        room = room_of(module)
        if room not in FLOOR:
            problems.append(f"{path}: {room} has no place in FLOORS")
            continue
        imports = imports_of(path, source, modules)
        graph[module] = {name for name, _ in imports if name in modules and name != module}
        for name, line in sorted(imports, key=lambda item: item[1]):
            other = room_of(name)
            ours = name in modules
            if ours and FLOOR.get(other, -1) > FLOOR[room]:
                problems.append(f"{path}:{line}: {room} must not import {name}, which stands above it")
            if room in ONLY and other not in ONLY[room] and (ours or other not in sys.stdlib_module_names):
                problems.append(f"{path}:{line}: {room} must not import {name}")
            if not ours and room not in HOME.get(other, {room}):
                problems.append(f"{path}:{line}: {other} belongs into {', '.join(sorted(HOME[other]))}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        problems.append(f"a circle of imports: {' -> '.join(error.args[1])}")
    return problems


def print_problems(sources):
    """Calls of print outside the modules and functions that may print."""
    problems = []

    def visit(node, module, path, function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = function or node.name
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write"):
            problems.append(f"{path}:{node.lineno}: {function or 'the module'} prints")
        for child in ast.iter_child_nodes(node):
            if (module, function) not in PRINTING_FUNCTIONS:
                visit(child, module, path, function)

    for path, source in sources.items():
        module = module_of(path)
        if room_of(module) not in PRINTING_ROOMS:
            visit(ast.parse(source), module, path, None)
    return problems


def test_imports_follow_the_order_of_the_rooms():
    assert import_problems(read_package()) == []


def test_the_library_does_not_print():
    assert print_problems(read_package()) == []


def test_every_room_is_there():
    rooms = {room_of(module_of(path)) for path in read_package()}
    assert rooms == set(FLOOR)


@pytest.mark.parametrize(
    ("path", "source", "says"),
    [
        ("minilstm/layers/lstm.py", "import cupy", "layers must not import cupy"),
        ("minilstm/layers/lstm.py", "def f():\n    import cupy as np", ":2: cupy belongs into device, gpu"),
        ("minilstm/layers/lstm.py", "from minilstm.device import select_device", "layers must not import device"),
        ("minilstm/layers/lstm.py", "from ..gpu import fused", "which stands above it"),
        ("minilstm/layers/lstm.py", "from minilstm import plain", "must not import plain, which stands above it"),
        (
            "minilstm/layers/lstm.py",
            "from . import lstm, softmax, nothing\nfrom .. import train",
            "must not import train",
        ),
        ("minilstm/layers/lstm.py", "import minilstm.layers.softmax, minilstm.gpu.graph", "must not import gpu.graph"),
        ("minilstm/model.py", "from cupy.cuda import runtime", "cupy belongs into device, gpu"),
        ("minilstm/model.py", "from importlib import import_module\nimport_module('cupy')", "cupy belongs into"),
        ("minilstm/model.py", "def f():\n    from minilstm.train import train", ":2: model must not import train"),
        ("minilstm/text/corpus.py", "from minilstm.train import train", "text must not import train"),
        ("minilstm/text/corpus.py", "from minilstm.model import init_params", "text must not import model"),
        ("minilstm/train.py", "from minilstm.runs.plot import plot_runs", "train must not import runs.plot"),
        ("minilstm/train.py", "import matplotlib.pyplot as plt", "matplotlib belongs into runs"),
        ("minilstm/errors.py", "import minilstm.files", "a circle of imports: "),
        ("minilstm/cellar.py", "", "cellar has no place in FLOORS"),
    ],
)
def test_an_import_against_the_order_is_found(path, source, says):
    problems = import_problems(read_package() | {path: source})
    assert any(says in problem for problem in problems), problems


def test_a_print_in_the_library_is_found():
    sources = {
        "minilstm/cli.py": "print(1)",
        "minilstm/text/grammar.py": "def main():\n    print(1)\ndef other():\n    print(2)",
        "minilstm/train.py": "class A:\n    def f(self):\n        return lambda: print(3)",
        "minilstm/model.py": "import sys\nsys.stderr.write('4')",
    }
    assert print_problems(sources) == [
        "minilstm/text/grammar.py:4: other prints",
        "minilstm/train.py:3: f prints",
        "minilstm/model.py:2: the module prints",
    ]


def test_no_file_is_too_long_to_read():
    files = [path for path in (ROOT / "minilstm").rglob("*") if path.suffix in (".py", ".cu", ".cuh")]
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_the_files_to_read_are_the_same_everywhere_and_one_sitting():
    sitting = [f"layers/{name}.py" for name in ("lstm", "embedding", "dropout", "linear", "softmax")]
    sitting += ["model.py", "optim.py", "step.py", "gradcheck.py"]
    sources = read_package()
    paragraph = (ROOT / "README.md").read_text(encoding="utf-8").partition("one sitting")[0].rpartition("\n\n")[2]
    assert re.findall(r"\(minilstm/(.*?)\)", paragraph) == sitting
    docstring = ast.get_docstring(ast.parse(sources["minilstm/__init__.py"]))
    assert re.findall(r"\w+\.py", docstring) == [path.removeprefix("layers/") for path in sitting]
    lines = sum(lines_of_code(sources[f"minilstm/{path}"]) for path in sitting)
    stated = int(re.search(r"about (\d+) lines of code", paragraph)[1])
    assert abs(lines - stated) < 20, lines


def lines_of_code(source):
    """How many lines hold code: no blank lines, comments or docstrings."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    layout = tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER
    code = {line for t in tokens if t.type not in layout for line in range(t.start[0], t.end[0] + 1)}
    return len(code - docstrings)


def test_the_lstms_page_holds_the_whole_lstm():
    page = ast.parse(read_package()["minilstm/layers/lstm.py"])
    functions = [node.name for node in page.body if isinstance(node, ast.FunctionDef)]
    assert {"sigmoid", "lstm_forward", "lstm_backward"} <= set(functions)
    at = functions.index("lstm_step_forward")
    assert functions[at + 1] == "lstm_step_backward"


def test_the_files_and_functions_that_the_page_names_are_there():
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    sources = read_package()
    files = set(re.findall(r"`([\w/]+\.py)`", page))
    assert files >= {"layers/lstm.py", "model.py", "step.py", "train.py"}
    assert {path for path in files if not (ROOT / path).exists() and f"minilstm/{path}" not in sources} == set()
    names = {node.name for text in sources.values() for node in ast.parse(text).body if hasattr(node, "name")}
    assert {name for name in re.findall(r"`([a-z]+_\w+)`", page)} <= names
    for path, name in re.findall(r"`([\w/]+\.py)`: `(\w+)`", page):
        assert re.search(rf"^(def|class) {name}\b", sources[f"minilstm/{path}"], re.MULTILINE), (path, name)


CHANGES = """
import json, locale, os, pkgutil, random, signal, sys, threading, warnings
import numpy, safetensors.numpy, tqdm  # what these change is theirs

def process():
    return {
        "environment": dict(os.environ),
        "signal handlers": {int(n): str(signal.getsignal(n)) for n in signal.valid_signals()},
        "warning filters": [str(item) for item in warnings.filters],
        "floating point errors": numpy.geterr(),
        "random state": str(random.getstate()) + str(numpy.random.get_state()),
        "import path": list(sys.path),
        "exception hook": str(sys.excepthook),
        "locale": str(locale.setlocale(locale.LC_ALL)),
        "umask, directory": (os.umask(0o22), os.getcwd()),
        "threads": threading.active_count(),
        "open files": sorted(os.listdir("/dev/fd")),
    }

os.umask(0o22)
before = process()
import minilstm
for item in pkgutil.walk_packages(minilstm.__path__, "minilstm."):
    if item.name != "minilstm.__main__":
        __import__(item.name)
after = process()
changed = {key for key in before if before[key] != after[key]}
print(json.dumps([sorted(changed), "matplotlib" in sys.modules, "cupy" in sys.modules]))
"""


def test_importing_changes_nothing_in_the_process():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KMP_")}  # by threadpoolctl
    result = subprocess.run([sys.executable, "-c", CHANGES], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert result.stderr == ""
    assert json.loads(result.stdout) == [[], False, False]  # and nothing else was printed


def test_numpy_runs_on_one_thread_here_and_in_processes_of_the_tests():
    code = "import os, numpy as np; a = np.ones((500, 500)); a @ a; print(len(os.listdir('/proc/self/task')))"
    if sys.platform != "linux":
        pytest.skip("only Linux lists a process's threads in /proc")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"
