"""The process of one answer: ``python -I -B -u worker.py REQUESTS REPLIES``, two descriptors.

It makes the answer out of the submission's own statements, calls it with the arguments that the grader sends, and sends
back what it returned. It knows neither the expected results nor the solutions. `minilstm_lessons` is never imported.
"""

import __future__

import ast
import copy
import importlib
import importlib.util
import os
import resource
import signal
import sys
import types
import warnings
from pathlib import Path

HERE = Path(__file__).parent


def load(name, path):
    """A module from its file alone, without the package it stands in."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def limit(seconds, memory):
    """Limits that cannot be raised again. Not every system keeps to that of memory (macOS does not)."""
    for name, value in (("CPU", int(seconds) + 2), ("AS", memory), ("FSIZE", 10**7), ("CORE", 0), ("NOFILE", 64)):
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(number, (value, value))
        except (OSError, ValueError):
            continue
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + 120)  # should the grader be gone


def package_names(names):
    """The functions of minilstm that this answer may call: dict of module -> dict of name -> value."""
    found = {}
    for module, wanted in names.items():
        real = importlib.import_module(module)
        found[module] = {name: getattr(real, name) for name in wanted}
    return found


def put_stand_ins(found, touched):
    """In the place of minilstm, modules that have these names only."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("minilstm", "minilstm_lessons")]:
        del sys.modules[name]

    def stand_in(name):
        if name in sys.modules:
            return sys.modules[name]
        module = sys.modules[name] = types.ModuleType(name)
        module.__path__ = []

        def missing(attribute):
            if not attribute.startswith("__"):
                touched()
            raise AttributeError(f"{name}.{attribute} is not there while an answer is graded")

        module.__getattr__ = missing
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(stand_in(parent), last, module)
        return module

    for module, names in found.items():
        vars(stand_in(module)).update(names)


def define(cells, keep, namespace):
    """Run the chosen top-level statements of a submission; of an import, the chosen names."""
    flags = __future__.annotations.compiler_flag if any("import annotations" in cell["text"] for cell in cells) else 0
    trees = {}
    for number, place, aliases in keep:
        cell = cells[number]
        tree = trees.setdefault(number, ast.parse(cell["text"]))
        statement = copy.copy(tree.body[place])
        if aliases is not None:
            statement.names = [statement.names[n] for n in aliases]
        exec(compile(ast.Module([statement], []), cell["name"], "exec", flags=flags, dont_inherit=True), namespace)


def describe(error, cells):
    """An exception as a dict: its type, its message, and the line of the submission that raised it last."""
    texts = {cell["name"]: cell["text"].splitlines() for cell in cells}
    where, trace = "", error.__traceback__
    while trace is not None:
        name, number = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if name in texts:
            line = texts[name][number - 1].strip() if number and number <= len(texts[name]) else ""
            where = f"{name}, line {number}, `{line[:100]}`"
        trace = trace.tb_next
    try:
        words = " ".join(str(error).split())[:300]
    except BaseException:
        words = ""
    return {"type": type(error).__name__[:100], "words": words, "where": where}


def main():
    requests, replies = int(sys.argv[1]), int(sys.argv[2])
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    messages, guarding = load("messages", HERE / "messages.py"), load("guard", HERE / "guard.py")
    first, _ = messages.receive(requests)
    sys.path[:] = first["path"]
    import numpy as np  # now that its place is known

    on_device = load("on_device", HERE.parent / "on_device.py").OnDevice if first["on_device"] else None
    found = package_names(first["names"])
    config_class = importlib.import_module("minilstm.config").Config if first["config"] else None
    limit(first["seconds"], first["memory"])
    np.seterr(all="ignore")
    warnings.simplefilter("ignore")
    flags = {"touched": False}

    def touched():
        flags["touched"] = True

    put_stand_ins(found, touched)

    def to_json(value, numbers):
        if on_device and type(value) is on_device:
            return {"is": "device", "array": messages.encode(value._array, numbers)}
        return None

    def from_json(node, decode):
        if node["is"] == "device":
            return on_device(decode(node["array"]))
        if node["is"] == "config":
            return config_class(**node["fields"])
        if node["is"] == "function":
            return lambda *arguments: call_grader(node["name"], arguments)
        raise ValueError(node["is"])

    def call_grader(name, arguments):
        """A function among the arguments: the grader has it, and answers with its results."""
        numbers = []
        asked = {"call": name, "arguments": messages.encode(tuple(arguments), numbers)}
        messages.send(replies, asked, numbers)
        answer, rest = messages.receive(requests)
        if "error" in answer:
            raise ValueError(answer["error"])
        return messages.decode(answer["value"], [rest])

    messages.send(replies, {"ready": True})
    guarding.guard(os.getcwd(), first["folders"], touched)
    namespace = {"__name__": "answer", "__builtins__": __builtins__}
    function, problem = None, None
    try:
        define(first["cells"], first["keep"], namespace)
        function = namespace[first["name"]]
    except BaseException as error:
        problem = {"error": describe(error, first["cells"]), "before": True}
    while True:
        request, rest = messages.receive(requests)
        arguments = messages.decode(request["arguments"], [rest], from_json)
        reply, numbers = problem, []
        if reply is None:
            before = [fingerprint(messages, value, to_json) for value in arguments]
            try:
                value = function(*arguments)
                reply = {"value": messages.encode(value, numbers, to_json)}
            except BaseException as error:
                reply, numbers = {"error": describe(error, first["cells"])}, []
            after = [fingerprint(messages, value, to_json) for value in arguments]
            reply["changed"] = [n for n in range(len(before)) if before[n] != after[n]]
        messages.send(replies, reply | flags, numbers)


def fingerprint(messages, value, to_json):
    """What tells whether an argument has changed; a function never does."""
    numbers = []
    try:
        return (None if callable(value) else str(messages.encode(value, numbers, to_json))), numbers
    except BaseException:
        return "", []


if __name__ == "__main__":
    main()
