"""What can be asked in SQL: the views, what each shows, and its columns with their DuckDB types.

Energy is in whole watt-hours (`wh`) and in kilowatt-hours to three decimals (`kwh`); both are exact. A
`timestamptz` is an instant; it is shown in UTC. A usage date is a day of the EDC's own zone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
from sqlalchemy import JSON, BigInteger, Boolean, Column, Date, Float, Integer, Table

from schemas import tables
from schemas.block import LAKE
from schemas.sync_file import ROSTER
from schemas.tables import Instant

Columns = Mapping[str, str]  # name: type

KWH = "decimal(9,3)"
KEY = ("edc", "account", "channel", "usage_date")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a view shows, and its columns in their order."""

    says: str
    columns: Columns


def _arrow(kept: pa.DataType) -> str:
    if pa.types.is_dictionary(kept):
        return "varchar"
    if pa.types.is_list(kept):
        return f"{_arrow(kept.value_type)}[]"
    if pa.types.is_timestamp(kept):
        return "timestamptz"
    names = {
        "string": "varchar",
        "int32": "integer",
        "int64": "bigint",
        "date32[day]": "date",
        "bool": "boolean",
    }
    return names[str(kept)]


def _usage() -> Columns:
    columns = dict.fromkeys(KEY, "varchar") | {
        "usage_date": "date",
        "version": "integer",
        "stamp": "varchar",
    }
    for field in LAKE:
        columns.setdefault(field.name, _arrow(field.type))
        if field.name == "wh":
            columns["kwh"] = f"{KWH}[]"
    return columns


_FAULT = (
    'struct(line integer, account varchar, code varchar, "column" varchar, found varchar, wanted varchar)'
)
_JSON = {"usage_days": "date[]", "faults": f"{_FAULT}[]"}  # others stay JSON


def _ledger(table: Table) -> Columns:
    return {column.name: _sql(column) for column in table.columns}


def _sql(column: Column[object]) -> str:
    kinds = {
        Instant: "timestamptz",
        Date: "date",
        Boolean: "boolean",
        BigInteger: "bigint",
        Integer: "integer",
        Float: "double",
    }
    if isinstance(column.type, JSON):
        return _JSON.get(column.name, "json")
    return next((name for kind, name in kinds.items() if isinstance(column.type, kind)), "varchar")


_INTERVALS = {
    **{name: _usage()[name] for name in KEY},
    "interval": "bigint",
    "start_utc": "timestamptz",
    "start_local": "timestamp",
    "wh": "integer",
    "kwh": KWH,
    "status": "varchar",
}

# The tables of the ledger that can be asked, by the name of their view.
LEDGER: Mapping[str, Table] = {
    "drops": tables.drop,
    "syncs": tables.sync,
    "publications": tables.publication,
    "outbound_files": tables.outbound_file,
    "collections": tables.collection,
    "held": tables.held,
    "verdicts": tables.verdict,
    "events": tables.event,
}

VIEWS: Mapping[str, View] = {
    "usage": View(says="every version of every block: an account, channel and usage day", columns=_usage()),
    "usage_current": View(says="of each block the version that counts now", columns=_usage()),
    "usage_as_of(instant)": View(
        says="of each block the version that counted by what was loaded by then", columns=_usage()
    ),
    "intervals": View(says="usage_current, one row an interval, the day's first being 1", columns=_INTERVALS),
    "roster": View(
        says="what the syncs in force say, one row a meter",
        columns={
            "edc": "varchar",
            "sync_id": "varchar",
            "as_of": "date",
            **{field.name: _arrow(field.type) for field in ROSTER},
        },
    ),
    "drops": View(says="every uploaded file and what became of it", columns=_ledger(tables.drop)),
    "syncs": View(says="every meter data sync", columns=_ledger(tables.sync)),
    "publications": View(says="every run that laid files out", columns=_ledger(tables.publication)),
    "outbound_files": View(says="every file laid out for an EGS", columns=_ledger(tables.outbound_file)),
    "collections": View(says="who read which of them, when, and how much of it", columns=_ledger(tables.collection)),
    "held": View(says="blocks that were loaded and not published at once, and why", columns=_ledger(tables.held)),
    "verdicts": View(says="how each usage day stood at its deadline", columns=_ledger(tables.verdict)),
    "events": View(says="the whole history", columns=_ledger(tables.event)),
}  # fmt: skip
