"""The lake: each file as its row and its event have it, read to the last row; and no file besides.

A stack (an account, channel and usage day) has the versions 1 to n, and the one that counts is the one with
the latest stamp, as stated or affirmed.
"""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.proofs.finding import ASK, RESTORE, Check, Finding, Look
from jobs.proofs.known import Known
from jobs.proofs.place import Place, files_below

_COLUMNS = ["account", "channel", "version", "status", "wh", "wh_total", "on_time"]
_NONE_READ = (0, 0)
_WHO = "find out who put it there, and take it away"


class Tally:
    """Blocks and intervals of each lake file that was read, by path; and the fewest and the most intervals that
    a block of it has, by the file's id. Filled by several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[str, tuple[int, int]] = {}
        self.ends: dict[int, tuple[int, int]] = {}

    def put(self, row: Any, lengths: pa.Array) -> None:
        ends = pc.min_max(lengths).as_py()
        with self._lock:
            self._read[row.path] = (len(lengths), int(pc.sum(lengths).as_py() or 0))
            self.ends[row.id] = (ends["min"] or 0, ends["max"] or 0)

    def get(self, path: str) -> tuple[int, int] | None:
        return self._read.get(path)


def looks(known: Known, place: Place, tally: Tally) -> Iterator[Look]:
    """One for each file that the events bind; and one for each usage day of an EDC: its stacks."""
    rows = {row.path: row for row in known.lake_files}
    for path, sha256 in known.told.lake.items():
        row = rows.get(path)
        where = place.named(place.lake / path)
        look = partial(_read, path, where, sha256, row, place, tally)
        yield Look(check=Check.LAKE if path.startswith("usage/") else Check.SYNCS, where=where, look=look)
    days: dict[tuple[str, Any], list[Any]] = defaultdict(list)
    for row in known.lake_files:
        days[row.edc, row.usage_date].append(row)
    for (edc, day), of_day in sorted(days.items()):
        where = f"{edc}/{day}"
        yield Look(check=Check.STACKS, where=where, look=partial(_stacks, where, of_day, place))


def sums(known: Known, tally: Tally) -> Iterator[Finding]:
    """What a drop's receipt counts, its files in the lake hold."""
    of_drop: dict[str, list[tuple[int, int] | None]] = defaultdict(list)
    for row in known.lake_files:
        if row.kind == "usage":
            of_drop[row.drop_id].append(tally.get(row.path))
    for drop in known.drops:
        read = of_drop.get(drop.id, [])
        if drop.stage != "loaded" or drop.sync_id or None in read:
            continue  # a file that cannot be read is told of where it is read
        blocks = sum((one or _NONE_READ)[0] for one in read)
        intervals = sum((one or _NONE_READ)[1] for one in read)
        if (blocks, intervals) != (drop.blocks_loaded, drop.intervals_loaded):
            what = (
                f"its receipt counts {drop.blocks_loaded} blocks with {drop.intervals_loaded} intervals; the "
                f"lake holds {blocks} with {intervals}"
            )
            yield Finding(check=Check.SUMS, where=drop.id, what=what, do=ASK, claim=f"drop:{drop.id}")


def strangers(known: Known, place: Place) -> Iterator[Finding]:
    """Files in the lake that no event binds. Nobody reads them: the ledger says what is of the lake."""
    made_for = {row.id for row in (*known.drops, *known.syncs)}
    for path in files_below(place.lake):
        below = str(path.relative_to(place.lake))
        if below in known.told.lake or below.startswith(".staging/"):
            continue
        words = path.name.split(".")
        claim = f"drop:{words[1]}" if len(words) > 2 else f"outbound:{words[0][8:].rpartition('-')[0]}"
        do = f"nobody reads it: {_WHO}"
        what = "the ledger knows of no such file"
        if (maker := words[1] if len(words) > 2 else words[0]) in made_for:
            what = f"{what}; by its name it was made for {maker}, in an attempt that was cut off"
            do = f"nobody reads it: meterhub sweep goes on with {maker} or takes it away; if it stays, {_WHO}"
        yield Finding(check=Check.STRANGERS, where=place.named(path), what=what, do=do, claim=claim)


def _read(path: str, where: str, sha256: str, row: Any, place: Place, tally: Tally) -> Iterator[Finding]:
    check = Check.LAKE if path.startswith("usage/") else Check.SYNCS
    try:
        content = (place.lake / path).read_bytes()
    except FileNotFoundError:
        yield Finding(check=check, where=where, what="it is gone", do=RESTORE)
        return
    if hashlib.sha256(content).hexdigest() != sha256:
        yield Finding(check=check, where=where, what="it is not as the hub wrote it", do=RESTORE)
    elif row is not None:
        for what in _differences(content, row, tally):
            yield Finding(check=check, where=where, what=what, do=ASK)


