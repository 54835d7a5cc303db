"""Many processes under mpiexec: the result of one process, the same weights on all, and faults. See also kill.py."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pretended_gpu
import pytest
import safetensors.numpy
from kill import KINDS, MPIEXEC, assert_same_run, ranks_of, torture
from test_tensorboard import assert_log_is_that_of_metrics, needs_tensorboard_x

from minilstm import batchify, get_batch, load_corpus
from minilstm.cli import main
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.directory import read_metrics

HERE = Path(__file__).parent
MISSING = "no mpiexec" if not MPIEXEC else "" if importlib.util.find_spec("mpi4py") else "no mpi4py"
needs_mpi = pytest.mark.skipif(bool(MISSING), reason=f'{MISSING}: pip install -e ".[mpi]"')
TINY = "--hidden-size", "16", "--num-steps", "5", "--batch-size", "4", "--device", "cpu", "--threads", "1"


def command(size, *arguments):
    return [MPIEXEC, "-n", str(size), sys.executable, "-m", "minilstm", *map(str, arguments)]


def mpiexec(size, *arguments, **options):
    """Run minilstm as `size` processes to the end."""
    return subprocess.run(command(size, *arguments), capture_output=True, text=True, timeout=300, **options)


def tensors(run):
    return safetensors.numpy.load_file(run / "checkpoint.safetensors")


def error(one, other):
    """The largest difference of a weight, relative to the largest weight of its array."""
    a, b = tensors(one), tensors(other)
    return max(np.abs(a[n] - b[n]).max() / np.abs(a[n]).max() for n in a if a[n].any())


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "steps", "bound"),
    [("float64", 50, 1e-10), ("float32", 10, 1e-4)],  # rounding grows: in float32 to 0.03 after 50 such steps
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_steps_with_dropout_are_those_of_one_process(tmp_path, dtype, steps, bound, optimizer):
    train = ["train", "--max-steps", str(steps), "--keep-prob", "0.8", "--dtype", dtype, "--optimizer", optimizer]
    train += ["--hidden-size", "32", "--device", "cpu", "--threads", "1"]
    assert main([*train, "--out", str(tmp_path / "one")]) == 0
    for size, name in ((2, "two"), (2, "two again"), (4, "four")):
        process = mpiexec(size, *train, "--out", tmp_path / name)
        assert (process.returncode, process.stderr) == (0, "")
        assert error(tmp_path / "one", tmp_path / name) < bound
    assert_same_run(tmp_path / "two", tmp_path / "two again")
    rows = [read_metrics(tmp_path / name) for name in ("one", "two")]
    for a, b in zip(*rows, strict=True):
        assert a["tokens"] == b["tokens"]
        assert a["perplexity"] == pytest.approx(b["perplexity"], rel=bound)


@needs_mpi
@pytest.mark.slow
def test_a_whole_run_on_one_two_and_four_processes_resumed_on_others(tmp_path, shared_corpus_dir):
    train = ["train", "--data", str(shared_corpus_dir), *TINY, "--max-max-epoch", "2", "--dtype", "float64"]
    resume = ["train", "--resume", "--device", "cpu", "--threads", "1"]
    one, many = tmp_path / "one", tmp_path / "many"
    assert main([*train, "--out", str(one)]) == 0
    process = mpiexec(2, *train, "--out", many, "--max-steps", "30")
    assert (process.returncode, process.stderr) == (0, "")
    assert load_checkpoint(many / "checkpoint.safetensors").carried[0][0].shape == (4, 16)
    process = mpiexec(4, *resume, "--out", many, "--max-steps", "120")
    assert (process.returncode, process.stderr) == (0, "")
    assert "rounding" in process.stdout
    assert main([*resume, "--out", str(many), "--max-steps", "150"]) == 0
    process = mpiexec(2, *resume, "--out", many)
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.count("Test Perplexity") == 1
    assert error(one, many) < 1e-9
    for a, b in zip(read_metrics(one), read_metrics(many), strict=True):
        assert (a["epoch"], a["step"], a["split"], a["tokens"]) == (b["epoch"], b["step"], b["split"], b["tokens"])
        if a["split"] != "train":
            assert a["perplexity"] == pytest.approx(b["perplexity"], rel=1e-9)


@needs_mpi
@pytest.mark.slow
def test_evaluate_gives_the_perplexity_of_one_process(tmp_path, shared_corpus_dir, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--data", str(shared_corpus_dir), *TINY, "--max-max-epoch", "1", "--out", run]) == 0
    for split in ("train", "valid", "test"):
        capsys.readouterr()
        evaluate = ["evaluate", run, "--split", split, "--device", "cpu"]
        assert main(evaluate) == 0
        process = mpiexec(2, *evaluate)
        assert process.returncode == 0
        assert process.stdout == capsys.readouterr().out
        assert process.stderr.count("\n") == 1  # the device


@needs_mpi
@needs_tensorboard_x
@pytest.mark.slow
def test_two_processes_write_one_log_for_tensorboard_and_remove_what_a_killed_job_has_left(tmp_path, shared_corpus_dir):
    run = tmp_path / "run"
    train = ["train", "--data", str(shared_corpus_dir), *TINY, "--num-layers", "2", "--max-steps", "30"]
    assert main([*train, "--tensorboard", "--out", str(run)]) == 0
    for name in ("machine.json", "checkpoint.safetensors"):
        (run / f"{name}.0123456789abcdef.unfinished").write_text("")
    resume = ["train", "--resume", "--device", "cpu", "--max-steps", "60"]
    process = mpiexec(2, *resume, "--tensorboard", "--out", run)
    assert (process.returncode, process.stderr) == (0, "")
    assert len(list((run / "tensorboard").iterdir())) == 2
    assert_log_is_that_of_metrics(run)
    assert not list(run.glob("*.unfinished"))


def different(first, second, cwd=None):
    """Two ranks with different commands or directories."""
    one, other = (command(1, *arguments)[1:] for arguments in (first, second))
    return subprocess.run([MPIEXEC, *one, ":", *other], capture_output=True, text=True, timeout=60, cwd=cwd)


def require_one_line(process, says, status=2):
    assert (process.returncode, process.stdout) == (status, ""), process.stderr
    assert process.stderr.count("\n") == 1, process.stderr
    assert says in process.stderr


@needs_mpi
@pytest.mark.slow
def test_a_step_sends_the_dense_gradients_twice_and_the_used_rows_once(tmp_path, shared_corpus_dir):
    run, steps = tmp_path / "run", 10
    code = (
        "import sys; from minilstm import ranks; from minilstm.cli import run\n"
        "status = run(sys.argv[1:]); print(ranks.world.bytes_received, file=sys.__stdout__); sys.exit(status)"
    )
    train = ["train", "--data", str(shared_corpus_dir), *TINY, "--max-steps", str(steps), "--out", str(run)]
    process = subprocess.run([MPIEXEC, "-n", "2", sys.executable, "-c", code, *train], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    received = sum(int(line) for line in process.stdout.splitlines() if line.isdecimal())
    ids = batchify(load_corpus(shared_corpus_dir).splits["train"], 4)
    dense = sum(x.size for name, x in tensors(run).items() if name != "encoder.weight" and "bias_hh" not in name)
    expected = 0
    for k in range(steps):
        inputs, _ = get_batch(ids, k, 5)
        rows = sum(len(np.unique(inputs[:, b : b + 2])) for b in (0, 2))
        expected += (
            2 * 4 * (dense + 2) + rows * (4 * 16 + 8) + 2 * 8
        )  # 2 (R - 1)/R n for R = 2: n; loss and stop request
    assert abs(received - expected) <= steps * 2 * 2 * 4  # an odd row has one more number


@needs_mpi
@pytest.mark.slow
def test_ranks_that_cannot_train_together_are_refused_in_one_line_and_nothing_is_written(tmp_path, corpus_dir):
    out = tmp_path / "run"
    train = ["train", "--data", corpus_dir, *TINY, "--out", out]
    require_one_line(mpiexec(3, *train), "--batch-size 4 cannot be divided among 3 processes")
    for other, differ in (
        ([*train, "--seed", "1"], "--seed: 1 on rank 1, not given on rank 0"),
        ([*train, "--tensorboard"], "--tensorboard: given on rank 1, not given on rank 0"),
        ([*train, "--no-lr-on-plateau"], "--lr-on-plateau: --no-lr-on-plateau on rank 1, not given on rank 0"),
        (["evaluate", out], "the command: evaluate on rank 1, train on rank 0"),
    ):
        require_one_line(different(train, other), f"the ranks differ in {differ}; start all with the same command")
    other = shutil.copytree(corpus_dir, tmp_path / "elsewhere" / "corpus")
    (other / "test.txt").write_text("a b c\n" * 20)
    relative = f"cd {{}} && {sys.executable} -m minilstm train --data corpus --out {out} {' '.join(TINY)}"
    shells = [["-n", "1", "sh", "-c", relative.format(where)] for where in (tmp_path, other.parent)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    process = subprocess.run([MPIEXEC, *shells[0], ":", *shells[1]], capture_output=True, text=True, env=environment)
    require_one_line(process, "the ranks differ in the test text: ")
    shutil.rmtree(other)
    process = subprocess.run([MPIEXEC, *shells[0], ":", *shells[1]], capture_output=True, text=True, env=environment)
    require_one_line(process, "corpus")
    edited = shutil.copytree(HERE.parent / "minilstm", tmp_path / "edited" / "minilstm")
    (edited / "optim.py").write_text((edited / "optim.py").read_text() + "# another clipping\n")
    from_folder = f"PYTHONPATH={{}} {sys.executable} -m minilstm {' '.join(map(str, train))}"
    both = [["-n", "1", "sh", "-c", from_folder.format(folder)] for folder in (HERE.parent, edited.parent)]
    process = subprocess.run([MPIEXEC, *both[0], ":", *both[1]], capture_output=True, text=True, cwd=tmp_path)
    require_one_line(process, "the ranks differ in the source of minilstm: ")
    require_one_line(mpiexec(2, *train, "--unknown"), "unknown: --unknown")
    require_one_line(mpiexec(2, "generate", out), "generate runs in one process; start it without mpiexec")
    process = mpiexec(2, *train, "--data", "-", input="a b c\n" * 5000)  # a longer one would end MPICH's mpiexec
    require_one_line(process, "only one of several processes can read standard input")
    assert not out.exists()


@needs_mpi
@pytest.mark.slow
def test_a_directory_that_has_a_run_is_refused_by_all_ranks(tmp_path, shared_corpus_dir):
    train = ["train", "--data", str(shared_corpus_dir), *TINY, "--out", str(tmp_path / "run"), "--max-steps", "0"]
    assert main(train) == 0
    require_one_line(mpiexec(2, *train), "already contains a run")


JOINS = """
import os, sys
from minilstm import ranks
from minilstm.cli import main
ranks.SECONDS_TO_JOIN = float(os.environ["SECONDS"])
print("ready", flush=True)
sys.exit(main(["train", "--out", sys.argv[1]]))
"""
WITHOUT_MPI4PY = f"import sys; sys.modules['mpi4py'] = None\n{JOINS}"


def incomplete(others, number, run, seconds):
    """A job of other programs, then as many processes that join: its command and environment."""
    job = [argument for other in others for argument in ("-n", "1", *other, str(run), ":")]
    return (
        [MPIEXEC, *job, "-n", str(number), sys.executable, "-c", JOINS, str(run)],
        os.environ | {"SECONDS": str(seconds)},
    )


@needs_mpi
@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "number", "says"),
    [
        ([sys.executable, "-c", WITHOUT_MPI4PY], 1, "needs mpi4py"),
        ([sys.executable, "-c", WITHOUT_MPI4PY], 2, "needs mpi4py"),
        (["sh", "-c", "sleep 30"], 2, ""),
        (["sh", "-c", "exit 3"], 2, ""),
    ],
    ids=["one without mpi4py and one", "one without mpi4py and two", "another program", "one that ends"],
)
def test_processes_that_others_do_not_join_end_in_one_line(tmp_path, other, number, says):
    run = tmp_path / "run"
    job, environment = incomplete([other], number, run, seconds=1)
    process = subprocess.run(job, env=environment, capture_output=True, text=True, timeout=25)
    *first, last = process.stderr.splitlines()
    assert process.returncode == 2
    assert process.stdout.replace("ready", "").strip() == ""
    assert f"{number + 1} processes were started together, but only some have joined within 1 s" in last
    assert len(first) == bool(says)
    assert all(says in line for line in first)
    assert not run.exists()


@needs_mpi
@pytest.mark.slow
@pytest.mark.usefixtures("signals_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_processes_that_wait_for_others(tmp_path, number):
    job, environment = incomplete([[sys.executable, "-c", WITHOUT_MPI4PY]], 2, tmp_path / "run", seconds=60)
    process = subprocess.Popen(job, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.read(18).count("ready") == 3
        time.sleep(1)
        process.send_signal(number)
        error = process.communicate(timeout=20)[1]
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert error.splitlines()[1:] == ["minilstm: interrupted"]


@needs_mpi
@pytest.mark.slow
@pytest.mark.usefixtures("signals_heard")
def test_a_termination_before_training_ends_all_ranks_in_one_line(tmp_path):
    code = (
        "import sys, time; import minilstm.commands.train as train; from minilstm.cli import main\n"
        "def slow(args):\n"
        " print('joined', file=sys.__stdout__, flush=True); time.sleep(60)\n"
        "train.select_backend = slow; sys.exit(main())"
    )
    arguments = ["train", "--out", str(tmp_path / "run")]
    job = [MPIEXEC, "-n", "2", sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(job, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.read(14).count("joined") == 2
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=20)
    finally:
        process.kill()
    assert (process.returncode, error) == (130, "minilstm: interrupted\n"), out


@needs_mpi
def test_mpi4py_without_an_mpi_is_reported_by_one_line_of_its_error(tmp_path):
    environment = {"PMI_SIZE": "2", "PMI_RANK": "0", "MPI4PY_LIBMPI": str(tmp_path / "libmpi.so")}
    process = subprocess.run(
        [sys.executable, "-m", "minilstm", "train"], capture_output=True, text=True, env=os.environ | environment
    )
    require_one_line(process, "needs mpi4py (cannot load MPI library); pip install ")


@pytest.mark.parametrize("launcher", [("PMI_SIZE", "PMI_RANK"), ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK")])
@pytest.mark.parametrize("rank", ["0", "1"])
def test_started_together_without_mpi4py_or_with_another_mpi(tmp_path, launcher, rank):
    code = "import sys; sys.modules['mpi4py'] = None; from minilstm.cli import main; sys.exit(main())"
    size, number = launcher
    process = subprocess.run(
        [sys.executable, "-c", code, "train", "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        env=os.environ | {size: "2", number: rank},
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert ("needs mpi4py" in process.stderr and process.stderr.count("\n") == 1) if rank == "0" else not process.stderr
    assert not (tmp_path / "run").exists()


@needs_mpi
def test_a_launcher_of_another_mpi_is_refused(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "minilstm", "train", "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        env=os.environ | {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0"},
    )
    require_one_line(process, "2 processes were started together, but MPI")
    assert not (tmp_path / "run").exists()


def test_one_process_imports_no_mpi():
    code = "import sys; from minilstm.cli import main; main(sys.argv[1:]); print('mpi4py' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code, "gradcheck"], capture_output=True, text=True, env=os.environ | {"PMI_SIZE": "1"}
    )
    assert process.stdout.endswith("False\n")


@needs_mpi
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_a_job_with_killed_ranks_and_refused_writes_ends_bit_for_bit_the_same(tmp_path):
    tally, runs, _ = torture(tmp_path, kills=3, ranks=2)
    assert sum(tally[kind, "killed"] for kind in KINDS) == 3
    assert runs > 0


class Job:
    """A training job of two ranks under mpiexec, which has begun to train."""

    def __init__(self, run, *arguments, fault="none:0"):
        faults = [sys.executable, str(HERE / "faults.py"), fault]
        self.run = run
        self.process = subprocess.Popen(
            [MPIEXEC, "-n", "2", *faults, "train", *map(str, arguments), "--out", str(run)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_epoch(self):
        while not self.process.stdout.readline().startswith("Epoch: 1 Learning rate"):
            assert self.process.poll() is None, self.process.stderr.read()
        time.sleep(0.5)

    def end(self, timeout=60):
        out, error = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, error


LONG = *TINY, "--max-max-epoch", "1000"


@needs_mpi
@pytest.mark.slow
@pytest.mark.usefixtures("signals_heard")
@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
@pytest.mark.parametrize(
    ("number", "to"), [(signal.SIGINT, "mpiexec"), (signal.SIGTERM, "mpiexec"), (signal.SIGHUP, "a rank")]
)
def test_a_signal_stops_all_ranks_after_the_same_step_and_the_run_goes_on(tmp_path, shared_corpus_dir, number, to):
    train = ["--data", shared_corpus_dir, *LONG]
    job = Job(tmp_path / "run", *train)
    try:
        job.wait_for_epoch()
        os.kill(job.process.pid if to == "mpiexec" else ranks_of(job.process)[1], number)
        status, out, error = job.end()
    finally:
        job.process.kill()
    assert status == 130, error
    assert out.count("Stopped in epoch") == 1
    steps = load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").progress.step
    assert f"after {steps} steps; saved" in out
    whole = tmp_path / "whole"
    assert mpiexec(2, "train", *train, "--out", whole, "--max-steps", steps + 20).returncode == 0
    process = mpiexec(2, "train", "--resume", "--device", "cpu", "--out", tmp_path / "run", "--max-steps", steps + 20)
    assert (process.returncode, process.stderr) == (0, "")
    a, b = tensors(whole), tensors(tmp_path / "run")
    assert all(np.array_equal(a[name], b[name]) for name in a)


@needs_mpi
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_ends_the_job(tmp_path, shared_corpus_dir, rank):
    job = Job(tmp_path / "run", "--data", shared_corpus_dir, *LONG)
    try:
        job.wait_for_epoch()
        os.kill(ranks_of(job.process)[rank], signal.SIGKILL)
        status, out, error = job.end(timeout=10)
    finally:
        job.process.kill()
    assert status != 0
    assert "BAD TERMINATION" in out + error


@needs_mpi
@pytest.mark.slow
def test_a_full_disk_on_rank_0_ends_the_job_in_one_line(tmp_path, shared_corpus_dir):
    job = Job(tmp_path / "run", "--data", shared_corpus_dir, *LONG, "--checkpoint-every", "50", fault="full:20000")
    try:
        status, _, error = job.end(timeout=60)
    finally:
        job.process.kill()
    assert status == 2
    assert error.count("\n") == 1, error


@needs_mpi
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_runs_out_of_memory_ends_the_job_in_one_line(tmp_path, shared_corpus_dir, rank):
    code = (
        "import resource, sys; from mpi4py import MPI; from minilstm.cli import main; import minilstm.parallel as p\n"
        "finish = p.Exchange.finish; steps = []\n"
        "def fail(self, *arguments):\n"
        " steps.append(1)\n"
        f" if len(steps) == 30 and self.ranks.rank == {rank}: bytearray(2**62)\n"
        " return finish(self, *arguments)\n"
        "p.Exchange.finish = fail; sys.exit(main())"
    )
    arguments = ["train", "--data", str(shared_corpus_dir), *LONG, "--out", str(tmp_path / "run")]
    process = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1, process.stderr
    assert "out of memory" in process.stderr


@needs_mpi
@pytest.mark.slow
def test_weights_that_differ_between_ranks_are_noticed_at_the_next_checkpoint(tmp_path, shared_corpus_dir):
    code = (
        "import sys; from mpi4py import MPI; from minilstm.cli import main; import minilstm.parallel as p\n"
        "finish = p.Exchange.finish\n"
        "def flip(self, loss, grads, rows):\n"
        " loss = finish(self, loss, grads, rows)\n"
        " if self.ranks.rank: grads['decoder.bias'][3] += 1e-4\n"
        " return loss\n"
        "p.Exchange.finish = flip; sys.exit(main())"
    )
    arguments = ["train", "--data", str(shared_corpus_dir), *LONG, "--out", str(tmp_path / "run"), "--max-steps", "5"]
    process = subprocess.run(
        [MPIEXEC, "-n", "2", sys.executable, "-c", code, *arguments], capture_output=True, text=True
    )
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1, process.stderr
    assert "after step 5 the weights of rank 1 are not those of rank 0" in process.stderr
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").progress.step == 0


@needs_mpi
@pytest.mark.slow
@pytest.mark.skipif(bool(pretended_gpu.missing()), reason=f"{pretended_gpu.missing()}")
@pytest.mark.parametrize("cuda_aware", ["0", "1"])
@pytest.mark.parametrize("kernels", ["fused", "plain"])
def test_two_ranks_with_a_gpu_each_compute_what_one_does(tmp_path, shared_corpus_dir, kernels, cuda_aware):
    # A pretended GPU, which has no queue of work: that the exchange waits for the device remains untested.
    code = (
        "import sys, pretended_gpu; pretended_gpu.pytest_configure(); from minilstm.cli import main; sys.exit(main())"
    )
    train = ["train", "--data", shared_corpus_dir, *TINY, "--device", "cuda", "--kernels", kernels, "--max-steps", "12"]
    train += ["--keep-prob", "0.8", "--dtype", "float64", "--optimizer", "adam"]
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "MINILSTM_CUDA_AWARE_MPI": cuda_aware}
    for launcher, name in (([], "one"), ([MPIEXEC, "-n", "2"], "two")):
        subprocess.run(
            [*launcher, sys.executable, "-c", code, *train, "--out", tmp_path / name], check=True, env=environment
        )
    assert error(tmp_path / "one", tmp_path / "two") < 1e-10
