"""Grade a class: ``python -m minilstm_lessons.grade FOLDER -o grades.csv``. TEACHING.md says how to use it.

Each submission is graded in a process of its own, and each answer runs in another one with limits (see
`minilstm_lessons.grading`), so that one which crashes, hangs or does harm costs its own points only.
"""

import csv
import hashlib
import io
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from minilstm.arguments import Parser, positive
from minilstm.errors import UserError, escape_control_chars, one_line
from minilstm.files import atomic_write, read_bytes, read_text
from minilstm_lessons import EXERCISES, LESSONS
from minilstm_lessons.grading.one import remove
from minilstm_lessons.grading.submissions import MAX_BYTES, find_submissions

JUDGING = 60  # seconds for the judge itself, with each exercise
AFTER = "total", "out of", "seconds", "seed", "remarks"  # columns after those of the exercises
running = set()  # the processes that grade now
stopping = threading.Event()


def make_parser():
    parser = Parser(prog="python -m minilstm_lessons.grade", description="Grade a class's answers.",
                    epilog="example: python -m minilstm_lessons.grade handed_in --lesson 2 -o grades.csv")  # fmt: skip
    parser.add_argument("folder", type=Path, help="a folder for each student in it, or files NAME_anything.ipynb")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CSV", help="where the grades are written")
    parser.add_argument("--lesson", type=int, nargs="+", default=[], metavar="N", help="grade all exercises of these "
                        "lessons (those of which a submission has every exercise)")  # fmt: skip
    parser.add_argument("--exercises", nargs="+", default=[], metavar="NAME", help="grade these exercises only")
    parser.add_argument("--seed", type=positive, help="of the random arguments (drawn, and written to each row)")
    parser.add_argument("--time", type=positive, default=60, metavar="SECONDS", help="for each exercise (60)")
    parser.add_argument("--memory", type=positive, default=2048, metavar="MB", help="of each answer's process (2048)")
    parser.add_argument("--jobs", type=positive, default=1, help="submissions at a time (1)")
    parser.add_argument("--points", type=Path, metavar="CSV", help="two columns: exercise, points (1 each)")
    parser.add_argument("--gradescope", type=Path, metavar="PATH", help="write Gradescope's JSON too: with --single "
                        "this file, else a file for each student in this folder")  # fmt: skip
    parser.add_argument("--single", action="store_true", help="FOLDER is one student's submission, or its only file")
    parser.add_argument("--resume", action="store_true", help="go on with a CSV: grade only who is not in it yet")
    return parser


def exercises_of_lesson(number):
    if not 1 <= number <= len(LESSONS):
        raise UserError(f"there is no lesson {number}: they are 1 to {len(LESSONS)}")
    return [exercise.name for exercise in LESSONS[number - 1].EXERCISES]


def choose_exercises(lessons, names, submissions):
    """The exercises to grade, in the order of the lessons.

    Without a choice they are those of each lesson of which some submission defines every one, as the notebooks do.
    """
    for name in names:
        if name not in EXERCISES:
            raise UserError(f"no exercise is called {one_line(name, 60)}; there are {', '.join(EXERCISES)}")
    chosen = {*names, *(name for number in lessons for name in exercises_of_lesson(number))}
    if not chosen:
        defined = [names_defined(files) for files in submissions.values()]
        for number in range(1, len(LESSONS) + 1):
            of_lesson = set(exercises_of_lesson(number))
            if any(of_lesson <= found for found in defined):
                chosen |= of_lesson
        if not chosen:
            raise UserError("no submission has all exercises of a lesson: name what to grade, with --lesson or "
                            "--exercises")  # fmt: skip
    return [name for name in EXERCISES if name in chosen]


def names_defined(files):
    """The exercises that stand in some files as ``def NAME(``; the files are not parsed here."""
    found = set()
    for path in files:
        with suppress(OSError):
            found |= set(re.findall(rb"\bdef (\w+)\(", read_bytes(path, MAX_BYTES)))
    return {name.decode(errors="replace") for name in found}


