"""The lake: immutable Parquet files of blocks, one a drop and usage day, sorted by account.

Which of them exist is for the ledger to say; nobody lists the folder. Each carries in its metadata what
a lost ledger would need: drop, EDC, version range, instants and the hash of the drop's bytes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.stores import files
from schemas import sync_file
from schemas.block import METER_FIELDS

ROW_GROUP = 5_000
_AT_ONCE = 10  # row groups
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
            groups = list(_touching(file.metadata, low, high))
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
        account = metadata.schema.names.index("account")
        found = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        return [
            Group(number=number, rows=one.num_rows, low=ends.min, high=ends.max)
            for number, one in enumerate(found)
            if (ends := one.column(account).statistics) is not None
        ]

    def read_groups(self, path: str, *, columns: Sequence[str], numbers: Sequence[int]) -> pa.Table:
        """Columns of some row groups of a file."""
        with pq.ParquetFile(self.root / path) as file:
            return file.read_row_groups(list(numbers), columns=list(columns), use_threads=False)

    def read_accounts(
        self, path: str, *, columns: Sequence[str], accounts: pa.Array | pa.ChunkedArray
    ) -> pa.Table:
        """Columns of the rows of one file whose account is among `accounts`."""
        if len(accounts) == 0:
            return self.read(path, columns=columns, low="", high="")
        ends = pc.min_max(accounts)
        with pq.ParquetFile(self.root / path) as file:
            groups = list(_touching(file.metadata, ends["min"].as_py(), ends["max"].as_py()))
            # Few accounts may lie far apart in a file of millions.
            some = (groups[begin : begin + _AT_ONCE] for begin in range(0, len(groups) or 1, _AT_ONCE))
            read = (file.read_row_groups(few, columns=list(columns), use_threads=False) for few in some)
            return pa.concat_tables(
                table.filter(pc.is_in(table["account"], value_set=accounts)) for table in read
            )


def usage_path(*, edc: str, day: date, drop_id: str, kind: str) -> str:
    """Where a drop's blocks of a usage day lie below the lake: Hive partition by usage date only."""
    ending = "" if kind == "usage" else f".{kind}"
    return f"usage/usage_date={day.isoformat()}/{edc}.{drop_id}{ending}.parquet"


def _touching(metadata: pq.FileMetaData, low: str | None, high: str | None) -> Iterable[int]:
    account = metadata.schema.names.index("account")
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(account).statistics
        if (
            low is None
            or high is None
            or statistics is None
            or not statistics.has_min_max
            or (statistics.min <= high and statistics.max >= low)
        ):
            yield group
