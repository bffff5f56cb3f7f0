"""`meterhub rebuild`: a ledger that was lost is made again, nobody sees a stranger's readings for it, and the hub goes on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from config.home import Home
from hub_fixtures import CNP, Hub
from jobs_fixtures import BLUEBONNET, CHAMPION, KEYSTONE, accounts_found, found, send_sync
from look_fixtures import Desk, a_night
from schemas import tables
from schemas.sample import EGSS

EVENT_ONLY = {"ended_at", "in_inbound"}  # of which receipts say nothing, or not exactly


def _rows(hub: Hub, table: Table, *left_out: str) -> list[dict[str, Any]]:
    columns = [column for column in table.columns if column.name not in left_out]
    with hub.stores.ledger.read() as tx:
        return [dict(row) for row in tx.execute(select(*columns).order_by(*table.primary_key)).mappings()]


def _lose_the_ledger(hub: Hub) -> None:
    hub.close()
    for path in hub.home.state.glob("ledger.sqlite*"):
        path.unlink()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Hub, dict[str, Any]]:
    """A home after a night, at rest, and what its ledger said."""
    hub = a_night(Home(tmp_path_factory.mktemp("rebuild") / "hub")).hub
    hub.sweep()
    said = {
        "drops": _rows(hub, tables.drop, *EVENT_ONLY),
        "loads": _rows(hub, tables.load),
        "lake": _rows(hub, tables.lake_file),
        "verdicts": _rows(hub, tables.verdict, "reported_seq"),
        "current": {egs.id: hub.manifests(egs.id) for egs in EGSS},
    }
    _lose_the_ledger(hub)
    return hub, said


@pytest.fixture
def desk(
    template: tuple[Hub, dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A copy of the home without its ledger."""
    root = tmp_path / "home"
    shutil.copytree(template[0].home.root, root)
    lost = Hub.__new__(Hub)
    lost.home, lost.now, lost.settings, lost.fresh, lost.seen = Home(root), template[0].now, "", False, 0
    return Desk(lost, capsys, monkeypatch)


def test_drops_loads_lake_and_verdicts_are_what_they_were(
    desk: Desk, template: tuple[Hub, dict[str, Any]]
) -> None:
    said = desk.ask("rebuild", "--json")
    assert said.code == 3
    assert (said.json["unreadable"], said.json["archived_without_a_drop"]) == ([], [])
    assert said.json["syncs_to_approve"] == ["S130904-cnp-1"]
    hub = desk.hub
    hub.open()
    before = template[1]
    assert _rows(hub, tables.drop, *EVENT_ONLY) == before["drops"]
    assert _rows(hub, tables.load) == before["loads"]
    assert _rows(hub, tables.lake_file) == before["lake"]
    assert _rows(hub, tables.verdict, "reported_seq") == before["verdicts"]
    hub.close()


def test_nothing_is_shown_until_a_sync_is_approved_and_then_to_each_what_is_its_own(desk: Desk) -> None:
    hub = desk.hub
    outbound = hub.home.sftp_root.glob("*/outbound/*.lse.gz")
    lay = {path.name for path in outbound}
    assert lay
    said = desk.ask("rebuild", "--json")
    assert said.json["outbound_taken_away"] > 0
    assert list(hub.home.sftp_root.glob("*/outbound/*")) == []
    hub.open()
    hub.sweep()
    hub.on(minutes=15)
    hub.sweep()
    assert all(accounts_found(hub, egs.id) == [] for egs in EGSS)
    proof = desk.ask("verify", "--json")
    assert proof.json["findings"] == []
    listed = {one["id"]: one for one in desk.ask("sync", "list", "--json").json}
    assert listed["S130904-cnp-1"]["parts_there"] is None  # which came is not known any more
    assert " of 1" not in desk.ask("sync", "list").out
    assert "not known any more" in desk.ask("sync", "show", "S130904-cnp-1").out
    assert desk.ask("sync", "approve", "S130904-cnp-1", "--yes").code == 0
    hub.on(minutes=15)
    hub.sweep()
    assert sorted(accounts_found(hub, CHAMPION.id)) == ["1001", "1005", "1007"]
    assert sorted(accounts_found(hub, BLUEBONNET.id)) == ["1002", "1003"]
    (newest,) = [block for block in found(hub, CHAMPION.id) if block[0] == "1001"]
    assert set(newest[4]) == {"0.15"}  # the version that counts, and no other
    for subject in (*lay, CHAMPION.id):  # which blocks files held is lost with the ledger: the rest is told
        assert (
            desk.ask("explain", subject, *(("--day", "2013-09-02") if subject == CHAMPION.id else ())).code
            == 0
        )
    proof = desk.ask("verify", "--json")
    assert proof.json["findings"] == []
    hub.end()


