"""The history: one row for each thing that happened, in the transaction that made it happen."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from jobs.stores.ledger import SAID
from schemas import tables
from schemas.event import EVENTS


def record(
    tx: Connection, name: str, /, *, at: datetime, about: str = "", partner: str = "", **details: Any
) -> None:
    """Add an event of the vocabulary (schemas/event.py) about a drop, sync, publication or file."""
    if name not in EVENTS:
        raise ValueError(f"no such event: {name}; add it to schemas/event.py")
    tx.execute(insert(tables.event).values(at=at, name=name, about=about, partner=partner, details=details))
    tx.info[SAID].append((name, {"about": about, "partner": partner, **details}))


def about(tx: Connection, subject: str) -> list[dict[str, Any]]:
    """All events about a drop, sync, publication or file, oldest first."""
    rows = tx.execute(select(tables.event).where(tables.event.c.about == subject).order_by(tables.event.c.id))
    return [dict(row) for row in rows.mappings()]
