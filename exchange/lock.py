"""The place of the one process that serves a home: a lock that is free again when its process is gone."""

import fcntl
import os
import time
from typing import IO

from config.errors import OperatorError
from config.home import Home

_LOOKS = 5  # a process that only looks whether the place is taken (`state`) has it for an instant
_BETWEEN = 0.05  # seconds


def take(home: Home) -> IO[str]:
    """Take the place; closing what this returns, or dying, leaves it.

    Raises OperatorError if another process has it.
    """
    home.locks.mkdir(parents=True, exist_ok=True)
    file = (home.locks / "serving").open("a+")
    if not any(_lock(file, last=look == _LOOKS) for look in range(1, _LOOKS + 1)):
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
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "serving"
    return "stopped"


def _lock(file: IO[str], *, last: bool) -> bool:
    """Lock the file for good; a little later, if it is locked and this was not the last look."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not last:
            time.sleep(_BETWEEN)
        return False
    return True
