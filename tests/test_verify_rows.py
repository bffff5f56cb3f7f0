"""`meterhub verify` names any row of the ledger that was edited, taken out or put in by hand, table by table.

The cases are made of schemas/tables.py, so that no table and no column of a new one can be forgotten.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Table

from config import partners
from config.home import Home
from config.settings import load
from hub_fixtures import CNP
from jobs.proofs import home as proofs
from jobs.proofs.finding import Finding
from jobs.proofs.place import Place
from jobs.stores.ledger import HEAD, Ledger
from jobs_fixtures import BLUEBONNET, CHAMPION, STRANGER_DUNS, Cut, interval_name, lse, send_sync
from look_fixtures import DAY, a_night
from schemas import tables

# What is under no proof, and why.
WORKING = {
    "claim": "who is at what at this moment; it ends with its process",
    "visit": "counted up with each session, and told by no event",
    "turned_away": "counted up with each refusal, and told by no event",
}
# Numbers that the database gives, and that nothing outside it has; notes that change with each try.
FREE = {
    ("held", "id"),
    ("held_before", "id"),
    ("collection", "id"),
    ("failure", "times"),
    ("failure", "why"),
    ("failure", "last_at"),
}
# Of tables whose first row is not in every respect as others are: the row that is tried.
ROWS = {
    ("drop", None): "stage = 'loaded' and sync_id = ''",
    ("failure", None): "parked_at is not null",
    ("outbound_file", None): "state = 'laid-out'",
    ("sync", None): "state = 'in-force'",
    ("held", None): "released_at is not null",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a row in every table that is under proof, at rest."""
    hub = a_night(Home(tmp_path_factory.mktemp("rows") / "hub")).hub
    hub.on(days=1)
    roster = {"1001": CHAMPION.duns, "1002": BLUEBONNET.duns, "1003": BLUEBONNET.duns, "1004": STRANGER_DUNS}
    roster |= {"1005": CHAMPION.duns, "1006": "", "1007": CHAMPION.duns, "1009": STRANGER_DUNS}
    send_sync(hub, roster)
    hub.sweep()
    obstacle = hub.home.lake / "usage" / "usage_date=2013-08-01"
    obstacle.touch()
    hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="1001", day=DAY.replace(month=8, day=1))]))
    for _ in range(3):
        hub.sweep()
    obstacle.unlink()
    hub.close()
    return hub.home


@pytest.fixture
def ledger(home: Home) -> Iterator[Path]:
    """Its ledger, which is afterwards what it was."""
    before = home.ledger_file.read_bytes()
    yield home.ledger_file
    home.ledger_file.write_bytes(before)


def _found(home: Home) -> list[Finding]:
    """What verify finds: of the ledger alone, or if that is nothing, of all."""
    ledger = Ledger(f"sqlite:///{home.ledger_file}")
    place = Place(home=home, settings=load(home.root), partners=partners.known(home), now=_now(home))
    try:
        for quick in (True, False):
            proof = proofs.verify(ledger, place, version=HEAD, quick=quick)
            if found := [*proof.findings, *proof.unfinished]:
                return found
    finally:
        ledger.close()
    return []


def _now(home: Home) -> Any:
    with contextlib.closing(sqlite3.connect(home.ledger_file)) as sql:
        (at,) = sql.execute("select at from event order by id desc limit 1").fetchone()
    return tables.Instant().process_result_value(at, None)  # type: ignore[arg-type]


def _change(ledger: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(ledger)) as sql:
        sql.execute("pragma ignore_check_constraints = on")
        assert sql.execute(statement).rowcount == 1
        sql.commit()


def _edited(column: Column[Any]) -> str:
    """Another value than stands there, in SQL."""
    name, kind = f'"{column.name}"', str(column.type)
    if isinstance(column.type, tables.Instant):
        return f"case when {name} is null then '2013-09-01T00:00:00.000000Z' else '2012' || substr({name}, 5) end"
    if kind == "DATE":
        return f"'2012' || substr({name}, 5)"
    if kind == "BOOLEAN":
        return f"not {name}"
    if kind == "JSON":
        return (
            f"""case when json_type({name}) = 'object' then json_set({name}, '$.more', 1) else '["x"]' end"""
        )
    if kind in {"INTEGER", "BIGINT", "FLOAT"}:
        return f"{name} + 1000"
    return f"coalesce({name}, '') || '1'"


def _row(table: Table) -> str:
    where = ROWS.get((table.name, None), "true")
    return f'rowid = (select rowid from "{table.name}" where {where} order by rowid limit 1)'


PROVEN = [table for table in tables.metadata.sorted_tables if table.name not in WORKING]
COLUMNS = [column for table in PROVEN for column in table.columns if (table.name, column.name) not in FREE]


def test_a_home_of_which_no_row_was_touched_is_as_it_was_recorded(home: Home) -> None:
    assert _found(home) == []


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: f"{column.table.name}.{column.name}")
def test_a_field_that_was_edited_by_hand_is_found(home: Home, ledger: Path, column: Column[Any]) -> None:
    table = column.table
    assert isinstance(table, Table)
    _change(ledger, f'update "{table.name}" set "{column.name}" = {_edited(column)} where {_row(table)}')
    assert _found(home) != []


@pytest.mark.parametrize("table", PROVEN, ids=lambda table: table.name)
def test_a_row_that_was_taken_out_by_hand_is_found(home: Home, ledger: Path, table: Table) -> None:
    _change(ledger, f'delete from "{table.name}" where {_row(table)}')
    assert _found(home) != []
