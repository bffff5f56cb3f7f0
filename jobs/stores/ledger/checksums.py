"""Checksums that lie beside files, in the ledger: no rows of their own, only what happened to each."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from schemas import tables

_event = tables.event
ARRIVED = "checksum.arrived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """What happened last to a checksum of that name: an event of the vocabulary, and when."""

    event: str
    at: datetime


def last(tx: Connection, *, partner: str, name: str) -> Last | None:
    """None for one that the ledger does not know: a crash came between its file and its event."""
    where = (_event.c.about == name) & (_event.c.partner == partner) & _event.c.name.startswith("checksum.")
    query = select(_event.c.name, _event.c.at).where(where).order_by(_event.c.id.desc()).limit(1)
    row = tx.execute(query).one_or_none()
    return None if row is None else Last(event=row.name, at=row.at)
