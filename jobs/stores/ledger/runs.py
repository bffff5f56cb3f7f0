"""Verdicts and runs of scheduled jobs in the ledger: what was done for which business date, once."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from jobs.stores.ledger import events
from schemas import tables

_verdict, _run = tables.verdict, tables.job_run


def verdict(tx: Connection, *, edc: str, day: date) -> dict[str, Any] | None:
    """The verdict on an EDC's usage day, as a row of schemas.tables.verdict."""
    where = (_verdict.c.edc == edc) & (_verdict.c.usage_date == day)
    row = tx.execute(select(_verdict).where(where)).mappings().one_or_none()
    return None if row is None else dict(row)


def judged(tx: Connection, edc: str) -> set[date]:
    """The usage days of an EDC that have a verdict."""
    return set(tx.execute(select(_verdict.c.usage_date).where(_verdict.c.edc == edc)).scalars())


def outdated(tx: Connection, edc: str, *, since: date) -> list[date]:
    """The usage days, from `since` on, of which something was loaded after their last report."""
    file = tables.lake_file
    newer = (
        select(file.c.id)
        .where((file.c.edc == _verdict.c.edc) & (file.c.usage_date == _verdict.c.usage_date))
        .where((file.c.load_seq > _verdict.c.reported_seq) & (file.c.kind == "usage"))
    )
    query = select(_verdict.c.usage_date).where((_verdict.c.edc == edc) & (_verdict.c.usage_date >= since))
    return list(tx.execute(query.where(newer.exists()).order_by(_verdict.c.usage_date)).scalars())


def keep_verdict(tx: Connection, row: dict[str, Any]) -> None:
    """Record a verdict, or what has changed of one."""
    where = (_verdict.c.edc == row["edc"]) & (_verdict.c.usage_date == row["usage_date"])
    tx.execute(delete(_verdict).where(where))
    tx.execute(insert(_verdict).values(row))


def is_done(tx: Connection, job: str, key: str) -> bool:
    """Whether a job has run to its end for that key."""
    where = (_run.c.job == job) & (_run.c.key == key) & _run.c.ended_at.is_not(None)
    return tx.execute(select(_run.c.job).where(where)).first() is not None


def done_since(tx: Connection, job: str, key: str) -> set[str]:
    """The keys, from `key` on, for which a job has run to its end."""
    where = (_run.c.job == job) & (_run.c.key >= key) & _run.c.ended_at.is_not(None)
    return set(tx.execute(select(_run.c.key).where(where)).scalars())


def get(tx: Connection, job: str, key: str) -> dict[str, Any] | None:
    """The run of a job for that key."""
    row = tx.execute(select(_run).where((_run.c.job == job) & (_run.c.key == key))).mappings().one_or_none()
    return None if row is None else dict(row)


def began(tx: Connection, job: str, key: str, *, at: datetime) -> None:
    where = (_run.c.job == job) & (_run.c.key == key)
    tx.execute(delete(_run).where(where & _run.c.ended_at.is_(None)))
    tx.execute(insert(_run).values(job=job, key=key, began_at=at))


def ended(tx: Connection, job: str, key: str, *, at: datetime, **said: Any) -> None:
    where = (_run.c.job == job) & (_run.c.key == key)
    tx.execute(update(_run).where(where).values(ended_at=at, said=said))
    began_at = tx.execute(select(_run.c.began_at).where(where)).scalar_one()
    _tell(tx, job, key, began_at=began_at, at=at, said=said)


def said_hash(said: Mapping[str, Any]) -> str:
    """What a run said, as its event binds it."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _tell(
    tx: Connection, job: str, key: str, *, began_at: datetime, at: datetime, said: Mapping[str, Any]
) -> None:
    say = {"job": job, "began_at": began_at.isoformat(), "said_sha256": said_hash(said)}
    events.record(tx, "job.ended", at=at, about=key, **say)


def last(tx: Connection, limit: int = 20) -> list[dict[str, Any]]:
    """The latest runs, newest first."""
    rows = tx.execute(select(_run).order_by(_run.c.began_at.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


def latest(tx: Connection, job: str) -> dict[str, Any] | None:
    """The run of a job with the greatest key, which for dates is the latest."""
    query = select(_run).where(_run.c.job == job).order_by(_run.c.key.desc()).limit(1)
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else dict(row)


def keep(tx: Connection, job: str, key: str, *, at: datetime, **said: Any) -> None:
    """A run that has begun and ended at an instant; what the one before it under that key said is forgotten."""
    tx.execute(delete(_run).where((_run.c.job == job) & (_run.c.key == key)))
    tx.execute(insert(_run).values(job=job, key=key, began_at=at, ended_at=at, said=said))
    _tell(tx, job, key, began_at=at, at=at, said=said)
