"""Checkpoints are restored exactly, with PyTorch's names and shapes, or refused in one line."""

import hashlib
import json
import os
import shutil
import sys
import tracemalloc
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from kill import assert_same_run, write_corpus

from minilstm.cli import main
from minilstm.config import PRESETS, Config
from minilstm.errors import UserError
from minilstm.progress import MAX_NORMS
from minilstm.runs.checkpoint import load_checkpoint, save_checkpoint
from minilstm.runs.metadata import EARLIER_FORMATS, FORMAT, WITHOUT_AVERAGE
from minilstm.runs.moments import moments_path
from minilstm.runs.tensors import BLANK, add_checksum
from minilstm.step import init_train_state, train_step
from minilstm.text.corpus import load_corpus
from minilstm.train import train

CONFIG = replace(PRESETS["toy"], hidden_size=6, num_layers=2, num_steps=4, batch_size=3, forget_bias=0.5)

# of Config, which "minilstm 4" and earlier lack
LATER_FIELDS = [
    "tie_weights", "embedding_size", "embedding_init_scale", "locked_dropout", "input_keep_prob", "output_keep_prob",
    "embedding_keep_prob", "weight_keep_prob", "activation_reg", "temporal_reg", "weight_decay", "average_after",
    "vary_num_steps",
]  # fmt: skip


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


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_tensors_have_the_names_and_shapes_of_pytorchs_word_language_model(tmp_path, optimizer):
    save_checkpoint(tmp_path / "c.safetensors", trained(replace(CONFIG, optimizer=optimizer)))
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


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_pytorch_loads_the_checkpoint_by_name(tmp_path, optimizer):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import safetensors.torch

    class WordLanguageModel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Embedding(9, 6)
            self.rnn = torch.nn.LSTM(6, 6, num_layers=2)
            self.decoder = torch.nn.Linear(6, 9)

    state = trained(replace(CONFIG, optimizer=optimizer))
    save_checkpoint(tmp_path / "c.safetensors", state)
    model = WordLanguageModel()
    model.load_state_dict(safetensors.torch.load_file(tmp_path / "c.safetensors"), strict=True)
    np.testing.assert_array_equal(model.rnn.weight_hh_l1.detach().numpy(), state.params["rnn.weight_hh_l1"])


ADAM = replace(CONFIG, optimizer="adam")


def test_adams_moments_are_a_second_file_whose_sha256_is_in_the_checkpoint(tmp_path):
    path, state = tmp_path / "c.safetensors", trained(ADAM)
    save_checkpoint(path, state)
    moments = tmp_path / "c-moments-3.safetensors"
    assert sorted(tmp_path.iterdir()) == [moments, path]
    assert metadata_of(path)["moments"] == hashlib.sha256(moments.read_bytes()).hexdigest()
    tensors = safetensors.numpy.load_file(moments)
    for name in state.params:
        np.testing.assert_array_equal((tensors[f"adam.m.{name}"], tensors[f"adam.v.{name}"]), state.moments[name])
    assert len(tensors) == 2 * len(state.params)


def test_the_moments_of_earlier_steps_are_removed_and_other_files_are_not(tmp_path):
    path, state = tmp_path / "c.safetensors", trained(ADAM)
    others = ["b-moments-3.safetensors", "c-moments-x.safetensors", "c-moments-3.safetensors.bak", "moments"]
    for name in others:
        (tmp_path / name).write_text("mine")
    for step in (3, 4, 11):
        state.progress.step = step
        save_checkpoint(path, state)
        names = {file.name for file in tmp_path.iterdir()}
        assert names == {"c.safetensors", f"c-moments-{step}.safetensors", *others}


def test_a_kill_between_the_two_files_leaves_the_earlier_pair(tmp_path):
    path, state = tmp_path / "c.safetensors", trained(ADAM)
    save_checkpoint(path, state)
    old, new = tmp_path / "old", tmp_path / "new"
    before = load_checkpoint(path)
    shutil.copytree(tmp_path, old)
    train_step(state, np.ones((4, 3), int), np.ones((4, 3), int), 0.1)
    new.mkdir()
    save_checkpoint(new / "c.safetensors", state)
    shutil.copy(new / "c-moments-4.safetensors", old)  # the first write of a save
    np.testing.assert_equal(load_checkpoint(old / "c.safetensors").moments, before.moments)
    shutil.copy(new / "c.safetensors", old)  # the second
    np.testing.assert_equal(load_checkpoint(old / "c.safetensors").moments, state.moments)


