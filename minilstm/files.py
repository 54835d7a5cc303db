"""Writing a file in one piece."""

import os
from contextlib import suppress

from minilstm.errors import UserError


def write_whole(path, contents):
    """Write a file so that a kill at any moment leaves the old file or the new one, never half of one.

    The contents go beside the file, are flushed to the disk, and take its name only then.

    Parameters
    ----------
    path : Path
    contents : bytes or str
        A str is written as UTF-8.

    Raises
    ------
    UserError
        If the disk is full or the directory cannot be written; the old file is still there then.
    """
    contents = contents.encode() if isinstance(contents, str) else contents
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with open(unfinished, "wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}; make room or choose another place") from None
