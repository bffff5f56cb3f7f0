"""The place: whether the disks and the ledger of a home can be worked with just now.

What fails because of its place is no fault of its own: it waits, and goes on when the place is sound again.
"""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from jobs.stores import files
from jobs.stores.ledger import LedgerUnreachable
from jobs.stores.opened import Stores
from schemas import tables

_FULL_OR_CLOSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong with the place, in a word and in an operator's words."""

    code: str  # disk-full | disk-read-only | folder-missing | ledger-unreachable
    what: str


def look(stores: Stores) -> tuple[Trouble, ...]:
    """What is wrong with the disks. A question to the file systems: some microseconds each."""
    return tuple(_troubles(stores))


def look_closely(stores: Stores) -> tuple[Trouble, ...]:
    """The same, and whether the ledger can be asked."""
    return (*_troubles(stores), *_ledger(stores))


def room_left(stores: Stores) -> int:
    """The bytes that may still be written before a disk counts as full; 0 or less: it does."""
    free = min((_free(os.statvfs(folder)) for folder in _folders(stores)), default=0)
    return free - stores.settings.storage.min_free_bytes


def is_at_fault(error: BaseException, stores: Stores) -> bool:
    """Whether work failed because of its place: judged by the error, and where that does not say, by trying
    whether anything can be written there.
    """
    if isinstance(error, LedgerUnreachable):
        return True
    if not isinstance(error, OSError):
        return False
    return error.errno in _FULL_OR_CLOSED or bool(look(stores)) or not _takes_writes(stores)


def told(error: BaseException, stores: Stores) -> str:
    """What stopped work whose place was at fault, and what to do about it, in an operator's words."""
    if not isinstance(error, OSError):
        return str(error)
    state = stores.home.state
    path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else state
    near = path.parents if path.is_absolute() else (state,)
    at = next((one for one in (*near, *state.parents) if one.is_dir()), Path("/"))
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        why = os.strerror(error.errno) if error.errno else str(error)
        return f"{path} cannot be written: {why}; see who may write there"
    found = os.statvfs(at)
    there = f"though {_free(found):,} bytes of its disk are free: make more room, or raise the quota"
    if found.f_files and not found.f_favail:
        there = "its disk can hold no more files: take some away"
    return f"there is no room left in {at} ({os.strerror(error.errno or 0)}), {there}"


def _folders(stores: Stores) -> tuple[Path, ...]:
    home = stores.home
    return (home.state, home.sftp_root, stores.archive.root, stores.lake.root, home.staging)


def _troubles(stores: Stores) -> Iterator[Trouble]:
    least = stores.settings.storage.min_free_bytes
    told: set[tuple[str, int]] = set()  # a disk is named once
    for folder in _folders(stores):
        try:
            found, disk = os.statvfs(folder), folder.stat().st_dev
        except OSError as error:
            what = f"{folder} cannot be used: {error.strerror}"
            yield Trouble(code="folder-missing", what=what)
            continue
        if not folder.is_dir():
            what = f"{folder} is not a folder"
            yield Trouble(code="folder-missing", what=what)
        elif found.f_flag & os.ST_RDONLY and ("ro", disk) not in told:
            told.add(("ro", disk))
            yield Trouble(code="disk-read-only", what=f"the disk of {folder} can only be read")
        elif (free := _free(found)) < least and ("full", disk) not in told:
            told.add(("full", disk))
            what = f"the disk of {folder} has {free:,} bytes free, and storage.min_free_bytes is {least:,}"
            yield Trouble(code="disk-full", what=what)


def _ledger(stores: Stores) -> Iterator[Trouble]:
    try:
        with stores.ledger.read() as tx:
            tx.execute(select(tables.claim.c.key).limit(1))
    except LedgerUnreachable as error:
        yield Trouble(code="ledger-unreachable", what=error.message)


def _takes_writes(stores: Stores) -> bool:
    try:
        for folder in _folders(stores):
            probe = folder / f".{stores.owner.name}.probe{files.ASIDE}"
            files.write(probe, b"whether this can be written")
            files.remove(probe)
    except OSError:
        return False
    return True


def _free(found: os.statvfs_result) -> int:
    return found.f_bavail * found.f_frsize
