"""The lake and the ledger as SQL sees them: read-only views over exactly the files that are committed.

Nothing is globbed, written or downloaded: a question can open the files named by the ledger and no others.
What a question does not want, by its plan, is not read.
"""
# ruff: noqa: S608 - what is put into SQL here are names of our own, and text that is quoted

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from sqlalchemy import ColumnElement, Connection

from config.errors import RefusedError
from jobs.stores import scans
from jobs.stores.conditions import AnyOf
from jobs.stores.ledger import columns, loads, syncs
from jobs.stores.opened import Stores
from jobs.stores.scans import Wanted
from jobs.stores.view_columns import KEY, KWH, LEDGER, VIEWS

_SETTINGS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",  # a Python variable is no table
}
_HINT = "the views and their columns: meterhub query --help"


class Answer:
    """The rows of an answer, read once, batch by batch."""

    def __init__(self, relation: duckdb.DuckDBPyRelation) -> None:
        self.columns = tuple(relation.columns)
        self.types = tuple(str(one) for one in relation.types)  # as DuckDB names them
        self._rows = relation.to_arrow_reader(10_000)
        self.schema: pa.Schema = self._rows.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        with _in_words():
            yield from self._rows


@contextmanager
def ask(question: str, *, stores: Stores) -> Iterator[Answer]:
    """Ask one question, and read its answer while the block runs.

    Raises RefusedError, in DuckDB's words, for what is no question or cannot be answered.
    """
    with _in_words():
        _check(question)
        wanted = scans.wanted(question)
    with _opened(wanted, stores=stores) as lake:
        with _in_words():
            lake.execute("begin transaction read only")
            answer = Answer(lake.sql(question))
        yield answer


@contextmanager
def _opened(wanted: Mapping[str, Wanted], *, stores: Stores) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with all views, in which at least what is wanted can be found."""
    spill = stores.home.staging / f"query-{secrets.token_hex(4)}"  # made when needed, gone at the end
    with duckdb.connect(config={**_SETTINGS, "temp_directory": str(spill)}) as lake:
        lake.execute("set timezone = 'UTC'")
        lake.execute("create schema kept")
        with stores.ledger.read() as tx:
            opens = _show_lake(lake, tx, wanted, stores=stores)
            opens += _show_rosters(lake, tx, stores=stores)
            for name in LEDGER:
                _show_ledger(lake, tx, name, wanted.get(name))
        lake.execute("set allowed_paths = ?", [opens])
        lake.execute("set enable_external_access = false")
        lake.execute("set lock_configuration = true")
        yield lake


_OF_BLOCKS = ("usage", "usage_current", "usage_as_of", "intervals")


def _files(tx: Connection, wanted: list[Wanted]) -> ColumnElement[bool] | None:
    """Which lake files hold what is wanted; None: any may."""
    if len(wanted) == 1 and wanted[0].where is None and wanted[0].first is not None and not wanted[0].order:
        return loads.latest(tx, blocks=wanted[0].first)
    conditions = tuple(one.where for one in wanted if one.where is not None)
    return loads.touching(AnyOf(conditions)) if len(conditions) == len(wanted) else None


def _show_lake(
    lake: duckdb.DuckDBPyConnection, tx: Connection, wanted: Mapping[str, Wanted], *, stores: Stores
) -> list[str]:
    """The views of blocks; the files they open."""
    root = stores.lake.root.resolve()
    of_blocks = [wanted[name] for name in _OF_BLOCKS if name in wanted]
    where = _files(tx, of_blocks)
    usage = [f"{root}/{path}" for path in loads.paths(tx, kind="usage", where=where)] if of_blocks else []
    later = [f"{root}/{path}" for path in loads.later_paths(tx, where=where)] if of_blocks else []
    lake.execute("set variable usage_files = ?", [usage])
    lake.execute("set variable later_files = ?", [later])
    zones = {edc.id: str(edc.zone) for edc in stores.partners.current().edcs}
    days = loads.days(tx, where=where) if "intervals" in wanted else []
    _keep(lake, "days", pa.table({
        "edc": pa.array([edc for edc, _ in days], pa.string()),
        "usage_date": pa.array([day for _, day in days], pa.date32()),
        "zone": pa.array([zones.get(edc) for edc, _ in days], pa.string()),
    }))  # fmt: skip
    names = ", ".join(VIEWS["usage"].columns)
    blocks = _blocks("usage_files") if usage else _nothing(_stored())
    lake.execute(f"create view kept.blocks as {blocks}")
    lake.execute(f"create view kept.later as {_blocks('later_files') if later else _nothing(_stored())}")
    lake.execute(
        f"create view usage as select {names} from "
        f"(select *, list_transform(wh, lambda w: (w * 0.001)::{KWH}) as kwh from kept.blocks)"
    )
    lake.execute("create view usage_current as " + _CURRENT.format(of_later="", of_usage=""))
    then = "loaded_at <= instant::timestamptz"
    lake.execute(
        "create macro usage_as_of(instant) as table "
        + _CURRENT.format(of_later=f"and {then}", of_usage=f"and usage.{then}")
    )
    lake.execute(_STARTS)
    lake.execute(_INTERVALS)
    return usage


# Current is the highest version that was not outranked when it was committed (schemas/block.py). Most
# blocks have one version: only the files that hold later ones are looked at for what stands above.
_CURRENT = f"""
    select usage.* from usage left join (
        select {", ".join(KEY)}, max(version) as top from kept.later
        where version > 1 and not outranked {{of_later}} group by all
    ) above using ({", ".join(KEY)})
    where usage.version = coalesce(above.top, 1) {{of_usage}}
