"""Every layer, the whole model, its training and its checkpoints against PyTorch and its automatic differentiation."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minilstm import Config, batchify, evaluate, get_batch, init_train_state, loss_and_gradients, train_step
from minilstm.layers.embedding import embedding_backward, embedding_forward
from minilstm.layers.linear import linear_backward, linear_forward
from minilstm.layers.lstm import lstm_backward, lstm_forward
from minilstm.layers.softmax import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from minilstm.masks import draw_masks
from minilstm.model import init_params
from minilstm.runs.checkpoint import save_checkpoint

torch = pytest.importorskip("torch", reason="PyTorch is not installed (pip install torch)")
load_file = pytest.importorskip("safetensors.torch").load_file
torch.set_num_threads(1)

sizes = st.integers(1, 6)
rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)
forget_biases = st.sampled_from([0.0, 1.0, -0.7])


def assert_close(ours, torchs, tolerance=1e-10):
    """Equal to a tolerance relative to the largest element."""
    torchs = torchs.detach().numpy()
    assert np.shape(ours) == torchs.shape
    assert np.asarray(ours).dtype == torchs.dtype
    np.testing.assert_allclose(ours, torchs, rtol=0, atol=tolerance * max(abs(torchs).max(), 1e-3))


def leaf(array):
    """A copy as a tensor that requires a gradient."""
    return torch.tensor(array, requires_grad=True)


def bias_hh(hidden_size, forget_bias):
    """PyTorch's second bias of the gates i, f, g, o, which holds forget_bias."""
    return torch.tensor([0.0, forget_bias, 0.0, 0.0], dtype=torch.float64).repeat_interleave(hidden_size)


def lstm_layer(x, state, weight_ih, weight_hh, bias_ih, bias_hh):
    """PyTorch's LSTM, one layer, with the given tensors as its parameters: outputs, (h, c)."""
    layer = torch.nn.LSTM(weight_ih.shape[1], weight_hh.shape[1], dtype=x.dtype)
    params = {"weight_ih_l0": weight_ih, "weight_hh_l0": weight_hh, "bias_ih_l0": bias_ih, "bias_hh_l0": bias_hh}
    outputs, (h, c) = torch.func.functional_call(layer, params, (x, (state[0][None], state[1][None])))
    return outputs, (h[0], c[0])


def cross_entropy(logits, targets, loss_weights=None):
    """Summed over the T steps, averaged over the batch."""
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    weights = torch.ones_like(losses) if loss_weights is None else loss_weights.flatten()
    return (weights * losses).sum() / targets.shape[1]


class WordLanguageModel(torch.nn.Module):
    """PyTorch's word-language-model example, with the dropout masks given instead of drawn."""

    def __init__(self, vocab_size, hidden_size, num_layers):
        super().__init__()
        self.encoder = torch.nn.Embedding(vocab_size, hidden_size)
        self.rnn = torch.nn.LSTM(hidden_size, hidden_size, num_layers)
        self.decoder = torch.nn.Linear(hidden_size, vocab_size)

    def forward(self, ids, state=None, masks=None):
        """Ids (T, B) -> logits (T, B, V), (h, c), each (num_layers, B, H)."""
        x = self.encoder(ids)
        if masks is None:
            x, state = self.rnn(x, state)
            return self.decoder(x), state
        x, states = x * masks[0], []
        for params, h, c, mask in zip(self.rnn.all_weights, *state, masks[1:], strict=True):
            x, layer_state = lstm_layer(x, (h, c), *params)
            x = x * mask
            states.append(layer_state)
        return self.decoder(x), tuple(torch.stack(part) for part in zip(*states, strict=True))


def torch_model(params, config):
    """PyTorch's model in float64 with a copy of the parameters; forget_bias is in bias_hh, which is not trained."""
    model = WordLanguageModel(len(params["decoder.bias"]), config.hidden_size, config.num_layers).double()
    bias = {f"rnn.bias_hh_l{k}": bias_hh(config.hidden_size, config.forget_bias) for k in range(config.num_layers)}
    model.load_state_dict({name: torch.tensor(param) for name, param in params.items()} | bias, strict=True)
    for name in bias:
        model.get_parameter(name).requires_grad = False
    return model


def trained_params(model):
    return {name: param for name, param in model.named_parameters() if param.requires_grad}


@settings(deadline=None)
@given(rng=rngs, T=sizes, B=sizes, D=sizes, V=sizes)
def test_embedding(rng, T, B, D, V):
    weight, ids, r = rng.normal(size=(V, D)), rng.integers(V, size=(T, B)), rng.normal(size=(T, B, D))
    outputs, cache = embedding_forward(ids, weight)
    grads = embedding_backward(r, cache)

    weight_ = leaf(weight)
    outputs_ = torch.nn.functional.embedding(torch.tensor(ids), weight_)
    (outputs_ * torch.tensor(r)).sum().backward()
    assert_close(outputs, outputs_)
    assert_close(grads["weight"].to_dense(V), weight_.grad)