def read_points(path, exercises):
    """Points of each exercise: 1, or what a file says."""
    if path is None:
        return dict.fromkeys(exercises, 1)
    try:
        rows = [row for row in csv.reader(io.StringIO(read_text(path))) if row]
        points = {row[0].strip(): float(row[1]) for row in rows if row[0].strip() != "exercise"}
    except (OSError, UnicodeDecodeError, ValueError, IndexError, csv.Error):
        raise UserError(f"{path} cannot be read: it must have lines such as softmax,2") from None
    if set(points) != set(exercises) or not all(0 <= value < 1e6 for value in points.values()):
        raise UserError(f"{path} must give points, 0 or more, to each of {', '.join(exercises)} and to nothing else")
    return {name: int(value) if value == int(value) else value for name, value in points.items()}


def safe_cell(text):
    """A text that a spreadsheet takes for no formula."""
    text = escape_control_chars(text)
    return "'" + text if text.startswith(("=", "+", "-", "@")) else text


def write_rows(path, header, rows):
    """Write all rows so far, sorted by student."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows[student] for student in sorted(rows))
    atomic_write(path, text.getvalue())


def read_rows(path, header, seed):
    """The rows of an earlier run, and its seed."""
    try:
        first, *others = csv.reader(io.StringIO(read_text(path)))
        seeds = {int(row[header.index("seed")]) for row in others if len(row) == len(header)}
    except (OSError, UnicodeDecodeError, ValueError, csv.Error):
        raise UserError(f"{path} cannot be read as grades: move it away, and begin anew without --resume") from None
    if first != header or any(len(row) != len(header) for row in others):
        raise UserError(f"{path} has other columns than this run would write: give it the same exercises, or "
                        "another -o")  # fmt: skip
    if len(seeds) > 1 or (seed and seeds and seeds != {seed}):
        raise UserError(f"{path} was graded with seed {', '.join(map(str, sorted(seeds)))}: resume with that one")
    return {row[0]: row for row in others}, seeds.pop() if seeds else seed


def grade_submission(files, exercises, seed, seconds, memory):
    """Results of a submission's exercises by name, whatever becomes of the process that grades it."""
    folder = Path(tempfile.mkdtemp(prefix="minilstm-grade-"))
    order = {"files": [str(file.absolute()) for file in files], "exercises": exercises, "seed": seed, "folder":
             str(folder), "seconds": seconds, "memory": memory * 2**20}  # fmt: skip
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "minilstm_lessons.grading.one"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, env=environment, cwd=folder,
    )  # fmt: skip
    running.add(process)
    try:
        if stopping.is_set():
            process.kill()
        output, errors = process.communicate(json.dumps(order).encode(), len(exercises) * (seconds + JUDGING))
        words = "not graded: the process that graded it ended: " + (last_line(errors) or f"status {process.returncode}")
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            output, _ = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        words = "not graded in time"
    finally:
        running.discard(process)
        remove(folder)
    results = {name: {"name": name, "status": "not graded", "words": f"{name}: {words}", "printed": "", "seconds": 0.0}
               for name in exercises}  # fmt: skip
    for line in output.splitlines():
        result = json.loads(line)
        results[result["name"]] = result
    return results


def last_line(errors):
    lines = errors.decode(errors="replace").strip().splitlines()
    return one_line(lines[-1], 200) if lines else ""


def row_of(student, results, points, seed):
    """A row of the CSV."""
    scores = [points[name] if result["status"] == "right" else 0 for name, result in results.items()]
    remarks = [result["words"] for result in results.values() if result["status"] != "right" or "(written in" in
               result["words"]]  # fmt: skip
    tails = {words.partition(": ")[2] for words in remarks}
    if len(tails) == 1 and len(remarks) == len(results) > 1:
        remarks = [f"all: {tails.pop()}"]
    seconds = round(sum(result["seconds"] for result in results.values()), 1)
    return [
        safe_cell(student),
        *scores,
        sum(scores),
        sum(points.values()),
        seconds,
        seed,
        safe_cell(" | ".join(remarks)),
    ]


def gradescope_json(results, points, seed):
    """What Gradescope reads as results.json. What the answers printed is for the instructor only, in extra_data."""
    tests = [
        {
            "name": name, "score": points[name] if result["status"] == "right" else 0, "max_score": points[name],
            "status": "passed" if result["status"] == "right" else "failed", "output": result["words"],
            "output_format": "text", "visibility": "visible",
        }
        for name, result in results.items()
    ]  # fmt: skip
    return {
        "score": sum(test["score"] for test in tests),
        "execution_time": round(sum(result["seconds"] for result in results.values())),
        "output": f"{sum(test['status'] == 'passed' for test in tests)} of {len(tests)} exercises are right.",
        "output_format": "text", "visibility": "visible", "stdout_visibility": "hidden", "tests": tests,
        "extra_data": {"seed": seed, "printed": {name: result["printed"] for name, result in results.items()}},
    }  # fmt: skip


