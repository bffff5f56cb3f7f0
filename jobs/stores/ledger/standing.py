"""How things stand, in counts: what came of an EDC, what lies before the EGSs, what has not moved on.

Each is found by an index, so that looking costs the same after years.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, select

from schemas import ids, tables
from schemas.drop import Stage

_drop, _file, _pub, _load = tables.drop, tables.outbound_file, tables.publication, tables.load
_held, _lake = tables.held, tables.lake_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What arrived of an EDC in a span of time: drops, and the faults found in them."""

    drops: int
    refused: int
    duplicates: int
    faults: int
    blocks_rejected: int


def arrivals(tx: Connection, *, partner: str, since: datetime, until: datetime) -> Arrivals:
    """What arrived of a partner from `since` to before `until`; broken uploads do not count."""

    def at(stage: Stage) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((_drop.c.stage == str(stage), 1), else_=0)), 0)

    query = select(
        func.count(),
        at(Stage.REFUSED),
        at(Stage.DUPLICATE),
        func.coalesce(func.sum(_drop.c.faults_total), 0),
        func.coalesce(func.sum(_drop.c.blocks_rejected), 0),
    ).where(
        (_drop.c.partner == partner)
        & (_drop.c.arrived_at >= since)
        & (_drop.c.arrived_at < until)
        & _drop.c.stage.not_in([str(Stage.INCOMPLETE), str(Stage.DISCARDED)])
    )
    drops, refused, duplicates, faults, rejected = tx.execute(query).one()
    return Arrivals(
        drops=drops, refused=refused, duplicates=duplicates, faults=faults, blocks_rejected=rejected
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """What of a usage day is held in suspense: blocks, of so many accounts, and of so many accounts and
    channels, each of which was loaded once as the first.
    """

    blocks: int
    accounts: int
    pairs: int


def suspended(tx: Connection, *, edc: str, day: date) -> Suspended:
    """What of a usage day is held in suspense still."""
    pair = _held.c.account + "/" + _held.c.channel
    columns = (func.count(), func.count(_held.c.account.distinct()), func.count(pair.distinct()))
    blocks, accounts, pairs = tx.execute(_in_suspense(*columns, edc=edc, day=day)).one()
    return Suspended(blocks=blocks, accounts=accounts, pairs=pairs)


def suspended_accounts(tx: Connection, *, edc: str, day: date) -> list[str]:
    """The account of each account and channel of a usage day that is held in suspense still."""
    rows = tx.execute(_in_suspense(_held.c.account, _held.c.channel, edc=edc, day=day).distinct())
    return [account for account, _ in rows]


def _in_suspense(*columns: ColumnElement[Any], edc: str, day: date) -> Select[Any]:
    return (
        select(*columns)
        .join(_lake, _lake.c.id == _held.c.lake_file_id)
        .where((_lake.c.edc == edc) & (_lake.c.usage_date == day))
        .where((_held.c.edc == edc) & (_held.c.reason == "suspense") & _held.c.released_at.is_(None))
    )


def not_looked_at(tx: Connection, *, edc: str, day: date, after_seq: int) -> list[str]:
    """The lake files of a usage day that no publication has looked at yet and that came with accounts nobody
    knew when they were loaded: their paths.
    """
    query = (
        select(_lake.c.path)
        .join(_drop, _drop.c.id == _lake.c.drop_id)
        .where((_lake.c.edc == edc) & (_lake.c.usage_date == day) & (_lake.c.kind == "usage"))
        .where((_lake.c.first_versions > 0) & (_lake.c.load_seq > after_seq) & (_drop.c.suspense > 0))
    )
    return list(tx.execute(query.order_by(_lake.c.id)).scalars())


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """What was laid out for an EGS: files, blocks, and how many of the files it has collected."""

    files: int = 0
    blocks: int = 0
    collected: int = 0


def laid_out(tx: Connection, *, edc: str, since: datetime, until: datetime) -> dict[str, Laid]:
    """By EGS, what was laid out of an EDC's blocks from `since` to before `until`."""
    query = (
        select(_file.c.egs, func.count(), func.sum(_file.c.blocks), func.count(_file.c.collected_at))
        .join(_pub, _pub.c.id == _file.c.publication_id)
        # The ids of publications begin with the UTC day of their making.
        .where((_pub.c.id >= ids.publication_day(since)) & (_pub.c.id < ids.publication_day(until) + "~"))
        .where((_pub.c.edc == edc) & (_file.c.laid_out_at >= since) & (_file.c.laid_out_at < until))
        .group_by(_file.c.egs)
    )
    return {
        egs: Laid(files=files, blocks=blocks, collected=collected)
        for egs, files, blocks, collected in tx.execute(query)
    }


def uncollected(tx: Connection, *, edc: str) -> dict[str, tuple[int, datetime]]:
    """By EGS, how many files of an EDC's blocks lie uncollected, and since when the oldest does."""
    query = (
        select(_file.c.egs, func.count(), func.min(_file.c.laid_out_at))
        .where((_file.c.edc == edc) & (_file.c.state == "laid-out") & _file.c.collected_at.is_(None))
        .group_by(_file.c.egs)
    )
    return {egs: (files, oldest) for egs, files, oldest in tx.execute(query)}


def unpublished(tx: Connection, *, edc: str, after_seq: int) -> tuple[int, datetime | None]:
    """How many loads no publication has looked at yet, and when the oldest of them was made."""
    query = select(func.count(), func.min(_load.c.loaded_at))
    count, oldest = tx.execute(query.where((_load.c.edc == edc) & (_load.c.seq > after_seq))).one()
    return count, oldest


def held_late(tx: Connection, *, edc: str) -> dict[str, int]:
    """By drop, how many of its late blocks are held for an operator."""
    held, lake_file = tables.held, tables.lake_file
    query = (
        select(lake_file.c.drop_id, func.count())
        .join(lake_file, lake_file.c.id == held.c.lake_file_id)
        .where((held.c.edc == edc) & (held.c.reason == "late") & held.c.released_at.is_(None))
        .group_by(lake_file.c.drop_id)
        .order_by(lake_file.c.drop_id)
    )
    return dict(tx.execute(query).all())
