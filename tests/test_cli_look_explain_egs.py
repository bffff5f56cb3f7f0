"""`meterhub explain EGS --day D`: why each account is in what the EGS was given, or is not."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from config.home import Home
from hub_fixtures import CNP, KEY, Hub, morning
from jobs.steps import sync as sync_step
from jobs.stores.ledger import syncs
from jobs.stores.ledger.syncs import Sync
from jobs.stores.supply import REASONS
from jobs_fixtures import BLUEBONNET, CHAMPION, KEYSTONE, STRANGER_DUNS, Cut, Row, send, send_sync
from look_fixtures import DAY, Desk, Told, on_a_terminal, read, told_once
from schemas import tables


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    yield from told_once(tmp_path_factory)


@pytest.fixture
def desk(told: Told, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(told.hub, capsys, monkeypatch)


@pytest.fixture
def at_desk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Hub], Desk]:
    return lambda hub: Desk(hub, capsys, monkeypatch)


def listed(desk: Desk, egs: str, *words: str) -> list[dict[str, Any]]:
    """What is said of each account, a line each."""
    answer = desk.ask("explain", egs, "--day", str(DAY), "--list", "--json", *words)
    assert answer.code == 0, answer.err
    return [json.loads(line) for line in answer.out.splitlines()]


def reasons(desk: Desk, egs: str, *words: str) -> dict[str, str]:
    return {row["account"]: row["reason"] for row in listed(desk, egs, *words)}


OF_CHAMPION = {
    "1001": "given", "1002": "taken-back", "1003": "another", "1004": "unclaimed", "1005": "given",
    "1006": "default-service", "1007": "given", "1009": "suspense",
}  # fmt: skip
OF_BLUEBONNET = OF_CHAMPION | {
    "1001": "another", "1002": "before-switch", "1003": "given", "1005": "another", "1007": "another"
}  # fmt: skip


@pytest.mark.parametrize(("egs", "wanted"), [("champion", OF_CHAMPION), ("bluebonnet", OF_BLUEBONNET)])
def test_every_account_is_in_or_out_for_a_reason(desk: Desk, egs: str, wanted: dict[str, str]) -> None:
    rows = listed(desk, egs)
    assert {row["account"]: row["reason"] for row in rows} == wanted
    assert [row["account"] for row in rows] == sorted(wanted)
    assert {row["account"] for row in rows if row["in"]} == {one for one in wanted if wanted[one] == "given"}


def test_what_proves_it_is_told(desk: Desk, told: Told) -> None:
    rows = {row["account"]: row for row in listed(desk, "champion")}
    first, second = told.hub.files("champion")[:2]
    given = rows["1001"]
    assert (given["version"], given["given_version"], given["drop"]) == (2, 2, told.replacement.id)
    assert (given["file"], given["sequence"], given["published_by"]) == (second.name, 2, "S130903-cnp-1")
    taken = rows["1002"]
    assert (taken["file"], taken["state"], taken["withdrawn_by"]) == (
        first.name,
        "withdrawn",
        "S130904-cnp-1",
    )
    assert taken["collected_at"] == "2013-09-03T10:05:02Z"
    switched = {row["account"]: row for row in listed(desk, "bluebonnet")}["1002"]
    assert (switched["publication"], switched["published_by"]) == (first.publication_id, "S130903-cnp-1")


def test_the_summary_counts_accounts_by_reason(desk: Desk) -> None:
    (said,) = desk.ask("explain", "champion", "--day", str(DAY), "--json").json
    counted = {row["reason"]: row["accounts"] for row in said["reasons"]}
    assert counted == {one: list(OF_CHAMPION.values()).count(one) for one in OF_CHAMPION.values()}
    assert said["summary"] == "Of 8 accounts of cnp, 3 are in what champion was given of 2013-09-02."
    assert (said["edc"], said["sync"]) == ("cnp", "S130904-cnp-1")


def test_pages_and_reasons_give_what_all_of_it_has(desk: Desk) -> None:
    whole = listed(desk, "champion")
    pages, after = [], ""
    while some := listed(desk, "champion", "--limit", "3", "--after", after):
        pages += some
        after = some[-1]["account"]
    assert pages == whole
    wanted = ("--reason", "suspense", "--reason", "another")
    assert listed(desk, "champion", *wanted) == [
        row for row in whole if row["reason"] in {"another", "suspense"}
    ]


def test_a_page_holds_all_channels_of_its_accounts_which_count_once(
    hub: Hub, at_desk: Callable[[Hub], Desk]
) -> None:
    send_sync(hub, [Row(account="7", channels="4;1"), Row(account="8")])
    send(hub, Cut(account="7", day=DAY), Cut(account="8", day=DAY))
    hub.sweep()
    desk = at_desk(hub)
    first = [
        (row["account"], row["channel"], row["reason"]) for row in listed(desk, "champion", "--limit", "1")
    ]
    assert first == [("7", "1", "missing"), ("7", "4", "given")]
    assert [row["account"] for row in listed(desk, "champion", "--limit", "1", "--after", "7")] == ["8"]
    (said,) = desk.ask("explain", "champion", "--day", str(DAY), "--json").json
    assert said["summary"].startswith("Of 2 accounts of cnp, 2 are in")


def test_as_known_at_an_instant_it_is_told_as_it_was_then(desk: Desk) -> None:
    then = reasons(desk, "champion", "--as-known-at", "2013-09-03T10:10Z")
    assert then == OF_CHAMPION | {"1002": "given", "1005": "suspense", "1007": "missing"}


def test_people_see_it_on_80_columns(told: Told) -> None:
    lines = on_a_terminal(told.hub, "explain", "champion", "--day", str(DAY), "--list", "--limit", "2")
    assert max(map(len, lines)) <= 80
    assert "1002                   4  out taken-back      file 1, S130904-cnp-1, was fetched" in lines
    assert lines[-1] == "The first 2; what is behind: --after 1002"


def test_an_egs_needs_a_day_and_only_an_egs_is_listed(desk: Desk) -> None:
    answer = desk.ask("explain", "champion", "--list")
    assert (answer.code, "say which usage day" in answer.err) == (2, True)
    assert desk.ask("explain", "1001", "--list").code == 2
    assert desk.ask("explain", "cnp", "--list").code == 2
    answer = desk.ask("explain", "champion", "--day", "2012-01-01")
    assert (answer.code, "nothing of 2012-01-01 is loaded" in answer.err) == (1, True)


def test_what_nothing_explains_is_called_wrong(
    make_hub: Callable[..., Hub], at_desk: Callable[[Hub], Desk]
) -> None:
    hub = make_hub()
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    desk = at_desk(hub)
    assert desk.ask("explain", "champion", "--day", str(DAY)).code == 0
    with hub.stores.ledger.write() as tx:  # somebody takes the file out of the record
        tx.execute(update(tables.outbound_file).values(usage_days=[]))
    answer = desk.ask("explain", "champion", "--day", str(DAY))
    assert answer.code == 1
    assert "unexplained" in answer.out
    assert "run verify" in answer.out
    assert desk.ask("verify").code == 1


def test_without_a_sync_nobody_is_of_record(hub: Hub, at_desk: Callable[[Hub], Desk]) -> None:
    send(hub, Cut(account="7", day=DAY))
    hub.sweep()
    said = at_desk(hub).ask("explain", "champion", "--day", str(DAY)).out
    assert "0 are in what champion was given of 2013-09-02; no sync of cnp is in force" in said
    assert reasons(at_desk(hub), "champion") == {"7": "suspense"}


def test_an_account_whose_supplier_starts_later_is_nobodys_yet_and_not_another_suppliers(
    hub: Hub, at_desk: Callable[[Hub], Desk]
) -> None:
    ahead = DAY + timedelta(days=9)
    roster = [
        Row(account="1"),
        Row(account="2", start=ahead),
        Row(account="3", duns=STRANGER_DUNS, start=ahead),
    ]
    send_sync(hub, roster)
    send(hub, *(Cut(account=one, day=DAY) for one in "123"))
    hub.sweep()
    desk = at_desk(hub)
    assert reasons(desk, "bluebonnet") == {"1": "another", "2": "not-yet", "3": "not-yet"}
    assert reasons(desk, "champion")["2"] == "starts-later"
    assert (
        f"not-yet         from {ahead}" in desk.ask("explain", "bluebonnet", "--day", str(DAY), "--list").out
    )


def test_what_keeps_an_account_out_is_told_for_each_that_is_of_record(
    tmp_path_factory: pytest.TempPathFactory, at_desk: Callable[[Hub], Desk]
) -> None:
    hub = Hub(
        Home(tmp_path_factory.mktemp("out") / "hub"),
        morning(DAY),
        '[deadline]\nlate = "hold"\n[sync]\nbrake = 0.9\n',
    )
    mine = [Row(account=f"20{k:02}") for k in range(8)]
    mine += [Row(account="2008", start=DAY + timedelta(days=9)), Row(account="2009", status="D")]
    mine += [Row(account="2010", duns=""), Row(account="2011")]
    send_sync(hub, mine)
    send(hub, *(Cut(account=f"20{k:02}", day=DAY) for k in (0, 1, 2, 8, 10)))
    hub.sweep()
    read(hub, "champion", part=False)
    hub.on(minutes=10)
    send(hub, Cut(account="2003", day=DAY))
    send(hub, Cut(account="2000", day=DAY, wh=7, stamp="20130903090000"))
    before = reasons(at_desk(hub), "champion")
    assert (before["2003"], before["2000"]) == ("waiting", "given-older")
    hub.on(minutes=20)
    hub.sweep()
    hub.on(hours=20)  # the deadline is over
    send(hub, Cut(account="2004", day=DAY))
    # Of the first file, which was fetched, 2002 goes; of the second, which was not, 2003.
    gone = {"2002", "2003"}
    send_sync(hub, [replace(one, duns=BLUEBONNET.duns) if one.account in gone else one for one in mine])
    hub.sweep()
    assert reasons(at_desk(hub), "champion") == {
        "2000": "given", "2001": "fetched", "2002": "taken-back", "2003": "taken-back", "2004": "held",
        "2005": "missing", "2006": "missing", "2007": "missing", "2008": "starts-later", "2009": "not-due",
        "2010": "default-service", "2011": "missing",
    }  # fmt: skip
    hub.end()


def test_what_was_given_up_and_what_lies_with_whom_it_left_is_told(
    tmp_path_factory: pytest.TempPathFactory, at_desk: Callable[[Hub], Desk]
) -> None:
    hub = Hub(
        Home(tmp_path_factory.mktemp("up") / "hub"),
        morning(DAY),
        "[sync]\nbrake = 1.0\n[outbound]\nkeep_days = 1\nclaim_days = 2\n",
    )
    send_sync(hub, {"1": CHAMPION.duns, "2": CHAMPION.duns})
    send(hub, Cut(account="1", day=DAY), Cut(account="3", day=DAY), Cut(account="4", day=DAY))
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"1": CHAMPION.duns, "2": CHAMPION.duns, "3": "", "4": KEYSTONE.duns})
    hub.sweep()
    assert reasons(at_desk(hub), "keystone")["4"] == "given"
    hub.on(days=2)  # what lay in outbound is gone, and cannot be withdrawn any more
    hub.sweep()
    send_sync(hub, {"1": KEYSTONE.duns, "2": STRANGER_DUNS, "3": CHAMPION.duns, "4": KEYSTONE.duns})
    hub.on(minutes=15)
    hub.sweep()
    found = reasons(at_desk(hub), "champion")
    assert found == {"1": "given-before", "2": "unclaimed", "3": "given-up", "4": "another"}
    assert reasons(at_desk(hub), "keystone")["1"] == "before-switch"
    assert set(found.values()) <= set(REASONS)
    hub.end()


def test_an_account_whose_file_was_taken_back_waits_for_its_file_to_be_written_again(
    make_hub: Callable[..., Hub], at_desk: Callable[[Hub], Desk]
) -> None:
    hub = make_hub("[sync]\nbrake = 0.1\n")
    send_sync(hub, {"1": CHAMPION.duns, "2": CHAMPION.duns})
    send(hub, Cut(account="1", day=DAY), Cut(account="2", day=DAY))
    hub.sweep()
    (first,) = hub.files("champion")
    hub.on(days=1)
    send_sync(hub, {"1": CHAMPION.duns, "2": BLUEBONNET.duns})
    with hub.stores.ledger.read() as tx:
        (held,) = syncs.in_state(tx, "held")
    approved = sync_step.approve(held, by="ann", stores=hub.stores, now=hub.now)
    assert isinstance(approved, Sync)
    sync_step.settle(approved, edc=hub.partner(CNP.id), stores=hub.stores, now=hub.now)
    rows = {row["account"]: row for row in listed(at_desk(hub), "champion")}
    assert {one: row["reason"] for one, row in rows.items()} == {"1": "rewrite-due", "2": "taken-back"}
    assert (rows["1"]["in"], rows["1"]["file"]) == (False, first.name)
    hub.sweep()
    assert reasons(at_desk(hub), "champion") == {"1": "given", "2": "taken-back"}


def test_a_partner_is_told_of_in_short(told: Told, desk: Desk) -> None:
    (champion,) = desk.ask("explain", "champion", "--json").json
    files = [
        one for one in told.hub.files("champion") if one.state == "laid-out" and one.collected_at is None
    ]
    assert (champion["kind"], champion["role"], champion["files_to_be_fetched"]) == (
        "partner",
        "egs",
        len(files),
    )
    fetched = [one for one in told.hub.files("champion") if one.collected_at is not None]
    assert champion["last_fetched"] == max(fetched, key=lambda one: one.collected_at or one.laid_out_at).name
    assert champion["last_sequence"] == max(one.sequence for one in told.hub.files("champion"))
    assert "meterhub explain champion --day" in desk.ask("explain", "champion").out
    (cnp,) = desk.ask("explain", "cnp", "--json").json
    (last,) = desk.ask("drops", "--edc", "cnp", "--limit", "1", "--json").json
    assert (cnp["last_sent"], cnp["last_file"], cnp["last_came_at"]) == (
        last["id"],
        last["file"],
        last["arrived_at"],
    )
    assert (cnp["sync"], cnp["loads_not_published"]) == ("S130904-cnp-1", 0)
    assert desk.ask("explain", "cnp").out.startswith("cnp is CenterPoint Energy, an EDC: ")


def test_the_story_of_a_partner_says_when_its_keys_end_and_which_of_its_drops_failed(
    hub: Hub, at_desk: Callable[[Hub], Desk]
) -> None:
    desk = at_desk(hub)
    (cnp,) = desk.ask("explain", "cnp", "--json").json
    assert (cnp["its_keys"], cnp["may_log_in"]) == ("none yet", False)
    assert desk.ask("partner", "key", "add", "cnp", KEY, "--expires", "2013-10-01").code == 0
    (cnp,) = desk.ask("explain", "cnp", "--json").json
    assert (cnp["its_keys"], cnp["may_log_in"]) == ("1, the last of which ends on 2013-10-01", True)
    (hub.home.lake / "usage").touch()
    drop = send(hub, Cut(account="7", day=DAY))
    assert len(hub.failures()) == 1
    (cnp,) = desk.ask("explain", "cnp", "--json").json
    ((named, _, why),) = (one.partition(": ") for one in cnp["drops_that_failed"])
    assert named == drop.id
    assert "usage" in why


def test_an_edc_has_no_day_of_its_own_and_the_answer_names_the_command_that_has(desk: Desk) -> None:
    answer = desk.ask("explain", "cnp", "--day", str(DAY))
    assert answer.code == 2
    assert f"meterhub status --day {DAY}" in answer.err
