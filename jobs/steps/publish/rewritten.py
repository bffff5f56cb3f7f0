"""Withdrawn files, parted: what of each is its EGS's still, to be written again, and what that EGS has lost."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rules import versions
from jobs.rules.ownership import Owners
from jobs.steps.publish import awaiting, current
from jobs.stores import layout
from jobs.stores.ledger import loads
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.opened import Stores
from jobs.stores.outbound import Lists
from jobs.stores.shares import COLUMNS

_GONE = -9  # the place of an EGS that is no partner any more; nobody would find a file for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Parted:
    """Of one lake file the `rows`; places of those that stay (`row`), each with the place of the withdrawn file
    that held it (`to`); and what is lost, as `awaiting.held` says it, and whether any of that may go to another
    EGS at once.
    """

    file: LakeFile
    rows: pa.Table
    row: npt.NDArray[np.int64]
    to: npt.NDArray[np.int32]
    lost: pa.Table
    may_go: bool


def parted(
    due: Sequence[OutboundFile],
    *,
    egs_ids: Sequence[str],
    owners: Callable[[pa.Array | pa.ChunkedArray], Owners],
    through: int,
    stores: Stores,
) -> Iterator[Parted]:
    """Part withdrawn files, a lake file at a time, by the roster that `owners` asks."""
    listed = Lists([layout.contents_path(withdrawn, stores=stores) for withdrawn in due])
    egs = np.array([egs_ids.index(one.egs) if one.egs in egs_ids else _GONE for one in due])
    with stores.ledger.read() as tx:
        lake_files = loads.by_ids(tx, listed.lake_files)
    for file in lake_files.values():
        there = listed.of(file.id)
        # Of each block that they held: its file's place, and its own row in the lake.
        to = np.repeat(
            np.array([place for place, _ in there], np.int32), [len(blocks) for _, blocks in there]
        )
        words = pa.Table.from_batches([blocks for _, blocks in there])
        ends = pc.min_max(words["account"])
        low, high = ends["min"].as_py(), ends["max"].as_py()
        rows = stores.lake.read(file.path, columns=COLUMNS, low=low, high=high)
        row = np.asarray(pc.index_in(versions.key(words), value_set=versions.key(rows)))
        # What was superseded meanwhile stands in a later file: behind it, an older one would mislead.
        newest = current.which(file, rows, through=through, stores=stores)[row]
        owner = owners(rows["account"])
        stays = owner.place[row] == egs[to]
        lost = row[~stays & newest]
        losers = owner.take(lost)
        yield Parted(
            file=file,
            rows=rows,
            row=row[stays & newest],
            to=to[stays & newest],
            lost=awaiting.held(
                file,
                rows.select(["account", "channel"]).take(lost),
                "unfetched",
                awaiting.waits_for(losers, day=file.usage_date),
            ),
            may_go=bool(awaiting.may_go(losers, day=file.usage_date).any()),
        )
