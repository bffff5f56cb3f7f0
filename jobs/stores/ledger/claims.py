"""Claims: who works on what, so that a server and commands beside it never do the same work twice.

An owner is a lock file that its process holds for as long as it lives. When the process dies, by
whatever cause, the lock is free, and its claims may be taken over.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, delete, insert, select

from jobs.stores.ledger import Ledger
from schemas import tables


class Owner:
    """This process, as the other processes of the home see it."""

    def __init__(self, locks: Path) -> None:
        locks.mkdir(parents=True, exist_ok=True)
        self.locks = locks
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._path = locks / f"{self.name}.lock"
        aside = locks / f".{self.name}"
        self._file = aside.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        aside.rename(self._path)  # whoever sees it finds it locked

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()

    def is_alive(self, name: str) -> bool:
        """Whether the process that calls itself `name` still runs."""
        if name == self.name:
            return True
        path = self.locks / f"{name}.lock"
        try:
            with path.open("r") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        path.unlink(missing_ok=True)
        return False

    def clear_up(self) -> None:
        """Remove what processes left behind that ended without closing."""
        for path in self.locks.glob("*.lock"):
            self.is_alive(path.stem)


def take(tx: Connection, key: str, *, owner: Owner, now: datetime) -> bool:
    """Claim `key` within a writing transaction. False when another living process has it."""
    held_by = tx.execute(select(tables.claim.c.owner).where(tables.claim.c.key == key)).scalar_one_or_none()
    if held_by is not None:
        if owner.is_alive(held_by):
            return False
        give_back(tx, key)
    tx.execute(insert(tables.claim).values(key=key, owner=owner.name, since=now))
    return True


def give_back(tx: Connection, key: str) -> None:
    tx.execute(delete(tables.claim).where(tables.claim.c.key == key))


@contextmanager
def claimed(ledger: Ledger, key: str, *, owner: Owner, now: datetime) -> Iterator[bool]:
    """Hold `key` while the block runs. Gives False, and holds nothing, when another has it."""
    with ledger.write() as tx:
        mine = take(tx, key, owner=owner, now=now)
    try:
        yield mine
    finally:
        if mine:
            with ledger.write() as tx:
                give_back(tx, key)
