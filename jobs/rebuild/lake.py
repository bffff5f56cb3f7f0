"""What the lake's files say of themselves: blocks, affirmations, rosters, parts of syncs; and in which order they came."""

import graphlib
import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.stores.ledger.loads import LakeFile


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of the lake: what its footer says, and what it holds."""

    path: str  # below the lake
    sha256: str
    bytes: int
    said: Mapping[str, str]
    row: LakeFile | None = None  # of blocks and affirmations
    intervals: int = 0
    replacing: int = 0
    outranked: int = 0
    late: int = 0
    rows: int = 0
    accounts: int = 0  # of a roster
    due: int = 0

    def instant(self, name: str) -> datetime:
        return datetime.fromisoformat(self.said[name])


def read(lake: Path) -> Iterator[File | tuple[Path, str]]:
    """Every file of the lake; or which cannot be read, and why. One is in memory at a time."""
    for path in sorted([*lake.glob("usage/*/*.parquet"), *lake.glob("syncs/**/*.parquet")]):
        content = path.read_bytes()
        try:
            with pq.ParquetFile(pa.BufferReader(content)) as file:
                footer = file.schema_arrow.metadata or {}
                said = {k.decode().removeprefix("meterhub."): v.decode() for k, v in footer.items()}
                yield _file(str(path.relative_to(lake)), content, said, file)
        except (pa.ArrowInvalid, OSError, KeyError) as error:
            yield path, f"it cannot be read: {error}"


def _file(path: str, content: bytes, said: dict[str, str], file: pq.ParquetFile) -> File:
    sha256 = hashlib.sha256(content).hexdigest()
    common: dict[str, Any] = {"path": path, "sha256": sha256, "bytes": len(content), "said": said}
    if said["kind"] == "roster":
        accounts, due = _of_roster(content)
        return File(**common, rows=file.metadata.num_rows, accounts=accounts, due=due)
    if said["kind"] == "sync-part":
        return File(**common, rows=file.metadata.num_rows)
    is_usage = said["kind"] == "usage"
    columns = ["account", "version", *(["status", "on_time", "outranked"] if is_usage else [])]
    table = file.read(columns=columns, use_threads=False)
    version = table["version"].to_numpy()
    first = int((version == 1).sum()) if is_usage else 0
    on_time = not is_usage or bool(pc.all(table["on_time"]).as_py())
    account = pc.min_max(table["account"].cast(pa.string())).as_py()
    row = LakeFile(
        drop_id=said["drop_id"],
        edc=said["edc"],
        usage_date=date.fromisoformat(path.split("usage_date=")[1][:10]),
        kind=said["kind"],
        path=path,
        rows=len(table),
        first_versions=first,
        late=0 if on_time else first,
        account_low=account["min"],
        account_high=account["max"],
        version_low=int(version.min()),
        version_high=int(version.max()),
        bytes=len(content),
        sha256=sha256,
    )
    intervals = int(pc.sum(pc.binary_length(table["status"])).as_py() or 0) if is_usage else 0
    outranked = int(pc.sum(table["outranked"]).as_py() or 0) if is_usage else 0
    replacing = len(table) - first - outranked if is_usage else 0
    return File(
        **common,
        row=row,
        rows=len(table),
        intervals=intervals,
        replacing=replacing,
        outranked=outranked,
        late=row.late,
    )


def _of_roster(content: bytes) -> tuple[int, int]:
    """How many accounts it has, and how many blocks are due each night by it."""
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        rows = file.read(columns=["account", "account_status", "ami", "channels"], use_threads=False)
    with duckdb.connect() as sql:
        sql.register("roster", rows)
        found = sql.execute(
            "select (select count(distinct account) from roster), count(*) from (select distinct account, channel "
            "from (select account, unnest(string_split(channels, ';')) as channel from roster "
            "where account_status = 'A' and ami))"
        ).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])


_FOLLOWS = """
    select distinct before, drop_id from (
        select drop_id, lag(drop_id) over (partition by account, channel order by version) as before
        from read_parquet($paths)
    ) where before is not null
"""


def in_order(files: Sequence[File], lake: Path) -> list[str]:
    """The drops that brought blocks, in the order of their loads: by instant, but none before one upon whose
    blocks it was stacked. (A load's instant is that of its beginning.)
    """
    at: dict[str, datetime] = {}
    days: dict[tuple[str, date], list[LakeFile]] = defaultdict(list)
    for file in files:
        if file.row is not None:
            at.setdefault(file.row.drop_id, file.instant("loaded_at"))
            if file.row.kind == "usage":
                days[file.row.edc, file.row.usage_date].append(file.row)
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter(dict.fromkeys(at, ()))
    with duckdb.connect() as sql:
        for rows in days.values():
            if any(row.version_high > 1 for row in rows):
                paths = [str(lake / row.path) for row in rows]
                for before, drop_id in sql.execute(_FOLLOWS, {"paths": paths}).fetchall():
                    sorter.add(drop_id, before)
    sorter.prepare()
    order: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=lambda one: (at[one], one))
        order.append(ready.pop(0))
        sorter.done(order[-1])
    return order
