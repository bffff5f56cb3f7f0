"""Failures: how often in a row a piece of work came to nothing, why, what is parked for it, and what waits
because its place cannot be written.
"""

from dataclasses import dataclass, fields, replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from jobs.stores.ledger import events
from schemas import tables

MOST = 3  # failures in a row, after which work is parked
_WAITS = "waits:"  # before the task of work that only its place has stopped: that counts for itself
_failure = tables.failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Work that has not gone well since. `task`: its kind and what it was about, `drop:D130902-00042`."""

    task: str
    about: str
    partner: str
    times: int
    why: str
    last_at: datetime
    parked_at: datetime | None = None


_COLUMNS = [_failure.c[field.name] for field in fields(Failure)]


def count(
    tx: Connection, task: str, *, about: str, partner: str, why: str, at: datetime, parks: bool
) -> Failure:
    """One more failure of a task. `parks`: after the third it is left alone until an operator says so."""
    before = find(tx, task)
    times = (before.times if before else 0) + 1
    parked_at = (before.parked_at if before else None) or (at if parks and times >= MOST else None)
    failure = Failure(
        task=task, about=about, partner=partner, times=times, why=why[:500], last_at=at, parked_at=parked_at
    )
    _put(tx, failure)
    if parked_at is not None and (before is None or before.parked_at is None):
        events.record(
            tx, "work.parked", at=at, about=about, partner=partner, task=task, times=times, why=why[:500]
        )
    return failure


def wait(tx: Connection, task: str, *, about: str, partner: str, why: str, at: datetime) -> None:
    """A task was stopped by its place once more. It is no failure of its own, and never parks it."""
    before = find(tx, _WAITS + task)
    _put(
        tx,
        Failure(
            task=_WAITS + task, about=about, partner=partner, times=(before.times if before else 0) + 1,
            why=why[:500], last_at=at,
        ),
    )  # fmt: skip


def clear(tx: Connection, task: str) -> None:
    """The task has gone well, or is to begin anew."""
    tx.execute(delete(_failure).where(_failure.c.task.in_([task, _WAITS + task])))


def clear_kind(tx: Connection, kind: str) -> None:
    """All tasks of a kind are to begin anew."""
    for begins in (f"{kind}:", f"{_WAITS}{kind}:"):
        tx.execute(delete(_failure).where(_failure.c.task.startswith(begins)))


def retry(tx: Connection, failure: Failure, *, by: str, at: datetime) -> None:
    """An operator has parked work tried again, three times at most."""
    clear(tx, failure.task)
    events.record(
        tx, "work.retried", at=at, about=failure.about, partner=failure.partner, task=failure.task, by=by
    )


def refuse(tx: Connection, failure: Failure, *, by: str, why: str, at: datetime) -> None:
    """An operator has parked work come to an end without being done."""
    clear(tx, failure.task)
    events.record(
        tx, "work.refused", at=at, about=failure.about, partner=failure.partner,
        task=failure.task, by=by, why=why[:500],
    )  # fmt: skip


def find(tx: Connection, task: str) -> Failure | None:
    row = tx.execute(select(*_COLUMNS).where(_failure.c.task == task)).one_or_none()
    return None if row is None else Failure(**row._asdict())


def is_parked(tx: Connection, task: str) -> bool:
    found = find(tx, task)
    return found is not None and found.parked_at is not None


def parked(tx: Connection) -> list[Failure]:
    """What is parked, the longest first."""
    query = select(*_COLUMNS).where(_failure.c.parked_at.is_not(None))
    return [Failure(**row._asdict()) for row in tx.execute(query.order_by(_failure.c.parked_at))]


def tried(tx: Connection) -> list[Failure]:
    """What has failed, and is tried again by the next sweep: not yet as often as what is parked."""
    return _unparked(tx, _failure.c.times < MOST)


def of(tx: Connection, about: str) -> Failure | None:
    """What fails of a drop or sync, parked or not."""
    return find(tx, f"drop:{about}") or find(tx, f"sync:{about}")


def waits(tx: Connection, about: str) -> Failure | None:
    """How a drop or sync is stopped by its place, if it is."""
    return find(tx, f"{_WAITS}drop:{about}") or find(tx, f"{_WAITS}sync:{about}")


def waiting(tx: Connection) -> list[Failure]:
    """What waits because its place could not be written, by task, which is told as it is called elsewhere."""
    query = select(*_COLUMNS).where(_failure.c.task.startswith(_WAITS)).order_by(_failure.c.task)
    found = [Failure(**row._asdict()) for row in tx.execute(query)]
    return [replace(one, task=one.task.removeprefix(_WAITS)) for one in found]


def failing(tx: Connection) -> list[Failure]:
    """What is not parked, and has failed as often as what is."""
    return _unparked(tx, _failure.c.times >= MOST)


def _unparked(tx: Connection, which: ColumnElement[bool]) -> list[Failure]:
    own = _failure.c.parked_at.is_(None) & ~_failure.c.task.startswith(_WAITS)
    query = select(*_COLUMNS).where(own & which).order_by(_failure.c.task)
    return [Failure(**row._asdict()) for row in tx.execute(query)]


def _put(tx: Connection, failure: Failure) -> None:
    """In the place of what was said of the task before."""
    clear(tx, failure.task)
    tx.execute(insert(_failure).values({column.name: getattr(failure, column.name) for column in _COLUMNS}))
