"""Publications, outbound files, what is held back, and who collected what, in the ledger."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    String,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    true,
    update,
)

from jobs.stores.ledger import events
from jobs.stores.ledger.tallies import Tally
from schemas import ids, tables

_pub, _file, _held, _collected = (
    tables.publication,
    tables.outbound_file,
    tables.held,
    tables.collection,
)
LIVE = ("recorded", "laid-out")
_CHUNK = 5_000  # rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundFile:
    """One file for one EGS. States: recorded → laid-out → withdrawn or expired."""

    id: int = 0  # given by the ledger
    egs: str
    sequence: int
    name: str
    edc: str
    publication_id: str
    sync_id: str
    state: str
    sha256: str
    bytes: int
    blocks: int
    intervals: int
    estimated: int
    versions_above_1: int
    usage_days: tuple[date, ...]
    contents: str  # below state/: which blocks it holds
    replaces: str = ""
    laid_out_at: datetime | None = None
    withdrawn_at: datetime | None = None
    withdrawn_by: str = ""
    rewrite_due: bool = False
    replaced_by: str = ""
    expired_at: datetime | None = None
    collected_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A block that is loaded and not published: its account is unknown (suspense) or its EGS no partner
    (unclaimed), or it came late and waits for an operator.
    """

    id: int = 0  # given by the ledger
    edc: str
    lake_file_id: int
    account: str
    channel: str
    reason: str
    egs_duns: str = ""
    since: datetime


_COLUMNS = [_file.c[field.name] for field in fields(OutboundFile)]
_NAMED = select(*_COLUMNS).where((_file.c.name == bindparam("named")) & (_file.c.egs == bindparam("of")))
_COLLECTED = insert(_collected)
HELD_BLOCK = ("lake_file_id", "account", "channel", "reason", "egs_duns")  # in the order of their tally
_HELD_COLUMNS = [_held.c[field.name] for field in fields(Held)]


def cursor(tx: Connection, edc: str) -> int:
    """The last load of an EDC that a publication has looked at."""
    where = _pub.c.edc == edc
    return int(tx.execute(select(func.max(_pub.c.through_seq)).where(where)).scalar_one() or 0)


def last_sync(tx: Connection, edc: str) -> str:
    """The sync that the latest publication of an EDC went by; empty before the first. Those that only wrote
    withdrawn files again looked at nothing new.
    """
    query = select(_pub.c.sync_id).where((_pub.c.edc == edc) & (_pub.c.replaces == ""))
    query = query.order_by(_pub.c.through_seq.desc(), _pub.c.id.desc()).limit(1)
    return tx.execute(query).scalar_one_or_none() or ""


def begin(
    tx: Connection,
    *,
    edc: str,
    sync_id: str,
    at: datetime,
    after_seq: int,
    through_seq: int,
    files: int,
    blocks: int,
    looked_through: int,
    under: str,
    replaces: str = "",
) -> str:
    """A new publication; its id. `looked_through`: the last load that was there; one that only writes
    withdrawn files again leaves it to the next. `under`: the circumstances (jobs.stores.circumstances).
    """
    day = ids.publication_day(at)
    latest = select(func.max(_pub.c.id)).where(_pub.c.id.between(day, day + "~"))
    last = tx.execute(latest).scalar_one_or_none()
    publication_id = ids.publication(at, 1 if last is None else int(last.removeprefix(day)) + 1)
    tx.execute(
        insert(_pub).values(
            id=publication_id,
            edc=edc,
            sync_id=sync_id,
            at=at,
            after_seq=after_seq,
            through_seq=through_seq,
            files=files,
            blocks=blocks,
            laid_out=files == 0,
            replaces=replaces,
        )
    )
    events.record(
        tx,
        "publication.recorded",
        at=at,
        about=publication_id,
        partner=edc,
        files=files,
        blocks=blocks,
        after_seq=after_seq,
        through_seq=through_seq,
        looked_through=looked_through,
        sync=sync_id,
        under=under,
        **({"replaces": replaces} if replaces else {}),
    )
    return publication_id


def last_sequences(tx: Connection, egss: Collection[str]) -> dict[str, int]:
    """By EGS, the number of the last file that it was given; 0 if there is none."""
    last = select(func.max(_file.c.sequence))
    return {egs: tx.execute(last.where(_file.c.egs == egs)).scalar_one() or 0 for egs in egss}


def used_names(tx: Connection, *, low: str, high: str) -> set[tuple[str, str]]:
    """Which names from `low` to `high` were ever given to which EGS: pairs of EGS and name."""
    query = select(_file.c.egs, _file.c.name).where((_file.c.name >= low) & (_file.c.name <= high))
    return {(egs, name) for egs, name in tx.execute(query)}


