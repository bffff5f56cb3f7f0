"""Syncs in the ledger: forming part by part, then in force, or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from jobs.stores.ledger import events
from schemas import ids, tables
from schemas.drop import IllegalMoveError

_sync, _part = tables.sync, tables.sync_part


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """One meter data sync of an EDC. States: forming → complete → (held →) withdrawing → in-force →
    superseded; or rejected (at fault), refused (by an operator), older (than the one in force).
    """

    id: str
    edc: str
    as_of: date
    parts: int
    state: str
    began_at: datetime
    completed_at: datetime | None = None
    in_force_at: datetime | None = None
    superseded_at: datetime | None = None
    path: str = ""
    sha256: str = ""
    rows: int = 0
    accounts: int = 0
    due: int = 0
    moved: int = 0
    share_moved: float = 0.0
    why: str = ""


_COLUMNS = [_sync.c[field.name] for field in fields(Sync)]

NEXT: Mapping[str, frozenset[str]] = {
    "forming": frozenset({"complete", "older"}),
    "complete": frozenset({"held", "withdrawing", "rejected", "older"}),
    "held": frozenset({"withdrawing", "refused", "older"}),
    "withdrawing": frozenset({"in-force", "older"}),
    "in-force": frozenset({"superseded"}),
    "superseded": frozenset(),
    "rejected": frozenset(),
    "refused": frozenset(),
    "older": frozenset(),
}


def forming(tx: Connection, *, edc: str, as_of: date, parts: int, at: datetime) -> Sync:
    """The sync that a part of this EDC, date and number of parts belongs to; begun when there is none."""
    where = (
        (_sync.c.edc == edc)
        & (_sync.c.as_of == as_of)
        & (_sync.c.parts == parts)
        & (_sync.c.state == "forming")
    )
    found = _all(tx, where)
    if found:
        return found[0]
    same_date = (_sync.c.edc == edc) & (_sync.c.as_of == as_of)
    count = int(tx.execute(select(func.count()).select_from(_sync).where(same_date)).scalar_one())
    begun = Sync(
        id=ids.sync(edc, as_of, count + 1), edc=edc, as_of=as_of, parts=parts, state="forming", began_at=at
    )
    tx.execute(
        insert(_sync).values(id=begun.id, edc=edc, as_of=as_of, parts=parts, state="forming", began_at=at)
    )
    events.record(tx, "sync.begun", at=at, about=begun.id, partner=edc, parts=parts)
    return begun


def keep_part(tx: Connection, *, sync_id: str, part: int, drop_id: str, path: str, rows: int) -> None:
    """Add a part; one that came before under the same number gives way to it."""
    tx.execute(delete(_part).where((_part.c.sync_id == sync_id) & (_part.c.part == part)))
    tx.execute(insert(_part).values(sync_id=sync_id, part=part, drop_id=drop_id, path=path, rows=rows))


def parts_of(tx: Connection, sync_id: str) -> list[Any]:
    """Rows (part, drop_id, path, rows) of a sync, by part."""
    query = select(_part.c.part, _part.c.drop_id, _part.c.path, _part.c.rows)
    return list(tx.execute(query.where(_part.c.sync_id == sync_id).order_by(_part.c.part)))


def parts_there(tx: Connection) -> dict[str, int]:
    """How many parts have come, by sync."""
    query = select(_part.c.sync_id, func.count().label("parts")).group_by(_part.c.sync_id)
    return {row.sync_id: row.parts for row in tx.execute(query)}


def keep_parts_again(tx: Connection, sync: Sync) -> bool:
    """Add the parts that a forming sync lacks and that came as duplicates of parts of another sync of its
    date, since that was complete. Says whether all parts are there now.
    """
    again, drop, other = tables.drop.alias("again"), tables.drop, _sync.alias("other")
    missing = set(range(1, sync.parts + 1)) - {part.part for part in parts_of(tx, sync.id)}
    query = (
        select(_part.c.part, again.c.id, _part.c.path, _part.c.rows)
        .join(drop, drop.c.id == _part.c.drop_id)
        .join(again, again.c.duplicate_of == drop.c.id)
        .join(other, other.c.id == _part.c.sync_id)
        .where((other.c.edc == sync.edc) & (other.c.as_of == sync.as_of) & (other.c.parts == sync.parts))
        .where(_part.c.part.in_(missing) & (again.c.arrived_at > other.c.completed_at))
        .order_by(again.c.arrived_at, again.c.id)
    )
    found = {row.part: row for row in tx.execute(query)}  # of several the latest
    for row in found.values():
        keep_part(tx, sync_id=sync.id, part=row.part, drop_id=row.id, path=row.path, rows=row.rows)
    return len(found) == len(missing)


def move(
    tx: Connection,
    sync: Sync,
    state: str,
    *,
    event: str,
    at: datetime,
    say: dict[str, Any] | None = None,
    **changes: Any,
) -> Sync:
    """Bring a sync to a state, with its event. Raises IllegalMoveError and changes nothing when it cannot
    come from where it stands to there.
    """
    standing = get(tx, sync.id).state
    if state not in NEXT[standing]:
        raise IllegalMoveError(f"{sync.id} is {standing} and cannot become {state}")
    tx.execute(update(_sync).where(_sync.c.id == sync.id).values(state=state, **changes))
    noted = {name: value for name, value in changes.items() if not isinstance(value, datetime)}
    events.record(tx, event, at=at, about=sync.id, partner=sync.edc, **((say or {}) | noted))
    return get(tx, sync.id)


def get(tx: Connection, sync_id: str) -> Sync:
    """The sync of that id. Raises KeyError when there is none."""
    found = _all(tx, _sync.c.id == sync_id)
    if not found:
        raise KeyError(sync_id)
    return found[0]


def in_force(tx: Connection, edc: str) -> Sync | None:
    """The sync that says today who may see what of an EDC."""
    found = _all(tx, (_sync.c.edc == edc) & (_sync.c.state == "in-force"))
    return found[0] if found else None


def in_force_at(tx: Connection, edc: str, instant: datetime) -> Sync | None:
    """The sync that was in force at an instant."""
    where = (
        (_sync.c.edc == edc)
        & (_sync.c.in_force_at <= instant)
        & (_sync.c.superseded_at.is_(None) | (_sync.c.superseded_at > instant))
    )
    found = _all(tx, where)
    return found[0] if found else None


def that_ruled(tx: Connection, edc: str, *, since: datetime | None) -> list[Sync]:
    """The syncs that were in force at any time since an instant, or ever, in the order they came to be."""
    where = (_sync.c.edc == edc) & _sync.c.in_force_at.is_not(None)
    if since is not None:
        where &= _sync.c.superseded_at.is_(None) | (_sync.c.superseded_at > since)
    return sorted(_all(tx, where), key=lambda sync: (sync.in_force_at, sync.id))


def in_state(tx: Connection, *states: str) -> list[Sync]:
    """The syncs in any of these states, in the order they began."""
    return _all(tx, _sync.c.state.in_(states))


def listed(tx: Connection, *, edc: str = "") -> list[Sync]:
    """All syncs of an EDC, or of all, oldest first."""
    return _all(tx, _sync.c.edc == edc if edc else _sync.c.id != "")


def ends(tx: Connection, them: Sequence[Sync]) -> dict[str, dict[str, str]]:
    """Of syncs, by id: `approved_by`, who let one pass the brake; `superseded_by`, which one took its place."""
    event = tables.event
    said = {"sync.approved": "approved_by", "sync.superseded": "superseded_by"}
    query = select(event.c.about, event.c.name, event.c.details).where(
        event.c.about.in_([one.id for one in them]) & event.c.name.in_(said)
    )
    found: dict[str, dict[str, str]] = {}
    for about, name, details in tx.execute(query.order_by(event.c.id)):
        found.setdefault(about, {})[said[name]] = details["by"]
    return found


def comes_before(tx: Connection, one: Sync, other: Sync) -> bool:
    """The order of syncs: by as-of date, then by the arrival of their last parts, in whatever order those were
    loaded and whatever the clock showed. One that still forms arrives last.
    """
    if one.as_of != other.as_of or one.completed_at is None or other.completed_at is None:
        return one.as_of < other.as_of
    return (_arrival(tx, one), one.completed_at) < (_arrival(tx, other), other.completed_at)


def _arrival(tx: Connection, sync: Sync) -> int:
    """The place in the history at which the last part of a sync arrived."""
    event = tables.event
    parts = select(_part.c.drop_id).where(_part.c.sync_id == sync.id)
    where = event.c.about.in_(parts) & (event.c.name == "drop.arrived")
    return int(tx.execute(select(func.max(event.c.id)).where(where)).scalar_one() or 0)


def _all(tx: Connection, where: ColumnElement[bool]) -> list[Sync]:
    return [
        _read(row)
        for row in tx.execute(select(*_COLUMNS).where(where).order_by(_sync.c.began_at, _sync.c.id))
    ]


def _read(row: Row[Any]) -> Sync:
    return Sync(**row._asdict())
