"""Drops in the ledger. A stage and its event are one transaction."""

from collections.abc import Collection
from dataclasses import asdict, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, String, bindparam, func, insert, select, type_coerce, update

from jobs.stores.ledger import events
from schemas import ids, tables
from schemas.drop import ENDED, FAULTS_KEPT, UNDER_WAY, Drop, Outcome, Stage, check_move
from schemas.fault import Fault, deciding, first_few
from schemas.short import Short

_COLUMNS = tuple(field.name for field in fields(Drop))
_drop = tables.drop

# Made once: to make one takes longer than to carry it out.
_INSERT = insert(_drop)
_GET = select(_drop).where(_drop.c.id == bindparam("of"))
_IN_INBOUND = select(_drop).where(
    (_drop.c.partner == bindparam("of")) & (_drop.c.name == bindparam("named")) & _drop.c.in_inbound
)
_OF_A_DAY = select(_drop.c.id).where(_drop.c.id.between(bindparam("low"), bindparam("high"))).limit(1)
_LAST = _OF_A_DAY.order_by(_drop.c.id.desc())
_LAST_OF_MANY = _OF_A_DAY.order_by(func.length(_drop.c.id).desc(), _drop.c.id.desc())
_FULL = 99_999
_UPDATE = update(_drop).where(_drop.c.id == bindparam("of"))


def begin(tx: Connection, *, partner: str, name: str, stage: Stage, at: datetime, size: int) -> Drop:
    """A new drop, whose file lies in the sender's inbound/."""
    drop = Drop(
        id=ids.drop(at, _last_number(tx, ids.drop_day(at)) + 1),
        partner=partner,
        name=name,
        stage=stage,
        arrived_at=at,
        bytes=size,
        in_inbound=True,
    )
    put(tx, drop)
    events.record(tx, f"drop.{stage}", at=at, about=drop.id, partner=partner, name=name, bytes=size)
    return drop


def _last_number(tx: Connection, day: str) -> int:
    """The highest number of a day's drops; 0 when there is none. Numbers have five digits, until there are more:
    only then all of the day's are looked at.
    """
    among = {"low": day, "high": day + "~"}
    last = tx.execute(_LAST, among).scalar_one_or_none()
    if last is None:
        return 0
    if int(last.removeprefix(day)) >= _FULL:
        last = tx.execute(_LAST_OF_MANY, among).scalar_one()
    return int(last.removeprefix(day))


def put(tx: Connection, drop: Drop) -> None:
    """Add the row of a drop."""
    tx.execute(_INSERT, _values({name: getattr(drop, name) for name in _COLUMNS}))


def restore(tx: Connection, drop: Drop) -> None:
    """Put a drop into a ledger that is made again, as it is. Its events are for whoever knows them."""
    tx.execute(insert(_drop).values(_values(asdict(drop))))


def move(tx: Connection, drop: Drop, to: Stage, *, at: datetime, say: dict[str, Any], **changes: Any) -> Drop:
    """Bring a drop to its next stage, with its event. Raises IllegalMoveError and changes nothing
    when the table of stages, or somebody who was quicker, does not allow it.
    """
    standing = get(tx, drop.id)
    check_move(drop.id, standing.stage, to)
    if to in ENDED:
        changes["ended_at"] = at
    tx.execute(_UPDATE, {"of": drop.id, **_values({**changes, "stage": to})})
    events.record(tx, f"drop.{to}", at=at, about=drop.id, partner=drop.partner, **say)
    return get(tx, drop.id)


def refuse(
    tx: Connection, drop: Drop, faults: tuple[Fault, ...], *, at: datetime, under: str = "", **counts: Any
) -> Drop:
    """Bring a drop to its end: nothing of it is loaded. `under`: as for one that is accepted."""
    return move(
        tx,
        drop,
        Stage.REFUSED,
        at=at,
        say={"faults": len(faults), "code": deciding(faults).code, **({"under": under} if under else {})},
        outcome=Outcome.REJECTED,
        receipt_due=True,
        faults=first_few(faults, FAULTS_KEPT),
        faults_total=len(faults),
        **counts,
    )


def note(tx: Connection, drop_id: str, **changes: Any) -> None:
    """Change what is known of a drop without moving it."""
    if "stage" in changes:
        raise ValueError("a stage changes by move()")
    tx.execute(update(_drop).where(_drop.c.id == drop_id).values(_values(changes)))


def get(tx: Connection, drop_id: str) -> Drop:
    """The drop of that id. Raises KeyError when there is none."""
    row = tx.execute(_GET, {"of": drop_id}).one_or_none()
    if row is None:
        raise KeyError(drop_id)
    return _read(row)


def in_inbound(tx: Connection, *, partner: str, name: str) -> Drop | None:
    """The drop whose file lies under that name in the partner's inbound/."""
    row = tx.execute(_IN_INBOUND, {"of": partner, "named": name}).one_or_none()
    return None if row is None else _read(row)


def at_stage(tx: Connection, stages: Collection[Stage]) -> list[Drop]:
    """The drops at any of these stages, none of them an end, in the order of their arrival."""
    where = _drop.c.ended_at.is_(None) & _drop.c.stage.in_([str(stage) for stage in stages])
    return _all(tx.execute(select(_drop).where(where).order_by(_drop.c.arrived_at, _drop.c.id)))


