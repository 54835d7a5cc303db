"""Clipping, SGD, Adam and the schedule against their definitions."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilstm.config import PRESETS
from minilstm.layers.embedding import embedding_backward, embedding_forward
from minilstm.optim import adam, clip_by_global_norm, learning_rate_at, sgd, zero_moments


@given(seed=st.integers(0, 1000), max_norm=st.floats(0.1, 100))
def test_clipping_scales_all_gradients_to_the_norm_or_leaves_them(seed, max_norm):
    rng = np.random.default_rng(seed)
    grads = {"a": rng.standard_normal((3, 4)), "b": rng.standard_normal(7)}
    before = np.concatenate([g.ravel() for g in grads.values()])
    clipped, norm = clip_by_global_norm(grads, max_norm)
    after = np.concatenate([g.ravel() for g in clipped.values()])
    assert norm == pytest.approx(np.linalg.norm(before))
    np.testing.assert_allclose(after, before * min(1, max_norm / np.linalg.norm(before)))


def embedding_gradient(dtype="float64"):
    rng = np.random.default_rng(0)
    ids = np.array([[3, 1], [3, 3], [0, 1]])
    doutputs = rng.standard_normal((3, 2, 4)).astype(dtype)
    dense = np.zeros((5, 4))
    np.add.at(dense, ids, doutputs)
    _, cache = embedding_forward(ids, np.zeros((5, 4), dtype))
    return embedding_backward(doutputs, cache)["weight"], dense


def test_a_repeated_word_counts_once_in_the_norm_with_its_summed_gradient():
    rows, dense = embedding_gradient()
    np.testing.assert_allclose(rows.to_dense(5), dense)
    clipped, norm = clip_by_global_norm({"encoder.weight": rows}, 0.5)
    assert norm == pytest.approx(np.linalg.norm(dense))
    np.testing.assert_allclose(clipped["encoder.weight"].to_dense(5), dense * 0.5 / np.linalg.norm(dense))


def test_sgd_moves_each_used_row_once_and_no_other():
    rows, dense = embedding_gradient()
    params = {"encoder.weight": np.ones((5, 4)), "b": np.ones(3)}
    sgd(params, {"encoder.weight": rows, "b": np.array([1.0, 2.0, 3.0])}, 0.1)
    np.testing.assert_allclose(params["encoder.weight"], 1 - 0.1 * dense)
    np.testing.assert_allclose(params["b"], [0.9, 0.8, 0.7])


def test_adam_takes_the_papers_steps():
    params = {"x": np.array([1.0, -2.0])}
    moments, m, v, x = zero_moments(params), np.zeros(2), np.zeros(2), np.array([1.0, -2.0])
    rng = np.random.default_rng(0)
    for t in range(1, 6):
        g = rng.standard_normal(2)
        adam(params, {"x": g.copy()}, 0.01, moments, t)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        x = x - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(params["x"], x)


def test_the_norm_of_half_precision_gradients_does_not_overflow():
    _, norm = clip_by_global_norm({"a": np.full(1000, 300, dtype=np.float16)}, 5)
    assert norm == pytest.approx(300 * np.sqrt(1000), rel=1e-3)


def test_schedule_is_constant_for_max_epoch_epochs_then_decays():
    config = replace(PRESETS["small"], max_epoch=2, lr_decay=0.1)
    assert [learning_rate_at(config, epoch) for epoch in range(4)] == pytest.approx([1, 1, 0.1, 0.01])


def test_presets_are_those_of_the_reference():
    table = {
        "init_scale": (0.1, 0.1, 0.05, 0.04),
        "learning_rate": (1.0, 1.0, 1.0, 1.0),
        "max_grad_norm": (1, 5, 5, 10),
        "num_layers": (1, 2, 2, 2),
        "num_steps": (2, 20, 35, 35),
        "hidden_size": (2, 200, 650, 1500),
        "max_epoch": (1, 4, 6, 14),
        "max_max_epoch": (1, 13, 39, 55),
        "keep_prob": (1.0, 1.0, 0.5, 0.35),
        "lr_decay": (0.5, 0.5, 0.8, 1 / 1.15),
        "batch_size": (20, 20, 20, 20),
    }
    for name, values in table.items():
        for preset, value in zip(("test", "small", "medium", "large"), values, strict=True):
            assert getattr(PRESETS[preset], name) == value, (preset, name)
