"""What `train` reports: a stream of events, for a program to print, save or draw."""

from typing import NamedTuple


class EpochStarted(NamedTuple):
    """An epoch, counted from 1, starts or is resumed."""

    epoch: int
    learning_rate: float


class EpochTrained(NamedTuple):
    """The last window of an epoch is done; evaluation follows."""

    epoch: int
    perplexity: float


class Report(NamedTuple):
    """A measurement: of the epoch so far, ten times per epoch and at its end ("train"), or of a whole split.

    `tokens` is the number of predicted words behind the perplexity. For "train" only: the learning rate, words per
    second, the median gradient norm since the previous report, and the completed fraction of the epoch.
    """

    epoch: int
    step: int
    split: str
    perplexity: float
    tokens: int
    learning_rate: float | None = None
    words_per_second: float | None = None
    gradient_norm: float | None = None
    done: float | None = None


class SaveDue(NamedTuple):
    """The train state should be saved: after an epoch, after `checkpoint_every` steps, or because training stops."""

    epoch_ended: bool = False


Event = EpochStarted | EpochTrained | Report | SaveDue
