"""Proof sheets: what each partner is told of each day, signed so that ssh-keygen checks it."""

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import partners
from exchange import keys
from hub_fixtures import CNP, PPL, Hub
from interruption_fixtures import deaths
from jobs.proofs import home as proofs
from jobs.proofs.place import Place
from jobs.steps import deadline, sheets
from jobs.stores.ledger import HEAD, events
from jobs_fixtures import BLUEBONNET, CHAMPION, Cut, interval_name, local, lse, send, send_sync
from look_fixtures import read
from schemas import proof_sheet

DAY = date(2013, 9, 2)
NEXT = date(2013, 9, 3)
ROSTER = {"1001": CHAMPION.duns, "1002": CHAMPION.duns, "1003": BLUEBONNET.duns}
ACCOUNTS = list(ROSTER)


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    """A hub of one EDC, with a key to sign with, and a roster."""
    made = make_hub("[sync]\nbrake = 0.9\n")
    keys.make_host_keys(made.home.host_keys)
    made.remove_partner("ppl")
    send_sync(made, ROSTER)
    return made


def night(hub: Hub, day: date = DAY) -> None:
    """The day's readings, their publication, and the verdict."""
    send(hub, *(Cut(account=account, day=day) for account in ACCOUNTS))
    hub.sweep()
    hub.at(local(CNP, day + timedelta(days=1), 23, 1))
    hub.sweep()


def sheet(hub: Hub, partner: str, day: date = DAY) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(path(hub, partner, day).read_text())
    return said


def path(hub: Hub, partner: str, day: date = DAY) -> Path:
    return hub.home.sftp_root / partner / "reports" / proof_sheet.name(day)


def found(hub: Hub) -> set[tuple[str, str]]:
    """What `verify` calls wrong."""
    place = Place(home=hub.home, settings=hub.stores.settings, partners=partners.known(hub.home), now=hub.now)
    proof = proofs.verify(hub.stores.ledger, place, version=HEAD)
    return {(one.check.name, one.where) for one in proof.findings}


def checked(hub: Hub, file: Path, content: bytes, tmp_path: Path) -> bool:
    """Whether a partner's ssh-keygen, given the hub's public key, takes the signature beside a file for content."""
    public = hub.home.signing_key.with_name(hub.home.signing_key.name + ".pub").read_text()
    allowed = tmp_path / "allowed_signers"
    allowed.write_text(f"meterhub {public}")
    said = ["-f", allowed, "-I", "meterhub", "-n", proof_sheet.NAMESPACE, "-s", f"{file}.sig"]
    done = subprocess.run(
        ["ssh-keygen", "-Y", "verify", *said], input=content, capture_output=True, timeout=60, check=False
    )
    return done.returncode == 0


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH here")
def test_ssh_keygen_checks_a_sheet_and_refuses_one_of_which_a_byte_was_changed(
    hub: Hub, tmp_path: Path
) -> None:
    night(hub)
    for partner in ("cnp", "champion", "bluebonnet"):
        file = path(hub, partner)
        content = file.read_bytes()
        assert checked(hub, file, content, tmp_path), partner
        assert not checked(hub, file, content.replace(b"2013", b"2014", 1), tmp_path)
    assert not checked(hub, path(hub, "cnp"), path(hub, "champion").read_bytes(), tmp_path)


def test_an_edc_is_told_its_verdict_and_each_of_its_drops(hub: Hub) -> None:
    refused = hub.upload("cnp", interval_name(hub), b"nothing of the kind\n")
    cuts = [Cut(account=account, day=DAY) for account in ACCOUNTS]
    taken = send(hub, *cuts)
    twin = hub.upload("cnp", interval_name(hub), lse(cuts))
    night(hub)
    said = sheet(hub, "cnp")
    assert said["partner"] == {"id": "cnp", "duns": CNP.duns, "role": "edc"}
    assert (said["verdict"]["verdict"], said["verdict"]["expected"]) == ("met", 3)
    told = {one["drop"]: one for one in said["drops"]}
    for drop in (refused, taken, twin):
        again = hub.drop(drop.id)
        one = told[drop.id]
        assert (one["sha256"], one["outcome"], one["file"]) == (again.sha256, str(again.outcome), again.name)
    assert told[twin.id]["duplicate_of"] == taken.id
    assert said["totals"]["blocks_loaded"] == sum(one["blocks_loaded"] for one in told.values()) == 3
    assert [one["as_of"] for one in said["syncs_in_force"]] == ["2013-09-03"]


