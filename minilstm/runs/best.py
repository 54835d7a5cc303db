"""The best model of a run: checkpoint-best.safetensors, of the epoch with the lowest validation perplexity so far.

It has the bytes of checkpoint.safetensors at the end of that epoch and is written right after it. After a kill between
the two, `mend_best` writes it at the next resume. Nothing else needs it: a run goes on without it if it is removed.
"""

import os
from contextlib import suppress
from pathlib import Path

from minilstm.errors import UserError
from minilstm.files import atomic_write, read_bytes
from minilstm.progress import Progress, at_best, end_epoch
from minilstm.runs.checkpoint import load_checkpoint, pack_checkpoint
from minilstm.runs.directory import BEST, read_metrics
from minilstm.step import TrainState


def recall_best(run: Path, progress: Progress) -> None:
    """Fill in the best epoch of a run of an earlier version, from its metrics.csv; in place."""
    if progress.best_epoch or not progress.epoch:
        return
    recalled = Progress()
    for row in read_metrics(run)[: progress.metric_rows]:
        if row["split"] == "valid":
            end_epoch(recalled, row["perplexity"])
    if recalled.epoch != progress.epoch:
        raise UserError(f"{run / 'metrics.csv'} does not have a valid row for each epoch; restore the complete file")
    progress.best_epoch, progress.best_perplexity = recalled.best_epoch, recalled.best_perplexity
    progress.plateaus = recalled.plateaus


def mend_best(run: Path, state: TrainState) -> None:
    """Write the best model if a kill has prevented that, and otherwise check that it is the run's.

    Raises
    ------
    UserError
        As for `load_best`, unless it is missing.
    """
    path = run / BEST
    if at_best(state.progress):
        contents = pack_checkpoint(state).checkpoint
        with suppress(OSError):
            if read_bytes(path, len(contents)) == contents:
                return
        atomic_write(path, contents)
    elif state.progress.best_epoch and os.path.lexists(path):  # otherwise the end of the first epoch replaces it
        load_best(run, state)


def load_best(run: Path, state: TrainState) -> TrainState:
    """The train state at the end of a run's best epoch, without Adam's moments.

    Raises
    ------
    UserError
        If its file is missing, damaged, or not that of the run's best epoch.
    """
    best, progress = load_checkpoint(run / BEST, with_moments=False), state.progress
    found, expected = best.progress, (progress.best_epoch, progress.best_perplexity)
    if best.vocabulary != state.vocabulary or (found.epoch, found.best_perplexity) != expected or not at_best(found):
        raise UserError(f"{run / BEST} is not the model of the run's best epoch so far; restore that, or remove it")
    return best
