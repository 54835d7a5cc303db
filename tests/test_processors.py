"""The number of processors: affinity masks and control groups, with files as the kernel writes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minilstm import processors
from minilstm.processors import available_processors


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch):
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda process: set(range(8)), raising=False)


def write(root, files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return str(root)


CPU = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n"}, 8),
        # version 2, as inside a container: the path is / and the quota stands at the top
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "1600000 100000\n"}, 8),
        # the smallest of the quotas from the group up
        (
            {
                "proc/self/cgroup": "0::/user.slice/lab.scope\n",
                "sys/fs/cgroup/user.slice/cpu.max": "300000 100000\n",
                "sys/fs/cgroup/user.slice/lab.scope/cpu.max": "max 100000\n",
            },
            3,
        ),
        # both versions side by side
        ({"proc/self/cgroup": "1:cpu:/\n0::/a\n", "sys/fs/cgroup/unified/a/cpu.max": "400000 100000\n"}, 4),
        # version 1
        (
            {
                "proc/self/cgroup": "5:memory:/lab\n4:cpu,cpuacct:/lab\n",
                f"{CPU}/lab/cpu.cfs_quota_us": "250000\n",
                f"{CPU}/lab/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/lab/cpu.cfs_quota_us": "100000\n",  # not the processor's controller
                "sys/fs/cgroup/memory/lab/cpu.cfs_period_us": "100000\n",
            },
            2,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/\n",
                f"{CPU}/cpu.cfs_quota_us": "-1\n",
                f"{CPU}/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        # version 1 in a container: the path is the host's, which does not exist inside
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/0123abcd\n",
                f"{CPU}/cpu.cfs_quota_us": "50000\n",
                f"{CPU}/cpu.cfs_period_us": "25000\n",
            },
            2,
        ),
        # what is not understood does not limit
        ({"proc/self/cgroup": "nonsense\n\n0::/\n", "sys/fs/cgroup/cpu.max": "a b c\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 0\n"}, 8),
        ({"proc/self/cgroup": "0::/../../a\n", "sys/fs/cgroup/cpu.max": "100000 100000\n"}, 1),
    ],
)  # fmt: skip
def test_the_smallest_limit_counts(files, count, tmp_path):
    assert available_processors(write(tmp_path, files)) == count


def test_an_affinity_mask_limits(monkeypatch, tmp_path):
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda process: {5})
    assert available_processors(write(tmp_path, {})) == 1


def test_without_affinity_masks_all_processors_count(monkeypatch, tmp_path):
    monkeypatch.delattr(processors.os, "sched_getaffinity")
    monkeypatch.setattr(processors.os, "cpu_count", lambda: 6)
    assert available_processors(write(tmp_path, {})) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="affinity masks are set with sched_setaffinity on Linux only")
def test_a_real_affinity_mask_counts():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from minilstm.processors import available_processors as a; print(a())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "1\n"


GROUPS = Path("/sys/fs/cgroup/cpu")


@pytest.mark.skipif(
    not os.access(GROUPS / "cpu.cfs_quota_us", os.W_OK), reason="needs root and control groups, version 1"
)
def test_a_real_quota_counts():
    group = GROUPS / f"minilstm-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "cpu.cfs_quota_us").write_text("100000")
        code = "from minilstm.processors import available_processors as a; print(a())"
        result = subprocess.run(
            ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec {sys.executable} -c "{code}"'],
            capture_output=True,
            text=True,
        )
        assert result.stdout == "1\n"
    finally:
        group.rmdir()
