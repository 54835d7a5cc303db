"""minilstm as a library: training yields events and has no other side effects."""

import io
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest

import minilstm
from minilstm import Config, UserError, init_train_state, load_corpus, train
from minilstm.commands.backend import select_kernels
from minilstm.device import select_device
from minilstm.evaluate import count_predictions
from minilstm.events import EpochStarted, EpochTrained, Report, SaveDue

CONFIG = Config(hidden_size=8, num_steps=5, batch_size=4, max_epoch=1, max_max_epoch=2)  # 99 windows an epoch


@pytest.fixture
def corpus(corpus_dir):
    return load_corpus(corpus_dir)


def kind(event):
    """A short name for an event."""
    if isinstance(event, Report):
        return event.split
    if isinstance(event, SaveDue):
        return "save, epoch ended" if event.epoch_ended else "save"
    return {EpochStarted: "started", EpochTrained: "trained"}[type(event)]


def test_events_come_in_the_order_in_which_things_happen(corpus):
    state = init_train_state(CONFIG, corpus.vocabulary)
    events = list(train(state, corpus))
    epoch = ["started", *["train"] * 10, "trained", "train", "valid", "save, epoch ended"]
    assert [kind(event) for event in events] == [*epoch, *epoch, "test"]
    assert [event.learning_rate for event in events if isinstance(event, EpochStarted)] == [1.0, 0.5]
    assert [event.epoch for event in events if isinstance(event, EpochStarted | EpochTrained)] == [1, 1, 2, 2]
    assert (state.progress.epoch, state.progress.window, state.progress.step) == (2, 0, 198)
    reports = [event for event in events if isinstance(event, Report)]
    assert all(b.step >= a.step and b.epoch >= a.epoch for a, b in pairwise(reports))
    for report in reports:
        measured = report.learning_rate, report.words_per_second, report.gradient_norm, report.done
        assert all(value is not None and value > 0 for value in measured) == (report.split == "train")
        assert all(value is None for value in measured) == (report.split != "train")
        assert 1 < report.perplexity < 30
    final, trained = events[12], events[11]
    assert (final.step, final.done, final.perplexity) == (99, 1.0, trained.perplexity)
    assert final.tokens == 99 * 5 * 4


def test_at_a_save_the_state_is_the_one_of_so_many_steps(corpus):
    state = init_train_state(CONFIG, corpus.vocabulary)
    saves = []
    for event in train(state, corpus, checkpoint_every=40):
        if isinstance(event, SaveDue):
            saves.append((state.progress.step, event.epoch_ended))
    assert saves == [(40, False), (80, False), (99, True), (120, False), (160, False), (198, True)]


@pytest.mark.parametrize("stop", [0, 1, 57, 99, 150, 197])
def test_max_steps_end_with_a_save_and_a_further_call_goes_on_bit_for_bit(corpus, stop):
    whole, parts = (init_train_state(CONFIG, corpus.vocabulary) for _ in range(2))
    whole_events = list(train(whole, corpus))
    first = list(train(parts, corpus, max_steps=stop))
    assert kind(first[-1]).startswith("save")
    assert parts.progress.step == stop
    rest = list(train(parts, corpus))
    for name, param in whole.params.items():
        np.testing.assert_array_equal(parts.params[name], param)
    assert parts.progress == whole.progress

    def measurements(events):
        return [event._replace(words_per_second=None) for event in events if isinstance(event, Report)]

    assert measurements([*first, *rest]) == measurements(whole_events)


def test_a_requested_stop_ends_training_after_the_step_it_comes_in(corpus):
    state, stop_requested, events = init_train_state(CONFIG, corpus.vocabulary), [], []
    for event in train(state, corpus, stop_requested=stop_requested):
        events.append(event)
        if isinstance(event, Report) and not stop_requested:
            stop_requested.append("enough")
            step = state.progress.step
    assert [kind(event) for event in events] == ["started", "train", "save"]
    assert state.progress.step == step


def test_a_stop_during_the_last_evaluation_reports_no_test(corpus):
    state, stop_requested = init_train_state(replace(CONFIG, max_max_epoch=1), corpus.vocabulary), []
    events = []
    for event in train(state, corpus, stop_requested=stop_requested):
        events.append(kind(event))
        if kind(event) == "save, epoch ended":
            stop_requested.append("enough")
    assert events[-1] == "save, epoch ended"
    assert [kind(event) for event in train(state, corpus)] == ["test"]