@settings(deadline=None)
@given(
    rng=rngs, T=sizes, B=sizes, D=sizes, H=sizes, scale=st.sampled_from([0.1, 1.0, 4.0]), forget_bias=forget_biases,
    state_has_gradient=st.booleans(),
)  # fmt: skip
def test_lstm(rng, T, B, D, H, scale, forget_bias, state_has_gradient):
    shapes = {"weight_ih": (4 * H, D), "weight_hh": (4 * H, H), "bias": (4 * H,)}
    params = {name: scale * rng.normal(size=shape) for name, shape in shapes.items()}
    x, h, c = rng.normal(size=(T, B, D)), rng.normal(size=(B, H)), rng.normal(size=(B, H))
    r = rng.normal(size=(T, B, H))
    dstate = (rng.normal(size=(B, H)), rng.normal(size=(B, H))) if state_has_gradient else None
    outputs, state, cache = lstm_forward(x, (h, c), params, forget_bias)
    dx, dstate_before, grads = lstm_backward(r, dstate, cache)

    params_ = {name: leaf(param) for name, param in params.items()}
    x_, h_, c_ = leaf(x), leaf(h), leaf(c)
    outputs_, state_ = lstm_layer(x_, (h_, c_), *params_.values(), bias_hh(H, forget_bias))
    loss_ = (outputs_ * torch.tensor(r)).sum()
    if dstate is not None:
        loss_ = loss_ + sum((torch.tensor(d) * part).sum() for d, part in zip(dstate, state_, strict=True))
    loss_.backward()
    assert_close(outputs, outputs_)
    for part, part_ in zip(state, state_, strict=True):
        assert_close(part, part_)
    assert_close(dx, x_.grad)
    for d, part_ in zip(dstate_before, (h_, c_), strict=True):
        assert_close(d, part_.grad)
    assert grads.keys() == params_.keys()
    for name, grad in grads.items():
        assert_close(grad, params_[name].grad)


@settings(deadline=None)
@given(rng=rngs, T=sizes, B=sizes, H=sizes, V=sizes)
def test_linear(rng, T, B, H, V):
    params = {"weight": rng.normal(size=(V, H)), "bias": rng.normal(size=V)}
    x, r = rng.normal(size=(T, B, H)), rng.normal(size=(T, B, V))
    outputs, cache = linear_forward(x, params)
    dx, grads = linear_backward(r, cache)

    params_, x_ = {name: leaf(param) for name, param in params.items()}, leaf(x)
    outputs_ = torch.nn.functional.linear(x_, **params_)
    (outputs_ * torch.tensor(r)).sum().backward()
    assert_close(outputs, outputs_)
    assert_close(dx, x_.grad)
    assert grads.keys() == params_.keys()
    for name, grad in grads.items():
        assert_close(grad, params_[name].grad)


@settings(deadline=None)
@given(rng=rngs, T=sizes, B=sizes, V=sizes, scale=st.sampled_from([1.0, 300.0]), weighted=st.booleans())
def test_softmax_cross_entropy(rng, T, B, V, scale, weighted):
    logits, targets = scale * rng.normal(size=(T, B, V)), rng.integers(V, size=(T, B))
    loss_weights = rng.uniform(size=(T, B)) * (rng.uniform(size=(T, B)) < 0.7) if weighted else None
    loss, cache = softmax_cross_entropy_forward(logits, targets, loss_weights)
    dlogits = softmax_cross_entropy_backward(cache)

    logits_ = leaf(logits)
    loss_ = cross_entropy(logits_, torch.tensor(targets), torch.tensor(loss_weights) if weighted else None)
    loss_.backward()
    assert_close(loss, loss_)
    assert_close(dlogits, logits_.grad)


