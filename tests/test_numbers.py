"""Perplexities and their numbers of predictions against slow loops in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import CONFIG, V, slow_loss

from minilstm.cli import main
from minilstm.config import PRESETS
from minilstm.errors import UserError
from minilstm.evaluate import count_predictions, evaluate, perplexity
from minilstm.model import init_params
from minilstm.runs.directory import read_metrics
from minilstm.runs.plot import plot_runs
from minilstm.step import init_train_state, train_step

PARAMS = init_params(CONFIG, V)


def slow_perplexity(ids, batch_size):
    """Each stream alone, one token and one unit at a time; returns the perplexity and the number of predictions."""
    batch_len = len(ids) // batch_size
    losses = [slow_loss(PARAMS, ids[b * batch_len : (b + 1) * batch_len]) for b in range(batch_size)]
    predictions = batch_size * (batch_len - 1)
    return math.exp(sum(losses) / predictions), predictions


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 99), tokens=st.integers(24, 70), num_steps=st.integers(1, 30), batch_size=st.integers(1, 6))
def test_evaluation_is_that_of_each_stream_alone_token_by_token(seed, tokens, num_steps, batch_size):
    ids = np.random.default_rng(seed).integers(V, size=tokens)
    config = replace(CONFIG, num_steps=num_steps, batch_size=batch_size)
    for split, streams in (("train", batch_size), ("valid", batch_size), ("test", 1)):
        expected, predictions = slow_perplexity(ids, streams)
        assert evaluate(PARAMS, config, split, ids) == pytest.approx(expected, rel=1e-12)
        assert count_predictions(config, split, ids) == predictions
        assert len(ids) - predictions == streams + len(ids) % streams  # the first of each stream, and the rest


def test_test_perplexity_depends_neither_on_the_window_nor_on_the_batch_size():
    ids = np.random.default_rng(0).integers(V, size=500)
    results = [
        evaluate(PARAMS, replace(CONFIG, num_steps=num_steps, batch_size=batch_size), "test", ids)
        for num_steps in (1, 7, 35)
        for batch_size in (1, 6, 20)
    ]
    np.testing.assert_allclose(results, results[0], rtol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_valid_perplexity_does_not_depend_on_the_window(batch_size):
    ids = np.random.default_rng(0).integers(V, size=500)
    configs = [replace(CONFIG, num_steps=num_steps, batch_size=batch_size) for num_steps in (1, 7, 35, 1000)]
    results = [evaluate(PARAMS, config, "valid", ids) for config in configs]
    np.testing.assert_allclose(results, results[0], rtol=1e-12)


def test_single_precision_evaluates_to_five_digits_of_double():
    ids = np.random.default_rng(0).integers(V, size=5000)
    single = {name: param.astype(np.float32) for name, param in PARAMS.items()}
    for split in ("valid", "test"):
        expected = evaluate(PARAMS, replace(CONFIG, batch_size=20), split, ids)
        result = evaluate(single, replace(CONFIG, batch_size=20, dtype="float32"), split, ids)
        assert result == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_single_precision_stays_close_to_double_over_200_steps_of_training(optimizer):
    learning_rate = 1.0 if optimizer == "sgd" else 0.01
    losses, params = {}, {}
    for dtype in ("float32", "float64"):
        config = replace(PRESETS["toy"], hidden_size=16, num_layers=2, batch_size=8, dtype=dtype, optimizer=optimizer)
        state = init_train_state(config, [f"w{n}" for n in range(50)])
        rng = np.random.default_rng(0)
        losses[dtype] = []
        for _ in range(200):
            inputs = rng.integers(10, size=(10, 8))
            targets = (inputs + 7) % 50  # something to learn
            loss, _ = train_step(state, inputs, targets, learning_rate)
            losses[dtype].append(float(loss))
        params[dtype] = state.params
    assert losses["float64"][-1] < 0.8 * losses["float64"][0]
    np.testing.assert_allclose(losses["float32"], losses["float64"], rtol=1e-5)
    for name, param in params["float64"].items():
        np.testing.assert_allclose(params["float32"][name], param, atol=1e-4, err_msg=name)


def test_metric_rows_say_how_many_words_were_predicted(corpus_dir, tmp_path, capsys):
    run = tmp_path / "run"
    flags = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1", "--device", "cpu"]
    assert main(["train", "--data", str(corpus_dir), "--out", str(run), *flags]) == 0
    rows = read_metrics(run)
    for row in rows:
        if row["split"] == "train":
            assert row["tokens"] == row["step"] * 5 * 4  # one epoch: every window so far, 5 words of 4 streams
    assert {row["split"]: row["tokens"] for row in rows} == {"train": 99 * 20, "valid": 4 * (300 // 4 - 1), "test": 199}
    capsys.readouterr()
    assert main(["evaluate", str(run), "--split", "valid"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].startswith("Valid Perplexity: ")
    assert lines[1] == "Words predicted: 296 of 300; not predicted: 4 at the start of a stream, 0 at the end"


def test_metrics_of_before_the_column_of_tokens_can_still_be_read_and_drawn(corpus_dir, tmp_path):
    run = tmp_path / "run"
    flags = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1", "--device", "cpu"]
    assert main(["train", "--data", str(corpus_dir), "--out", str(run), *flags]) == 0
    lines = (run / "metrics.csv").read_text().splitlines()
    (run / "metrics.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    assert {row["tokens"] for row in read_metrics(run)} == {None}
    plot_runs([run], tmp_path / "curve.png")


def test_a_perplexity_that_is_not_finite_is_an_error_not_a_number():
    params = {name: param * 1e200 for name, param in PARAMS.items()}
    params["decoder.bias"] = np.linspace(0, 1e6, V)
    with np.errstate(all="ignore"), pytest.raises(UserError, match="the test perplexity is"):
        evaluate(params, CONFIG, "test", np.arange(V))
    assert math.isnan(perplexity(math.nan, 1))
