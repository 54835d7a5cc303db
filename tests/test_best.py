"""The best model is kept and tested, patience ends a run, a plateau lowers the learning rate; all of it resumes."""

import json
import shutil
from itertools import accumulate

import numpy as np
import pytest
import safetensors.numpy
from kill import assert_same_run
from test_checkpoint import as_earlier_format, metadata_of

from minilstm.cli import main
from minilstm.config import Config
from minilstm.events import EpochStarted, Report
from minilstm.progress import Progress, end_epoch, learning_rate_of, out_of_patience
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.directory import read_metrics
from minilstm.runs.metadata import EARLIER_FORMATS
from minilstm.runs.tensors import BLANK, add_checksum
from minilstm.step import init_train_state
from minilstm.text.corpus import load_corpus
from minilstm.train import train

BEST, LAST = "checkpoint-best.safetensors", "checkpoint.safetensors"
# a model that soon fits the random words of the training text too well; 99 steps per epoch
OVERFIT = (
    *("--hidden-size", "32", "--num-steps", "5", "--batch-size", "4", "--keep-prob", "1", "--dtype", "float64"),
    *("--optimizer", "adam", "--learning-rate", "0.03", "--max-max-epoch", "8", "--device", "cpu"),
)
PLATEAU = "--lr-on-plateau", "--patience", "4"


@pytest.fixture(scope="module")
def overfit(shared_corpus_dir):
    return ["train", "--data", str(shared_corpus_dir), *OVERFIT]


@pytest.fixture(scope="module")
def finished(overfit, tmp_path_factory):
    """The directory of a finished run, not to be changed."""
    run = tmp_path_factory.mktemp("finished") / "run"
    assert main([*overfit, *PLATEAU, "--out", str(run)]) == 0
    return run


@pytest.fixture
def run(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "run")


def resume(run, *flags):
    return main(["train", "--resume", "--device", "cpu", "--out", str(run), *flags])


def rows_of(run, split):
    return [row for row in read_metrics(run) if row["split"] == split]


def best_epoch(run):
    """The first epoch with the lowest validation perplexity, from the metrics."""
    values = [row["perplexity"] for row in rows_of(run, "valid")]
    return 1 + values.index(min(values))


def complaint(capsys, status):
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_the_best_model_is_the_one_that_a_run_of_as_many_epochs_ends_with(overfit, finished, tmp_path):
    epoch = best_epoch(finished)
    assert 1 < epoch < load_checkpoint(finished / LAST).progress.epoch
    shorter = ["--max-max-epoch", str(epoch), "--patience", "0", "--lr-on-plateau"]
    assert main([*overfit, *shorter, "--out", str(tmp_path / "shorter")]) == 0
    best, same = (safetensors.numpy.load_file(path) for path in (finished / BEST, tmp_path / "shorter" / LAST))
    assert best.keys() == same.keys()
    for name, tensor in best.items():
        np.testing.assert_array_equal(same[name], tensor)
    progress = load_checkpoint(finished / BEST, with_moments=False).progress
    assert (progress.epoch, progress.window, progress.step, progress.best_epoch) == (epoch, 0, 99 * epoch, epoch)


def test_the_best_and_the_last_model_are_tested(finished, tmp_path, capsys):
    run = shutil.copytree(finished, tmp_path / "run")
    assert resume(run) == 0
    out = capsys.readouterr().out
    epoch, last = best_epoch(run), load_checkpoint(run / LAST).progress.epoch
    tests = rows_of(run, "test")
    assert [(row["epoch"], row["step"]) for row in tests] == [(epoch, 99 * epoch), (last, 99 * last)]
    assert [(row["epoch"], row["perplexity"]) for row in rows_of(finished, "test")] == [
        (row["epoch"], row["perplexity"]) for row in tests
    ]
    assert f"\nTest Perplexity of the best epoch ({epoch}): {tests[0]['perplexity']:.3f}\n" in out
    assert f"\nTest Perplexity: {tests[1]['perplexity']:.3f}\n" in out
    assert f"Best checkpoint, of epoch {epoch}: {run / BEST}\n" in out
    for which, row in zip((["--which", "best"], ["--which", "last"]), tests, strict=True):
        assert main(["evaluate", str(run), *which]) == 0
        assert f"Test Perplexity: {row['perplexity']:.3f}\n" in capsys.readouterr().out
    texts = []
    for which in ([], ["--which", "last"], ["--which", "best"]):
        assert main(["generate", str(run), "--words", "50", *which]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2]


