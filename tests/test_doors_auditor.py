"""The auditor's door: everything can be looked at as it came and went, nothing changed, and every look is an event."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from doors_fixtures import Door, open_door, string
from exchange.app import Counter
from hub_fixtures import CNP, Hub
from jobs_fixtures import CHAMPION, Cut, interval_name, local, lse, send, send_sync
from look_fixtures import DAY
from schemas import tables

OK, NO_SUCH_FILE, DENIED = 0, 2, 3
REMOVE, MKDIR, STAT, RENAME, SETSTAT = 13, 14, 17, 18, 9
READ, WRITE, CREAT = 1, 2, 8
LINE = '{"event": "hub.stopped"}\n'


@pytest.fixture
def door(hub: Hub, tmp_path: Path) -> Iterator[Door]:
    """A hub after a night, whose day is judged, and the logs of its first day closed."""
    desk = Counter(hub.stores, lambda: hub.now, lambda _: None)
    with open_door(tmp_path, hub=desk, partners=hub.home.partners) as door:
        send_sync(hub, {"1001": CHAMPION.duns, "1002": CHAMPION.duns})
        cuts = [Cut(account=account, day=DAY) for account in ("1001", "1002")]
        send(hub, *cuts)
        name = interval_name(hub)
        hub.upload("cnp", name, b"nothing of the kind\n")
        hub.upload("cnp", name, lse([Cut(account="1001", day=DAY, wh=7, stamp="20130903120000")]))
        hub.sweep()
        hub.at(local(CNP, DAY.replace(day=3), 23, 1))
        hub.sweep()
        yield door


def listed(door: Door, folder: str) -> list[str]:
    with door.paramiko("aud") as client:
        return sorted(client.listdir(folder))


def fetched(door: Door, path: str) -> bytes:
    with door.paramiko("aud") as client, client.open(path) as file:
        return file.read()


def looks(hub: Hub) -> list[tuple[str, str]]:
    return [(row["details"]["what"], row["details"]["path"]) for row in hub.events("audit.looked")]


def test_the_top_explains_itself_and_names_what_there_is(door: Door) -> None:
    tops = listed(door, "/")
    assert tops == ["README.txt", "archive", "events", "published", "receipts", "verdicts"]
    words = fetched(door, "README.txt").decode()
    assert all(f"{top}/" in words for top in tops if top != "README.txt")


def test_every_drop_lies_in_the_archive_as_it_came_under_its_name_on_the_day_it_came(
    door: Door, hub: Hub
) -> None:
    assert listed(door, "archive") == ["cnp"]
    (day,) = listed(door, "archive/cnp")
    drops = [hub.drop(event["about"]) for event in hub.events("drop.received")]
    assert {drop.arrived_at.date().isoformat() for drop in drops} == {day}
    twice = [drop for drop in drops if sum(other.name == drop.name for other in drops) == 2]
    names = {drop.id: drop.name for drop in drops} | {twice[1].id: f"{twice[1].name}.{twice[1].id}"}
    assert listed(door, f"archive/cnp/{day}") == sorted(names.values())
    for drop in drops:
        path = f"archive/cnp/{day}/{names[drop.id]}"
        content = fetched(door, path)
        assert hashlib.sha256(content).hexdigest() == drop.sha256
        with door.paramiko("aud") as client:
            seen = client.stat(path)
        assert (seen.st_size, seen.st_mtime) == (drop.bytes, int(drop.arrived_at.timestamp()))
    assert len(drops) == 4


def test_a_file_that_is_called_as_another_is_shown_hides_none(door: Door, hub: Hub) -> None:
    first, second = [hub.drop(row["about"]) for row in hub.events("drop.received")][-2:]
    assert first.name == second.name
    sly = hub.arrive("cnp", "sly.tmp", b"misnamed")
    called = {"name": f"{second.name}.{second.id}", "arrived_at": first.arrived_at}
    with hub.stores.ledger.write() as tx:  # as if it had been refused under that name
        row = update(tables.drop).where(tables.drop.c.id == sly.id)
        tx.execute(row.values(sha256=first.sha256, in_inbound=False, **called))
    day = first.arrived_at.date().isoformat()
    shown = listed(door, f"archive/cnp/{day}")
    assert len(shown) == 5
    content = {name: fetched(door, f"archive/cnp/{day}/{name}") for name in shown}
    assert {first.sha256, second.sha256} <= {hashlib.sha256(one).hexdigest() for one in content.values()}


def test_receipts_reports_and_manifests_are_those_that_partners_have(door: Door, hub: Hub) -> None:
    for top, partner, folder in (("receipts", "cnp", "receipts"), ("verdicts", "cnp", "reports")):
        disk = hub.home.sftp_root / partner / folder
        assert listed(door, f"{top}/{partner}") == sorted(path.name for path in disk.iterdir())
    (manifest,) = listed(door, "published/champion")
    there = hub.home.sftp_root / "champion" / "outbound" / manifest
    assert fetched(door, f"published/champion/{manifest}") == there.read_bytes()
    assert json.loads(there.read_text())["blocks"] == 2


def test_readings_of_suppliers_are_not_among_what_is_published(door: Door, hub: Hub) -> None:
    (file,) = hub.files("champion")
    with door.raw("aud") as raw:
        assert raw.opens(f"published/champion/{file.name}", READ)[0] == NO_SUCH_FILE


def test_only_logs_of_days_that_are_over_and_sealed_are_shown(door: Door, hub: Hub) -> None:
    assert listed(door, "events") == []
    for k in range(3):
        (hub.home.logs / f"2013-08-0{k + 1}.jsonl").write_text(LINE)
    hub.on(days=1)
    hub.sweep()
    sealed = {name for row in hub.events("chain.sealed") for name in row["details"]["logs"]}
    assert sealed
    assert listed(door, "events") == sorted(sealed)
    assert fetched(door, "events/2013-08-01.jsonl") == LINE.encode()


def test_every_look_is_an_event_before_it_is_answered(door: Door, hub: Hub) -> None:
    listed(door, "/receipts/cnp")
    name = listed(door, "receipts/cnp/../cnp/.")[0]
    fetched(door, f"//receipts/cnp/{name}")
    assert looks(hub) == [
        ("folder", "/receipts/cnp"),
        ("folder", "/receipts/cnp"),
        ("file", f"/receipts/cnp/{name}"),
    ]
    row = hub.events("audit.looked")[-1]
    assert row["partner"] == "aud"
    assert row["details"]["address"] == "127.0.0.1"
    assert row["details"]["key"].startswith("SHA256:")


@pytest.mark.parametrize(
    "path",
    [
        "archive/nobody", "archive/cnp/2013-09-31", "archive/cnp/2013-9-3", "archive/cnp/x", "archive/%/2013-09-03",
        "receipts/..%2f", "receipts/nobody", "receipts/cnp/.hidden", "receipts/cnp/nothing", "published/cnp/inbound",
        "state", "state/ledger.sqlite", "verdicts/cnp/a/b", "events/nothing.jsonl", "archive/cnp/2013-09-03/é",
        "config", "receipts/aud", "inbound", "README.txt/x", "a" * 300,
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found_and_no_look(door: Door, hub: Hub, path: str) -> None:
    with door.raw("aud") as raw:
        assert raw.opens(path, READ)[0] == NO_SUCH_FILE
        assert raw.status(11, string(path))[0] == NO_SUCH_FILE  # OPENDIR
        assert raw.status(STAT, string(path))[0] == NO_SUCH_FILE
    assert looks(hub) == []


def test_links_in_mailboxes_and_logs_lead_nowhere(door: Door, hub: Hub) -> None:
    receipts = hub.home.sftp_root / "cnp" / "receipts"
    (receipts / "link.json").symlink_to(hub.home.settings_file)
    (hub.home.sftp_root / "elsewhere").mkdir()
    (hub.home.sftp_root / "elsewhere" / "receipts").symlink_to(hub.home.state)
    assert "link.json" not in listed(door, "receipts/cnp")
    assert "elsewhere" not in listed(door, "receipts")
    with door.raw("aud") as raw:
        assert raw.opens("receipts/cnp/link.json", READ)[0] == NO_SUCH_FILE
        assert raw.opens("receipts/elsewhere/ledger.sqlite", READ)[0] == NO_SUCH_FILE


def test_an_auditor_changes_nothing(door: Door, hub: Hub) -> None:
    name = listed(door, "receipts/cnp")[0]
    path = f"receipts/cnp/{name}"
    with door.raw("aud") as raw:
        answers = [
            raw.opens("receipts/cnp/new", WRITE | CREAT),
            raw.opens(path, READ | WRITE),
            raw.status(REMOVE, string(path)),
            raw.status(RENAME, string(path) + string("receipts/cnp/other")),
            raw.status(SETSTAT, string(path) + bytes(4)),
        ]
        assert {code for code, _ in answers} == {DENIED}
        assert all("for reading" in words for _, words in answers)
        assert raw.status(MKDIR, string("archive/x") + bytes(4))[0] == DENIED
    assert (hub.home.sftp_root / path.replace("receipts/cnp", "cnp/receipts")).exists()


def test_openssh_fetches_all_of_it(door: Door, hub: Hub, tmp_path: Path) -> None:
    done = door.sftp(
        "aud", f"lcd {tmp_path}", "get -r archive", "get -r receipts", "get README.txt", "ls -l archive/cnp"
    )
    assert done.returncode == 0, done.stderr
    got = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "archive").rglob("*.lse*")}
    assert got == {hub.drop(row["about"]).sha256 for row in hub.events("drop.received")} - _syncs(hub)
    assert len(list((tmp_path / "receipts" / "cnp").iterdir())) == len(
        list((hub.home.sftp_root / "cnp" / "receipts").iterdir())
    )


def _syncs(hub: Hub) -> set[str]:
    drops = [hub.drop(row["about"]) for row in hub.events("drop.received")]
    return {drop.sha256 for drop in drops if "MeterDataSync" in drop.name}


def test_other_partners_see_nothing_of_it(door: Door) -> None:
    with door.raw("cnp") as raw:
        for path in ("archive/cnp", "published/champion", "README.txt", "events"):
            assert raw.status(STAT, string(path))[0] == NO_SUCH_FILE
