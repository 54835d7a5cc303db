"""Runs that average their weights: their files, evaluation, the best model, stops, kills, and the command line."""

import json
import math
import random
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from kill import assert_same_run, start
from test_checkpoint import as_earlier_format, metadata_of, write_metadata

from minilstm.cli import main
from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.evaluate import evaluate
from minilstm.runs.checkpoint import load_checkpoint, save_checkpoint
from minilstm.runs.directory import read_metrics
from minilstm.runs.metadata import WITHOUT_AVERAGE
from minilstm.runs.weights import open_source
from minilstm.step import begin_averaging, init_train_state, train_step
from minilstm.text.corpus import load_corpus

BEST, LAST = "checkpoint-best.safetensors", "checkpoint.safetensors"
SIZE = (
    *("--hidden-size", "12", "--embedding-size", "8", "--num-layers", "2", "--num-steps", "9", "--batch-size", "4"),
    *("--dtype", "float64", "--device", "cpu"),
)
IDEAS = (
    *("--tie-weights", "--locked-dropout", "--input-keep-prob", "0.9", "--output-keep-prob", "0.8"),
    *("--embedding-keep-prob", "0.9", "--weight-keep-prob", "0.8", "--activation-reg", "2", "--temporal-reg", "1"),
    *("--weight-decay", "1e-4", "--vary-num-steps"),
)
# random words: after a few epochs the validation perplexity rises, and averaging begins
AVERAGE = "--average-after", "1", "--max-max-epoch", "6", "--max-epoch", "6"
SGD = *SIZE, *IDEAS, *AVERAGE, "--learning-rate", "2"
ADAM = *SIZE, *IDEAS, *AVERAGE, "--optimizer", "adam", "--learning-rate", "0.02"
RUNS = {"sgd": SGD, "adam": ADAM}


def run_train(corpus, out, *flags):
    return main(["train", "--data", str(corpus), "--out", str(out), *map(str, flags)])


def resume(run, *flags):
    return main(["train", "--resume", "--device", "cpu", "--out", str(run), *map(str, flags)])


@pytest.fixture(scope="module", params=RUNS)
def finished(request, shared_corpus_dir, tmp_path_factory):
    """The flags and directory of a run that has averaged its weights, not to be changed."""
    run = tmp_path_factory.mktemp("averaged") / "run"
    assert run_train(shared_corpus_dir, run, *RUNS[request.param]) == 0
    return RUNS[request.param], run


def rows_of(run, split):
    return [row for row in read_metrics(run) if row["split"] == split]


def test_the_run_averages_from_the_epoch_that_the_rule_names(finished):
    _, run = finished
    valid = [row["perplexity"] for row in rows_of(run, "valid")]
    begins = next(t for t in range(len(valid)) if t > 1 and valid[t] > min(valid[: t - 1]))
    progress = load_checkpoint(run / LAST).progress
    assert begins < len(valid) - 1  # some epochs follow
    assert progress.average_start == rows_of(run, "valid")[begins]["step"]
    assert progress.valid_perplexities == pytest.approx(valid[: begins + 1], rel=1e-7)


def test_the_checkpoint_is_the_average_and_the_second_file_has_the_last_weights(finished, shared_corpus_dir, capsys):
    _, run = finished
    state = load_checkpoint(run / LAST)
    tensors = safetensors.numpy.load_file(run / LAST)
    last = safetensors.numpy.load_file(run / f"checkpoint-moments-{state.progress.step}.safetensors")
    for name, average in state.average.items():
        np.testing.assert_array_equal(tensors[name], average)
        np.testing.assert_array_equal(last[f"last.{name}"], state.params[name])
        assert (average != state.params[name]).any()
    assert len(last) == len(state.params) * (3 if state.config.optimizer == "adam" else 1)
    np.testing.assert_array_equal(tensors["decoder.weight"], tensors["encoder.weight"])
    corpus = load_corpus(shared_corpus_dir)
    for split in ("test", "valid"):
        of_average, of_last = (
            evaluate(params, state.config, split, corpus.splits[split]) for params in (state.average, state.params)
        )
        assert abs(of_average / of_last - 1) > 1e-3
        assert rows_of(run, split)[-1]["perplexity"] == pytest.approx(of_average, rel=1e-7)
        assert main(["evaluate", str(run), "--split", split]) == 0
        assert f"Perplexity: {of_average:.3f}\n" in capsys.readouterr().out
    loaded = load_checkpoint(run / LAST, with_moments=False)
    np.testing.assert_equal(loaded.params, state.average)
    assert (loaded.average, loaded.moments) == ({}, {})


