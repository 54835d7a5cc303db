"""Feed minilstm damaged and hostile files, and check that each is refused in one line or is harmless.

    python tests/mutate.py --inputs 10000

One file of a valid run or its corpus, or of a state dict to start from, gets one to three mutations and is then read by
a command. Each command must end with status 0 and at most a note on standard error, or with status 2 and one line
there, within limits of time and memory. A run's checkpoint or vocabulary with a changed byte must never be accepted.
The other rules also hold for a changed checkpoint with a new, valid checksum, and for a state dict, which has none. An
audit hook monitors the interpreter: it must start no program, read no pickle, make no connection and open no file for
writing elsewhere.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.numpy
from kill import write_corpus
from tqdm import tqdm

from minilstm.cli import main as minilstm
from minilstm.files import finished_name, open_directories
from minilstm.runs.directory import is_run_file
from minilstm.runs.metadata import EARLIER_FORMATS, WITHOUT_AVERAGE
from minilstm.runs.tensors import BLANK, add_checksum

SECONDS = 60  # time limit of every command
MEMORY = 6 * 2**30  # bytes of address space
FLAGS = [
    *("--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1"),
    *("--optimizer", "adam", "--device", "cpu"),
]
GRAMMAR = """variable letter = a b c d e f g h i j
1 Word -> $letter
1 Sentence -> Word Word Word Word Word Word Word Word Word
"""
FORBIDDEN = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn", "subprocess.Popen", "pickle.find_class"),
    *("socket.connect", "socket.bind", "shutil.rmtree", "os.chmod", "os.symlink", "os.link"),
)
# text that commonly breaks parsers
NASTY = (
    *(b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"\r", b"\x1b[2J", b"\xe2\x80\xa8", b"\n" * 1000),
    *(b"NaN", b"Infinity", b"1e400", b"-1", b"9" * 400, b"9" * 5000, b"9007199254740993", b"null", b"true", b'""'),
    *(b"[" * 100_000, b'{"a":' * 50_000, b"\\ud800", b"[]", b"{}", b",", b",,,,,,,,,,", b'"', b"'", b"$("),
    *(b"__import__('os').system('true')", b"!!python/object/apply:os.system", b"../../../etc/passwd"),
    *(b"x" * 70_000, b" " * 70_000),
)
JSON_VALUES = (
    *(None, True, -1, 0, 3, 2**53, 2**60, 10**400, 1.5, -0.0, 1e308, float("nan"), float("inf"), [], {}, [[]]),
    *("", "x", "\ud800", "\0", "/dev/zero", "/dev/stdin", "..", [1.0] * 50, "x" * 3000, "AAAA", "0" * 64),
)


def mutate_bytes(data, rng):
    """A copy with a bit flipped, a range cut, doubled, zeroed or exchanged, or a problematic text inserted."""
    data = bytearray(data)
    at = rng.randrange(len(data) + 1) if rng.random() < 0.5 else min(len(data), rng.randrange(300))
    length = rng.choice((1, 1, 2, 4, 8, 64, 1000))
    kind = rng.choice(("flip", "flip", "flip", "random", "cut", "drop", "double", "zero", "nasty", "digit", "grow"))
    if kind == "flip" and at < len(data):
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "random" and at < len(data):
        data[at] = rng.randrange(256)
    elif kind == "cut":
        del data[at:]
    elif kind == "drop":
        del data[at : at + length]
    elif kind == "double":
        data[at:at] = data[at : at + length]
    elif kind == "zero":
        data[at : at + length] = bytes(len(data[at : at + length]))
    elif kind == "nasty":
        data[at:at] = rng.choice(NASTY)
    elif kind == "digit":
        digits = [n for n, byte in enumerate(data) if chr(byte).isdecimal()]
        if digits:
            data[rng.choice(digits)] = ord(rng.choice("0123456789-.e"))
    else:
        data += rng.choice(NASTY)
    return bytes(data)


def mutate_json(text, rng):
    """A JSON object with one value, at any depth, replaced, removed or added."""
    value = json.loads(text)
    place = value
    while (inner := [item for item in place.values() if isinstance(item, dict)]) and rng.random() < 0.6:
        place = rng.choice(inner)
    name = rng.choice([*place, "extra"])
    if rng.random() < 0.15:
        place.pop(name, None)
    else:
        place[name] = rng.choice(JSON_VALUES)
    return json.dumps(value)


def mutate_checkpoint(contents, rng):
    """A forged checkpoint: changed contents with a matching new digest."""
    size = int.from_bytes(contents[:8], "little")
    metadata = json.loads(json.loads(contents[8 : 8 + size])["__metadata__"]["minilstm"])
    tensors = safetensors.numpy.load(contents)
    kind = rng.choice(("metadata", "dtype", "shape", "value", "missing", "extra", "header", "carried", "format"))
    name = rng.choice(list(tensors))
    if kind == "metadata":
        metadata = json.loads(mutate_json(json.dumps(metadata), rng))
    elif kind == "dtype":
        tensors[name] = tensors[name].astype(rng.choice((np.float64, np.float16, np.int32, np.int8, np.bool_)))
    elif kind == "shape":
        tensors[name] = rng.choice((tensors[name].T[..., None], tensors[name][:1], tensors[name].reshape(-1, 1)))
    elif kind == "value":
        tensors[name] = tensors[name].copy()
        tensors[name].flat[rng.randrange(tensors[name].size)] = rng.choice((np.nan, np.inf, -np.inf))
    elif kind == "missing":
        del tensors[name]
    elif kind == "extra":
        tensors[rng.choice(("extra", "adam.m.extra", "rnn.weight_ih_l1", "../x", ""))] = np.zeros(3, np.float32)
    elif kind == "carried":
        carried = metadata["carried"]
        metadata["carried"] = rng.choice(("", "AAAA", carried[:-8], carried[8:], "ÿ", 3, None))
    elif kind == "format":
        metadata["format"] = rng.choice((WITHOUT_AVERAGE, *EARLIER_FORMATS, "minilstm 1", "minilstm 99", "", None, 3))
        if rng.random() < 0.5:
            metadata["state"] = metadata.pop("carried")
        if rng.random() < 0.5:
            metadata["progress"]["cost"] = metadata["progress"].pop("loss")
    text = json.dumps({"sha256": BLANK.decode()} | {k: v for k, v in metadata.items() if k != "sha256"})
    contents = safetensors.numpy.save({n: np.ascontiguousarray(t) for n, t in tensors.items()}, {"minilstm": text})
    if kind == "header":  # declared sizes without the data
        size = int.from_bytes(contents[:8], "little")
        header = json.loads(contents[8 : 8 + size])
        entry = header[name]
        huge = rng.choice((2**31, 2**40, 2**62, 2**63, 2**64 - 1, -1))
        if rng.random() < 0.5:
            entry["shape"] = [huge] * rng.randrange(1, 4)
        else:
            entry["data_offsets"] = rng.choice(([0, huge], [huge, huge], [huge, 0]))
        header = json.dumps(header).encode()
        contents = len(header).to_bytes(8, "little") + header + contents[8 + size :]
        if rng.random() < 0.2:
            contents = rng.choice((2**32, 2**62, 2**64 - 1)).to_bytes(8, "little") + contents[8:]
    return add_checksum(contents)


def unchanged(contents, rng):
    """The contents unchanged, for mutations that replace the file itself."""
    return contents


def put_fifo(path, _):
    path.unlink()
    os.mkfifo(path)


def put_loop(path, _):
    path.unlink()
    path.symlink_to(path.name)


def put_directory(path, _):
    path.unlink()
    path.mkdir()


def put_device(path, rng):
    path.unlink()
    path.symlink_to(rng.choice(("/dev/zero", "/dev/full", "/dev/tty", "/dev/stdin")))


def put_nothing(path, _):
    path.unlink()


OUTCOMES = "refused", "no memory", "harmless"  # the second is refused too: a config can ask for a model of any size
PUTS = put_fifo, put_loop, put_directory, put_device, put_nothing


class Watch:
    """Records the interpreter's actions while `on`; an audit hook cannot be removed."""

    def __init__(self):
        self.on, self.inside, self.seen = False, "", []
        sys.addaudithook(self.hear)

    def hear(self, event, arguments):
        if not self.on:
            return
        if event in FORBIDDEN:
            self.seen.append((event, str(arguments)[:200]))
        elif event == "open" and isinstance(arguments[0], str | bytes):
            path, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2]
            writes = any(letter in (mode or "") for letter in "wax+") or (
                flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            # a run's own files are opened by name, in the directory that is held open: the event does not say in which
            own = path in ("lock", "metrics.csv") or (is_run_file(path) and finished_name(path))
            if own and open_directories:
                path = os.path.join(*open_directories, path)
            if writes and not os.path.abspath(path).startswith(self.inside) and path != os.devnull:
                self.seen.append((event, path))


def ran_too_long(*_):
    raise TimeoutError("the command did not end in time")


def run_command(arguments):
    """Exit status, and the text on standard error."""
    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, ran_too_long)
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("default")
            status = minilstm(arguments)
    finally:
        signal.alarm(0)
    return status, err.getvalue()


