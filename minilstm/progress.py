"""How far a run is: its counters, its best epoch, and what follows from them.

An epoch is the best so far if its validation perplexity is lower than those of all epochs before.
"""

from dataclasses import dataclass, field

from minilstm.config import Config
from minilstm.optim import learning_rate_at

MAX_NORMS = 200_000  # 5 MB of a checkpoint; only with windows of one word are reports that far apart
FAR_ABOVE = 100  # times the perplexity of random guessing; a vocabulary of two words may oscillate at twenty times it


@dataclass
class Progress:
    """The counters of a run.

    Attributes
    ----------
    epoch, window : int
        The next window to train on, counted from 0. `window` may be one past the last: the epoch's evaluation is due.
    step : int
        Number of windows trained on, over all epochs.
    loss : float
        Sum of the losses of this epoch's windows.
    norms : list of float
        Gradient norms since the last report: the last MAX_NORMS of them.
    metric_rows : int
        Number of rows written to metrics.csv.
    best_epoch : int
        The best completed epoch, counted from 1 as in reports; 0 before the first.
    best_perplexity : float or None
        Its validation perplexity.
    plateaus : int
        Number of completed epochs that were not the best so far.
    valid_perplexities : list of float
        One for each completed epoch, if weights may be averaged.
    average_start : int or None
        Number of steps before the averaging of weights began.
    """

    epoch: int = 0
    window: int = 0
    step: int = 0
    loss: float = 0.0
    norms: list[float] = field(default_factory=list)
    metric_rows: int = 0
    best_epoch: int = 0
    best_perplexity: float | None = None
    plateaus: int = 0
    valid_perplexities: list[float] = field(default_factory=list)
    average_start: int | None = None


def end_epoch(progress: Progress, valid_perplexity: float) -> None:
    """Count a completed epoch, and whether it is the best so far; in place.

    Examples
    --------
    >>> progress = Progress()
    >>> for valid_perplexity in (150.0, 120.0, 121.0):
    ...     end_epoch(progress, valid_perplexity)
    >>> progress.epoch, progress.best_epoch, progress.best_perplexity, progress.plateaus
    (3, 2, 120.0, 1)
    """
    progress.epoch, progress.window, progress.loss, progress.norms[:] = progress.epoch + 1, 0, 0.0, []
    if progress.best_perplexity is None or valid_perplexity < progress.best_perplexity:
        progress.best_epoch, progress.best_perplexity = progress.epoch, valid_perplexity
    else:
        progress.plateaus += 1


def averaging_begins(config: Config, progress: Progress, valid_perplexity: float) -> bool:
    """Note the validation perplexity of an epoch, and say whether the weights are averaged from its end on.

    It begins with the first epoch whose validation perplexity is above the lowest of those more than `average_after`
    epochs before: the non-monotonic trigger of Merity et al., arXiv 1708.02182, algorithm 1.

    Examples
    --------
    >>> config, progress = Config(average_after=1), Progress()
    >>> [averaging_begins(config, progress, v) for v in (150.0, 120.0, 121.0, 119.0, 120.5)]
    [False, False, False, False, True]
    """
    if not config.average_after or progress.average_start is not None:
        return False
    before = progress.valid_perplexities[: -config.average_after]
    progress.valid_perplexities.append(valid_perplexity)
    return bool(before) and valid_perplexity > min(before)


def at_best(progress: Progress) -> bool:
    """Whether the state of the run is that at the end of its best epoch."""
    return progress.window == 0 and 0 < progress.epoch == progress.best_epoch


def learning_rate_of(config: Config, progress: Progress) -> float:
    """Learning rate of the epoch that is next or has begun."""
    if config.lr_on_plateau:
        return config.learning_rate * config.lr_decay**progress.plateaus
    return learning_rate_at(config, progress.epoch)


def out_of_patience(config: Config, progress: Progress) -> bool:
    """Whether the last `patience` epochs have brought no better validation perplexity; an epoch that has begun ends."""
    waited = progress.epoch - progress.best_epoch if progress.best_epoch else 0
    return progress.window == 0 and 0 < config.patience <= waited


def is_done(config: Config, progress: Progress) -> bool:
    """Whether no epoch is left to train."""
    return progress.epoch >= config.max_max_epoch or out_of_patience(config, progress)


def has_diverged(train_perplexity: float, valid_perplexity: float, vocab_size: int) -> bool:
    """Whether an epoch ends far above the perplexity of random guessing, which is the size of the vocabulary.

    Both perplexities must be: a good fit to the training text may be very wrong about another, and a few bad windows
    may raise the epoch's mean. Such an epoch may still be followed by better ones, at a lower learning rate.
    """
    return min(train_perplexity, valid_perplexity) > FAR_ABOVE * vocab_size
