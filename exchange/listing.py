"""Folders as clients list them: names and attributes in batches, without looking up who owns what."""

import os
import stat
from collections.abc import Generator, Iterable
from functools import lru_cache
from pathlib import Path
from time import gmtime, strftime

from exchange import namespace, sftp_v3
from exchange.namespace import Folder
from exchange.sftp_v3 import Attributes

_BATCH = 32_000  # bytes of one READDIR's answer: clients take 256 KiB, old ones less
_HALF_A_YEAR = 182 * 24 * 3600


class Listing:
    """A folder that is being listed. Memory does not grow with the folder: it is read as it is asked for."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Generator[bytes, None, None]) -> None:
        self._entries = entries

    def batch(self) -> list[bytes]:
        """The next entries; empty at the end. Reads from the disk."""
        entries: list[bytes] = []
        size = 0
        for entry in self._entries:
            entries.append(entry)
            size += len(entry)
            if size > _BATCH:
                break
        return entries

    def close(self) -> None:
        self._entries.close()


def of_top(folders: Iterable[tuple[Folder, Path]], *, now: float) -> Generator[bytes, None, None]:
    """The entries of the top folder. `now` (seconds since 1970) decides how dates are written."""
    top = Attributes(size=0, mode=namespace.ROOT_MODE, mtime=int(now))
    yield _entry(".", top, now)
    yield _entry("..", top, now)
    for folder, path in folders:
        yield _entry(folder.name, namespace.folder_attributes(folder, path), now)


def of_folder(folder: Folder, path: Path, *, now: float) -> Generator[bytes, None, None]:
    """The entries of a folder, in the order of the disk."""
    own = namespace.folder_attributes(folder, path)
    yield _entry(".", own, now)
    yield _entry("..", Attributes(size=0, mode=namespace.ROOT_MODE, mtime=own.mtime), now)
    with os.scandir(path) as entries:
        for entry in entries:
            seen = namespace.shown(folder, entry.name)
            if seen is None:
                continue
            name, whole = seen
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # taken away since the folder was opened
                continue
            if stat.S_ISREG(found.st_mode) and (whole or not (path / name).exists()):
                yield _entry(name, namespace.file_attributes(folder, found), now)


def of_entries(entries: Iterable[tuple[str, Attributes]], *, now: float) -> Generator[bytes, None, None]:
    """The entries of a folder that is on no disk: names and attributes."""
    own = Attributes(size=0, mode=namespace.ROOT_MODE, mtime=int(now))
    for name, attributes in ((".", own), ("..", own), *entries):
        yield _entry(name, attributes, now)


def _entry(name: str, attributes: Attributes, now: float) -> bytes:
    line = (
        f"{stat.filemode(attributes.mode)}    1 0        0        "
        f"{attributes.size:>12} {_date(attributes.mtime // 60, attributes.mtime > now - _HALF_A_YEAR)} {name}"
    )
    return sftp_v3.name(name.encode(), line.encode(), attributes.encode())


@lru_cache(maxsize=4096)
def _date(minute: int, recent: bool) -> str:
    """As `ls -l` writes it, in UTC."""
    return strftime("%b %e %H:%M" if recent else "%b %e  %Y", gmtime(minute * 60))