def test_every_command_reads_the_average(finished, tmp_path, capsys):
    _, run = finished
    without = shutil.copytree(run, tmp_path / "run")
    for path in without.glob("*moments*"):
        path.unlink()
    outputs = []
    for directory in (run, without):
        for command in (
            ["generate", directory, "--words", "30"], ["score", directory, "a b c"],
            ["evaluate", directory, "--cache", "50", "--dynamic", "0.1"], ["evaluate", directory, "--which", "best"],
            ["plot", directory, "-o", tmp_path / "curve.png"],
        ):  # fmt: skip
            assert main([*map(str, command)]) == 0, command
        outputs.append(capsys.readouterr().out.replace(str(directory), "RUN"))
    assert outputs[0] == outputs[1]


def test_the_best_model_is_that_of_its_epoch_whether_averaged_or_not(finished, shared_corpus_dir):
    _, run = finished
    best = load_checkpoint(run / BEST, with_moments=False)
    valid = rows_of(run, "valid")
    at = min(range(len(valid)), key=lambda n: valid[n]["perplexity"])
    assert best.progress.epoch == at + 1
    ids = load_corpus(shared_corpus_dir).splits["valid"]
    assert evaluate(best.params, best.config, "valid", ids) == pytest.approx(valid[at]["perplexity"], rel=1e-7)
    tests = rows_of(run, "test")
    assert tests[-1]["step"] == valid[-1]["step"]
    assert tests[0]["step"] == valid[at]["step"]  # windows of random length: not the same number in each epoch


def test_stopped_at_any_step_and_resumed_a_run_ends_with_the_same_files(finished, shared_corpus_dir, tmp_path):
    flags, run = finished
    progress = load_checkpoint(run / LAST).progress
    begins, end = progress.average_start, progress.step
    for n, stop in enumerate((begins // 2, begins - 1, begins, begins + 1, begins + 30, (begins + end) // 2, end - 1)):
        parts = tmp_path / str(n)
        assert run_train(shared_corpus_dir, parts, *flags, "--max-steps", stop) == 0
        assert load_checkpoint(parts / LAST).progress.step == stop
        assert resume(parts) == 0
        assert_same_run(run, parts)


@pytest.mark.slow
def test_killed_while_it_averages_and_resumed_a_run_ends_with_the_same_files(finished, shared_corpus_dir, tmp_path):
    flags, run = finished
    parts, rng, kills = tmp_path / "parts", random.Random(0), 0
    begins = load_checkpoint(run / LAST).progress.average_start
    assert run_train(shared_corpus_dir, parts, *flags, "--max-steps", begins - 5) == 0
    for _ in range(10):
        arguments = ["train", "--resume", "--out", parts, "--device", "cpu", "--checkpoint-every", "7"]
        process = start(arguments, f"line:{rng.randint(1000, 9000)}")
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills >= 3
    assert begins < load_checkpoint(parts / LAST).progress.step  # some of them in the middle of averaging
    assert resume(parts) == 0
    assert_same_run(run, parts)


def test_a_longer_run_goes_on_averaging(finished, shared_corpus_dir, tmp_path):
    flags, run = finished
    longer, whole = shutil.copytree(run, tmp_path / "longer"), tmp_path / "whole"
    assert resume(longer, "--max-max-epoch", 8) == 0
    assert run_train(shared_corpus_dir, whole, *flags, "--max-max-epoch", 8) == 0
    for path in (longer / BEST, whole / BEST):  # with the max_max_epoch of their time
        path.unlink()
    assert_same_run(whole, longer)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.unlink(), "is missing: training cannot continue without "),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"x"), "its sha256 is not the one in"),
        (lambda path: path.write_bytes(b""), "its sha256 is not the one in"),
    ],
)
def test_without_the_last_weights_a_run_cannot_go_on(finished, tmp_path, capsys, change, why):
    flags, run = finished
    copy = shutil.copytree(run, tmp_path / "copy")
    (path,) = copy.glob("*moments*")
    change(path)
    before = (copy / "metrics.csv").read_bytes()
    assert resume(copy, "--max-max-epoch", 8) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert why in error
    if "adam" not in flags and "missing" in why:
        assert "without the weights of the last step; restore it" in error
    assert (copy / "metrics.csv").read_bytes() == before
    assert main(["evaluate", str(copy)]) == 0


