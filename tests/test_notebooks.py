"""Every lesson runs from its first cell to its last, shows the expected results, and is stored with its outputs."""

import re
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from minilstm_lessons import EXERCISES
from minilstm_lessons import LESSONS as MODULES
from minilstm_lessons.build import cover_of, pictures_of, run_notebook

LESSONS = Path(__file__).parents[1] / "lessons"
NOTEBOOKS = sorted(LESSONS.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def path(request):
    return request.param


@pytest.fixture(scope="module")
def executed(request):
    """Future notebooks by path: those that are asked for run two at a time, each in a process of its own."""
    paths = [item.callspec.params["path"] for item in request.session.items if "executed" in item.fixturenames]
    pool = ThreadPoolExecutor(max_workers=2)
    yield {path: pool.submit(run_notebook, path) for path in paths}
    pool.shutdown(cancel_futures=True)


def text_of(notebook):
    """All text output of a notebook's cells."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def exercises_of(path):
    return [
        exercise.name for exercise in EXERCISES.values() if f"lesson{path.stem[:2]}" in exercise.solution.__module__
    ]


def test_there_is_a_notebook_for_each_lesson():
    assert [f"lesson{path.stem[:2]}" for path in NOTEBOOKS] == [lesson.__name__.partition(".")[2] for lesson in MODULES]


@pytest.mark.slow
def test_a_lesson_runs_as_shipped_with_its_exercises_unwritten(path, executed):
    notebook = executed[path].result()
    text = text_of(notebook)
    for name in exercises_of(path):
        assert f"… {name}: not written yet" in text
    assert sum(len(pictures_of(cell)) for cell in notebook.cells) >= 2


def test_a_lesson_is_kept_with_its_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert 2 <= len(exercises_of(path)) <= 3
    cover = cover_of(notebook)
    assert cover == (LESSONS / "pictures" / f"{path.stem}.png").read_bytes()
    width, height = struct.unpack(">II", cover[16:24])
    assert width >= 500
    assert height >= 250


def test_the_syllabus_names_every_lesson(path):
    syllabus = (LESSONS / "README.md").read_text(encoding="utf-8")
    assert f"({path.name})" in syllabus
    assert f"(pictures/{path.stem}.png)" in syllabus


def tags_of(cell):
    """Whether a cell's input and its outputs are folded: by its tags (the web page), and in JupyterLab."""
    tags, lab = cell.metadata.get("tags", []), cell.metadata.get("jupyter", {})
    by_tags = "hide-input" in tags, "hide-output" in tags
    return by_tags, (lab.get("source_hidden", False), lab.get("outputs_hidden", False))


def test_what_is_folded_on_the_web_page_is_folded_in_jupyterlab(path):
    for cell in nbformat.read(path, as_version=4).cells:
        by_tags, in_lab = tags_of(cell)
        assert by_tags == in_lab, cell.source
        if "# your code here" in cell.source:
            assert by_tags == (False, False)


ANSWER = re.compile(r"\n\n<details><summary>Answer</summary>\n\n(.+?)\n\n</details>(?=\n\n|$)", re.DOTALL)


def test_nobody_reads_the_answer_of_a_prediction_before_guessing(path):
    cells = nbformat.read(path, as_version=4).cells
    for n, cell in enumerate(cells):
        _, *questions = re.split(r"\*\*Predict\b", cell.source if cell.cell_type == "markdown" else "")
        for question in questions:
            [answer] = ANSWER.findall(question)
            assert len(answer) < 600
        if questions:
            following = next(cell for cell in cells[n:] if cell.cell_type == "code")
            assert tags_of(following)[0][1], f"the outputs are not hidden:\n{following.source}"
            assert following.outputs


def test_some_lesson_asks_for_predictions():
    assert sum("**Predict" in path.read_text(encoding="utf-8") for path in NOTEBOOKS) >= 10


def test_a_folded_output_begins_with_a_heading(path):
    """JupyterLab shows the first line of an output that it folds: that must not be the answer."""
    for cell in nbformat.read(path, as_version=4).cells:
        text = text_of(nbformat.v4.new_notebook(cells=[cell])) if tags_of(cell)[0][1] else ""
        if text and not text.startswith("<Figure"):
            assert text.splitlines()[0].endswith(":"), text
