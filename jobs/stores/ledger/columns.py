"""Ledger tables as columns, for those who ask in SQL. Instants, dates and JSON stay the text they are kept as."""

from collections.abc import Callable
from datetime import date, datetime
from operator import eq, ge, gt, le, lt
from typing import Any

import pyarrow as pa
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Date,
    Integer,
    String,
    Table,
    cast,
    func,
    select,
    type_coerce,
)
from sqlalchemy.sql.type_api import TypeEngine
from sqlalchemy.types import Float

from jobs.stores.conditions import Compared, in_sql
from jobs.stores.scans import Wanted
from schemas.tables import Instant

_CHUNK = 20_000  # rows


def read(tx: Connection, table: Table, wanted: Wanted) -> pa.Table:
    """The wanted columns of the wanted rows, or of more: numbers and booleans as such, everything else as text.
    Those that are not wanted stay out.
    """
    columns = [column for column in table.columns if column.name in wanted.columns]
    where = in_sql(wanted.where, lambda one: _comparison(table, one)) if wanted.where else None
    if not columns:
        count = select(func.count()).select_from(table)
        rows = tx.execute(count if where is None else count.where(where)).scalar_one()
        return pa.table({"": pa.nulls(rows if wanted.first is None else min(rows, wanted.first))})
    query = select(*(_plain(column) for column in columns))
    if where is not None:
        query = query.where(where)
    elif not wanted.order:
        query = query.order_by(*table.primary_key)
    orders = [(table.columns[name], falls) for name, falls in wanted.order]
    if wanted.first is not None and not any(column.nullable for column, _ in orders):
        query = query.order_by(*(column.desc() if falls else column for column, falls in orders))
        query = query.limit(wanted.first)
    schema = pa.schema([(column.name, _type(column.type)) for column in columns])
    batches = [
        pa.record_batch([pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)], schema)
        for rows in tx.execute(query).partitions(_CHUNK)
    ]  # fmt: skip
    return pa.Table.from_batches(batches, schema)


_BY: dict[str, Callable[[Any, Any], Any]] = {"=": eq, "<": lt, "<=": le, ">": gt, ">=": ge}
_MOST = 500  # values that are asked for one by one


def _comparison(table: Table, one: Compared) -> ColumnElement[bool] | None:
    """A comparison as the ledger makes it; None if it keeps the column's values otherwise."""
    column = table.columns[one.column]
    if not all(_is_kept(column, value) for value in one.values):
        return None
    if one.by != "in":
        compared: ColumnElement[bool] = _BY[one.by](column, one.values[0])
        return compared
    return column.in_(one.values) if len(one.values) <= _MOST else None


def _is_kept(column: Column[Any], value: object) -> bool:
    """Whether a column holds values of this kind."""
    kept = column.type
    if isinstance(kept, Instant):
        return isinstance(value, datetime) and value.tzinfo is not None
    if isinstance(kept, Date):
        return isinstance(value, date) and not isinstance(value, datetime)
    if isinstance(kept, Boolean | JSON):
        return False
    return isinstance(value, int | float) if isinstance(kept, Integer | Float) else isinstance(value, str)


def _plain(column: Any) -> Any:
    if isinstance(column.type, Instant):
        return type_coerce(column, String).label(column.name)
    if isinstance(column.type, Date | JSON):
        return cast(column, String).label(column.name)
    return column


def _type(kept: TypeEngine[Any]) -> pa.DataType:
    if isinstance(kept, Boolean):
        return pa.bool_()
    if isinstance(kept, Integer):
        return pa.int64()
    return pa.float64() if isinstance(kept, Float) else pa.string()