def test_numbers_go_on_behind_those_that_are_known(desk: Desk, template: tuple[Hub, dict[str, Any]]) -> None:
    desk.ask("rebuild")
    desk.ask("sync", "approve", "S130904-cnp-1", "--yes")
    hub = desk.hub
    hub.open()
    hub.on(minutes=15)
    hub.sweep()
    before = [manifest["sequence"] for manifest in template[1]["current"][CHAMPION.id]]
    after = [manifest["sequence"] for manifest in hub.manifests(CHAMPION.id)]
    assert min(after) == max(before) + 1
    hub.end()


@pytest.mark.parametrize(("since", "given"), [("2013-09-05", []), ("2013-09-01", ["1006"])])
def test_what_was_published_before_the_ledger_was_lost_is_nobodys_to_claim(
    desk: Desk, since: str, given: list[str]
) -> None:
    desk.ask("rebuild", "--since", since)
    desk.ask("sync", "approve", "S130904-cnp-1", "--yes")
    hub = desk.hub
    hub.open()
    hub.on(minutes=15)
    hub.sweep()
    hub.on(days=1)
    names = {f"100{k}": CHAMPION.duns for k in (1, 7)} | dict.fromkeys(("1002", "1003"), BLUEBONNET.duns)
    send_sync(hub, names | {"1006": KEYSTONE.duns})  # it was of default service
    hub.on(minutes=15)
    hub.sweep()
    assert accounts_found(hub, KEYSTONE.id) == given
    hub.end()


def test_without_receipts_the_lake_alone_tells_of_what_was_loaded(
    desk: Desk, template: tuple[Hub, dict[str, Any]]
) -> None:
    hub = desk.hub
    for receipt in hub.home.sftp_root.glob("*/receipts/*"):
        receipt.unlink()
    said = desk.ask("rebuild", "--json").json
    loaded = [row for row in template[1]["drops"] if row["stage"] == "loaded"]
    assert said["drops_without_a_receipt"] == [row["id"] for row in loaded]
    assert len(said["archived_without_a_drop"]) == 1  # of what was refused; the twin's bytes are the bucket's
    hub.open()
    kept = ("id", "name", "partner", "sha256", "bytes", "arrived_at", "blocks_loaded", "intervals_loaded")
    made = _rows(hub, tables.drop)
    assert [[row[name] for name in kept] for row in made] == [[row[name] for name in kept] for row in loaded]
    hub.sweep()
    assert all(json.loads(path.read_text()) for path in hub.laid(CNP.id, "receipts", ".received.json"))
    assert len(hub.laid(CNP.id, "receipts", ".accepted.json")) == len(loaded)
    hub.end()


def test_what_was_under_way_is_taken_up(desk: Desk, template: tuple[Hub, dict[str, Any]]) -> None:
    hub = desk.hub
    (bucket,) = [row["id"] for row in template[1]["drops"] if row["duplicate_of"]]
    for receipt in hub.home.sftp_root.glob(f"*/receipts/*.{bucket}.duplicate.json"):
        receipt.unlink()
    desk.ask("rebuild")
    hub.open()
    assert str(hub.drop(bucket).stage) == "received"
    hub.sweep()
    assert str(hub.drop(bucket).stage) == "duplicate"
    hub.end()


@pytest.mark.parametrize("words", ["status", "serve", "sweep", "replay 2013-09-02"])
def test_a_ledger_that_is_gone_is_said_and_no_empty_one_takes_its_place(desk: Desk, words: str) -> None:
    desk.ask("init")
    for emptied in (False, True):
        if emptied:
            desk.hub.home.ledger_file.touch()  # as whoever held it open may leave one
        said = desk.ask(*words.split())
        assert said.code == 3
        assert "the ledger is gone" in said.err
        assert "meterhub rebuild" in said.err
        assert desk.hub.home.ledger_file.exists() == emptied


def test_a_ledger_that_is_there_is_left_alone(desk: Desk) -> None:
    assert desk.ask("rebuild").code == 3
    before = desk.hub.home.ledger_file.read_bytes()
    said = desk.ask("rebuild")
    assert (said.code, "ledger-there" in said.err) == (3, True)
    assert desk.hub.home.ledger_file.read_bytes() == before


def test_what_cannot_be_read_or_known_is_said(desk: Desk) -> None:
    lake = min(desk.hub.home.lake.glob("usage/*/*.parquet"))
    lake.write_bytes(b"PAR1")
    packed = min(desk.hub.home.archive.glob("??/*.gz"))
    packed.chmod(0o600)
    packed.write_bytes(packed.read_bytes()[:10] + b"\xff" * 20)
    said = desk.ask("rebuild")
    assert said.code == 1
    assert f"Not readable: {lake}" in said.out
    assert f"Not readable: {packed}: it cannot be unpacked: its packed bytes were changed" in said.out
    assert "who collected which outbound file" in said.out
