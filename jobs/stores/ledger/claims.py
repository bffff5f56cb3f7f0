"""Claims: who works on what, so that a server and commands beside it never do the same work twice.

An owner is a lock file that its process holds for as long as it lives. When the process dies, by
whatever cause, the lock is free, and its claims may be taken over. Who leaves its claims without giving them
back, because the ledger cannot be written, renames the file: nobody has died of what it was doing.
"""

import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from enum import IntEnum
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from jobs.stores.ledger import Ledger, LedgerUnreachable
from schemas import tables


class Taken(IntEnum):
    """Whether a claim was taken: not at all, free as it was, or over from a process that died with it."""

    NOT = 0
    FREE = 1
    OVER = 2


class Owner:
    """This process, as the other processes of the home see it."""

    def __init__(self, locks: Path) -> None:
        locks.mkdir(parents=True, exist_ok=True)
        self.locks = locks
        self._begin()

    def _begin(self) -> None:
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._path = self.locks / f"{self.name}{_HELD}"
        aside = self.locks / f".{self.name}{_HELD}"
        self._file = aside.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        aside.rename(self._path)  # whoever sees it finds it locked

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()

    def leave(self) -> None:
        """Let go of all that this process has claimed, without the ledger, and go on under another name."""
        self._path.rename(self._path.with_suffix(_LEFT))
        self._file.close()
        self._begin()

    def put_away(self, pids: Iterable[int]) -> None:
        """These processes were ended by us: what they had in hand is free, and no fault of its own."""
        for pid in pids:
            for path in self.locks.glob(f"{pid}-*{_HELD}"):
                path.with_suffix(_GONE).touch()
                path.rename(path.with_suffix(_LEFT))

    def is_alive(self, name: str) -> bool:
        """Whether the process that calls itself `name` still runs, and has not left its claims."""
        return name == self.name or _is_held(self.locks / f"{name}{_HELD}")

    def died(self, name: str) -> bool:
        """Of one that is not alive: whether it was cut off, and did not leave its claims."""
        return not (self.locks / f"{name}{_LEFT}").exists()

    def gone(self) -> list[Path]:
        """What tells of processes that ended without closing, and may have left more behind than claims."""
        held = self.locks.glob(f"[!.]*{_HELD}")
        dead = [path for path in held if not _is_held(path) and path.exists()]  # and was not closed just now
        return [*dead, *self.locks.glob(f"*{_GONE}")]

    def forget(self, gone: Iterable[Path]) -> None:
        """What these left behind is cleared up, or will be by their claims."""
        for path in gone:
            path.unlink(missing_ok=True)

    def clear_up(self) -> None:
        """Remove the locks of processes that are gone, after their claims were taken back; `gone` tells of
        them still.
        """
        for path in self.locks.glob(f"[!.]*{_HELD}"):
            if not _is_held(path):
                with suppress(FileNotFoundError):  # closed meanwhile, or another clears up
                    path.rename(path.with_suffix(_GONE))
        for path in self.locks.glob(f".*{_HELD}"):
            if not _is_held(path):
                path.unlink(missing_ok=True)
        for path in self.locks.glob(f"*{_LEFT}"):
            path.unlink(missing_ok=True)


_HELD, _LEFT, _GONE = ".lock", ".left", ".gone"


def lives(locks: Path, name: str) -> bool:
    """For those who only look: whether the process that calls itself `name` still runs."""
    return _is_held(locks / f"{name}{_HELD}")


def _is_held(path: Path) -> bool:
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def take(tx: Connection, key: str, *, owner: Owner, now: datetime) -> Taken:
    """Claim `key` within a writing transaction. Taken.NOT when another living process has it."""
    held_by = tx.execute(select(tables.claim.c.owner).where(tables.claim.c.key == key)).scalar_one_or_none()
    if held_by is not None:
        if owner.is_alive(held_by):
            return Taken.NOT
        give_back(tx, key)
    tx.execute(insert(tables.claim).values(key=key, owner=owner.name, since=now))
    return Taken.OVER if held_by is not None and owner.died(held_by) else Taken.FREE


def take_back(tx: Connection, *, owner: Owner) -> list[str]:
    """Free what processes had in hand that are gone. The keys of those that were cut off."""
    rows = tx.execute(select(tables.claim.c.key, tables.claim.c.owner)).all()
    gone = [(key, name) for key, name in rows if not owner.is_alive(name)]
    for key, _ in gone:
        give_back(tx, key)
    return [key for key, name in gone if owner.died(name)]


def give_back(tx: Connection, key: str) -> None:
    tx.execute(delete(tables.claim).where(tables.claim.c.key == key))


@contextmanager
def claimed(ledger: Ledger, key: str, *, owner: Owner, now: datetime) -> Iterator[bool]:
    """Hold `key` while the block runs. Gives False, and holds nothing, when another has it."""
    with ledger.write() as tx:
        mine = bool(take(tx, key, owner=owner, now=now))
    try:
        yield mine
    finally:
        if mine:
            hand_back(ledger, key, owner=owner)


def hand_back(ledger: Ledger, key: str, *, owner: Owner) -> None:
    """Give back what was claimed. While the ledger cannot be written, all that is claimed is left instead."""
    try:
        with ledger.write() as tx:
            give_back(tx, key)
    except LedgerUnreachable:
        owner.leave()
        raise