def test_a_run_whose_last_epoch_is_the_best_has_one_test(overfit, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*overfit, "--max-max-epoch", "1", "--out", str(run)]) == 0
    assert len(rows_of(run, "test")) == 1
    assert "best" not in capsys.readouterr().out
    assert (run / BEST).read_bytes() == (run / LAST).read_bytes()


def test_the_learning_rate_falls_after_each_epoch_that_is_not_the_best_so_far(finished):
    rates = {row["epoch"]: row["learning_rate"] for row in rows_of(finished, "train")}
    valid = [row["perplexity"] for row in rows_of(finished, "valid")]
    lows = list(accumulate(valid, min))
    plateaus = [sum(value > low for value, low in zip(valid[:n], lows[:n], strict=True)) for n in range(len(valid))]
    assert plateaus[-1] > 0
    assert list(rates.values()) == pytest.approx([0.03 * 0.5**count for count in plateaus], rel=1e-5)


@pytest.mark.parametrize(
    ("valid", "plateaus", "best"),
    [
        ([], 0, 0),
        ([9.0], 0, 1),
        ([9.0, 8.0, 7.0], 0, 3),
        ([9.0, 9.0, 9.0], 2, 1),
        ([9.0, 10.0, 9.5, 8.9, 9.0], 3, 4),
    ],
)
def test_epochs_are_counted_as_better_or_not(valid, plateaus, best):
    progress = Progress()
    for value in valid:
        end_epoch(progress, value)
    assert (progress.epoch, progress.plateaus, progress.best_epoch) == (len(valid), plateaus, best)
    assert progress.best_perplexity == min(valid, default=None)
    config = Config(learning_rate=2.0, lr_decay=0.25, max_epoch=1)
    assert learning_rate_of(config, progress) == 2 * 0.25 ** max(len(valid) + 1 - 1, 0)
    assert learning_rate_of(Config(**vars(config) | {"lr_on_plateau": True}), progress) == 2 * 0.25**plateaus
    for patience in range(5):
        assert out_of_patience(Config(patience=patience), progress) == (0 < patience <= len(valid) - best)


def test_patience_ends_a_run_as_early_as_it_says(finished):
    last = load_checkpoint(finished / LAST).progress.epoch
    assert last == min(best_epoch(finished) + 4, 8)


@pytest.fixture(scope="module")
def impatient(overfit, tmp_path_factory):
    """A run that patience has stopped, and what it has printed."""
    run = tmp_path_factory.mktemp("impatient") / "run"
    assert main([*overfit, "--patience", "1", "--out", str(run)]) == 0
    return run


def test_resuming_a_run_that_patience_has_stopped_says_so(impatient, tmp_path, capsys):
    run = shutil.copytree(impatient, tmp_path / "run")
    epoch = best_epoch(run)
    for flags in ([], ["--max-max-epoch", "100"]):
        assert resume(run, *flags) == 0
        out = capsys.readouterr().out
        assert f"Stopped after epoch {epoch + 1}: the valid perplexity has not improved on that of epoch {epoch}" in out
        assert "; to continue, raise --patience\n" in out
        assert "Learning rate" not in out
        assert f"train --resume --out {run} --patience 3\n" in out
        assert [row["epoch"] for row in rows_of(run, "test")] == [epoch, epoch + 1]


@pytest.mark.parametrize("patience", [0, 3])
def test_more_patience_goes_on_as_if_it_had_been_there_from_the_start(overfit, impatient, tmp_path, patience):
    run, whole = shutil.copytree(impatient, tmp_path / "run"), tmp_path / "whole"
    assert resume(run, "--patience", str(patience)) == 0
    assert main([*overfit, "--patience", str(patience), "--out", str(whole)]) == 0
    assert len(rows_of(run, "valid")) > len(rows_of(impatient, "valid"))
    assert_same_run(whole, run)
    assert resume(run) == 0  # with the patience of the resume before
    assert_same_run(whole, run)


