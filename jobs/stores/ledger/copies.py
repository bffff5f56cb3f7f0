"""A copy of a ledger that is in use: one state of it, whole, and durable before it has its name."""

import contextlib
import os
import sqlite3
from pathlib import Path

from sqlalchemy import make_url

from config.errors import OperatorError
from jobs.stores import files


def copy(url: str, to: Path) -> None:
    """Copy the SQLite ledger at `url` to a new file. Whoever writes meanwhile is not kept waiting, and what
    they write is in the copy wholly or not at all.

    Raises OperatorError for another kind of database, FileExistsError if the file is there.
    """
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or not address.database:
        raise OperatorError(
            "not-sqlite",
            f"the ledger is kept in {address.get_backend_name()}, which has copies of its own",
            "for PostgreSQL: pg_dump --format=custom",
        )
    if to.exists():
        raise FileExistsError(to)
    aside = to.with_name(f".{to.name}.{os.getpid()}.aside")
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{address.database}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(aside)) as made,
        ):
            source.backup(made)
        files.settle(aside, to)
    finally:
        aside.unlink(missing_ok=True)
