"""`meterhub backup`: a copy of a ledger that is in use, and a home that is put back from it."""

import shutil
import threading
from pathlib import Path

import pytest

from hub_fixtures import Hub
from jobs.stores.ledger import events
from jobs_fixtures import CHAMPION, Cut, send, send_sync
from look_fixtures import DAY, Desk


@pytest.fixture
def desk(hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    return Desk(hub, capsys, monkeypatch)


def test_a_home_put_back_from_a_backup_is_as_it_was(desk: Desk, tmp_path: Path) -> None:
    said = desk.ask("backup", str(tmp_path / "copies"), "--json")
    assert (said.code, said.json["wrong"]) == (0, [])
    assert said.json["head"] == desk.ask("verify", "--head").out.strip()
    home, again = desk.hub.home.root, tmp_path / "again"
    for place in said.json["copy_next"]:
        shutil.copytree(place, again / Path(place).relative_to(home))
    shutil.copyfile(said.json["ledger"], again / "state" / "ledger.sqlite")
    found = desk.ask("--home", str(again), "verify", "--expect", said.json["head"], "--json")
    assert (found.code, found.json["findings"]) == (0, [])


def test_a_copy_of_a_ledger_that_is_written_to_is_one_state_of_it(desk: Desk, tmp_path: Path) -> None:
    hub, over = desk.hub, threading.Event()

    def write() -> None:
        while not over.is_set():
            with hub.stores.ledger.write() as tx:
                for _ in range(5):
                    events.record(tx, "doors.closed", at=hub.now, sessions=0, late=[])

    with hub.stores.ledger.read() as tx:
        before = events.head(tx).id
    writer = threading.Thread(target=write)
    writer.start()
    try:
        copies = [desk.ask("backup", str(tmp_path / f"copies-{k}"), "--json") for k in range(5)]
    finally:
        over.set()
        writer.join()
    for said in copies:
        assert (said.code, said.json["wrong"]) == (0, [])
        assert (int(said.json["head"].partition(":")[0]) - before) % 5 == 0


def test_a_backup_of_a_ledger_that_was_tampered_with_says_so(desk: Desk, tmp_path: Path) -> None:
    with desk.hub.stores.ledger.write() as tx:
        tx.exec_driver_sql("update event set partner = 'ppl' where id = 7")
    said = desk.ask("backup", str(tmp_path), "--json")
    assert said.code == 1
    assert "drop." in said.json["wrong"][0]


def test_there_is_nothing_to_copy_where_no_ledger_is(desk: Desk, tmp_path: Path) -> None:
    desk.hub.stores.ledger.close()
    for path in desk.hub.home.state.glob("ledger.sqlite*"):
        path.rename(tmp_path / path.name)
    said = desk.ask("backup", str(tmp_path / "copies"))
    for path in tmp_path.glob("ledger.sqlite*"):
        path.rename(desk.hub.home.state / path.name)
    assert said.code == 3
    assert "meterhub rebuild" in said.err
