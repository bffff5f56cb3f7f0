"""The ledger: what happened to every drop, load, sync and outbound file, in one database.

A file exists for readers when its row here is committed. The modules beside this one are plain
functions over an open transaction, so that a step can join several changes in one.
"""

import fcntl
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.pool import ConnectionPoolEntry

from config.errors import OperatorError

log = structlog.get_logger()

SAID = "meterhub_said"  # of a connection: the events of the transaction under way
CHAIN = "meterhub_chain"  # of a connection: the last of them, where there is one
HEAD = "0001"  # the newest migration; a test holds it to schemas/migrations


class Ledger:
    """One database and its transactions. Safe to use from several threads and processes at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger and changes nothing."""
        with self.engine.connect() as tx, tx.begin():
            yield tx

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is alone in writing, from its first statement on. Commits on leaving; then
        what it recorded as events is logged, a line each.
        """
        with self.engine.connect().execution_options(meterhub_write=True) as tx:
            tx.info[SAID] = []
            tx.info.pop(CHAIN, None)  # of a transaction before, which may have been undone
            with tx.begin():
                yield tx
            said = tx.info.pop(SAID)
        for name, fields in said:
            log.info(name, **fields)

    def migrate(self) -> bool:
        """Bring the tables to the newest form, all at once or not at all. Says whether there was anything
        to do. Of several processes that try, one does it and the others wait.
        """
        if self.version() == HEAD:
            return False
        # Imported here because it takes longer than most commands do.
        from alembic import command
        from alembic.config import Config

        spec = importlib.util.find_spec("schemas.migrations")
        if spec is None or not spec.submodule_search_locations:
            raise OperatorError("migrations-missing", "schemas/migrations is not installed")
        config = Config()
        config.set_main_option("script_location", str(Path(spec.submodule_search_locations[0])))
        with self.write() as tx:
            if self._version(tx) == HEAD:
                return False
            config.attributes["connection"] = tx
            command.upgrade(config, "head")
        return True

    def version(self) -> str:
        """The migration the tables are at; empty in a new database."""
        with self.read() as tx:
            return self._version(tx)

    def _version(self, tx: Connection) -> str:
        if not self.engine.dialect.has_table(tx, "alembic_version"):
            return ""
        return str(tx.execute(text("select version_num from alembic_version")).scalar_one_or_none() or "")


def _engine(url: str) -> Engine:
    # Said here, because what it writes is hashed (see events.py).
    engine = create_engine(url, json_serializer=json.dumps)
    match make_url(url).get_backend_name():
        case "sqlite":
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        case "postgresql":
            event.listen(engine, "begin", _begin_postgresql)
        case other:
            raise OperatorError(
                "database-unknown",
                f"database_url names {other}",
                "the ledger is kept in sqlite or postgresql",
            )
    return engine


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
    alone = tx.get_execution_options().get("meterhub_write")
    tx.exec_driver_sql("begin immediate" if alone else "begin")


def _begin_postgresql(tx: Connection) -> None:
    # A writer waits in line for all it may read and write; a reader sees one state to its end.
    if tx.get_execution_options().get("meterhub_write"):
        tx.exec_driver_sql("select pg_advisory_xact_lock(hashtext('meterhub'))")
    else:
        tx.exec_driver_sql("set transaction isolation level repeatable read read only")