def of_another_run(path):
    other = trained(replace(ADAM, seed=1))
    save_checkpoint(path.parent / "other.safetensors", other)
    moments_path(path.parent / "other.safetensors", 3).rename(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.unlink(), "is missing: training cannot continue without Adam's moments"),
        (lambda path: path.write_bytes(b""), "its sha256 is not the one in c.safetensors"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "its sha256 is not"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "its sha256 is not"),
        (of_another_run, "it is damaged or of another run: restore the one saved with c.safetensors"),
        (lambda path: (path.unlink(), path.mkdir()), "Is a directory|not a regular file"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "not a regular file"),
    ],
)
def test_moments_that_are_missing_damaged_or_foreign_are_refused_in_one_line(tmp_path, change, why):
    path = tmp_path / "c.safetensors"
    state = trained(ADAM)
    save_checkpoint(path, state)
    change(tmp_path / "c-moments-3.safetensors")
    with pytest.raises(UserError, match=why) as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)
    again = load_checkpoint(path, with_moments=False)  # for evaluation and generation
    assert again.moments == {}
    np.testing.assert_equal(again.params, state.params)


def test_moments_that_match_their_checksum_but_not_the_model_are_refused(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, trained(ADAM))
    moments = tmp_path / "c-moments-3.safetensors"
    for name, wrong in (
        ("adam.m.extra", np.zeros(3, np.float32)),
        ("adam.m.decoder.bias", np.zeros(8, np.float32)),
        ("adam.m.decoder.bias", np.zeros(9, np.float64)),
        ("adam.m.decoder.bias", np.full(9, np.nan, np.float32)),
    ):
        moments.write_bytes(safetensors.numpy.save(safetensors.numpy.load(moments.read_bytes()) | {name: wrong}))
        digest = hashlib.sha256(moments.read_bytes()).hexdigest()
        rewritten(path, lambda tensors, metadata, d=digest: metadata.update(moments=d), keep=True)
        with pytest.raises(UserError, match="cannot be used"):
            load_checkpoint(path)


@pytest.mark.parametrize("config", [CONFIG, ADAM])
@pytest.mark.parametrize("moments", ["", "0" * 64, None, 3, [], {}, ["x"]])
def test_a_checksum_of_moments_that_does_not_fit_the_optimizer_is_refused(tmp_path, config, moments):
    if config is CONFIG and moments is None:
        return
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, trained(config))
    rewritten(path, lambda tensors, metadata: metadata.update(moments=moments), keep=True)
    with pytest.raises(UserError, match=r"is damaged|cannot be used"):
        load_checkpoint(path)


def test_evaluating_and_generating_do_not_need_the_moments_but_resuming_does(corpus_dir, tmp_path, capsys):
    run = tmp_path / "run"
    size = ["--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1"]
    flags = [*size, "--optimizer", "adam", "--device", "cpu"]
    assert main(["train", "--data", str(corpus_dir), "--out", str(run), *flags]) == 0
    assert [path.name for path in run.glob("*moments*")] == ["checkpoint-moments-99.safetensors"]
    (run / "checkpoint-moments-99.safetensors").unlink()
    (run / "checkpoint-moments-98.safetensors").write_text("an interrupted save of another computer")
    assert main(["evaluate", str(run)]) == 0
    assert main(["generate", str(run), "--words", "3"]) == 0
    capsys.readouterr()
    metrics = (run / "metrics.csv").read_bytes()
    assert main(["train", "--resume", "--out", str(run)]) == 2
    error = capsys.readouterr().err
    assert "checkpoint-moments-99.safetensors is missing: training cannot continue without Adam's moments" in error
    assert error.count("\n") == 1
    assert (run / "metrics.csv").read_bytes() == metrics
    assert main(["train", "--data", str(corpus_dir), "--out", str(run), *size, "--overwrite"]) == 0
    assert list(run.glob("*moments*")) == []


