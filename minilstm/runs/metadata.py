"""The metadata of a checkpoint: its formats, and the values that a run can have."""

import math
from dataclasses import fields
from typing import Any

from minilstm.config import Config
from minilstm.evaluate import perplexity
from minilstm.mixed_precision import INITIAL_LOSS_SCALE
from minilstm.progress import MAX_NORMS, Progress
from minilstm.runs.directory import possible

FORMAT = "minilstm 5"
WITHOUT_AVERAGE = "minilstm 4"
EARLIER_FORMATS = "minilstm 3", "minilstm 2"  # with Adam's moments among the tensors, and without the best epoch


def parse_metadata(metadata: dict[str, Any]) -> tuple[Config, str, Progress, Any, str, str | None]:
    """The values in a checkpoint's metadata of any format.

    Returns
    -------
    config : Config
    vocabulary : str
        Its fingerprint.
    progress : Progress
    loss_scale : list or None
    carried : str
        The carried state as text.
    moments : str or None
        The sha256 of the file with Adam's moments or the weights of the last step, if there is one.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If an entry is missing, or has a value that no run has.
    """
    config, vocabulary, counts = Config(**metadata["config"]), metadata["vocabulary"], {**metadata["progress"]}
    if type(vocabulary) is not str:
        raise TypeError("its vocabulary is not a fingerprint")
    moments = None
    if metadata["format"] == "minilstm 2":  # with other names and a constant loss scale
        counts["loss"] = counts.pop("cost")
        carried, scale = metadata["state"], [INITIAL_LOSS_SCALE, 0.0] if config.dtype == "float16" else None
    else:
        carried, scale = metadata["carried"], metadata["loss_scale"]
    if metadata["format"] == WITHOUT_AVERAGE:
        counts |= {"valid_perplexities": [], "average_start": None}
    if metadata["format"] in (FORMAT, WITHOUT_AVERAGE):
        moments = metadata["moments"]
        needs_them = config.optimizer == "adam" or counts["average_start"] is not None
        if not (isinstance(moments, str) if needs_them else moments is None):
            raise ValueError("its moments do not fit its optimizer")
        if set(counts) != {f.name for f in fields(Progress)}:
            raise ValueError("its progress does not have the counts of a run")
    progress = Progress(**counts)
    require_possible(progress, scale, config)
    return config, vocabulary, progress, scale, carried, moments


def require_possible(progress: Progress, scale: object, config: Config) -> None:
    """Raise a ValueError unless a run can have these counts, loss, norms and loss scale."""
    counts = [progress.epoch, progress.window, progress.step, progress.metric_rows]
    counts += [progress.best_epoch, progress.plateaus]
    if not all(type(count) is int and 0 <= count <= 2**52 for count in counts):
        raise ValueError("its progress has a count that is not a whole number of at least 0")
    loss, norms, steps = progress.loss, progress.norms, progress.window * config.num_steps
    if type(loss) is not float or loss < 0 or not (math.isfinite(perplexity(loss, steps)) if steps else loss == 0):
        raise ValueError("its loss is not possible after so many steps")
    if type(norms) is not list or len(norms) > MAX_NORMS or not all(type(x) is float and 0 <= x < 1e300 for x in norms):
        raise ValueError(f"its norms are not a list of up to {MAX_NORMS:,} finite numbers of at least 0")
    past, start = progress.valid_perplexities, progress.average_start
    if type(past) is not list or len(past) > progress.epoch or not all(type(x) is float and possible(x) for x in past):
        raise ValueError("its validation perplexities are not those of its epochs")
    if start is not None and not (config.average_after and type(start) is int and 0 < start <= progress.step):
        raise ValueError("its average does not begin with one of its steps")
    best = progress.best_perplexity
    if max(progress.best_epoch, progress.plateaus) > progress.epoch or (best is None) != (progress.best_epoch == 0):
        raise ValueError("its best epoch is not one of its epochs")
    if best is not None and not (type(best) is float and possible(best)):
        raise ValueError("its best perplexity is not a finite number of at least 0")
    if config.dtype != "float16" and scale is None:
        return
    numbers = scale if isinstance(scale, list) and config.dtype == "float16" else []
    if len(numbers) != 2 or not all(type(x) is float and 0 <= x < 1e30 for x in numbers):
        raise ValueError("its loss scale does not fit its dtype")
