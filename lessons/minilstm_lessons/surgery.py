"""Mistakes on purpose: copies of functions with a piece of their source replaced."""

import inspect


def operate(*functions, edits):
    """Copies of some functions with pieces of their source replaced.

    Parameters
    ----------
    *functions : function
        Of one module. The copies call one another.
    edits : dict of str
        old -> new: each old piece must be there once, in one of the functions.

    Returns
    -------
    list of function

    Raises
    ------
    ValueError
        If a piece is not there exactly once.

    Examples
    --------
    >>> import numpy as np
    >>> from minilstm_lessons.solutions.lesson05 import clip_by_value
    >>> [all_pass] = operate(clip_by_value, edits={"np.clip(g, -limit, limit)": "g"})
    >>> all_pass(np.array([3.0]), 1.0)[0]
    array([3.])
    """
    source = "\n\n".join(inspect.getsource(function) for function in functions)
    for old, new in edits.items():
        if source.count(old) != 1:
            raise ValueError(f"{old!r} is there {source.count(old)} times")
        source = source.replace(old, new)
    names = {name: value for function in functions for name, value in function.__globals__.items()}
    exec(source, names)
    return [names[function.__name__] for function in functions]