def test_less_patience_than_the_run_has_had_ends_it(run, capsys):
    epochs = len(rows_of(run, "valid"))
    assert resume(run, "--patience", "1", "--max-max-epoch", "50") == 0
    assert f"Stopped after epoch {epochs}: " in capsys.readouterr().out
    assert len(rows_of(run, "valid")) == epochs


def test_an_epoch_that_has_begun_is_ended_before_patience_stops_the_run(overfit, tmp_path):
    run = tmp_path / "run"
    constant = ["--learning-rate", "1e-30"]  # no weight changes: no epoch is better than the first
    assert main([*overfit, *constant, "--max-steps", str(99 * 3 + 40), "--out", str(run)]) == 0
    assert resume(run, "--patience", "1") == 0
    last = load_checkpoint(run / LAST).progress
    assert (last.best_epoch, last.epoch, last.window, last.step) == (1, 4, 0, 99 * 4)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [0, 50, 99, 150, 297, 350, 396, 560])
def test_stopped_at_any_step_and_resumed_a_run_ends_with_the_same_files(overfit, finished, tmp_path, stop):
    parts = tmp_path / "parts"
    assert main([*overfit, *PLATEAU, "--out", str(parts), "--max-steps", str(stop)]) == 0
    assert resume(parts) == 0
    assert_same_run(finished, parts)


@pytest.mark.parametrize("left", ["nothing", "an older model", "half a file"])
def test_a_kill_between_the_last_and_the_best_checkpoint_is_mended(overfit, tmp_path, left):
    runs = [tmp_path / name for name in ("whole", "parts", "older")]
    for run, epochs in zip(runs, ("2", "2", "1"), strict=True):
        assert main([*overfit, "--max-max-epoch", epochs, "--out", str(run)]) == 0
    whole, parts, older = runs
    assert best_epoch(whole) == 2
    (parts / BEST).unlink()
    if left == "an older model":
        shutil.copy(older / BEST, parts)
    elif left == "half a file":
        (parts / BEST).write_bytes((whole / BEST).read_bytes()[:1000])
    for directory in (whole, parts):
        assert resume(directory, "--max-max-epoch", "3") == 0
    assert_same_run(whole, parts)


def test_a_best_model_that_was_removed_is_missed_but_not_needed(run, capsys):
    (run / BEST).unlink()
    epoch = best_epoch(run)
    assert main(["evaluate", str(run)]) == 0
    capsys.readouterr()
    for command in ("evaluate", "generate"):
        error = complaint(capsys, main([command, str(run), "--which", "best"]))
        assert f"{run} has no {BEST}, which is written at the end of an epoch; use --which last" in error
    assert resume(run) == 0
    out = capsys.readouterr().out
    assert f"The model of epoch {epoch}, the best, was not kept\n" in out
    assert "Best checkpoint" not in out
    assert len(rows_of(run, "test")) == 1
    assert resume(run, "--patience", "6", "--max-max-epoch", "9") == 0
    best = load_checkpoint(run / LAST).progress.best_epoch
    assert (run / BEST).exists() == (best > epoch)


def of_another_epoch(run):
    shutil.copy(run / LAST, run / BEST)


def of_another_run(run):
    path = run / BEST
    metadata = metadata_of(path) | {"sha256": BLANK.decode(), "vocabulary": "0" * 64}
    tensors = safetensors.numpy.load_file(path)
    path.write_bytes(add_checksum(safetensors.numpy.save(tensors, {"minilstm": json.dumps(metadata)})))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (of_another_epoch, "is not the model of the run's best epoch so far"),
        (of_another_run, "is not the model of the run's best epoch so far"),
        (lambda run: (run / BEST).write_bytes(b"x"), "cannot be read"),
        (lambda run: (run / BEST).write_bytes((run / BEST).read_bytes()[:-1] + b"x"), "is damaged"),
        (lambda run: ((run / BEST).unlink(), (run / BEST).mkdir()), "cannot be read"),
    ],
)
def test_a_best_model_that_is_damaged_or_foreign_is_refused_in_one_line(run, capsys, change, why):
    change(run)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    error = complaint(capsys, resume(run, "--patience", "6", "--max-max-epoch", "9"))
    assert "checkpoint-best.safetensors" in error
    assert why in error
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_before_the_end_of_the_first_epoch_there_is_no_best_model(overfit, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*overfit, "--max-steps", "50", "--out", str(run)]) == 0
    capsys.readouterr()
    assert "has no checkpoint-best.safetensors" in complaint(capsys, main(["evaluate", str(run), "--which", "best"]))


