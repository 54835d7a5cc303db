"""The guarantees of every layer besides correct gradients: see minilstm/layers/__init__.py."""

import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from minilstm.config import PRESETS, Config
from minilstm.evaluate import evaluate
from minilstm.layers.dropout import dropout_backward, dropout_forward, dropout_mask, dropout_masks
from minilstm.layers.embedding import embedding_backward, embedding_forward
from minilstm.layers.linear import linear_backward, linear_forward
from minilstm.layers.lstm import lstm_backward, lstm_forward
from minilstm.layers.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minilstm.masks import draw_masks
from minilstm.model import init_params, loss_and_gradients, zero_state
from minilstm.optim import clip_by_global_norm, squared_norm
from minilstm.step import init_train_state, train_step

T, B, D, H, V = 5, 3, 4, 6, 11
OUTSIDE = -1, V, V + 3, -V


def arrays_in(value):
    """Every array in nested tuples, lists and dicts."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from arrays_in(item)


def copies(value):
    return [array.copy() for array in arrays_in(value)]


def assert_equal(arrays, expected):
    arrays = list(arrays_in(arrays))
    assert len(arrays) == len(expected) > 0
    for array, other in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(array, other)


def assert_apart(arrays, others):
    """Assert that no array of the first shares memory with an array of the others."""
    for array in arrays_in(arrays):
        for other in arrays_in(others):
            assert not np.shares_memory(array, other)


def embedding_layer(rng):
    arguments = rng.integers(V, size=(T, B)), rng.standard_normal((V, D))
    doutputs = rng.standard_normal((T, B, D))
    return arguments, embedding_forward, lambda cache: embedding_backward(doutputs, cache), doutputs


def dropout_layer(rng):
    mask = dropout_mask(rng, (T, B, D), 0.6, "float64")
    doutputs = rng.standard_normal((T, B, D))
    return (
        (rng.standard_normal((T, B, D)), mask),
        lambda inputs, mask: (dropout_forward(inputs, mask), mask),
        lambda cache: dropout_backward(doutputs, cache),
        doutputs,
    )


def lstm_layer(rng, T=T):
    params = {"weight_ih": (4 * H, D), "weight_hh": (4 * H, H), "bias": (4 * H,)}
    params = {name: rng.standard_normal(shape) for name, shape in params.items()}
    state = rng.standard_normal((B, H)), rng.standard_normal((B, H))
    doutputs = rng.standard_normal((T, B, H))
    dstate = rng.standard_normal((B, H)), rng.standard_normal((B, H))

    def forward(*arguments):
        outputs, state, cache = lstm_forward(*arguments, forget_bias=0.5)
        return (outputs, state), cache

    arguments = rng.standard_normal((T, B, D)), state, params
    return arguments, forward, lambda cache: lstm_backward(doutputs, dstate, cache), (doutputs, dstate)


def lstm_layer_of_one_step(rng):
    return lstm_layer(rng, T=1)


def truncated_lstm_layer(rng):
    arguments, forward, _, (doutputs, _) = lstm_layer(rng)
    return arguments, forward, lambda cache: lstm_backward(doutputs, None, cache), doutputs


def linear_layer(rng):
    arguments = rng.standard_normal((T, B, H)), {"weight": rng.standard_normal((V, H)), "bias": rng.standard_normal(V)}
    doutputs = rng.standard_normal((T, B, V))
    return arguments, linear_forward, lambda cache: linear_backward(doutputs, cache), doutputs


def softmax_layer(rng):
    arguments = rng.standard_normal((T, B, V)), rng.integers(V, size=(T, B)), rng.random((T, B))
    return arguments, softmax_cross_entropy_forward, softmax_cross_entropy_backward, ()


LAYERS = (
    embedding_layer,
    dropout_layer,
    lstm_layer,
    lstm_layer_of_one_step,
    truncated_lstm_layer,
    linear_layer,
    softmax_layer,
)
layers = pytest.mark.parametrize("make_layer", LAYERS)


@layers
def test_forward_and_backward_do_not_change_their_arguments(make_layer):
    arguments, forward, backward, doutputs = make_layer(np.random.default_rng(0))
    before = copies((arguments, doutputs))
    _, cache = forward(*arguments)
    assert_equal((arguments, doutputs), before)
    cache_before = copies(cache)
    backward(cache)
    assert_equal((arguments, doutputs), before)
    if make_layer is softmax_layer:
        assert cache == []  # it serves once
    else:
        assert_equal(cache, cache_before)


@layers
def test_outputs_and_gradients_share_no_memory_with_the_cache_or_the_arguments(make_layer):
    arguments, forward, backward, doutputs = make_layer(np.random.default_rng(0))
    outputs, cache = forward(*arguments)
    assert_apart(outputs, (arguments, cache))
    assert_apart(backward(cache), (arguments, cache, outputs, doutputs))


@layers
def test_two_outputs_or_two_gradients_of_a_layer_do_not_share_memory(make_layer):
    arguments, forward, backward, _ = make_layer(np.random.default_rng(0))
    outputs, cache = forward(*arguments)
    for results in (outputs, backward(cache)):
        results = list(arrays_in(results))
        for n, result in enumerate(results):
            assert_apart(result, results[:n])


@layers
def test_backward_may_be_called_twice_or_says_that_it_may_not_and_whatever_is_done_to_the_outputs(make_layer):
    arguments, forward, backward, _ = make_layer(np.random.default_rng(0))
    outputs, cache = forward(*arguments)
    first = backward(cache)
    if make_layer is softmax_layer:
        with pytest.raises(ValueError, match="has been used"):  # the gradient took over its memory
            backward(cache)
        return
    expected = copies(first)
    for array in (*arrays_in(first), *arrays_in(outputs)):  # what clipping, or a user's own code, may do in place
        array *= 17
    assert_equal(backward(cache), expected)


@pytest.mark.parametrize("R", [2, 4, 5])
@pytest.mark.parametrize("H", [3, 16, 50])
def test_the_masks_of_some_streams_are_columns_of_the_batchs(R, H):
    shapes, keep_probs = (
        [(7, 20, H), (1, 20, H), (V, 1), (7, 20, 5), (4 * H, H), (7, 20, H)],
        [0.7, 0.5, 0.9, 1, 0.4, 0.2],
    )
    arguments = 5, 11, shapes, keep_probs, "float32", np.zeros(1)
    masks = dropout_masks(*arguments)
    for rank in range(R):
        streams = slice(rank * 20 // R, (rank + 1) * 20 // R)
        for mine, whole in zip(dropout_masks(*arguments, streams), masks, strict=True):
            if whole is None or whole.ndim == 2:  # words and weights are the same for all streams
                assert mine is whole is None or (mine == whole).all()
            else:
                np.testing.assert_array_equal(mine, whole[:, streams])


def test_dropout_without_a_mask_hands_its_inputs_on_as_they_are():
    inputs = np.ones((T, B, D))
    assert dropout_forward(inputs, None) is inputs  # the one layer whose outputs may be its inputs
    assert dropout_backward(inputs, None) is inputs


def test_changing_outputs_and_state_of_an_lstm_in_place_changes_no_gradient():
    arguments, _, _, (doutputs, dstate) = lstm_layer(np.random.default_rng(0))
    _, _, cache = lstm_forward(*arguments)
    expected = copies(lstm_backward(doutputs, dstate, cache))
    for change in ("outputs", "h", "c"):
        outputs, (h, c), cache = lstm_forward(*arguments)
        changed = {"outputs": outputs, "h": h, "c": c}[change]
        changed *= 2
        assert_equal(lstm_backward(doutputs, dstate, cache), expected)


def test_the_whole_models_gradients_leave_parameters_state_and_masks_alone():
    config = replace(PRESETS["toy"], hidden_size=H, num_layers=2, keep_prob=0.7)
    params, rng = init_params(config, V), np.random.default_rng(0)
    inputs, targets = rng.integers(V, size=(T, B)), rng.integers(V, size=(T, B))
    state, masks = zero_state(config, B), draw_masks(config, 3, inputs, V)
    given = params, inputs, targets, state, masks
    before = copies(given)
    loss, grads, new_state = loss_and_gradients(params, config, inputs, targets, state, masks)
    assert_equal(given, before)
    assert_apart((grads, new_state), given)
    expected = copies((loss, grads, new_state))
    clip_by_global_norm(grads, 1e-3)
    assert_equal(loss_and_gradients(params, config, inputs, targets, state, masks), expected)


# Ids outside the vocabulary


@pytest.mark.parametrize("outside", OUTSIDE)
def test_a_layer_refuses_an_id_outside_the_vocabulary(outside):
    ids = np.ones((T, B), int)
    ids[2, 1] = outside
    with pytest.raises(IndexError, match=rf"vocabulary of {V} words: ids run from 0 to {V - 1}"):
        embedding_forward(ids, np.zeros((V, D)))
    with pytest.raises(IndexError, match="ids run from 0 to"):
        softmax_cross_entropy_forward(np.zeros((T, B, V)), ids)


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("place", ["inputs", "targets"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_model_and_a_training_step_refuse_an_id_outside_the_vocabulary(outside, place, dtype):
    config = Config(hidden_size=H, batch_size=B, num_steps=T, dtype=dtype, optimizer="adam")
    state = init_train_state(config, [f"w{n}" for n in range(V)])
    ids = {"inputs": np.zeros((T, B), int), "targets": np.zeros((T, B), int)}
    ids[place][-1, 0] = outside
    before = copies((state.params, state.moments, state.carried))
    with pytest.raises(IndexError, match="ids run from 0 to"):
        loss_and_gradients(state.params, config, **ids, state=state.carried)
    with pytest.raises(IndexError, match="ids run from 0 to"):
        train_step(state, **ids, learning_rate=1.0)
    assert_equal((state.params, state.moments, state.carried), before)
    assert (state.progress.step, state.progress.window) == (0, 0)


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("where", [0, 30, -1])  # a first word is only an input, a last one only a target
@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluation_refuses_an_id_outside_the_vocabulary(outside, where, split):
    config = Config(hidden_size=H, batch_size=2, num_steps=T)
    ids = np.zeros(60, int)
    ids[where] = outside
    with pytest.raises(IndexError, match="ids run from 0 to"):
        evaluate(init_params(config, V), config, split, ids)


@pytest.mark.parametrize("ids", [np.zeros((T, B), np.int32), np.full((T, B), V - 1, np.uint8)])
def test_ids_of_any_integer_type_at_the_edges_of_the_vocabulary_are_words(ids):
    weight = np.arange(V * D, dtype=float).reshape(V, D)
    outputs, cache = embedding_forward(ids, weight)
    np.testing.assert_array_equal(outputs, np.broadcast_to(weight[ids[0, 0]], (T, B, D)))
    gradient = embedding_backward(np.ones((T, B, D)), cache)["weight"].to_dense(V)
    assert gradient[ids[0, 0]].tolist() == [T * B] * D
    assert gradient.sum() == T * B * D


# Frequent words


def test_a_word_that_occurs_5000_times_in_a_half_precision_window_has_the_right_gradient_and_norm():
    rng = np.random.default_rng(0)
    ids = np.full((250, 22), 3)
    ids[::11, 5] = 7
    assert (ids == 3).sum() > 5000
    doutputs = rng.uniform(0.5, 1.5, (250, 22, D)).astype(np.float16)  # a sum in float16 would stop at 2048
    dense = np.zeros((V, D))
    np.add.at(dense, ids, doutputs.astype(np.float64))
    _, cache = embedding_forward(ids, np.zeros((V, D), np.float16))
    gradient = embedding_backward(doutputs, cache)["weight"]
    np.testing.assert_allclose(gradient.to_dense(V), dense, rtol=1e-3)
    assert float(squared_norm(gradient)) == pytest.approx((dense**2).sum(), rel=2e-3)
    clipped, norm = clip_by_global_norm({"encoder.weight": gradient}, 2.0)
    assert float(norm) == pytest.approx(np.linalg.norm(dense), rel=1e-3)
    np.testing.assert_allclose(
        clipped["encoder.weight"].to_dense(V), 2 * dense / np.linalg.norm(dense), rtol=2e-3, atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process has held")
def test_a_long_window_of_many_streams_over_few_words_takes_memory_in_proportion(tmp_path):
    rng = random.Random(0)
    words = [f"w{n}" for n in range(20)]
    for split, size in (("train", 70_000), ("valid", 3_000), ("test", 3_000)):
        (tmp_path / f"{split}.txt").write_text(" ".join(rng.choices(words, k=size)) + "\n")
    code = (
        "import re, sys; from minilstm.cli import main; status = main(sys.argv[1:]);"
        "print('peak', re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]); sys.exit(status)"
    )
    flags = ["--num-steps", "256", "--batch-size", "128", "--hidden-size", "128", "--max-steps", "2", "--device", "cpu"]
    result = subprocess.run(
        [sys.executable, "-c", code, "train", "--data", str(tmp_path), "--out", str(tmp_path / "run"), *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert "after 2 steps; saved" in result.stdout
    assert int(result.stdout.rsplit("peak ", 1)[1]) * 1024 < 1e9  # an array of (words in the window)^2: 4 GB


def test_a_batch_of_another_size_is_refused_before_anything_changes():
    state = init_train_state(Config(hidden_size=H, batch_size=B), [f"w{n}" for n in range(V)])
    before = copies((state.params, state.carried))
    for inputs, targets in (((T, 1), (T, 1)), ((T, B), (T + 1, B)), ((T * B,), (T * B,))):
        with pytest.raises(ValueError, match=f"batch_size {B}"):
            train_step(state, np.zeros(inputs, int), np.zeros(targets, int), 1.0)
    assert_equal((state.params, state.carried), before)


def test_inputs_of_whole_numbers_give_what_the_same_numbers_as_floats_give():
    rng = np.random.default_rng(0)
    params = {"weight_ih": rng.standard_normal((4 * H, D)), "weight_hh": rng.standard_normal((4 * H, H))}
    params["bias"] = rng.standard_normal(4 * H)
    inputs, state = rng.integers(-2, 3, size=(T, B, D)), (np.zeros((B, H)), np.zeros((B, H)))
    results = []
    for x in (inputs, inputs.astype(float)):
        outputs, _, cache = lstm_forward(x, state, params)
        results.append((outputs, lstm_backward(outputs, np.ones((2, B, H)), cache)))  # dstate may be any pair
    assert_equal(results[0], copies(results[1]))


def test_changing_the_initial_state_after_the_forward_pass_changes_no_gradient():
    rng = np.random.default_rng(0)
    params = {"weight_ih": rng.standard_normal((4 * H, D)), "weight_hh": rng.standard_normal((4 * H, H))}
    params["bias"] = rng.standard_normal(4 * H)
    inputs, results = rng.standard_normal((T, B, D)), []
    for change in (0, 9):
        state = np.ones((B, H)), np.ones((B, H))
        outputs, _, cache = lstm_forward(inputs, state, params)
        for part in state:
            part += change
        results.append(copies(lstm_backward(outputs, None, cache)))
    assert_equal(*results)


@pytest.mark.parametrize("T", [20, 250])
def test_half_precision_adds_up_the_bias_of_a_long_window(T):
    rng = np.random.default_rng(0)
    B, H = 20, 4
    weights = {"weight_ih": rng.standard_normal((4 * H, H)), "weight_hh": rng.standard_normal((4 * H, H)) / 4}
    grads = {}
    for dtype in ("float64", "float16"):
        params = {name: w.astype(dtype) for name, w in weights.items()} | {"bias": np.zeros(4 * H, dtype)}
        zeros = np.zeros((B, H), dtype)
        rng = np.random.default_rng(1)
        inputs = rng.standard_normal((T, B, H)).astype("float16").astype(dtype)
        _, _, cache = lstm_forward(inputs, (zeros, zeros), params)
        grads[dtype] = lstm_backward(np.full((T, B, H), 0.05, dtype), None, cache)[2]
    for name, grad in grads["float64"].items():
        np.testing.assert_allclose(grads["float16"][name], grad, atol=5e-3 * abs(grad).max(), err_msg=name)
