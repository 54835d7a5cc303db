"""What students have handed in: which files are whose, and the cells in them."""

import json
import re
from typing import NamedTuple

from minilstm.errors import UserError, escape_control_chars
from minilstm.files import read_bytes

SUFFIXES = ".ipynb", ".py"
MAX_BYTES = 20_000_000  # of a file
MAX_FILES = 200  # of a student
SKIPPED = "__MACOSX", "__pycache__", "node_modules"  # and all that begins with a dot
MOODLE = re.compile(r"_assignsubmission_\w*$")
LESSON_FILE = re.compile(r"\d\d_[a-z_]+")
PYTHON_MAGICS = "%%time", "%%timeit", "%%capture", "%%prun"  # the rest of such a cell is Python


class Cell(NamedTuple):
    """A cell of a notebook, or a whole .py file: its name, and its text, in which magics are blank lines."""

    name: str
    text: str


def find_submissions(folder, single=False):
    """Whose the files in a folder are.

    Parameters
    ----------
    folder : Path
        Holds a folder for each student, or files that begin with a student's name and an underscore. If `single`, it
        is one student's, or that one file.

    Returns
    -------
    submissions : dict of str to list of Path
        Sorted by student; a student's files in the order of their names.
    ignored : list of Path
        What is no file of a submission.

    Raises
    ------
    UserError
        If there is no such folder, or nothing in it.
    """
    if single and folder.is_file():
        return {folder.stem: [folder]}, []
    if not folder.is_dir():
        raise UserError(f"{escape_control_chars(str(folder))}: there is no such folder")
    if single:
        files, ignored = files_below(folder)
        return {folder.resolve().name: files}, ignored
    submissions, ignored = {}, []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{escape_control_chars(str(folder))} cannot be read: {error.strerror}") from None
    lessons = [entry.name for entry in entries if entry.suffix == ".ipynb" and LESSON_FILE.fullmatch(entry.stem)]
    if len(lessons) > 1:
        raise UserError(
            f"{lessons[0]} and {lessons[1]} lie in the folder itself: if they are one student's, use --single; else "
            "make a folder for each student, or begin each file's name with the student's and an underscore"
        )
    for entry in entries:
        if skipped(entry):
            continue
        if entry.is_dir() and not entry.is_symlink():
            files, others = files_below(entry)
            submissions.setdefault(MOODLE.sub("", entry.name), []).extend(files)
            ignored += others
        elif entry.suffix in SUFFIXES and not entry.is_symlink():
            submissions.setdefault(entry.stem.partition("_")[0] or entry.stem, []).append(entry)
        else:
            ignored.append(entry)
    if not submissions:
        raise UserError(
            f"{escape_control_chars(str(folder))} holds no submissions: a folder for each student, or .ipynb and .py "
            "files that begin with a student's name and an underscore"
            + (" (unpack the archives first)" if any(entry.suffix in (".zip", ".gz") for entry in ignored) else "")
        )
    return dict(sorted(submissions.items())), ignored


def skipped(path):
    return path.name.startswith(".") or path.name in SKIPPED


def files_below(folder):
    """The files of a submission in a folder, by name, and those that are none."""
    files, ignored, folders = [], [], [folder]
    while folders:
        try:
            entries = sorted(folders.pop().iterdir())
        except OSError:
            continue
        for entry in entries:
            if skipped(entry):
                continue
            if entry.is_dir() and not entry.is_symlink():
                folders.append(entry)
            elif entry.suffix in SUFFIXES and not entry.is_symlink():
                files.append(entry)
            else:
                ignored.append(entry)
    return sorted(files), ignored


def read_cells(path):
    """The cells of a notebook, or of a .py file the one that it is.

    Raises
    ------
    UserError
        Which says in one line why it cannot be read.
    """
    name = escape_control_chars(path.name)
    try:
        text = read_bytes(path, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{name} is not UTF-8") from None
    if path.suffix == ".py":
        return [Cell(name, text)]
    if not text.strip():
        raise UserError(f"{name} is empty")
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"{name} is no notebook: it is not JSON") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise UserError(f"{name} is no notebook of version 4: it has no list of cells")
    found = []
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code":
            source = cell.get("source", "")
            source = "".join(part for part in source if isinstance(part, str)) if isinstance(source, list) else source
            if isinstance(source, str):
                found.append(Cell(f"{name}, cell {number}", without_magics(source)))
    return found


def without_magics(source):
    """The Python of a cell, with the same line numbers: `%`, `!` and `?` are the notebook's.

    Examples
    --------
    >>> without_magics("%matplotlib inline\\nx = 1")
    'pass\\nx = 1'
    """
    lines = source.split("\n")
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("%%"):
        if first.split()[0] not in PYTHON_MAGICS:
            return ""
        lines[lines.index(first)] = ""
    for n, line in enumerate(lines):
        bare = line.lstrip()
        if bare.startswith(("%", "!")) or (bare.startswith("?") or re.fullmatch(r"[\w.]+\?\??", bare.rstrip())):
            lines[n] = line[: len(line) - len(bare)] + "pass"
    return "\n".join(lines)
