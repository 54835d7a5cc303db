"""minilstm with an injected fault:  python tests/faults.py FAULT train ...

line:N    SIGKILL before the N-th executed line of the code that reads and writes a run's files
change:N  SIGKILL before the N-th renaming or removal of a file: between any two changes of a directory
half:N    the kernel kills the process when it writes byte N of a file (SIGXFSZ): a partly written file
full:N    no file can grow beyond N bytes: the write fails, as on a full disk
none:0    no fault
"""

import os
import resource
import signal
import sys
from pathlib import Path

import minilstm
from minilstm import ranks

PACKAGE = Path(minilstm.__file__).parent
WRITERS = {
    str(PACKAGE / name)
    for name in (
        "files.py",
        "runs/create.py",
        "runs/directory.py",
        "runs/checkpoint.py",
        "runs/best.py",
        "runs/moments.py",
        "runs/tensors.py",
        "runs/session.py",
        "runs/recorder.py",
        "runs/lock.py",
    )
}


def kill_at_line(number):
    """Kill this process before the `number`-th executed line of the WRITERS."""
    left = number

    def count(frame, event, _):
        nonlocal left
        left -= event == "line"
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return count

    sys.settrace(lambda frame, *_: count if frame.f_code.co_filename in WRITERS else None)


def kill_at_change(number):
    """Kill this process before its `number`-th renaming or removal of a file."""
    left = number

    def count(event, _):
        nonlocal left
        if event in ("os.rename", "os.remove"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main():
    kind, _, number = sys.argv[1].partition(":")
    if kind == "line":
        kill_at_line(int(number))
    elif kind == "change":
        kill_at_change(int(number))
    elif kind in ("half", "full"):
        if joined := ranks.join():
            joined.comm.allgather(bytes(10**6))  # the files that MPI needs for itself
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kind == "half" else signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    from minilstm.cli import main as minilstm_main

    return minilstm_main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
