"""Grading: a class of 20 synthetic submissions; one that crashes, hangs or does harm costs only its own points."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from minilstm_lessons import EXERCISES, LESSONS, check
from minilstm_lessons.exercise import source_of, with_mistakes
from minilstm_lessons.grade import gradescope_json, gradescope_names, main, safe_cell
from minilstm_lessons.grading.extract import NoAnswerError, allowed_names, find_answer, parse_cells
from minilstm_lessons.grading.messages import BrokenError, decode, encode, receive, send
from minilstm_lessons.grading.submissions import Cell, find_submissions, read_cells
from minilstm_lessons.judge import judge

LESSON = "softmax", "cross_entropy_backward", "softmax_layer_backward"
NUMPY = "import numpy as np\n\n\n"
FUNCTIONS = {name: source_of(EXERCISES[name].solution) for name in LESSON}
NOTEBOOK = Path(__file__).parents[1] / "lessons" / "02_softmax_and_cross_entropy.ipynb"


def mistaken(name, number=0):
    """The text of a solution with a mistake of the exercise's list in it."""
    text = FUNCTIONS[name]
    for old, new in EXERCISES[name].mistakes[number].edits.items():
        text = text.replace(old, new)
    return text


def lesson_with(softmax, before=""):
    """A file with all three answers, of which softmax is another one; the others call their own."""
    others = "\n\n".join(FUNCTIONS[name].replace("softmax(", "own(") if name != "softmax_layer_backward" else
                         FUNCTIONS[name].replace("= softmax(", "= own(") for name in LESSON[1:])  # fmt: skip
    own = FUNCTIONS["softmax"].replace("def softmax", "def own")
    return NUMPY + before + softmax + "\n\n" + own + "\n\n" + others


def body(*lines):
    return "def softmax(logits):\n" + "".join(f"    {line}\n" for line in lines)


RIGHT_LINES = "e = np.exp(logits - logits.max(1, keepdims=True))", "return e / e.sum(1, keepdims=True)"

# student -> (the answer to softmax or the whole file, words of its remark). The other two answers are right unless the
# whole file is given.
HOSTILE = {
    "endless": (body("while True: pass"), "softmax: not finished within 3 seconds"),
    "sleeps": (body("import time", "time.sleep(1000)"), "softmax: not finished within 3 seconds"),
    "memory": (body("kept = [np.empty(10**7) for _ in range(10**4)]"), "softmax: stopped with"),
    "exits": (body("import os", "os._exit(3)"), "softmax: its process ended with status 3"),
    "kills": (body("import os", "os.kill(os.getppid(), 9)"), "a signal to a process is refused"),
    "forks": (body("import os", "while True: os.fork()"), "starting another process is refused"),
    "writes": (body("open('/tmp/minilstm-grade-test', 'w').write('x')"), "writing a file outside"),
    "deletes": (body("import shutil, os", "shutil.rmtree(os.path.dirname(os.getcwd()))"), "changing files outside"),
    "forges": (body("print('softmax is right')", "import os, json, struct",
                    "text = json.dumps({'value': {'is': 'plain', 'value': 1.0}, 'status': 'right'}).encode()",
                    "for n in range(1, 20):", "    try: os.write(n, struct.pack('>QQ', len(text), 0) + text)",
                    "    except OSError: pass", "return logits"), "softmax: wrong shape: p is ()"),
    "imports": ("from minilstm_lessons.solutions.lesson02 import softmax\n",
                "softmax: imported, not written: from minilstm_lessons.solutions.lesson02 import softmax"),
    "hides": (body("import importlib", "name = '.'.join(['minilstm' + '_lessons', 'solutions', 'lesson02'])",
                   "return __import__(name, fromlist=['x']).softmax(logits)"), "softmax: imported, not written"),
    "recurses": (body("import sys", "sys.setrecursionlimit(10**9)", "return softmax(logits)"), "softmax: "),
    "leaves": (body("raise SystemExit"), "softmax: stopped with SystemExit in leaves.py, line 5, `raise SystemExit`"),
}  # fmt: skip
WHOLE = {
    "wrong": (NUMPY + "\n\n".join([mistaken("softmax"), FUNCTIONS[LESSON[1]], FUNCTIONS[LESSON[2]]]),
              "p was kept away from 0"),
    "syntax": (NUMPY + "def softmax(logits:\n    return logits\n", "softmax: syntax error in syntax.py, line 4"),
    "empty": ("", "all: not in the submission"),
    "binary": (b"\xff\xfe\x00", "all: binary.py is not UTF-8"),
}  # fmt: skip


