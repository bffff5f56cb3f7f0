"""The place of the one process that serves a home: a lock that is free again when its process is gone."""

import fcntl
import os
import time
from typing import IO

from config.errors import OperatorError
from config.home import Home

_BETWEEN = 0.05  # seconds between two looks whether it is free
_LOOKS = 400  # where a process has it that only looks itself (`state`): for an instant, but it may be held up
_SERVED = 5  # looks where one has it that serves, which may be leaving


def take(home: Home) -> IO[str]:
    """Take the place; closing what this returns, or dying, leaves it.

    Raises OperatorError if another process has it.
    """
    home.locks.mkdir(parents=True, exist_ok=True)
    file = (home.locks / "serving").open("a+")
    if not _is_had(file):
        file.seek(0)
        holder = file.readline().strip()
        file.close()
        raise OperatorError(
            "already-serving",
            f"another meterhub serves {home.root} already" + (f": process {holder}" if holder else ""),
            "one hub serves a home; stop that one first. Every other command works beside it",
        )
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def tell_port(file: IO[str], port: int) -> None:
    """Write down which port is listened on, for who asks with `port`. `file` is what `take` gave."""
    file.write(f"{port}\n")
    file.flush()


def port(home: Home) -> int | None:
    """The port that the process serving the home listens on; None: nobody does."""
    if state(home) != "serving":
        return None
    lines = (home.locks / "serving").read_text().splitlines()
    return int(lines[1]) if len(lines) > 1 else None


def state(home: Home) -> str:
    """Whether a process serves the home: `serving`, `stopped`, or `never` when none ever did."""
    try:
        file = (home.locks / "serving").open()
    except FileNotFoundError:
        return "never"
    with file:
        return "stopped" if _lock(file, fcntl.LOCK_SH) else "serving"


def _is_had(file: IO[str]) -> bool:
    """Lock the file for good. Says whether it could be."""
    served = 0
    for _ in range(_LOOKS):
        if _lock(file, fcntl.LOCK_EX):
            return True
        if _lock(file, fcntl.LOCK_SH):  # with those that only look
            fcntl.flock(file, fcntl.LOCK_UN)
        else:
            served += 1
            if served == _SERVED:
                return False
        time.sleep(_BETWEEN)
    return False


def _lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
