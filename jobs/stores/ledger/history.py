"""The history cut in two: what had happened by an event or an instant, and what came later."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, select, true

from schemas import tables
from schemas.event import EVIDENCE

Row = dict[str, Any]
CHUNK = 2_000  # rows
_NOT_ASKED = sorted(EVIDENCE - {"outbound.recorded"})
# Of others it is asked only whom and what they are about.
_IN_FULL = ("drop.loaded", "publication.recorded", "outbound.collected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """Where the history is cut: after an event, in the order of what was done; or after an instant."""

    event_id: int = 0
    instant: datetime | None = None

    @property
    def earlier(self) -> ColumnElement[bool]:
        """Of events: whether they had happened."""
        event = tables.event.c
        return event.id <= self.event_id if self.instant is None else event.at <= self.instant

    @property
    def later(self) -> ColumnElement[bool]:
        """Of events: whether they had not."""
        return ~self.earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows are copied: of one EDC, of its lake's files those of these usage days, of its drops those
    that files and syncs name, and these; with `edc` empty, all.
    """

    edc: str = ""
    days: Collection[date] = ()
    drops: Collection[str] = ()

    def of(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        return column == self.edc if self.edc else true()

    def on(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        return column.in_(sorted(self.days)) if self.edc else true()


@dataclass(slots=True)
class Later:
    """What happened after the event: by event name, what each was about, in order. Without what tells of papers: no
    row goes by that.
    """

    until: Until
    events: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def read(cls, tx: Connection, until: Until) -> "Later":
        later, event = cls(until), tables.event
        for row in rows_of(tx, event, until.later & event.c.name.in_(_IN_FULL)):
            later.events[row["name"]].append(row)
        query = select(event.c.name, event.c.partner, event.c.about).order_by(event.c.id)
        others = query.where(until.later & event.c.name.not_in([*_IN_FULL, *_NOT_ASKED]))
        for one in tx.execute(others.execution_options(yield_per=CHUNK)).mappings():
            later.events[one["name"]].append(dict(one))
        return later

    def about(self, *names: str) -> set[str]:
        return {row["about"] for name in names for row in self.events[name]}


def rows_of(tx: Connection, table: Table, where: ColumnElement[bool]) -> Iterator[Row]:
    query = select(table).where(where).order_by(*table.primary_key)
    for row in tx.execute(query.execution_options(yield_per=CHUNK)).mappings():
        yield dict(row)


def known_by(tx: Connection, subjects: Collection[str], *, until: Until) -> set[str]:
    """Of these subjects those about which there was an event already."""
    event = tables.event
    wanted = sorted(subjects)
    found: set[str] = set()
    for start in range(0, len(wanted), CHUNK):
        where = event.c.about.in_(wanted[start : start + CHUNK]) & until.earlier
        found.update(tx.execute(select(event.c.about).where(where).distinct()).scalars())
    return found


def events_about(tx: Connection, about: str, *, until: Until, kind: str) -> list[Row]:
    event = tables.event
    where = (event.c.about == about) & until.earlier & event.c.name.startswith(kind)
    return list(rows_of(tx, event, where))
