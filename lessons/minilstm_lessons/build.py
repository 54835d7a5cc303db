"""Run the lessons and keep what they show: ``python -m minilstm_lessons.build lessons/02*.ipynb``.

Each notebook is executed from its first cell to its last and saved with its outputs; the last picture of the cell
that is tagged "cover" goes into the folder ``pictures``, for the syllabus.
"""

import argparse
import base64
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from minilstm.files import atomic_write
from minilstm_lessons.sliders import STATIC


def run_notebook(path, timeout=600):
    """Execute a notebook in its own directory, its sliders as still pictures; returns it with its outputs.

    Raises
    ------
    CellExecutionError
        If a cell raises.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(Path(path).parent)}}
    client = NotebookClient(notebook, timeout=timeout, resources=resources, record_timing=False, coalesce_streams=True)
    client.execute(env=os.environ | {STATIC: "1"})
    return notebook


def pictures_of(cell):
    """The PNG pictures among a cell's outputs, as bytes."""
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return [base64.b64decode(item["image/png"]) for item in data if "image/png" in item]


def cover_of(notebook):
    """The picture that stands for a lesson: the last one of the cell tagged "cover"."""
    [cover] = [cell for cell in notebook.cells if "cover" in cell.metadata.get("tags", [])]
    return pictures_of(cover)[-1]


def build(path):
    """Run one lesson, save it and its cover."""
    notebook = run_notebook(path)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    folder = path.parent / "pictures"
    folder.mkdir(exist_ok=True)
    atomic_write(folder / f"{path.stem}.png", cover_of(notebook))
    atomic_write(path, nbformat.writes(notebook) + "\n")


def main(argv=None):
    """``python -m minilstm_lessons.build``."""
    parser = argparse.ArgumentParser(prog="python -m minilstm_lessons.build", description=__doc__.split(":")[0] + ".")
    parser.add_argument("notebooks", nargs="+", type=Path)
    paths = parser.parse_args(argv).notebooks
    for path in paths:
        if not path.is_file():
            print(f"{path}: there is no such file", file=sys.stderr)
            return 2
    for path in paths:
        print(path, flush=True)
        try:
            build(path)
        except CellExecutionError as error:
            print(f"{path} stopped; it is left as it was:\n{error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