def test_nothing_happens_before_the_first_event_is_asked_for_and_a_text_too_short_is_refused(corpus):
    state = init_train_state(CONFIG, corpus.vocabulary)
    train(state, corpus)
    assert state.progress.step == 0
    with pytest.raises(UserError, match=r"too short for one window of 5000 steps; lower num_steps$"):
        next(train(state._replace(config=replace(CONFIG, num_steps=5000)), corpus))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_training_prints_nothing_and_writes_nothing(corpus, tmp_path, monkeypatch, capfd, dtype):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    opened = []

    def heard(function):
        return lambda *arguments, **options: opened.append(arguments) or function(*arguments, **options)

    state = init_train_state(replace(CONFIG, dtype=dtype), corpus.vocabulary)
    with monkeypatch.context() as patch:
        for name, function in (("builtins.open", open), ("io.open", open), ("os.open", os.open)):
            patch.setattr(name, heard(function))
        events = list(train(state, corpus, checkpoint_every=10))
    assert kind(events[-1]) == "test"
    assert opened == []
    assert list(empty.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_progress_bar_is_shown_only_where_it_is_asked_for(corpus, monkeypatch):
    for wanted in (False, True):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        state = init_train_state(CONFIG, corpus.vocabulary)
        list(train(state, corpus, max_steps=40, show_progress=wanted))
        assert bool(re.search(r"epoch 1: .*perplexity [\d.]+", sys.stderr.getvalue())) == wanted
        assert bool(sys.stderr.getvalue()) == wanted


PROGRAM = """
import json, os, sys
from dataclasses import asdict, replace
import minilstm
corpus = minilstm.load_corpus(sys.argv[1])
config = minilstm.Config(hidden_size=8, num_steps=5, batch_size=4, max_max_epoch=1)
state = minilstm.init_train_state(config, corpus.vocabulary)
before = dict(os.environ), sorted(os.listdir("/dev/fd"))
for event in minilstm.train(state, corpus):
    pass
minilstm.evaluate(state.params, config, "test", corpus.splits["test"])
list(minilstm.generate(state.params, config, corpus.vocabulary, num_words=3))
assert (dict(os.environ), sorted(os.listdir("/dev/fd"))) == before
names = "matplotlib", "safetensors", "pooch", "cupy", "torch", "minilstm.cli", "minilstm.runs", "minilstm.gpu"
print(json.dumps([event.split, event.perplexity, [name for name in names if name in sys.modules]]))
"""


def test_training_through_the_library_imports_neither_matplotlib_nor_anything_else_that_it_does_not_need(
    corpus_dir, tmp_path
):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(corpus_dir)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert result.stderr == ""
    split, perplexity, imported = json.loads(result.stdout)  # the one line is all that was printed
    assert split == "test"
    assert 1 < perplexity < 30
    assert imported == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]


def test_every_public_name_is_there_and_documented():
    for name in minilstm.__all__:
        assert name == "PRESETS" or getattr(minilstm, name).__doc__, name


def test_steps_taken_by_hand_leave_the_perplexity_of_an_epoch_right(corpus):
    def first_report(steps_by_hand):
        state = init_train_state(replace(CONFIG, keep_prob=1.0, learning_rate=1e-9), corpus.vocabulary)
        inputs = np.zeros((5, 4), int)
        for _ in range(steps_by_hand):
            minilstm.train_step(state, inputs, inputs, 0.0)
        for h, c in state.carried:
            h[...], c[...] = 0, 0
        return next(event for event in train(state, corpus) if isinstance(event, Report))

    by_hand, alone = first_report(30), first_report(0)
    assert by_hand.perplexity == pytest.approx(alone.perplexity, rel=1e-6)
    assert (by_hand.tokens, by_hand.step) == (alone.tokens, alone.step + 30)


def test_an_interrupt_loses_no_loss_of_a_window_that_is_counted(corpus):
    state = init_train_state(CONFIG, corpus.vocabulary)
    whole = init_train_state(CONFIG, corpus.vocabulary)
    list(train(whole, corpus, max_steps=37))
    events = train(state, corpus, checkpoint_every=37)
    next(event for event in events if isinstance(event, Report))
    with pytest.raises(KeyboardInterrupt):
        events.throw(KeyboardInterrupt)
    assert state.progress.loss > 0
    list(train(state, corpus, max_steps=37))
    assert state.progress == whole.progress


def test_a_corpus_of_another_vocabulary_is_refused(corpus):
    state = init_train_state(CONFIG, ["<eos>", "other"])
    with pytest.raises(UserError, match="another vocabulary"):
        next(train(state, corpus))


def test_training_starts_no_threads_and_overflows_silently(corpus, recwarn):
    before = threading.enumerate()
    state = init_train_state(replace(CONFIG, dtype="float16"), corpus.vocabulary)
    state.loss_scale[0] = 2.0**26
    list(train(state, corpus, max_steps=12))
    assert state.loss_scale[0] < 2.0**26
    assert threading.enumerate() == before
    assert not recwarn.list


@pytest.mark.parametrize("split", ["dev", "Test", "", None, ["test"]])
def test_a_split_that_does_not_exist_is_refused(corpus, split):
    state = init_train_state(CONFIG, corpus.vocabulary)
    ids = corpus.splits["valid"]
    with pytest.raises(UserError, match="give one of 'train', 'valid', 'test'"):
        minilstm.evaluate(state.params, CONFIG, split, ids)
    with pytest.raises(UserError, match="no split "):
        count_predictions(CONFIG, split, ids)


def test_numbers_of_numpy_are_hyperparameters_and_others_are_not():
    config = Config(
        hidden_size=np.int64(8), learning_rate=np.float32(0.5), keep_prob=np.float64(0.25), seed=np.uint8(3)
    )
    assert config == Config(hidden_size=8, learning_rate=0.5, keep_prob=0.25, seed=3)
    assert {type(value) for value in asdict(config).values()} == {int, float, str, bool}
    for wrong in (np.float64(8), np.array([8]), np.bool_(True), True, 8.0, "8"):
        with pytest.raises(UserError, match="hidden_size must be a whole number"):
            Config(hidden_size=wrong)
    for wrong in (np.float32("inf"), np.float64("nan"), "1"):
        with pytest.raises(UserError, match="learning_rate must be a finite number"):
            Config(learning_rate=wrong)


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="there is no device 'gpu'; give one of auto, cpu, cuda"):
        select_device("gpu")
    with pytest.raises(UserError, match="there are no kernels 'fast'; give one of plain, fused"):
        select_kernels("fast", np)
