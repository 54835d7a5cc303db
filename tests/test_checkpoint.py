"""Checkpoints come back whole, in PyTorch's names and shapes, or are refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from minilstm.config import PRESETS
from minilstm.errors import UserError
from minilstm.runs.checkpoint import load_checkpoint, save_checkpoint
from minilstm.runs.checksum import BLANK, seal
from minilstm.train import init_train_state, train_step

CONFIG = replace(PRESETS["toy"], hidden_size=6, num_layers=2, num_steps=4, batch_size=3, forget_bias=0.5)


def trained(config):
    checkpoint = init_train_state(config, [f"w{n}" for n in range(9)], np)
    rng = np.random.default_rng(0)
    for _ in range(3):
        train_step(checkpoint, rng.integers(9, size=(4, 3)), rng.integers(9, size=(4, 3)), 0.1, np)
    checkpoint.progress.norms.append(0.1 + 0.2)
    return checkpoint


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path, optimizer, dtype):
    checkpoint = trained(replace(CONFIG, optimizer=optimizer, dtype=dtype))
    save_checkpoint(tmp_path / "c.safetensors", checkpoint)
    again = load_checkpoint(tmp_path / "c.safetensors")
    assert again.config == checkpoint.config
    assert again.vocabulary == checkpoint.vocabulary
    assert again.progress == checkpoint.progress
    assert list(again.params) == list(checkpoint.params)
    for name, param in checkpoint.params.items():
        np.testing.assert_array_equal(again.params[name], param)
    assert set(again.moments) == set(checkpoint.moments)
    for name, pair in checkpoint.moments.items():
        np.testing.assert_array_equal(again.moments[name], pair)
    np.testing.assert_array_equal(again.state, checkpoint.state)
    assert not list(tmp_path.glob("*.unfinished"))


def test_tensors_have_the_names_and_shapes_of_pytorchs_word_language_model(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", trained(CONFIG))
    tensors = safetensors.numpy.load_file(tmp_path / "c.safetensors")
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "encoder.weight": (9, 6),
        "rnn.weight_ih_l0": (24, 6),
        "rnn.weight_hh_l0": (24, 6),
        "rnn.bias_ih_l0": (24,),
        "rnn.bias_hh_l0": (24,),
        "rnn.weight_ih_l1": (24, 6),
        "rnn.weight_hh_l1": (24, 6),
        "rnn.bias_ih_l1": (24,),
        "rnn.bias_hh_l1": (24,),
        "decoder.weight": (9, 6),
        "decoder.bias": (9,),
    }
    assert tensors["rnn.bias_hh_l1"].tolist() == [0] * 6 + [0.5] * 6 + [0] * 12  # forget_bias, where PyTorch adds it


def test_the_same_run_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, trained(CONFIG))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, trained(CONFIG))
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match="cannot be read") as error:
            load_checkpoint(path)
        assert "\n" not in str(error.value)


def rewritten(path, change):
    """Write a checkpoint with its tensors and metadata changed."""
    save_checkpoint(path, trained(CONFIG))
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = json.loads(file.metadata()["minilstm"])
    tensors = safetensors.numpy.load_file(path)
    change(tensors, metadata)
    metadata = {"sha256": BLANK.decode()} | {name: metadata[name] for name in metadata if name != "sha256"}
    path.write_bytes(seal(safetensors.numpy.save(tensors, {"minilstm": json.dumps(metadata)})))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, metadata: tensors.pop("decoder.bias"),
        lambda tensors, metadata: tensors.pop("rnn.bias_hh_l1"),
        lambda tensors, metadata: tensors.update(extra=np.zeros(3, np.float32)),
        lambda tensors, metadata: tensors.update({"decoder.weight": np.zeros((9, 7), np.float32)}),
        lambda tensors, metadata: tensors.update({"decoder.weight": np.zeros((9, 6), np.float64)}),
        lambda tensors, metadata: metadata["config"].update(hidden_size=7),
        lambda tensors, metadata: metadata["config"].update(hidden_size="many"),
        lambda tensors, metadata: metadata["config"].update(keep_prob=3),
        lambda tensors, metadata: metadata["config"].update(colour="red"),
        lambda tensors, metadata: metadata.pop("state"),
        lambda tensors, metadata: metadata.update(state="zzz"),
        lambda tensors, metadata: metadata["progress"].pop("epoch"),
        lambda tensors, metadata: metadata["progress"].update(age=3),
    ],
)
def test_damaged_contents_are_refused(tmp_path, change):
    path = tmp_path / "c.safetensors"
    rewritten(path, change)
    with pytest.raises(UserError, match="is damaged"):
        load_checkpoint(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(2)}, path)
    with pytest.raises(UserError, match="not written by this version"):
        load_checkpoint(path)
    rewritten(path, lambda tensors, metadata: metadata.update(format="minilstm 99"))
    with pytest.raises(UserError, match="not written by this version"):
        load_checkpoint(path)
    path.write_bytes(b"PK\x03\x04 a pickle in a zip, say" * 10)
    with pytest.raises(UserError, match="cannot be read"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, trained(CONFIG))
    before = path.read_bytes()
    other = init_train_state(replace(CONFIG, seed=1), ["a", "b"], np)
    monkeypatch.setattr("minilstm.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(path, other)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]
