"""All code for the GPU runs on an array type that never mixes with NumPy, with the same results."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import strict_array
from strict_array import StrictArray

from minilstm.config import PRESETS
from minilstm.device import array_module, to_host
from minilstm.evaluate import evaluate
from minilstm.generate import generate
from minilstm.model import loss_and_gradients
from minilstm.optim import clip_by_global_norm
from minilstm.runs.checkpoint import load_checkpoint, on_device, save_checkpoint
from minilstm.step import begin_averaging, init_train_state, train_step
from minilstm.text.batches import get_batch
from minilstm.train import compile_step

CONFIG = replace(PRESETS["toy"], hidden_size=7, num_layers=2, num_steps=5, batch_size=3, keep_prob=0.8, forget_bias=0.5)
VOCABULARY = ["<eos>", *"abcdefghij"]
AWD = {
    "tie_weights": True, "embedding_size": 5, "locked_dropout": True, "input_keep_prob": 0.6, "output_keep_prob": 0.5,
    "embedding_keep_prob": 0.9, "weight_keep_prob": 0.5, "activation_reg": 2.0, "temporal_reg": 1.0,
    "weight_decay": 1e-3,
}  # fmt: skip


def train_on(xp, config, steps=4, averaging_from=None):
    state = init_train_state(config, VOCABULARY, xp)
    data = np.random.default_rng(0).integers(len(VOCABULARY), size=(100, config.batch_size))
    data = xp.asarray(data)
    for k in range(steps):
        inputs, targets = get_batch(data, k, config.num_steps)
        if k == averaging_from:
            begin_averaging(state)
        loss, norm = train_step(state, inputs, targets, 0.5)
    return state, loss, norm


def arrays_of(state):
    """Every array of a train state under a unique name."""
    arrays = state.params | {f"{name}.average": x for name, x in state.average.items()}
    arrays |= {f"{n}.{part}": x for n, pair in state.moments.items() for part, x in zip("mv", pair, strict=True)}
    arrays |= {f"{part}{k}": x for k, pair in enumerate(state.carried) for part, x in zip("hc", pair, strict=True)}
    return arrays if state.loss_scale is None else arrays | {"loss_scale": state.loss_scale}


def test_strict_arrays_refuse_numpy_and_silent_conversion():
    strict, plain = strict_array.asarray(np.ones(3)), np.ones(3)
    in_place = plain.copy()

    def add_in_place():
        nonlocal in_place
        in_place += strict

    for mix in (
        lambda: strict + plain,
        lambda: plain + strict,
        add_in_place,
        lambda: strict @ plain,
        lambda: np.add(strict, 1, out=plain),
        lambda: np.add(plain, 1, out=strict),
        lambda: np.ones(3, like=strict),
        lambda: np.full(3, 1.0, like=strict),
        lambda: np.asarray(strict),
        lambda: np.array([strict]),
        lambda: np.stack([strict, plain]),
        lambda: np.where(strict > 0, strict, plain),
        lambda: np.take_along_axis(strict, np.array([0]), axis=0),
        lambda: np.add.at(plain, np.array([0]), strict),
        lambda: np.add.at(strict, np.array([0]), 1.0),
        lambda: np.add.reduce(strict),
        lambda: strict[np.array([0])],
        lambda: strict.__setitem__(0, plain[:1]),
        lambda: plain.__setitem__(0, strict),
        lambda: plain[strict],
        lambda: float(strict[0]),
        lambda: int(strict[0]),
        lambda: range(strict[0]),
        lambda: list(strict),
        lambda: 1.0 in strict,
    ):
        with pytest.raises((TypeError, ValueError), match=r"StrictArray|did not contain a loop|implemented|sequence"):
            mix()
    np.testing.assert_array_equal(plain, np.ones(3))
    np.testing.assert_array_equal(strict.get(), np.ones(3))


def test_strict_arrays_answer_numpys_functions_with_strict_arrays():
    strict, ids = strict_array.asarray(np.array([3.0, 1.0, 2.0])), strict_array.asarray(np.array([0, 2, 0]))
    for array, expected in (
        (2 * strict - np.float32(1), [5, 1, 3]),
        (np.exp(strict * 0), [1, 1, 1]),
        (np.zeros(2, like=strict), [0, 0]),
        (np.asarray(np.array([7]), like=strict), [7]),
        (np.arange(2, like=ids), [0, 1]),
        (np.empty_like(strict, shape=(0,)), []),
        (np.unique(ids, return_inverse=True)[1], [0, 1, 0]),
        (np.stack([strict[0], strict[1]]), [3, 1]),
        (strict[ids], [3, 2, 3]),
    ):
        assert isinstance(array, StrictArray)
        np.testing.assert_array_equal(array.get(), expected)
    same = strict
    same += 1
    assert same is strict
    sums = np.add.reduceat(strict, np.asarray(np.array([0]), like=strict))
    assert isinstance(sums, StrictArray)
    np.testing.assert_array_equal(sums.get(), [9])
    assert (strict > 0).get().all()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("ideas", [{}, AWD], ids=["", "awd"])
def test_whole_training_steps_on_strict_arrays_equal_those_on_numpy(optimizer, dtype, ideas):
    config, averaging_from = replace(CONFIG, optimizer=optimizer, dtype=dtype, **ideas), 1 if ideas else None
    strict, strict_loss, strict_norm = train_on(strict_array, config, 4, averaging_from)
    plain, loss, norm = train_on(np, config, 4, averaging_from)
    assert float(to_host(strict_loss)) == float(loss)
    assert float(to_host(strict_norm)) == float(norm)
    assert strict.progress == plain.progress
    expected = arrays_of(plain)
    assert set(arrays_of(strict)) == set(expected)
    for name, array in arrays_of(strict).items():
        assert isinstance(array, StrictArray), name
        assert array.dtype == expected[name].dtype, name
        np.testing.assert_array_equal(to_host(array), expected[name], err_msg=name)


def test_weighted_targets_and_compiled_steps_on_strict_arrays_equal_those_on_numpy():
    config, results = replace(CONFIG, keep_prob=1.0), []
    for xp in (np, strict_array):
        state, rng = init_train_state(config, VOCABULARY, xp), np.random.default_rng(0)
        inputs, targets = (xp.asarray(rng.integers(len(VOCABULARY), size=(5, 3))) for _ in range(2))
        loss_weights = xp.asarray(rng.random((5, 3)))
        loss, grads, _ = loss_and_gradients(
            state.params, config, inputs, targets, state.carried, loss_weights=loss_weights
        )
        grads, norm = clip_by_global_norm(grads, 0.1)
        dense = grads.pop("encoder.weight").to_dense(len(VOCABULARY))
        numbers = [loss, norm, dense, *grads.values(), *compile_step(state)(inputs, targets, 0.1)]
        results.append([to_host(number) for number in numbers])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluation_generation_and_checkpoints_on_strict_arrays_equal_those_on_numpy(tmp_path):
    ids = np.random.default_rng(1).integers(len(VOCABULARY), size=200)
    for dtype in ("float32", "float16"):
        config = replace(CONFIG, dtype=dtype, optimizer="adam")
        results = []
        for xp, array_type in ((np, np.ndarray), (strict_array, StrictArray)):
            state, _, _ = train_on(xp, config)
            perplexities = [evaluate(state.params, CONFIG, split, ids) for split in ("valid", "test")]
            text = list(generate(state.params, CONFIG, VOCABULARY, [1, 2], 20, 0.9, 3))
            path = tmp_path / f"{xp.__name__}-{dtype}.safetensors"
            save_checkpoint(path, state)
            results.append((perplexities, text, path.read_bytes()))
            again = on_device(load_checkpoint(path), xp)
            assert {type(array) for array in arrays_of(again).values()} == {array_type}
        assert results[0] == results[1]


def test_the_module_of_a_subclass_is_that_of_its_base_class(monkeypatch):
    class Labelled(np.ndarray):
        """A user's array subclass."""

    labelled = np.ones((2, 3)).view(Labelled)
    assert type(labelled) is Labelled
    assert array_module(labelled) is np
    assert array_module(np.float32(1)) is np
    assert array_module(np.ma.masked_array([1.0])) is np
    cupy = SimpleNamespace(ndarray=StrictArray)  # as if CuPy had been imported

    class OnDevice(StrictArray):
        pass

    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert array_module(OnDevice(np.ones(2))) is cupy
    assert array_module(labelled) is np
