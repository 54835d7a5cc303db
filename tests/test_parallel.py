"""Many processes under mpiexec: the result of one process, the same weights on all, and faults. See also kill.py."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from kill import assert_same_run

from minilstm import Config, init_train_state, load_corpus, plain
from minilstm.cli import main
from minilstm.layers.dropout import dropout_masks
from minilstm.parallel import masks_of_streams
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.directory import read_metrics

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(BIN), os.environ.get("PATH", "")]))
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


@pytest.mark.parametrize("R", [2, 4, 5])
@pytest.mark.parametrize("H", [3, 16, 50])
def test_the_masks_of_some_streams_are_columns_of_the_batchs(R, H):
    like, shape = np.zeros(1), (3, 7, 20, H)
    masks = dropout_masks(5, 11, shape, 0.7, "float32", like)
    for rank in range(R):
        streams = slice(rank * 20 // R, (rank + 1) * 20 // R)
        mine = masks_of_streams(5, 11, shape, streams, 0.7, "float32", like)
        np.testing.assert_array_equal(mine, masks[:, :, streams])


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