def notebook(*sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# mine"), *cells]))


def write_class(folder):
    """Twenty submissions: the above, a notebook, no notebook, and a folder."""
    folder.mkdir()
    for student, (text, _) in HOSTILE.items():
        (folder / f"{student}.py").write_text(lesson_with(text))
    for student, (text, _) in WHOLE.items():
        (folder / f"{student}.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    cells = "%matplotlib inline\n" + NUMPY, FUNCTIONS["softmax"] + "\ncheck(softmax)", "1 / 0  # is never run"
    (folder / "ada_123_02.ipynb").write_text(notebook(*cells, *(FUNCTIONS[name] for name in LESSON[1:])))
    (folder / "broken_9.ipynb").write_text('{"cells": [')
    (folder / "grace").mkdir()
    (folder / "grace" / "answers.py").write_text(NUMPY + "\n\n".join(FUNCTIONS.values()))
    return len(HOSTILE) + len(WHOLE) + 3


def grades_in(path):
    with open(path, newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The class's grades, and what is left of each process."""
    folder = tmp_path_factory.mktemp("class")
    number = write_class(folder / "in")
    arguments = [str(folder / "in"), "-o", str(folder / "grades.csv"), "--time", "3", "--memory", "1000", "--seed", "5",
                 "--jobs", "2", "--gradescope", str(folder / "json")]  # fmt: skip
    assert main(arguments) == 0
    assert number == 20
    return folder


@pytest.mark.slow
def test_a_class_of_20_is_graded_and_each_pays_only_for_itself(graded):
    grades = grades_in(graded / "grades.csv")
    assert [*grades] == sorted(grades)
    assert len(grades) == 20
    for student, (_, words) in HOSTILE.items():
        assert words in grades[student]["remarks"], grades[student]
        assert [grades[student][name] for name in LESSON] == ["0", "1", "1"], grades[student]
    for student, (_, words) in WHOLE.items():
        assert words in grades[student]["remarks"], grades[student]
        assert grades[student]["softmax"] == "0"
    assert [grades[student]["total"] for student in ("ada", "grace", "wrong", "syntax", "broken")] == [*"33100"]
    assert "broken_9.ipynb is no notebook" in grades["broken"]["remarks"]
    assert grades["ada"]["remarks"] == ""
    assert {(row["out of"], row["seed"]) for row in grades.values()} == {("3", "5")}


@pytest.mark.slow
def test_nothing_is_left_of_a_class(graded):
    assert not Path("/tmp/minilstm-grade-test").exists()
    assert {path.name for path in graded.iterdir()} == {"in", "grades.csv", "json"}
    assert len([*(graded / "in").iterdir()]) == 20


@pytest.mark.slow
def test_no_remark_tells_a_line_of_the_solution(graded):
    lines = {line.strip() for text in FUNCTIONS.values() for line in text.splitlines()[2:] if len(line) > 25}
    for row in grades_in(graded / "grades.csv").values():
        assert not [line for line in lines if line in row["remarks"]]


@pytest.mark.slow
def test_gradescope_reads_the_results(graded):
    results = {path.stem: json.loads(path.read_text()) for path in (graded / "json").iterdir()}
    assert len(results) == 20
    assert results["endless"]["score"] == 2
    assert [test["status"] for test in results["endless"]["tests"]] == ["failed", "passed", "passed"]
    assert results["forges"]["extra_data"]["printed"]["softmax"].startswith("softmax is right")
    for result in results.values():
        assert result["score"] == sum(test["score"] for test in result["tests"])
        assert all(test["score"] <= test["max_score"] and test["output"] for test in result["tests"])
        assert result["stdout_visibility"] == "hidden"


def test_the_draws_are_not_those_of_check_and_a_seed_repeats_them(tmp_path):
    """A function that knows the results of `check`'s draws, and nothing else."""
    text = body("print(float(logits.sum()))", "return logits")
    (tmp_path / "eve.py").write_text(NUMPY + text)
    printed = []
    for number, seed in enumerate(("7", "7", "8")):
        arguments = [
            str(tmp_path / "eve.py"),
            "--single",
            "--exercises",
            "softmax",
            "-o",
            str(tmp_path / f"{number}.csv"),
        ]
        assert main([*arguments, "--seed", seed, "--gradescope", str(tmp_path / f"{number}.json")]) == 0
        result = json.loads((tmp_path / f"{number}.json").read_text())
        assert result["extra_data"]["seed"] == int(seed)
        printed.append(result["extra_data"]["printed"]["softmax"])
    assert printed[0] == printed[1] != printed[2]
    sums = []
    judge(lambda logits: sums.append(float(logits.sum())) or logits, EXERCISES["softmax"], rounds=1)
    assert str(sums[0]) not in "".join(printed)


@pytest.mark.slow
def test_every_solution_of_every_lesson_is_right(tmp_path):
    (tmp_path / "class" / "ada").mkdir(parents=True)
    texts = {}
    for exercise in EXERCISES.values():
        path = Path(sys.modules[exercise.solution.__module__].__file__)
        texts[path.name] = path.read_text()
    for name, text in texts.items():
        (tmp_path / "class" / "ada" / name).write_text(text)
    assert main([str(tmp_path / "class"), "-o", str(tmp_path / "grades.csv")]) == 0
    row, number = grades_in(tmp_path / "grades.csv")["ada"], str(len(EXERCISES))
    assert (row["total"], row["out of"], row["remarks"]) == (number, number, "")


@pytest.mark.slow
def test_a_grader_that_is_killed_costs_its_own_submission_only(tmp_path, signals_heard):
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "a.py").write_text(lesson_with(HOSTILE["sleeps"][0]))
    (folder / "b.py").write_text(lesson_with(body(*RIGHT_LINES)))
    command = [sys.executable, "-m", "minilstm_lessons.grade", str(folder), "-o", str(tmp_path / "grades.csv")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    grader = children_of(process.pid)
    os.kill(grader, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "1 with answers that could not be graded, see their remarks: a" in errors
    grades = grades_in(tmp_path / "grades.csv")
    assert (grades["a"]["total"], grades["b"]["total"]) == ("0", "3")
    assert grades["a"]["remarks"] == "all: not graded: the process that graded it ended: status -9"


def children_of(pid):
    """The first child of a process, as soon as it has one."""
    while True:
        found = Path(f"/proc/{pid}/task/{pid}/children")
        threads = [Path(f"{thread}/children").read_text() for thread in found.parents[1].iterdir()]
        children = [int(child) for text in threads for child in text.split()]
        if children:
            return children[0]
        time.sleep(0.01)


@pytest.mark.slow
def test_after_ctrl_c_what_is_graded_is_kept_and_resume_grades_the_rest(tmp_path, signals_heard):
    folder, output = tmp_path / "class", tmp_path / "grades.csv"
    folder.mkdir()
    (folder / "a.py").write_text(lesson_with(body(*RIGHT_LINES)))
    (folder / "b.py").write_text(lesson_with(HOSTILE["sleeps"][0]))
    command = [sys.executable, "-m", "minilstm_lessons.grade", str(folder), "-o", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not output.exists() or "a" not in grades_in(output):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "stopped: 1 of 2 submissions are in " in errors
    assert "Traceback" not in errors
    before = grades_in(output)
    assert [*before] == ["a"]
    with pytest.raises(SystemExit):
        main(command[3:])  # without --resume nothing is overwritten
    (folder / "b.py").write_text(lesson_with(body(*RIGHT_LINES)))
    assert main([*command[3:], "--resume"]) == 0
    after = grades_in(output)
    assert after["a"] == before["a"]
    assert (after["b"]["total"], after["b"]["seed"]) == ("3", after["a"]["seed"])


def told(capsys, *arguments):
    """The one line in which a mistake of the user is told."""
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, arguments)])
    assert stopped.value.code == 2
    [line] = capsys.readouterr().err.strip().splitlines()[-1:]
    return line


def test_mistakes_of_the_teacher_are_told_in_one_line(tmp_path, capsys):
    output = tmp_path / "grades.csv"
    assert "there is no such folder" in told(capsys, tmp_path / "none", "-o", output)
    folder = tmp_path / "class"
    folder.mkdir()
    (folder / "all.zip").write_bytes(b"PK")
    assert "unpack the archives first" in told(capsys, folder, "-o", output)
    (folder / "ada.py").write_text("x = 1")
    assert "name what to grade" in told(capsys, folder, "-o", output)
    assert "there is no lesson 99" in told(capsys, folder, "-o", output, "--lesson", 99)
    assert "no exercise is called sofmax" in told(capsys, folder, "-o", output, "--exercises", "sofmax")
    (tmp_path / "points.csv").write_text("softmax,x")
    flags = "--lesson", 2, "--points", tmp_path / "points.csv"
    assert "lines such as softmax,2" in told(capsys, folder, "-o", output, *flags)
    (tmp_path / "points.csv").write_text("softmax,2")
    assert "to each of softmax, cross_entropy_backward" in told(capsys, folder, "-o", output, *flags)
    output.write_text("student,x\n")
    assert "is there already" in told(capsys, folder, "-o", output, "--lesson", 2)
    assert "has other columns" in told(capsys, folder, "-o", output, "--lesson", 2, "--resume")
    for number in ("01_words_to_numbers", "02_softmax_and_cross_entropy"):
        (folder / f"{number}.ipynb").write_text("{}")
    assert "use --single" in told(capsys, folder, "-o", output)


def test_whose_a_file_is(tmp_path):
    for name in ("doejane_12_34_02.ipynb", "doejane_12_35_03.ipynb", "lee.py", "submitted/ada/ps1/02.ipynb",
                 "Max M_77_assignsubmission_file_/answer.py", "notes.txt", ".ipynb_checkpoints/x.ipynb"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    submissions, ignored = find_submissions(tmp_path)
    assert {student: len(files) for student, files in submissions.items()} == {
        "doejane": 2, "lee": 1, "submitted": 1, "Max M_77": 1,
    }  # fmt: skip
    assert [path.name for path in ignored] == ["notes.txt"]
    assert [*find_submissions(tmp_path / "submitted")[0]] == ["ada"]  # as nbgrader has them
    (tmp_path / "submitted" / "ada" / "link.py").symlink_to("/etc/passwd")
    submissions, ignored = find_submissions(tmp_path / "submitted")
    assert [path.name for path in ignored] == ["link.py"]


def answer_in(*cells, name="softmax"):
    files = [parse_cells([Cell(f"cell {n}", text) for n, text in enumerate(cells)])]
    answer = find_answer(name, files, allowed_names(EXERCISES[name]))
    return [answer.cells[cell].text.splitlines()[0] for cell, *_ in answer.keep]


def test_an_answer_is_its_function_and_what_that_needs():
    cells = (
        "import numpy as np, os",
        "from minilstm_lessons import check",
        "V = 5",
        "losses = train()",
        "def helper(x):\n    return np.exp(x) + V",
        "def softmax(logits):\n    losses = helper(logits)\n    return losses",
        "check(softmax)",
        "for V in range(9): pass",
    )
    assert answer_in(*cells) == ["import numpy as np, os", "V = 5", "def helper(x):", "def softmax(logits):"]
    assert answer_in("def softmax(x): return 1", "def softmax(y): return 2") == ["def softmax(y): return 2"]


@pytest.mark.parametrize("text", [
    "from minilstm_lessons.solutions.lesson02 import *", "from minilstm_lessons.solutions.lesson02 import softmax",
    "from minilstm_lessons.solutions import lesson02 as s\nsoftmax = s.softmax",
    "import minilstm\ndef softmax(x): return minilstm.plain.softmax(x)",
    "def softmax(x):\n    from minilstm.layers import softmax as s\n    return s.f(x)",
    "import importlib\ndef softmax(x): return importlib.import_module('minilstm_lessons.solutions.lesson02').f",
])  # fmt: skip
def test_an_answer_that_is_imported_is_refused(text):
    with pytest.raises(NoAnswerError, match="imported, not written"):
        answer_in(text)


def test_what_the_solution_of_an_exercise_calls_an_answer_may_call():
    cells = "from minilstm.layers.lstm import lstm_forward, lstm_backward", "def stack_layers(*a): return lstm_forward"
    assert answer_in(*cells, name="stack_layers") == [cells[0], "def stack_layers(*a): return lstm_forward"]
    with pytest.raises(NoAnswerError, match="imported, not written"):
        answer_in(*cells[:1], "def lstm_step_forward(*a): return lstm_forward", name="lstm_step_forward")


def test_in_weight_drop_an_answer_may_call_the_dropout_that_the_notebook_shows():
    cells = "from minilstm.layers.dropout import dropout_backward, dropout_forward, dropout_mask", ""
    answer = "def weight_drop(*a): return dropout_backward(dropout_forward(*a), a)"
    assert answer_in(*cells, answer, name="weight_drop") == [cells[0], answer]
    for refused in (
        answer.replace("dropout_backward", "dropout_mask"),
        answer.replace("weight_drop", "tied_embedding"),
    ):
        with pytest.raises(NoAnswerError, match="imported, not written"):
            answer_in(*cells, refused, name=refused.partition("(")[0].removeprefix("def "))


def test_the_teachers_page_names_the_lessons_in_which_an_answer_may_import():
    lessons = [n for n, lesson in enumerate(LESSONS, 1) if any(map(allowed_names, lesson.EXERCISES))]
    *first, last = map(str, lessons)
    page = (NOTEBOOK.parent / "TEACHING.md").read_text(encoding="utf-8")
    assert f"Lessons {', '.join(first)} and {last} build on the package" in page


AGREE = {  # exercise -> answers that `check` calls right
    "softmax": (
        body("x = logits.astype(np.float32)", "e = np.exp(x - x.max(1, keepdims=True)).astype(float)",
             "return e / e.sum(1, keepdims=True)"),
        body("e = own(logits)", "return e / e.sum(1, keepdims=True)")
        + 'def own(x):\n    return np.exp((x - x.max(1, keepdims=True)).astype("float32")).astype(float)\n',
    ),
    "weight_drop": (
        "from minilstm.layers.dropout import dropout_backward, dropout_forward\n"
        "from minilstm.layers.lstm import lstm_backward, lstm_forward\n"
        + source_of(EXERCISES["weight_drop"].solution).replace("mask * weight_hh", "dropout_forward(weight_hh, mask)")
        .replace('mask * grads["weight_hh"]', 'dropout_backward(grads["weight_hh"], mask)'),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in AGREE.items() for text in texts])
def test_what_check_calls_right_is_right_for_the_grader(name, text, tmp_path):
    (tmp_path / "ada.py").write_text(NUMPY + text)
    spec = importlib.util.spec_from_file_location("ada", tmp_path / "ada.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    verdict = check(getattr(module, name))
    assert verdict.status == "right", verdict
    assert ("in float32" in verdict.text) == (name == "softmax")
    arguments = [str(tmp_path / "ada.py"), "--single", "--exercises", name, "--seed", "1001"]
    assert main([*arguments, "-o", str(tmp_path / "grades.csv")]) == 0
    assert grades_in(tmp_path / "grades.csv")["ada"][name] == "1", grades_in(tmp_path / "grades.csv")


def test_gradescope_has_a_file_for_each_student_on_every_file_system():
    students = ["Lee", "anna", "Anna", "Özil", "Äzil", "O\u0308zil", "_zil", "a/b", "a_b"]
    names = gradescope_names(students)
    assert len({name.lower() for name in names.values()}) == len(students)
    assert all(name.isascii() and "/" not in name for name in names.values())
    assert names["Lee"] == "Lee.json"
    assert gradescope_names(reversed(students)) == names


def test_the_notebook_as_shipped_is_not_written():
    files = [parse_cells(read_cells(NOTEBOOK))]
    for name in LESSON:
        with pytest.raises(NoAnswerError, match="not written yet"):
            find_answer(name, files, {})


@pytest.mark.parametrize("value", [
    1.5, None, ..., "text", [1, (2.0, [None])], {"a": np.arange(3), "b": {"c": 1}}, np.float32(3), np.eye(2) > 0,
    np.array(1j), (np.zeros((0, 3)), [np.ones((2, 2), "float32")]),
], ids=repr)  # fmt: skip
def test_a_value_that_is_sent_comes_back(value):
    read, write = os.pipe()
    numbers = []
    send(write, {"value": encode(value, numbers)}, numbers)
    message, rest = receive(read)
    back = decode(message["value"], [rest])
    assert type(back) is type(value)
    assert repr(back) == repr(value)


@pytest.mark.parametrize("message", [
    {}, {"is": "array", "dtype": "O", "shape": [1]}, {"is": "array", "dtype": "<f8", "shape": [10**9]}, {"is": "x"},
    {"is": "array", "dtype": "<f8", "shape": [-1]}, {"is": "dict", "keys": [[]], "parts": [{"is": "ellipsis"}]}, 5,
    {"is": "list", "parts": 3}, {"is": "plain", "value": {"a": 1}}, {"is": "huge", "shape": "x"},
], ids=repr)  # fmt: skip
def test_a_forged_value_is_no_value(message):
    with pytest.raises(BrokenError):
        decode(message, [memoryview(b"")])


def test_a_name_that_a_spreadsheet_takes_for_a_formula_is_none():
    assert safe_cell("=1+1") == "'=1+1"
    assert safe_cell("Ada\n") == "Ada\\x0a"


def test_points_and_gradescope_agree():
    results = {name: {"name": name, "status": "right" if name == "softmax" else "wrong", "words": "x", "printed": "",
                      "seconds": 1.0} for name in LESSON}  # fmt: skip
    result = gradescope_json(results, dict(zip(LESSON, (2, 1.5, 3), strict=True)), 9)
    assert (result["score"], sum(test["max_score"] for test in result["tests"])) == (2, 6.5)


def test_mistakes_in_the_list_are_in_the_text():
    assert judge(with_mistakes(EXERCISES["softmax"].solution, EXERCISES["softmax"].mistakes[:1]),
                 EXERCISES["softmax"]).status == "wrong"  # fmt: skip


ODD = {  # student -> points, the answer, words of the remark
    "annotated": (1, "from __future__ import annotations\n" + NUMPY
                  + body(*RIGHT_LINES).replace("(logits)", "(logits: X)"), ""),
    "device": (1, "from minilstm.device import select_device\nnp, note = select_device('auto')\n"
               + body(*RIGHT_LINES), ""),
    "own file": (1, NUMPY + body("open('mine.txt', 'w').write('x')", *RIGHT_LINES), ""),
    "floods": (0, NUMPY + body("while True: print('x' * 10**6)"), "File too large"),
    "in place": (0, NUMPY + body("logits -= logits.max(1, keepdims=True)", *RIGHT_LINES), "changes its argument"),
    "reads": (0, NUMPY + body("import sys", "open(sys.path[0] + '/minilstm_lessons/judge.py')"), "softmax: "),
    "segfault": (0, body("import faulthandler", "faulthandler._sigsegv()"), "ended by a segmentation fault"),
    "nested": (0, "x = " + "-" * 10**6 + "1\n" + body(*RIGHT_LINES), "syntax error in nested.py"),
    "nothing": (0, body("x = logits"), "softmax returned nothing"),
}  # fmt: skip


@pytest.mark.slow
def test_answers_that_are_odd_and_right_are_right_and_others_are_told_in_words(tmp_path):
    (tmp_path / "class").mkdir()
    for student, (_, text, _) in ODD.items():
        (tmp_path / "class" / f"{student}.py").write_text(text)
    arguments = [str(tmp_path / "class"), "-o", str(tmp_path / "grades.csv"), "--exercises", "softmax", "--jobs", "2"]
    assert main(arguments) == 0
    grades = grades_in(tmp_path / "grades.csv")
    for student, (points, _, words) in ODD.items():
        assert grades[student]["softmax"] == str(points), grades[student]
        assert words in grades[student]["remarks"], grades[student]