# checkpoints


CONFIG = Config(
    hidden_size=7, embedding_size=5, num_layers=2, tie_weights=True, average_after=1, batch_size=3, num_steps=4,
    dtype="float64",
)  # fmt: skip


def averaged(config, steps=3):
    state = init_train_state(config, [f"w{n}" for n in range(9)])
    rng = np.random.default_rng(0)
    train_step(state, *rng.integers(9, size=(2, 4, 3)), 0.1)
    begin_averaging(state)
    state.progress.epoch, state.progress.valid_perplexities[:] = 3, [9.0, 8.0, 8.5]
    for _ in range(steps):
        train_step(state, *rng.integers(9, size=(2, 4, 3)), 0.1)
    return state


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_average_comes_back_bit_for_bit(tmp_path, optimizer, dtype):
    config = Config(**vars(CONFIG) | {"optimizer": optimizer, "dtype": dtype})
    state = averaged(config)
    save_checkpoint(tmp_path / LAST, state)
    again = load_checkpoint(tmp_path / LAST)
    assert again.config == config
    assert again.progress == state.progress
    for part in ("params", "average", "moments"):
        mine, theirs = getattr(again, part), getattr(state, part)
        assert list(mine) == list(theirs)
        np.testing.assert_equal(mine, theirs)
    save_checkpoint(tmp_path / "again.safetensors", again)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / LAST).read_bytes()


def of(name, value):
    return lambda tensors, metadata: metadata["progress"].update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        of("average_start", 0), of("average_start", -1), of("average_start", 5), of("average_start", 1.0),
        of("average_start", "1"), of("average_start", True), of("average_start", None),
        of("valid_perplexities", None), of("valid_perplexities", {}), of("valid_perplexities", "abc"),
        of("valid_perplexities", [1]), of("valid_perplexities", [-1.0]), of("valid_perplexities", [math.nan]),
        of("valid_perplexities", [1e306]), of("valid_perplexities", [2.0] * 4),
        lambda tensors, metadata: metadata["config"].update(average_after=0),
        lambda tensors, metadata: metadata["config"].update(tie_weights=False),
        lambda tensors, metadata: metadata["config"].update(embedding_size=4),
        lambda tensors, metadata: metadata["progress"].pop("average_start"),
        lambda tensors, metadata: metadata["progress"].pop("valid_perplexities"),
        lambda tensors, metadata: metadata.update(format=WITHOUT_AVERAGE),
        lambda tensors, metadata: metadata.update(moments=None),
        lambda tensors, metadata: tensors.pop("decoder.weight"),
        lambda tensors, metadata: tensors.pop("encoder.weight"),
        lambda tensors, metadata: tensors.update({"decoder.weight": tensors["decoder.weight"] + 1}),
        lambda tensors, metadata: tensors.update({"decoder.weight": tensors["decoder.weight"][:, :4]}),
    ],
)  # fmt: skip
def test_an_averaged_checkpoint_that_no_run_writes_is_refused(tmp_path, change):
    path = tmp_path / LAST
    save_checkpoint(path, averaged(CONFIG))
    tensors, metadata = safetensors.numpy.load_file(path), metadata_of(path)
    change(tensors, metadata)
    write_metadata(path, {name: np.ascontiguousarray(x) for name, x in tensors.items()}, metadata)
    with pytest.raises(UserError, match="is damaged") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("sizes", [{"hidden_size": 2**28, "num_layers": 100}, {"embedding_size": 2**28}])
