"""Runs that start from the weights of another run, or of PyTorch's word language model."""

import json
import math
import os
import pickle
import shutil
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from kill import assert_same_run

from minilstm.cli import main
from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.evaluate import evaluate
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.directory import read_metrics
from minilstm.runs.weights import config_from, fit_params, open_source
from minilstm.text.corpus import load_corpus

SMALL = "--hidden-size", "8", "--num-steps", "5", "--batch-size", "4", "--num-layers", "2", "--forget-bias", "0.4"
FLAGS = *SMALL, "--max-max-epoch", "1", "--optimizer", "adam", "--learning-rate", "0.01", "--min-count", "2"
LAST, BEST = "checkpoint.safetensors", "checkpoint-best.safetensors"
V, H, LAYERS = 11, 6, 2  # of a state dict; the words of the corpus


def train(*flags):
    return main(["train", "--device", "cpu", *map(str, flags)])


def complaint(capsys, *flags):
    """The single line that a run ends with before it starts."""
    capsys.readouterr()
    assert train(*flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("minilstm: error: ")
    assert error.count("\n") == 1
    return error


def perplexity(capsys, run, *flags):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--device", "cpu", *map(str, flags)]) == 0
    return capsys.readouterr().out.split("\n")[0]


@pytest.fixture(scope="module")
def source(shared_corpus_dir, tmp_path_factory):
    """A run on a corpus with <unk>, not to be changed."""
    run = tmp_path_factory.mktemp("source") / "run"
    assert train("--data", shared_corpus_dir, "--out", run, *FLAGS) == 0
    return run


@pytest.fixture
def other_text(tmp_path):
    """A text with the words of the corpus, and others."""
    path = tmp_path / "other.txt"
    path.write_text("".join(f"a b zebra c {line % 3} a j\n" for line in range(80)))
    return path


@pytest.fixture(scope="module")
def unknown_source(tmp_path_factory):
    """A run whose vocabulary has <unk>: some of its words occur only once."""
    folder = tmp_path_factory.mktemp("unknown")
    lines = [f"a b c d {'rare' + str(n) if n % 10 == 0 else 'e'} j 0\n" for n in range(200)]
    (folder / "text.txt").write_text("".join(lines))
    assert train("--data", folder / "text.txt", "--out", folder / "run", *FLAGS) == 0
    return folder / "run"


@pytest.mark.parametrize("name", ["", LAST, BEST])
def test_a_run_starts_with_the_weights_words_and_hyperparameters_of_another(source, tmp_path, capsys, name):
    run = tmp_path / "run"
    assert train("--init-from", source / name, "--out", run, "--max-steps", "0") == 0
    out = capsys.readouterr().out
    assert f"\nWeights: {source / (name or LAST)}\nVocabulary: {source / 'vocab.txt'}\nCorpus: " in out
    old, new = load_checkpoint(source / LAST), load_checkpoint(run / LAST)
    assert new.config == old.config
    assert (new.progress.step, new.progress.epoch, new.progress.metric_rows, new.progress.best_epoch) == (0, 0, 0, 0)
    for key, param in old.params.items():
        np.testing.assert_array_equal(new.params[key], param)
    assert not any(x.any() for pair in (*new.moments.values(), *new.carried) for x in pair)
    assert len(new.moments) == len(new.params)
    assert perplexity(capsys, run) == perplexity(capsys, source)
    assert (run / "vocab.txt").read_bytes() == (source / "vocab.txt").read_bytes()
    description = json.loads((run / "config.json").read_text())
    assert description["init_from"]["path"] == str(source / (name or LAST))
    assert len(description["init_from"]["sha256"]) == 64


def test_hyperparameters_that_are_given_win(source, tmp_path):
    run, flags = tmp_path / "run", ("--keep-prob", "0.5", "--batch-size", "2", "--dtype", "float64", "--seed", "3")
    assert train("--init-from", source, "--out", run, "--max-steps", "0", *flags, "--optimizer", "sgd") == 0
    old, new = load_checkpoint(source / LAST), load_checkpoint(run / LAST)
    changed = {"keep_prob": 0.5, "batch_size": 2, "dtype": "float64", "seed": 3, "optimizer": "sgd"}
    assert vars(new.config) == vars(old.config) | changed
    np.testing.assert_array_equal(new.params["decoder.weight"], old.params["decoder.weight"].astype(np.float64))
    assert new.moments == {}


def test_a_preset_that_is_given_replaces_the_hyperparameters_but_not_the_sizes(source, tmp_path):
    run = tmp_path / "run"
    assert train("--init-from", source, "--out", run, "--max-steps", "0", "--model", "small", "--batch-size", "4") == 0
    config = load_checkpoint(run / LAST).config
    assert (config.model, config.max_max_epoch, config.keep_prob, config.optimizer) == ("small", 13, 1.0, "sgd")
    assert (config.hidden_size, config.num_layers) == (8, 2)


@pytest.mark.parametrize("forget_bias", [0.0, 0.4, -1.5])
def test_another_forget_bias_does_not_change_what_the_model_computes(source, shared_corpus_dir, forget_bias):
    weights = open_source(source)
    ids = load_corpus(shared_corpus_dir, vocabulary=weights.words).splits["test"]
    config = Config(**vars(weights.config) | {"dtype": "float64"})
    other = Config(**vars(config) | {"forget_bias": forget_bias})
    expected = evaluate(fit_params(weights, config), config, "test", ids)
    assert evaluate(fit_params(weights, other), other, "test", ids) == pytest.approx(expected, rel=1e-12)


def test_another_text_is_read_with_the_words_of_the_run(unknown_source, other_text, tmp_path, capsys):
    run = tmp_path / "run"
    assert train("--init-from", unknown_source, "--data", other_text, "--out", run) == 0
    out = capsys.readouterr().out
    assert "<unk>" in out  # its share
    assert (run / "vocab.txt").read_bytes() == (unknown_source / "vocab.txt").read_bytes()
    assert json.loads((run / "config.json").read_text())["data"] == str(other_text)
    assert perplexity(capsys, run).startswith("Test Perplexity: ")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name != "metrics.csv"}
    assert train("--resume", "--out", run) == 0
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.name != "metrics.csv"} == before


