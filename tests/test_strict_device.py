"""Everything that runs on a GPU runs on an array type that never mixes with NumPy, and gives the same numbers."""

from dataclasses import replace

import numpy as np
import pytest
import strict_array

from minilstm.config import PRESETS
from minilstm.device import array_module, to_host
from minilstm.evaluate import evaluate
from minilstm.generate import generate
from minilstm.runs.checkpoint import load_checkpoint, on_device, save_checkpoint
from minilstm.text.batches import get_batch
from minilstm.train import init_train_state, train_step

CONFIG = replace(PRESETS["toy"], hidden_size=7, num_layers=2, num_steps=5, batch_size=3, keep_prob=0.8, forget_bias=0.5)
VOCABULARY = ["<eos>", *"abcdefghij"]


def train_on(xp, config, steps=4):
    checkpoint = init_train_state(config, VOCABULARY, xp)
    data = np.random.default_rng(0).integers(len(VOCABULARY), size=(100, config.batch_size))
    data = xp.asarray(data)
    for k in range(steps):
        inputs, targets = get_batch(data, k, config.num_steps)
        cost, norm = train_step(checkpoint, inputs, targets, 0.5, xp)
    return checkpoint, cost, norm


def test_strict_arrays_refuse_numpy_and_silent_conversion():
    strict, plain = strict_array.asarray(np.ones(3)), np.ones(3)
    for mix in (
        lambda: strict + plain,
        lambda: plain + strict,
        lambda: np.tanh(strict),
        lambda: np.asarray(strict),
        lambda: strict_array.tanh(plain),
        lambda: strict[np.array([0])],
        lambda: plain.__setitem__(0, strict),
        lambda: float(strict[0]),
        lambda: bool(strict[0] > 0),
    ):
        with pytest.raises((TypeError, ValueError)):
            mix()
    assert array_module(strict) is strict_array


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_whole_training_steps_on_strict_arrays_equal_those_on_numpy(optimizer, dtype):
    config = replace(CONFIG, optimizer=optimizer, dtype=dtype)
    strict, strict_cost, strict_norm = train_on(strict_array, config)
    plain, cost, norm = train_on(np, config)
    assert float(to_host(strict_cost)) == float(cost)
    assert float(to_host(strict_norm)) == float(norm)
    for name, param in plain.params.items():
        assert isinstance(strict.params[name], strict_array.StrictArray)
        np.testing.assert_array_equal(to_host(strict.params[name]), param)


def test_evaluation_generation_and_checkpoints_on_strict_arrays_equal_those_on_numpy(tmp_path):
    ids = np.random.default_rng(1).integers(len(VOCABULARY), size=200)
    results = {}
    for xp in (np, strict_array):
        checkpoint, _, _ = train_on(xp, CONFIG)
        perplexity = evaluate(checkpoint.params, CONFIG, "test", ids, xp)
        text = list(generate(checkpoint.params, CONFIG, VOCABULARY, [1, 2], 20, 0.9, 3, xp))
        path = tmp_path / f"{xp.__name__}.safetensors"
        save_checkpoint(path, checkpoint)
        results[xp.__name__] = perplexity, text, path.read_bytes()
        again = on_device(load_checkpoint(path), xp)
        assert array_module(again.params["decoder.bias"]) is xp
        assert array_module(again.state[0][0]) is xp
    assert results["numpy"] == results["strict_array"]