def test_resuming_removes_the_moments_of_a_save_that_was_interrupted(corpus_dir, tmp_path):
    run = tmp_path / "run"
    size = ["--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "1"]
    flags = [*size, "--optimizer", "adam", "--device", "cpu"]
    assert main(["train", "--data", str(corpus_dir), "--out", str(run), *flags]) == 0
    for name in ("checkpoint-moments-98.safetensors", "checkpoint-moments-150.safetensors"):
        (run / name).write_text("of a save that a kill has interrupted")
    (run / "checkpoint-moments-150.safetensors.0123456789abcdef.unfinished").write_text("half")
    assert main(["train", "--resume", "--out", str(run), "--device", "cpu"]) == 0
    assert [path.name for path in run.glob("*moments*")] == ["checkpoint-moments-99.safetensors"]


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


def metadata_of(path):
    with safetensors.safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["minilstm"])


def rewritten(path, change, keep=False):
    """Write a checkpoint, or keep the one that is there, with its tensors and metadata changed."""
    if not keep:
        save_checkpoint(path, trained(CONFIG))
    metadata = metadata_of(path)
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
        lambda tensors, metadata: metadata["progress"].pop("best_epoch"),
        lambda tensors, metadata: metadata["progress"].update(best_epoch=1),
        lambda tensors, metadata: metadata["progress"].update(epoch=3, best_epoch=4, best_perplexity=2.0),
        lambda tensors, metadata: metadata["progress"].update(epoch=3, best_epoch=2, best_perplexity=None),
        lambda tensors, metadata: metadata["progress"].update(epoch=3, best_epoch=2, best_perplexity=2),
        lambda tensors, metadata: metadata["progress"].update(epoch=3, best_epoch=2, best_perplexity=float("nan")),
        lambda tensors, metadata: metadata["progress"].update(epoch=3, best_epoch=-1, best_perplexity=2.0),
        lambda tensors, metadata: metadata["progress"].update(epoch=3, plateaus=4),
        lambda tensors, metadata: metadata["progress"].update(epoch=3, plateaus=1.0),
        lambda tensors, metadata: metadata["progress"].update(best_perplexity=2.0),
        lambda tensors, metadata: metadata["config"].update(lr_on_plateau=1),
        lambda tensors, metadata: metadata.update(loss_scale=[1024.0, 0.0]),
        lambda tensors, metadata: metadata.update(vocabulary=["a"] * 1000),
        lambda tensors, metadata: metadata.update(vocabulary=None),
        lambda tensors, metadata: metadata.update(progress=[[name, 0] for name in metadata["progress"]]),
        lambda tensors, metadata: metadata.update(extra="\u00e9"),
        lambda tensors, metadata: tensors.update({"decoder.bias": np.full(9, np.nan, np.float32)}),
        lambda tensors, metadata: tensors.update({"decoder.bias": np.full(9, -np.inf, np.float32)}),
        lambda tensors, metadata: metadata.update(format="minilstm 2"),
    ],
)
def test_damaged_contents_are_refused(tmp_path, change):
    path = tmp_path / "c.safetensors"
    rewritten(path, change)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


def write_progress(path, **values):
    """Write a checkpoint, with a valid checksum, whose progress has other values."""
    rewritten(path, lambda tensors, metadata: metadata["progress"].update(values))


@pytest.mark.parametrize(
    "norms",
    ["", "abc", {}, {"1.0": 1.0}, None, 1.0, [1], ["1"], [True], [[]], [None], [-1.0], [1e306], [float("inf")],
     [0.5] * (MAX_NORMS + 1)],
    ids=lambda norms: repr(norms)[:12],
)  # fmt: skip
def test_norms_that_are_not_a_list_of_norms_are_refused(tmp_path, norms):
    path = tmp_path / "c.safetensors"
    write_progress(path, norms=norms)
    with pytest.raises(UserError, match="is damaged") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_the_longest_list_of_norms_is_read(tmp_path):
    norms = np.random.default_rng(0).uniform(size=MAX_NORMS).tolist()
    write_progress(tmp_path / "c.safetensors", norms=norms)
    assert load_checkpoint(tmp_path / "c.safetensors").progress.norms == norms


