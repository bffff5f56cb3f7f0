"""The ledger: what happened to every drop, load, sync and outbound file, in one database.

A file exists for readers when its row here is committed. The modules beside this one are plain
functions over an open transaction, so that a step can join several changes in one.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import InterfaceError, OperationalError

from config.errors import OperatorError
from jobs.stores import mishaps
from jobs.stores.ledger import engines

log = structlog.get_logger()

SAID = "meterhub_said"  # of a connection: the events of the transaction under way
CHAIN = "meterhub_chain"  # of a connection: the last of them, where there is one
HEAD = "0003"  # the newest migration; a test holds it to schemas/migrations


class LedgerUnreachable(OperatorError):  # noqa: N818 - what is the case, and may be over in a minute
    """The database cannot be opened, read or written just now: its disk, its server, its lock."""

    def __init__(self, error: OperationalError | InterfaceError) -> None:
        said = " ".join(str(error.orig).split())
        super().__init__(
            "ledger-unreachable",
            f"the ledger cannot be used: {said}",
            "uploads are refused and loads wait; all goes on by itself when it can be used again",
        )


class Ledger:
    """One database and its transactions. Safe to use from several threads and processes at once."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = engines.engine(url)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the ledger and changes nothing."""
        with _in_words(), self.engine.connect() as tx, tx.begin():
            yield tx

    @contextmanager
    def write(self, *, soon: bool = False) -> Iterator[Connection]:
        """A transaction that is alone in writing, from its first statement on. Commits on leaving; then
        what it recorded as events is logged, a line each.

        `soon`: a power cut may undo it until the next transaction without that word has ended. For what
        the files themselves tell again when the hub starts, or what may be forgotten.
        """
        with (
            _in_words(),
            self.engine.connect().execution_options(meterhub_write=True, meterhub_soon=soon) as tx,
        ):
            tx.info[SAID] = []
            tx.info.pop(CHAIN, None)  # of a transaction before, which may have been undone
            with tx.begin():
                yield tx
                said = tx.info.pop(SAID)
                about = _about([name for name, _ in said])
                mishaps.at_commit(f"commit:{about}")
            mishaps.at_commit(f"committed:{about}")
        self._tell(said)

    def _tell(self, said: Sequence[tuple[str, dict[str, Any]]]) -> None:
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


def _about(said: Sequence[str]) -> str:
    """What a transaction is about, by its events: the last that tells of more than a paper that was laid."""
    return next((name for name in reversed(said) if not name.endswith(".laid")), said[-1] if said else "note")


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise LedgerUnreachable(error) from error
