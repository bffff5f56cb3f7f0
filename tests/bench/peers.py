"""The same work as people do it with SQL and data frames: what `make bench` measures a hub against.

Each does its part as well as its library can, on all cores, and no more: no check, no archive, no version,
no fsync, no manifest. Like bare.py they take files of one usage day with five rows a block.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from isal import igzip
from pyarrow import csv

from schemas.block import METER_FIELDS

INTERVALS = 96
# Fields 2-14 of row 00000002: the eighth and ninth are the interval's length and unit.
HEAD = (*METER_FIELDS[:6], "interval_seconds", "_unit", *METER_FIELDS[6:])
KEPT = [(place, name) for place, name in enumerate(HEAD, start=1) if name[0] != "_"]


def padded(source: Path, out: Path) -> None:
    """DuckDB, as one first writes it: rows padded with nulls to the longest, windows that carry the headers."""
    names = ", ".join(f"'c{place}': 'varchar'" for place in range(3 * INTERVALS + 1))
    wh = ", ".join(f"round(c{1 + 3 * k}::double * 1000)::int" for k in range(INTERVALS))
    status = ", ".join(f"c{2 + 3 * k}" for k in range(INTERVALS))

    def carried(row: int, what: str) -> str:
        return (
            f"last_value(case when c0 = '0000000{row}' then {{{what}}} end ignore nulls) over file as r{row}"
        )

    second = ", ".join(f"{name}: c{place}" for place, name in KEPT)
    copy(
        f"""
        with rows as (
            select *, row_number() over () as n from read_csv(
                '{source}', header = false, auto_detect = false, delim = ',', quote = '', escape = '',
                null_padding = true, strict_mode = false, parallel = false, columns = {{{names}}})
        ), blocks as (
            select *, {carried(1, "account: c1, channel: c2")}, {carried(2, second)}, {carried(3, "text: c1")},
                {carried(4, "stamp: c1, origin: c2")}
            from rows window file as (order by n rows unbounded preceding)
        )
        select r1.*, r2.*, r3.*, r4.*, [{wh}] as wh, concat({status}) as status, list_sum(wh) as wh_total,
            length(replace(status, 'A', '')) as estimated
        from blocks where c0 >= '10000000' order by r1.account""",
        out,
    )


def by_lines(source: Path, out: Path) -> None:
    """DuckDB, as well as we can: a line is one column, carried by windows, and split only in the end."""
    carried = ", ".join(
        f"last_value(case when line[:8] = '0000000{row}' then line end ignore nulls) over file as r{row}"
        for row in (1, 2, 3, 4)
    )
    head = ", ".join(f"b[{place + 1}] as {name}" for place, name in KEPT)
    copy(
        f"""
        with lines as (
            select line, row_number() over () as n from read_csv(
                '{source}', header = false, auto_detect = false, delim = '\x01', quote = '', escape = '',
                columns = {{'line': 'varchar'}})
        ), blocks as (
            select n, line, {carried} from lines window file as (order by n rows unbounded preceding)
        ), fields as (
            select string_split(r1, ',') as a, string_split(r2, ',') as b, r3[10:] as text,
                string_split(r4, ',') as d, string_split(line, ',') as v
            from blocks where line[:8] >= '10000000'
        )
        select a[2] as account, a[3] as channel, {head}, text, d[2] as stamp, d[3] as origin,
            list_transform(v[2:len(v):3], lambda kwh: round(kwh::double * 1000)::int) as wh,
            array_to_string(v[3:len(v):3], '') as status, list_sum(wh) as wh_total,
            length(replace(status, 'A', '')) as estimated
        from fields order by account""",
        out,
    )


def copy(select: str, out: Path) -> None:
    with duckdb.connect() as sql:
        sql.execute("set enable_progress_bar = false")
        sql.execute(f"copy ({select}) to '{out}' (format parquet, compression zstd, row_group_size 4096)")


def frames(source: Path, out: Path) -> None:
    """Polars: a line is one column, headers are filled forward, and lists split in the end."""
    line = pl.col("line")

    def carried(row: int) -> pl.Expr:
        return pl.when(line.str.starts_with(f"0000000{row}")).then(line).forward_fill()

    def part(row: str, place: int) -> pl.Expr:
        return pl.col(row).str.split(",").list.get(place, null_on_oob=True)

    lines = pl.scan_csv(
        source, has_header=False, separator="\x01", quote_char=None, schema={"line": pl.String}
    )
    blocks = lines.with_columns(r1=carried(1), r2=carried(2), r3=carried(3), r4=carried(4)).filter(
        line.str.starts_with("1")
    )
    fields = blocks.select(
        part("r1", 1).alias("account"),
        part("r1", 2).alias("channel"),
        *(part("r2", place).alias(name) for place, name in KEPT),
        pl.col("r3").str.slice(9).alias("text"),
        part("r4", 1).alias("stamp"),
        part("r4", 2).alias("origin"),
        line.str.split(",").alias("v"),
    )
    kwh = pl.col("v").list.gather_every(3, 1).cast(pl.List(pl.Float64))
    fields.with_columns(
        wh=kwh.list.eval((pl.element() * 1000).round().cast(pl.Int32)),
        status=pl.col("v").list.gather_every(3, 2).list.join(""),
    ).drop("v").with_columns(
        wh_total=pl.col("wh").list.sum(), estimated=pl.col("status").str.count_matches("E")
    ).sort("account").sink_parquet(out, compression="zstd", row_group_size=5_000)


def string_agg(lake_files: Sequence[Path], roster: Path, egss: Mapping[str, str], out: Path) -> int:
    """DuckDB: the LSE text of each EGS (`egss`: DUNS → id), packed as the hub packs it. How many bytes."""
    names = pa.table({"duns": list(egss), "egs": list(egss.values())})
    second = ", ".join("'01'" if name == "_unit" else name for name in HEAD)
    question = f"""
        with mine as (
            select egs, blocks.* from read_parquet({[str(file) for file in lake_files]}) blocks
            join (select distinct account, egs_duns from read_parquet('{roster}')) using (account)
            join names on egs_duns = duns
        ), texts as (
            select egs, account, concat(
                '00000001,', account, ',', channel, ',', strftime(usage_date, '%Y%m%d'), '000000,',
                strftime(usage_date, '%Y%m%d'), '235959,Y,N\n',
                '00000002,', concat_ws(',', {second}), '\n00000003,', text,
                '\n00000004,', stamp, ',', origin, '\n10000000',
                array_to_string(list_transform(wh, lambda w, k: concat(
                    ',', rtrim(rtrim((w * 0.001)::decimal(9, 3)::varchar, '0'), '.'), ',', status[k], ','
                )), ''), '\n') as block
            from mine
        )
        select egs, string_agg(block, '' order by account) from texts group by egs"""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    written = 0
    with duckdb.connect() as sql:
        sql.execute("set enable_progress_bar = false")
        sql.register("names", names)
        found = sql.execute(question)
        while row := found.fetchone():
            packed = igzip.compress(row[1].encode(), 1)
            hashlib.sha256(packed)
            written += (out / f"{row[0]}.lse.gz").write_bytes(packed)
    return written


def roster(source: Path, out: Path) -> None:
    """A part of a sync with pyarrow: read, sort, write. Nothing is compared with the roster before it."""
    content = source.read_bytes()
    begin, end = content.index(b"\n") + 1, content.rindex(b"\nTRL") + 1
    columns = csv.read_csv(
        pa.py_buffer(content[begin:end]),
        csv.ReadOptions(autogenerate_column_names=True),
        convert_options=csv.ConvertOptions(strings_can_be_null=False),
    )
    pq.write_table(columns.sort_by(columns.column_names[1]), out, compression="zstd")


SYNC = (
    "record", "account", "egs_duns", "egs_name", "egs_start", "account_status", "customer_class", "load_profile",
    "bill_cycle", "zip", "meter", "meter_multiplier", "channels", "interval_seconds", "ami",
)  # fmt: skip


def sync(parts: Sequence[Path], before: Path, out: Path) -> int:
    """DuckDB: a whole sync, sorted, and how many accounts are of another supplier than in the one before. What
    its rows may hold is not checked, nor what they are at odds in.
    """
    columns = ", ".join(f"'{name}': 'varchar'" for name in SYNC)
    with duckdb.connect() as sql:
        sql.execute("set enable_progress_bar = false")
        sql.execute(
            f"""copy (
                select * exclude record replace (
                    strptime(nullif(egs_start, ''), '%Y%m%d')::date as egs_start,
                    interval_seconds::int as interval_seconds, ami = 'Y' as ami)
                from read_csv($parts, header = false, skip = 1, delim = ',', quote = '', escape = '',
                    nullstr = 'none', ignore_errors = true, columns = {{{columns}}})
                where record = 'DTL' order by account, meter
            ) to '{out}' (format parquet, compression zstd)""",
            {"parts": [str(part) for part in parts]},
        )
        if not before.exists():
            return 0
        moved = sql.execute(
            f"""select count(*) from (select distinct account, egs_duns from read_parquet('{before}')) old
                left join (select distinct account, egs_duns from read_parquet('{out}')) new using (account)
                where new.egs_duns is distinct from old.egs_duns"""
        ).fetchone()
        before.unlink()
        return int(moved[0])