def receipts_due(tx: Connection) -> list[Drop]:
    """The drops at their end whose final receipt is not known to be written."""
    return _all(tx.execute(select(_drop).where(_drop.c.receipt_due).order_by(_drop.c.id)))


def twin(tx: Connection, drop: Drop) -> Drop | None:
    """Another drop of the same bytes by the same sender that was taken, or is being. A part of a sync was
    not if the sync is rejected or refused as a whole, or another part has taken its place.
    """
    part, sync = tables.sync_part, tables.sync
    stands = select(part.c.part).join(sync).where(sync.c.state.not_in(["rejected", "refused"]))
    stands = stands.where((part.c.sync_id == _drop.c.sync_id) & (part.c.drop_id == _drop.c.id))
    where = (
        (_drop.c.partner == drop.partner)
        & (_drop.c.sha256 == drop.sha256)
        & (_drop.c.id != drop.id)
        & _drop.c.stage.in_([Stage.ACCEPTED, Stage.LOADED])
        & ((_drop.c.sync_id == "") | stands.exists())
    )
    found = _all(tx.execute(select(_drop).where(where)))  # few; in order they would be sought among all
    return min(found, key=lambda one: (one.arrived_at, one.id), default=None)


def under_way_by(tx: Connection, *, partner: str, instant: datetime) -> int:
    """How many of the partner's drops had arrived by `instant` and are not at their end yet."""
    under_way = at_stage(tx, UNDER_WAY)  # few, whatever came before
    return sum(drop.partner == partner and drop.arrived_at <= instant for drop in under_way)


def first_arrival(tx: Connection, partner: str) -> datetime | None:
    """When the partner's first upload ended; None when nothing ever came."""
    query = select(_drop.c.arrived_at).where(_drop.c.partner == partner)
    first: datetime | None = tx.execute(query.order_by(_drop.c.arrived_at).limit(1)).scalar_one_or_none()
    return first


def senders(tx: Connection) -> list[str]:
    """Who ever sent a drop that was received."""
    query = select(_drop.c.partner).where(_drop.c.sha256 != "").distinct().order_by(_drop.c.partner)
    return list(tx.execute(query).scalars())


def days_received(tx: Connection, partner: str) -> list[str]:
    """The UTC days, `2013-09-03`, on which drops of a partner arrived that were received."""
    day = func.substr(type_coerce(_drop.c.arrived_at, String), 1, 10)
    query = select(day).where((_drop.c.partner == partner) & (_drop.c.sha256 != "")).distinct().order_by(day)
    return list(tx.execute(query).scalars())


def received_on(tx: Connection, partner: str, day: str, *, names: Collection[str] = ()) -> list[Drop]:
    """The drops of a partner that arrived on a UTC day and were received, in the order of their arrival; only
    those with these names, if there are any.
    """
    at = type_coerce(_drop.c.arrived_at, String)
    where = (_drop.c.partner == partner) & (at >= day) & (at < f"{day}~") & (_drop.c.sha256 != "")
    if names:
        where &= _drop.c.name.in_(names)
    return _all(tx.execute(select(_drop).where(where).order_by(_drop.c.arrived_at, _drop.c.id)))


def listed(
    tx: Connection,
    *,
    partner: str = "",
    name: str = "",
    stage: Stage | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    only: Collection[str] | None = None,
    limit: int = 1000,
) -> list[Drop]:
    """The latest drops, newest first, of a partner, a file name, a stage or a span of arrivals; `only`: of
    these ids.
    """
    query = select(_drop).order_by(_drop.c.arrived_at.desc(), _drop.c.id.desc()).limit(limit)
    if partner:
        query = query.where(_drop.c.partner == partner)
    if name:
        query = query.where(_drop.c.name == name)
    if only is not None:
        query = query.where(_drop.c.id.in_(only))
    if stage is not None:
        query = query.where(_drop.c.stage == str(stage))
    if since is not None:
        query = query.where(_drop.c.arrived_at >= since)
    if until is not None:
        query = query.where(_drop.c.arrived_at < until)
    return _all(tx.execute(query))


def _all(rows: Any) -> list[Drop]:
    return [_read(row) for row in rows]


def _values(changes: dict[str, Any]) -> dict[str, Any]:
    written = dict(changes)
    if "faults" in written:
        written["faults"] = [f if isinstance(f, dict) else asdict(f) for f in written["faults"]]
    if "usage_days" in written:
        written["usage_days"] = [day.isoformat() for day in written["usage_days"]]
    if "shorts" in written:
        kept = [one if isinstance(one, dict) else asdict(one) for one in written["shorts"]]
        written["shorts"] = [one | {"usage_day": one["usage_day"].isoformat()} for one in kept]
    for key in ("stage", "outcome"):
        if written.get(key) is not None:
            written[key] = str(written[key])
    return written


def _read(row: Row[Any]) -> Drop:
    known = {name: getattr(row, name) for name in _COLUMNS}
    known["stage"] = Stage(known["stage"])
    known["outcome"] = Outcome(known["outcome"]) if known["outcome"] else None
    known["usage_days"] = tuple(date.fromisoformat(day) for day in known["usage_days"])
    known["faults"] = tuple(Fault(**fault) for fault in known["faults"])
    known["checked"] = tuple(known["checked"])
    known["shorts"] = tuple(
        Short(**one | {"usage_day": date.fromisoformat(one["usage_day"])}) for one in known["shorts"]
    )
    return Drop(**known)