def test_words_that_the_run_does_not_know_need_unk(other_text, tmp_path, capsys):
    plain, text = tmp_path / "plain", tmp_path / "text.txt"
    text.write_text("a b c a j 0 a b c\n" * 200)
    assert train("--data", text, "--out", plain, *SMALL, "--max-steps", "0") == 0
    error = complaint(capsys, "--init-from", plain, "--data", other_text, "--out", tmp_path / "run")
    assert "other.txt line 1: 'zebra' is not in the training vocabulary, which has no <unk>; give a text of" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [0, 20, 99, 120])
def test_stopped_and_resumed_without_its_source_a_run_ends_bit_for_bit_the_same(source, tmp_path, stop):
    copy = shutil.copytree(source, tmp_path / "copy")
    flags = "--init-from", copy, "--max-max-epoch", "2", "--keep-prob", "0.8", "--dtype", "float64"
    for name, more in (("whole", ()), ("parts", ("--max-steps", stop))):
        assert train(*flags, "--out", tmp_path / name, *more) == 0
    shutil.rmtree(copy)
    assert train("--resume", "--out", tmp_path / "parts") == 0
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def killed_before_its_first_checkpoint(run):
    for path in run.glob("*.safetensors"):
        path.unlink()
    (run / "metrics.csv").write_text((run / "metrics.csv").read_text().split("\n")[0] + "\n")


