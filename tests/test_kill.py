"""After kills, full disks and read-only directories, a resumed run ends like an uninterrupted one. See also kill.py."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from kill import (
    DEATHS,
    KINDS,
    TRAIN,
    assert_same_run,
    changed,
    possible_kinds,
    read_only,
    small_disk,
    start,
    torture,
    write_corpus,
)

from minilstm.runs.moments import is_moments_file


@pytest.mark.slow
def test_killed_or_refused_at_random_and_resumed_a_run_ends_bit_for_bit_the_same(tmp_path):
    tally, runs, skipped = torture(tmp_path, kills=6)
    assert sum(tally[kind, "killed"] for kind in KINDS) == 6
    assert runs > 0
    for reason in skipped:
        print("skipped:", reason)


@pytest.mark.slow
def test_killed_between_any_two_changes_of_its_directory_an_adam_run_ends_bit_for_bit_the_same(tmp_path):
    train = ["--data", write_corpus(tmp_path / "corpus"), *TRAIN, "--max-max-epoch", "2", "--hidden-size", "4"]
    whole, number, kept = tmp_path / "whole", 1, set()
    assert start(["train", *train, "--out", whole]).wait() == 0
    while True:
        run = tmp_path / f"run{number}"
        status = start(["train", *train, "--out", run], f"change:{number}").wait()
        if status == 0:  # it was done earlier
            break
        assert status in DEATHS
        names = {path.name for path in run.iterdir()}
        kept.add(("checkpoint.safetensors" in names, sum(map(is_moments_file, names))))
        resume = ["--resume", "--device", "cpu"] if "config.json" in names else train
        process = start(["train", *resume, "--out", run])
        assert process.communicate()[1] == ""
        assert_same_run(whole, run)
        number += 1
    # before the first checkpoint; its moments alone; a checkpoint with its moments; with those of another step, too
    assert kept == {(False, 0), (False, 1), (True, 1), (True, 2)}


def wait_until(condition):
    """True as soon as the condition holds; False if it does not within 20 seconds."""
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.1)
    return False


def is_writable(directory):
    with suppress(OSError):
        (directory / "probe").touch()
        (directory / "probe").unlink()
        return True
    return False


def undo_by_hand(directory):
    """So that a failure of these tests leaves nothing, either."""
    for command in (["chattr", "-i"], ["chmod", "755"], ["umount", "-l"]):
        with suppress(OSError):
            subprocess.run([*command, directory], capture_output=True)


@pytest.fixture
def inside(tmp_path, signals_heard):
    """Start a process that is inside one of kill.py's contexts; afterwards undo by hand what the context has not."""
    processes = []

    def start(context):
        code = (
            f"import sys, time, kill, pathlib\nwith kill.{context}(pathlib.Path(sys.argv[1])):\n print(1, flush=True)"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code + "\n time.sleep(60)", tmp_path],
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        processes.append(process)
        assert process.stdout.readline() == b"1\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
    undo_by_hand(tmp_path)
    undo_by_hand(tmp_path / "disk")


SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL


@pytest.mark.parametrize("number", SIGNALS)
def test_no_directory_stays_read_only_after(inside, tmp_path_factory, tmp_path, number):
    if "read-only" not in possible_kinds(tmp_path_factory.mktemp("base"))[0]:
        pytest.skip("this user cannot make a directory read-only")
    process = inside("read_only")
    assert not is_writable(tmp_path)
    os.killpg(process.pid, number)
    assert wait_until(lambda: is_writable(tmp_path))


@pytest.mark.parametrize("number", SIGNALS)
def test_no_disk_stays_mounted_after(inside, tmp_path_factory, tmp_path, number):
    with small_disk(tmp_path_factory.mktemp("base")) as disk:
        if disk is None:
            pytest.skip("this user cannot mount a disk")
    process = inside("small_disk")
    assert os.path.ismount(tmp_path / "disk")
    os.killpg(process.pid, number)
    assert wait_until(lambda: not os.path.ismount(tmp_path / "disk"))


def test_a_change_is_undone_after_an_exception_and_reported_if_impossible(tmp_path):
    file = tmp_path / "file with 'quotes'"
    with suppress(KeyboardInterrupt), changed(file, "touch", "rm"):
        assert file.exists()
        raise KeyboardInterrupt
    assert not file.exists()
    with pytest.raises(OSError, match="not possible"), changed(file, "false", "touch"):
        pass
    assert not file.exists()
    with pytest.raises(OSError, match="cannot be undone"), changed(file, "touch", "false"):
        pass
    try:
        with suppress(KeyboardInterrupt), read_only(tmp_path):
            raise KeyboardInterrupt
        assert is_writable(tmp_path)
    except OSError:
        pytest.skip("this user cannot make a directory read-only")
    finally:
        undo_by_hand(tmp_path)


@pytest.mark.usefixtures("signals_heard")
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_kill_py_leaves_nothing_when_it_is_interrupted(tmp_path, number):
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("kill.py"), "--kills", "1000"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert wait_until(lambda: list(tmp_path.glob("*/probe")))  # the uninterrupted run is done
        time.sleep(3)
        os.kill(process.pid, number)
        assert process.wait(60) != 0
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        for directory in tmp_path.glob("*/*"):
            undo_by_hand(directory)
