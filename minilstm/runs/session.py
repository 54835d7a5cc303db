"""Starting, resuming and opening runs. Everything is checked before anything is written."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from minilstm.config import PRESETS, Config
from minilstm.device import use_precision
from minilstm.errors import UserError
from minilstm.files import MAX_TEXT_BYTES, StrPath, names_in
from minilstm.runs.best import mend_best, recall_best
from minilstm.runs.checkpoint import load_checkpoint, on_device, pack_checkpoint, write_checkpoint
from minilstm.runs.create import create_run, remove_unfinished
from minilstm.runs.directory import (
    BEST,
    CHECKPOINT,
    describe_run,
    read_config,
    read_description,
    read_lines,
    read_metrics,
    read_vocabulary,
    rewind_metrics,
    write_description,
)
from minilstm.runs.lock import locked, require_lock
from minilstm.runs.moments import remove_other_moments
from minilstm.runs.together import share
from minilstm.runs.weights import Source, config_from, initial_params, reopen_source
from minilstm.step import TrainState, init_train_state
from minilstm.text.batches import require_length, window_starts, windows_before
from minilstm.text.corpus import Corpus, fingerprint, fingerprints_of_text, load_corpus, unknown_share
from minilstm.text.grammar import oracle_perplexity
from minilstm.text.reading import STREAM
from minilstm.types import ArrayModule

ADAM_LEARNING_RATE = 0.001  # those of the presets are for SGD
CHANGED = "max_max_epoch", "patience"  # fields of Config that another value continues as if it had been there before
WHICH = {"last": CHECKPOINT, "best": BEST}


@contextmanager
def new_run(
    overrides: dict[str, Any],
    data: str | None,
    out: str | None,
    overwrite: bool,
    xp: ArrayModule,
    source: Source | None = None,
) -> Iterator[tuple[Path, TrainState, Corpus, float | None]]:
    """Start a run, which is locked inside the context.

    Parameters
    ----------
    overrides : dict
        The hyperparameters that differ from the preset's, or from the source's; "model" picks the preset.
    data : str or None
        Path of the corpus; None is that of the source if it is a run, or the embedded toy corpus.
    out : str or None
        Directory of the run; None is a new one.
    overwrite : bool
    xp : module
    source : Source, optional
        The weights to start from, in place of random ones.

    Yields
    ------
    run : Path
    state : TrainState
    corpus : Corpus
    floor : float or None
    """
    preset = PRESETS[overrides.get("model", "toy")] if source is None else config_from(source, overrides)
    if overrides.get("optimizer", preset.optimizer) != preset.optimizer == "sgd":
        preset = replace(preset, learning_rate=ADAM_LEARNING_RATE)
    config = replace(preset, **overrides)
    if data is None and source and source.of_run and (source.path.parent / "config.json").exists():
        data = own_text(source.path.parent, read_description(source.path.parent))
    corpus = load_checked_corpus(data, config, source and source.words)
    unknown = source and unknown_share(corpus.splits["test"], corpus.vocabulary)
    other_language = config.min_count > 1 or config.unit != "word" or unknown  # <unk> is none of its words
    floor = None if other_language else oracle_perplexity(corpus)
    use_precision(xp, config.precision)
    params = source and initial_params(source, config, corpus)
    state, init_from = init_train_state(config, corpus.vocabulary, xp, params), source and source.identity()
    packed = pack_checkpoint(state)  # reports bad weights before anything is written
    share(state, corpus, data, source and source.words)
    if source and out and os.path.realpath(out) == os.path.realpath(source.path.parent):
        raise UserError(f"{out} contains the weights to start from; choose another directory")
    del source, params  # a copy of the model, if it was converted
    with create_run(out, config.model, overwrite) as run:
        describe_run(run, config, data and absolute(data), corpus, floor, init_from)
        write_checkpoint(run / CHECKPOINT, packed)
        del packed
        yield run, state, corpus, floor


@contextmanager
def resume_run(
    overrides: dict[str, Any], data: str | None, out: str, xp: ArrayModule
) -> Iterator[tuple[Path, TrainState, Corpus, float | None]]:
    """Continue a run exactly from its checkpoint; parameters and yields as for `new_run`.

    Only ``max_max_epoch`` and ``patience`` may differ from their initial values, to train for longer.
    """
    run = Path(out)
    read_description(run)  # no lock file in a directory without a run
    with locked(run):
        remove_unfinished(run)
        state, corpus, floor = continue_run(run, overrides, data, xp)
        yield run, state, corpus, floor


def continue_run(
    run: Path, overrides: dict[str, Any], data: str | None, xp: ArrayModule
) -> tuple[TrainState, Corpus, float | None]:
    """Check that a run can be continued with these overrides, and rewind its metrics to its checkpoint."""
    description = read_description(run)
    text = data or own_text(run, description)
    data = absolute(data) if data else description["data"]
    started, source, words = CHECKPOINT in names_in(run), None, None
    if started:
        state = load_own_checkpoint(run, description)
        saved = state.config
    elif read_metrics(run):
        raise UserError(f"{run / CHECKPOINT} is missing; restore it, or start again with --overwrite")
    else:  # killed before its first checkpoint
        saved = read_config(description, run)
        source = description["init_from"] and reopen_source(description["init_from"])
    if description["init_from"]:  # the words are not those of the text
        words = read_vocabulary(run, len((source or state).params["decoder.bias"]))
    for name, value in overrides.items():
        if value != getattr(saved, name) and name not in CHANGED:
            flag = "--" + name.replace("_", "-")
            given = f"with {flag} {getattr(saved, name)}" if type(value) is not bool else f"with{'out' * value} {flag}"
            raise UserError(f"{run} was started {given}; omit {flag}, or start another run")
    config = replace(saved, **{name: overrides.get(name, getattr(saved, name)) for name in CHANGED})
    corpus = load_checked_corpus(text, config, words)
    if not started:
        params = source and initial_params(source, config, corpus)
        state = init_train_state(config, corpus.vocabulary, xp, params)
    require_vocabulary(state, corpus.vocabulary, run, run / "vocab.txt" if words else data)
    if read_vocabulary(run, len(corpus.vocabulary)) != corpus.vocabulary:
        raise UserError(f"{run / 'vocab.txt'} is not what the run wrote; restore the original")
    if changed := changed_splits(description, corpus):
        what = f"{' and '.join(changed)} text of {data or 'the toy corpus'}"
        raise UserError(f"the {what} is not that of {run}; restore it, or start another run")
    begun = state.progress.window > 0
    if config.max_max_epoch < (epochs := state.progress.epoch + begun):
        what = f"{epochs} epochs{', the last not complete' * begun}"
        raise UserError(f"{run} already has {what}; raise --max-max-epoch or omit it")
    require_progress(run, state, len(corpus.splits["train"]))
    share(state._replace(config=config), corpus, text, words)
    require_lock(run)
    remove_other_moments(run / CHECKPOINT, state.progress.step)
    recall_best(run, state.progress)
    mend_best(run, state)
    rewind_metrics(run, state.progress.metric_rows)
    if data != description["data"]:
        write_description(run, description | {"data": data})
    use_precision(xp, config.precision)
    return on_device(state._replace(config=config), xp), corpus, description["floor"]


def changed_splits(description: dict[str, Any], corpus: Corpus) -> list[str]:
    """The splits of a corpus whose text is not that of the run."""
    texts = fingerprints_of_text(corpus)
    return [split for split, text in description["text"].items() if text != texts.get(split)]


def own_text(run: StrPath, description: dict[str, Any]) -> str | None:
    """Path of the corpus that a run was trained on; None is the embedded toy corpus."""
    data = description["data"]
    if data == "-":
        raise UserError(f"{run} was trained on standard input; give the text again, with --data -")
    if data is not None and not os.path.exists(data):
        raise UserError(f"{data}, the corpus of {run}, is not there; if it has moved, give its new place with --data")
    return description["data"]


def absolute(data: StrPath) -> str:
    """The path of a corpus from any directory; standard input stays "-"."""
    try:
        return "-" if STREAM.fullmatch(str(data)) else os.path.abspath(os.path.expanduser(data))
    except OSError:
        raise UserError(f"the working directory was removed; give {data} from the root, or go to another one") from None


def require_progress(run: Path, state: TrainState, tokens: int) -> None:
    """Refuse a checkpoint whose step does not match its epoch and window on a text of `tokens` tokens."""
    config, progress = state.config, state.progress
    batch_len = tokens // config.batch_size
    if progress.epoch > len(read_lines(run / "metrics.csv")):  # before work in proportion to the number of epochs
        raise UserError(f"{run / 'metrics.csv'} has fewer rows than its checkpoint says; restore the complete file")
    windows = len(window_starts(config, batch_len, progress.epoch)) - 1
    if (
        progress.window > windows
        or progress.step != windows_before(config, batch_len, progress.epoch) + progress.window
    ):
        raise UserError(f"{run / CHECKPOINT} is damaged (its step does not match its epoch); use another copy")


def load_own_checkpoint(
    run: Path, description: dict[str, Any], name: str = CHECKPOINT, with_moments: bool = True
) -> TrainState:
    """The train state in a checkpoint of a run, if it matches config.json except for what may be CHANGED."""
    state = load_checkpoint(run / name, with_moments)
    changed = {field: getattr(state.config, field) for field in CHANGED}
    if replace(read_config(description, run), **changed) != state.config:
        raise UserError(f"{run}: config.json and {name} are from different runs; restore the original files")
    return state


def load_checked_corpus(data: str | None, config: Config, vocabulary: list[str] | None = None) -> Corpus:
    """Load a corpus, with its own vocabulary or another, and check that a run can train on it and be read again."""
    corpus = load_corpus(data, config.min_count, config.unit, vocabulary)
    require_length(corpus, config)
    if sum(len(word.encode()) + 1 for word in corpus.vocabulary) > MAX_TEXT_BYTES:
        raise UserError(f"the vocabulary has over {MAX_TEXT_BYTES:,} bytes; raise min_count")
    return corpus


def require_vocabulary(state: TrainState, vocabulary: Sequence[str], run: StrPath, where: StrPath | None) -> None:
    """Refuse a vocabulary other than that of the run."""
    if state.vocabulary != fingerprint(vocabulary) or len(vocabulary) != len(state.params["decoder.bias"]):
        raise UserError(
            f"{run} was trained with a vocabulary other than that of {where or 'the toy corpus'}; use the original"
        )


def open_run(run: StrPath, xp: ArrayModule, which: str = "last") -> tuple[TrainState, list[str], dict[str, Any]]:
    """A trained model, that of the "last" epoch or the "best": its train state on the device, vocabulary, description.

    Raises
    ------
    UserError
        If a file is missing or damaged, or the run has no best model yet.
    """
    run = Path(run)
    description = read_description(run)
    if which == "best" and not os.path.lexists(run / BEST):
        raise UserError(f"{run} has no {BEST}, which is written at the end of an epoch; use --which last")
    state = load_own_checkpoint(run, description, WHICH[which], with_moments=False)
    vocabulary = read_vocabulary(run, len(state.params["decoder.bias"]))
    require_vocabulary(state, vocabulary, run, run / "vocab.txt")
    use_precision(xp, state.config.precision)
    return on_device(state, xp), vocabulary, description
