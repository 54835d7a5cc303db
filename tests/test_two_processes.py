"""The two processes of lesson 13: the result of one, bytes by the formula, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from minilstm_lessons import two_processes
from minilstm_lessons.lesson13 import count_dense, distance, flat, scaling, steps_to
from minilstm_lessons.two_processes import Job, train_alone, train_in_shares, train_together

from minilstm.config import PRESETS, Config
from minilstm.masks import draw_masks
from minilstm.optim import clip_by_global_norm
from minilstm.text.corpus import load_corpus

CONFIG = Config(hidden_size=8, num_steps=5, batch_size=6, keep_prob=0.7, dtype="float64", max_grad_norm=0.5)
JOB = Job(CONFIG, 20, np.random.default_rng(0).integers(20, size=(12, 2, 5, 6)), 1.0)


def apart(one, other):
    """The relative distance of the weights of two results."""
    return float(distance(flat(one.params)[None], flat(other.params)[None])[0])


def test_two_processes_train_what_one_trains_and_hold_the_same_weights():
    kept = []
    one, two = train_alone(JOB), train_together(JOB, watch=lambda params: kept.append(flat(params)))
    assert apart(two, one) < 1e-12
    assert two.digests[0] == two.digests[1]
    assert len(kept) == 12
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-12)
    np.testing.assert_allclose(two.norms, one.norms, rtol=1e-12)
    shares = train_in_shares(JOB)
    assert all(np.array_equal(shares.params[name], two.params[name]) for name in two.params)


def test_through_the_pipe_come_the_bytes_of_the_formula():
    others = len(np.unique(JOB.windows[-1, 0][:, 3:]))  # words that the other process has read
    expected = 8 * (count_dense(CONFIG, 20) + 2) + others * (8 * 8 + 8) + 8
    assert 0 <= train_together(JOB).received - expected <= 2 * 2 * 8  # a row of odd length has one more number


def test_the_formula_gives_what_the_project_measured():
    for name, megabytes in (("small", 10.7), ("medium", 53.7), ("large", 205.5)):
        preset, measured = PRESETS[name], scaling(name)
        dense = count_dense(preset, 10_000)
        assert measured["received"] == 4 * (dense + 2) + measured["rows"] * (4 * preset.hidden_size + 8) + 8
        assert round(measured["received"] / 1e6, 1) == megabytes


def test_unequal_shares_need_weights_and_the_mistakes_of_the_lesson_change_the_result():
    one = train_alone(JOB)

    def plain_mean(shares, weights):
        return two_processes.mean_of(shares, (0.5, 0.5))

    def clip_each(shares, weights):
        return two_processes.mean_of([clip_by_global_norm(grads, 0.5)[0] for grads in shares], weights)

    def own_masks(config, step, inputs, share, vocab_size):
        return draw_masks(config, step, inputs[:, share], vocab_size)

    assert apart(train_in_shares(JOB, cut=4), one) < 1e-12
    for mistake in ({"cut": 4, "average": plain_mean}, {"average": clip_each}, {"masks_of": own_masks}):
        assert apart(train_in_shares(JOB, **mistake), one) > 1e-3


def test_without_processes_both_shares_are_computed_in_one(monkeypatch, capsys):
    two = train_together(JOB)
    monkeypatch.setattr(sys, "platform", "emscripten")
    monkeypatch.setattr(subprocess, "Popen", None)
    result = train_together(JOB)
    assert all(np.array_equal(result.params[name], two.params[name]) for name in two.params)
    assert (
        capsys.readouterr().out
        == "no second process can be started here: both shares are computed in this one, in turn\n"
    )


def test_a_second_process_that_fails_is_reported_in_one_line():
    with pytest.raises(ChildProcessError, match="the second process has ended: IndexError: an id is outside"):
        train_together(JOB._replace(windows=np.where(np.arange(6) > 2, 99, JOB.windows)))


def child_of(process):
    """The only child of a process, by its id."""
    path = f"/proc/{process.pid}/task/{process.pid}/children"
    for _ in range(200):
        with open(path) as file:
            children = file.read().split()
        if children:
            return int(children[0])
        time.sleep(0.05)
    raise AssertionError("no second process was started")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the second process in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_is_left_when_the_first_is_stopped(number):
    code = (
        "import numpy as np; from test_two_processes import JOB, train_together\n"
        "print('ready', flush=True)\n"
        "train_together(JOB._replace(windows=np.tile(JOB.windows, (10000, 1, 1, 1))))"
    )
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path},
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    try:
        assert process.stdout.readline() == b"ready\n"
        child = child_of(process)
        time.sleep(2)  # some steps
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        process.wait(20)
        for _ in range(200):
            try:
                os.kill(child, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)
        raise AssertionError("the second process is still there")
    finally:
        process.kill()
        process.stdout.close()


def test_steps_to_a_target_stop_at_the_limit():
    corpus, config = load_corpus(), replace(PRESETS["toy"], hidden_size=8)
    assert steps_to(300.0, config, corpus, 1.0, limit=40) < 40
    assert steps_to(1.0, config, corpus, 1.0, limit=20) == 20
