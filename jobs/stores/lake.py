"""The lake: immutable Parquet files of blocks, one a drop and usage day, sorted by account.

Which of them exist is for the ledger to say; nobody lists the folder. Each carries in its metadata what
a lost ledger would need: drop, EDC, version range, instants and the hash of the drop's bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.stores import files, side_by_side
from schemas import sync_file
from schemas.block import METER_FIELDS

ROW_GROUP = 5_000
_AT_ONCE = 10  # row groups
LAST = "\U0010ffff"  # above every account
# The bytes of watt-hours by their weight: the upper ones are zeros, and zstd has less to look at.
_ENCODING = {"wh.list.element": "BYTE_STREAM_SPLIT"}
_WORDS = {"edc", "channel", "stamp", "origin", "drop_id", *METER_FIELDS, *sync_file.WORDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A Parquet file in its place: its path below the lake, size and hash."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A row group of a Parquet file: so many rows, of the accounts from `low` to `high`."""

    number: int
    rows: int
    low: str
    high: str


class Lake:
    """One folder of Parquet files: `usage/usage_date=…/`, and the rosters and parts of syncs."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write_blocks(
        self, table: pa.Table, *, path: str, metadata: Mapping[str, str], row_group: int = ROW_GROUP
    ) -> Written:
        """Write a table below the lake, whole and durable, with the metadata in its footer."""
        return self.write_stretches(
            [table], schema=table.schema, path=path, metadata=metadata, row_group=row_group
        )

    def write_stretches(
        self,
        stretches: Iterable[pa.Table],
        *,
        schema: pa.Schema,
        path: str,
        metadata: Mapping[str, str],
        row_group: int = ROW_GROUP,
    ) -> Written:
        """Write tables of one schema, one behind the other, as one file: what is too big to be held. It
        is whole and durable, or not there: also when what makes the stretches raises.
        """
        aside = self.root / ".staging" / path.replace("/", "!")
        files.make_folder(aside.parent)
        files.announce(aside)
        stamped = schema.with_metadata({f"meterhub.{k}": v for k, v in metadata.items()})
        try:
            with pq.ParquetWriter(
                aside,
                stamped,
                compression="zstd",
                use_dictionary=[name for name in _WORDS if name in schema.names],
                write_statistics=["account"],
                column_encoding=_ENCODING if "wh" in schema.names else None,
            ) as file:
                for stretch in stretches:
                    file.write_table(stretch, row_group_size=row_group)
            with aside.open("rb") as written:
                sha256 = hashlib.file_digest(written, "sha256").hexdigest()
            size = aside.stat().st_size
            files.settle(aside, self.root / path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        return Written(path=path, bytes=size, sha256=sha256)

    def read(
        self, path: str, *, columns: Sequence[str], low: str | None = None, high: str | None = None
    ) -> pa.Table:
        """Columns of one file, of the row groups whose accounts touch `low` … `high` only."""
        with pq.ParquetFile(self.root / path) as file:
            groups = _touching(file.metadata, low or "", LAST if high is None else high)
            return file.read_row_groups(groups, columns=list(columns), use_threads=False)

    def row_groups(self, path: str, *, columns: Sequence[str], at_once: int = 1) -> Iterator[pa.Table]:
        """Columns of one file, so many row groups at a time: for what is too big to be held."""
        with pq.ParquetFile(self.root / path) as file:
            for begin in range(0, file.num_row_groups, at_once):
                some = range(begin, min(begin + at_once, file.num_row_groups))
                yield file.read_row_groups(list(some), columns=list(columns), use_threads=False)

    def groups(self, path: str) -> list[Group]:
        """The row groups of a file."""
        metadata = pq.read_metadata(self.root / path)
        return [
            Group(number=number, rows=metadata.row_group(number).num_rows, low=low, high=high)
            for number, (low, high) in enumerate(_ends(metadata))
        ]

    def read_groups(self, path: str, *, columns: Sequence[str], numbers: Sequence[int]) -> pa.Table:
        """Columns of some row groups of a file."""
        with pq.ParquetFile(self.root / path) as file:
            return file.read_row_groups(list(numbers), columns=list(columns), use_threads=False)

    def read_accounts(
        self, path: str, *, columns: Sequence[str], accounts: pa.Array | pa.ChunkedArray
    ) -> pa.Table:
        """Columns of the rows of one file whose account is among `accounts`."""
        return self.look_up([path], columns=columns, accounts=accounts)[0]

    def look_up(
        self, paths: Sequence[str], *, columns: Sequence[str], accounts: pa.Array | pa.ChunkedArray
    ) -> list[pa.Table]:
        """Of each file, columns of the rows whose account is among `accounts`. Several threads look, each into
        few row groups at a time: few accounts may lie far apart in many files, or in one of millions.
        """
        named = pc.unique(accounts.cast(pa.string())).sort()
        footers = [pq.read_metadata(self.root / path) for path in paths]
        looks = [
            (place, some) for place, footer in enumerate(footers) for some in _parted(_holding(footer, named))
        ]

        def look(place: int, groups: list[int]) -> pa.Table:
            with pq.ParquetFile(self.root / paths[place], metadata=footers[place]) as file:
                return _rows_of(file, groups, columns=columns, accounts=named)

        if len(looks) == 1:
            return [look(*looks[0])]
        found: list[list[pa.Table]] = [[] for _ in paths]
        with side_by_side.threads() as threads:
            for (place, _), rows in zip(looks, threads.map(look, *zip(*looks, strict=True)), strict=True):
                found[place].append(rows)
        return [pa.concat_tables(tables) for tables in found]


def usage_path(*, edc: str, day: date, drop_id: str, kind: str) -> str:
    """Where a drop's blocks of a usage day lie below the lake: Hive partition by usage date only."""
    ending = "" if kind == "usage" else f".{kind}"
    return f"usage/usage_date={day.isoformat()}/{edc}.{drop_id}{ending}.parquet"


