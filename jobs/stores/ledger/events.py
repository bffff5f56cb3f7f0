"""The history: one row for each thing that happened, in the transaction that made it happen.

Its rows are a chain: each carries a hash of itself and of the hash before it, so that none can be changed,
taken out or put in without every hash behind it being other than it was. Who keeps a *head*, the number
and hash of the newest event, somewhere else can have all that came before held to it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, String, cast, insert, select, type_coerce

from jobs.stores.ledger import CHAIN, SAID
from jobs.stores.mailboxes import Laid
from schemas import tables
from schemas.event import EVENTS

_event = tables.event
_INSERT = insert(_event)
_HEAD = select(_event.c.id, _event.c.hash).order_by(_event.c.id.desc()).limit(1)
_CHUNK = 5_000  # rows
PAPERS = {"receipts": "receipt.laid", "reports": "report.laid", "outbound": "manifest.laid"}  # by folder
SHEET = "sheet.laid"  # in reports/


@dataclass(frozen=True, slots=True)
class Head:
    """An event of the chain and its hash; that of the newest one says all that happened until then."""

    id: int
    hash: str

    def __str__(self) -> str:
        return f"{self.id}:{self.hash}"

    @classmethod
    def read(cls, said: str) -> "Head":
        """A head from what it says of itself."""
        number, _, hashed = said.partition(":")
        return cls(int(number), hashed)


NOTHING_YET = Head(0, "")


@dataclass(frozen=True, slots=True)
class Told:
    """An event that is about to be added: its name, of the vocabulary (schemas/event.py), and what it tells."""

    name: str
    about: str = ""
    partner: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """One event as it is kept: text as it stands in the database, so that its hash can be taken again."""

    id: int
    at: str  # schemas.tables.ISO
    name: str
    partner: str
    about: str
    details: str  # JSON
    hash: str

    def hash_after(self, before: str) -> str:
        """The hash this event has when `before` is that of the event before it: SHA-256, in hex, of seven
        lines, which anybody can write down and hash: the hash before, then the fields in their order.
        """
        lines = (before, str(self.id), self.at, self.name, self.partner, self.about, self.details)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def record(
    tx: Connection, name: str, /, *, at: datetime, about: str = "", partner: str = "", **details: Any
) -> None:
    """Add an event of the vocabulary (schemas/event.py) about a drop, sync, publication or file."""
    record_all(tx, [Told(name, about=about, partner=partner, details=details)], at=at)


def record_all(tx: Connection, told: Sequence[Told], *, at: datetime) -> None:
    """Add events of one instant, in their order, in one statement.

    A writing transaction is alone, so nobody can put another event between the last one and these.
    """
    if not told:
        return
    before = tx.info.get(CHAIN) or head(tx)
    text = at.astimezone(UTC).strftime(tables.ISO)
    rows = []
    for one in told:
        if one.name not in EVENTS:
            raise ValueError(f"no such event: {one.name}; add it to schemas/event.py")
        link = Link(
            id=before.id + 1,
            at=text,
            name=one.name,
            partner=one.partner,
            about=one.about,
            details=json.dumps(one.details),
            hash="",
        )
        before = Head(link.id, link.hash_after(before.hash))
        rows.append(asdict(link) | {"at": at, "details": one.details, "hash": before.hash})
    tx.execute(_INSERT, rows)
    tx.info[CHAIN] = before
    tx.info[SAID] += [(one.name, {"about": one.about, "partner": one.partner, **one.details}) for one in told]


def laid(tx: Connection, *papers: Laid, at: datetime, about: str) -> None:
    """Bind what lies in partners' folders to the chain: their hashes, about what they tell of."""
    record_all(tx, [of_paper(paper, about=about) for paper in papers], at=at)


def of_paper(paper: Laid, *, about: str) -> Told:
    """What is told of a paper that lies in a partner's folder, about what it tells of."""
    details = {"file": paper.name, "sha256": paper.sha256}
    return Told(PAPERS[paper.folder], about=about, partner=paper.partner, details=details)


def about(tx: Connection, subject: str) -> list[dict[str, Any]]:
    """All events about a drop, sync, publication or file, oldest first."""
    rows = tx.execute(select(_event).where(_event.c.about == subject).order_by(_event.c.id))
    return [dict(row) for row in rows.mappings()]


def of_partner(tx: Connection, partner: str, *, after: int, through: int) -> list[dict[str, Any]]:
    """The events of a partner behind one event of the chain and up to another, oldest first."""
    between = (_event.c.id > after) & (_event.c.id <= through)
    rows = tx.execute(select(_event).where(between & (_event.c.partner == partner)).order_by(_event.c.id))
    return [dict(row) for row in rows.mappings()]


def head(tx: Connection) -> Head:
    """The newest event and its hash."""
    row = tx.execute(_HEAD).one_or_none()
    return NOTHING_YET if row is None else Head(row.id, row.hash)


def has(tx: Connection, head: Head) -> bool:
    """Whether this head is one of the chain."""
    if head == NOTHING_YET:
        return True
    return tx.execute(select(_event.c.hash).where(_event.c.id == head.id)).scalar_one_or_none() == head.hash


def links(tx: Connection) -> Iterator[Link]:
    """Every event as it is kept, oldest first."""
    at = type_coerce(_event.c.at, String).label("at")
    details = cast(_event.c.details, String).label("details")
    c = _event.c
    query = select(c.id, at, c.name, c.partner, c.about, details, c.hash).order_by(c.id)
    for rows in tx.execute(query.execution_options(yield_per=_CHUNK)).partitions():
        yield from (Link(*row) for row in rows)