def test_a_run_killed_before_its_first_checkpoint_starts_from_its_source_again(source, tmp_path, capsys):
    copy = shutil.copytree(source, tmp_path / "copy")
    for name in ("whole", "parts"):
        assert train("--init-from", copy, "--out", tmp_path / name) == 0
    parts = tmp_path / "parts"
    killed_before_its_first_checkpoint(parts)
    assert train("--resume", "--out", parts) == 0
    assert_same_run(tmp_path / "whole", parts)
    killed_before_its_first_checkpoint(parts)
    assert train("--resume", "--out", copy, "--max-max-epoch", "2") == 0
    error = complaint(capsys, "--resume", "--out", parts)
    assert f"{copy / LAST} has changed since the run was started from it" in error
    shutil.rmtree(copy)
    assert f"{copy / LAST} does not exist" in complaint(capsys, "--resume", "--out", parts)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--hidden-size", "9"], "--hidden-size is 8 in "),
        (["--num-layers", "1"], "--num-layers is 2 in "),
        (["--unit", "char"], "--unit is word in "),
        (["--min-count", "1"], "--min-count has no effect on the words of weights to start from"),
        (["--resume"], "--resume continues with a run's own weights; omit --init-from"),
        (["--keep-prob", "2"], "--keep-prob must be at most 1"),
    ],
)
def test_flags_that_do_not_fit_the_source_are_refused(source, tmp_path, capsys, flags, why):
    assert why in complaint(capsys, "--init-from", source, "--out", tmp_path / "run", *flags)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_by_one_that_starts_from_it(source, tmp_path, capsys):
    copy = shutil.copytree(source, tmp_path / "copy")
    (tmp_path / "link").symlink_to(copy)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    for out in (copy, tmp_path / "link"):
        error = complaint(capsys, "--init-from", copy, "--out", out, "--overwrite")
        assert "contains the weights to start from; choose another directory" in error
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_a_checkpoint_needs_the_words_it_was_trained_with(source, tmp_path, capsys):
    lone = tmp_path / "lone.safetensors"
    shutil.copy(source / LAST, lone)
    flags = "--init-from", lone, "--out", tmp_path / "run", "--max-steps", "0"
    assert f"{tmp_path / 'vocab.txt'} does not exist; restore" in complaint(capsys, *flags)
    words = (source / "vocab.txt").read_text().split("\n")
    (tmp_path / "vocab.txt").write_text("\n".join([words[1], words[0], *words[2:]]))
    assert "vocab.txt is not that of the model" in complaint(capsys, *flags)
    shutil.copy(source / "vocab.txt", tmp_path)
    assert train(*flags, "--data", json.loads((source / "config.json").read_text())["data"]) == 0


# ----- state dicts of PyTorch's word language model


def state_dict(dtype=np.float32, scale=0.3):
    """The tensors of a model with random biases."""
    rng = np.random.default_rng(0)
    shapes = {"encoder.weight": (V, H), "decoder.weight": (V, H), "decoder.bias": (V,)}
    for k in range(LAYERS):
        shapes |= {f"rnn.weight_ih_l{k}": (4 * H, H), f"rnn.weight_hh_l{k}": (4 * H, H)}
        shapes |= {f"rnn.bias_ih_l{k}": (4 * H,), f"rnn.bias_hh_l{k}": (4 * H,)}
    return {name: rng.uniform(-scale, scale, shape).astype(dtype) for name, shape in shapes.items()}


def write_model(path, **changes):
    """Write a state dict; a change of None removes a tensor."""
    tensors = {name: value for name, value in (state_dict() | changes).items() if value is not None}
    safetensors.numpy.save_file(tensors, path)
    return path


