"""Closed terminals, closed pipes and a second run in the same directory: nothing is lost or mixed up."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from minilstm.cli import main
from minilstm.config import Config
from minilstm.errors import UserError
from minilstm.runs.checkpoint import load_checkpoint, save_checkpoint
from minilstm.runs.create import removal_order
from minilstm.runs.directory import FILES, HEADING, read_metrics
from minilstm.runs.lock import MARK
from minilstm.runs.signals import stop_signals
from minilstm.step import init_train_state

needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
MINILSTM = [sys.executable, "-m", "minilstm"]
# about two seconds of training
FLAGS = ["--hidden-size", "48", "--num-steps", "5", "--batch-size", "4", "--max-max-epoch", "12", "--device", "cpu"]


@pytest.fixture
def train(corpus_dir, tmp_path):
    """The command of a run into tmp_path/run."""
    return ["train", "--data", str(corpus_dir), "--out", str(tmp_path / "run"), *FLAGS]


def start(arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([*MINILSTM, *arguments], env=environment, **options)


def wait_for_epochs(run, epochs=1):
    """Wait until a run has done a number of epochs."""
    for _ in range(6000):
        if (run / "metrics.csv").exists() and (run / "metrics.csv").read_text().count("valid") >= epochs:
            return
        time.sleep(0.01)
    raise AssertionError("the run does not get on")


def steps_saved(run):
    return load_checkpoint(run / "checkpoint.safetensors").progress.step


def test_a_reader_that_leaves_stops_the_run_which_is_saved(train, tmp_path):
    process = start(train)
    for _ in range(8):
        process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    assert process.wait() == 141
    assert error.count("\n") == 1
    assert f"saved. To continue: minilstm train --resume --out {tmp_path / 'run'}" in error
    assert 0 < steps_saved(tmp_path / "run") < 12 * 99


@pytest.mark.parametrize("unbuffered", ["", "1"])  # "1": each line comes as it is printed, not all at the first step
@pytest.mark.parametrize("lines", [1, 3, 5])
def test_a_reader_that_leaves_before_the_first_step_stops_the_run_too(train, tmp_path, monkeypatch, lines, unbuffered):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    process = start(train, bufsize=0, text=False)  # unbuffered, or this end would read ahead
    for _ in range(lines):
        process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read().decode()
    assert process.wait() == 141
    assert error.count("\n") == 1
    assert f"saved. To continue: minilstm train --resume --out {tmp_path / 'run'}" in error
    assert steps_saved(tmp_path / "run") >= 0


def test_a_stop_at_the_start_of_an_epoch_is_saved(train, tmp_path, monkeypatch, capsys):
    # the first line stops the run
    monkeypatch.setattr(
        "minilstm.runs.recorder.print_or_stop", lambda line, stop_requested: stop_requested.append(line)
    )
    assert main(train) == 130
    assert "Stopped in epoch 1 after 0 steps; saved." in capsys.readouterr().out
    assert steps_saved(tmp_path / "run") == 0


@needs_full
def test_output_to_a_full_disk_stops_the_run_which_is_saved(train, tmp_path):
    with open("/dev/full", "w") as full:
        process = start(train, stdout=full)
        error = process.communicate()[1]
    assert process.returncode == 2
    assert "cannot print: No space left on device" in error
    assert "Traceback" not in error
    assert steps_saved(tmp_path / "run") >= 0


def test_a_terminal_that_is_closed_stops_the_run_which_is_saved(train, tmp_path):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    log = tmp_path / "log"
    with open(log, "w") as file:
        process = start(train, stdin=theirs, stdout=theirs, stderr=file, start_new_session=True)
    os.close(theirs)
    while b"wps" not in os.read(ours, 1000):
        pass
    os.close(ours)  # what is printed now fails; the session has no controlling terminal, so no SIGHUP comes to help
    assert process.wait() == 141
    assert "Traceback" not in log.read_text()
    assert 0 < steps_saved(tmp_path / "run") < 12 * 99


@pytest.mark.usefixtures("signals_heard")
def test_a_hangup_may_come_twice_but_a_second_ctrl_c_interrupts():
    with stop_signals() as stop_requested:
        for _ in range(2):  # both the kernel and the shell may send it
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop_requested == [signal.SIGHUP, signal.SIGHUP]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("signals_heard")
def test_a_hangup_stops_the_run_which_is_saved(train, tmp_path):
    process = start(train)
    wait_for_epochs(tmp_path / "run")
    process.send_signal(signal.SIGHUP)
    output, error = process.communicate()
    assert (process.returncode, error) == (130, "")
    assert "saved. To continue" in output
    assert 99 <= steps_saved(tmp_path / "run") < 12 * 99


def test_under_nohup_a_hangup_stops_nothing(train, tmp_path):
    process = start([*train, "--max-max-epoch", "4"], preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    wait_for_epochs(tmp_path / "run")
    process.send_signal(signal.SIGHUP)
    output, error = process.communicate()
    assert (process.returncode, error) == (0, "")
    assert "Test Perplexity" in output


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_is_no_reason_to_stop(train, tmp_path, closed):
    command = " ".join([*MINILSTM, *train, "--max-steps", "3", closed])
    assert subprocess.run(command, shell=True, capture_output=True).returncode == 0
    assert steps_saved(tmp_path / "run") == 3


@needs_full
@pytest.mark.parametrize("arguments", [["evaluate"], ["generate"]])
def test_results_that_cannot_be_written_are_one_line(train, tmp_path, arguments):
    assert main([*train, "--max-steps", "1"]) == 0
    with open("/dev/full", "w") as full:
        process = start([*arguments, str(tmp_path / "run")], stdout=full)
        error = process.communicate()[1]
    assert process.returncode == 2
    assert "minilstm: error: cannot print: No space left on device" in error
    assert "Traceback" not in error


def test_a_second_run_into_one_directory_is_refused_and_a_killed_one_leaves_no_lock(train, tmp_path, capsys):
    run = tmp_path / "run"
    process = start(train)
    wait_for_epochs(run, 2)  # the first is saved, too, then
    for flags in (["--overwrite"], ["--resume"]):
        arguments = [*train, *flags] if "--overwrite" in flags else ["train", "--resume", "--out", str(run)]
        assert main(arguments) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        assert f"{run} is being trained by another process" in line
    assert process.poll() is None, "the first run was disturbed, or too short for this test"
    process.kill()
    process.wait()
    assert main(["train", "--resume", "--out", str(run), "--max-steps", "0"]) == 0
    assert len(read_metrics(run)) > 0


def test_a_run_can_be_evaluated_and_read_while_it_trains(train, tmp_path):
    run = tmp_path / "run"
    process = start([*train, "--checkpoint-every", "1"])
    wait_for_epochs(run)
    times = 0
    while process.poll() is None and times < 30:
        assert main(["evaluate", str(run), "--split", "valid"]) == 0
        assert main(["generate", str(run), "--words", "5"]) == 0
        read_metrics(run)
        times += 1
    process.kill()
    process.communicate()
    assert times > 1


def test_a_run_killed_before_its_config_json_can_be_begun_again(train, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "lock").write_bytes(MARK)
    (run / "metrics.csv").write_text(HEADING)
    for name in ("vocab.txt", "config.json.0123456789abcdef.unfinished"):
        (run / name).write_text("half")
    assert main([*train, "--max-steps", "1"]) == 0
    assert steps_saved(run) == 1
    assert not list(run.glob("*.unfinished"))


@pytest.mark.slow
@pytest.mark.parametrize("removed", range(len(FILES) + 1))
def test_an_overwrite_killed_at_any_file_can_be_repeated(train, tmp_path, removed):
    run = tmp_path / "run"
    assert main([*train, "--max-max-epoch", "1"]) == 0
    for name in sorted(FILES, key=removal_order)[:removed]:
        (run / name).unlink()
    assert main([*train, "--overwrite", "--max-steps", "2"]) == 0
    assert steps_saved(run) == 2


@pytest.mark.parametrize(
    "names",
    [
        ["vocab.txt"],
        ["lock", "notes.txt"],
        ["lock", "checkpoint.safetensors"],
        ["config.json", "vocab.txt", "metrics.csv"],  # a model of another library
        ["lock", "vocab.txt", "metrics.csv"],
        ["lock", "vocab.txt.unfinished"],
    ],
)
def test_a_directory_with_files_of_somebody_elses_is_left_as_it_is(train, tmp_path, capsys, names):
    run = tmp_path / "run"
    run.mkdir()
    for name in names:
        (run / name).write_text('{"hidden_size": 768, "vocab_size": 30522}')
    before = {path.name: path.read_text() for path in run.iterdir()}
    for flags in ([], ["--overwrite"]):
        assert main([*train, *flags]) == 2
        assert "contains other files" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in run.iterdir()} == before


def test_a_run_with_a_damaged_config_json_can_be_overwritten(train, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*train, "--max-steps", "1"]) == 0
    (run / "config.json").write_text("{")
    assert main(train) == 2
    assert "already contains a run" in capsys.readouterr().err
    assert main([*train, "--overwrite", "--max-steps", "2"]) == 0
    assert steps_saved(run) == 2


def test_a_directory_in_the_place_of_a_file_is_refused_before_anything_is_removed(train, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*train, "--max-steps", "1"]) == 0
    (run / "curve.png").mkdir()
    before = sorted(path.name for path in run.iterdir())
    assert main([*train, "--overwrite"]) == 2
    assert "curve.png is a directory" in capsys.readouterr().err
    assert sorted(path.name for path in run.iterdir()) == before


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced lock"])
def test_a_run_whose_directory_goes_away_ends_and_leaves_the_next_one_alone(train, tmp_path, capsys, how):
    run = tmp_path / "run"
    first = start([*train, "--max-max-epoch", "200"])
    wait_for_epochs(run)
    first.send_signal(signal.SIGSTOP)
    if how == "removed":
        shutil.rmtree(run)
    elif how == "renamed":
        run.rename(tmp_path / "elsewhere")
    else:
        (run / "lock").unlink()
    second = [*train, "--max-max-epoch", "2"] + (["--overwrite"] if how == "replaced lock" else [])
    assert main(second) == 0
    first.send_signal(signal.SIGCONT)
    _, error = first.communicate(timeout=60)
    assert first.returncode == 2
    assert re.search("was removed, renamed or replaced while a run|cannot write .* No such file", error)
    assert error.count("\n") == 1
    assert "Traceback" not in error
    if how == "replaced lock":
        return  # in one directory, the first run may have been in the middle of a write
    assert steps_saved(run) == 2 * 99
    assert [row["epoch"] for row in read_metrics(run) if row["split"] == "valid"] == [1, 2]
    assert not list(run.glob("*.unfinished"))


@pytest.mark.parametrize("kind", ["link", "pipe", "nothing"])
def test_metrics_that_are_replaced_while_a_run_writes_end_it_in_one_line(train, tmp_path, kind):
    run, outside = tmp_path / "run", tmp_path / "outside"
    process = start([*train, "--max-max-epoch", "200"])
    wait_for_epochs(run)
    outside.write_bytes((run / "metrics.csv").read_bytes())
    before = outside.read_bytes()
    (run / "metrics.csv").unlink()
    if kind == "link":
        (run / "metrics.csv").symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(run / "metrics.csv")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert error.count("\n") == 1
    assert re.search(r"cannot (read|write) .*metrics\.csv", error)
    assert outside.read_bytes() == before
    assert (run / "metrics.csv").exists() == (kind != "nothing")


@pytest.mark.parametrize("blas", [["openblas 0.0.0 OtherProcessor"], "\x1b[2J", None])
def test_resuming_with_another_blas_says_that_rounding_differs(train, tmp_path, capsys, blas):
    run = tmp_path / "run"
    assert main([*train, "--max-steps", "1"]) == 0
    resume = ["train", "--resume", "--out", str(run)]
    assert main([*resume, "--max-steps", "2"]) == 0
    assert "rounding" not in capsys.readouterr().out
    machine = json.loads((run / "machine.json").read_text())
    (run / "machine.json").write_text(json.dumps(machine | {"blas": blas}) if blas else "{")
    assert main([*resume, "--max-steps", "3"]) == 0
    out = capsys.readouterr().out
    line = "The BLAS, the kind of processor or the number of processes is another one, or not recorded: "
    assert out.count(line + "results may differ by rounding\n") == 1
    assert "\x1b" not in out
    assert main([*resume, "--max-steps", "4"]) == 0
    assert "rounding" not in capsys.readouterr().out


def test_a_row_that_is_being_written_is_left_out(train, tmp_path):
    run = tmp_path / "run"
    assert main([*train, "--max-max-epoch", "1"]) == 0
    rows = read_metrics(run)
    with open(run / "metrics.csv", "a") as file:
        file.write("2,199,tra")
    assert read_metrics(run) == rows


@pytest.mark.parametrize(
    "name", ["metrics.csv", "checkpoint.safetensors", "curve.png", "curve.png.0123456789abcdef.unfinished"]
)
def test_links_in_a_runs_directory_do_not_lead_out_of_it(train, tmp_path, name):
    run, outside = tmp_path / "run", tmp_path / "outside"
    assert main([*train, "--max-steps", "50"]) == 0
    path = run / name
    contents = path.read_bytes() if path.exists() else b"outside"
    outside.write_bytes(contents)
    path.unlink(missing_ok=True)
    path.symlink_to(outside)
    assert main(["train", "--resume", "--out", str(run), "--max-steps", "120"]) == 0
    assert outside.read_bytes() == contents


def test_a_file_of_the_users_beside_a_picture_is_left_alone(train, tmp_path):
    run = tmp_path / "run"
    assert main([*train, "--max-max-epoch", "1"]) == 0
    (tmp_path / "p.png.unfinished").write_text("mine")
    assert main(["plot", str(run), "-o", str(tmp_path / "p.png")]) == 0
    assert (tmp_path / "p.png.unfinished").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.glob("p.png*")) == ["p.png", "p.png.unfinished"]


def test_a_lock_that_is_a_link_is_refused(train, tmp_path, capsys):
    run = tmp_path / "run"
    assert main([*train, "--max-steps", "1"]) == 0
    (run / "lock").unlink()
    (run / "lock").symlink_to(tmp_path / "outside")
    assert main(["train", "--resume", "--out", str(run)]) == 2
    assert "lock" in capsys.readouterr().err
    assert not (tmp_path / "outside").exists()


def test_runs_of_one_second_and_of_a_clock_that_was_set_back_get_directories_of_their_own(tmp_path, monkeypatch):
    from datetime import datetime

    import minilstm.runs.create as create

    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2030, 1, 1)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(create, "datetime", Stopped)
    names = {create.fresh_directory("toy").name for _ in range(120)}
    assert len(names) == 120
    assert "toy-20300101-000000-120" in names


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_weights_that_are_not_finite_are_not_saved_over_good_ones(tmp_path, value):
    path = tmp_path / "checkpoint.safetensors"
    state = init_train_state(Config(hidden_size=4, batch_size=2), ["a", "b"])
    save_checkpoint(path, state)
    good = path.read_bytes()
    state.params["decoder.bias"][1] = value
    with pytest.raises(UserError, match=r"diverged: after step 0 decoder\.bias is not finite"):
        save_checkpoint(path, state)
    assert path.read_bytes() == good
