"""What is held back: blocks that are loaded and not published, why, and what became of each."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import pyarrow as pa
from sqlalchemy import ColumnElement, Connection, func, insert, literal, select, update

from jobs.stores.ledger.tallies import Tally
from schemas import ids, tables

_held, _pub = tables.held, tables.publication
_CHUNK = 5_000  # rows
_BLOCK = ("lake_file_id", "account", "channel", "reason", "egs_duns")  # in the order of their tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A block that is loaded and with nobody: its account is unknown (suspense) or its EGS no partner (unclaimed),
    it came late and waits for an operator (late), its EGS lost it before it had fetched it (unfetched), or nobody
    was of record when it came (nobody).
    """

    id: int = 0  # given by the ledger
    edc: str
    lake_file_id: int
    account: str
    channel: str
    reason: str
    egs_duns: str = ""
    since: datetime


_COLUMNS = [_held.c[field.name] for field in fields(Held)]


def hold(
    tx: Connection, some: Iterable[pa.Table], *, edc: str, since: datetime, given_by: str | None = None
) -> Tally:
    """Hold blocks back (lake_file_id, account, channel, reason, egs_duns), which are not held yet; their tally.
    `given_by`: the publication that gives them free in the same instant.
    """
    tally = Tally()
    known: dict[str, Any] = {"edc": edc, "since": since}
    if given_by is not None:
        known |= {"released_at": since, "release": given_by}
    for batch in (batch for blocks in some for batch in blocks.to_batches(max_chunksize=_CHUNK)):
        rows = [row | known for row in batch.to_pylist()]
        for row in rows:
            tally.add(*(row[name] for name in _BLOCK))
        if rows:
            tx.execute(insert(_held), rows)
    return tally


def held(tx: Connection, *, edc: str, reason: str = "") -> list[Held]:
    """What is held back of an EDC's blocks, by file, account and channel."""
    where = (_held.c.edc == edc) & _held.c.released_at.is_(None)
    if reason:
        where &= _held.c.reason == reason
    return _all(tx, where)


def held_of(tx: Connection, lake_file_id: int) -> list[Held]:
    """What is held back of one lake file's blocks, by account and channel."""
    return _all(tx, (_held.c.lake_file_id == lake_file_id) & _held.c.released_at.is_(None))


def ever_held(tx: Connection, lake_file_id: int) -> list[tuple[str, str]]:
    """The blocks of a lake file that are held or have been: account and channel."""
    query = select(_held.c.account, _held.c.channel).where(_held.c.lake_file_id == lake_file_id)
    return [(account, channel) for account, channel in tx.execute(query)]


def files_held(
    tx: Connection, *, edc: str, why: Collection[tuple[str, str]], now: datetime, judged: Collection[int]
) -> list[int]:
    """The lake files of which any block is held for one of these reasons and EGS DUNS, by id; but for what has been
    held only `now`, in lake files that were `judged` by whom it waits for.
    """
    found: set[int] = set()
    for reason, duns in why:
        where = (_held.c.edc == edc) & _held.c.released_at.is_(None)
        where &= (_held.c.reason == reason) & (_held.c.egs_duns == duns)
        rows = tx.execute(select(_held.c.lake_file_id, _held.c.since < now).where(where).distinct())
        found.update(lake_file_id for lake_file_id, before in rows if before or lake_file_id not in judged)
    return sorted(found)


def _all(tx: Connection, where: ColumnElement[bool]) -> list[Held]:
    query = select(*_COLUMNS).where(where)
    query = query.order_by(_held.c.lake_file_id, _held.c.account, _held.c.channel)
    return [Held(**row._asdict()) for row in tx.execute(query)]


def counts(tx: Connection, edc: str) -> dict[tuple[str, str], int]:
    """How many blocks are held, by reason and EGS DUNS."""
    where = (_held.c.edc == edc) & _held.c.released_at.is_(None)
    query = select(_held.c.reason, _held.c.egs_duns, func.count()).where(where)
    rows = tx.execute(query.group_by(_held.c.reason, _held.c.egs_duns))
    return {(reason, duns): count for reason, duns, count in rows}


def held_again(tx: Connection, *, reason: str, edc: str, at: datetime, found_by: str, now: Tally) -> Tally:
    """The tally of what began to be held at an instant although publications had looked at it before: `now`, held by
    the publication `found_by`, and what others of that instant held. A run may write files again in several.
    """
    return now if _is_alone(tx, found_by, edc=edc, at=at) else _held_then(tx, reason, edc=edc, at=at)


def _held_then(tx: Connection, reason: str, *, edc: str, at: datetime) -> Tally:
    """What began to be held at an instant for a reason, as it was held then."""
    before = tables.held_before
    mine = (_held.c.edc == edc) & (_held.c.reason == reason) & (_held.c.since == at)
    was = select(before.c.held_id, before.c.egs_duns).join(_held, _held.c.id == before.c.held_id)
    first = dict(tx.execute(was.where(mine).order_by(before.c.id.desc())).all())
    tally = Tally()
    for row in tx.execute(select(*(_held.c[name] for name in ("id", *_BLOCK))).where(mine)):
        tally.add(row.lake_file_id, row.account, row.channel, row.reason, first.get(row.id, row.egs_duns))
    return tally


def release(tx: Connection, held_ids: list[int], *, at: datetime, to: str) -> None:
    """Blocks are held no more: published by `to`, or `to` says why they never will be."""
    for start in range(0, len(held_ids), 500):
        where = _held.c.id.in_(held_ids[start : start + 500])
        tx.execute(update(_held).where(where).values(released_at=at, release=to))


def _is_alone(tx: Connection, publication_id: str, *, edc: str, at: datetime) -> bool:
    """Whether no other publication of an EDC was made at the very instant of one."""
    day = ids.publication_day(at)
    where = _pub.c.id.between(day, day + "~") & (_pub.c.edc == edc) & (_pub.c.at == at)
    return tx.execute(select(_pub.c.id).where(where & (_pub.c.id != publication_id)).limit(1)).first() is None


def given_up(tx: Connection, *, edc: str, at: datetime, besides: str) -> Iterator[tuple[int, str, str, str]]:
    """The blocks that publications of that very instant gave up before, by a clock that stands: lake file,
    account, channel, and why. `besides`: the publication that asks.
    """
    if _is_alone(tx, besides, edc=edc, at=at):
        return
    of_then = (_held.c.edc == edc) & (_held.c.released_at == at)
    query = select(_held.c.lake_file_id, _held.c.account, _held.c.channel, _held.c.release).where(of_then)
    for row in tx.execute(query):
        if not ids.PUBLICATION.fullmatch(row.release):
            yield tuple(row)


def rehold(tx: Connection, held_ids: list[int], *, reason: str, egs_duns: str, found_by: str) -> None:
    """Blocks stay held for another reason than before, as the publication `found_by` finds."""
    for start in range(0, len(held_ids), 500):
        where = _held.c.id.in_(held_ids[start : start + 500])
        by = literal(found_by).label("publication_id")
        was = select(_held.c.id, _held.c.reason, _held.c.egs_duns, by).where(where)
        columns = ("held_id", "reason", "egs_duns", "publication_id")
        tx.execute(insert(tables.held_before).from_select(columns, was.order_by(_held.c.id)))
        tx.execute(update(_held).where(where).values(reason=reason, egs_duns=egs_duns))
