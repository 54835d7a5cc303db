"""What benchmarks/hub.py measures of a kernel: memory, and that the lessons compute on one thread."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import hub

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.slow
def test_the_kernel_of_a_lesson_computes_on_one_thread():
    several = "import threadpoolctl, numpy; threadpoolctl.threadpool_limits(2)"
    row = hub.run(hub.notebook_of(several, hub.IMPORTS, hub.PROBE))
    assert row["threads"] == 1
    assert 20 < row["pss"] <= row["rss"] <= row["peak"] < 1000
    assert 0 < row["cpu_seconds"] < row["seconds"]
    assert hub.run(hub.notebook_of(several, hub.PROBE))["threads"] == 2


@pytest.mark.slow
def test_answers_are_judged_in_a_kernel_of_their_own():
    rows, checker = hub.run_at_once(())
    assert rows == {}
    assert all(len(times) >= 3 for times in checker["check"].values())


def test_the_figures_of_a_class_follow_from_those_that_are_kept():
    path = Path(hub.__file__).parent / "results" / "hub.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert hub.class_of(kept["alone"]) == kept["class"]
    assert {row["threads"] for row in kept["alone"].values()} == {1}