def test_an_egs_is_told_its_files_and_what_was_taken_back_and_fetched(hub: Hub) -> None:
    send(hub, *(Cut(account=account, day=DAY) for account in ACCOUNTS))
    hub.sweep()
    read(hub, "bluebonnet", part=False)
    hub.on(hours=1)
    send_sync(hub, ROSTER | {"1002": BLUEBONNET.duns})  # champion's file is taken back, and written again
    hub.at(local(CNP, NEXT, 23, 1))
    hub.sweep()
    said = sheet(hub, "champion")
    files = hub.files("champion")
    assert [(one["sequence"], one["file"], one["sha256"]) for one in said["files"]] == [
        (file.sequence, file.name, file.sha256) for file in files
    ]
    assert [one["sequence"] for one in said["files"]] == [1, 2]
    assert [one["file"] for one in said["withdrawn"]] == [files[0].name]
    assert said["withdrawn"][0]["by"] == files[0].withdrawn_by
    assert said["totals"]["blocks"] == 2 + 1
    (fetched,) = sheet(hub, "bluebonnet")["fetched"]
    assert (fetched["file"], fetched["whole"]) == (hub.files("bluebonnet")[0].name, True)


def test_a_sheet_says_nothing_of_other_partners(hub: Hub) -> None:
    night(hub)
    champion, edc = path(hub, "champion").read_text(), path(hub, "cnp").read_text()
    for word in (
        "bluebonnet",
        BLUEBONNET.duns,
        *(file.sha256 for file in hub.files("bluebonnet")),
        "verdict",
    ):
        assert word not in champion
    for word in ("champion", "bluebonnet", CHAMPION.duns, BLUEBONNET.duns, *ACCOUNTS):
        assert word not in edc
    assert not any(account in champion for account in ACCOUNTS)
    assert not path(hub, "keystone").exists()  # nothing happened that it could be told


def test_sheets_follow_each_other_and_every_drop_and_file_stands_in_exactly_one(hub: Hub) -> None:
    night(hub)
    send(hub, Cut(account="1001", day=DAY, wh=7, stamp="20130903231000"))  # behind the first verdict
    hub.at(local(CNP, date(2013, 9, 4), 3))
    night(hub, NEXT)
    for partner, key, name in (("cnp", "drops", "drop"), ("champion", "files", "file")):
        one, two = sheet(hub, partner, DAY), sheet(hub, partner, NEXT)
        assert one["sheet_before"] is None
        assert two["chain"]["after"] == one["chain"]["through"]
        (laid,) = [
            event["details"]["sha256"]
            for event in hub.events("sheet.laid", f"{partner}/{DAY}")
            if event["details"]["file"] == proof_sheet.name(DAY)
        ]
        assert two["sheet_before"] == {"file": proof_sheet.name(DAY), "sha256": laid}
        told = [row[name] for said in (one, two) for row in said[key]]
        assert len(told) == len(set(told))
        if partner == "champion":
            assert told == [file.name for file in hub.files("champion")]
    drops = {row["about"] for row in hub.events("drop.loaded")}
    assert {row["drop"] for day in (DAY, NEXT) for row in sheet(hub, "cnp", day)["drops"]} == drops


def test_the_heads_on_a_sheet_are_heads_of_the_chain(hub: Hub) -> None:
    night(hub)
    with hub.stores.ledger.read() as tx:
        links = {str(events.Head(link.id, link.hash)): link for link in events.links(tx)}
    through = sheet(hub, "cnp")["chain"]["through"]
    assert through in links
    assert links[through].id >= max(row["id"] for row in hub.events("deadline.met"))


