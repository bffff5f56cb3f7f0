"""Outbound files, and who collected what, in the ledger. What is held back: `holds`; the runs that made files: `publications`."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    String,
    bindparam,
    cast,
    func,
    insert,
    select,
    true,
    update,
)

from jobs.stores.ledger import events
from jobs.stores.ledger.events import Told
from jobs.stores.mailboxes import Laid
from schemas import tables

_pub, _file, _collected = tables.publication, tables.outbound_file, tables.collection
LIVE = ("recorded", "laid-out")


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


_COLUMNS = [_file.c[field.name] for field in fields(OutboundFile)]
_NAMED = select(*_COLUMNS).where((_file.c.name == bindparam("named")) & (_file.c.egs == bindparam("of")))
_COLLECTED = insert(_collected)
_REPLACED = (
    update(_file)
    .where((_file.c.egs == bindparam("of")) & (_file.c.name == bindparam("named")))
    .values(replaced_by=bindparam("by"))
)
_WITHDRAWN = (
    update(_file)
    .where(_file.c.id == bindparam("of"))
    .values(
        state="withdrawn",
        withdrawn_at=bindparam("at"),
        withdrawn_by=bindparam("by"),
        rewrite_due=bindparam("due"),
    )
)
_WRITTEN_AGAIN = update(_file).where(_file.c.id == bindparam("of")).values(rewrite_due=False)


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
    told = []
    for file, contents_sha256 in zip(files, contents, strict=True):
        say = {name: getattr(file, name) for name in ("sequence", "sha256", "bytes", "blocks")}
        say |= {"publication": file.publication_id, "contents_sha256": contents_sha256}
        told.append(Told("outbound.recorded", about=file.name, partner=file.egs, details=say))
    events.record_all(tx, told, at=at)
    again = [{"of": file.egs, "named": file.replaces, "by": file.name} for file in files if file.replaces]
    if again:
        tx.execute(_REPLACED, again)


def note(tx: Connection, file_id: int, **changes: Any) -> None:
    tx.execute(update(_file).where(_file.c.id == file_id).values(**changes))


def get(tx: Connection, file_id: int) -> OutboundFile:
    return _all(tx, _file.c.id == file_id)[0]


def withdraw(
    tx: Connection, files: Sequence[OutboundFile], told_so: Sequence[Laid], *, by: str, at: datetime
) -> None:
    """Files are taken back, because a sync takes an account in each from its EGS; `told_so`: the manifest of each
    that says so. What was not collected is due to be written again.
    """
    told, changes = [], []
    for file, manifest in zip(files, told_so, strict=True):
        due = file.collected_at is None
        changes.append({"of": file.id, "at": at, "by": by, "due": due})
        say = {"by": by, "rewrite": due}
        told.append(Told("outbound.withdrawn", about=file.name, partner=file.egs, details=say))
        told.append(events.of_paper(manifest, about=file.name))
    if changes:
        tx.execute(_WITHDRAWN, changes)
    events.record_all(tx, told, at=at)


def written_again(tx: Connection, files: Sequence[OutboundFile]) -> None:
    """Of withdrawn files, what is their EGS's still has been written again: none of them waits for that."""
    if files:
        tx.execute(_WRITTEN_AGAIN, [{"of": file.id} for file in files])


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


def last_fetched(tx: Connection, egs: str) -> OutboundFile | None:
    """The file that an EGS fetched whole last, for the first time; None if there is none."""
    mine = select(*_COLUMNS).where((_file.c.egs == egs) & _file.c.collected_at.is_not(None))
    row = tx.execute(mine.order_by(_file.c.collected_at.desc(), _file.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _read(row)


def given_of(tx: Connection, *, egs: str, edc: str, day: date) -> list[OutboundFile]:
    """The files that an EGS was given with blocks of an EDC's usage day, withdrawn ones among them, by sequence."""
    of_day = cast(_file.c.usage_days, String).contains(f'"{day.isoformat()}"')
    return _all(tx, (_file.c.egs == egs) & (_file.c.edc == edc) & (_file.c.state != "recorded") & of_day)


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
