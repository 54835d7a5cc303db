"""The model against an independent implementation: one token and one unit at a time, straight from the equations."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from minilstm.config import PRESETS
from minilstm.evaluate import evaluate
from minilstm.layers.dropout import dropout_mask
from minilstm.masks import draw_masks
from minilstm.model import init_params, loss_and_gradients, zero_state

CONFIG = replace(PRESETS["toy"], hidden_size=5, num_layers=2, num_steps=7, batch_size=3, dtype="float64", keep_prob=1.0)
CONFIG = replace(CONFIG, forget_bias=0.4, init_scale=0.8)
V = 13


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def slow_log_probability(params, forget_bias, word, target, state):
    """log p(target) after `word`; `state` is a list of (h, c) lists, updated in place."""
    x = [float(value) for value in params["encoder.weight"][word]]
    H = len(x)
    for k, (h, c) in enumerate(state):
        W_ih, W_hh, b = (params[f"rnn.{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih"))
        z = [
            sum(W_ih[r, j] * x[j] for j in range(H)) + sum(W_hh[r, j] * h[j] for j in range(H)) + b[r]
            for r in range(4 * H)
        ]
        i = [sigmoid(value) for value in z[:H]]
        f = [sigmoid(value + forget_bias) for value in z[H : 2 * H]]
        g = [math.tanh(value) for value in z[2 * H : 3 * H]]
        o = [sigmoid(value) for value in z[3 * H :]]
        c = [f[j] * c[j] + i[j] * g[j] for j in range(H)]
        h = [o[j] * math.tanh(c[j]) for j in range(H)]
        state[k] = h, c
        x = h
    scores = [
        float(row @ np.array(x) + bias)
        for row, bias in zip(params["decoder.weight"], params["decoder.bias"], strict=True)
    ]
    return scores[target] - math.log(sum(math.exp(score) for score in scores))


def slow_loss(params, ids):
    state = [([0.0] * 5, [0.0] * 5) for _ in range(2)]
    return -sum(slow_log_probability(params, CONFIG.forget_bias, word, target, state) for word, target in pairwise(ids))


def test_loss_over_two_windows_is_that_of_the_equations_token_by_token():
    params = init_params(CONFIG, V)
    ids = np.random.default_rng(0).integers(V, size=(15, 3))
    state, total = zero_state(CONFIG, 3), 0.0
    for start in (0, 7):
        loss, _, state = loss_and_gradients(params, CONFIG, ids[start : start + 7], ids[start + 1 : start + 8], state)
        total += loss
    assert total == pytest.approx(sum(slow_loss(params, ids[:, b]) for b in range(3)) / 3, rel=1e-12)


@pytest.mark.parametrize("num_steps", [1, 4, 50])
def test_evaluation_predicts_every_token_once_whatever_the_window(num_steps):
    params = init_params(CONFIG, V)
    ids = np.random.default_rng(1).integers(V, size=62)
    config = replace(CONFIG, num_steps=num_steps, batch_size=1)
    expected = math.exp(slow_loss(params, ids) / 61)
    assert evaluate(params, config, "test", ids) == pytest.approx(expected, rel=1e-12)


def test_loss_weights_of_zero_take_targets_out_of_loss_and_gradients():
    params = init_params(CONFIG, V)
    rng = np.random.default_rng(2)
    inputs, targets = rng.integers(V, size=(7, 3)), rng.integers(V, size=(7, 3))
    loss_weights = np.ones((7, 3))
    loss_weights[4:] = 0
    whole = loss_and_gradients(params, CONFIG, inputs, targets, zero_state(CONFIG, 3), loss_weights=loss_weights)
    short = loss_and_gradients(params, CONFIG, inputs[:4], targets[:4], zero_state(CONFIG, 3))
    assert whole[0] == pytest.approx(short[0])
    for name in short[1]:
        if name != "encoder.weight":
            np.testing.assert_allclose(whole[1][name], short[1][name], atol=1e-14)


def test_half_precision_loss_and_gradients_are_close_to_double_and_accumulated_wider():
    rng = np.random.default_rng(3)
    inputs, targets = rng.integers(V, size=(7, 3)), rng.integers(V, size=(7, 3))
    results = {}
    for dtype in ("float64", "float16"):
        config = replace(CONFIG, dtype=dtype)
        params = {name: param.astype(dtype) for name, param in init_params(config, V).items()}
        results[dtype] = loss_and_gradients(params, config, inputs, targets, zero_state(config, 3))
    assert results["float16"][0].dtype == np.float32
    assert results["float16"][1]["rnn.weight_hh_l0"].dtype == np.float16
    assert float(results["float16"][0]) == pytest.approx(float(results["float64"][0]), rel=2e-3)
    for name in ("decoder.weight", "rnn.weight_ih_l0"):
        np.testing.assert_allclose(results["float16"][1][name], results["float64"][1][name], atol=5e-3)


def test_a_half_precision_softmax_survives_logits_that_overflow_when_exponentiated():
    config = replace(CONFIG, dtype="float16", hidden_size=2, num_layers=1)
    params = {name: param.astype("float16") for name, param in init_params(config, V).items()}
    params["decoder.bias"][0] = 500
    loss, grads, _ = loss_and_gradients(
        params, config, np.zeros((2, 1), int), np.ones((2, 1), int), zero_state(config, 1)
    )
    assert float(loss) == pytest.approx(1000, rel=0.01)
    grads["encoder.weight"] = grads["encoder.weight"].to_dense(V)
    for name, grad in grads.items():
        assert np.isfinite(grad).all(), name


def test_dropout_keeps_the_expected_value_and_draws_nothing_at_keep_prob_1():
    mask = dropout_mask(np.random.default_rng(0), (100, 100), 0.35, "float32")
    assert set(np.unique(mask)) == {np.float32(0), np.float32(65536 / round(65536 * 0.35))}
    assert mask.mean() == pytest.approx(1, abs=0.03)
    assert draw_masks(CONFIG, 0, np.zeros((7, 3), int), V) is None


def test_masks_depend_on_seed_and_step_alone_and_there_is_one_below_and_above_each_layer():
    config = replace(CONFIG, keep_prob=0.5)
    first, again, other = (draw_masks(config, step, np.zeros((7, 3), int), V).layers for step in (4, 4, 5))
    assert len(first) == 3
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    assert (first[0] != first[1]).any()


def test_initial_weights_are_uniform_with_zero_lstm_biases_and_the_same_in_every_precision():
    single, double = (init_params(replace(CONFIG, dtype=dtype), V) for dtype in ("float32", "float64"))
    for name, values in double.items():
        if name.startswith("rnn.bias"):
            assert not values.any()
        else:
            assert 0.6 < abs(values).max() <= 0.8
        np.testing.assert_array_equal(single[name], values.astype(np.float32))
