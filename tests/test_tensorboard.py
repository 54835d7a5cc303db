"""``train --tensorboard``: what the log shows, and that it changes nothing else."""

import os
import signal
import struct
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minilstm import PRESETS, init_train_state, load_corpus
from minilstm.cli import main
from minilstm.events import Report
from minilstm.model import loss_and_gradients, param_shapes, stack_forward, zero_state
from minilstm.runs.checkpoint import load_checkpoint
from minilstm.runs.directory import read_metrics
from minilstm.runs.histograms import BUCKETS, arrays_of, count_values, first_window
from minilstm.runs.lock import locked
from minilstm.runs.tensorboard import tensorboard_log

MINILSTM = [sys.executable, "-m", "minilstm"]
T, B, H, L = 5, 4, 8, 2
FLAGS = [
    *("--num-steps", str(T), "--batch-size", str(B), "--hidden-size", str(H), "--num-layers", str(L)),
    *("--max-max-epoch", "3", "--max-epoch", "1", "--device", "cpu"),
]
needs_tensorboard_x = pytest.mark.skipif(
    find_spec("tensorboardX") is None, reason='tensorboardX is not installed: pip install -e ".[tensorboard]"'
)


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def train(corpus_dir, run):
    """The command of a run with a log into tmp_path/run."""
    return ["train", "--data", str(corpus_dir), "--out", str(run), *FLAGS, "--tensorboard"]


@pytest.fixture
def resume(run):
    return ["train", "--resume", "--out", str(run), "--device", "cpu", "--tensorboard"]


