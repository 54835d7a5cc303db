"""Fixed arrays and replays: what a CUDA graph needs of the training step, without a GPU."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from minilstm.config import PRESETS
from minilstm.gpu.graph import fixed
from minilstm.mixed_precision import half_loss_and_gradients
from minilstm.model import init_params, loss_and_gradients, zero_state
from minilstm.text.batches import get_batch
from minilstm.train import init_train_state, train_step, update

CONFIG = replace(PRESETS["toy"], hidden_size=7, num_layers=2, num_steps=5, batch_size=3, keep_prob=0.8)
VOCABULARY = ["<eos>", *"abcdefghij"]


def record_by_calling(run):
    """`record_graph` without a GPU: nothing runs while recording, a replay runs it, into the same outputs."""
    outputs = []

    def replay():
        outputs[:] = run()

    return outputs, replay


def train_some(config, xp, steps, compile_step):
    checkpoint = init_train_state(config, VOCABULARY, xp)
    device_step = compile_step(checkpoint)
    data = np.random.default_rng(0).integers(len(VOCABULARY), size=(100, config.batch_size))
    seen = []
    for k in range(steps):
        inputs, targets = get_batch(data, k, config.num_steps)
        seen += train_step(checkpoint, inputs, targets, 0.5 / (k + 1), xp, device_step)
    return checkpoint, [float(value) for value in seen]


@pytest.mark.parametrize("change", [{}, {"optimizer": "adam"}, {"keep_prob": 1.0}, {"dtype": "float16"}], ids=str)
def test_a_step_replayed_on_fixed_arrays_is_the_plain_step(change):
    config = replace(CONFIG, **{"dtype": "float64", **change})
    number = partial(np.asarray, dtype="float32" if config.dtype == "float16" else "float64")

    def replayed(checkpoint):
        return fixed(partial(update, checkpoint), record_by_calling, number)

    plain, plain_seen = train_some(config, np, 6, lambda checkpoint: None)
    graphed, graphed_seen = train_some(config, np, 6, replayed)
    np.testing.assert_allclose(graphed_seen, plain_seen, rtol=1e-6 if config.dtype == "float16" else 1e-13)
    for name, param in plain.params.items():
        np.testing.assert_allclose(graphed.params[name], param, rtol=1e-5 if config.dtype == "float16" else 1e-12)
    for mine, theirs in zip(graphed.state, plain.state, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3 if config.dtype == "float16" else 1e-12)


def test_a_step_leaves_parameters_and_state_where_they_were():
    checkpoint = init_train_state(CONFIG, VOCABULARY, np)
    before = [*checkpoint.params.values(), *(part for layer in checkpoint.state for part in layer)]
    ids = np.zeros((5, 3), int)
    train_step(checkpoint, ids, ids, 0.1, np)
    after = [*checkpoint.params.values(), *(part for layer in checkpoint.state for part in layer)]
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_half_precision_gradients_of_float32_weights_are_close_to_those_in_full():
    config = replace(CONFIG, dtype="float16", keep_prob=1.0)
    params = init_params(config, len(VOCABULARY), np)
    ids = np.random.default_rng(0).integers(len(VOCABULARY), size=(2, 5, 3))
    cost, grads, _ = half_loss_and_gradients(params, config, *ids, zero_state(config, 3, np))
    single = replace(config, dtype="float32")
    full_cost, full_grads, _ = loss_and_gradients(params, single, *ids, zero_state(single, 3, np))
    assert float(cost) == pytest.approx(float(full_cost), rel=1e-3)
    for name, grad in grads.items():
        values, reference = getattr(grad, "values", grad), getattr(full_grads[name], "values", full_grads[name])
        if name == "encoder.weight":
            values, reference = grad.values, full_grads[name].values
        assert params[name].dtype == values.dtype == np.float32
        np.testing.assert_allclose(values, reference, atol=5e-3 * abs(reference).max())


def test_a_half_precision_step_changes_weights_by_less_than_half_precision_could():
    config = replace(CONFIG, dtype="float16", keep_prob=1.0)
    checkpoint = init_train_state(config, VOCABULARY, np)
    before = {name: param.copy() for name, param in checkpoint.params.items()}
    ids = np.random.default_rng(0).integers(len(VOCABULARY), size=(2, 5, 3))
    train_step(checkpoint, *ids, 1e-3, np)
    moved = checkpoint.params["decoder.weight"] - before["decoder.weight"]
    assert (moved != 0).mean() > 0.5
    assert abs(moved).max() < np.spacing(np.float16(0.05)) / 2  # beside a weight of that size it would round to nothing
