"""The ideas of 2015 to 2017: against PyTorch, written from the papers' equations; masks, averages, windows, formats."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_oracle import assert_close, leaf

from minilstm import plain
from minilstm.config import PRESETS, Config, layer_sizes
from minilstm.dynamic import evaluate_dynamically
from minilstm.evaluate import evaluate
from minilstm.events import Report
from minilstm.layers.dropout import dropout_mask, dropout_masks
from minilstm.layers.embedding import SparseGradient
from minilstm.masks import Masks, draw_masks
from minilstm.model import init_params, loss_and_gradients, param_shapes, zero_state
from minilstm.optim import learning_rate_at
from minilstm.progress import Progress, averaging_begins
from minilstm.step import begin_averaging, init_train_state, train_step, trained_params
from minilstm.text.batches import MIN_VARIED, batchify, window_starts, windows_before
from minilstm.text.corpus import load_corpus
from minilstm.train import train

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")

V = 11
ALL = Config(
    hidden_size=6, embedding_size=4, num_layers=2, num_steps=5, batch_size=3, tie_weights=True, locked_dropout=True,
    keep_prob=0.8, input_keep_prob=0.6, output_keep_prob=0.7, embedding_keep_prob=0.75, weight_keep_prob=0.5,
    activation_reg=2.0, temporal_reg=1.0, forget_bias=0.4, init_scale=0.5, dtype="float64",
)  # fmt: skip
VOCABULARY = [f"w{n}" for n in range(V)]


def dense(grad, rows=V):
    return grad.to_dense(rows) if isinstance(grad, SparseGradient) else grad


def tensors_of(masks, config):
    """Masks as tensors, with ones for None: of the layers, of the words, of the weights."""
    masks = masks or Masks([None] * (config.num_layers + 1), None, [None] * config.num_layers)
    ones = torch.ones(1, dtype=torch.float64)
    layers, weights = ([ones if m is None else torch.tensor(m) for m in part] for part in (masks.layers, masks.weights))
    return layers, torch.ones(V, 1, dtype=torch.float64) if masks.words is None else torch.tensor(masks.words), weights


def equations(params, config, inputs, targets, state, masks, loss_weights):
    """The loss, the loss with the penalties and the new state, one step at a time, from the papers' equations."""
    mask_of, word_mask, weight_mask = tensors_of(masks, config)
    E = params["encoder.weight"]
    decoder = E if config.tie_weights else params["decoder.weight"]
    T, B = inputs.shape
    losses = penalties = 0.0
    last, state = None, [*state]
    for t in range(T):
        x = (E * word_mask)[inputs[t]] * mask_of[0][t if len(mask_of[0]) == T > 1 else 0]
        for k in range(config.num_layers):
            h, c = state[k]
            U = params[f"rnn.weight_hh_l{k}"] * weight_mask[k]
            z = x @ params[f"rnn.weight_ih_l{k}"].T + h @ U.T + params[f"rnn.bias_ih_l{k}"]
            i, f, g, o = z.chunk(4, dim=1)
            c = torch.sigmoid(f + config.forget_bias) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            state[k] = h, c
            mask = mask_of[k + 1]
            x = h * mask[t if len(mask) == T > 1 else 0]
        log_p = torch.log_softmax(x @ decoder.T + params["decoder.bias"], dim=1)
        losses = losses - (loss_weights[t] * log_p[torch.arange(B), targets[t]]).sum() / B
        penalties = penalties + config.activation_reg * (loss_weights[t] * (x**2).mean(1)).mean()
        if last is not None:
            penalties = penalties + config.temporal_reg * (loss_weights[t] * ((h - last) ** 2).mean(1)).mean()
        last = h
    return losses, losses + penalties, state


