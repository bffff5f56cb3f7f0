"""How things stand, in counts: what came of an EDC, what lies before the EGSs, what has not moved on.

Each is found by an index, so that looking costs the same after years.
"""

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, Connection, case, func, select

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
class HeldBack:
    """What of a usage day is held for a reason: blocks, of so many accounts."""

    blocks: int
    accounts: int


def held(tx: Connection, *, edc: str, day: date, reason: str) -> HeldBack:
    """What of a usage day is held for a reason still."""
    blocks, accounts = tx.execute(
        select(func.count(), func.count(_held.c.account.distinct()))
        .join(_lake, _lake.c.id == _held.c.lake_file_id)
        .where((_lake.c.edc == edc) & (_lake.c.usage_date == day))
        .where((_held.c.edc == edc) & (_held.c.reason == reason) & _held.c.released_at.is_(None))
    ).one()
    return HeldBack(blocks=blocks, accounts=accounts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """What was laid out for an EGS: files, and the blocks in those that were not taken back. Each file is collected, taken back (collected before or
    not) or uncollected; `lying`: of those uncollected, the files whose time in outbound/ is not over.
    """

    files: int
    blocks: int
    collected: int
    taken_back: int
    lying: int

    @property
    def uncollected(self) -> int:
        """Files that are neither collected nor taken back."""
        return self.files - self.collected - self.taken_back


def laid_out(tx: Connection, *, edc: str, since: datetime, until: datetime) -> dict[str, Laid]:
    """By EGS, what was laid out of an EDC's blocks from `since` to before `until`."""
    taken_back = _file.c.state == "withdrawn"
    uncollected = _file.c.collected_at.is_(None)
    query = (
        select(
            _file.c.egs,
            func.count(),
            func.coalesce(func.sum(_file.c.blocks).filter(~taken_back), 0),
            func.count().filter(~taken_back & ~uncollected),
            func.count().filter(taken_back),
            func.count().filter((_file.c.state == "laid-out") & uncollected),
        )
        .join(_pub, _pub.c.id == _file.c.publication_id)
        # The ids of publications begin with the UTC day of their making.
        .where((_pub.c.id >= ids.publication_day(since)) & (_pub.c.id < ids.publication_day(until) + "~"))
        .where((_pub.c.edc == edc) & (_file.c.laid_out_at >= since) & (_file.c.laid_out_at < until))
        .group_by(_file.c.egs)
    )
    return {
        egs: Laid(files=files, blocks=blocks, collected=collected, taken_back=back, lying=lying)
        for egs, files, blocks, collected, back, lying in tx.execute(query)
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
