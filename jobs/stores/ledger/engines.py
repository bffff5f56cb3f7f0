"""The databases a ledger may be kept in, opened so that both keep its promise: a reader sees one state to
its end, and a writer is alone.
"""

import fcntl
import importlib.util
import json
import os
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from config.errors import OperatorError

_LASTS = "meterhub_lasts"  # of a connection: what it was last told to do for a commit to last
_KEPT_IN = "database_url names sqlite:///FILE or postgresql://USER@HOST/DATABASE"


def engine(database_url: str) -> Engine:
    """Raises OperatorError where the URL names what a ledger cannot be kept in."""
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise OperatorError(
            "database-unknown", "database_url is not the URL of a database", _KEPT_IN
        ) from error
    match url.get_backend_name():
        case "sqlite":
            return _sqlite(url)
        case "postgresql":
            return _postgresql(url)
        case other:
            raise OperatorError("database-unknown", f"database_url names {other}", _KEPT_IN)


def _sqlite(url: URL) -> Engine:
    # Its JSON is said here, as the other's below, because what it writes is hashed (see events.py).
    made = create_engine(url, json_serializer=json.dumps)
    event.listen(made, "connect", _prepare_sqlite)
    event.listen(made, "begin", _begin_sqlite)
    return made


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver must not open transactions of its own; `_begin_sqlite` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("pragma busy_timeout = 60000")
    if cursor.execute("pragma journal_mode").fetchone() != ("wal",):
        _write_ahead(cursor)
    cursor.execute("pragma synchronous = full")  # a receipt that was written outlives a power cut
    cursor.execute("pragma foreign_keys = on")
    cursor.close()


def _write_ahead(cursor: DBAPICursor) -> None:
    """Switch a new file to write-ahead, which it then stays at. SQLite does not wait for another who is
    switching but refuses one of the two, so they take turns at the folder.
    """
    (_, _, file), *_ = cursor.execute("pragma database_list").fetchall()
    folder = os.open(Path(file).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        cursor.execute("pragma journal_mode = wal")
    finally:
        os.close(folder)


def _begin_sqlite(tx: Connection) -> None:
    # A writer takes its place in the line at once: a reader that turned writer could not wait its turn.
    if not _writes(tx):
        tx.exec_driver_sql("begin")
        return
    lasts = "normal" if _soon(tx) else "full"
    if tx.info.get(_LASTS, "full") != lasts:
        tx.exec_driver_sql(f"pragma synchronous = {lasts}")
        tx.info[_LASTS] = lasts
    tx.exec_driver_sql("begin immediate")


def _postgresql(url: URL) -> Engine:
    if importlib.util.find_spec("psycopg") is None:
        raise OperatorError(
            "postgres-missing",
            "database_url names postgresql, and its driver is not installed",
            "pip install meterhub[postgres]",
        )
    # A connection that a restart of the server has cut is noticed before it is used.
    made = create_engine(
        url.set(drivername="postgresql+psycopg"), json_serializer=json.dumps, pool_pre_ping=True
    )
    event.listen(made, "connect", _order_as_bytes)
    event.listen(made, "begin", _begin_postgresql)
    return made


def _order_as_bytes(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """Lake files are found by their lowest and highest account, so text must sort as it does in Parquet."""
    cursor = connection.cursor()
    cursor.execute(
        "select datname, datlocprovider, datcollate from pg_database where datname = current_database()"
    )
    ((name, provider, collation),) = cursor.fetchall()
    connection.rollback()
    cursor.close()
    if provider == "i" or (provider == "c" and collation not in {"C", "POSIX", "C.UTF-8", "C.utf8"}):
        raise OperatorError(
            "database-collation",
            f"database {name} sorts text by the rules of a language",
            f"make it anew: create database {name} encoding 'UTF8' locale 'C' template template0",
        )


def _begin_postgresql(tx: Connection) -> None:
    if _writes(tx):
        tx.exec_driver_sql("select pg_advisory_xact_lock(hashtext('meterhub'))")
        if _soon(tx):
            tx.exec_driver_sql("set local synchronous_commit = off")
    else:
        tx.exec_driver_sql("set transaction isolation level repeatable read read only")


def _soon(tx: Connection) -> bool:
    """Whether it may take until the next transaction before a power cut cannot undo this one."""
    return bool(tx.get_execution_options().get("meterhub_soon"))


def _writes(tx: Connection) -> bool:
    return bool(tx.get_execution_options().get("meterhub_write"))