def commands(base):
    """Name of a mutated file -> the commands that read it."""
    run, corpus = str(base / "run"), str(base / "corpus")
    new = ["train", "--max-steps", "1", "--out", str(base / "new"), "--data", corpus, *FLAGS]
    evaluate, generate = ["evaluate", run, "--split", "valid"], ["generate", run, "--words", "3"]
    resume = ["train", "--resume", "--out", run, "--max-steps", "0"]
    plot = ["plot", run, "-o", str(base / "new.png")]
    return {
        "run/checkpoint.safetensors": [evaluate, generate, resume],
        "run/checkpoint-moments-99.safetensors": [resume],
        "run/config.json": [evaluate, resume, generate],
        "run/vocab.txt": [generate, evaluate],
        "run/metrics.csv": [resume, resume, resume, plot],
        "corpus/train.txt": [new, new, evaluate],
        "corpus/valid.txt": [new, evaluate],
        "corpus/test.txt": [new, [*evaluate[:2], "--data", corpus]],
        "corpus/grammar.txt": [new],
        "model/model.safetensors": [[*new, "--init-from", str(base / "model/model.safetensors")]],
        "model/vocab.txt": [[*new, "--init-from", str(base / "model/model.safetensors")]],
        "one.txt": [[*new[:5], "--data", str(base / "one.txt"), *FLAGS]],
    }