def test_verify_knows_the_sheets_and_names_one_that_was_changed_or_put_there(hub: Hub) -> None:
    night(hub)
    hub.sweep()
    assert found(hub) == set()
    path(hub, "champion").write_text(path(hub, "champion").read_text() + " ")
    path(hub, "cnp", NEXT).write_text("{}\n")
    assert found(hub) == {
        ("RECEIPTS", "sftp_root/champion/reports/2013-09-02.proof.json"),
        ("STRANGERS", "sftp_root/cnp/reports/2013-09-03.proof.json"),
    }


def test_a_sheet_is_written_once(hub: Hub) -> None:
    night(hub)
    before = {one: path(hub, one).read_bytes() for one in ("cnp", "champion", "bluebonnet")}
    hub.on(minutes=5)
    hub.sweep()
    hub.restart()
    hub.sweep()
    assert {one: path(hub, one).read_bytes() for one in before} == before
    assert len(hub.events("sheet.laid")) == 2 * len(before)


def test_a_sheet_that_lies_there_before_its_transaction_has_ended_stays_as_it_is(hub: Hub) -> None:
    night(hub)
    files = {name: path(hub, name).read_bytes() for name in ("cnp", "champion")}
    _forget(hub)
    hub.on(minutes=5)
    hub.sweep()
    assert {name: path(hub, name).read_bytes() for name in files} == files
    # One that is not ours does not stay.
    path(hub, "champion").write_text("{}\n")
    _forget(hub)
    hub.sweep()
    assert json.loads(path(hub, "champion").read_text())["partner"]["id"] == "champion"


def _forget(hub: Hub) -> None:
    """The ledger does not know that any sheet was written."""
    with hub.stores.ledger.write() as tx:
        tx.exec_driver_sql("delete from job_run where job in ('sheet', 'sheet-last')")


def _write_sheets(hub: Hub) -> None:
    sheets.write(stores=hub.stores, now=hub.now)


def test_what_a_death_left_is_not_called_wrong_and_the_next_sweep_has_the_sheet(
    make_hub: Callable[..., Hub], tmp_path: Path
) -> None:
    hub = make_hub("[sync]\nbrake = 0.9\n")
    keys.make_host_keys(hub.home.host_keys)
    hub.remove_partner("ppl")
    send_sync(hub, {"1001": ""})  # of default service: there is one sheet, the EDC's
    send(hub, Cut(account="1001", day=DAY))
    hub.sweep()
    hub.at(local(CNP, NEXT, 23, 1))
    assert isinstance(
        deadline.judge(hub.partner("cnp"), DAY, stores=hub.stores, now=hub.now), deadline.Judged
    )
    for died in deaths(hub, _write_sheets, tmp_path / "died"):
        assert found(died) == set()
        died.sweep()
        assert found(died) == set()
        assert sheet(died, "cnp")["totals"]["drops"] == 2


def test_an_egs_is_told_when_every_edc_of_the_day_has_its_verdict(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[sync]\nbrake = 0.9\n")
    keys.make_host_keys(hub.home.host_keys)
    for edc in (CNP, PPL):
        send_sync(hub, ROSTER, edc=edc)
        send(hub, *(Cut(account=account, day=DAY) for account in ACCOUNTS), edc=edc)
    hub.sweep()
    hub.at(local(PPL, NEXT, 23, 1))
    hub.sweep()
    assert (path(hub, "ppl").exists(), path(hub, "cnp").exists(), path(hub, "champion").exists()) == (
        True,
        False,
        False,
    )
    hub.at(local(CNP, NEXT, 23, 1))
    hub.sweep()
    assert {one["edc"] for one in sheet(hub, "champion")["files"]} == {"cnp", "ppl"}


def test_a_hub_without_a_key_says_so_and_writes_no_sheets(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    assert sheets.write(stores=hub.stores, now=hub.now) == sheets.NoKey()
