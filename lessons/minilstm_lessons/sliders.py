"""A picture with sliders above it, where there are sliders, and else the picture: ``slider(draw, radius=(0.9, 0, 3))``.

The picture is an ordinary output of its cell, and the sliders replace it: so what a notebook keeps is a picture, with
or without them. They are ipywidgets, which the lessons do not need. `build` switches them off by the environment
variable MINILSTM_STATIC, so that the lessons are kept without them.
"""

import os

import matplotlib.pyplot as plt
from IPython import get_ipython
from IPython.display import DisplayHandle, display

from minilstm.errors import one_line

STATIC = "MINILSTM_STATIC"
HOW_TO_GET = 'A still picture. For sliders: pip install ipywidgets (minilstm\'s extra "lessons" has it), then restart.'


def slider(draw, **ranges):
    """Draw a picture, and draw it again whenever a slider moves.

    Parameters
    ----------
    draw : callable
        Takes a value for each name in `ranges` and draws one figure, which it does not show. If it raises while a
        slider moves, the message stands below the sliders, and the picture stays as it is.
    **ranges : tuple or list
        A slider: (start, low, high), and a step if it is not 1 for whole numbers, else a hundredth of the way. Or a
        list of choices, the first of which is the start.

    Raises
    ------
    Exception
        Whatever `draw` raises for the values to start from.
    """
    picture = DisplayHandle()
    controls = {} if os.environ.get(STATIC) else make_controls(ranges)
    start = {name: values[0] for name, values in ranges.items()}
    figure = figure_of(draw, start)
    if controls:
        put_above(picture, controls, draw)
    picture.display(figure)
    if not controls and not os.environ.get(STATIC):
        print(HOW_TO_GET)


def figure_of(draw, values):
    """The figure that is drawn for some values; it is closed, so that nothing else shows it."""
    before = set(plt.get_fignums())
    try:
        draw(**values)
        return plt.gcf()
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def make_controls(ranges):
    """A widget for each range, by name; none without ipywidgets or outside a notebook."""
    if not hasattr(get_ipython(), "kernel"):
        return {}
    try:
        import ipywidgets
    except ImportError:
        return {}
    controls = {}
    for name, values in ranges.items():
        looks = {"description": name.replace("_", " "), "style": {"description_width": "initial"}}
        if isinstance(values, list):
            controls[name] = ipywidgets.Dropdown(options=values, **looks)
            continue
        start, low, high, *step = values
        whole = all(isinstance(value, int) for value in values)
        [step] = step or [1 if whole else (high - low) / 100]
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        looks["continuous_update"] = False  # draw when the mouse is let go: a picture takes a moment
        controls[name] = kind(value=start, min=low, max=high, step=step, **looks)
    return controls


def put_above(picture, controls, draw):
    """Show the controls, and let each of them replace the picture."""
    import ipywidgets

    message = ipywidgets.Label()

    def redraw(_):
        try:
            picture.update(figure_of(draw, {name: control.value for name, control in controls.items()}))
            message.value = ""
        except Exception as error:
            message.value = one_line(f"no picture for these values: {type(error).__name__}: {error}", 200)

    for control in controls.values():
        control.observe(redraw, names="value")
    display(ipywidgets.HBox([*controls.values()], layout={"flex_flow": "row wrap"}), message)