def test_the_sizes_of_a_forged_checkpoint_take_no_memory(tmp_path, sizes):
    import tracemalloc

    path = tmp_path / LAST
    save_checkpoint(path, averaged(CONFIG))
    tensors, metadata = safetensors.numpy.load_file(path), metadata_of(path)
    metadata["config"].update(sizes)
    write_metadata(path, tensors, metadata)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="is damaged"):
            load_checkpoint(path)
        assert tracemalloc.get_traced_memory()[1] < 1e7
    finally:
        tracemalloc.stop()


def test_an_epoch_that_a_forged_checkpoint_claims_takes_no_time(shared_corpus_dir, tmp_path, capsys):
    run = tmp_path / "run"
    assert run_train(shared_corpus_dir, run, *SIZE, "--vary-num-steps", "--max-max-epoch", 2**52, "--max-steps", 9) == 0
    path = run / LAST
    tensors, metadata = safetensors.numpy.load_file(path), metadata_of(path)
    metadata["progress"].update(epoch=2**40, step=2**52)
    write_metadata(path, tensors, metadata)
    capsys.readouterr()
    assert resume(run) == 2
    assert "has fewer rows than its checkpoint says" in capsys.readouterr().err


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_of_the_format_before_goes_on_as_if_it_were_of_this_one(shared_corpus_dir, tmp_path, optimizer):
    size = ["--hidden-size", 8, "--num-steps", 5, "--batch-size", 4, "--max-max-epoch", 2, "--device", "cpu"]
    for name in ("one", "other"):
        flags = [*size, "--optimizer", optimizer, "--max-steps", 150]
        assert run_train(shared_corpus_dir, tmp_path / name, *flags) == 0
    as_earlier_format(tmp_path / "other" / LAST, WITHOUT_AVERAGE)
    as_earlier_format(tmp_path / "other" / BEST, WITHOUT_AVERAGE)
    assert main(["evaluate", str(tmp_path / "other")]) == 0
    for name in ("one", "other"):
        assert resume(tmp_path / name) == 0
    assert load_checkpoint(tmp_path / "other" / LAST).progress == load_checkpoint(tmp_path / "one" / LAST).progress
    assert (tmp_path / "one" / LAST).read_bytes() == (tmp_path / "other" / LAST).read_bytes()


# tied models to and from PyTorch