probabilities = st.sampled_from([1.0, 0.8, 0.4])
configs = st.builds(
    Config,
    hidden_size=st.integers(1, 5), embedding_size=st.integers(0, 5), num_layers=st.integers(1, 3),
    tie_weights=st.booleans(), locked_dropout=st.booleans(), keep_prob=probabilities,
    input_keep_prob=st.sampled_from([0.0, 1.0, 0.5]), output_keep_prob=st.sampled_from([0.0, 1.0, 0.6]),
    embedding_keep_prob=probabilities, weight_keep_prob=probabilities, activation_reg=st.sampled_from([0.0, 2.0]),
    temporal_reg=st.sampled_from([0.0, 1.5]), forget_bias=st.sampled_from([0.0, -0.7]), dtype=st.just("float64"),
    init_scale=st.just(0.8), seed=st.integers(0, 1000),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(config=configs, T=st.integers(1, 5), B=st.integers(1, 4), weighted=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_the_whole_model_with_any_ideas_is_that_of_the_equations(config, T, B, weighted, seed):
    rng = np.random.default_rng(seed)
    params = init_params(config, V)
    for name, param in params.items():
        if "bias" in name:
            param += rng.normal(size=param.shape)
    inputs, targets = rng.integers(V, size=(2, T, B))
    state = [(rng.normal(size=(B, n)), rng.normal(size=(B, n))) for n in layer_sizes(config)[1:]]
    loss_weights = rng.uniform(size=(T, B)) if weighted else None
    masks = draw_masks(config, 3, inputs, V)
    loss, grads, new_state = loss_and_gradients(params, config, inputs, targets, state, masks, loss_weights)

    params_ = {name: leaf(param) for name, param in params.items()}
    state_ = [(torch.tensor(h), torch.tensor(c)) for h, c in state]
    weights_ = torch.tensor(loss_weights) if weighted else torch.ones(T, B, dtype=torch.float64)
    loss_, total_, new_state_ = equations(
        params_, config, torch.tensor(inputs), torch.tensor(targets), state_, masks, weights_
    )
    total_.backward()
    assert_close(loss, loss_)
    for mine, theirs in zip(new_state, new_state_, strict=True):
        for part, part_ in zip(mine, theirs, strict=True):
            assert_close(part, part_)
    assert grads.keys() == params_.keys()
    for name, param_ in params_.items():
        assert_close(dense(grads[name]), param_.grad)


def train_beside_torch(config, make_optimizer, steps=14, averaging_from=None):
    """Train ours and the equations with an optimizer of PyTorch's on windows of several lengths; ours, and theirs."""
    state = init_train_state(config, VOCABULARY)
    params_ = {name: leaf(param) for name, param in state.params.items()}
    optimizer = make_optimizer(params_.values())
    state_ = [(torch.tensor(h), torch.tensor(c)) for h, c in zero_state(config, config.batch_size)]
    rng, norms, history = np.random.default_rng(0), [], []
    for step in range(steps):
        if step == averaging_from:
            begin_averaging(state)
        ids = rng.integers(V, size=(rng.integers(2, 7), config.batch_size))
        inputs, targets = ids[:-1], ids[1:]
        masks = draw_masks(config, step, inputs, V)
        loss, norm = train_step(state, inputs, targets, config.learning_rate)

        optimizer.zero_grad()
        ones = torch.ones(inputs.shape, dtype=torch.float64)
        loss_, total_, new = equations(
            params_, config, torch.tensor(inputs), torch.tensor(targets), state_, masks, ones
        )
        state_ = [(h.detach(), c.detach()) for h, c in new]
        total_.backward()
        norms.append(float(torch.stack([param.grad.square().sum() for param in params_.values()]).sum().sqrt()))
        for param in params_.values():
            param.grad *= config.max_grad_norm / max(norms[-1], config.max_grad_norm)
        optimizer.step()
        assert_close(loss, loss_, 1e-8)
        assert float(norm) == pytest.approx(norms[-1], rel=1e-8)
        history.append({name: param.copy() for name, param in state.params.items()})
    assert min(norms) < config.max_grad_norm < max(norms)  # some steps are clipped, some are not
    for name, param_ in params_.items():
        assert_close(state.params[name], param_, 1e-9)
    return state, params_, optimizer, history


@pytest.mark.parametrize("tie_weights", [True, False])
def test_weight_decay_with_sgd_is_pytorchs(tie_weights):
    config = replace(ALL, tie_weights=tie_weights, weight_decay=0.05, learning_rate=0.5, max_grad_norm=1.3)
    train_beside_torch(config, lambda params: torch.optim.SGD(params, lr=0.5, weight_decay=0.05))


def test_weight_decay_with_adam_is_that_of_pytorchs_adamw():
    config = replace(ALL, optimizer="adam", weight_decay=0.5, learning_rate=0.02, max_grad_norm=1.3)
    train_beside_torch(config, lambda params: torch.optim.AdamW(params, lr=0.02, weight_decay=0.5, eps=1e-8))


@pytest.mark.parametrize("start", [0, 1, 6])
def test_the_average_is_that_of_pytorchs_asgd_and_the_mean_of_the_weights_after_each_step(start):
    config = replace(ALL, weight_decay=0.01, learning_rate=0.5, max_grad_norm=1.3)
    state, params_, optimizer, history = train_beside_torch(
        config,
        lambda params: torch.optim.ASGD(params, lr=0.5, lambd=0, alpha=0, t0=start - 1, weight_decay=0.01),
        averaging_from=start,
    )
    assert trained_params(state) is state.average
    for name, param_ in params_.items():
        assert_close(state.average[name], optimizer.state[param_]["ax"], 1e-6)  # its 1 / count is a float32
        mean = np.mean([params[name] for params in history[start:]], axis=0)
        np.testing.assert_allclose(state.average[name], mean, rtol=1e-12, atol=1e-14)
        assert abs(state.average[name] - state.params[name]).max() > 1e-4


def test_a_model_that_is_not_averaged_is_its_weights():
    state = init_train_state(ALL, VOCABULARY)
    assert trained_params(state) is state.params
    begin_averaging(state)
    for name, param in state.params.items():  # before the next step, the average is a copy
        assert state.average[name] is not param
        np.testing.assert_array_equal(state.average[name], param)


# masks


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_locked_masks_are_the_same_in_all_steps_of_a_window_and_others_in_the_next(dtype):
    config = replace(ALL, hidden_size=30, embedding_size=20, dtype=dtype)
    first, again, other = (draw_masks(config, step, np.zeros((7, 3), int), V) for step in (4, 4, 5))
    assert [mask.shape for mask in first.layers] == [(1, 3, 20), (1, 3, 30), (1, 3, 20)]
    assert first.words.shape == (V, 1)
    assert [mask.shape for mask in first.weights] == [(120, 30), (80, 20)]
    for a, b, c in zip(*([*masks.layers, *masks.weights] for masks in (first, again, other)), strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    unlocked = draw_masks(replace(config, locked_dropout=False), 4, np.zeros((7, 3), int), V)
    assert [mask.shape for mask in unlocked.layers] == [(7, 3, 20), (7, 3, 30), (7, 3, 20)]
    assert all((mask[0] != mask[1]).any() for mask in unlocked.layers)


def test_each_mask_keeps_its_share_and_the_expected_value():
    config = replace(ALL, hidden_size=200, embedding_size=160, num_layers=3, locked_dropout=False)
    masks = draw_masks(config, 0, np.zeros((20, 10), int), 20_000)
    shares = zip([*masks.layers, masks.words, *masks.weights], [0.6, 0.8, 0.8, 0.7, 0.75, 0.5, 0.5, 0.5], strict=True)
    for mask, keep_prob in shares:
        assert set(np.unique(mask)) == {0, 65536 / round(65536 * keep_prob)}
        assert (mask != 0).mean() == pytest.approx(keep_prob, abs=0.015)
        assert mask.mean() == pytest.approx(1, abs=0.03)


def test_a_word_that_is_dropped_is_zero_wherever_it_is_read():
    config = replace(
        ALL, input_keep_prob=1.0, output_keep_prob=1.0, keep_prob=1.0, weight_keep_prob=1.0, embedding_keep_prob=0.5,
        tie_weights=False, activation_reg=0.0, temporal_reg=0.0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    inputs, targets = rng.integers(V, size=(2, 9, 3))
    masks = draw_masks(config, 1, inputs, V)
    assert masks.layers == [None] * 3
    assert masks.weights == [None] * 2
    dropped = np.flatnonzero(masks.words[:, 0] == 0)
    assert 0 < len(set(dropped) & set(inputs.ravel())) < V
    params = init_params(config, V)
    loss, grads, _ = loss_and_gradients(params, config, inputs, targets, zero_state(config, 3), masks)
    assert not dense(grads["encoder.weight"])[dropped].any()
    scaled = params | {"encoder.weight": params["encoder.weight"] * masks.words}
    expected, *_ = loss_and_gradients(scaled, config, inputs, targets, zero_state(config, 3))
    assert float(loss) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("preset", ["toy", "small", "large", "char", "test"])
def test_the_masks_of_earlier_presets_are_those_of_one_flat_stream_as_before(preset):
    config = replace(PRESETS[preset], keep_prob=0.7, seed=3)
    T, B, H, L = config.num_steps, config.batch_size, config.hidden_size, config.num_layers
    stream = np.random.Generator(np.random.Philox(key=[3, 8]))
    before = dropout_mask(stream, (L + 1, T, B, H), 0.7, config.dtype)  # what earlier versions drew
    masks = draw_masks(config, 8, np.zeros((T, B), int), 50)
    assert masks.words is None
    assert masks.weights == [None] * L
    for mask, expected in zip(masks.layers, before, strict=True):
        np.testing.assert_array_equal(mask, expected)


def test_no_two_masks_of_a_step_share_random_bits():
    masks = dropout_masks(1, 2, [(3, 1), (1, 5, 7), (33, 1), (40, 4)], [0.5] * 4, "float32", np.zeros(1))
    bits = np.random.Generator(np.random.Philox(key=[1, 2])).bit_generator.random_raw(200).view(np.uint16)
    first = 0
    for mask in masks:
        np.testing.assert_array_equal(mask.ravel() != 0, bits[first:][: mask.size] < 32768)
        first += -(-mask.size // 16) * 16


def test_weights_are_dropped_where_nothing_else_is():
    config = Config(hidden_size=8, keep_prob=1.0, weight_keep_prob=0.5, dtype="float64")
    masks = draw_masks(config, 0, np.zeros((4, 2), int), V)
    assert (masks.layers, masks.words) == ([None, None], None)
    params, ids = init_params(config, V), np.random.default_rng(0).integers(V, size=(5, 2))
    _, grads, _ = loss_and_gradients(params, config, ids[:-1], ids[1:], zero_state(config, 2), masks)
    grad = grads["rnn.weight_hh_l0"]
    assert not grad[masks.weights[0] == 0].any()
    assert (grad[masks.weights[0] > 0] != 0).all()


# half precision


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_half_precision_with_all_ideas_is_near_single(optimizer):
    results = {}
    for dtype in ("float32", "float16"):
        config = replace(
            ALL, dtype=dtype, weight_decay=1e-2, optimizer=optimizer, hidden_size=24, embedding_size=16,
            learning_rate=0.3 if optimizer == "sgd" else 0.003,
        )  # fmt: skip
        state, losses, rng = init_train_state(config, VOCABULARY), [], np.random.default_rng(0)
        for step in range(20):
            if step == 8:
                begin_averaging(state)
            ids = rng.integers(V, size=(8, 3))
            losses.append(float(train_step(state, ids[:-1], ids[1:], config.learning_rate)[0]))
        results[dtype] = losses, state
    (single, state), (half, half_state) = results["float32"], results["float16"]
    assert np.isfinite(half).all()
    np.testing.assert_allclose(half, single, rtol=2e-2)
    for name, param in trained_params(state).items():
        mine = trained_params(half_state)[name]
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, param, rtol=0, atol=2e-2)


@pytest.mark.parametrize("scale", [1024, 65536, 2.0**20])
def test_a_large_loss_scale_does_not_make_the_penalties_overflow(scale):
    from minilstm.layers.regularization import activation_backward, temporal_backward

    outputs = np.random.default_rng(0).uniform(-2, 2, (5, 20, 400))
    weights = np.full((5, 20), scale, np.float32)
    for backward in (activation_backward, temporal_backward):
        expected = backward(outputs, 2.0) * scale
        if abs(expected).max() < 65504:
            found = backward(outputs.astype(np.float16), 2.0, weights)
            assert found.dtype == np.float16
            np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2 * abs(expected).max())


# averaging


def paper(validations, n):
    """Algorithm 1 of arXiv 1708.02182: the number of validations after which averaging begins, or None.

    Written with the names of the paper; each validation is one turn of its "if mod(k, L) = 0 and T = 0".
    """
    t, T, logs = 0, 0, []
    for k, v in enumerate(validations, start=1):
        if T == 0:
            if t > n and v > min(logs[: t - n]):  # of l in {0, ..., t - n - 1}
                T = k
            logs.append(v)
            t += 1
    return T or None


@settings(max_examples=300, deadline=None)
@given(values=st.lists(st.sampled_from([1.0, 2.0, 2.5, 3.0, 4.0, 9.0]), max_size=30), n=st.integers(1, 6))
def test_averaging_begins_where_the_papers_algorithm_says(values, n):
    config, progress, begun = Config(average_after=n), Progress(), None
    for k, value in enumerate(values, start=1):
        if averaging_begins(config, progress, value):
            assert begun is None
            begun, progress.average_start = k, 17
    assert begun == paper(values, n)


def test_without_average_after_nothing_is_averaged_or_kept():
    progress = Progress()
    assert not any(averaging_begins(Config(), progress, value) for value in (1.0, 2.0, 3.0, 4.0))
    assert progress.valid_perplexities == []


# windows of random length


@settings(max_examples=100, deadline=None)
@given(
    num_steps=st.integers(1, 80), batch_len=st.integers(1, 3000), epoch=st.integers(0, 50), seed=st.integers(0, 2**53)
)
def test_windows_of_random_length_follow_one_another_and_cover_the_text(num_steps, batch_len, epoch, seed):
    config = Config(num_steps=num_steps, vary_num_steps=True, seed=seed)
    starts = window_starts(config, batch_len, epoch)
    assert starts.tolist() == window_starts(config, batch_len, epoch).tolist()
    assert starts[0] == 0
    assert starts[-1] <= batch_len - 1  # a target follows
    if batch_len <= num_steps:
        assert len(starts) == 1 or starts[-1] < batch_len
        return
    assert len(starts) >= 2
    lengths = np.diff(starts)
    assert (lengths >= min(MIN_VARIED, batch_len - 1)).all()
    assert batch_len - 1 - starts[-1] < num_steps + 40  # less than another window is left over
    assert window_starts(replace(config, vary_num_steps=False), batch_len, epoch).tolist() == [
        k * num_steps for k in range((batch_len - 1) // num_steps + 1)
    ]
    expected = sum(len(window_starts(config, batch_len, n)) - 1 for n in range(epoch))
    assert windows_before(config, batch_len, epoch) == expected
    constant = replace(config, vary_num_steps=False)
    assert windows_before(constant, batch_len, epoch) == epoch * ((batch_len - 1) // num_steps)


def test_lengths_are_around_num_steps_with_some_around_half_and_differ_between_epochs_and_seeds():
    config = Config(num_steps=70, vary_num_steps=True)
    lengths = np.concatenate([np.diff(window_starts(config, 100_000, epoch)) for epoch in range(20)])
    assert lengths.mean() == pytest.approx(0.95 * 70 + 0.05 * 35 - 0.5, abs=0.3)  # they are rounded down
    short = lengths < 52
    assert short.mean() == pytest.approx(0.05, abs=0.005)
    assert lengths[~short].std() == pytest.approx(5, abs=0.2)
    assert lengths[short].mean() == pytest.approx(34.5, abs=0.6)
    others = [window_starts(replace(config, seed=seed), 2000, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(starts) for starts in others}) == 4


def losses_of_windows(config, corpus, epochs):
    """Losses and starts of each epoch, by `train_step` alone."""
    state, data = init_train_state(config, corpus.vocabulary), batchify(corpus.splits["train"], config.batch_size)
    for epoch in range(epochs):
        starts = window_starts(config, len(data), epoch)
        rate = learning_rate_at(config, epoch)
        yield (
            starts,
            [float(train_step(state, data[a:b], data[a + 1 : b + 1], rate)[0]) for a, b in pairwise(starts.tolist())],
        )
        for h, c in state.carried:
            h[...], c[...] = 0, 0


@pytest.mark.parametrize("vary", [False, True])
def test_reports_have_the_perplexity_tokens_and_speed_of_the_words_that_were_read(shared_corpus_dir, vary):
    corpus = load_corpus(shared_corpus_dir)
    config = Config(
        hidden_size=8, num_steps=12, batch_size=4, max_max_epoch=3, vary_num_steps=vary, dtype="float64", max_epoch=2
    )
    state = init_train_state(config, corpus.vocabulary)
    reports = [event for event in train(state, corpus) if isinstance(event, Report)]
    total = 0
    for epoch, (starts, losses) in enumerate(losses_of_windows(config, corpus, 3), start=1):
        rows = [row for row in reports if (row.epoch, row.split) == (epoch, "train")]
        assert len(rows) >= 9
        for row in rows:
            windows = row.step - total
            steps = int(starts[windows])
            assert row.tokens == steps * 4
            assert row.perplexity == pytest.approx(math.exp(sum(losses[:windows]) / steps), rel=1e-9)
            assert row.words_per_second > 0
        total += len(losses)
        assert rows[-1].step == total
    assert [row.step for row in reports if row.split == "test"] == [total]


def test_every_epoch_of_a_text_that_is_just_long_enough_has_a_window():
    config = Config(num_steps=20, vary_num_steps=True)
    assert min(len(window_starts(config, 21, epoch)) for epoch in range(200)) == 2


# small models, and evaluation


@pytest.mark.parametrize("change", [
    {"num_layers": 1}, {"num_layers": 1, "embedding_size": 6}, {"embedding_size": 6}, {"embedding_size": 0},
    {"batch_size": 1}, {"hidden_size": 1, "embedding_size": 1},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("T", [1, 2])
def test_small_models_and_windows_train(change, T):
    config = replace(ALL, **change)
    state = init_train_state(config, VOCABULARY)
    shapes = {name: param.shape for name, param in state.params.items()}
    assert shapes == param_shapes(config, V)
    for _ in range(3):
        ids = np.random.default_rng(0).integers(V, size=(T + 1, config.batch_size))
        loss, norm = train_step(state, ids[:-1], ids[1:], 0.1)
        assert np.isfinite([loss, norm]).all()


def test_a_window_of_one_step_has_no_temporal_penalty():
    config = replace(ALL, activation_reg=0.0, temporal_reg=5.0)
    params, ids = init_params(config, V), np.zeros((1, 3), int)
    with_penalty, without = (
        loss_and_gradients(params, replace(config, temporal_reg=beta), ids, ids, zero_state(config, 3))[1]
        for beta in (5.0, 0.0)
    )
    for name, grad in without.items():
        np.testing.assert_array_equal(dense(with_penalty[name]), dense(grad))


def test_dynamic_evaluation_learns_from_the_text_alone():
    params, ids = init_params(ALL, V), np.random.default_rng(0).integers(V, size=200)
    bare = replace(ALL, activation_reg=0.0, temporal_reg=0.0)
    assert evaluate_dynamically(params, ALL, ids, 0.1) == evaluate_dynamically(params, bare, ids, 0.1)
    assert evaluate_dynamically(params, ALL, ids, 0.0) == pytest.approx(evaluate(params, ALL, "test", ids), rel=1e-9)


def test_the_sparse_gradient_of_a_tied_embedding_is_added_once_for_a_repeated_word():
    config = replace(Config(hidden_size=5, tie_weights=True, keep_prob=1.0, dtype="float64"), batch_size=2)
    params, ids = init_params(config, V), np.full((4, 2), 3)
    _, grads, _ = loss_and_gradients(params, config, ids, ids, zero_state(config, 2), kernels=plain)
    params_ = {name: leaf(param) for name, param in params.items()}
    state_ = [(torch.tensor(h), torch.tensor(c)) for h, c in zero_state(config, 2)]
    ones = torch.ones(4, 2, dtype=torch.float64)
    _, total, _ = equations(params_, config, torch.tensor(ids), torch.tensor(ids), state_, None, ones)
    total.backward()
    assert_close(grads["encoder.weight"], params_["encoder.weight"].grad)


@pytest.mark.parametrize("outside", [-1, V, V + 3])
def test_an_id_outside_the_vocabulary_is_refused_before_anything_changes(outside):
    state = init_train_state(ALL, VOCABULARY)
    before = {name: param.copy() for name, param in state.params.items()}
    ids = np.zeros((4, 3), int)
    ids[1, 1] = outside
    with pytest.raises(IndexError, match=f"outside the vocabulary of {V} words"):
        train_step(state, ids, np.zeros((4, 3), int), 0.1)
    np.testing.assert_equal(state.params, before)
    assert state.progress.step == 0