@settings(deadline=None)
@given(
    rng=rngs, T=sizes, B=sizes, H=sizes, V=st.integers(2, 9), L=st.integers(1, 3), forget_bias=forget_biases,
    keep_prob=st.sampled_from([1.0, 0.8, 0.3]), weighted=st.booleans(),
)  # fmt: skip
def test_whole_model(rng, T, B, H, V, L, forget_bias, keep_prob, weighted):
    config = Config(
        hidden_size=H, num_layers=L, forget_bias=forget_bias, keep_prob=keep_prob, init_scale=1.0, dtype="float64",
        seed=int(rng.integers(1000)),
    )  # fmt: skip
    params = init_params(config, V)
    for k in range(L):
        params[f"rnn.bias_ih_l{k}"] += rng.normal(size=4 * H)
    inputs, targets = rng.integers(V, size=(2, T, B))
    state = [(rng.normal(size=(B, H)), rng.normal(size=(B, H))) for _ in range(L)]
    masks = draw_masks(config, 3, inputs, V)
    loss_weights = rng.uniform(size=(T, B)) if weighted else None
    loss, grads, new_state = loss_and_gradients(params, config, inputs, targets, state, masks, loss_weights)

    model = torch_model(params, config)
    state_ = tuple(torch.tensor(np.stack(part)) for part in zip(*state, strict=True))
    masks_ = None if masks is None else torch.tensor(np.stack(masks.layers))
    logits_, new_state_ = model(torch.tensor(inputs), state_, masks_)
    loss_ = cross_entropy(logits_, torch.tensor(targets), torch.tensor(loss_weights) if weighted else None)
    loss_.backward()
    assert_close(loss, loss_)
    for part, part_ in zip(zip(*new_state, strict=True), new_state_, strict=True):
        assert_close(np.stack(part), part_)
    params_ = trained_params(model)
    assert grads.keys() == params_.keys()
    for name, param_ in params_.items():
        assert_close(grads[name].to_dense(V) if name == "encoder.weight" else grads[name], param_.grad)


@pytest.mark.parametrize(("optimizer", "learning_rate", "max_grad_norm"), [("sgd", 1.0, 1.5), ("adam", 0.01, 1.2)])
def test_training_steps(optimizer, learning_rate, max_grad_norm):
    config = Config(
        hidden_size=12, num_layers=2, num_steps=7, batch_size=5, keep_prob=0.8, forget_bias=0.7, init_scale=0.3,
        max_grad_norm=max_grad_norm, optimizer=optimizer, dtype="float64",
    )  # fmt: skip
    V = 17
    state = init_train_state(config, [f"word{v}" for v in range(V)])
    model = torch_model(state.params, config)
    params_ = trained_params(model)
    make_optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]
    optimizer_ = make_optimizer(params_.values(), lr=learning_rate)
    state_ = tuple(torch.zeros(2, 5, 12, dtype=torch.float64) for _ in "hc")
    norms = []
    for step, ids in enumerate(np.random.default_rng(0).integers(V, size=(12, 8, 5))):
        inputs, targets = ids[:-1], ids[1:]
        masks_ = torch.tensor(np.stack(draw_masks(config, step, inputs, V).layers))
        loss, norm = train_step(state, inputs, targets, learning_rate)

        optimizer_.zero_grad()
        logits_, state_ = model(torch.tensor(inputs), state_, masks_)
        state_ = tuple(part.detach() for part in state_)
        loss_ = cross_entropy(logits_, torch.tensor(targets))
        loss_.backward()
        norm_ = torch.stack([param.grad.square().sum() for param in params_.values()]).sum().sqrt()
        for param in params_.values():
            param.grad *= max_grad_norm / max(norm_, max_grad_norm)
        optimizer_.step()
        assert_close(loss, loss_, 1e-9)
        assert_close(norm, norm_, 1e-9)
        norms.append(norm)
    assert min(norms) < max_grad_norm < max(norms)  # some steps are clipped, some are not
    assert state.params.keys() == params_.keys()
    for name, param in params_.items():
        assert_close(state.params[name], param, 1e-9)


@pytest.mark.parametrize("forget_bias", [0.0, 0.9])
def test_checkpoint_loads_by_name_and_has_the_same_perplexity(forget_bias, tmp_path):
    config = Config(
        hidden_size=16, num_layers=2, num_steps=6, batch_size=4, init_scale=0.3, forget_bias=forget_bias, keep_prob=0.9
    )
    V = 23
    ids = np.cumsum(np.random.default_rng(1).integers(1, 4, size=4000)) % V  # only three words can follow each
    data = batchify(ids, config.batch_size)
    state = init_train_state(config, [f"word{v}" for v in range(V)])
    for k in range(150):
        train_step(state, *get_batch(data, k, config.num_steps), learning_rate=1.0)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, state)

    model = WordLanguageModel(V, config.hidden_size, config.num_layers)
    model.load_state_dict(load_file(path), strict=True)
    test_ids = ids[:301]
    with torch.no_grad():
        logits, _ = model(torch.tensor(test_ids[:-1, None]))
        losses = torch.nn.functional.cross_entropy(logits[:, 0], torch.tensor(test_ids[1:]), reduction="none")
    expected = math.exp(losses.double().mean())
    assert expected < V / 2  # it has learned something
    assert evaluate(state.params, config, "test", test_ids) == pytest.approx(expected, rel=1e-5)
    other_bias = replace(config, forget_bias=forget_bias + 0.5)
    assert evaluate(state.params, other_bias, "test", test_ids) != pytest.approx(expected, rel=1e-3)
