"""What a student's code may not do in its process: an audit hook, which Python cannot take away again.

This stops accidents and pranks and names them. It is no sandbox: code that means harm finds a way around any hook.
Only the standard library is imported here, because the student's process loads this file alone.
"""

import os
import sys

REFUSED = {
    **dict.fromkeys(("os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.exec", "os.system", "subprocess.Popen",
                     "pty.spawn", "_posixsubprocess.fork_exec"), "starting another process"),
    **dict.fromkeys(("os.kill", "os.killpg", "signal.pthread_kill"), "a signal to a process"),
    **dict.fromkeys(("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo"), "the network"),
    **dict.fromkeys(("ctypes.dlopen", "ctypes.dlsym", "ctypes.cdata"), "ctypes"),
    **dict.fromkeys(("gc.get_objects", "gc.get_referrers"), "looking through the process's objects"),
}  # fmt: skip
CHANGES = {  # events that change files -> how many of their first arguments are paths
    "os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.chmod": 1, "os.chown": 1, "os.truncate": 1, "os.utime": 1,
    "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.setxattr": 1, "os.chflags": 1,
}  # fmt: skip
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PACKAGES = "minilstm", "minilstm_lessons"


class RefusedError(PermissionError):
    """What a student's code may not do."""


class NotThereError(ImportError):
    """The course's package, which is not there while an answer is graded."""


def guard(scratch, folders, touched):
    """From now on refuse what leads out of the folder `scratch`, and any reading of the course's own folders.

    Parameters
    ----------
    scratch : str
    folders : list of str
        Of the packages whose files hold the solutions.
    touched : callable
        Called when the code wants to import one of these packages.
    """
    scratch = os.path.realpath(scratch)
    folders = [os.path.realpath(folder) for folder in folders]
    realpath, isdir, fsdecode, sep = os.path.realpath, os.path.isdir, os.fsdecode, os.sep

    def within(path, folder):
        return path == folder or path.startswith(folder + sep)

    def resolve(path):
        return realpath(fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""

    def hook(event, arguments):
        if event in REFUSED:
            raise RefusedError(f"{REFUSED[event]} is refused while an answer is graded")
        if event == "import" and arguments[0].partition(".")[0] in PACKAGES:
            touched()
            raise NotThereError(f"{arguments[0]} is not there while an answer is graded")
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int):
                return
            path = resolve(path)
            if within(path, "/proc") or any(within(path, folder) for folder in folders):
                raise RefusedError("reading files of the course or of a process is refused while an answer is graded")
            writes = flags & WRITES or (mode and any(letter in mode for letter in "wax+"))
            if writes and not within(path, scratch) and path != os.devnull:
                raise RefusedError("writing a file outside its folder is refused while an answer is graded")
            if mode is None and not within(path, scratch) and isdir(path):  # for os.unlink(..., dir_fd=...)
                raise RefusedError("changing files outside its folder is refused while an answer is graded")
        elif event in CHANGES:
            for path in arguments[: CHANGES[event]]:
                if isinstance(path, int) or not within(resolve(path), scratch):
                    raise RefusedError("changing files outside its folder is refused while an answer is graded")

    sys.addaudithook(hook)
