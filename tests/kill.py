"""Kill training runs repeatedly, and check that they end like uninterrupted runs.

    python tests/kill.py --kills 200

One of these faults interrupts a run, which is then resumed, until it is done; finally it is compared with an
uninterrupted run:

    moment      SIGKILL at a random moment
    line        SIGKILL at a random line of the code that reads and writes a run's files
    half        killed by the kernel in the middle of a write, which leaves a partly written file
    full        no file can grow beyond a random size: writes fail
    disk        a small separate disk, which is full from a random moment on
    read-only   a directory that is read-only from a random moment on

With --ranks 2 each run is a job of two processes under mpiexec, and one of them is killed.

The last two are skipped, with a message, if this user cannot create such a disk or directory. However this program
ends, by Ctrl-C or SIGKILL, too, no directory stays read-only and no disk stays mounted.
"""

import argparse
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import numpy as np
import safetensors.numpy
from tqdm import tqdm

from minilstm.runs.directory import read_metrics

KINDS = "moment", "line", "half", "full", "disk", "read-only"
DEATHS = -signal.SIGKILL, -signal.SIGXFSZ, signal.SIGKILL, signal.SIGXFSZ  # as subprocess and as mpiexec give them
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
TRAIN = (
    *("--hidden-size", "16", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "3", "--max-epoch", "1"),
    *("--optimizer", "adam", "--device", "cpu"),
)
EVERY = "--checkpoint-every", "7"
LINES = 18_000  # approximate number of executed lines of the WRITERS in an uninterrupted run


def write_corpus(directory):
    """train.txt, valid.txt and test.txt: 11 words, 2,000 training tokens, 99 steps per epoch."""
    rng = random.Random(0)
    directory.mkdir()
    for name, lines in (("train", 200), ("valid", 30), ("test", 20)):
        words = [[rng.choice("abcdefghij") for _ in range(9)] for _ in range(lines)]
        (directory / f"{name}.txt").write_text("".join(" ".join(line) + "\n" for line in words))
    return directory


