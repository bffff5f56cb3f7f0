"""What a roster says is due of a usage day, held to what is loaded of it: a range of accounts after the other, so
that the roster of a big EDC takes no more memory than that of a small one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from jobs.stores.lake import Lake
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.rosters import Roster

RANGE = 500_000  # rows of a roster
MISSING = pa.schema([(name, pa.string()) for name in ("account", "channel", "meter", "zip")])
_BOUNDED = {"memory_limit": "512MiB", "preserve_insertion_order": "false"}
_DUE = """
    create or replace temp table due as
    select account, channel, min(meter) as meter, min(zip) as zip
    from (select account, meter, zip, unnest(string_split(channels, ';')) as channel
          from read_parquet($roster)
          where account_status = 'A' and ami and account >= $low and account < $end)
    group by account, channel
"""
_NONE_LOADED = "create or replace temp table loaded (account text, channel text, in_time bool)"
_LOADED = """
    insert into loaded
    select account, channel, bool_or(on_time)
    from read_parquet($paths) where account >= $low and account < $end
    group by account, channel
"""
_HELD = "create or replace temp view held as from due left join loaded using (account, channel)"
_COUNTS = "select count(*), count(*) filter (in_time), count(*) filter (not in_time) from held"
_LEFT = "select account, channel, meter, zip from held where in_time is null order by all"
# What came first of each account and channel, so that none counts twice.
_LOADED_OF_DUE = """
    select count(*)
    from (select account, channel from read_parquet($paths)
          where version = 1 and account >= $low and account < $end)
    semi join (select account, unnest(string_split(channels, ';')) as channel from read_parquet($roster)
               where account_status = 'A' and ami and account >= $low and account < $end)
    using (account, channel)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Of the blocks due of a usage day: how many, how many came in time and late, and which are missing
    (`MISSING`, sorted)."""

    expected: int
    in_time: int
    late: int
    missing: pa.Table


def held(roster: Roster, files: Sequence[LakeFile], *, lake: Lake, spill: Path, size: int = RANGE) -> Held:
    """Hold what is loaded by these files, all of one usage day, to what was due. What does not fit into the
    memory it may take, `spill` holds meanwhile.
    """
    counts, missing = [0, 0, 0], [MISSING.empty_table()]
    with duckdb.connect(config={**_BOUNDED, "temp_directory": str(spill)}) as sql:
        for accounts, paths in _ranges(roster, files, lake=lake, size=size):
            sql.execute(_DUE, {"roster": str(roster.file), **accounts})
            sql.execute(_NONE_LOADED)
            if paths:
                sql.execute(_LOADED, {"paths": paths, **accounts})
            sql.execute(_HELD)
            counts = [sum(both) for both in zip(counts, sql.sql(_COUNTS).fetchall()[0], strict=True)]
            missing.append(sql.sql(_LEFT).to_arrow_table().cast(MISSING))
    expected, in_time, late = counts
    return Held(expected=expected, in_time=in_time, late=late, missing=pa.concat_tables(missing))


def loaded(roster: Roster, files: Sequence[LakeFile], *, lake: Lake, size: int = RANGE) -> int:
    """How many of the blocks due came by these files of the lake, all of one usage day."""
    with duckdb.connect() as sql:
        counted = [
            sql.execute(_LOADED_OF_DUE, {"roster": str(roster.file), "paths": paths, **accounts}).fetchall()
            for accounts, paths in _ranges(roster, files, lake=lake, size=size)
            if paths
        ]
    return sum(int(count) for ((count,),) in counted)


def _ranges(
    roster: Roster, files: Sequence[LakeFile], *, lake: Lake, size: int
) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Ranges of accounts, as queries are told them, and the files that may hold any of each."""
    for low, end in roster.ranges(rows=size):
        touching = [file for file in files if file.account_low < end and file.account_high >= low]
        yield {"low": low, "end": end}, [str(lake.root / file.path) for file in touching]