@pytest.fixture
def model(tmp_path):
    """A directory for a state dict, with its words beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "vocab.txt").write_text("".join(word + "\n" for word in ["<eos>", *"abcdefghij"]))
    return folder / "model.safetensors"


def start_from(model, corpus, run, *flags):
    size = "--num-steps", "5", "--batch-size", "4"
    return "--init-from", model, "--data", corpus, "--out", run, *size, "--max-steps", "0", *flags


@pytest.mark.parametrize("forget_bias", ["0", "0.7"])
def test_it_computes_what_pytorch_computes(model, corpus_dir, tmp_path, capsys, forget_bias):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import safetensors.torch

    class WordLanguageModel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Embedding(V, H)
            self.rnn = torch.nn.LSTM(H, H, num_layers=LAYERS)
            self.decoder = torch.nn.Linear(H, V)

    torch.manual_seed(0)
    network = WordLanguageModel()
    for param in network.parameters():
        torch.nn.init.uniform_(param, -0.7, 0.7)
    safetensors.torch.save_file(network.state_dict(), model)
    words = ["<eos>", *"abcdefghij"]
    ids = torch.tensor(load_corpus(corpus_dir, vocabulary=words).splits["test"].astype(np.int64))
    with torch.no_grad():
        logits = network.decoder(network.rnn(network.encoder(ids[:-1, None]))[0])
        expected = math.exp(torch.nn.functional.cross_entropy(logits[:, 0], ids[1:]))
    run = tmp_path / "run"
    assert train(*start_from(model, corpus_dir, run, "--forget-bias", forget_bias)) == 0
    assert float(perplexity(capsys, run).split()[-1]) == pytest.approx(expected, rel=1e-4)
    state = load_checkpoint(run / LAST)
    assert (state.config.hidden_size, state.config.num_layers) == (H, LAYERS)
    again = WordLanguageModel()  # and back
    again.load_state_dict(safetensors.torch.load_file(run / LAST), strict=True)
    with torch.no_grad():
        np.testing.assert_allclose(again.rnn(again.encoder(ids[:-1, None]))[0],
                                   network.rnn(network.encoder(ids[:-1, None]))[0], atol=1e-6)  # fmt: skip


def test_both_biases_are_summed(model, corpus_dir, tmp_path):
    tensors = safetensors.numpy.load_file(write_model(model))
    assert train(*start_from(model, corpus_dir, tmp_path / "run")) == 0
    params = load_checkpoint(tmp_path / "run" / LAST).params
    for k in range(LAYERS):
        total = tensors[f"rnn.bias_ih_l{k}"].astype(float) + tensors[f"rnn.bias_hh_l{k}"]
        np.testing.assert_allclose(params[f"rnn.bias_ih_l{k}"], total, rtol=1e-6)
        np.testing.assert_array_equal(params[f"rnn.weight_ih_l{k}"], tensors[f"rnn.weight_ih_l{k}"])


@pytest.mark.parametrize("stored", [np.float16, np.float64])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_other_precisions_are_converted(model, stored, dtype):
    safetensors.numpy.save_file(state_dict(stored), model)
    weights = open_source(model)
    params = fit_params(weights, Config(**vars(config_from(weights, {})) | {"dtype": dtype}))
    expected = "float64" if dtype == "float64" else "float32"
    assert {param.dtype for param in params.values()} == {np.dtype(expected)}
    np.testing.assert_array_equal(params["encoder.weight"], state_dict(stored)["encoder.weight"].astype(expected))


def test_the_values_come_from_the_preset_except_for_the_sizes(model, corpus_dir, tmp_path, capsys):
    write_model(model)
    assert train(*start_from(model, corpus_dir, tmp_path / "run", "--model", "medium")) == 0
    config = load_checkpoint(tmp_path / "run" / LAST).config
    assert (config.model, config.keep_prob, config.hidden_size, config.num_layers) == ("medium", 0.5, H, LAYERS)
    assert f"\nWeights: {model}\nVocabulary: {model.with_name('vocab.txt')}\n" in capsys.readouterr().out


def test_without_vocab_txt_the_words_are_those_of_the_corpus(model, corpus_dir, tmp_path, capsys):
    write_model(model)
    model.with_name("vocab.txt").unlink()
    assert train(*start_from(model, corpus_dir, tmp_path / "run")) == 0
    out = capsys.readouterr().out
    assert "\nVocabulary: that of the corpus, in our order, by decreasing frequency" in out
    assert f"because {model.with_name('vocab.txt')} does not exist\n" in out
    assert (tmp_path / "run/vocab.txt").read_text().split("\n")[:-1] == load_corpus(corpus_dir).vocabulary
    text = tmp_path / "text.txt"
    text.write_text("a b c\n" * 200)
    error = complaint(capsys, *start_from(model, text, tmp_path / "other"))
    assert "has 11 words, the corpus 4; write its words, one per line in the order of the ids, to " in error
    assert not (tmp_path / "other").exists()


def test_words_in_another_order_are_noticed(tmp_path, capsys):
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text("the cat sat on a mat and then left\n" * 300)
    flags = "--hidden-size", "16", "--num-steps", "5", "--batch-size", "4", "--optimizer", "adam"
    assert train("--data", text, "--out", run, *flags, "--learning-rate", "0.02", "--max-max-epoch", "3") == 0
    tensors = safetensors.numpy.load_file(run / LAST)
    model = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, model)  # in our order
    assert train(*start_from(model, text, tmp_path / "same")) == 0
    for name in ("encoder.weight", "decoder.weight", "decoder.bias"):
        tensors[name] = np.ascontiguousarray(tensors[name][::-1])
    safetensors.numpy.save_file(tensors, model)
    error = complaint(capsys, *start_from(model, text, tmp_path / "other"))
    assert "has its words in another order than the corpus, or does not fit it; write its words, one per line" in error
    words = (run / "vocab.txt").read_text().split("\n")[:-1]
    model.with_name("vocab.txt").write_text("".join(word + "\n" for word in reversed(words)))
    assert train(*start_from(model, text, tmp_path / "other")) == 0
    assert perplexity(capsys, tmp_path / "other") == perplexity(capsys, run)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("a\n" * 11, "has the same word twice; write one word per line, in the order of the ids"),
        ("".join(f"{word}\r\n" for word in "abcdefghijk"), "has a carriage return at the end of a line"),
        ("a\nb\n", "has 2 whole lines, but the model 11 words"),
        ("", "has 0 whole lines"),
        ("\xff", "cannot read"),
    ],
)
def test_words_that_cannot_be_those_of_the_model_are_refused(model, corpus_dir, tmp_path, capsys, words, why):
    write_model(model)
    model.with_name("vocab.txt").write_bytes(words.encode("latin-1"))
    assert why in complaint(capsys, *start_from(model, corpus_dir, tmp_path / "run"))


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"encoder.weight": None}, "it has no encoder.weight: it is not PyTorch's word language model"),
        ({"rnn.weight_hh_l0": None}, "it has no rnn.weight_hh_l0"),
        ({"rnn.bias_hh_l1": None}, "it lacks rnn.bias_hh_l1, unlike"),
        ({"rnn.weight_ih_l1": None}, "it lacks rnn.weight_ih_l1"),
        ({"rnn.weight_ih_l0_reverse": zeros(3)}, "it also has rnn.weight_ih_l0_reverse"),
        ({"rnn.weight_hh_l7": zeros(4 * H, H)}, "it lacks rnn.bias_hh_l2"),
        ({"encoder.weight": zeros(V, 20)}, "rnn.weight_ih_l0 has the shape (24, 6), not (24, 20)"),
        (
            {"encoder.weight": zeros(V, 20), "decoder.weight": None},
            "rnn.weight_ih_l0 has the shape (24, 6), not (24, 20)",
        ),
        ({"encoder.weight": zeros(V)}, "encoder.weight has the shape (11,): it is not a matrix"),
        ({"rnn.weight_hh_l0": zeros(3 * H, H)}, "rnn.weight_hh_l0 is 18 by 6: this is a GRU"),
        ({"rnn.weight_hh_l0": zeros(H, H)}, "this is a plain RNN"),
        ({"rnn.weight_hh_l0": zeros(5, H)}, "this is no LSTM"),
        ({"rnn.weight_hh_l0": zeros(0, 0)}, "--hidden-size must be at least 1"),
        ({"rnn.weight_ih_l1": zeros(4 * H, 5)}, "rnn.weight_ih_l1 has the shape (24, 5), not (24, 6)"),
        ({"decoder.bias": zeros(V + 1)}, "decoder.bias has the shape (12,), not (11,)"),
        ({"decoder.bias": zeros(V, dtype=np.int32)}, "decoder.bias is of the type I32; save it as float32"),
        ({"decoder.bias": np.full(V, np.nan, np.float32)}, "decoder.bias contains a value that is not finite"),
        ({"decoder.bias": np.full(V, 1e300)}, "decoder.bias contains a value that is not finite in float32"),
    ],
)
def test_other_models_are_refused_in_one_line(model, corpus_dir, tmp_path, capsys, changes, why):
    write_model(model, **changes)
    error = complaint(capsys, *start_from(model, corpus_dir, tmp_path / "run"))
    assert why in error
    assert str(model) in error
    assert not (tmp_path / "run").exists()


def pickled(path):
    path.write_bytes(b"PK\x03\x04" + pickle.dumps({"a": 1}))


def of_bfloat16(path):
    contents = write_model(path).read_bytes()
    size = int.from_bytes(contents[:8], "little")
    header = json.loads(contents[8 : 8 + size])
    data = b""
    for name, entry in header.items():
        entry["dtype"], begin = "BF16", len(data)
        data += bytes(2 * math.prod(entry["shape"]))
        entry["data_offsets"] = [begin, len(data)]
        header[name] = entry
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "does not exist; give the directory of a run, or a .safetensors file"),
        (pickled, "is not a safetensors file"),
        (of_bfloat16, "is of the type BF16; save it as float32"),
        (lambda path: path.write_bytes(b""), "is not a safetensors file"),
        (lambda path: path.write_bytes(write_model(path).read_bytes()[:-1]), "cannot be used"),
        (lambda path: path.write_bytes((2**62).to_bytes(8, "little") + b"{}"), "its header is larger than"),
        (lambda path: path.write_bytes((2).to_bytes(8, "little") + b"[]"), "its header is not an object"),
        (lambda path: path.mkdir(), "is not the directory of a minilstm run"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(model, corpus_dir, tmp_path, capsys, make, why):
    make(model)
    assert why in complaint(capsys, *start_from(model, corpus_dir, tmp_path / "run"))


def test_nothing_is_unpickled_and_the_command_to_convert_is_told(model, corpus_dir, tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    model.write_bytes(pickle.dumps(Evil()))
    error = complaint(capsys, *start_from(model, corpus_dir, tmp_path / "run"))
    assert "safetensors.torch.save_model(model, 'model.safetensors')" in error
    assert not (tmp_path / "executed").exists()


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_changed_file_is_a_model_or_a_complaint(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("changed") / "model.safetensors"
    contents = bytearray(write_model(path).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(contents) - 1) | st.integers(0, 1500))
        contents[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path.write_bytes(contents)
    with suppress(UserError):
        weights = open_source(path)
        params = fit_params(weights, config_from(weights, {}))
        assert all(np.isfinite(param).all() for param in params.values())


def test_a_state_dict_is_read_in_little_more_than_twice_its_size(tmp_path):
    path = tmp_path / "model.safetensors"
    words = 200_000
    write_model(
        path, **{"encoder.weight": zeros(words, H), "decoder.weight": zeros(words, H), "decoder.bias": zeros(words)}
    )
    tracemalloc.start()
    try:
        weights = open_source(path)
        fit_params(weights, config_from(weights, {}))
        assert tracemalloc.get_traced_memory()[1] < 2.3 * path.stat().st_size
    finally:
        tracemalloc.stop()


def test_a_run_from_a_state_dict_trains_and_resumes(model, corpus_dir, tmp_path):
    write_model(model)
    flags = start_from(model, corpus_dir, tmp_path / "run", "--max-max-epoch", "1")
    whole = [flag if flag != tmp_path / "run" else tmp_path / "whole" for flag in flags]
    whole[whole.index("--max-steps") + 1] = "1000"
    assert train(*flags) == train(*whole) == 0
    shutil.rmtree(model.parent)
    assert train("--resume", "--out", tmp_path / "run") == 0
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert read_metrics(tmp_path / "run")[-1]["split"] == "test"
