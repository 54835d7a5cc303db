"""Half precision: a step that overflows is skipped and the loss scale adapts; a run that diverges still ends."""

import math
from dataclasses import replace

import numpy as np
import pytest
from kill import assert_same_run

from minilstm.cli import main
from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.events import Report
from minilstm.mixed_precision import INITIAL_LOSS_SCALE, init_loss_scale
from minilstm.model import loss_and_gradients
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.directory import read_metrics
from minilstm.step import init_train_state, train_step
from minilstm.text.corpus import load_corpus
from minilstm.train import train

CONFIG = Config(
    hidden_size=8, num_layers=2, num_steps=5, batch_size=4, dtype="float16", max_max_epoch=1, max_epoch=1, keep_prob=0.9
)
FLAGS = ["--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "2", "--device", "cpu"]
V = 11
TOO_LARGE = 2.0**26  # a loss scale at which gradients overflow in float16


pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # overflows are dealt with, not warned of


def batch(seed=0):
    return tuple(np.random.default_rng(seed).integers(V, size=(2, 5, 4)))


def new_state(**changes):
    return init_train_state(replace(CONFIG, **changes), [f"w{n}" for n in range(V)])


def weights_of(state):
    """Parameters and moments, as bytes."""
    arrays = dict(state.params) | {f"{name} {k}": x for name, pair in state.moments.items() for k, x in enumerate(pair)}
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_that_overflows_is_skipped_and_the_scale_halved_until_one_does_not(optimizer):
    state = new_state(optimizer=optimizer)
    for n in range(3):
        train_step(state, *batch(n), 0.1)  # so that no moment is zero
    state.loss_scale[:] = TOO_LARGE, 7
    scale, skipped = TOO_LARGE, 0
    while True:
        before = weights_of(state)
        loss, norm = train_step(state, *batch(), 0.1)
        assert 0 < float(loss) < 100
        if np.isfinite(norm):
            break
        scale, skipped = scale / 2, skipped + 1
        assert weights_of(state) == before
        assert state.loss_scale.tolist() == [scale, 0]
    assert skipped >= 3
    assert weights_of(state) != before
    assert state.loss_scale.tolist() == [scale, 1]
    assert all(np.isfinite(array).all() for array in state.params.values())


def test_the_scale_doubles_after_enough_steps_without_an_overflow(monkeypatch):
    monkeypatch.setattr("minilstm.mixed_precision.GROWTH_INTERVAL", 4)
    state, scales = new_state(), []
    for n in range(9):
        _, norm = train_step(state, *batch(n), 0.1)
        assert np.isfinite(norm)
        scales.append(state.loss_scale.tolist())
    S = INITIAL_LOSS_SCALE
    assert scales == [[S, 1], [S, 2], [S, 3], [2 * S, 0], [2 * S, 1], [2 * S, 2], [2 * S, 3], [4 * S, 0], [4 * S, 1]]


@pytest.mark.parametrize("scale", [1.0, 64.0, 1024.0])
def test_the_scale_changes_neither_the_loss_nor_by_much_the_norm(scale):
    state, exact = new_state(keep_prob=1.0), new_state(keep_prob=1.0, dtype="float64")
    state.loss_scale[0] = scale
    loss, norm = train_step(state, *batch(), 0.1)
    expected_loss, grads, _ = loss_and_gradients(exact.params, exact.config, *batch(), exact.carried)
    grads["encoder.weight"] = grads["encoder.weight"].to_dense(V)
    assert float(loss) == pytest.approx(float(expected_loss), rel=1e-3)
    assert float(norm) == pytest.approx(math.sqrt(sum((grad**2).sum() for grad in grads.values())), rel=1e-2)


def test_training_goes_on_over_overflows_and_reports_only_finite_norms(corpus_dir):
    corpus = load_corpus(corpus_dir)
    state = init_train_state(CONFIG, corpus.vocabulary)
    state.loss_scale[0] = TOO_LARGE
    events = list(train(state, corpus))
    reports = [event for event in events if isinstance(event, Report)]
    assert reports[-1].split == "test"
    assert all(math.isfinite(report.perplexity) for report in reports)
    norms = [report.gradient_norm for report in reports if report.split == "train"]
    assert all(norm is None or 0 < norm < 1e6 for norm in norms)
    assert norms[-1] is not None
    assert state.loss_scale[0] < TOO_LARGE


@pytest.mark.slow
@pytest.mark.parametrize("stop", [1, 5, 57, 99, 150])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_with_overflows_and_growth_resumes_bit_for_bit(corpus_dir, tmp_path, monkeypatch, stop, optimizer):
    monkeypatch.setattr("minilstm.mixed_precision.INITIAL_LOSS_SCALE", TOO_LARGE)
    monkeypatch.setattr("minilstm.mixed_precision.GROWTH_INTERVAL", 13)
    command = ["train", "--data", str(corpus_dir), *FLAGS, "--dtype", "float16", "--optimizer", optimizer]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*command, "--out", str(whole)]) == 0
    assert main([*command, "--out", str(parts), "--max-steps", str(stop)]) == 0
    scale = load_checkpoint(parts / "checkpoint.safetensors").loss_scale
    assert scale.tolist() != [TOO_LARGE, 0]
    assert main(["train", "--resume", "--out", str(parts), "--device", "cpu"]) == 0
    assert_same_run(whole, parts)
    assert np.isfinite([row["gradient_norm"] or 0 for row in read_metrics(whole)]).all()


def test_the_loss_scale_survives_a_checkpoint_and_only_half_precision_has_one(corpus_dir, tmp_path):
    for dtype in ("float16", "float32"):
        command = ["train", "--data", str(corpus_dir), "--out", str(tmp_path / dtype), *FLAGS, "--dtype", dtype]
        assert main([*command, "--max-steps", "20"]) == 0
    half, single = (load_checkpoint(tmp_path / dtype / "checkpoint.safetensors") for dtype in ("float16", "float32"))
    assert half.loss_scale.tolist() == [INITIAL_LOSS_SCALE, 20]
    assert half.loss_scale.dtype == init_loss_scale(np.zeros(1)).dtype == np.float32
    assert single.loss_scale is None


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_run_that_really_diverges_ends_in_one_line(corpus_dir, tmp_path, capsys, dtype):
    flags = [*FLAGS, "--dtype", dtype, "--learning-rate", "1e30", "--max-grad-norm", "1e30"]
    assert main(["train", "--data", str(corpus_dir), "--out", str(tmp_path / "run"), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "diverged at step " in error
    load_checkpoint(tmp_path / "run/checkpoint.safetensors")


def test_a_run_that_overflows_at_any_scale_ends_instead_of_skipping_for_ever(corpus_dir, monkeypatch):
    corpus = load_corpus(corpus_dir)
    state = init_train_state(replace(CONFIG, keep_prob=1.0), corpus.vocabulary)

    def overflowing(*arguments):
        loss, grads, state = loss_and_gradients(*arguments)
        return loss, grads | {"decoder.bias": grads["decoder.bias"] * np.float16(np.inf)}, state

    monkeypatch.setattr("minilstm.mixed_precision.loss_and_gradients", overflowing)
    with pytest.raises(UserError, match=r"diverged at step \d+: loss .*, gradient norm (inf|nan)"):
        list(train(state, corpus))
    assert state.progress.step < 99