@pytest.mark.parametrize("earlier", EARLIER_FORMATS)
def test_a_run_of_an_earlier_version_has_its_best_epoch_in_its_metrics(run, capsys, earlier):
    expected = load_checkpoint(run / LAST).progress
    metadata = metadata_of(run / LAST)
    as_earlier_format(run / LAST, earlier)
    (run / BEST).unlink()
    assert load_checkpoint(run / LAST).progress.best_epoch == 0
    assert resume(run, "--max-max-epoch", str(expected.epoch + 1), "--patience", "0") == 0
    assert metadata_of(run / LAST)["format"] == metadata["format"]
    progress = load_checkpoint(run / LAST).progress
    assert progress.epoch == expected.epoch + 1
    assert progress.best_epoch == best_epoch(run)
    assert progress.plateaus == expected.plateaus + (progress.best_epoch <= expected.epoch)
    assert progress.best_perplexity == pytest.approx(min(row["perplexity"] for row in rows_of(run, "valid")), rel=1e-7)
    assert (run / BEST).exists() == (progress.best_epoch > expected.epoch)


def test_a_run_of_an_earlier_version_that_ends_with_its_best_epoch_keeps_it(overfit, tmp_path):
    run = tmp_path / "run"
    assert main([*overfit, "--max-max-epoch", "2", "--out", str(run)]) == 0
    assert best_epoch(run) == 2
    best = safetensors.numpy.load_file(run / BEST)
    as_earlier_format(run / LAST, "minilstm 3")
    (run / BEST).unlink()
    assert resume(run, "--max-max-epoch", "9", "--max-steps", "200") == 0
    for name, tensor in safetensors.numpy.load_file(run / BEST).items():
        np.testing.assert_array_equal(best[name], tensor)
    assert main(["evaluate", str(run), "--which", "best"]) == 0


def test_the_plateau_rule_cannot_change_in_a_run(run, capsys):
    assert "was started with --lr-on-plateau" in complaint(capsys, resume(run, "--no-lr-on-plateau"))
    assert resume(run, "--lr-on-plateau") == 0


def test_a_run_that_was_started_without_the_plateau_rule_keeps_its_schedule(impatient, capsys):
    error = complaint(capsys, resume(impatient, "--lr-on-plateau"))
    assert "was started without --lr-on-plateau; omit --lr-on-plateau, or start another run" in error


def test_a_run_cannot_end_before_an_epoch_that_it_has_begun(overfit, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*overfit, "--max-steps", "150", "--out", str(run)]) == 0
    capsys.readouterr()
    error = complaint(capsys, resume(run, "--max-max-epoch", "1"))
    assert "already has 2 epochs, the last not complete; raise --max-max-epoch" in error
    assert resume(run, "--max-max-epoch", "2") == 0


def test_the_library_stops_early_and_tests_the_best_model_it_is_given(shared_corpus_dir):
    corpus = load_corpus(shared_corpus_dir)
    config = Config(hidden_size=8, num_steps=5, batch_size=4, max_max_epoch=9, patience=2, lr_decay=0.9)
    config = Config(**vars(config) | {"learning_rate": 1e-30})  # nothing changes: no epoch is better than the first
    state = init_train_state(config, corpus.vocabulary)
    events = list(train(state, corpus, load_best=lambda: state.params))
    assert [event.epoch for event in events if isinstance(event, EpochStarted)] == [1, 2, 3]
    tests = [event for event in events if isinstance(event, Report) and event.split == "test"]
    assert [(event.epoch, event.step) for event in tests] == [(1, 99), (3, 297)]
    assert list(train(state, corpus)) == tests[1:]
