"""Lessons in a browser: there Python is compiled to WebAssembly, and they took 3 to 26 times as long."""

import sys


def in_browser():
    """Whether this Python runs in a browser (Pyodide, as in JupyterLite)."""
    return sys.platform == "emscripten"


def lighter(usual, light):
    """What a lesson computes with: `usual`, or `light` in a browser.

    Examples
    --------
    >>> lighter(usual=128, light=32)
    128
    """
    return light if in_browser() else usual
