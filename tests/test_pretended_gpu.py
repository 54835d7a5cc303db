"""CuPy's real wheel over a pretended GPU, in processes of their own, which have no other CUDA: see pretended_gpu.py."""

import os
import subprocess
import sys
from pathlib import Path

import pretended_gpu
import pytest

HERE = Path(__file__).parent
REASON = pretended_gpu.missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=f"{REASON}")]


def run_pytest(*arguments):
    """Run pytest over the pretended device; nothing may fail or be skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pretended_gpu", *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    process = subprocess.run(command, cwd=HERE.parent, env=environment, capture_output=True, text=True)
    last_line = process.stdout.strip().splitlines()[-1]
    assert process.returncode == 0, process.stdout + process.stderr
    assert "skipped" not in last_line, last_line


def test_the_rules_of_a_capture_and_the_graph_of_a_step():
    run_pytest(HERE / "pretended_gpu_rules.py")


def test_the_tests_for_a_gpu():
    # Without three of them. Registers are those of another compiler. Finite differences are a million launches, and a
    # whole run has layers of 128 units: both take minutes here. The other file has a smaller run; test_kernels.py
    # checks the same kernels by finite differences.
    run_pytest(HERE / "test_gpu.py", "-k", "not overlap and not finite_differences and not resumed")
