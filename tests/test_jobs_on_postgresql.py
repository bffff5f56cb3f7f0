"""A hub whose ledger is in PostgreSQL does what one with SQLite does: tests of other files, run again."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import InternalError

from config.errors import OperatorError
from config.home import Home
from conftest import DAY
from hub_fixtures import Hub, morning
from jobs.stores.ledger import Ledger
from look_fixtures import Desk
from test_jobs_interruption import test_several_processes_that_die_again_and_again_do_all_the_work_once
from test_jobs_ledger import (
    test_a_reader_never_waits_for_the_writer_nor_sees_what_is_not_committed,
    test_a_transaction_that_raises_changes_nothing_and_logs_nothing,
    test_writers_wait_for_each_other_and_lose_nothing,
)
from test_jobs_publications import (
    test_each_egs_is_given_one_file_of_each_edc_a_run_with_its_own_accounts_only,
    test_names_are_never_used_twice_and_numbers_have_no_gap,
    test_two_publishers_of_one_edc_do_not_run_side_by_side,
)
from test_jobs_suspense import test_suspense_is_released_by_the_sync_that_brings_the_account
from test_jobs_syncs import test_parts_that_are_kept_side_by_side_form_one_sync_that_is_enforced_once
from test_jobs_versions import (
    test_processes_that_sweep_one_home_at_once_load_each_drop_once,
    test_threads_that_commit_overlapping_drops_give_each_version_once,
)
from test_verify import test_an_account_of_somebody_elses_is_named_by_a_reading_of_its_own

# Named, so that they count as used: they are collected here with the hubs of this file.
AGAIN = (
    test_several_processes_that_die_again_and_again_do_all_the_work_once,
    test_a_reader_never_waits_for_the_writer_nor_sees_what_is_not_committed,
    test_a_transaction_that_raises_changes_nothing_and_logs_nothing,
    test_writers_wait_for_each_other_and_lose_nothing,
    test_each_egs_is_given_one_file_of_each_edc_a_run_with_its_own_accounts_only,
    test_names_are_never_used_twice_and_numbers_have_no_gap,
    test_two_publishers_of_one_edc_do_not_run_side_by_side,
    test_suspense_is_released_by_the_sync_that_brings_the_account,
    test_parts_that_are_kept_side_by_side_form_one_sync_that_is_enforced_once,
    test_processes_that_sweep_one_home_at_once_load_each_drop_once,
    test_threads_that_commit_overlapping_drops_give_each_version_once,
    test_an_account_of_somebody_elses_is_named_by_a_reading_of_its_own,
)


def _program(name: str) -> str | None:
    """Debian keeps the server's programs off the path."""
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(kept[-1]) if kept else shutil.which(name)


pytestmark = pytest.mark.skipif(
    _program("initdb") is None and "CI" not in os.environ, reason="not installed: a PostgreSQL server"
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server of its own, without the name of a database; it is gone after the tests."""
    # An address of its own, on which nobody else takes the port: two of these may run at once, one a worker.
    host, port = f"127.54.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF or 255}", 54_320
    with tempfile.TemporaryDirectory(prefix="meterhub-postgresql-") as folder:
        # It refuses to be root, whose tests these may be.
        user = "postgres" if os.geteuid() == 0 else None
        if user:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)

        def run(program: str, *args: str) -> None:
            found = _program(program)
            assert found, f"{program} is not installed"
            subprocess.run([found, "-D", f"{folder}/data", *args], check=True, user=user, cwd=folder,
                           stdout=subprocess.DEVNULL)  # fmt: skip

        run("initdb", "-A", "trust", "-U", "hub", "-E", "UTF8", "--locale=C", "--no-sync")
        run("pg_ctl", "-w", "-t", "300", "-l", f"{folder}/log", "start",
            "-o", f"-c listen_addresses={host} -c port={port} -c unix_socket_directories={folder}")  # fmt: skip
        try:
            yield f"postgresql://hub@{host}:{port}/"
        finally:
            run("pg_ctl", "-w", "-t", "300", "-m", "immediate", "stop")


_numbers = count()


@pytest.fixture
def make_database(server: str) -> Callable[[str], str]:
    def make(sorted_by: str = "locale 'C'") -> str:
        """A new database; its URL."""
        name = f"hub_{next(_numbers)}"
        engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:") + "postgres")
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"create database {name} {sorted_by} template template0"))
        engine.dispose()
        return server + name

    return make


@pytest.fixture
def make_hub(tmp_path: Path, make_database: Callable[..., str]) -> Iterator[Callable[..., Hub]]:
    made: list[Hub] = []

    def make(settings: str = "", now: datetime | None = None) -> Hub:
        settings = f'database_url = "{make_database()}"\n{settings}'
        made.append(Hub(Home(tmp_path / f"hub-{len(made)}"), now or morning(DAY), settings))
        return made[-1]

    yield make
    for hub in made:
        hub.end()


def test_the_ledger_of_these_hubs_is_in_postgresql(hub: Hub) -> None:
    assert hub.stores.ledger.engine.dialect.name == "postgresql"
    assert not hub.home.ledger_file.exists()


def test_commands_look_at_it_and_questions_are_asked_of_it(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    test_each_egs_is_given_one_file_of_each_edc_a_run_with_its_own_accounts_only(hub)
    desk = Desk(hub, capsys, monkeypatch)
    for words in (["status"], ["drops"], ["sync", "list"], ["query", "select distinct partner from drops"]):
        said = desk.ask(*words)
        assert said.code in {0, 3}, said.err
        assert "cnp" in said.out
    assert desk.ask("query", "select count(*) as n from usage_current", "--json").json


def test_a_reader_cannot_write(hub: Hub) -> None:
    with pytest.raises(InternalError, match="read-only transaction"), hub.stores.ledger.read() as tx:
        tx.execute(text("update alembic_version set version_num = 'x'"))


def test_a_connection_that_the_server_cut_is_replaced_without_a_word(hub: Hub) -> None:
    with hub.stores.ledger.read() as tx:
        mine = tx.execute(text("select pg_backend_pid()")).scalar_one()
    other = Ledger(hub.stores.ledger.url)
    with other.read() as tx:
        tx.execute(text("select pg_terminate_backend(:pid, 120000)"), {"pid": mine})
    other.close()
    with hub.stores.ledger.read() as tx:
        assert tx.execute(text("select pg_backend_pid()")).scalar_one() != mine


def test_a_server_that_is_not_there_is_said() -> None:
    with pytest.raises(OperatorError, match=r"ledger cannot be used: .*refused"):
        Ledger("postgresql://hub@127.0.0.1:1/hub").version()


def test_a_database_that_sorts_text_by_the_rules_of_a_language_is_refused(
    make_database: Callable[..., str],
) -> None:
    ledger = Ledger(make_database("locale_provider icu icu_locale 'en-US' locale 'C'"))
    with pytest.raises(OperatorError, match="sorts text by the rules of a language"):
        ledger.version()
    ledger.close()
