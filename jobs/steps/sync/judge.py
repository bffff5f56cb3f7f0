"""Put the parts of a sync together, and find out what is to be known of it before it may come into force.

All is read once, side by side with the roster in force, and written as it is read: of 7 million rows no more
than some 100,000 are held.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from jobs.rules import due, moves
from jobs.stores import sync_parts
from jobs.stores.ahead import ahead
from jobs.stores.lake import Lake, Written
from jobs.stores.ledger.syncs import Sync
from jobs.stores.rosters import ROW_GROUP, Roster, beside, once
from schemas import sync_whole
from schemas.drop import FAULTS_KEPT
from schemas.fault import Fault
from schemas.sync_file import ROSTER
from schemas.sync_whole import AtOdds


@dataclass(slots=True, kw_only=True)
class Counts:
    """What a roster holds: rows, accounts, blocks due each night; and how many accounts it takes from whom
    they are with."""

    rows: int = 0
    accounts: int = 0
    due: int = 0
    moved: int = 0


def roster_path(sync: Sync) -> str:
    """Where the roster of a sync lies, below the lake."""
    return f"syncs/{sync.id}.parquet"


def assemble(
    sync: Sync, parts: Mapping[int, str], *, before: Roster | None, today: date, lake: Lake
) -> tuple[Written, Counts] | AtOdds:
    """Write the roster of a sync, of its parts (paths by number); or say what is at odds between them."""
    counts = Counts()
    try:
        written = lake.write_stretches(
            _counted(parts, counts, before=before, today=today, lake=lake),
            schema=ROSTER,
            path=roster_path(sync),
            metadata={"kind": "roster", "edc": sync.edc, "sync_id": sync.id, "as_of": str(sync.as_of)},
            row_group=ROW_GROUP,
        )
    except _AtOddsError as error:
        return error.odds
    return written, counts


class _AtOddsError(Exception):
    """The parts cannot be put together."""

    def __init__(self, odds: AtOdds) -> None:
        super().__init__(f"{odds.total} faults between parts")
        self.odds = odds


def _counted(
    parts: Mapping[int, str], counts: Counts, *, before: Roster | None, today: date, lake: Lake
) -> Iterator[pa.Table]:
    """The rows of the whole in their order, counted as they go by."""
    standing = before.stretches() if before is not None else iter(())
    for had, rows in beside(standing, ahead(_whole(parts, lake))):
        has = once(rows)
        counts.moved += moves.taken(had, has, today=today)
        if len(rows):
            counts.rows += len(rows)
            counts.accounts += len(has)
            counts.due += due.blocks(rows)
            yield rows


def _whole(parts: Mapping[int, str], lake: Lake) -> Iterator[pa.Table]:
    """The rows of the whole, stretch by stretch. When parts turn out to be at odds, what follows is only
    looked through for more of it. Raises _AtOddsError at the end.
    """
    faults: list[Fault] = []
    total = 0
    for some in sync_parts.stretches(lake, parts):
        rows = sync_whole.assemble(some)
        if isinstance(rows, AtOdds):
            faults += rows.faults[: FAULTS_KEPT - len(faults)]
            total += rows.total
        elif not total:
            yield rows.unify_dictionaries()
    if total:
        raise _AtOddsError(AtOdds(faults=tuple(faults), total=total))
