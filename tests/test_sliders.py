"""Pictures with sliders: they redraw where there is ipywidgets, and are still pictures everywhere else."""

import os
from importlib.util import find_spec

import matplotlib.pyplot as plt
import nbformat
import pytest
from minilstm_lessons.build import pictures_of, run_notebook
from minilstm_lessons.sliders import HOW_TO_GET, STATIC, figure_of
from nbclient import NotebookClient

DRAW = """
import matplotlib.pyplot as plt
from minilstm_lessons.sliders import slider

def draw(height, colour):
    if height > 7:
        plt.figure()
        raise ValueError("too high")
    plt.bar([0], [height], color=colour)
    plt.ylim(0, 10)
"""
SLIDER = 'slider(draw, height=(2.0, 0.0, 10.0), colour=["black", "red"])'
CONTROLS = """
from ipywidgets.widgets.widget import _instances
of_kind = {type(widget).__name__: widget for widget in _instances.values()}
height, colour, message = (of_kind[kind] for kind in ("FloatSlider", "Dropdown", "Label"))
"""
needs_widgets = pytest.mark.skipif(find_spec("ipywidgets") is None, reason="pip install ipywidgets")


def run_live(*cells):
    """The cells' outputs where sliders may show: as in JupyterLab, without the switch that `build` sets."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    environment = {name: value for name, value in os.environ.items() if name != STATIC}
    NotebookClient(notebook, timeout=120, store_widget_state=False).execute(env=environment)
    return notebook.cells


def picture_after(*moves):
    """The picture of a cell with sliders after these lines moved them, and what the last one printed."""
    cells = run_live(DRAW, SLIDER, CONTROLS, *moves)
    [picture] = pictures_of(cells[1])
    return picture, "".join(output.get("text", "") for output in cells[-1].outputs)


def still(height, colour):
    """The picture that a notebook shows for these values, without a slider."""
    cells = run_live(DRAW, f"draw({height}, {colour!r})\nplt.show()")
    return pictures_of(cells[1])[0]


@needs_widgets
@pytest.mark.slow
def test_a_slider_that_moves_replaces_the_picture():
    first = still(2.0, "black")
    assert picture_after()[0] == first
    assert picture_after("height.value = 5.0")[0] == still(5.0, "black") != first
    assert picture_after("height.value = 5.0", "colour.value = 'red'")[0] == still(5.0, "red")


@needs_widgets
@pytest.mark.slow
def test_a_picture_that_cannot_be_drawn_leaves_the_last_one_and_the_sliders():
    ask = "print(message.value, plt.get_fignums())"
    picture, said = picture_after("height.value = 5.0", "height.value = 8.0", ask)
    assert picture == still(5.0, "black")
    assert said == "no picture for these values: ValueError: too high []\n"
    picture, said = picture_after("height.value = 8.0", "height.value = 3.0", ask)
    assert picture == still(3.0, "black")
    assert said == " []\n"


@pytest.mark.slow
def test_without_ipywidgets_there_is_the_picture_and_one_line():
    [_, cell] = run_live("import sys\nsys.modules['ipywidgets'] = None" + DRAW, SLIDER)
    assert pictures_of(cell) == [still(2.0, "black")]
    assert [output.text for output in cell.outputs if output.output_type == "stream"] == [HOW_TO_GET + "\n"]


@pytest.mark.slow
def test_a_lesson_is_built_with_the_picture_alone(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(DRAW), nbformat.v4.new_code_cell(SLIDER)])
    nbformat.write(notebook, tmp_path / "sliders.ipynb")
    built = run_notebook(tmp_path / "sliders.ipynb")
    [output] = built.cells[1].outputs
    assert pictures_of(built.cells[1]) == [still(2.0, "black")]
    assert set(output.data) == {"image/png", "text/plain"}
    assert "widgets" not in built.metadata


def test_a_drawing_that_fails_at_the_start_raises_and_leaves_no_figure():
    def draw(height):
        plt.figure()
        raise ValueError("too high")

    before = plt.get_fignums()
    with pytest.raises(ValueError, match="too high"):
        figure_of(draw, {"height": 8})
    assert plt.get_fignums() == before