def add(tx: Connection, files: Sequence[OutboundFile], contents: Sequence[str], *, at: datetime) -> None:
    """Files of a publication. The hash of each, and that of the list of its blocks (`contents`), are bound to
    the chain.
    """
    if files:
        tx.execute(insert(_file), [_values(asdict(file)) for file in files])
    for file, contents_sha256 in zip(files, contents, strict=True):
        say = {name: getattr(file, name) for name in ("sequence", "sha256", "bytes", "blocks")}
        say |= {"publication": file.publication_id, "contents_sha256": contents_sha256}
        events.record(tx, "outbound.recorded", at=at, about=file.name, partner=file.egs, **say)
        if file.replaces:
            _replaced(tx, egs=file.egs, name=file.replaces, by=file.name)


def note(tx: Connection, file_id: int, **changes: Any) -> None:
    tx.execute(update(_file).where(_file.c.id == file_id).values(**changes))


def get(tx: Connection, file_id: int) -> OutboundFile:
    return _all(tx, _file.c.id == file_id)[0]


def withdraw(tx: Connection, file: OutboundFile, *, by: str, at: datetime, rewrite_due: bool) -> None:
    """A file is taken back, because a sync takes an account in it from its EGS."""
    where = _file.c.id == file.id
    changes = {"state": "withdrawn", "withdrawn_at": at, "withdrawn_by": by, "rewrite_due": rewrite_due}
    tx.execute(update(_file).where(where).values(**changes))
    events.record(
        tx, "outbound.withdrawn", at=at, about=file.name, partner=file.egs, by=by, rewrite=rewrite_due
    )


def _replaced(tx: Connection, *, egs: str, name: str, by: str) -> None:
    """A withdrawn file was written again under another name."""
    where = (_file.c.egs == egs) & (_file.c.name == name)
    tx.execute(update(_file).where(where).values(replaced_by=by))


def laid_out(tx: Connection, publication_id: str, *, at: datetime) -> None:
    """Every file of the publication has appeared."""
    where = (_file.c.publication_id == publication_id) & (_file.c.state == "recorded")
    tx.execute(update(_file).where(where).values(state="laid-out", laid_out_at=at))
    tx.execute(update(_pub).where(_pub.c.id == publication_id).values(laid_out=True))
    events.record(tx, "publication.laid_out", at=at, about=publication_id)


def unfinished(tx: Connection, edc: str) -> list[str]:
    """Publications that are recorded and whose files have not all appeared."""
    where = (_pub.c.edc == edc) & ~_pub.c.laid_out
    return list(tx.execute(select(_pub.c.id).where(where).order_by(_pub.c.id)).scalars())


def of_publication(tx: Connection, publication_id: str) -> list[OutboundFile]:
    return _all(tx, _file.c.publication_id == publication_id)


def live(tx: Connection, *, edc: str) -> list[OutboundFile]:
    """The files of an EDC's readings that lie in outbound folders, or are about to."""
    return _all(tx, (_file.c.edc == edc) & _file.c.state.in_(LIVE))


def rewrites_due(tx: Connection, *, edc: str) -> list[OutboundFile]:
    """Withdrawn files that are to be written again without what their EGS has lost."""
    return _all(tx, (_file.c.edc == edc) & _file.c.rewrite_due)


def laid_out_before(tx: Connection, instant: datetime) -> list[OutboundFile]:
    """Files, laid out or withdrawn since, whose time in outbound/ began before `instant`, oldest first."""
    where = (
        _file.c.state.in_(["laid-out", "withdrawn"])
        & _file.c.expired_at.is_(None)
        & (_file.c.laid_out_at < instant)
    )
    query = select(*_COLUMNS).where(where).order_by(_file.c.laid_out_at, _file.c.id)
    return [_read(row) for row in tx.execute(query)]


def named(tx: Connection, name: str, *, egs: str = "") -> list[OutboundFile]:
    """The files of that name, of one EGS or of all."""
    if not egs:
        return _all(tx, _file.c.name == name)
    return [_read(row) for row in tx.execute(_NAMED, {"named": name, "of": egs})]


def withdrawn_by(tx: Connection, sync_id: str, *, edc: str) -> list[OutboundFile]:
    """The files that were taken back because of a sync."""
    return _all(tx, (_file.c.edc == edc) & (_file.c.state == "withdrawn") & (_file.c.withdrawn_by == sync_id))


def laid_out_since(tx: Connection, instant: datetime) -> list[OutboundFile]:
    """The files laid out from `instant` on whose time in outbound/ is not over, oldest first."""
    where = (_file.c.laid_out_at >= instant) & _file.c.expired_at.is_(None)
    query = select(*_COLUMNS).where(where).order_by(_file.c.laid_out_at, _file.c.id)
    return [_read(row) for row in tx.execute(query)]


def listed(tx: Connection, *, egs: str = "") -> list[OutboundFile]:
    """Outbound files by sequence: all, or an EGS's."""
    return _all(tx, _file.c.egs == egs if egs else true())


