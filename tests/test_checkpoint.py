"""Checkpoints are restored exactly, with PyTorch's names and shapes, or refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from kill import assert_same_run

from minilstm.cli import main
from minilstm.config import PRESETS
from minilstm.errors import UserError
from minilstm.runs.checkpoint import BLANK, EARLIER_FORMAT, FORMAT, add_checksum, load_checkpoint, save_checkpoint
from minilstm.step import init_train_state, train_step

CONFIG = replace(PRESETS["toy"], hidden_size=6, num_layers=2, num_steps=4, batch_size=3, forget_bias=0.5)


def trained(config):
    state = init_train_state(config, [f"w{n}" for n in range(9)])
    rng = np.random.default_rng(0)
    for _ in range(3):
        train_step(state, rng.integers(9, size=(4, 3)), rng.integers(9, size=(4, 3)), 0.1)
    state.progress.norms.append(0.1 + 0.2)
    return state


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_checkpoint_comes_back_bit_for_bit(tmp_path, optimizer, dtype):
    state = trained(replace(CONFIG, optimizer=optimizer, dtype=dtype))
    save_checkpoint(tmp_path / "c.safetensors", state)
    again = load_checkpoint(tmp_path / "c.safetensors")
    assert again.config == state.config
    assert again.vocabulary == state.vocabulary
    assert again.progress == state.progress
    assert list(again.params) == list(state.params)
    for name, param in state.params.items():
        np.testing.assert_array_equal(again.params[name], param)
    assert set(again.moments) == set(state.moments)
    for name, pair in state.moments.items():
        np.testing.assert_array_equal(again.moments[name], pair)
    np.testing.assert_array_equal(again.carried, state.carried)
    assert (again.loss_scale is None) == (dtype != "float16")
    np.testing.assert_array_equal(again.loss_scale, state.loss_scale)
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
    path.write_bytes(add_checksum(safetensors.numpy.save(tensors, {"minilstm": json.dumps(metadata)})))


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
        lambda tensors, metadata: metadata.pop("carried"),
        lambda tensors, metadata: metadata.update(carried="zzz"),
        lambda tensors, metadata: metadata["progress"].pop("epoch"),
        lambda tensors, metadata: metadata["progress"].update(age=3),
        lambda tensors, metadata: metadata.update(loss_scale=[1024.0, 0.0]),
        lambda tensors, metadata: metadata.update(format="minilstm 2"),
    ],
)
def test_damaged_contents_are_refused(tmp_path, change):
    path = tmp_path / "c.safetensors"
    rewritten(path, change)
    with pytest.raises(UserError, match="is damaged"):
        load_checkpoint(path)


def as_earlier_format(path):
    """Rewrite a checkpoint in the previous format, which can still be read."""
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = json.loads(file.metadata()["minilstm"])
    assert metadata["format"] == FORMAT
    del metadata["loss_scale"]
    metadata["state"] = metadata.pop("carried")
    metadata["progress"]["cost"] = metadata["progress"].pop("loss")
    metadata |= {"format": EARLIER_FORMAT, "sha256": BLANK.decode()}
    tensors = safetensors.numpy.load_file(path)
    path.write_bytes(add_checksum(safetensors.numpy.save(tensors, {"minilstm": json.dumps(metadata)})))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_a_checkpoint_of_the_earlier_format_is_the_same_train_state(tmp_path, optimizer, dtype):
    path, state = tmp_path / "c.safetensors", trained(replace(CONFIG, optimizer=optimizer, dtype=dtype))
    if dtype == "float16":
        state.loss_scale[:] = 1024, 0  # which was not in the file
    save_checkpoint(path, state)
    expected = path.read_bytes()
    as_earlier_format(path)
    assert path.read_bytes() != expected
    save_checkpoint(path, load_checkpoint(path))
    assert path.read_bytes() == expected


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--optimizer", "adam"], ["--dtype", "float16"]])
@pytest.mark.parametrize("steps", [57, 150])
def test_a_run_whose_checkpoint_has_the_earlier_format_resumes_bit_for_bit(corpus_dir, tmp_path, flags, steps):
    size = ["--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "2", "--device", "cpu"]
    for name in ("one", "other"):
        train = ["train", "--data", str(corpus_dir), "--out", str(tmp_path / name), *size, *flags]
        assert main([*train, "--max-steps", str(steps)]) == 0
    as_earlier_format(tmp_path / "other/checkpoint.safetensors")
    for command in (["evaluate"], ["generate", "--words", "3"]):
        assert main([*command, str(tmp_path / "other")]) == 0
    for name in ("one", "other"):
        assert main(["train", "--resume", "--device", "cpu", "--out", str(tmp_path / name)]) == 0
    one, other = (load_checkpoint(tmp_path / name / "checkpoint.safetensors") for name in ("one", "other"))
    for name, param in one.params.items():
        np.testing.assert_array_equal(other.params[name], param, err_msg=name)
    assert other.progress == one.progress
    if "float16" not in flags:  # there the count of steps since the loss scale last changed begins again
        assert_same_run(tmp_path / "one", tmp_path / "other")


def test_a_checkpoint_of_the_oldest_format_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "c.safetensors"
    rewritten(path, lambda tensors, metadata: metadata.update(format="minilstm 1"))
    with pytest.raises(UserError, match="by this version of minilstm; use that which wrote it, or train") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


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
    other = init_train_state(replace(CONFIG, seed=1), ["a", "b"])
    monkeypatch.setattr("minilstm.files.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(path, other)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]