def _ends(metadata: pq.FileMetaData) -> list[tuple[str, str]]:
    """Of each row group its lowest and highest account; any may be in one of which that is not said."""
    account = metadata.schema.names.index("account")
    found = (
        metadata.row_group(number).column(account).statistics for number in range(metadata.num_row_groups)
    )
    return [(one.min, one.max) if one is not None and one.has_min_max else ("", LAST) for one in found]


def _touching(metadata: pq.FileMetaData, low: str, high: str) -> list[int]:
    """The row groups whose accounts touch `low` … `high`."""
    return [number for number, ends in enumerate(_ends(metadata)) if ends[0] <= high and ends[1] >= low]


def _holding(metadata: pq.FileMetaData, accounts: pa.Array) -> list[int]:
    """The row groups that may hold one of these accounts, which are sorted."""
    ends = _ends(metadata)
    before = pc.search_sorted(accounts, pa.array([low for low, _ in ends], pa.string()), side="left")
    until = pc.search_sorted(accounts, pa.array([high for _, high in ends], pa.string()), side="right")
    return np.flatnonzero(before.to_numpy() < until.to_numpy()).tolist()


def _parted(groups: list[int]) -> list[list[int]]:
    """Row groups, so many at a time; once none, when there are none."""
    return [groups[begin : begin + _AT_ONCE] for begin in range(0, len(groups) or 1, _AT_ONCE)]


def _rows_of(
    file: pq.ParquetFile, groups: list[int], *, columns: Sequence[str], accounts: pa.Array
) -> pa.Table:
    """Columns of the rows of these accounts. Of row groups that hold none of them, only accounts are read; of the
    others all the rest, one after the other, so that no more than one is held of what is not wanted.
    """
    named = file.read_row_groups(groups, columns=["account"], use_threads=False)
    wanted = pc.is_in(named["account"], value_set=accounts).to_numpy().astype(np.bool_)
    found = named.filter(pa.array(wanted))
    others = [name for name in columns if name != "account"]
    if not others:
        return found
    ends = np.cumsum([file.metadata.row_group(number).num_rows for number in groups], dtype=np.int64)
    rows = [file.read_row_groups([], columns=others)]
    for number, here in zip(groups, np.split(wanted, ends)[:-1], strict=True):
        if here.any():
            rows.append(file.read_row_group(number, columns=others, use_threads=False).filter(pa.array(here)))
    return pa.concat_tables(rows).append_column(found.schema.field(0), found["account"]).select(list(columns))
