"""Failures: how often in a row a piece of work came to nothing, why, and what is parked for it."""

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from jobs.stores.ledger import events
from schemas import tables

MOST = 3  # failures in a row, after which work is parked
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
    clear(tx, task)
    tx.execute(insert(_failure).values({column.name: getattr(failure, column.name) for column in _COLUMNS}))
    if parked_at is not None and (before is None or before.parked_at is None):
        events.record(
            tx, "work.parked", at=at, about=about, partner=partner, task=task, times=times, why=why[:500]
        )
    return failure


def clear(tx: Connection, task: str) -> None:
    """The task has gone well, or is to begin anew."""
    tx.execute(delete(_failure).where(_failure.c.task == task))


def clear_kind(tx: Connection, kind: str) -> None:
    """All tasks of a kind are to begin anew."""
    tx.execute(delete(_failure).where(_failure.c.task.startswith(f"{kind}:")))


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
    query = select(*_COLUMNS).where(_failure.c.parked_at.is_(None) & (_failure.c.times < MOST))
    return [Failure(**row._asdict()) for row in tx.execute(query.order_by(_failure.c.task))]


def of(tx: Connection, about: str) -> Failure | None:
    """What fails of a drop or sync, parked or not."""
    return find(tx, f"drop:{about}") or find(tx, f"sync:{about}")


def failing(tx: Connection) -> list[Failure]:
    """What is not parked, and has failed as often as what is."""
    query = select(*_COLUMNS).where(_failure.c.parked_at.is_(None) & (_failure.c.times >= MOST))
    return [Failure(**row._asdict()) for row in tx.execute(query.order_by(_failure.c.task))]