"""

# The starts of a day's intervals, once a day, not once an interval: finding them out costs ten times more
# than the rest of a question. Steps are of elapsed time, so a day may have 92 or 100 of them.
_STARTS = """
    create view kept.starts as
    select edc, usage_date, step as interval_seconds,
        list_transform(range(n), lambda k: midnight + to_seconds(k * step)) as start_utc,
        list_transform(range(n), lambda k: timezone(zone, midnight + to_seconds(k * step))) as start_local
    from (
        select *, timezone(zone, usage_date::timestamp) as midnight, unnest([900, 1800, 3600]) as step,
            (epoch(timezone(zone, (usage_date + 1)::timestamp)) - epoch(midnight))::bigint // step as n
        from kept.days
    )
"""

_INTERVALS = f"""
    create view intervals as
    select {", ".join(KEY)}, interval, start_utc, start_local, wh, (wh * 0.001)::{KWH} as kwh, status
    from (
        select {", ".join(KEY)}, unnest(range(1, len(wh) + 1)) as interval, unnest(start_utc) as start_utc,
            unnest(start_local) as start_local, unnest(wh) as wh, unnest(string_split(status, '')) as status
        from usage_current left join kept.starts using (edc, usage_date, interval_seconds)
    )
"""


def _show_rosters(lake: duckdb.DuckDBPyConnection, tx: Connection, *, stores: Stores) -> list[str]:
    """The view of the rosters in force; the files it opens."""
    root = stores.lake.root.resolve()
    parts = []
    opens = []
    for sync in syncs.in_state(tx, "in-force"):
        opens.append(str(root / sync.path))
        parts.append(
            f"select {_text(sync.edc)} as edc, {_text(sync.id)} as sync_id, date '{sync.as_of}' as as_of, * "
            f"from read_parquet({_text(opens[-1])})"
        )
    lake.execute("create view roster as " + (" union all ".join(parts) or _nothing(VIEWS["roster"].columns)))
    return opens


def _show_ledger(lake: duckdb.DuckDBPyConnection, tx: Connection, name: str, wanted: Wanted | None) -> None:
    """The view of one of the ledger's tables; what is not wanted of it is null there."""
    shown = VIEWS[name].columns
    if wanted is None:
        lake.execute(f"create view {name} as {_nothing(shown)}")
        return
    table = columns.read(tx, LEDGER[name], wanted)
    _keep(lake, name, table)
    said = (
        _as(column, kind) if column in table.column_names else f'null::{kind} as "{column}"'
        for column, kind in shown.items()
    )
    lake.execute(f"create view {name} as select {', '.join(said)} from kept.{name}")


def _as(column: str, kind: str) -> str:
    return f'json("{column}")::{kind} as "{column}"' if "[]" in kind else f'"{column}"::{kind} as "{column}"'


def _keep(lake: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    lake.register("handed", table)
    lake.execute(f"create table kept.{name} as select * from handed")
    lake.unregister("handed")


def _blocks(files: str) -> str:
    return (
        f"select * from read_parquet(getvariable('{files}'), "
        "hive_partitioning = true, hive_types = {'usage_date': date})"
    )


def _stored() -> Mapping[str, str]:
    return {name: kind for name, kind in VIEWS["usage"].columns.items() if name != "kwh"}


def _nothing(shown: Mapping[str, str]) -> str:
    """A view of these columns without rows."""
    nulls = ", ".join(f'null::{kind} as "{name}"' for name, kind in shown.items())
    return f"select {nulls} where false"


def _text(said: str) -> str:
    return "'" + said.replace("'", "''") + "'"


def _check(question: str) -> None:
    """Only a question is one: a single statement that selects, or explains how one would."""
    statements = duckdb.extract_statements(question)
    if len(statements) != 1:
        found = f"{len(statements)} statements" if statements else "nothing"
        raise RefusedError("not-a-question", f"found {found}; wanted: one question in SQL", _HINT)
    asked = statements
    if statements[0].type is duckdb.StatementType.EXPLAIN:
        asked = duckdb.extract_statements(re.sub(r"\A\s*explain\b", "", question, flags=re.IGNORECASE))
    if [one.type for one in asked] != [duckdb.StatementType.SELECT]:
        raise RefusedError(
            "not-a-question",
            f"found {statements[0].type.name.lower()}; wanted: a question that changes nothing",
            "ask with select, from, values, describe, summarize, show or explain",
        )


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (duckdb.Error, OSError) as error:  # reading an answer, Arrow makes an OSError of DuckDB's
        words = str(error).strip()
        raise RefusedError("query-refused", words.partition("\n\nPossible solutions")[0], _HINT) from error
