"""A class on one machine: memory of a student's kernel, and seconds when several run their lessons at once.

    python -m benchmarks.hub        # about eight minutes on an idle machine of two cores

Linux only; needs the extra "test". Writes hub.json. Each student is a Jupyter kernel in which a lesson runs from its
first cell to its last, without a pause, as nobody works: the worst case. Measured:

    memory      of a new kernel, of one that has imported the lessons, and after each of lessons 1 to 8: PSS (of memory
                that processes share, each counts its part), RSS and peak
    alone       seconds of each lesson, and of the processor; threads of its BLAS at the end
    at once     seconds of 2, 4 and 8 lessons that start together
    check       seconds of `check` in one more kernel meanwhile: an answer that is right, one with a usual mistake, one
                whose cause is not known, for which the judge tries all that it knows

Computed from these, for 30 students on 4 cores of this kind: if all run a lesson at the same moment, the seconds of the
processor times 30 / 4; if each runs it `RUNS` times in `MINUTES` minutes, the share of the cores in use; and memory.
"""

import json
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, median

import nbformat
from nbclient import NotebookClient

from benchmarks.machine import describe, make_parser, write

LESSONS = Path(__file__).parents[1] / "lessons"
AT_ONCE = (6, 2), (6, 2, 8, 4), (6, 2, 8, 4, 7, 3, 5, 1)
STUDENTS, CORES, RUNS, MINUTES = 30, 4, 3, 80
IMPORTS = "import matplotlib.pyplot, minilstm_lessons"
PROBE = r"""
import json, re, resource, sys, time
from threadpoolctl import threadpool_info
text = open("/proc/self/smaps_rollup").read() + open("/proc/self/status").read()
mb = {name: int(re.search(rf"{key}:\s+(\d+) kB", text)[1]) * 1024 / 1e6
      for name, key in (("pss", "\nPss"), ("rss", "\nRss"), ("peak", "VmHWM"))}
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps(mb | {"cpu_seconds": time.process_time() + children.ru_utime + children.ru_stime,
                       "threads": max([pool["num_threads"] for pool in threadpool_info()], default=1)}))
"""
CHECKER = """
import json, time
from pathlib import Path
from minilstm_lessons import EXERCISES, check
from minilstm_lessons.exercise import with_mistakes

exercise = EXERCISES["lstm_step_backward"]

def lstm_step_backward(*arguments):
    return [value**3 + 1 for value in exercise.solution(*arguments)]

answers = {{"right": exercise.solution, "usual mistake": with_mistakes(exercise.solution, exercise.mistakes[:1]),
           "cause not known": lstm_step_backward}}
seconds = {{name: [] for name in answers}}
while len(seconds["right"]) < 3 or not Path({stop!r}).exists():
    for name, function in answers.items():
        start = time.perf_counter()
        verdict = check(function)
        seconds[name].append(time.perf_counter() - start)
        assert (verdict.status == "right") == (name == "right")
    time.sleep(0.2)
print(json.dumps({{"check": seconds, "cpu_seconds": time.process_time()}}))
"""


def run(notebook):
    """Execute a notebook in a kernel of its own: seconds, and what its last cell has printed as JSON."""
    start = time.perf_counter()
    resources = {"metadata": {"path": str(LESSONS)}}
    NotebookClient(notebook, timeout=3600, resources=resources, coalesce_streams=True).execute()
    seconds = time.perf_counter() - start
    lines = "".join(output.get("text", "") for output in notebook.cells[-1].outputs).strip().split("\n")
    return {"seconds": seconds} | json.loads(lines[-1])


def notebook_of(*sources):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def lesson(number):
    """A lesson's notebook, with a last cell that measures its kernel."""
    [path] = LESSONS.glob(f"{number:02}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PROBE))
    return notebook


def run_at_once(numbers):
    """Run lessons that start together, beside a kernel that checks answers: rows of the lessons and of that kernel."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(numbers) + 1) as pool:
        stop = Path(folder, "stop")
        checks = pool.submit(run, notebook_of(CHECKER.format(stop=str(stop))))
        try:
            rows = dict(zip(numbers, pool.map(run, map(lesson, numbers)), strict=True))
        finally:
            stop.touch()
        return rows, checks.result()


def class_of(alone):
    """What `STUDENTS` on `CORES` cores of this kind see, by computation."""
    cpu = {number: row["cpu_seconds"] for number, row in alone.items()}
    longest = max(cpu, key=cpu.get)
    return {
        "students": STUDENTS,
        "cores": CORES,
        "seconds if all run a lesson at once, mean over lessons": STUDENTS / CORES * mean(cpu.values()),
        f"seconds if all run lesson {longest} at once": STUDENTS / CORES * cpu[longest],
        f"share of the cores in use, {RUNS} runs in {MINUTES} minutes": STUDENTS * RUNS * mean(cpu.values())
        / (CORES * MINUTES * 60),
        "GB, if all have run the lesson that leaves the most": STUDENTS * max(r["pss"] for r in alone.values()) / 1e3,
        "GB, if all are at their peak at the same moment": STUDENTS * max(r["peak"] for r in alone.values()) / 1e3,
    }  # fmt: skip


def main():
    args = make_parser("hub", __doc__).parse_args()
    result = {"machine": describe("cpu"), "load before": os.getloadavg()[0]}
    result["new kernel"], result["imported"] = run(notebook_of(PROBE)), run(notebook_of(IMPORTS, PROBE))
    result["alone"], result["at once"] = {}, []
    print("lesson    seconds   processor   PSS, MB   peak, MB   threads")
    for number in sorted(AT_ONCE[-1]):
        row = result["alone"][number] = run(lesson(number))
        print(f"{number:6}{row['seconds']:11.1f}{row['cpu_seconds']:12.1f}{row['pss']:10.0f}{row['peak']:11.0f}"
              f"{row['threads']:10}", flush=True)  # fmt: skip
    cores = result["machine"]["cores"]
    for numbers in ((), *AT_ONCE):
        load = os.getloadavg()[0]
        rows, checker = run_at_once(numbers)
        last = max((row["seconds"] for row in rows.values()), default=0.0)
        work = sum(row["cpu_seconds"] for row in (*rows.values(), checker)) / cores
        checks = {name: {"median": median(times), "longest": max(times)} for name, times in checker["check"].items()}
        ratios = {number: row["seconds"] / result["alone"][number]["seconds"] for number, row in rows.items()}
        result["at once"].append({"load before": load, "lessons": rows, "times as long as alone": ratios,
                                  "check": checks, "seconds until all are done": last,
                                  "processor seconds / cores": work})  # fmt: skip
        print(
            f"{len(rows)} at once: all done after {last:.0f} s (work / cores {work:.0f} s); check, median and longest:",
            ", ".join(f"{name} {row['median']:.1f}, {row['longest']:.1f}" for name, row in checks.items()),
            flush=True,
        )
    result["class"] = class_of(result["alone"])
    result["load after"] = os.getloadavg()[0]
    print(*(f"{name}: {value:.3g}" for name, value in result["class"].items()), sep="\n")
    write(result, args.out / "hub.json")
    print(f"written: {args.out / 'hub.json'}")


if __name__ == "__main__":
    main()
