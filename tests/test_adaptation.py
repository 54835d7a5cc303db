"""A cache and dynamic evaluation, each against a loop over single words."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilstm.cache import WINDOW, evaluate_with_cache
from minilstm.cli import main
from minilstm.config import Config
from minilstm.dynamic import WINDOW as STEPS
from minilstm.dynamic import evaluate_dynamically
from minilstm.errors import UserError
from minilstm.evaluate import evaluate
from minilstm.layers.linear import linear_forward
from minilstm.model import decoder_params, init_params, loss_and_gradients, next_word_logits, stack_forward, zero_state
from minilstm.optim import clip_by_global_norm, sgd

CONFIG = Config(hidden_size=5, num_layers=2, init_scale=0.8, dtype="float64", max_grad_norm=2.0)
V = 7


def model_and_text(seed, length):
    rng = np.random.default_rng(seed)
    return init_params(CONFIG, V), rng.choice(V, length, p=rng.dirichlet(np.ones(V)))


def cache_word_by_word(params, text, size, theta, weight):
    """The equations of the paper, one word at a time."""
    state, cache, loss = zero_state(CONFIG, 1), [], 0.0
    for word, target in itertools.pairwise(text):
        x, state, _ = stack_forward(params, CONFIG, np.array([[word]]), state)
        s = linear_forward(x, decoder_params(params))[0][0, 0]
        p, h = np.exp(s) / np.exp(s).sum(), x[0, 0]
        if cache:
            likeness = [(math.exp(theta * (h @ past)), after) for past, after in cache]
            total = sum(value for value, _ in likeness)
            p_cache = np.zeros(V)
            for value, after in likeness:
                p_cache[after] += value / total
            p = (1 - weight) * p + weight * p_cache
        assert p.sum() == pytest.approx(1)
        loss -= math.log(p[target])
        cache = [*cache, (h, target)][-size:]
    return math.exp(loss / (len(text) - 1))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1000), st.integers(2, 60), st.integers(1, 70), st.floats(0, 3), st.floats(0, 0.99),
    st.sampled_from([1, 3, 7, WINDOW]),
)  # fmt: skip
def test_a_cache_is_that_of_the_paper_for_any_size_and_window(seed, length, size, theta, weight, window):
    params, text = model_and_text(seed, length)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minilstm.cache.WINDOW", window)
        result = evaluate_with_cache(params, CONFIG, text, size, theta, weight)
    assert result == pytest.approx(cache_word_by_word(params, text, size, theta, weight), rel=1e-10)


def test_without_a_share_the_cache_changes_nothing():
    params, text = model_and_text(0, 500)
    assert evaluate_with_cache(params, CONFIG, text, 50, 1.0, 0.0) == pytest.approx(
        evaluate(params, CONFIG, "test", text), rel=1e-12
    )


def test_a_resemblance_beyond_the_range_of_exp_is_no_overflow():
    params, text = model_and_text(0, 300)
    assert 1 < evaluate_with_cache(params, CONFIG, text, 50, 1e6, 0.3) < 100


def test_a_theta_beyond_all_numbers_is_an_error_and_not_a_number():
    params, text = model_and_text(0, 300)
    with np.errstate(all="ignore"), pytest.raises(UserError, match="is nan; lower its theta, 1e\\+308"):
        evaluate_with_cache({name: 1e3 * param for name, param in params.items()}, CONFIG, text, 50, 1e308, 0.3)


def dynamically_by_hand(params, text, rate):
    """Predict a window, then take one step of SGD on it."""
    params, state, loss = {name: p.copy() for name, p in params.items()}, zero_state(CONFIG, 1), 0.0
    for start in range(0, len(text) - 1, STEPS):
        inputs, targets = text[start : start + STEPS][: len(text) - 1 - start, None], text[start + 1 :][:STEPS, None]
        step_state = state
        for word, target in zip(inputs[:, 0], targets[:, 0], strict=True):
            s, step_state = next_word_logits(params, CONFIG, np.array([[word]]), step_state)
            loss -= s[0, target] - np.log(np.exp(s[0]).sum())
        _, grads, state = loss_and_gradients(params, CONFIG, inputs, targets, state)
        grads, _ = clip_by_global_norm(grads, CONFIG.max_grad_norm)
        sgd(params, grads, rate)
    return math.exp(loss / (len(text) - 1))


@pytest.mark.parametrize("length", [2, STEPS, STEPS + 1, STEPS + 2, 95])
@pytest.mark.parametrize("rate", [0.0, 0.05, 1.0])
def test_words_are_predicted_before_they_are_learned(length, rate):
    params, text = model_and_text(length, length)
    before = {name: p.copy() for name, p in params.items()}
    assert evaluate_dynamically(params, CONFIG, text, rate) == pytest.approx(
        dynamically_by_hand(params, text, rate), rel=1e-10
    )
    assert all((before[name] == params[name]).all() for name in params)  # a copy learned


def test_at_rate_zero_nothing_is_learned():
    params, text = model_and_text(1, 300)
    assert evaluate_dynamically(params, CONFIG, text, 0.0) == pytest.approx(evaluate(params, CONFIG, "test", text))


def test_what_cannot_be_evaluated_is_told():
    params, text = model_and_text(0, 50)
    for size, theta, weight in ((0, 1, 0.1), (5, -1, 0.1), (5, math.nan, 0.1), (5, 1, 1.0), (5, 1, -0.1)):
        with pytest.raises(UserError, match="a cache needs a size of at least 1"):
            evaluate_with_cache(params, CONFIG, text, size, theta, weight)
    for rate in (-1, math.inf, math.nan):
        with pytest.raises(UserError, match="must be a number of at least 0"):
            evaluate_dynamically(params, CONFIG, text, rate)
    with pytest.raises(UserError, match="diverged"):
        evaluate_dynamically(params, CONFIG, np.tile(text, 20), 1e200)
    for function, rest in ((evaluate_with_cache, (5, 1.0, 0.1)), (evaluate_dynamically, (0.1,))):
        with pytest.raises(UserError, match="give at least 2"):
            function(params, CONFIG, text[:1], *rest)


def test_half_precision_is_computed_in_float32():
    config = Config(hidden_size=5, init_scale=0.8, dtype="float16")
    params, text = init_params(config, V), np.random.default_rng(0).integers(0, V, 100)
    plain = evaluate(params, config, "test", text)
    assert evaluate_with_cache(params, config, text, 20, 1.0, 0.0) == pytest.approx(plain, rel=1e-2)
    assert evaluate_dynamically(params, config, text, 0.0) == pytest.approx(plain, rel=1e-2)


def test_the_command_prints_both_beside_the_perplexity_of_the_model(corpus_dir, tmp_path, capsys):
    run = str(tmp_path / "r")
    flags = ["--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1", "--device", "cpu"]
    assert main(["train", "--data", str(corpus_dir), "--out", run, *flags]) == 0
    capsys.readouterr()
    assert (
        main(["evaluate", run, "--cache", "30", "--cache-theta", "0.5", "--cache-lambda", "0.2", "--dynamic", "0.1"])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Test Perplexity: ")
    assert lines[2].startswith("Test Perplexity with a cache of 30 words (theta 0.5, lambda 0.2): ")
    assert lines[3].startswith("Test Perplexity with dynamic evaluation (rate 0.1): ")
    assert main(["evaluate", run, "--split", "valid", "--dynamic", "0"]) == 0  # as one stream
    assert "Valid Perplexity with dynamic evaluation (rate 0): " in capsys.readouterr().out
    assert main(["evaluate", run, "--cache", "30", "--cache-lambda", "1"]) == 2
    for flag in ("--cache-theta", "--cache-lambda"):  # it would be ignored
        assert main(["evaluate", run, flag, "0.5"]) == 2
    assert "0 <= lambda < 1" in capsys.readouterr().err