def assert_same_run(one, other):
    """Assert that tensors, metrics, curve and all other files of two runs are equal, except for the speed."""
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    a, b = (safetensors.numpy.load_file(run / "checkpoint.safetensors") for run in (one, other))
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    rows = [[{**row, "words_per_second": 0} for row in read_metrics(run)] for run in (one, other)]
    assert rows[0] == rows[1]
    assert len({(row["step"], row["split"]) for row in rows[0]}) == len(rows[0]), "a row is there twice"
    for name in {path.name for path in one.iterdir()} - {"config.json", "metrics.csv"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


def start(arguments, fault="none:0", ranks=1):
    """Start a minilstm process, or an MPI job of several."""
    launcher = [MPIEXEC, "-n", str(ranks)] if ranks > 1 else []
    return subprocess.Popen(
        [*launcher, sys.executable, Path(__file__).with_name("faults.py"), fault, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


def ranks_of(process):
    """The process ids of the ranks of a job: mpiexec starts a proxy, and that the ranks."""

    def children(pid):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    with suppress(OSError):
        return [int(rank) for proxy in children(process.pid) for rank in children(proxy)]
    return []


def kill_one(process, ranks, rng):
    """Kill a process, or one of the ranks of a job as soon as it has any."""
    if ranks == 1:
        return process.kill()
    while process.poll() is None:
        if len(pids := ranks_of(process)) == ranks:
            with suppress(ProcessLookupError):
                return os.kill(rng.choice(pids), signal.SIGKILL)


def attempt(kind, arguments, run, rng, seconds, ranks=1):
    """Train until the end or until a fault of this kind; returns the exit status and standard error."""
    fault = {
        "line": f"line:{rng.randint(1, LINES)}",
        "half": f"half:{int(math.exp(rng.uniform(3, 11)))}",
        "full": f"full:{int(math.exp(rng.uniform(3, 11)))}",
    }.get(kind, "none:0")
    process = start(arguments, fault, ranks)
    try:
        if kind in ("moment", "disk", "read-only"):
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, seconds))
        if kind == "moment":
            kill_one(process, ranks, rng)
        with full(run.parent) if kind == "disk" else read_only(run) if kind == "read-only" else nullcontext():
            error = process.communicate(timeout=300)[1]
    finally:
        process.kill()  # if this program is interrupted
    return process.returncode, error


@contextmanager
def full(directory):
    """Inside, the disk of `directory` is full."""
    filler = directory / "filler"
    try:
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
        yield
    finally:
        filler.unlink()


@contextmanager
def changed(path, change, undo):
    """Inside, a shell command has changed `path` ("$0"); afterwards, another has undone it, however this process ends.

    The shell of the two commands has a session of its own, which no Ctrl-C reaches, and waits for the end of a pipe:
    the kernel closes that even if this process is killed. OSError if the change is impossible.
    """
    script = f'trap "" PIPE; if {change} "$0"; then echo changed; read _; {undo} "$0"; fi'
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    shell = subprocess.Popen(["sh", "-c", script, path], start_new_session=True, **pipes)
    try:
        if not shell.stdout.readline():
            raise OSError(f"not possible here: {change} {path}")
        yield
    finally:
        shell.stdin.close()
        shell.stdout.close()
        if shell.wait() != 0:
            raise OSError(f"cannot be undone: {undo} {path}")


@contextmanager
def read_only(run):
    """Inside, nothing can be created or renamed in the directory `run`. Root ignores permissions, so it uses chattr."""
    change, undo = ("chmod 555", "chmod 755") if os.geteuid() != 0 else ("chattr +i", "chattr -i")
    with changed(run, change, undo) if run.is_dir() else nullcontext():
        yield


@contextmanager
def small_disk(base):
    """A directory on a separate disk of 600 kB; None if this user may not mount one."""
    disk = base / "disk"
    disk.mkdir()
    with ExitStack() as stack:
        try:
            stack.enter_context(changed(disk, "mount -t tmpfs -o size=600k none", "umount -l"))
        except OSError:
            disk = None
        yield disk


def possible_kinds(base):
    """The kinds of fault that this user can cause here, and reasons for the others."""
    kinds, skipped = list(KINDS[:4]), []
    probe = base / "probe"
    probe.mkdir()
    try:
        with read_only(probe):
            kinds.append("read-only")
    except OSError:
        skipped.append("read-only: root can write everywhere, and chattr is not available")
    return kinds, skipped


def torture(base, kills, seed=0, ranks=1):
    """Do runs with faults, and compare each with the uninterrupted run, until `kills` processes have been killed.

    Returns
    -------
    Counter
        (kind, outcome) -> count; outcome is "killed", "refused" (exit status 2, one line) or "missed".
    runs : int
        Number of runs completed and compared.
    skipped : list of str
        Kinds of fault that could not be caused, and the reasons.
    """
    rng = random.Random(seed)
    corpus, whole = write_corpus(base / "corpus"), base / "whole"
    begin = time.perf_counter()
    process = start(["train", "--data", corpus, "--out", whole, *TRAIN, *EVERY], ranks=ranks)
    try:
        assert process.wait() == 0, process.stderr.read()
    finally:
        process.kill()
    seconds = time.perf_counter() - begin
    kinds, skipped = possible_kinds(base)
    tally, runs = Counter(), 0
    with small_disk(base) as disk, tqdm(total=kills, desc="kills", disable=not sys.stderr.isatty()) as bar:
        if disk is None:
            skipped.append("disk: this user may not mount one")
        while sum(tally[kind, "killed"] for kind in KINDS) < kills:
            on_disk = disk is not None and runs % 2 == 1
            run = (disk if on_disk else base) / f"run{runs}"
            for _ in range(1000):
                fresh = not (run / "config.json").exists()
                arguments = ["--data", corpus, *TRAIN] if fresh else ["--resume", "--device", "cpu"]
                enough = sum(tally[kind, "killed"] for kind in KINDS) == kills
                kind = "none" if enough else rng.choice([*kinds[:4], "disk"] if on_disk else kinds)
                status, error = attempt(kind, ["train", *arguments, "--out", run, *EVERY], run, rng, seconds, ranks)
                outcome = {0: "missed", 2: "refused"}.get(status, "killed" if status in DEATHS else status)
                assert outcome in ("missed", "refused", "killed"), (kind, status, error)
                assert outcome != "refused" or kind in ("full", "disk", "read-only"), (kind, error)
                assert outcome == "killed" or error.count("\n") == (outcome == "refused"), (kind, error)
                tally[kind, outcome] += 1
                bar.update(outcome == "killed")
                if outcome == "missed":
                    break
            assert_same_run(whole, run)
            shutil.rmtree(run)
            runs += 1
    return tally, runs, skipped


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ranks", type=int, default=1, help="processes under mpiexec, one of which is killed (1)")
    args = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # an exception, as Ctrl-C is: "finally" runs
    with tempfile.TemporaryDirectory() as folder:
        tally, runs, skipped = torture(Path(folder), args.kills, args.seed, args.ranks)
    print(f"{'kind':12}{'killed':>10}{'refused':>10}{'missed':>10}")
    for kind in (*KINDS, None):
        row = [sum(n for (k, o), n in tally.items() if kind in (k, None) and o == outcome)
               for outcome in ("killed", "refused", "missed")]  # fmt: skip
        print(f"{kind or 'all':12}" + "".join(f"{n:>10}" for n in row))
    print(f"{runs} runs ended with the tensors, metrics and curve of the uninterrupted run")
    for reason in skipped:
        print(f"skipped: {reason}")


if __name__ == "__main__":
    main()