def _differences(content: bytes, row: Any, tally: Tally) -> Iterator[str]:
    """What a lake file holds, held to its row: rows, versions, accounts, order, intervals."""
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        said = {k.decode(): v.decode() for k, v in (file.schema_arrow.metadata or {}).items()}
        columns = _COLUMNS if row.kind == "usage" else _COLUMNS[:3]
        table = file.read(columns=columns, use_threads=False).combine_chunks()
    if said.get("meterhub.drop_id") != row.drop_id:
        yield f"it says it is of drop {said.get('meterhub.drop_id')}, its row of {row.drop_id}"
    keys = pc.binary_join_element_wise(
        table["account"].cast(pa.string()), table["channel"].cast(pa.string()), " "
    ).combine_chunks()
    if len(keys) > 1 and not pc.all(pc.less(keys[:-1], keys[1:])).as_py():
        yield "its blocks are not sorted, or one stands twice"
    ends, versions = pc.min_max(table["account"].cast(pa.string())).as_py(), pc.min_max(table["version"]).as_py()  # fmt: skip
    found = {
        "rows": len(table),
        "account_low": ends["min"],
        "account_high": ends["max"],
        "version_low": versions["min"],
        "version_high": versions["max"],
        "bytes": len(content),
        "first_versions": 0,
        "late": 0,
    }
    if row.kind == "usage":
        is_first = pc.equal(table["version"], 1)
        found["first_versions"] = pc.sum(is_first).as_py() or 0
        found["late"] = pc.sum(pc.and_(is_first, pc.invert(table["on_time"]))).as_py() or 0
    for name, value in found.items():
        if value != getattr(row, name):
            yield f"its {name} is {value}, by its row {getattr(row, name)}"
    if row.kind == "usage":
        yield from _readings(table)
        tally.put(row, pc.binary_length(table["status"]))


def _readings(table: pa.Table) -> Iterator[str]:
    """Each block has as many readings as statuses, and they add up to its total."""
    lists = table["wh"].combine_chunks()
    if not pc.all(
        pc.equal(
            pc.list_value_length(lists).cast(pa.int32()), pc.binary_length(table["status"]).cast(pa.int32())
        )
    ).as_py():
        yield "a block has more or fewer readings than statuses"
    elif int(pc.sum(lists.flatten()).as_py() or 0) != int(pc.sum(table["wh_total"]).as_py() or 0):
        yield "its readings do not add up to the totals beside them"


_STACKS = """
    with stated as (
        select account, channel, version, stamp, outranked from read_parquet($usage)
    ), stood as (
        select account, channel, version, max(stamp) as stamp from (
            select account, channel, version, stamp from stated union all {affirmed}
        ) group by all
    ), judged as (
        select account, channel, min(version) as low, max(version) as high, count(*) as versions,
               max(version) filter (not outranked) as counts
        from stated group by all
    )
    select account, channel, low, high, versions, counts, latest from judged
    join (select account, channel, arg_max(version, (stamp, version)) as latest from stood group by all)
    using (account, channel)
    where low <> 1 or high <> versions or counts is distinct from latest
    order by all limit 20
"""


def _stacks(where: str, rows: list[Any], place: Place) -> Iterator[Finding]:
    """The stacks of one usage day of an EDC. Files that are not there are told of elsewhere."""
    there = [row for row in rows if (place.lake / row.path).is_file()]
    paths: Mapping[str, list[str]] = {
        kind: [str(place.lake / row.path) for row in there if row.kind == kind]
        for kind in ("usage", "affirmed")
    }
    if not paths["usage"]:
        return
    given: dict[str, Any] = {"usage": paths["usage"]}
    affirmed = "select null, null, null, null where false"
    if paths["affirmed"]:
        affirmed = "select account, channel, version, stamp from read_parquet($affirmed)"
        given["affirmed"] = paths["affirmed"]
    try:
        with duckdb.connect(config={"threads": 1}) as sql:
            odd = sql.execute(_STACKS.format(affirmed=affirmed), given).fetchall()
    except duckdb.Error:  # a damaged file, which is named where each is read
        return
    for account, channel, low, high, versions, counts, latest in odd:
        what = (
            f"{account}, channel {channel}: versions {low} to {high}, {versions} of them"
            if (low, high) != (1, versions)
            else f"{account}, channel {channel}: version {counts} counts, and {latest} has the latest stamp"
        )
        yield Finding(check=Check.STACKS, where=where, what=what, do="ask whoever made this hub: meterhub explain tells each version")  # fmt: skip