def gradescope_names(students):
    """A file for each student, student -> name: the student's own, with _ for what not every file system takes.

    Names that would be the same, or differ in capital letters only, are made longer by letters which follow from the
    student's name alone, so another run gives the same.

    Examples
    --------
    >>> gradescope_names(["Ada", "Lee"])
    {'Ada': 'Ada.json', 'Lee': 'Lee.json'}
    """
    safe = {student: re.sub(r"[^A-Za-z0-9 ._-]", "_", student) for student in students}
    number = Counter(name.lower() for name in safe.values())
    for student, name in safe.items():
        if number[name.lower()] > 1:
            safe[student] = f"{name}-{hashlib.sha256(os.fsencode(student)).hexdigest()[:12]}"
    return {student: f"{name}.json" for student, name in safe.items()}


def grade_class(options, submissions, exercises, points, rows, header, seed):
    """Grade those who are not in `rows` yet, and write after each."""
    left = {student: files for student, files in submissions.items() if safe_cell(student) not in rows}
    names = gradescope_names(submissions)
    bar = tqdm(total=len(submissions), initial=len(submissions) - len(left), unit="submission", file=sys.stderr)
    with bar, ThreadPoolExecutor(options.jobs) as pool:
        futures = {
            pool.submit(grade_submission, files, exercises, seed, options.time, options.memory): student
            for student, files in left.items()
        }
        try:
            for future in as_completed(futures):
                student, results = futures[future], future.result()
                if options.gradescope:
                    text = json.dumps(gradescope_json(results, points, seed), indent=1)
                    path = options.gradescope if options.single else options.gradescope / names[student]
                    atomic_write(path, text + "\n")
                rows[safe_cell(student)] = row_of(student, results, points, seed)
                write_rows(options.output, header, rows)
                bar.update()
        except BaseException:
            stopping.set()
            pool.shutdown(wait=False, cancel_futures=True)
            stop(list(running))
            raise


def stop(processes):
    """End the processes that grade; each takes its own with it."""
    for process in processes:
        with suppress(OSError):
            process.terminate()
    deadline = time.monotonic() + 5
    for process in processes:
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        with suppress(OSError):
            process.kill()


def run(options):
    if os.name != "posix":
        raise UserError("grading needs the limits of Linux or macOS: run it there, in WSL or in a container")
    submissions, ignored = find_submissions(options.folder, options.single)
    for path in ignored:
        print(one_line(f"ignored, neither .ipynb nor .py: {path}", 300), file=sys.stderr)
    exercises = choose_exercises(options.lesson, options.exercises, submissions)
    points = read_points(options.points, exercises)
    header, rows, seed = ["student", *exercises, *AFTER], {}, options.seed
    if options.output.exists():
        if not options.resume:
            raise UserError(f"{options.output} is there already: go on with it by --resume, or choose another -o")
        rows, seed = read_rows(options.output, header, seed)
    seed = seed or 1 + secrets.randbelow(10**9)  # `check` in the notebooks draws with 0
    if options.gradescope:
        folder = options.gradescope.parent if options.single else options.gradescope
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder}: {error.strerror}") from None
    write_rows(options.output, header, rows)
    try:
        grade_class(options, submissions, exercises, points, rows, header, seed)
    except KeyboardInterrupt:
        print(f"\nstopped: {len(rows)} of {len(submissions)} submissions are in {options.output}; the same command "
              "with --resume grades the others", file=sys.stderr)  # fmt: skip
        return 130
    print(f"{options.output}: {len(rows)} submissions, {len(exercises)} exercises, seed {seed}")
    failed = [student for student, row in rows.items() if ": not graded: " in row[-1]]
    if failed:
        print(f"{len(failed)} with answers that could not be graded, see their remarks: {', '.join(failed)}",
              file=sys.stderr)  # fmt: skip
    return 1 if failed else 0


def main(argv=None):
    """``python -m minilstm_lessons.grade``."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = make_parser()
    try:
        return run(parser.parse_args(argv))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
