"""The number of processors that this process may use.

The number of processors of the machine is too high where an affinity mask (taskset, a job scheduler) or the quota of a
control group (a container) allows fewer.
"""

import os
from collections.abc import Iterator
from pathlib import Path


def available_processors(root: str = "/") -> int:
    """Number of processors that the affinity mask and the control groups' quotas allow, rounded down, at least 1.

    Parameters
    ----------
    root : str
        The directory that holds proc and sys.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([count, *cgroup_quotas(Path(root))])))


def cgroup_quotas(root: Path) -> Iterator[float]:
    """The quotas, in processors, of this process's control groups and of all groups around them (Linux, v1 and v2)."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:  # "hierarchy:controllers:path"; version 2 names no controllers
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in [controllers, "cpu"] if controllers else ["unified", "."]:
            top = root / "sys/fs/cgroup" / mount
            group = top / path.lstrip("/")  # inside a container this may be the path on the host, which does not exist
            for folder in [group, *group.parents]:
                yield from read_quota(folder)
                if folder == top:
                    break


def read_quota(folder: Path) -> Iterator[float]:
    """The quota that one control group sets, if any."""
    try:
        if (folder / "cpu.max").exists():  # version 2: "quota period" in microseconds, or "max period"
            quota, period = (folder / "cpu.max").read_text().split()
        else:  # version 1: two files; a quota of -1 is none
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such controller here
        return
