"""Parts of a sync: each a Parquet file, sorted by account; and all of them together, stretch by stretch.

The parts may have any accounts. Where they follow each other, as they do when an EDC cuts one sorted list,
each row group is read once and is a stretch, or a piece of one; where they overlap, what is held besides the
stretch is at most a row group of each part.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from jobs.stores.lake import Group, Lake, Written
from schemas import sync_whole
from schemas.drop import Drop
from schemas.sync_file import ROSTER

ROW_GROUP = 5_000
STRETCH = 100_000  # rows: 15 MB


def keep(rows: pa.Table, *, drop: Drop, as_of: date, lake: Lake) -> Written:
    """Write the part that a drop brought into the lake."""
    return lake.write_blocks(
        sync_whole.in_order(rows),
        path=f"syncs/parts/{drop.partner}.{drop.id}.parquet",
        metadata={
            "kind": "sync-part",
            "edc": drop.partner,
            "drop_id": drop.id,
            "drop_sha256": drop.sha256,
            "drop_name": drop.name,
            "arrived_at": drop.arrived_at.astimezone(UTC).isoformat(),
            "as_of": str(as_of),
        },
        row_group=ROW_GROUP,
    )


def stretches(lake: Lake, parts: Mapping[int, str], *, size: int = STRETCH) -> Iterator[dict[int, pa.Table]]:
    """Of each stretch of accounts the rows (`ROSTER`) that each part has, by its number. `parts`: paths below
    the lake. Stretches ascend; all rows of an account are in one.
    """
    groups = sorted(
        ((number, group) for number, path in parts.items() for group in lake.groups(path)),
        key=lambda found: (found[1].low, found[0]),
    )
    pending: dict[int, pa.Table] = {}
    for some, bound in _cut(groups, size):
        for number, its in groupby(sorted(some, key=lambda found: found[0]), key=lambda found: found[0]):
            wanted = [group.number for _, group in its]
            rows = lake.read_groups(parts[number], columns=ROSTER.names, numbers=wanted)
            pending[number] = pa.concat_tables([pending[number], rows]) if number in pending else rows
        stretch: dict[int, pa.Table] = {}
        rest: dict[int, pa.Table] = {}
        for number, rows in pending.items():
            below, above = _split(rows, bound)
            if len(below):
                stretch[number] = below
            if len(above):
                rest[number] = above
        pending = rest
        if stretch:
            yield stretch


def _cut(groups: list[tuple[int, Group]], size: int) -> Iterator[tuple[list[tuple[int, Group]], str | None]]:
    """Row groups, sorted by their lowest account, for one stretch after the other, of about `size` rows; and
    the account before which the stretch ends, None for the last.
    """
    some: list[tuple[int, Group]] = []
    rows = 0
    for found in groups:
        if rows >= size:
            yield some, found[1].low
            some, rows = [], 0
        some.append(found)
        rows += found[1].rows
    if some:
        yield some, None


def _split(rows: pa.Table, bound: str | None) -> tuple[pa.Table, pa.Table]:
    """Sorted rows of accounts before `bound`, and from there on."""
    if bound is None:
        return rows, rows.slice(len(rows))
    count = pc.sum(pc.less(rows["account"], bound)).as_py() or 0
    return rows.slice(0, count), rows.slice(count)
