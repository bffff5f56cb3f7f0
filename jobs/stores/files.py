"""Write aside, make durable, rename: the one place that puts files where others look for them.

Every write, fsync, rename and removal of the hub's passes here, and is a point at which `mishaps` can strike.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jobs.stores import mishaps

ASIDE = ".aside"


def write(path: Path, content: bytes | memoryview, *, mode: int = 0o644, durable: bool = True) -> None:
    """Put a whole file at `path`, or nothing. When it returns, the file outlives a power cut."""
    with written_aside(path) as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        if durable:
            sync_file(Path(file.name))
        rename(Path(file.name), path)
    if durable:
        sync_folder(path.parent)


@contextmanager
def written_aside(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path`, locked while this process lives; gone afterwards, unless it was renamed."""
    make_folder(path.parent)
    aside = path.with_name(f".{path.name[:180]}.{secrets.token_hex(4)}{ASIDE}")
    announce(aside)
    with aside.open("xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield file
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def announce(aside: Path) -> None:
    """A file is about to be written there, by other means than these."""
    if mishaps.ON:
        mishaps.strike("write", aside)


def is_left_over(aside: Path) -> bool:
    """Whether the process that wrote a file aside is gone."""
    try:
        with aside.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, BlockingIOError):
        return False
    return True


def settle(aside: Path, path: Path) -> None:
    """Move a file that was written aside to its place, durably: fsync, rename, fsync the folder."""
    sync_file(aside)
    appear(aside, path)


def appear(aside: Path, path: Path) -> None:
    """Move a file that is durable already to its place, durably: rename, fsync the folder."""
    make_folder(path.parent)
    rename(aside, path)
    sync_folder(path.parent)


def rename(path: Path, to: Path) -> None:
    """Give a file another name; durably only when the folder is synced, too."""
    if mishaps.ON:
        mishaps.strike("rename", path, to)
    path.rename(to)


def link(path: Path, to: Path) -> None:
    """Give a file a second name. Raises FileExistsError where a rename would replace."""
    if mishaps.ON:
        mishaps.strike("link", to)
    os.link(path, to)


def remove(path: Path, *, missing_ok: bool = True) -> None:
    """Take a file away, durably."""
    if mishaps.ON:
        mishaps.strike("remove", path)
    path.unlink(missing_ok=missing_ok)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, durably."""
    if path.is_dir():
        return
    make_folder(path.parent)
    if mishaps.ON:
        mishaps.strike("mkdir", path)
    path.mkdir(exist_ok=True)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    if mishaps.ON:
        mishaps.strike("fsync", path)
    _sync(path)
    if mishaps.ON:
        mishaps.synced(path)


def sync_folder(path: Path) -> None:
    sync_file(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