def word_language_model(torch, V, H, tied=True):
    """PyTorch's word-language-model example, with --tied."""

    class WordLanguageModel(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = torch.nn.Embedding(V, H)
            self.rnn = torch.nn.LSTM(H, H, num_layers=2)
            self.decoder = torch.nn.Linear(H, V)
            if tied:
                self.decoder.weight = self.encoder.weight

        def forward(self, ids):
            return self.decoder(self.rnn(self.encoder(ids))[0])

    return WordLanguageModel()


def torch_perplexity(torch, model, ids):
    ids = torch.tensor(np.asarray(ids, dtype=np.int64))
    with torch.no_grad():
        return math.exp(torch.nn.functional.cross_entropy(model(ids[:-1, None])[:, 0], ids[1:]))


def test_a_tied_checkpoint_loads_into_pytorchs_tied_model_by_name(shared_corpus_dir, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import safetensors.torch

    run = tmp_path / "run"
    flags = "--hidden-size", 8, "--num-layers", 2, "--num-steps", 5, "--batch-size", 4, "--max-max-epoch", 1
    assert run_train(shared_corpus_dir, run, *flags, "--tie-weights", "--forget-bias", 0.3, "--device", "cpu") == 0
    model = word_language_model(torch, 11, 8)
    model.load_state_dict(safetensors.torch.load_file(run / LAST), strict=True)
    assert model.decoder.weight is model.encoder.weight
    state = load_checkpoint(run / LAST)
    np.testing.assert_array_equal(model.decoder.weight.detach().numpy(), state.params["encoder.weight"])
    ids = load_corpus(shared_corpus_dir).splits["test"]
    expected = torch_perplexity(torch, model, ids)
    assert evaluate(state.params, state.config, "test", ids) == pytest.approx(expected, rel=1e-5)
    assert rows_of(run, "test")[-1]["perplexity"] == pytest.approx(expected, rel=1e-5)


WORDS = ["<eos>", *"abcdefghij"]


@pytest.mark.parametrize("how", ["decoder.weight left out", "both written", "save_model"])
def test_a_run_starts_from_pytorchs_tied_model(shared_corpus_dir, tmp_path, capsys, how):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    import safetensors.torch

    torch.manual_seed(0)
    model, path = word_language_model(torch, 11, 6), tmp_path / "model.safetensors"
    for param in model.parameters():
        torch.nn.init.uniform_(param, -0.7, 0.7)
    (tmp_path / "vocab.txt").write_text("".join(word + "\n" for word in WORDS))
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if how == "save_model":
        safetensors.torch.save_model(model, str(path))
    else:
        if how == "decoder.weight left out":
            del tensors["decoder.weight"]
        safetensors.torch.save_file(tensors, path)
    source = open_source(path)
    assert (source.config.tie_weights, source.config.embedding_size, source.config.hidden_size) == (True, 0, 6)
    flags = "--init-from", path, "--num-steps", 5, "--batch-size", 4, "--device", "cpu"
    assert run_train(shared_corpus_dir, tmp_path / "run", *flags, "--max-steps", 0, "--embedding-size", 6) == 0
    ids = load_corpus(shared_corpus_dir, vocabulary=WORDS).splits["test"]
    state = load_checkpoint(tmp_path / "run" / LAST)
    assert "decoder.weight" not in state.params
    expected = torch_perplexity(torch, model, ids)
    assert evaluate(state.params, state.config, "test", ids) == pytest.approx(expected, rel=1e-5)
    assert run_train(shared_corpus_dir, tmp_path / "other", *flags, "--max-max-epoch", 1) == 0
    capsys.readouterr()
    for flag, why in (
        ("--no-tie-weights", "--tie-weights is True in"),
        ("--embedding-size=3", "--embedding-size is 6"),
    ):
        assert run_train(shared_corpus_dir, tmp_path / "no", *flags, flag) == 2
        error = capsys.readouterr().err
        assert why in error
        assert error.count("\n") == 1


def test_a_run_starts_from_a_model_with_another_embedding_size(shared_corpus_dir, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "model.safetensors"
    shapes = {"encoder.weight": (11, 4), "decoder.weight": (11, 6), "decoder.bias": (11,)}
    for k, D in enumerate((4, 6)):
        shapes |= {f"rnn.weight_ih_l{k}": (24, D), f"rnn.weight_hh_l{k}": (24, 6)}
        shapes |= {f"rnn.bias_ih_l{k}": (24,), f"rnn.bias_hh_l{k}": (24,)}
    tensors = {name: rng.uniform(-0.3, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    safetensors.numpy.save_file(tensors, path)
    (tmp_path / "vocab.txt").write_text("".join(word + "\n" for word in WORDS))
    flags = "--init-from", path, "--num-steps", 5, "--batch-size", 4, "--device", "cpu", "--max-steps", 3
    assert run_train(shared_corpus_dir, tmp_path / "run", *flags) == 0
    config = load_checkpoint(tmp_path / "run" / LAST).config
    assert (config.embedding_size, config.hidden_size, config.tie_weights) == (4, 6, False)


def test_a_run_starts_from_the_average_of_another(finished, shared_corpus_dir, tmp_path):
    _, run = finished
    assert main(["train", "--init-from", str(run), "--out", str(tmp_path / "new"), "--max-steps", "0"]) == 0
    old, new = load_checkpoint(run / LAST), load_checkpoint(tmp_path / "new" / LAST)
    np.testing.assert_equal(new.params, old.average)
    assert (new.progress.average_start, new.average, new.progress.valid_perplexities) == (None, {}, [])
    assert not list((tmp_path / "new").glob("*moments*")) or new.config.optimizer == "adam"
    assert main(["train", "--resume", "--out", str(tmp_path / "new"), "--max-steps", "30", "--device", "cpu"]) == 0


# the command line


NEW_FLAGS = (
    "--tie-weights", "--embedding-size", "--locked-dropout", "--input-keep-prob", "--output-keep-prob",
    "--embedding-keep-prob", "--weight-keep-prob", "--activation-reg", "--temporal-reg", "--weight-decay",
    "--average-after", "--vary-num-steps",
)  # fmt: skip


def test_help_names_every_idea(capsys):
    assert main(["train", "--help"]) == 0
    out = capsys.readouterr().out
    for flag in NEW_FLAGS:
        assert f"{flag} " in out or f"{flag}," in out, flag


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--embedding-size", "-1"], "--embedding-size must be at least 0, not -1"),
        (["--embedding-size", str(2**28 + 1)], "--embedding-size must be at most"),
        (["--input-keep-prob", "1.5"], "--input-keep-prob must be at most 1, not 1.5"),
        (["--output-keep-prob", "-0.1"], "--output-keep-prob must be at least 0"),
        (["--embedding-keep-prob", "0"], "--embedding-keep-prob must be greater than 0"),
        (["--weight-keep-prob", "0"], "--weight-keep-prob must be greater than 0"),
        (["--weight-keep-prob", "nan"], "--weight-keep-prob must be a finite number"),
        (["--activation-reg", "-1"], "--activation-reg must be at least 0"),
        (["--temporal-reg", "inf"], "--temporal-reg must be a finite number"),
        (["--weight-decay=-1e-6"], "--weight-decay must be at least 0"),
        (["--weight-decay", "1", "--learning-rate", "1"], "--weight-decay must be below 1 / --learning-rate, 1"),
        (["--average-after", "-2"], "--average-after must be at least 0"),
        (["--average-after", "2.5"], "--average-after"),
        (["--tie-weights", "yes"], "yes"),
    ],
)
def test_bad_values_are_refused_in_one_line(tmp_path, capsys, flags, why):
    try:
        status = main(["train", "--out", str(tmp_path / "run"), *flags])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.rstrip("\n").count("\n") == 0
    assert not (tmp_path / "run").exists()


def test_a_run_keeps_its_ideas(finished, tmp_path, capsys):
    _, run = finished
    copy = shutil.copytree(run, tmp_path / "copy")
    for flags in (["--average-after", "3"], ["--no-tie-weights"], ["--weight-decay", "0"], ["--no-vary-num-steps"]):
        capsys.readouterr()
        assert resume(copy, *flags) == 2
        error = capsys.readouterr().err
        assert f"{copy} was started with" in error
        assert error.count("\n") == 1


def test_the_toy_run_averages_on_the_command_line(tmp_path):
    flags = "--average-after", "2", "--max-max-epoch", "5", "--hidden-size", "8", "--learning-rate", "1e-9"
    command = [sys.executable, "-m", "minilstm", "train", "--out", str(tmp_path / "run"), "--device", "cpu", *flags]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\nTest Perplexity: " in result.stdout
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["average_after"] == 2
    assert main(["evaluate", str(tmp_path / "run")]) == 0


@pytest.mark.parametrize("flags", [(), IDEAS])
def test_a_log_for_tensorboard_has_histograms_of_a_tied_model(shared_corpus_dir, tmp_path, flags):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    run = tmp_path / "run"
    size = (*SIZE, "--max-max-epoch", 1)
    assert run_train(shared_corpus_dir, run, *size, *flags, "--tensorboard") == 0
    assert list(run.rglob("events.out.tfevents*"))