def test_a_run_keeps_only_the_last_norms(tmp_path, monkeypatch):
    corpus, config = load_corpus(write_corpus(tmp_path / "c")), replace(CONFIG, max_max_epoch=1)
    kept = {}
    for limit in (MAX_NORMS, 3):
        monkeypatch.setattr(sys.modules["minilstm.train"], "MAX_NORMS", limit)
        state = init_train_state(config, corpus.vocabulary)
        for _ in train(state, corpus, max_steps=9):
            pass
        kept[limit] = state.progress.norms
    assert len(kept[MAX_NORMS]) == 9
    assert kept[3] == kept[MAX_NORMS][-3:]


@pytest.mark.parametrize(
    ("window", "loss"),
    [(0, 1.0), (0, 1e-300), (3, -1e-300), (3, -1e300), (3, 1e300), (3, 700.0 * 4 * 3), (2**52, 1e300), (3, 5),
     (3, float("nan")), (3, float("inf")), (3, "1.0"), (3, None), (3, True), (3, [])],
)  # fmt: skip
@pytest.mark.parametrize("earlier", [None, WITHOUT_AVERAGE, *EARLIER_FORMATS])
def test_a_loss_that_no_run_can_have_is_refused(tmp_path, window, loss, earlier):
    path = tmp_path / "c.safetensors"
    write_progress(path, window=window, loss=loss)
    if earlier:
        as_earlier_format(path, earlier)
    with pytest.raises(UserError, match="its loss is not possible") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("window", "loss"), [(0, 0.0), (0, -0.0), (3, 0.0), (3, 699.0 * 4 * 3)])
def test_the_losses_that_a_run_can_have_are_read(tmp_path, window, loss):
    write_progress(tmp_path / "c.safetensors", window=window, loss=loss)  # num_steps is 4
    assert load_checkpoint(tmp_path / "c.safetensors").progress.loss == loss


