"""`meterhub status`: tonight at a glance, what needs an operator, and exit code 3 when anything does."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exchange import lock, tonight
from exchange.cli.options import NOW
from hub_fixtures import CNP, PATIENCE, PPL, Hub, partner_text
from jobs.steps import arrive
from jobs_fixtures import CHAMPION, KEYSTONE, STRANGER_DUNS, Cut, interval_name, local, lse, send, send_sync
from look_fixtures import DAY, Desk, on_a_terminal, read

MakeHub = Callable[..., Hub]
ACCOUNTS = ["1001", "1002", "1003", "1004"]


@pytest.fixture
def only_cnp(make_hub: MakeHub) -> Hub:
    """A hub of one EDC, whose roster has four accounts, all champion's."""
    hub = make_hub("[sync]\nbrake = 0.5\n")
    hub.remove_partner("ppl")
    send_sync(hub, dict.fromkeys(ACCOUNTS, CHAMPION.duns))
    return hub


@pytest.fixture
def desk_at(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Hub], Desk]:
    return lambda hub: Desk(hub, capsys, monkeypatch)


DeskAt = Callable[[Hub], Desk]


def status(desk: Desk, *words: str, code: int = 0) -> dict[str, Any]:
    answer = desk.ask("status", *words, "--json")
    assert answer.code == code, answer.out
    return dict(answer.json)


def needs(desk: Desk) -> dict[str, tuple[str, str]]:
    """By code, what needs an operator, and the command to run."""
    answer = desk.ask("status", "--json")
    found = {need["code"]: (need["what"], need["run"]) for need in answer.json["needs"]}
    assert answer.code == (3 if found else 0)
    return found


def cuts(*accounts: str, **said: Any) -> list[Cut]:
    return [Cut(account=account, day=DAY, **said) for account in accounts]


# ── Each EDC ─────────────────────────────────────────────────────────────────────────────────────


def test_a_night_under_way_is_told_in_counts_and_minutes(only_cnp: Hub, desk_at: DeskAt) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    (edc,) = status(desk)["edcs"]
    assert (edc["usage_day"], edc["buckets"], edc["loaded"], edc["due"], edc["percent"]) == (
        "2013-09-02", 0, 0, 4, 0.0,
    )  # fmt: skip
    send(hub, *cuts("1001", "1002", "1003"))
    hub.at(local(CNP, date(2013, 9, 3), 20, 49, 30))
    send(hub, *cuts("1001", stamp="20130903200000", wh=7))
    hub.upload("cnp", "957877905IntervalData20130903205000001.lse", b"nothing of the kind\n")
    hub.sweep()
    (edc,) = status(desk)["edcs"]
    assert (edc["buckets"], edc["loaded"], edc["due"], edc["percent"]) == (2, 3, 4, 75.0)
    assert (edc["replacing"], edc["late"], edc["minutes_left"], edc["verdict"]) == (1, 0, 130, None)
    assert edc["arrived"] == {
        "drops": 4,  # the sync among them
        "refused": 1,
        "duplicates": 0,
        "faults": 1,
        "blocks_rejected": 0,
    }
    assert edc["sync"]["id"] == "S130903-cnp-1"
    assert (edc["sync_age"], edc["sync_too_old"]) == (0, False)
    said = desk.ask("status").out
    assert "3 of 4" in said
    assert "██████░░ 75.0 %" in said
    assert "2 loaded, 1 refused, 1 fault\n" in said
    assert "in 2 h 10 min" in said
    assert "Nothing needs an operator." in said


def test_once_judged_the_verdict_stands_where_the_minutes_did(only_cnp: Hub, desk_at: DeskAt) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    send(hub, *cuts("1001", "1002"))
    hub.at(local(CNP, date(2013, 9, 3), 23, 1))
    send(hub, *cuts("1003"))
    hub.sweep()
    (edc,) = status(desk)["edcs"]
    assert (edc["verdict"], edc["missing"], edc["minutes_left"]) == ("missed", 1, None)
    assert (edc["loaded"], edc["due"], edc["late"]) == (3, 4, 1)
    assert "missed, 1 missing" in desk.ask("status").out


