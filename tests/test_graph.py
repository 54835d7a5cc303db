"""Static arrays and replays: the requirements of a CUDA graph on the training step, without a GPU."""

from dataclasses import replace

import numpy as np
import pytest

from minilstm import plain
from minilstm.config import PRESETS
from minilstm.gpu.graph import graphed_callable
from minilstm.masks import as_masks, draw_masks, flatten_masks
from minilstm.mixed_precision import half_loss_and_gradients, init_loss_scale
from minilstm.model import init_params, loss_and_gradients, zero_state
from minilstm.step import apply_step, begin_averaging, init_train_state, train_step
from minilstm.text.batches import get_batch

CONFIG = replace(PRESETS["toy"], hidden_size=7, num_layers=2, num_steps=5, batch_size=3, keep_prob=0.8)
VOCABULARY = ["<eos>", *"abcdefghij"]
AWD = {
    "tie_weights": True, "embedding_size": 5, "locked_dropout": True, "input_keep_prob": 0.6, "output_keep_prob": 0.5,
    "embedding_keep_prob": 0.9, "weight_keep_prob": 0.5, "activation_reg": 2.0, "temporal_reg": 1.0,
    "weight_decay": 1e-3,
}  # fmt: skip


def capture_by_calling(run):
    """`capture_graph` without a GPU: nothing runs during capture; a replay runs it into the same outputs."""
    outputs = []

    def replay():
        outputs[:] = run()

    return outputs, replay


def make_graphed_step(state):
    """`compile_step` of the fused set, with the plain functions and without a GPU."""

    def on_device(inputs, targets, learning_rate, step, *masks):
        return apply_step(state, inputs, targets, as_masks(masks), learning_rate, step, plain)

    graphed = graphed_callable(on_device, state.params["decoder.bias"], capture_by_calling)

    def step(inputs, targets, learning_rate):
        masks = draw_masks(state.config, state.progress.step, inputs, len(VOCABULARY))
        state.progress.step += 1
        return graphed(inputs, targets, learning_rate, state.progress.step, *flatten_masks(masks))

    return step


def train_some(config, steps, graph):
    state = init_train_state(config, VOCABULARY)
    if config.tie_weights:
        begin_averaging(state)
    step = make_graphed_step(state) if graph else lambda *arguments: train_step(state, *arguments)
    data = np.random.default_rng(0).integers(len(VOCABULARY), size=(100, config.batch_size))
    seen = []
    for k in range(steps):
        inputs, targets = get_batch(data, k, config.num_steps)
        seen += step(inputs, targets, 0.5 / (k + 1))
    return state, [float(value) for value in seen]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"optimizer": "adam"},
        {"keep_prob": 1.0},
        {"dtype": "float16"},
        AWD,
        AWD | {"optimizer": "adam", "learning_rate": 0.01},
    ],
    ids=str,
)
def test_a_step_replayed_on_static_arrays_is_the_plain_step(change):
    config = replace(CONFIG, **{"dtype": "float64", **change})
    state, plain_seen = train_some(config, 6, graph=False)
    graphed, graphed_seen = train_some(config, 6, graph=True)
    np.testing.assert_allclose(graphed_seen, plain_seen, rtol=1e-6 if config.dtype == "float16" else 1e-13)
    for name, param in state.params.items():
        np.testing.assert_allclose(graphed.params[name], param, rtol=1e-5 if config.dtype == "float16" else 1e-12)
    assert len(state.average) == (len(state.params) if config.tie_weights else 0)
    for name, average in state.average.items():
        np.testing.assert_allclose(graphed.average[name], average, rtol=1e-12)
    for (*mine,), (*theirs,) in zip(graphed.carried, state.carried, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3 if config.dtype == "float16" else 1e-12)


@pytest.mark.parametrize("T", [1, 4, 6])
def test_a_window_of_another_length_is_refused_and_changes_nothing(T):
    state = init_train_state(CONFIG, VOCABULARY)
    step = make_graphed_step(state)
    ids = np.zeros((6, 3), int)
    for _ in range(2):
        step(ids[:5], ids[:5], 0.1)
    before = {name: param.copy() for name, param in state.params.items()}
    with pytest.raises(ValueError, match=rf"shape \(5, 3\), not \({T}, 3\)"):
        step(ids[:T], ids[:T], 0.1)
    for name, param in before.items():
        np.testing.assert_array_equal(state.params[name], param)


def test_a_step_leaves_parameters_and_state_where_they_were():
    state = init_train_state(CONFIG, VOCABULARY)
    before = [*state.params.values(), *(part for layer in state.carried for part in layer)]
    ids = np.zeros((5, 3), int)
    train_step(state, ids, ids, 0.1)
    after = [*state.params.values(), *(part for layer in state.carried for part in layer)]
    assert all(a is b for a, b in zip(before, after, strict=True))


def test_half_precision_gradients_of_float32_weights_are_close_to_those_in_full():
    config = replace(CONFIG, dtype="float16", keep_prob=1.0)
    params = init_params(config, len(VOCABULARY))
    ids = np.random.default_rng(0).integers(len(VOCABULARY), size=(2, 5, 3))
    scale = init_loss_scale(params["decoder.bias"])
    loss, grads, _ = half_loss_and_gradients(params, config, *ids, zero_state(config, 3), None, scale)
    single = replace(config, dtype="float32")
    full_loss, full_grads, _ = loss_and_gradients(params, single, *ids, zero_state(single, 3))
    assert float(loss) == pytest.approx(float(full_loss), rel=1e-3)
    for name, grad in grads.items():
        values, reference = grad, full_grads[name]
        if name == "encoder.weight":
            np.testing.assert_array_equal(grad.ids, reference.ids)
            values, reference = grad.values, reference.values
        assert params[name].dtype == values.dtype == np.float32
        np.testing.assert_allclose(values, reference, atol=5e-3 * abs(reference).max())


def test_a_half_precision_step_changes_weights_by_less_than_half_precision_could():
    config = replace(CONFIG, dtype="float16", keep_prob=1.0)
    state = init_train_state(config, VOCABULARY)
    before = {name: param.copy() for name, param in state.params.items()}
    ids = np.random.default_rng(0).integers(len(VOCABULARY), size=(2, 5, 3))
    train_step(state, *ids, 1e-3)
    moved = state.params["decoder.weight"] - before["decoder.weight"]
    assert (moved != 0).mean() > 0.5
    assert abs(moved).max() < np.spacing(np.float16(0.05)) / 2  # beside a weight of that size it would round to nothing
