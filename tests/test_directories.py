"""Directories of runs that are moved, copied, linked or taken by others: each run keeps to its own files."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from minilstm.cli import main
from minilstm.errors import UserError
from minilstm.events import Report
from minilstm.runs.checkpoint import load_checkpoint, save_checkpoint
from minilstm.runs.create import create_run
from minilstm.runs.directory import HEADING, append_metrics, read_metrics
from minilstm.runs.lock import MARK, locked, require_lock
from minilstm.runs.session import continue_run
from minilstm.text.batches import MAX_TOKENS, eval_batches

TINY = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "2", "--device", "cpu"]
ROW = Report(epoch=1, step=3, split="valid", perplexity=5.5, tokens=7)


@pytest.fixture
def runs(corpus_dir, tmp_path):
    """Two runs, of one and of two epochs, in directories "one" and "other"."""
    for name, epochs in (("one", "2"), ("other", "1")):
        train = ["train", "--data", str(corpus_dir), "--out", str(tmp_path / name), *TINY, "--max-max-epoch", epochs]
        assert main([*train, "--seed", epochs]) == 0
    return tmp_path / "one", tmp_path / "other"


def contents(directory):
    """All files of a directory, name -> bytes."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def complaint(capsys, arguments):
    """The single line of error that a wrong command prints."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


# moved


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no directories")
def test_a_run_that_is_moved_while_it_is_being_resumed_leaves_both_runs_as_they_were(runs, tmp_path):
    one, other = runs
    before = contents(one), contents(other)
    with locked(one):
        one.rename(tmp_path / "moved")
        other.rename(one)
        assert len(read_metrics(one)) == before[0]["metrics.csv"].count(b"\n") - 1  # of the directory that was opened
        with pytest.raises(UserError, match="was removed, renamed or replaced"):
            continue_run(one, {"max_max_epoch": 3}, None, np)
    assert (contents(tmp_path / "moved"), contents(one)) == before


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no directories")
def test_overwriting_removes_files_of_the_directory_that_was_locked(runs, tmp_path, monkeypatch):
    one, other = runs
    (other / "checkpoint.safetensors.0123456789abcdef.unfinished").write_text("somebody is writing this")
    before = contents(other)

    def swap(run):
        one.rename(tmp_path / "moved")
        other.rename(one)

    monkeypatch.setattr("minilstm.runs.create.mark", swap)
    with create_run(one, "toy", overwrite=True):
        pass
    assert contents(one) == before
    assert set(contents(tmp_path / "moved")) == {"lock"}


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no directories")
def test_a_copy_by_links_in_the_place_of_a_run_is_another_directory(runs, tmp_path):
    one, _ = runs
    with locked(one):
        require_lock(one)
        one.rename(tmp_path / "moved")
        shutil.copytree(tmp_path / "moved", one, copy_function=os.link)  # its lock is the same file
        with pytest.raises(UserError, match="was removed, renamed or replaced"):
            require_lock(one)


@pytest.mark.skipif(os.name != "posix", reason="Windows opens no directories")
def test_a_backup_by_links_does_not_change_with_the_run(runs, tmp_path):
    one, _ = runs
    backup = shutil.copytree(one, tmp_path / "backup", copy_function=os.link)
    before, rows = contents(backup), read_metrics(one)
    for number in (1, 2):
        append_metrics(one, ROW)
        assert len(read_metrics(one)) == len(rows) + number
    assert contents(backup) == before


# taken by others


def test_the_files_of_a_run_whose_checkpoint_was_taken_away_are_not_overwritten(runs, corpus_dir, tmp_path, capsys):
    one, _ = runs
    (tmp_path / "elsewhere").mkdir()
    for name in ("checkpoint.safetensors", "checkpoint-best.safetensors", "config.json"):
        if (one / name).exists():
            (one / name).rename(tmp_path / "elsewhere" / name)
    before = contents(one)
    for flags in ([], ["--overwrite"]):
        error = complaint(capsys, ["train", "--data", corpus_dir, "--out", one, *TINY, *flags])
        assert "contains other files" in error
    assert contents(one) == before


FOREIGN = {
    "another library": {"config.json": '{"model_type": "gpt2", "vocab_size": 50257}'},
    "our names": {"config.json": '{"data": "/x", "text": "utf-8", "floor": 2, "rooms": 3}'},
    "marked": {"config.json": '{"model_type": "gpt2"}', "lock": MARK.decode()},
    "half of ours": {"metrics.csv": HEADING, "vocab.txt": "a\n"},
    "marked words": {"vocab.txt": "a\n", "lock": MARK.decode()},
    "marked picture": {"curve.png": "a", "lock": MARK.decode()},
    "marked rows": {"metrics.csv": HEADING + "1,1,train,5,1,1,1,1\n", "lock": MARK.decode()},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_files_that_are_not_a_runs_are_never_overwritten(corpus_dir, tmp_path, capsys, kind):
    run = tmp_path / "run"
    run.mkdir()
    for name, text in (
        ({"vocab.txt": "theirs\n"} | FOREIGN[kind]).items()
        if "config.json" in FOREIGN[kind]
        else (FOREIGN[kind].items())
    ):
        (run / name).write_text(text)
    before = contents(run)
    for flags in ([], ["--overwrite"]):
        error = complaint(capsys, ["train", "--data", corpus_dir, "--out", run, *TINY, *flags])
        assert "contains other files" in error
    assert contents(run) == before


def test_a_link_to_the_config_of_a_run_makes_no_run(runs, corpus_dir, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").symlink_to(runs[0] / "config.json")
    (run / "metrics.csv").write_text("mine")
    error = complaint(capsys, ["train", "--data", corpus_dir, "--out", run, *TINY, "--overwrite"])
    assert "contains other files" in error
    assert (run / "metrics.csv").read_text() == "mine"


# numbers that a run could never read again


@pytest.mark.parametrize("change", [{"norms": [9.99999999e304]}, {"step": 2**53, "epoch": 2**53 // 99}])
def test_a_checkpoint_whose_numbers_could_not_be_written_again_is_refused(runs, capsys, change):
    one, _ = runs
    state = load_checkpoint(one / "checkpoint.safetensors")
    save_checkpoint(one / "checkpoint.safetensors", state._replace(progress=replace(state.progress, **change)))
    for command in (["evaluate"], ["train", "--max-max-epoch", "3", "--resume", "--out"]):
        assert "is damaged" in complaint(capsys, [*command, one])


@pytest.mark.parametrize("floor", [0, 0.5, 5e-324])
def test_a_floor_below_one_is_refused_before_training(runs, capsys, floor):
    one, _ = runs
    description = json.loads((one / "config.json").read_text())
    (one / "config.json").write_text(json.dumps(description | {"floor": floor}))
    before = contents(one)
    assert "config.json is damaged" in complaint(capsys, ["train", "--resume", "--out", one, "--max-max-epoch", "3"])
    assert contents(one) == before


def test_a_changed_grammar_is_refused(tmp_path, capsys):
    corpus = tmp_path / "c"
    corpus.mkdir()
    (corpus / "grammar.txt").write_text("1 Sentence -> a b\n1 Sentence -> b a\n")
    for split in ("train", "valid", "test"):
        (corpus / f"{split}.txt").write_text("a b\nb a\n" * 50)
    train = ["train", "--data", str(corpus), "--out", str(tmp_path / "r"), *TINY]
    assert main(train) == 0
    (corpus / "grammar.txt").write_text("1 Sentence -> a b\n2 Sentence -> b a\n")
    error = complaint(capsys, ["train", "--resume", "--out", tmp_path / "r", "--max-max-epoch", "3"])
    assert f"the grammar text of {corpus} is not that of" in error


def test_windows_of_any_length_are_evaluated_in_bounded_memory(runs):
    config = replace(load_checkpoint(runs[0] / "checkpoint.safetensors").config, num_steps=2**50)
    for split in ("valid", "test"):
        streams, num_steps = eval_batches(config, split, np.zeros(100_000, np.int32))
        assert streams.shape[1] * num_steps <= MAX_TOKENS


@pytest.mark.skipif(os.name != "posix", reason="Windows removes no directory in use")
def test_a_working_directory_that_is_gone_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    error = complaint(capsys, ["train", "--data", "text.txt", "--out", tmp_path / "r"])
    assert "text.txt" in error
    assert "cannot print" not in error
