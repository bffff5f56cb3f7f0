"""The acts of a stretch of the history, read out of the ledger.

Acts stand in an order in which each finds what it found then. A publication looked at the loads up to one;
others were committed while it wrote. So it stands before the first load that it did not look at.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from sqlalchemy import Connection, select

from jobs.replay.acts import (
    ENDS,
    VERDICTS,
    Act,
    Collect,
    Complete,
    Decide,
    Elsewhere,
    Expire,
    Finish,
    Judge,
    Load,
    Publish,
    Recorded,
    Row,
    Settle,
)
from schemas import tables
from schemas.checksum import DIGITS
from schemas.fault_codes import BY_OPERATOR


def read(tx: Connection, *, edc: str, after: int, until: int) -> list[Act]:
    """The acts of an EDC whose end is told by the events above `after`, up to `until`."""
    event = tables.event
    where = (event.c.id > after) & (event.c.id <= until)
    query = select(event).where(where).order_by(event.c.id)
    events = [dict(row) for row in tx.execute(query).mappings()]
    return _Reader(tx=tx, edc=edc, events=events).acts()


def verdict_on(tx: Connection, *, edc: str, day: date) -> Judge | None:
    """The act of the verdict on a usage day; None when none was given."""
    event = tables.event
    where = (event.c.about == f"{edc}/{day}") & event.c.name.in_(VERDICTS)
    row = tx.execute(select(event).where(where).order_by(event.c.id).limit(1)).mappings().one_or_none()
    return None if row is None else _judge(dict(row))


def _judge(row: Row) -> Judge:
    said = row["details"]
    day = date.fromisoformat(row["about"].partition("/")[2])
    return Judge(day=day, at=row["at"], under=said["under"], through=said["through"], event_id=row["id"])


@dataclass(slots=True, kw_only=True)
class _Reader:
    tx: Connection
    edc: str
    events: list[Row]
    found: list[Act] = field(default_factory=list)

    def acts(self) -> list[Act]:
        for place, row in enumerate(self.events):
            for act in self._of(row, place):
                self._put(act)
        return self.found

    def _of(self, row: Row, place: int) -> Iterator[Act]:
        kind, _, _ = row["name"].partition(".")
        if row["name"] in ENDS and row["partner"] == self.edc:
            by_operator = row["details"].get("code") == BY_OPERATOR
            yield Recorded(drop_id=row["about"]) if by_operator else self._load(row)
        elif kind == "sync" and row["partner"] == self.edc:
            yield from self._sync(row, place)
        elif row["name"] == "publication.recorded":
            yield self._publish(row) if row["partner"] == self.edc else Elsewhere(publication_id=row["about"])
        elif row["name"] == "publication.laid_out":
            yield from self._laid_out(row)
        elif row["name"] in {"outbound.collected", "outbound.expired"}:
            yield from self._outbound(row)
        elif row["name"] in VERDICTS and row["partner"] == self.edc:
            yield _judge(row)

    def _load(self, end: Row) -> Load:
        told = _rows(self.tx, tables.event, tables.event.c.about == end["about"])
        said = [one["details"]["under"] for one in told if "under" in one["details"]]
        load = _rows(self.tx, tables.load, tables.load.c.drop_id == end["about"])
        files = _rows(self.tx, tables.lake_file, tables.lake_file.c.drop_id == end["about"])
        return Load(
            drop_id=end["about"],
            under=said[0] if said else self._under(end["id"]),
            told=tuple(told),
            seq=load[0]["seq"] if load else 0,
            lake_file_id=files[0]["id"] if files else 0,
            days=frozenset(file["usage_date"] for file in files),
            checksums=self._checksums(
                end, [one["details"]["name"] for one in told if "name" in one["details"]]
            ),
        )

    def _checksums(self, end: Row, names: list[str]) -> dict[str, str]:
        """What lay beside a drop's file when it was held to that, by the name of each."""
        event = tables.event
        about = [f"{name}.{kind}" for name in names[-1:] for kind in DIGITS]
        where = event.c.about.in_(about) & event.c.name.in_(("checksum.matched", "checksum.mismatched"))
        said: dict[str, str] = {}
        for row in _rows(self.tx, event, where & (event.c.partner == self.edc)):
            in_time = row["id"] < end["id"] or end["details"].get("code") == "checksum"
            if row["details"]["drop"] == end["about"] and in_time:
                said.setdefault(row["about"], row["details"]["wanted"])
        return said

    def _under(self, event_id: int) -> str:
        """The circumstances that were noted last before an event that does not say under which it was."""
        event = tables.event
        where = (event.c.name == "circumstances.noted") & (event.c.id < event_id)
        query = select(event.c.about).where(where).order_by(event.c.id.desc()).limit(1)
        return self.tx.execute(query).scalar_one_or_none() or ""

    def _sync(self, row: Row, place: int) -> Iterator[Act]:
        name, said = row["name"], row["details"]
        if name == "sync.completed" and not self._came_with_a_part(row, place):
            yield Complete(at=row["at"])
        elif name == "sync.assembled" and not self._enforced_at_once(row, place):
            yield self._settle(row, Counter({name: 1}))
        elif name == "sync.enforced":
            yield self._settle(row, Counter({"sync.assembled": 1, name: 1}))
        elif name in {"sync.held", "sync.rejected"} or (name == "sync.outdated" and "under" in said):
            yield self._settle(row, Counter({name: 1}))
        elif name in {"sync.approved", "sync.refused"}:
            (sync,) = _rows(self.tx, tables.sync, tables.sync.c.id == row["about"])
            yield Decide(
                sync_id=row["about"],
                at=row["at"],
                by=said["by"],
                approved=name == "sync.approved",
                why=sync["why"],
            )

    def _came_with_a_part(self, row: Row, place: int) -> bool:
        before = self.events[place - 1] if place else None
        return (
            before is not None
            and before["name"] == "drop.loaded"
            and before["details"].get("sync") == row["about"]
            and before["at"] == row["at"]
        )

    def _enforced_at_once(self, row: Row, place: int) -> bool:
        return any(
            one["name"] == "sync.enforced" and one["about"] == row["about"] and one["at"] == row["at"]
            for one in self.events[place:]
        )

    def _settle(self, row: Row, allowed: Counter[str]) -> Settle:
        return Settle(sync_id=row["about"], at=row["at"], under=row["details"]["under"], allowed=allowed)

    def _publish(self, row: Row) -> Publish:
        return Publish(
            ids=[row["about"]],
            at=row["at"],
            under=row["details"]["under"],
            through=row["details"]["looked_through"],
            rewrites="replaces" in row["details"],
            unfetched="unfetched" in row["details"] or "replaces" not in row["details"],
            nobodys="nobodys" in row["details"],
            release=self._released(row),
            allowed=Counter({"publication.recorded": 1}),
        )

    def _released(self, row: Row) -> tuple[str, ...]:
        """The drops whose late blocks an operator gave free for a publication."""
        held, was, file = tables.held, tables.held_before, tables.lake_file
        freed = (held.c.reason == "late") & (held.c.edc == self.edc) & (held.c.released_at == row["at"])
        query = select(file.c.drop_id).join(held, held.c.lake_file_id == file.c.id)
        drops = set(self.tx.execute(query.where(freed)).scalars())
        still = (was.c.reason == "late") & (was.c.publication_id == row["about"])
        drops.update(self.tx.execute(query.join(was, was.c.held_id == held.c.id).where(still)).scalars())
        return tuple(sorted(drops))

    def _laid_out(self, row: Row) -> Iterator[Act]:
        for act in reversed(self.found):
            if isinstance(act, Publish) and row["about"] in act.ids:
                if act.at == row["at"]:
                    act.allowed["publication.laid_out"] += 1
                    return
                break
        of = _rows(self.tx, tables.publication, tables.publication.c.id == row["about"])
        if of and of[0]["edc"] == self.edc:
            yield Finish(at=row["at"])

    def _outbound(self, row: Row) -> Iterator[Act]:
        file = tables.outbound_file
        where = (file.c.egs == row["partner"]) & (file.c.name == row["about"]) & (file.c.edc == self.edc)
        for one in _rows(self.tx, file, where):
            if row["name"] == "outbound.expired":
                yield Expire(egs=one["egs"], name=one["name"], at=row["at"])
                continue
            collection = tables.collection
            mine = (collection.c.outbound_file_id == one["id"]) & (collection.c.ended_at == row["at"])
            for read in _rows(self.tx, collection, mine)[:1]:
                yield Collect(row=read, name=one["name"])

    def _put(self, act: Act) -> None:
        """In its place: what looked at loads stands before the first that it did not look at."""
        if isinstance(act, Publish):
            self._put_publication(act)
        elif isinstance(act, Judge):
            place = _first(self.found, lambda one: act.day in one.days and one.seq > act.through)
            self.found.insert(place, act)
        else:
            self.found.append(act)

    def _put_publication(self, act: Publish) -> None:
        place = _first(self.found, lambda one: one.seq > act.through)
        before = self.found[place - 1] if place else None
        if isinstance(before, Publish) and before.rewrites and not act.rewrites and before.at == act.at:
            # One run wrote both: withdrawn files again, and then what was new.
            ids, allowed = [*before.ids, *act.ids], before.allowed + act.allowed
            self.found[place - 1] = replace(act, ids=ids, allowed=allowed, unfetched=before.unfetched)
            return
        self.found.insert(place, act)


def _first(acts: Sequence[Act], wanted: Any) -> int:
    """The place of the first load that is wanted, or the end."""
    return next((n for n, one in enumerate(acts) if isinstance(one, Load) and wanted(one)), len(acts))


def _rows(tx: Connection, table: Any, where: Any) -> list[Row]:
    query = select(table).where(where).order_by(*table.primary_key)
    return [dict(row) for row in tx.execute(query).mappings()]
