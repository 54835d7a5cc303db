"""Complete runs: their files, and an exact resume after any stop."""

import os
import signal
import subprocess
import sys
import time
from functools import cache

import pytest
import safetensors.numpy
from kill import assert_same_run

from minilstm.cli import main
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.directory import read_metrics

TINY = ["--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "3", "--max-epoch", "1"]


@pytest.fixture(scope="module")
def tiny(shared_corpus_dir):
    """Flags of a run of three epochs of 99 steps, with dropout."""
    return ["train", "--data", str(shared_corpus_dir), "--device", "cpu", *TINY]


@pytest.fixture(scope="module")
def whole_run(tiny, tmp_path_factory):
    """``whole_run(flags...)`` is the directory of an uninterrupted run, made once for each set of flags."""

    @cache
    def train(*flags):
        run = tmp_path_factory.mktemp("whole") / "run"
        assert main([*tiny, *flags, "--out", str(run)]) == 0
        return run

    return train


def tensors(run):
    return safetensors.numpy.load_file(run / "checkpoint.safetensors")


def test_a_run_writes_its_files_and_the_lines_ptb_people_know(tiny, tmp_path, capsys):
    assert main([*tiny, "--out", str(tmp_path / "run")]) == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json",
        "machine.json",
        "vocab.txt",
        "metrics.csv",
        "curve.png",
        "checkpoint.safetensors",
        "checkpoint-best.safetensors",
        "lock",
    }
    out = capsys.readouterr().out
    for line in (
        "Device: cpu (NumPy); 1 thread\nCorpus: ",
        "2,000 training tokens, 11 words\nModel: toy, 731 parameters, into ",
    ):
        assert line in out
    for line in ("Epoch: 1 Learning rate: 1.000", "Epoch: 2 Learning rate: 0.500", "Epoch: 3 Train Perplexity: "):
        assert line in out
    assert out.count(" wps\n") == 3 * 10
    assert "Test Perplexity: " in out
    assert f"minilstm generate {tmp_path / 'run'}" in out
    rows = read_metrics(tmp_path / "run")
    assert [row["split"] for row in rows].count("train") == 3 * (10 + 1)
    assert [(row["epoch"], row["step"]) for row in rows if row["split"] == "valid"] == [(1, 99), (2, 198), (3, 297)]
    assert all(row["gradient_norm"] > 0 for row in rows if row["split"] == "train")
    assert (rows[-1]["split"], rows[-1]["epoch"]) == ("test", 3)


@pytest.mark.slow
def test_training_learns_the_toy_language(tmp_path, capsys):
    assert main(["train", "--out", str(tmp_path / "run"), "--max-max-epoch", "1", "--device", "cpu"]) == 0
    valid = next(row["perplexity"] for row in read_metrics(tmp_path / "run") if row["split"] == "valid")
    assert valid < 5  # a trigram model reaches 5.9, the floor is 3.1
    assert "above the floor" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--optimizer", "adam"], ["--dtype", "float64", "--keep-prob", "1"]])
@pytest.mark.parametrize("stop", [0, 1, 57, 99, 150, 296])
def test_stopped_at_any_step_and_resumed_a_run_ends_bit_for_bit_the_same(tiny, whole_run, tmp_path, more, stop):
    parts = tmp_path / "parts"
    assert main([*tiny, *more, "--out", str(parts), "--max-steps", str(stop)]) == 0
    assert load_checkpoint(parts / "checkpoint.safetensors").progress.step == stop
    assert main(["train", "--resume", "--out", str(parts), "--device", "cpu"]) == 0
    assert_same_run(whole_run(*more), parts)


@pytest.mark.slow
def test_a_finished_run_can_be_trained_longer_as_if_it_had_been_meant_so(tiny, whole_run, tmp_path):
    shorter = [*tiny, "--max-max-epoch", "2"]
    assert main([*shorter, "--out", str(tmp_path / "parts")]) == 0
    assert main(["train", "--resume", "--device", "cpu", "--out", str(tmp_path / "parts"), "--max-max-epoch", "3"]) == 0
    assert_same_run(whole_run(), tmp_path / "parts")


def start(arguments):
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "minilstm", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def wait_for(path, process):
    while not path.exists() and process.poll() is None:
        time.sleep(0.005)


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(tiny, whole_run, tmp_path, number):
    parts = tmp_path / "parts"
    longer = ["--hidden-size", "48", "--max-max-epoch", "8"]
    process = start([*tiny, *longer, "--out", str(parts)])
    wait_for(parts / "checkpoint.safetensors", process)
    time.sleep(0.3)
    process.send_signal(number)
    output = process.communicate()[0]
    assert process.returncode == 130
    assert f"minilstm train --resume --out {parts}" in output
    assert "Traceback" not in output
    assert 0 < load_checkpoint(parts / "checkpoint.safetensors").progress.step < 8 * 99
    assert main(["train", "--resume", "--device", "cpu", "--out", str(parts)]) == 0
    assert_same_run(whole_run(*longer), parts)


def test_the_same_command_can_be_typed_twice(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main([*tiny, "--max-steps", "1"]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_one_seed_gives_one_run_and_another_seed_another(tiny, tmp_path):
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert main([*tiny, "--out", str(tmp_path / name), "--seed", seed, "--max-steps", "20"]) == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a/checkpoint.safetensors").read_bytes() == (tmp_path / "b/checkpoint.safetensors").read_bytes()
    assert (tensors(tmp_path / "a")["decoder.weight"] != tensors(tmp_path / "c")["decoder.weight"]).any()


@pytest.mark.slow
def test_float16_trains_to_about_what_float32_does(tiny, tmp_path):
    results = {}
    for dtype in ("float32", "float16"):
        assert main([*tiny, "--out", str(tmp_path / dtype), "--dtype", dtype, "--max-max-epoch", "1"]) == 0
        results[dtype] = read_metrics(tmp_path / dtype)[-1]["perplexity"]
    assert results["float16"] == pytest.approx(results["float32"], rel=0.02)