def attack(base, inputs, seed=0):
    """Mutate, run, judge.

    Returns
    -------
    Counter
        (file, outcome) -> count; outcome is one of OUTCOMES.
    """
    rng, watch, tally = random.Random(seed), Watch(), Counter()
    write_corpus(base / "corpus")
    (base / "one.txt").write_bytes((base / "corpus/train.txt").read_bytes())
    run_command(["train", "--data", str(base / "corpus"), "--out", str(base / "run"), *FLAGS])
    (base / "corpus/grammar.txt").write_text(GRAMMAR)
    (base / "model").mkdir()
    shutil.copy(base / "run/vocab.txt", base / "model")
    tensors = safetensors.numpy.load_file(base / "run/checkpoint.safetensors")
    safetensors.numpy.save_file(tensors, base / "model/model.safetensors")
    for name in ("run", "corpus", "model", "one.txt"):
        (shutil.copytree if (base / name).is_dir() else shutil.copy)(base / name, base / f"good-{name}")
    good = {name: (base / f"good-{name}").read_bytes() for name in commands(base)}
    watch.inside = str(base)
    with contextlib.suppress(ValueError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    for name, arguments in commands(base).items():
        for one in arguments:
            status, error = run_command(one)
            assert status == 0, (name, one, error)
            restore(base, base / name, good)
    for _ in tqdm(range(inputs), "inputs", disable=not sys.stderr.isatty()):
        name = rng.choice([*good, "run/checkpoint.safetensors", "run/config.json"])
        path, contents = base / name, good[name]
        changes = [mutate_bytes]
        if name.endswith("checkpoint.safetensors"):
            changes.append(mutate_checkpoint)
        elif name.endswith("json"):
            changes.append(lambda data, rng: mutate_json(data, rng).encode("utf-8", "surrogatepass"))
        change = rng.choice(changes)
        mutated = contents
        for _ in range(1 if change is mutate_checkpoint else rng.randint(1, 3)):
            with contextlib.suppress(ValueError, AttributeError):  # not an object any more
                mutated = change(mutated, rng)
        put = rng.choice(PUTS) if rng.random() < 0.05 else partial(Path.write_bytes, path)
        if put in PUTS:
            put(path, rng)
        else:
            put(mutated)
        arguments = rng.choice(commands(base)[name])
        watch.on = True
        status, error = run_command(arguments)
        watch.on = False
        case = name, arguments, status, error[:2000], mutated[:200], put
        assert status in (0, 2), case
        assert error.count("\n") == (1 if status == 2 else 0) or harmless_note(error), case
        assert len(error) < 5000, case
        assert status == 0 or error.startswith("minilstm: error: "), case
        changed = put in PUTS or (change is mutate_bytes and mutated != contents)
        of_run = name.startswith("run/") and name.endswith(("safetensors", "vocab.txt"))
        assert not (changed and of_run and status == 0), case
        assert not watch.seen, (case, watch.seen)
        tally[name, "harmless" if status == 0 else "no memory" if "out of memory" in error else "refused"] += 1
        restore(base, path, good)
    return tally


def harmless_note(error):
    """The note that a successful evaluate writes on standard error."""
    return error.startswith("Device: ") and error.count("\n") <= 2 and "Traceback" not in error


def restore(base, path, good):
    """Restore everything."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    shutil.rmtree(base / "new", ignore_errors=True)
    for name in good:
        if name.startswith("run/") or base / name == path:
            with contextlib.suppress(OSError):
                (base / name).unlink()
            (base / name).write_bytes(good[name])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = attack(Path(folder), args.inputs, args.seed)
    print(f"{'file':40}" + "".join(f"{outcome:>12}" for outcome in OUTCOMES))
    for name in [*dict.fromkeys(name for name, _ in sorted(tally)), None]:
        row = [sum(n for (f, o), n in tally.items() if name in (f, None) and o == outcome) for outcome in OUTCOMES]
        print(f"{name or 'all':40}" + "".join(f"{n:>12}" for n in row))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    print(f"no traceback, no hang, nothing executed, nothing written outside; peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