def given_of(tx: Connection, *, egs: str, edc: str, day: date) -> list[OutboundFile]:
    """The files that an EGS was given with blocks of an EDC's usage day, withdrawn ones among them, by sequence."""
    of_day = cast(_file.c.usage_days, String).contains(f'"{day.isoformat()}"')
    return _all(tx, (_file.c.egs == egs) & (_file.c.edc == edc) & (_file.c.state != "recorded") & of_day)


def hold(tx: Connection, some: Iterable[pa.Table], *, edc: str, since: datetime) -> Tally:
    """Hold blocks back (lake_file_id, account, channel, reason, egs_duns), which are not held yet; their tally."""
    tally = Tally()
    for batch in (batch for blocks in some for batch in blocks.to_batches(max_chunksize=_CHUNK)):
        rows = [row | {"edc": edc, "since": since} for row in batch.to_pylist()]
        for row in rows:
            tally.add(*(row[name] for name in HELD_BLOCK))
        if rows:
            tx.execute(insert(_held), rows)
    return tally


def held(tx: Connection, *, edc: str, reason: str = "") -> list[Held]:
    """What is held back of an EDC's blocks, by file, account and channel."""
    where = (_held.c.edc == edc) & _held.c.released_at.is_(None)
    if reason:
        where &= _held.c.reason == reason
    return _held_rows(tx, where)


def held_of(tx: Connection, lake_file_id: int) -> list[Held]:
    """What is held back of one lake file's blocks, by account and channel."""
    return _held_rows(tx, (_held.c.lake_file_id == lake_file_id) & _held.c.released_at.is_(None))


def files_held(tx: Connection, *, edc: str, why: Collection[tuple[str, str]]) -> list[int]:
    """The lake files of which any block is held for one of these reasons and EGS DUNS, by id."""
    found: set[int] = set()
    for reason, duns in why:
        where = (_held.c.edc == edc) & _held.c.released_at.is_(None)
        where &= (_held.c.reason == reason) & (_held.c.egs_duns == duns)
        found.update(tx.execute(select(_held.c.lake_file_id).where(where).distinct()).scalars())
    return sorted(found)


def _held_rows(tx: Connection, where: ColumnElement[bool]) -> list[Held]:
    query = select(*_HELD_COLUMNS).where(where)
    query = query.order_by(_held.c.lake_file_id, _held.c.account, _held.c.channel)
    return [Held(**row._asdict()) for row in tx.execute(query)]


def held_counts(tx: Connection, edc: str) -> dict[tuple[str, str], int]:
    """How many blocks are held, by reason and EGS DUNS."""
    where = (_held.c.edc == edc) & _held.c.released_at.is_(None)
    query = select(_held.c.reason, _held.c.egs_duns, func.count()).where(where)
    rows = tx.execute(query.group_by(_held.c.reason, _held.c.egs_duns))
    return {(reason, duns): count for reason, duns, count in rows}


def release(tx: Connection, held_ids: list[int], *, at: datetime, to: str) -> None:
    """Blocks are held no more: published by `to`, or `to` says why they never will be."""
    for start in range(0, len(held_ids), 500):
        where = _held.c.id.in_(held_ids[start : start + 500])
        tx.execute(update(_held).where(where).values(released_at=at, release=to))


def rehold(tx: Connection, held_ids: list[int], *, reason: str, egs_duns: str, found_by: str) -> None:
    """Blocks stay held for another reason than before, as the publication `found_by` finds."""
    for start in range(0, len(held_ids), 500):
        where = _held.c.id.in_(held_ids[start : start + 500])
        by = literal(found_by).label("publication_id")
        was = select(_held.c.id, _held.c.reason, _held.c.egs_duns, by).where(where)
        columns = ("held_id", "reason", "egs_duns", "publication_id")
        tx.execute(insert(tables.held_before).from_select(columns, was.order_by(_held.c.id)))
        tx.execute(update(_held).where(where).values(reason=reason, egs_duns=egs_duns))


def collected(tx: Connection, **row: Any) -> None:
    """Somebody read an outbound file; see schemas.tables.collection."""
    tx.execute(_COLLECTED, row)


def collections_of(tx: Connection, file_id: int) -> list[dict[str, Any]]:
    where = _collected.c.outbound_file_id == file_id
    rows = tx.execute(select(_collected).where(where).order_by(_collected.c.id))
    return [dict(row) for row in rows.mappings()]


def _all(tx: Connection, where: ColumnElement[bool]) -> list[OutboundFile]:
    query = select(*_COLUMNS).where(where).order_by(_file.c.egs, _file.c.sequence)
    return [_read(row) for row in tx.execute(query)]


def _read(row: Row[Any]) -> OutboundFile:
    known = row._asdict()
    known["usage_days"] = tuple(date.fromisoformat(day) for day in known["usage_days"])
    return OutboundFile(**known)


def _values(row: dict[str, Any]) -> dict[str, Any]:
    del row["id"]
    row["usage_days"] = [day.isoformat() for day in row["usage_days"]]
    return row
