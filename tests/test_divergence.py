"""Divergence: what is printed, which epochs and runs are said to have diverged, and what is kept."""

import math

import pytest

from minilstm import Config, UserError, init_train_state, load_corpus, train
from minilstm.cli import main
from minilstm.config import PRESETS
from minilstm.evaluate import format_perplexity
from minilstm.events import EpochTrained, Report
from minilstm.optim import learning_rate_at
from minilstm.progress import has_diverged
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.recorder import format_learning_rate

SHAPE = ["--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--device", "cpu"]
WILD = ["--learning-rate", "100", "--max-epoch", "9"]  # 1e90 and more in every epoch
RECOVERING = ["--learning-rate", "30", "--max-epoch", "1", "--lr-decay", "0.1", "--max-max-epoch", "5"]
LOWER = "lower --learning-rate, --max-grad-norm or --init-scale"


@pytest.fixture(scope="module")
def command(shared_corpus_dir):
    return ["train", "--data", str(shared_corpus_dir), *SHAPE]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1.000"),
        (114.9024, "114.902"),
        (10000.0, "10000.000"),
        (999_999.9994, "999999.999"),
        (1e6, "1000000.000"),
        (1_234_567.8, "1.235e+06"),
        (1.5e140, "1.5e+140"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_a_perplexity_has_three_decimals_up_to_a_million_and_four_digits_above(value, text):
    assert format_perplexity(value) == text


@pytest.mark.parametrize("config", [config for config in PRESETS.values() if config.optimizer == "sgd"])
def test_the_learning_rates_of_the_presets_are_printed_as_the_reference_prints_them(config):
    for epoch in range(config.max_max_epoch):
        rate = learning_rate_at(config, epoch)
        assert format_learning_rate(rate, config.learning_rate) == f"{rate:.3f}"


@pytest.mark.parametrize("initial", [1e-30, 0.001, 0.003, 0.05, 1.0, 20.0, 1e7, 1e30])
@pytest.mark.parametrize("lr_decay", [1.0, 0.8, 0.5, 0.01])
def test_a_learning_rate_is_printed_short_and_never_as_zero(initial, lr_decay):
    config = Config(learning_rate=initial, lr_decay=lr_decay, max_epoch=1)
    for epoch in range(10):
        rate = learning_rate_at(config, epoch)
        text = format_learning_rate(rate, initial)
        three_decimals = initial >= 0.1 and 0.0005 < rate <= 1e6  # otherwise three significant digits
        assert abs(float(text) - rate) <= (0.000501 if three_decimals else 0.005 * rate)
        assert float(text) > 0
        assert len(text) <= 11


def test_the_learning_rate_of_adam_is_printed_in_every_epoch(command, tmp_path, capsys):
    adam = ["--optimizer", "adam", "--max-epoch", "1", "--max-max-epoch", "4"]
    assert main([*command, *adam, "--out", str(tmp_path / "run")]) == 0
    lines = [line for line in capsys.readouterr().out.split("\n") if "Learning rate" in line]
    assert [line.rpartition(" ")[2] for line in lines] == ["0.001", "0.0005", "0.00025", "0.000125"]


def test_a_run_whose_last_epoch_ends_far_above_guessing_fails_and_keeps_the_checkpoint_before(
    command, tmp_path, capsys
):
    run = tmp_path / "run"
    shorter, longer = ["--max-max-epoch", "2"], ["--max-max-epoch", "3"]
    assert main([*command, *WILD, *shorter, "--out", str(run)]) == 2
    captured = capsys.readouterr()
    assert "Epoch: 1 diverged: perplexities far above 11, that of random guessing; " + LOWER in captured.out
    assert "Epoch: 2 Valid Perplexity: " in captured.out
    assert "Epoch: 2 diverged" not in captured.out  # the error says it
    assert "Test Perplexity" not in captured.out
    assert captured.err.startswith("minilstm: error: diverged: epoch 2, the last, ends with a training perplexity of ")
    assert f", far above 11, that of random guessing; {LOWER} (the last checkpoint is kept)\n" in captured.err
    assert captured.err.count("\n") == 1
    assert max(map(len, captured.out.split("\n"))) < 200  # a perplexity of a hundred digits is not printed in full
    progress = load_checkpoint(run / "checkpoint.safetensors").progress
    assert (progress.epoch, progress.step) == (1, 99)
    resume = ["train", "--resume", "--out", str(run), "--device", "cpu"]
    assert main(resume) == 2
    assert captured.err == capsys.readouterr().err
    assert main([*resume, *longer]) == 2  # the second epoch, no longer the last, is done again and saved
    assert main([*command, *WILD, *longer, "--out", str(tmp_path / "whole")]) == 2
    one, other = (path / "checkpoint.safetensors" for path in (run, tmp_path / "whole"))
    assert one.read_bytes() == other.read_bytes()
    assert load_checkpoint(run / "checkpoint.safetensors").progress.epoch == 2


def test_a_run_that_stops_early_far_above_guessing_fails_too(command, tmp_path, capsys):
    assert main([*command, *WILD, "--patience", "1", "--out", str(tmp_path / "run")]) == 2
    captured = capsys.readouterr()
    assert "diverged: epoch 2, the last, ends with a training perplexity of " in captured.err
    assert "Epoch: 3" not in captured.out


def test_evaluate_prints_a_huge_perplexity_short(command, tmp_path, capsys):
    assert main([*command, *WILD, "--out", str(tmp_path / "run"), "--max-steps", "60"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--split", "valid"]) == 0
    line = capsys.readouterr().out.split("\n")[0]
    assert float(line.removeprefix("Valid Perplexity: ")) > 1e20
    assert len(line) < 30


def test_a_run_that_recovers_from_divergence_ends_well(command, tmp_path, capsys):
    assert main([*command, *RECOVERING, "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "Epoch: 1 diverged" in out
    assert out.count("diverged") == 1
    assert float(out.partition("Test Perplexity: ")[2].partition("\n")[0]) < 20


def test_overfitting_is_not_divergence(tmp_path):
    """A language of three words, learned by heart, whose validation text is the same backwards."""
    for name, words in (("train", "a b c "), ("valid", "c b a "), ("test", "a b c ")):
        (tmp_path / f"{name}.txt").write_text(words * 100)
    corpus = load_corpus(tmp_path)
    config = Config(hidden_size=16, num_steps=5, batch_size=2, keep_prob=1.0, max_max_epoch=60, max_epoch=60)
    events = list(train(init_train_state(config, corpus.vocabulary), corpus))
    valid = [event.perplexity for event in events if isinstance(event, Report) and event.split == "valid"]
    assert valid[-1] > 100 * len(corpus.vocabulary)
    assert [event.perplexity for event in events if isinstance(event, EpochTrained)][-1] < 1.1
    assert events[-1].split == "test"


@pytest.mark.parametrize(
    ("train_perplexity", "valid_perplexity", "vocab_size", "diverged"),
    [
        (4.2e21, 3.9e21, 43, True),
        (5000.0, 5000.0, 43, True),
        (4.2e21, 300.0, 43, False),  # a few bad windows early in the epoch
        (1.01, 1e9, 300, False),  # overfitting
        (40.0, 40.0, 2, False),  # a vocabulary of two words
        (9000.0, 9000.0, 10000, False),  # hardly trained
    ],
)
def test_both_perplexities_of_an_epoch_must_be_far_above_guessing(
    train_perplexity, valid_perplexity, vocab_size, diverged
):
    assert has_diverged(train_perplexity, valid_perplexity, vocab_size) == diverged


def test_the_library_raises_after_the_last_epoch_and_shows_no_hundred_digits_in_the_bar(shared_corpus_dir, capsys):
    corpus = load_corpus(shared_corpus_dir)
    config = Config(hidden_size=8, num_steps=5, batch_size=4, learning_rate=100.0, max_epoch=9, max_max_epoch=1)
    with pytest.raises(UserError, match="random guessing; lower learning_rate, max_grad_norm or init_scale"):
        list(train(init_train_state(config, corpus.vocabulary), corpus, show_progress=True))
    bar = capsys.readouterr().err
    assert "perplexity " in bar
    assert max(map(len, bar.replace("\r", "\n").split("\n"))) < 200