def crc32c(data):
    """CRC-32C bit by bit (RFC 3720, appendix B.4), as TFRecord files mask it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_events(path):
    """The events of a file; a record that a kill has cut off ends it."""
    from tensorboardX.proto.event_pb2 import Event

    data, at = path.read_bytes(), 0
    while len(data) >= at + 12:
        length, length_crc = struct.unpack_from("<QI", data, at)
        record = data[at + 12 : at + 12 + length]
        if len(data) < at + 16 + length:
            break
        assert length_crc == crc32c(data[at : at + 8])
        if len(record) < 2000:  # all others would take too long
            assert struct.unpack_from("<I", data, at + 12 + length) == (crc32c(record),)
        yield Event.FromString(record)
        at += 16 + length


def read_log(run):
    """The points of a log as TensorBoard shows them: {tag: [(step, number or histogram)]}."""
    points = defaultdict(list)
    for path in sorted((run / "tensorboard").iterdir()):
        first, *events = read_events(path)
        assert (first.file_version, first.step) == ("brain.Event:2", 0)
        for event in events:
            assert abs(event.wall_time - time.time()) < 3600
            if event.HasField("session_log"):
                assert event.session_log.status == event.session_log.START
                points = defaultdict(list, {t: [p for p in ps if p[0] < event.step] for t, ps in points.items()})
            for value in event.summary.value:
                shown = value.histo if value.HasField("histo") else value.simple_value
                points[value.tag].append((event.step, shown))
    return {tag: values for tag, values in points.items() if values}


def assert_log_is_that_of_metrics(run):
    """The scalars are the numbers of metrics.csv, and each train row has all histograms."""
    rows, log = read_metrics(run), read_log(run)
    expected = defaultdict(list)
    for row in rows:
        expected[f"perplexity/{row['split']}"].append((row["step"], row["perplexity"]))
        expected[f"loss/{row['split']}"].append((row["step"], np.log(row["perplexity"])))
        for name in ("learning_rate", "gradient_norm", "words_per_second"):
            if row[name] is not None:
                expected[name].append((row["step"], row[name]))
    for tag, points in expected.items():
        assert [step for step, _ in log[tag]] == [step for step, _ in points], tag
        tolerance = {"words_per_second": 1e-4, "gradient_norm": 1e-5}.get(tag, 1e-6)  # the digits in metrics.csv
        np.testing.assert_allclose([n for _, n in log[tag]], [n for _, n in points], tolerance, err_msg=tag)
    histograms = set(log) - set(expected)
    assert histograms == set(log) - {tag for tag in log if isinstance(log[tag][0][1], float)}
    assert len(histograms) == 5 * L + 2 * (3 + 3 * L)
    for tag in histograms:
        assert [step for step, _ in log[tag]] == [row["step"] for row in rows if row["split"] == "train"], tag
    return log


def files_of(run):
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()}


@needs_tensorboard_x
def test_the_log_of_a_run(train, run, capsys):
    assert main([*train, "--max-steps", "250"]) == 0
    descriptors = len(os.listdir("/dev/fd"))
    assert "tensorboard\n" in capsys.readouterr().out, "the command that continues the run lacks --tensorboard"
    assert main(["train", "--resume", "--out", str(run), "--tensorboard", "--device", "cpu"]) == 0
    assert len(os.listdir("/dev/fd")) == descriptors
    output = capsys.readouterr()
    assert f"tensorboard --logdir {run}" in output.out
    assert output.err == ""
    log = assert_log_is_that_of_metrics(run)
    params = load_checkpoint(run / "checkpoint.safetensors").params
    for tag, points in log.items():
        group, _, name = tag.partition("/")
        for _, shown in points if not isinstance(points[0][1], float) else ():
            assert sum(shown.bucket) == shown.num
            assert len(shown.bucket) == len(shown.bucket_limit) == BUCKETS
            assert list(shown.bucket_limit) == sorted(shown.bucket_limit)
            assert shown.bucket_limit[-1] == pytest.approx(shown.max)
            if group in ("lstm_l0", "lstm_l1"):
                assert shown.num == T * B * H
                low, high = {"c": (-T, T), "g": (-1, 1)}.get(name, (0, 1))
                assert low < shown.min < shown.max < high
            elif tag != "gradients/encoder.weight":
                assert shown.num == params[name].size
    for name, param in params.items():  # the last train row and the checkpoint are of one step
        shown = log[f"weights/{name}"][-1][1]
        assert (shown.min, shown.max) == (param.min(), param.max())
        assert shown.sum == pytest.approx(param.sum(dtype=float))
        assert shown.sum_squares == pytest.approx(np.square(param, dtype=float).sum())


@needs_tensorboard_x
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_run_with_a_log_ends_with_the_same_bytes(train, run, optimizer):
    flags = ["--optimizer", optimizer, "--checkpoint-every", "7", "--keep-prob", "0.8"]
    assert main([*train, *flags]) == 0
    with_log = files_of(run)
    assert main([*train[:-1], *flags, "--overwrite"]) == 0
    without = files_of(run)
    assert set(with_log) - set(without) == {"tensorboard/events.out.tfevents.0000000001.minilstm"}
    differing = {name for name in without if with_log[name] != without[name]}
    assert differing <= {"metrics.csv"}  # which has the speed


@needs_tensorboard_x
@pytest.mark.slow
def test_after_a_kill_the_points_after_the_checkpoint_are_replaced(train, run, resume):
    assert main([*train, "--max-steps", "1"]) == 0
    for seconds in (0.05, 0.3):
        process = subprocess.Popen([*MINILSTM, *resume], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while "perplexity" not in (line := process.stdout.readline()) and line:
            pass
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert main(resume) == 0
    assert len(os.listdir(run / "tensorboard")) == 4
    assert_log_is_that_of_metrics(run)


@needs_tensorboard_x
def test_rows_of_the_checkpoints_own_step_are_written_once(train, run, resume):
    # Step 99 is the last of an epoch. Its rows are written after one checkpoint of that step and before another.
    assert main([*train, "--max-steps", "99", "--checkpoint-every", "99"]) == 0
    assert [row["step"] for row in read_metrics(run)][-2:] == [99, 99]
    assert_log_is_that_of_metrics(run)
    assert main([*resume, "--max-steps", "99"]) == 0
    assert_log_is_that_of_metrics(run)
    assert main(resume) == 0
    assert main([*resume, "--max-max-epoch", "4"]) == 0  # the test row is written anew, at a later step
    assert [step for step, _ in read_log(run)["perplexity/test"]][-1] == 4 * 99
    assert main(["train", "--resume", "--out", str(run), "--max-max-epoch", "4", "--device", "cpu"]) == 0
    assert len(os.listdir(run / "tensorboard")) == 4


@needs_tensorboard_x
def test_a_log_begun_later_has_the_earlier_rows(train, run, resume):
    assert main([*train[:-1], "--max-max-epoch", "1"]) == 0
    assert not (run / "tensorboard").exists()
    assert main([*resume, "--max-max-epoch", "2"]) == 0
    rows, log = read_metrics(run), read_log(run)
    for split in ("train", "valid"):
        steps = [row["step"] for row in rows if row["split"] == split]
        assert [step for step, _ in log[f"perplexity/{split}"]] == steps
    assert min(step for step, _ in log["lstm_l0/i"]) == 99  # there are no weights of earlier steps


@needs_tensorboard_x
def test_overwrite_removes_the_log_of_the_earlier_run(train, run):
    assert main([*train, "--max-steps", "50"]) == 0
    assert main([*train, "--overwrite", "--max-max-epoch", "1"]) == 0
    assert_log_is_that_of_metrics(run)
    assert main([*train[:-1], "--overwrite", "--max-steps", "1"]) == 0
    assert not (run / "tensorboard").exists()


@needs_tensorboard_x
@pytest.mark.parametrize(
    "what", ["notes.txt", "events.out.tfevents.1700000000.host", "a directory", "a file", "a link"]
)
@pytest.mark.parametrize("flags", [["--overwrite"], ["--overwrite", "--tensorboard"], ["--resume", "--tensorboard"]])
def test_what_is_not_a_log_is_refused_and_left_alone(train, run, tmp_path, capsys, what, flags):
    assert main([*train, "--max-steps", "50"]) == 0
    outside, log = tmp_path / "outside", run / "tensorboard"
    if what == "a directory":
        (log / "events.out.tfevents.0000000002.minilstm").mkdir()
    elif what in ("a file", "a link"):
        log.rename(outside)
        if what == "a link":
            log.symlink_to(outside)
        else:
            log.write_text("mine")
    else:
        (log / what).write_text("mine")
    if "--overwrite" in flags:
        (run / "lock").unlink()  # it is not made again either
    before, before_outside = files_of(run), outside.exists() and files_of(outside)
    command = [*train[:-1], *flags] if "--overwrite" in flags else ["train", "--out", str(run), *flags]
    capsys.readouterr()
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{log} " in error
    assert "move it away" in error
    after = files_of(run)
    assert {name: text for name, text in after.items() if name != "machine.json"} == {
        name: text for name, text in before.items() if name != "machine.json"
    }
    assert (outside.exists() and files_of(outside)) == before_outside


@needs_tensorboard_x
@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="there are no limits here")
def test_a_log_that_cannot_be_written_ends_with_one_line_and_training_goes_on(train, run):
    import resource

    limits = 120_000, 120_000  # bytes of a file; the others are smaller
    process = subprocess.run(
        [*MINILSTM, *train],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "Test Perplexity" in process.stdout
    (path,) = (run / "tensorboard").iterdir()
    assert process.stderr == f"minilstm: cannot write {path}: File too large; training goes on without this log\n"
    assert path.stat().st_size == limits[0]
    written = [step for step, _ in read_log(run)["perplexity/train"]]
    assert written == [row["step"] for row in read_metrics(run) if row["split"] == "train"][: len(written)]


@needs_tensorboard_x
@pytest.mark.skipif(os.name != "posix", reason="there are no limits here")
def test_a_point_is_in_the_file_at_once_and_one_that_fails_is_reported_once(train, run, shared_corpus_dir, capsys):
    import resource

    assert main([*train, "--max-steps", "20"]) == 0
    state, corpus = load_checkpoint(run / "checkpoint.safetensors"), load_corpus(str(shared_corpus_dir))
    earlier = resource.getrlimit(resource.RLIMIT_FSIZE)
    capsys.readouterr()
    try:
        with locked(run), tensorboard_log(run, state, corpus) as log:
            log(Report(1, 20, "valid", 9.0, 180))
            assert read_log(run)["perplexity/valid"] == [(20, 9.0)]
            *_, path = sorted((run / "tensorboard").iterdir())
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, earlier[1]))
            log(Report(1, 21, "valid", 8.0, 180))
            log(Report(1, 22, "valid", 7.0, 180))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, earlier)
    error = capsys.readouterr().err
    assert error == f"minilstm: cannot write {path}: File too large; training goes on without this log\n"
    assert read_log(run)["perplexity/valid"] == [(20, 9.0)]


@needs_tensorboard_x
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write everywhere")
def test_a_log_that_cannot_be_started_is_one_line(train, run, resume, capsys):
    assert main([*train, "--max-steps", "1"]) == 0
    (run / "tensorboard").chmod(0o500)
    try:
        assert main(resume) == 2
    finally:
        (run / "tensorboard").chmod(0o700)
    assert f"cannot write to {run / 'tensorboard'}: Permission denied" in capsys.readouterr().err


def test_without_tensorboard_x_nothing_is_written(train, run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # to Python that means that there is none
    assert main(train) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'tensorboardX is not installed: pip install "minilstm[tensorboard]"' in error
    assert not run.exists()


@needs_tensorboard_x
def test_a_run_without_the_flag_imports_no_tensorboard_x(train):
    code = "import sys; from minilstm.cli import main; main(sys.argv[1:]); assert 'tensorboardX' not in sys.modules"
    command = [sys.executable, "-c", code, *train[:-1], "--max-steps", "1"]
    assert subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_the_arrays_of_a_window(dtype):
    corpus = load_corpus()
    config = replace(PRESETS["toy"], num_layers=L, hidden_size=H, num_steps=T, batch_size=B, dtype=dtype, keep_prob=0.5)
    state = init_train_state(config, corpus.vocabulary)
    before = {name: param.copy() for name, param in state.params.items()}
    window = first_window(state, corpus)
    np.testing.assert_array_equal(window[0][1:], window[1][:-1])
    assert window[0][:, 0].tolist() == list(corpus.splits["train"][:T])
    arrays = dict(arrays_of(state, window))
    weights = before["decoder.bias"].dtype
    assert {values.dtype for values in arrays.values()} == {weights}
    config = replace(config, dtype=str(weights))
    outputs, final, _ = stack_forward(before, config, window[0], zero_state(config, B))
    for k, (h, c) in enumerate(final):
        i, f, g, o, cells = (arrays[f"lstm_l{k}/{name}"] for name in "ifgoc")
        np.testing.assert_array_equal(cells[-1], c)
        np.testing.assert_array_equal(o[-1] * np.tanh(cells[-1]), h)
        np.testing.assert_array_equal(cells[1:], f[1:] * cells[:-1] + i[1:] * g[1:])
    np.testing.assert_array_equal(o * np.tanh(cells), outputs)
    _, grads, _ = loss_and_gradients(before, config, *window, zero_state(config, B))
    assert set(arrays) == {f"{group}/{name}" for group in ("weights", "gradients") for name in grads} | {
        f"lstm_l{k}/{name}" for k in range(L) for name in "ifgoc"
    }
    for name in param_shapes(config, len(corpus.vocabulary)):
        np.testing.assert_array_equal(state.params[name], before[name], err_msg="the weights were changed")
        np.testing.assert_array_equal(arrays[f"weights/{name}"], before[name])
        if name != "encoder.weight":
            np.testing.assert_array_equal(arrays[f"gradients/{name}"], grads[name])
    dense = grads["encoder.weight"].to_dense(len(corpus.vocabulary))
    used = np.unique(window[0])
    assert arrays["gradients/encoder.weight"].shape == (len(used), H)
    np.testing.assert_array_equal(arrays["gradients/encoder.weight"], dense[used])


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50), st.sampled_from(["float32", "float64"]))
def test_every_value_is_in_a_bucket_near_it(numbers, dtype):
    values = np.array(numbers, dtype)
    shown = count_values(values)
    assert (shown["min"], shown["max"], shown["num"]) == (values.min(), values.max(), len(values))
    assert sum(shown["bucket"]) == len(values)
    limits = np.array(shown["bucket_limit"])
    slack = 1e-5 * (values.max() - values.min()) + 1e-300  # a value at a limit may round into either bucket
    for k, right in enumerate(limits):
        left_of = (values < right - slack).sum()
        assert left_of <= sum(shown["bucket"][: k + 1]) <= (values <= right + slack).sum()


def test_histograms_of_values_that_are_alike_or_far_apart_or_none():
    ones = np.nextafter(np.float32(1), np.float32(2), dtype="float32") - np.zeros(3, "float32")
    assert count_values(np.append(ones, np.float32(1)))["bucket"][:: BUCKETS - 1] == [1, 3]
    assert count_values(np.zeros(7))["bucket"][0] == 7
    assert count_values(np.array([-1e38, 0, 1e38], "float32"))["bucket"][:: BUCKETS - 1] == [1, 1]
    for bad in (np.nan, np.inf, -np.inf, 3e38):
        assert count_values(np.array([0, bad], "float32")) is None
