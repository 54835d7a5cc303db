"""How far from the right numbers rounding to float32 may take an answer: as far as it takes the solution itself."""

import copy

import numpy as np

from minilstm_lessons.exercise import as_tuple, relative_error
from minilstm_lessons.on_device import OnDevice, from_device

LEAST, MOST = 2e-6, 3e-2  # bounds of the bound
MARGIN = 8  # another order of the same operations may round as many times worse
TRIALS = 4  # with arguments that differ in the last bit: where terms cancel, one trial may be right by chance
FLIP = 1e-3  # a larger error is no rounding: a number was on the other side of a comparison


def in_float32(value, rng=None):
    """Arrays of float64 in an argument as float32, in the same containers; with a generator, off by some last bits."""
    if isinstance(value, np.ndarray | np.floating | OnDevice) and value.dtype == np.float64:
        factor = 1 if rng is None or isinstance(value, OnDevice) else 1 + rng.uniform(-1, 1, value.shape) / 2**23
        return (value * factor).astype(np.float32)
    if isinstance(value, dict):
        return {key: in_float32(part, rng) for key, part in value.items()}
    return type(value)(in_float32(part, rng) for part in value) if type(value) in (list, tuple) else value


def float32_bounds(exercise, case):
    """Result -> largest relative error of an answer in float32 that is right."""
    bounds = dict.fromkeys(exercise.results, LEAST)
    for rng in (None, *map(np.random.default_rng, range(1, TRIALS))):
        arguments = [in_float32(value, rng) for value in copy.deepcopy(case.arguments).values()]
        try:
            values = as_tuple(exercise.solution(*arguments))
            for name, value in zip(exercise.results, values, strict=True):
                error = relative_error(np.asarray(from_device(value), dtype=float), case.expected[name])
                if rng is None or error < FLIP:
                    bounds[name] = min(max(MARGIN * error, bounds[name]), MOST)
        except Exception:
            break
    return bounds


def is_right_in_float32(exercise, cases, given, marked):
    """Whether results that are wrong in float64 are right in float32.

    Parameters
    ----------
    exercise : Exercise
    cases : list of Case
    given : list of dict
        The student's results.
    marked : bool
        Whether a result has said that it is in float32; else its numbers must show it, none having more digits.
    """
    for case, results in zip(cases, given, strict=True):
        bounds = float32_bounds(exercise, case)
        for name, value in results.items():
            error = relative_error(value, case.expected[name])
            if error > bounds[name] or not np.isfinite(value[np.isfinite(case.expected[name])]).all():
                return False
            if not marked and error > 0 and not np.array_equal(value.astype(np.float32), value, equal_nan=True):
                return False
    return True