@pytest.mark.parametrize("loss", [1e300, -1e300])
def test_a_run_with_an_impossible_loss_is_refused_before_anything_is_written(capsys, tmp_path, loss):
    corpus, run = write_corpus(tmp_path / "c"), tmp_path / "run"
    flags = ["--hidden-size", "4", "--num-steps", "5", "--batch-size", "4", "--device", "cpu", "--max-steps", "7"]
    assert main(["train", "--data", str(corpus), "--out", str(run), *flags]) == 0
    path = run / "checkpoint.safetensors"
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = json.loads(file.metadata()["minilstm"])
    metadata["sha256"], metadata["progress"]["loss"] = BLANK.decode(), loss
    contents = safetensors.numpy.save(safetensors.numpy.load_file(path), {"minilstm": json.dumps(metadata)})
    path.write_bytes(add_checksum(contents))
    before = (run / "metrics.csv").read_bytes()
    capsys.readouterr()
    for command in (["train", "--resume", "--out"], ["evaluate"], ["generate"]):
        assert main([*command, str(run)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "its loss is not possible" in error
    assert (run / "metrics.csv").read_bytes() == before


def peak_of_loading(path):
    """The peak of memory while a checkpoint is loaded or refused, in bytes."""
    tracemalloc.start()
    try:
        with suppress(UserError):
            load_checkpoint(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_checkpoint_is_read_in_twice_its_size(tmp_path):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, init_train_state(Config(hidden_size=2, batch_size=1), [str(n) for n in range(500_000)]))
    assert peak_of_loading(path) < 2.02 * path.stat().st_size


MANY = 4_000_000


@pytest.mark.parametrize(
    "header",
    [
        b'{"__metadata__":{"minilstm":"{\\"norms\\":[1' + b",1" * MANY + b']}"}}',
        b'{"__metadata__":{"minilstm":"{\\"norms\\":[1' + rb"\u002c1" * MANY + b']}"}}',
        b'{"a":{"dtype":"F32","shape":[1' + b",1" * MANY + b'],"data_offsets":[0,0]}}',
        b'{"__metadata__":{"minilstm":"' + rb"\ud83d\ude00" + b"x" * MANY + b'"}}',
        b"{" + b",".join(b'"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % n for n in range(MANY // 40)) + b"}",
    ],
    ids=["values", "escaped commas", "dimensions", "a wide character", "tensors"],
)  # fmt: skip
def test_a_header_is_refused_before_it_takes_many_times_its_size(tmp_path, header):
    path = tmp_path / "c.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert peak_of_loading(path) < 3.2 * len(header)  # the file, its header, and this as text


def test_a_header_that_is_larger_than_any_is_refused_before_it_is_read_as_text(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes((2**62).to_bytes(8, "little") + b" " * 61_000_000)
    assert peak_of_loading(path) < 1.1 * path.stat().st_size


def as_earlier_format(path, earlier):
    """Rewrite a checkpoint in an earlier format, which can still be read."""
    metadata, tensors = metadata_of(path), safetensors.numpy.load_file(path)
    assert metadata["format"] == FORMAT
    for name in ("valid_perplexities", "average_start"):
        del metadata["progress"][name]
    for name in LATER_FIELDS:
        del metadata["config"][name]
    if earlier == WITHOUT_AVERAGE:
        write_metadata(path, tensors, metadata | {"format": earlier})
        return
    if metadata.pop("moments"):
        moments = moments_path(path, metadata["progress"]["step"])
        tensors |= safetensors.numpy.load_file(moments)
        moments.unlink()
    for name in ("best_epoch", "best_perplexity", "plateaus"):
        del metadata["progress"][name]
    if earlier == "minilstm 2":
        del metadata["loss_scale"]
        metadata["state"] = metadata.pop("carried")
        metadata["progress"]["cost"] = metadata["progress"].pop("loss")
    write_metadata(path, tensors, metadata | {"format": earlier})


def write_metadata(path, tensors, metadata):
    """Write a checkpoint with a valid checksum."""
    metadata = metadata | {"sha256": BLANK.decode()}
    path.write_bytes(add_checksum(safetensors.numpy.save(tensors, {"minilstm": json.dumps(metadata)})))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("earlier", [WITHOUT_AVERAGE, *EARLIER_FORMATS])
def test_a_checkpoint_of_an_earlier_format_is_the_same_train_state(tmp_path, earlier, optimizer, dtype):
    path, state = tmp_path / "c.safetensors", trained(replace(CONFIG, optimizer=optimizer, dtype=dtype))
    if dtype == "float16" and earlier != WITHOUT_AVERAGE:
        state.loss_scale[:] = 1024, 0  # which was not in the file
    save_checkpoint(path, state)
    expected = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    as_earlier_format(path, earlier)
    assert path.read_bytes() != expected[path.name]
    save_checkpoint(path, load_checkpoint(path))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == expected


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--optimizer", "adam"], ["--dtype", "float16"]])
@pytest.mark.parametrize("steps", [57, 150])
@pytest.mark.parametrize("earlier", [WITHOUT_AVERAGE, *EARLIER_FORMATS])
def test_a_run_whose_checkpoint_has_an_earlier_format_resumes_bit_for_bit(corpus_dir, tmp_path, earlier, flags, steps):
    size = ["--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "2", "--device", "cpu"]
    for name in ("one", "other"):
        train = ["train", "--data", str(corpus_dir), "--out", str(tmp_path / name), *size, *flags]
        assert main([*train, "--max-steps", str(steps)]) == 0
    as_earlier_format(tmp_path / "other/checkpoint.safetensors", earlier)
    if earlier != WITHOUT_AVERAGE:
        (tmp_path / "other/checkpoint-best.safetensors").unlink(missing_ok=True)  # there was none
    description = json.loads((tmp_path / "other/config.json").read_text())
    for name in LATER_FIELDS:
        del description[name]
    (tmp_path / "other/config.json").write_text(json.dumps(description))
    for command in (["evaluate"], ["generate", "--words", "3"]):
        assert main([*command, str(tmp_path / "other")]) == 0
    for name in ("one", "other"):
        assert main(["train", "--resume", "--device", "cpu", "--out", str(tmp_path / name)]) == 0
    one, other = (load_checkpoint(tmp_path / name / "checkpoint.safetensors") for name in ("one", "other"))
    for name, param in one.params.items():
        np.testing.assert_array_equal(other.params[name], param, err_msg=name)
    assert other.progress.best_perplexity == pytest.approx(one.progress.best_perplexity, rel=1e-7)  # from metrics.csv
    assert replace(other.progress, best_perplexity=one.progress.best_perplexity) == one.progress
    if "float16" in flags:  # there the count of steps since the loss scale last changed begins again
        return
    if steps < 99:
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
    monkeypatch.setattr(
        "minilstm.files.os.replace", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(path, other)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]
