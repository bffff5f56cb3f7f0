"""Rosters: what a meter data sync says, one Parquet file a sync, sorted by account.

A roster may name many millions of accounts. It is read by ranges of accounts, or all of it stretch by stretch.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.stores.ahead import ahead
from jobs.stores.lake import LAST, Lake

ROW_GROUP = 20_000
STRETCH = 5  # row groups
# How accounts stand: whether the roster knows them; their EGS's DUNS, empty for none; from when it is theirs.
STANDING = pa.schema(
    [
        pa.field("account", pa.string()),
        pa.field("known", pa.bool_()),
        pa.field("egs_duns", pa.dictionary(pa.int32(), pa.string())),
        pa.field("egs_start", pa.date32()),
    ]
)
_STORED = ("account", "egs_duns", "egs_start")


class Roster:
    """The roster of one sync, read by ranges of accounts."""

    def __init__(self, lake: Lake, path: str) -> None:
        self._lake = lake
        self.path = path

    @property
    def file(self) -> Path:
        return self._lake.root / self.path

    def standing_of(self, accounts: pa.Array | pa.ChunkedArray) -> pa.Table:
        """For each account: `known` (bool), `egs_duns` (string, null when unknown), `egs_start`
        (date32, null when unknown or not said), in the order asked.
        """
        if len(accounts) == 0:
            return _standing(pa.table({name: [] for name in _STORED}), accounts)
        named = accounts.cast(pa.string())
        return _standing(self._lake.read_accounts(self.path, columns=_STORED, accounts=named), named)

    def unknown_of(self, accounts: pa.Array | pa.ChunkedArray) -> int:
        """How many of these accounts, each named once, the roster does not know."""
        known = self._lake.read_accounts(self.path, columns=("account",), accounts=accounts)
        return len(accounts) - len(pc.unique(known["account"]))

    def ranges(self, *, rows: int) -> list[tuple[str, str]]:
        """All accounts that there may be, in ranges that name about so many rows each: from one account to before
        another.
        """
        lows = [group.low for group in self._lake.groups(self.path)[:: max(rows // ROW_GROUP, 1)]]
        return list(pairwise(["", *sorted(set(lows[1:]) - {""}), LAST]))

    def stretches(self, *, row_groups: int = STRETCH) -> Iterator[pa.Table]:
        """All accounts in order, each once, and how they stand (`STANDING`), so many row groups at a time,
        read ahead.
        """
        last = None
        for rows in ahead(self._lake.row_groups(self.path, columns=_STORED, at_once=row_groups)):
            if not len(rows):
                continue
            accounts = rows["account"].cast(pa.string()).combine_chunks()
            said = rows["egs_duns"]
            if not pa.types.is_dictionary(said.type):
                said = said.dictionary_encode()
            stretch = pa.table(
                [accounts, pa.repeat(True, len(rows)), said.combine_chunks(), rows["egs_start"]],
                schema=STANDING,
            )
            stretch = once(stretch)
            if last is not None and accounts[0].as_py() == last:
                stretch = stretch.slice(1)
            last = accounts[-1].as_py()
            if len(stretch):
                yield stretch


def once(rows: pa.Table) -> pa.Table:
    """Of rows sorted by account, the first of each account: it speaks for its other meters, too."""
    account = rows["account"]
    new = pc.not_equal(account[1:], account[:-1])
    if pc.all(new, min_count=0).as_py():
        return rows
    return rows.filter(pa.chunked_array([pa.array([True]), *new.chunks]))


def beside(some: Iterable[pa.Table], others: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Two readings in the order of accounts, side by side: with each stretch of `others` the rows of `some`
    (`STANDING`) up to its last account; at the end, what `some` has behind it.
    """
    coming = chain(some)
    held = STANDING.empty_table()
    for stretch in others:
        last = stretch["account"][-1].as_py()
        read = [held]
        while not len(read[-1]) or read[-1]["account"][-1].as_py() <= last:
            if (more := next(coming, None)) is None:
                break
            read.append(more)
        rows = pa.concat_tables(read)
        count = pc.sum(pc.less_equal(rows["account"], last)).as_py() or 0
        yield rows.slice(0, count), stretch
        held = rows.slice(count)
    for rows in chain([held], coming):
        if len(rows):
            yield rows, held.slice(len(held))


def _standing(rows: pa.Table, accounts: pa.Array | pa.ChunkedArray) -> pa.Table:
    account = rows["account"].cast(pa.string()).combine_chunks()
    places = pc.index_in(accounts, value_set=account)
    if isinstance(places, pa.ChunkedArray):
        places = places.combine_chunks()
    return pa.table(
        {
            "known": pc.is_valid(places),
            "egs_duns": rows["egs_duns"].cast(pa.string()).take(places),
            "egs_start": rows["egs_start"].cast(pa.date32()).take(places),
        }
    )
