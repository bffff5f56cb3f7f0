"""Ledger tables as columns, for those who ask in SQL. Instants, dates and JSON stay the text they are kept as."""

from typing import Any

import pyarrow as pa
from sqlalchemy import JSON, Boolean, Connection, Date, Integer, String, Table, cast, select, type_coerce
from sqlalchemy.sql.type_api import TypeEngine
from sqlalchemy.types import Float

from schemas.tables import Instant

_CHUNK = 20_000  # rows


def read(tx: Connection, table: Table) -> pa.Table:
    """All rows of a table by primary key: numbers and booleans as such, everything else as text."""
    query = select(*(_plain(column) for column in table.columns)).order_by(*table.primary_key)
    schema = pa.schema([(column.name, _type(column.type)) for column in table.columns])
    batches = [
        pa.record_batch([pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)], schema)
        for rows in tx.execute(query).partitions(_CHUNK)
    ]  # fmt: skip
    return pa.Table.from_batches(batches, schema)


def empty(table: Table) -> pa.Table:
    """What `read` gives of a table without rows."""
    return pa.schema([(column.name, _type(column.type)) for column in table.columns]).empty_table()


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