def test_accounts_that_nobody_has_heard_of_do_not_count_as_loaded_of_due(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    send(only_cnp, *cuts("1001", "9001", "9002"))
    only_cnp.sweep()
    (edc,) = status(desk_at(only_cnp))["edcs"]
    assert (edc["loaded"], edc["first_versions"], edc["suspense"], edc["percent"]) == (1, 3, 2, 25.0)


def test_blocks_that_nobody_expects_do_not_hide_those_that_are_missing(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    send(hub, *cuts("1001", "1002"), *cuts("1001", "1002", channel="1"), *cuts("9001"))
    send(hub, *cuts("9002"), *cuts("1001", stamp="20130903090000", wh=7))
    (edc,) = status(desk)["edcs"]
    (held,) = desk.ask("deadline", "--day", DAY.isoformat(), "--json").json
    assert (held["expected"], held["loaded_in_time"], held["missing"]) == (4, 2, 2)
    assert (edc["due"], edc["loaded"], edc["percent"], edc["first_versions"]) == (4, 2, 50.0, 6)
    assert "2 of 4" in desk.ask("status").out


@pytest.mark.parametrize(
    ("loaded", "percent"), [(6_999_999, 99.999), (7_000_000, 100.0), (3_499_999, 49.999), (0, 0.0)]
)
def test_the_share_is_whole_only_when_nothing_is_missing(only_cnp: Hub, loaded: int, percent: float) -> None:
    (edc,) = tonight.look(stores=only_cnp.stores, now=only_cnp.now).edcs
    assert replace(edc, loaded=loaded, due=7_000_000).percent == percent


def test_readings_that_came_before_the_roster_count_as_soon_as_it_names_their_accounts(
    make_hub: MakeHub, desk_at: DeskAt
) -> None:
    hub = make_hub()
    hub.remove_partner("ppl")
    desk = desk_at(hub)
    two = [Cut(account="1002", day=DAY), Cut(account="1002", day=DAY, channel="1")]
    send(hub, *cuts("1001", "9001"), *two)
    send(hub, *cuts("1003", "9002"))
    (edc,) = status(desk, code=3)["edcs"]
    assert (edc["loaded"], edc["due"]) == (6, None)
    hub.on(minutes=1)
    send_sync(hub, dict.fromkeys(ACCOUNTS, CHAMPION.duns))
    assert status(desk)["edcs"][0]["loaded"] == 3  # another channel of 1002 is nothing that is due
    hub.sweep()
    (edc,) = status(desk)["edcs"]
    assert (edc["loaded"], edc["first_versions"], edc["suspense"], edc["suspense_accounts"]) == (3, 6, 2, 2)
    hub.on(minutes=15)
    send(hub, *cuts("1004", "9003"), *(cut.again(wh=5, stamp="20130903090000") for cut in cuts("9001")))
    assert status(desk)["edcs"][0]["loaded"] == 4
    hub.sweep()
    (edc,) = status(desk)["edcs"]
    assert (edc["loaded"], edc["suspense"], edc["suspense_accounts"]) == (4, 4, 3)
    assert "4 blocks of 3 accounts in suspense\n" in desk.ask("status").out
    hub.on(minutes=1)
    send_sync(hub, dict.fromkeys([*ACCOUNTS, "9001"], CHAMPION.duns))
    assert status(desk)["edcs"][0]["loaded"] == 5


def test_what_is_in_suspense_of_other_usage_days_is_told_apart(only_cnp: Hub, desk_at: DeskAt) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    send(hub, *cuts("1001", "9001"))
    hub.sweep()
    hub.on(days=1)
    (edc,) = status(desk)["edcs"]
    assert (edc["usage_day"], edc["suspense"], edc["suspense_other_days"]) == ("2013-09-03", 0, 1)
    assert "1 in suspense of other usage days" in desk.ask("status").out


def test_the_share_is_rounded_as_the_deadline_does(make_hub: MakeHub, desk_at: DeskAt) -> None:
    hub = make_hub()
    hub.remove_partner("ppl")
    known = [str(1000 + k) for k in range(240)]
    send_sync(hub, dict.fromkeys(known, CHAMPION.duns))
    send(hub, *cuts(*known[:239]))
    assert status(desk_at(hub))["edcs"][0]["percent"] == 99.583
    said = desk_at(hub).ask("deadline", "--day", "2013-09-02").out
    assert "99.583 %" in desk_at(hub).ask("status").out
    assert "99.583" in said


def test_an_upload_that_has_not_ended_is_told(only_cnp: Hub, desk_at: DeskAt) -> None:
    only_cnp.stores.mailboxes.part("cnp", interval_name(only_cnp)).write_bytes(b"0000")
    (edc,) = status(desk_at(only_cnp))["edcs"]
    assert (edc["uploading"], edc["under_way"], edc["broken_off"]) == (1, 0, 0)
    assert "0 loaded, 1 uploading" in desk_at(only_cnp).ask("status").out


def test_another_day_can_be_asked_for(only_cnp: Hub, desk_at: DeskAt) -> None:
    hub = only_cnp
    send(hub, *cuts(*ACCOUNTS))
    hub.at(local(CNP, date(2013, 9, 4), 12))
    hub.sweep()
    desk = desk_at(hub)
    assert status(desk)["edcs"][0]["usage_day"] == "2013-09-03"
    (edc,) = status(desk, "--day", "2013-09-02")["edcs"]
    assert (edc["usage_day"], edc["loaded"], edc["verdict"]) == ("2013-09-02", 4, "met")


@pytest.mark.parametrize("day", [date(2013, 3, 10), date(2013, 11, 3)], ids=["spring", "autumn"])
def test_each_edc_is_told_by_its_own_clock_on_daylight_saving_days_too(
    make_hub: MakeHub, desk_at: DeskAt, day: date
) -> None:
    hub = make_hub(now=local(PPL, day + timedelta(days=1), 22, 29, 30))
    for edc in (CNP, PPL):
        send_sync(hub, {"1001": CHAMPION.duns}, edc=edc)
        send(hub, Cut(account="1001", day=day), edc=edc)
    cnp, ppl = status(desk_at(hub))["edcs"]
    assert (ppl["minutes_left"], cnp["minutes_left"]) == (30, 90)
    assert {cnp["usage_day"], ppl["usage_day"]} == {day.isoformat()}
    assert cnp["percent"] == ppl["percent"] == 100.0


# ── Each EGS ─────────────────────────────────────────────────────────────────────────────────────


def test_an_egs_is_told_with_what_it_has_collected_and_what_not(only_cnp: Hub, desk_at: DeskAt) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    send(hub, *cuts("1001", "1002"))
    hub.sweep()
    first_laid = hub.now
    read(hub, "champion", part=False)
    hub.on(minutes=20)
    send(hub, *cuts("1003"))
    hub.sweep()
    egss = {egs["egs"]: egs for egs in status(desk)["egss"]}
    assert egss["champion"] | {"oldest": ""} == {
        "egs": "champion", "laid_out": 2, "blocks": 3, "collected": 1, "taken_back": 0, "uncollected": 1,
        "uncollected_others": 0, "oldest": "",
    }  # fmt: skip
    assert datetime.fromisoformat(egss["champion"]["oldest"]) == first_laid + timedelta(minutes=20)
    assert egss["keystone"]["laid_out"] == 0
    hub.on(days=1)
    (champion,) = [egs for egs in status(desk)["egss"] if egs["egs"] == "champion"]
    assert (champion["laid_out"], champion["uncollected"], champion["uncollected_others"]) == (0, 0, 1)


def test_of_the_files_laid_out_for_an_egs_each_is_collected_taken_back_or_not_collected_yet(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    for account in ("1001", "1002", "1003"):
        send(hub, *cuts(account))
        hub.sweep()
        hub.on(minutes=20)
    read(hub, "champion", part=False)
    read(hub, "champion", part=False, which=1)
    send_sync(hub, {"1001": KEYSTONE.duns, **dict.fromkeys(ACCOUNTS[1:], CHAMPION.duns)})
    hub.sweep()
    champion = {egs["egs"]: egs for egs in status(desk)["egss"]}["champion"]
    counts = [champion[name] for name in ("laid_out", "collected", "taken_back", "uncollected")]
    assert counts == [3, 1, 1, 1]
    assert champion["uncollected_others"] == 0
    (said,) = [line.split() for line in desk.ask("status").out.splitlines() if "champion" in line]
    assert said[:7] == ["champion", "3", "2", "1", "1", "1", "0"]  # blocks: not of what was taken back


# ── What needs an operator ───────────────────────────────────────────────────────────────────────


def test_no_sync_needs_an_operator_and_withholds_what_is_loaded(make_hub: MakeHub, desk_at: DeskAt) -> None:
    hub = make_hub()
    hub.remove_partner("ppl")
    send(hub, *cuts("1001"))
    hub.sweep()
    desk = desk_at(hub)
    assert needs(desk)["no-sync"] == (
        "no sync is in force: nothing is published; 1 load is withheld",
        "meterhub sync list --edc cnp",
    )
    said = desk.ask("status").out
    assert "An operator is needed:" in said
    assert "nobody says what is due" in said


def test_a_sync_that_is_too_old_needs_an_operator(only_cnp: Hub, desk_at: DeskAt) -> None:
    only_cnp.on(days=6)
    only_cnp.sweep()
    assert needs(desk_at(only_cnp))["sync-too-old"] == (
        "S130903-cnp-1, in force, is 6 days old: nothing is published",
        "meterhub sync list --edc cnp",
    )
    assert "6 days old: too old" in desk_at(only_cnp).ask("status").out


def test_a_held_sync_needs_an_operator(only_cnp: Hub, desk_at: DeskAt) -> None:
    only_cnp.on(days=1)
    send_sync(only_cnp, dict.fromkeys(ACCOUNTS, KEYSTONE.duns))
    what, run = needs(desk_at(only_cnp))["sync-held"]
    assert what.startswith("S130904-cnp-1 is held: ")
    assert run == "meterhub sync diff S130904-cnp-1"
    refuse = 'meterhub sync refuse S130904-cnp-1 --why "WHAT ITS EDC IS TOLD"'
    (need,) = status(desk_at(only_cnp), code=3)["needs"]
    assert need["then"] == ["meterhub sync approve S130904-cnp-1", refuse]
    said = desk_at(only_cnp).ask("status").out.splitlines()
    at = said.index(f"    {run}")
    assert said[at + 1 : at + 3] == ["    meterhub sync approve S130904-cnp-1", f"    {refuse}"]


def test_an_egs_that_is_no_partner_needs_an_operator_until_it_is_one(only_cnp: Hub, desk_at: DeskAt) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    hub.on(minutes=1)
    send_sync(hub, {"1001": STRANGER_DUNS, **dict.fromkeys(ACCOUNTS[1:], CHAMPION.duns)})
    send(hub, *cuts("1001", "1002"))
    hub.sweep()
    what, run = needs(desk)["unclaimed"]
    assert what == f"1 block is for an EGS that is no partner: {STRANGER_DUNS}"
    assert run == f'meterhub partner add ID --role egs --duns {STRANGER_DUNS} --name "NAME" --key FILE'
    assert status(desk, code=3)["edcs"][0]["unclaimed"] == {STRANGER_DUNS: 1}
    hub.add_partner(
        partner_text(CHAMPION, "egs").replace(CHAMPION.duns, STRANGER_DUNS).replace("champion", "new"), "new"
    )
    hub.on(minutes=15)
    hub.sweep()
    assert needs(desk) == {}


def test_late_blocks_that_are_held_need_an_operator(make_hub: MakeHub, desk_at: DeskAt) -> None:
    hub = make_hub('[deadline]\nlate = "hold"\n')
    hub.remove_partner("ppl")
    hub.at(local(CNP, date(2013, 9, 3), 23, 30))
    send_sync(hub, {"1001": CHAMPION.duns})
    drop = send(hub, *cuts("1001"))
    hub.sweep()
    assert needs(desk_at(hub))["late-held"] == (
        "1 late block is held",
        f"meterhub publish --release {drop.id}",
    )
    assert status(desk_at(hub), code=3)["edcs"][0]["held_late"] == 1


def test_drops_that_nobody_takes_along_need_an_operator_after_five_minutes(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    name = interval_name(hub)
    hub.stores.mailboxes.part("cnp", name).write_bytes(lse(cuts("1001")))
    drop = arrive.ended("cnp", name, stores=hub.stores, now=hub.now)
    assert needs(desk) == {}
    assert status(desk)["edcs"][0]["under_way"] == 1
    hub.on(minutes=5)
    assert needs(desk)["drops-wait"] == (f"1 drop is waiting: {drop.id}", "meterhub sweep")


def test_what_is_loaded_and_not_published_needs_an_operator_after_two_quarters_of_an_hour(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    send(only_cnp, *cuts("1001"))
    only_cnp.on(minutes=29)
    assert needs(desk_at(only_cnp)) == {}
    only_cnp.on(minutes=1)
    assert needs(desk_at(only_cnp))["publication-overdue"] == ("1 load is not published", "meterhub sweep")


def test_a_day_that_is_not_judged_needs_an_operator(only_cnp: Hub, desk_at: DeskAt) -> None:
    only_cnp.at(local(CNP, date(2013, 9, 3), 23, 4))
    assert needs(desk_at(only_cnp)) == {}
    only_cnp.on(minutes=2)
    assert needs(desk_at(only_cnp))["verdict-overdue"] == ("2013-09-02 is not judged", "meterhub sweep")


def test_a_broken_upload_is_told_and_needs_nobody(only_cnp: Hub, desk_at: DeskAt) -> None:
    hub = only_cnp
    name = interval_name(hub)
    hub.stores.mailboxes.part("cnp", name).write_bytes(b"0000")
    arrive.broken("cnp", name, size=4, stores=hub.stores, now=hub.now)
    hub.on(minutes=30)
    assert status(desk_at(hub))["edcs"][0]["broken_off"] == 1
    assert "1 broken off" in desk_at(hub).ask("status").out


def test_a_hub_without_its_server_needs_an_operator_if_it_ever_had_one(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    assert status(desk)["server"] == "never"
    assert "No server is running on this home: meterhub serve\n" in desk.ask("status").out
    with lock.take(hub.home):
        assert status(desk)["server"] == "serving"
        assert "server" not in desk.ask("status").out
    what, run = needs(desk)["no-server"]
    assert what.startswith("no server is running on this home: ")
    assert run == "meterhub serve"
    assert status(desk, code=3)["server"] == "stopped"
    hub.on(days=3)
    hub.sweep()
    of_then = status(desk, "--day", "2013-09-02", code=3)  # a need is of now, whichever day is looked at
    assert [need["code"] for need in of_then["needs"]] == ["no-server"]


def test_the_server_starts_though_somebody_looks_whether_it_runs(only_cnp: Hub) -> None:
    lock.take(only_cnp.home).close()
    with (only_cnp.home.locks / "serving").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        done = threading.Timer(0.05, fcntl.flock, (looking, fcntl.LOCK_UN))
        done.start()
        lock.take(only_cnp.home).close()
        done.join()


def test_it_is_readable_on_a_terminal_of_80_columns(make_hub: MakeHub) -> None:
    hub = make_hub()
    hub.remove_partner("ppl")
    known = [str(1000 + k) for k in range(1200)]
    send_sync(hub, {"9": STRANGER_DUNS, **dict.fromkeys(known, CHAMPION.duns)})
    send(hub, *cuts("9", "9001", *known[:1100]))
    hub.sweep()
    lines = on_a_terminal(hub, "status")
    assert max(len(line) for line in lines) <= 80
    assert any("2013-09-02  1,101 of 1,201  ███████░ 91.673 %  in 1" in line for line in lines), lines
    assert any(line.split()[-2:] == ["2013-09-03", "10:00"] for line in lines if "champion" in line), lines
    assert any("S130903-cnp-1, of today" in line for line in lines)
    assert '    meterhub partner add ID --role egs --duns 999888777 --name "NAME" --key FILE' in lines


def test_what_is_written_into_a_file_has_no_blanks_at_the_ends_of_lines(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    assert [line for line in desk_at(only_cnp).ask("status").out.splitlines() if line != line.rstrip()] == []


def test_an_edc_that_is_disabled_is_not_asked_for(make_hub: MakeHub, desk_at: DeskAt) -> None:
    hub = make_hub()
    for edc in (CNP, PPL):
        hub.add_partner(partner_text(edc, "edc") + "disabled = true\n", edc.id)
    assert status(desk_at(hub))["edcs"] == []
    assert "No EDC that may log in is among the partners" in desk_at(hub).ask("status").out


def test_who_is_disabled_is_named_with_since_when_and_what_waits_because_of_it(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    hub, desk = only_cnp, desk_at(only_cnp)
    send(hub, *cuts(ACCOUNTS[0]))
    hub.on(minutes=15)
    hub.sweep()
    (laid_out,) = hub.files(CHAMPION.id)
    assert status(desk)["disabled"] == []
    hub.on(hours=2)
    for login in (CHAMPION.id, CNP.id):
        assert desk.ask("partner", "disable", login).code == 0
    shut_at = hub.now
    hub.on(hours=2)
    of_egs, of_edc = sorted(status(desk)["disabled"], key=lambda one: str(one["role"]), reverse=True)
    assert (of_egs["partner"], of_egs["files"]) == (CHAMPION.id, 1)
    assert shut_at <= datetime.fromisoformat(of_egs["since"]) < hub.now
    assert laid_out.laid_out_at is not None
    assert of_egs["oldest"] == laid_out.laid_out_at.isoformat().replace("+00:00", "Z")
    assert (of_edc["partner"], of_edc["due"]) == (CNP.id, 4)
    assert shut_at <= datetime.fromisoformat(of_edc["since"]) < hub.now
    said = desk.ask("status").out
    assert f"{CHAMPION.id} is disabled since 2013-09-03 " in said
    assert "1 file lies before it, the oldest since 2013-09-03 " in said
    assert "4 blocks are due of it each night; its last file came 2013-09-03 " in said
    assert f"(meterhub partner enable {CNP.id})" in said
    assert desk.ask("partner", "enable", CHAMPION.id).code == 0
    assert [one["partner"] for one in status(desk)["disabled"]] == [CNP.id]


def test_how_long_it_is_to_a_deadline_far_ahead_is_told_in_days_and_years(
    only_cnp: Hub, desk_at: DeskAt
) -> None:
    desk = desk_at(only_cnp)
    for day, words in (
        ("2013-09-02", "in 17 h 5"),
        ("2013-09-05", "in 3 days 17 h"),
        ("2017-10-12", "in 4 years 41 days"),
    ):
        assert words in desk.ask("status", "--day", day).out


# ── Looking on ───────────────────────────────────────────────────────────────────────────────────


def test_watching_shows_what_changes_until_it_is_stopped(only_cnp: Hub) -> None:
    hub = only_cnp
    screen, terminal = pty.openpty()
    # A shell lets what it starts in the background ignore it, and all that come from that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [Path(sys.executable).with_name("meterhub"), "--home", hub.home.root, "status", "--watch"],
        stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, NOW: hub.now.isoformat(), "COLUMNS": "200", "LINES": "50", "TERM": "xterm"},
    ) as watching:  # fmt: skip
        os.close(terminal)
        try:
            _until(screen, "0 of 4")
            send(hub, *cuts("1001", "1002"))
            _until(screen, "2 of 4")
            watching.send_signal(signal.SIGINT)
            assert watching.wait(PATIENCE) == 0
        finally:
            watching.kill()
            os.close(screen)


def _until(screen: int, words: str) -> None:
    """Read a terminal until it has shown some words."""
    seen = b""
    until = time.monotonic() + PATIENCE
    while words.encode() not in seen:
        assert time.monotonic() < until, seen.decode(errors="replace")
        if select.select([screen], [], [], 1.0)[0]:
            seen += os.read(screen, 65_536)


def test_watching_is_not_for_programs(only_cnp: Hub, desk_at: DeskAt) -> None:
    assert desk_at(only_cnp).ask("status", "--watch", "--json").code == 2
    piped = desk_at(only_cnp).ask("status", "--watch")
    assert (piped.code, "for a terminal" in piped.err) == (2, True)
