"""The place of the one process that serves a home: a lock that is free again when its process is gone."""

import fcntl
import os
from typing import IO

from config.errors import OperatorError
from config.home import Home


def take(home: Home) -> IO[str]:
    """Take the place; closing what this returns, or dying, leaves it.

    Raises OperatorError if another process has it.
    """
    home.locks.mkdir(parents=True, exist_ok=True)
    file = (home.locks / "serving").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise OperatorError(
            "already-serving",
            f"another meterhub serves {home.root} already" + (f": process {holder}" if holder else ""),
            "one hub serves a home; stop that one first. Every other command works beside it",
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
