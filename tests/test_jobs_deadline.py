"""The deadline: to the second, in every zone, on both clock-change days, and whom it is told."""

import csv
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_fixtures import CNP, PPL, Hub, partner_text
from jobs.rules import deadlines
from jobs.steps import accept, deadline, receive
from jobs.stores.ledger import runs
from jobs_fixtures import (
    CHAMPION,
    Cut,
    Row,
    accounts_found,
    found,
    interval_name,
    local,
    lse,
    send,
    send_sync,
)
from schemas import receipt
from schemas.drop import Outcome, Stage
from schemas.sample import Edc
from schemas.usage_day import UsageDay

DAY = date(2013, 9, 2)
NEXT = date(2013, 9, 3)
ROWS = [Row(account="A"), Row(account="B", channels="4;1", zip="77003"), Row(account="C", duns="")]


def verdict(hub: Hub, day: date = DAY, edc: Edc = CNP) -> dict[str, Any] | None:
    with hub.stores.ledger.read() as tx:
        return runs.verdict(tx, edc=edc.id, day=day)


def report(hub: Hub, day: date = DAY, edc: Edc = CNP) -> dict[str, Any]:
    path = hub.stores.mailboxes.folder(edc.id, "reports") / f"{day}.deadline.json"
    said: dict[str, Any] = json.loads(path.read_text())
    return said


def missing(hub: Hub, day: date = DAY, edc: Edc = CNP) -> list[list[str]]:
    path = hub.stores.mailboxes.folder(edc.id, "reports") / f"{day}.missing.csv"
    return list(csv.reader(path.read_text().splitlines()))


def due(*, but: tuple[str, ...] = (), day: date = DAY) -> list[Cut]:
    """The blocks that ROWS make due, but for those of some accounts."""
    whole = [("A", "4"), ("B", "4"), ("B", "1"), ("C", "4")]
    return [
        Cut(account=account, channel=channel, day=day) for account, channel in whole if account not in but
    ]


def at_deadline(hub: Hub, *, seconds: float = 0, edc: Edc = CNP) -> None:
    hub.at(local(edc, NEXT, 23) + timedelta(seconds=seconds))


# ── the verdict ──────────────────────────────────────────────────────────────────────────────────


def test_a_day_of_which_all_is_in_is_met(hub: Hub) -> None:
    send_sync(hub, ROWS)
    send(hub, *due())
    at_deadline(hub)
    hub.sweep()
    assert report(hub) == {
        "edc": "cnp",
        "usage_date": "2013-09-02",
        "deadline": "2013-09-04T04:00:00Z",
        "verdict": "met",
        "expected": 4,
        "loaded_in_time": 4,
        "late": 0,
        "missing": 0,
        "percent_at_deadline": 100.0,
        "last_load_at": "2013-09-03T10:00:00Z",
        "hub_late_seconds": 0,
        "sync": "S130903-cnp-1",
        "judged_at": "2013-09-04T04:00:00Z",
    }
    assert missing(hub) == [["account", "channel", "meter", "zip"]]
    (event,) = hub.events("deadline.met")
    assert (event["about"], event["details"]["expected"]) == ("cnp/2013-09-02", 4)


def test_a_day_of_which_something_is_missing_is_missed_and_names_it(hub: Hub) -> None:
    send_sync(hub, ROWS)
    send(hub, *due(but=("B",)))
    at_deadline(hub)
    hub.sweep()
    said = report(hub)
    assert (said["verdict"], said["expected"], said["loaded_in_time"], said["missing"]) == ("missed", 4, 2, 2)
    assert said["percent_at_deadline"] == 50.0
    assert missing(hub)[1:] == [["B", "1", "MB", "77003"], ["B", "4", "MB", "77003"]]


def test_all_of_millions_is_said_only_when_not_one_is_missing() -> None:
    shares = [receipt.percent(count, of=7_000_000) for count in (6_999_999, 7_000_000, 3_499_999, 0)]
    assert shares == [99.999, 100.0, 49.999, 0.0]
    assert receipt.percent(0, of=0) is None


def test_what_the_roster_does_not_ask_for_is_neither_due_nor_makes_up_for_it(hub: Hub) -> None:
    rows = [*ROWS, Row(account="D", status="D"), Row(account="I", status="I"), Row(account="N", ami="N")]
    send_sync(hub, rows)
    strangers = [Cut(account=f"S{k}", day=DAY) for k in range(9)]
    send(hub, *due(but=("A",)), *strangers, Cut(account="D", day=DAY), Cut(account="A", day=DAY, channel="1"))
    at_deadline(hub)
    hub.sweep()
    said = report(hub)
    assert (said["verdict"], said["expected"], said["loaded_in_time"], said["missing"]) == ("missed", 4, 3, 1)
    assert missing(hub)[1:] == [["A", "4", "MA", "77002"]]


def test_no_verdict_is_given_before_the_deadline_nor_twice(hub: Hub) -> None:
    send_sync(hub, ROWS)
    at_deadline(hub, seconds=-1)
    hub.sweep()
    assert verdict(hub) is None
    at_deadline(hub)
    for _ in range(3):
        hub.sweep()
        hub.on(minutes=1)
    assert len(hub.events("deadline.missed")) == 1


@pytest.mark.parametrize("why", ["no sync", "old sync"])
def test_without_a_roster_to_hold_it_to_a_day_is_unknown(hub: Hub, why: str) -> None:
    if why == "old sync":
        send_sync(hub, ROWS, as_of=date(2013, 8, 28))  # six days at the deadline
    send(hub, *due())
    at_deadline(hub)
    hub.sweep()
    said = report(hub)
    assert (said["verdict"], said["expected"], said["percent_at_deadline"], said["sync"]) == (
        "unknown", 0, None, None,
    )  # fmt: skip
    assert len(hub.events("deadline.unjudged")) == 1
    hub.on(hours=1)
    send_sync(hub, ROWS)
    send(hub, *due(but=("B",)))
    send(hub, Cut(account="late", day=DAY))
    hub.sweep()
    assert report(hub) == said
    assert missing(hub)[1:] == []


def test_the_roster_of_the_deadline_counts_and_not_one_of_later(hub: Hub) -> None:
    send_sync(hub, ROWS)
    send(hub, *due())
    at_deadline(hub, seconds=30)
    send_sync(hub, [*ROWS, *[Row(account=f"N{k}") for k in range(5)]])
    hub.sweep()
    assert (report(hub)["verdict"], report(hub)["sync"]) == ("met", "S130903-cnp-1")


# ── in time ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("seconds", "late"), [(-1, 0), (0, 0), (0.000001, 4), (1, 4)])
def test_the_instant_of_the_deadline_is_in_time_and_nothing_after_it(
    hub: Hub, seconds: float, late: int
) -> None:
    send_sync(hub, ROWS)
    at_deadline(hub, seconds=seconds)
    drop = send(hub, *due())
    assert (drop.blocks_loaded, drop.blocks_late) == (4, late)
    at_deadline(hub, seconds=2)
    hub.sweep()
    assert (report(hub)["verdict"], report(hub)["late"]) == (("met", 0) if not late else ("missed", 4))


def test_the_verdict_waits_for_what_came_in_time_and_says_how_late_the_hub_was(hub: Hub) -> None:
    send_sync(hub, ROWS)
    at_deadline(hub, seconds=-2)
    drop = hub.arrive(CNP.id, interval_name(hub), lse(due()))
    # Its worker dies once it is accepted, and something holds it up until 23:10.
    content = hub.stores.mailboxes.whole(drop.partner, drop.name).read_bytes()
    received = receive.receive(drop, content, stores=hub.stores, now=hub.now)
    accept.accept(received.drop, sender=hub.partner(CNP.id), stores=hub.stores, now=hub.now)
    at_deadline(hub, seconds=60)
    waits = deadline.judge(hub.partner(CNP.id), DAY, stores=hub.stores, now=hub.now)
    assert waits == deadline.Waits(drops=1)
    assert verdict(hub) is None
    at_deadline(hub, seconds=600)
    hub.sweep()
    assert hub.drop(drop.id).blocks_late == 0
    said = report(hub)
    assert (said["verdict"], said["hub_late_seconds"]) == ("met", 600)
    assert said["last_load_at"] == "2013-09-04T04:10:00Z"


def test_the_verdict_does_not_wait_for_what_came_too_late_or_is_misnamed(hub: Hub) -> None:
    send_sync(hub, ROWS)
    hub.upload(CNP.id, "upload.tmp", lse(due()))
    at_deadline(hub, seconds=1)
    hub.stores.mailboxes.part(CNP.id, interval_name(hub)).write_bytes(b"half")
    judged = deadline.judge(hub.partner(CNP.id), DAY, stores=hub.stores, now=hub.now)
    assert isinstance(judged, deadline.Judged)
    assert judged.verdict["verdict"] == "missed"


def test_a_file_in_time_under_a_wrong_name_is_late_if_its_rename_is(hub: Hub) -> None:
    from jobs.steps import arrive

    send_sync(hub, ROWS)
    at_deadline(hub, seconds=-60)
    drop = hub.upload(CNP.id, "upload.tmp", lse(due()))
    at_deadline(hub, seconds=60)
    name = interval_name(hub)
    arrive.renamed(CNP.id, "upload.tmp", name, whole=True, stores=hub.stores, now=hub.now)
    hub.sweep()
    assert hub.drop(drop.id).blocks_late == 4


# ── late ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_late_load_changes_what_is_late_and_missing_and_never_the_verdict(hub: Hub) -> None:
    send_sync(hub, ROWS)
    send(hub, *due(but=("A", "B")))
    at_deadline(hub)
    hub.sweep()
    before = report(hub)
    assert (before["verdict"], before["late"], before["missing"]) == ("missed", 0, 3)
    hub.on(minutes=30)
    drop = send(hub, Cut(account="A", day=DAY))
    assert (drop.blocks_late, drop.outcome) == (1, Outcome.ACCEPTED)
    after = report(hub)
    assert after == before | {"late": 1, "missing": 2}
    assert [row[0] for row in missing(hub)[1:]] == ["B", "B"]
    hub.on(minutes=30)
    send(hub, *due(but=("A", "C")), Cut(account="A", day=DAY, wh=5, stamp="20130904000000"))
    assert report(hub) == before | {"late": 3, "missing": 0}
    assert len(hub.events("deadline.missed")) == 1
    assert len(accounts_found(hub, CHAMPION.id)) == 0
    hub.sweep()
    assert sorted(accounts_found(hub, CHAMPION.id)) == ["A", "B", "B"]  # late ones are published


def test_a_report_that_a_crash_kept_from_being_renewed_is_renewed_by_a_sweep(hub: Hub) -> None:
    send_sync(hub, ROWS)
    at_deadline(hub)
    hub.sweep()
    hub.on(minutes=30)
    send(hub, Cut(account="A", day=DAY))
    assert report(hub)["late"] == 1
    with hub.stores.ledger.write() as tx:  # as if the process had died when the drop was loaded
        row = runs.verdict(tx, edc=CNP.id, day=DAY)
        assert row is not None
        runs.keep_verdict(tx, row | {"reported_seq": 0, "late": 0, "missing": 4})
    hub.stores.mailboxes.folder(CNP.id, "reports").joinpath(f"{DAY}.deadline.json").unlink()
    hub.sweep()
    assert (report(hub)["late"], report(hub)["missing"]) == (1, 3)


def test_replacements_are_never_late(hub: Hub) -> None:
    send_sync(hub, ROWS)
    send(hub, *due())
    hub.at(local(CNP, NEXT, 12))
    hub.sweep()
    at_deadline(hub, seconds=3600)
    drop = send(hub, *[cut.again(wh=9, stamp="20130904010000") for cut in due()])
    assert (drop.blocks_replacing, drop.blocks_late) == (4, 0)
    hub.sweep()
    assert (report(hub)["verdict"], report(hub)["late"]) == ("met", 0)


def test_late_blocks_are_refused_by_name_where_the_setting_says_so(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub('[deadline]\nlate = "refuse"\n')
    send_sync(hub, ROWS)
    send(hub, Cut(account="A", day=DAY))
    at_deadline(hub, seconds=1)
    mixed = send(hub, Cut(account="A", day=DAY, wh=3, stamp="20130903100000"), Cut(account="B", day=DAY))
    assert (mixed.outcome, mixed.blocks_replacing, mixed.blocks_rejected) == (Outcome.PARTIAL, 1, 1)
    (fault,) = mixed.faults
    assert (fault.code, fault.line, fault.account) == ("late", 6, "B")
    assert (fault.found, fault.wanted) == (
        "2013-09-04T04:00:01+00:00",
        "arrival by 2013-09-04T04:00:00+00:00",
    )
    table = hub.stores.mailboxes.folder(CNP.id, "receipts") / f"{mixed.name}.{mixed.id}.faults.csv"
    assert [row["code"] for row in csv.DictReader(table.read_text().splitlines())] == ["late"]
    all_late = send(hub, Cut(account="B", day=DAY), Cut(account="C", day=DAY))
    assert (all_late.stage, all_late.outcome, all_late.blocks_rejected) == (
        Stage.REFUSED,
        Outcome.REJECTED,
        2,
    )
    days = send(hub, Cut(account="B", day=DAY), Cut(account="B", day=NEXT))
    assert (days.outcome, days.usage_days, days.blocks_loaded) == (Outcome.REJECTED, (), 0)  # NEXT is today
    hub.on(days=1)
    days = send(hub, Cut(account="B", day=DAY), Cut(account="B", day=NEXT, wh=2))
    assert (days.outcome, days.blocks_rejected) == (Outcome.REJECTED, 2)  # of both days it is too late
    hub.at(local(CNP, date(2013, 9, 4), 22))
    days = send(hub, Cut(account="B", day=DAY), Cut(account="B", day=NEXT, wh=3))
    assert (days.outcome, days.usage_days, days.blocks_rejected) == (Outcome.PARTIAL, (NEXT,), 1)
    hub.sweep()
    assert report(hub)["late"] == 0


def test_late_and_bad_blocks_stand_in_one_table_in_the_order_of_the_file(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub('[deadline]\nlate = "refuse"\n[limits]\nmax_bad_blocks = 0.5\n')
    send_sync(hub, ROWS)
    send(hub, Cut(account="A", day=DAY))
    at_deadline(hub, seconds=1)
    cuts = [
        Cut(account="B", day=DAY),
        Cut(account="X", day=DAY),
        Cut(account="A", day=DAY, wh=2, stamp="20130904"),
    ]
    content = lse([cuts[0]]) + cuts[1].text(CNP, intervals=5).encode()
    content += lse([Cut(account="A", day=DAY, wh=2, stamp="20130904000000")])
    drop = hub.upload(CNP.id, interval_name(hub), content)
    assert [(fault.line, fault.code) for fault in drop.faults] == [(1, "late"), (10, "interval-count")]
    table = hub.stores.mailboxes.folder(CNP.id, "receipts") / f"{drop.name}.{drop.id}.faults.csv"
    lines = [row["line"] for row in csv.DictReader(table.read_text().splitlines())]
    assert lines == ["1", "10"]
    assert (drop.blocks_rejected, drop.faults_total) == (2, 2)


# ── warnings ─────────────────────────────────────────────────────────────────────────────────────


def test_warnings_are_given_once_each_while_blocks_are_missing(hub: Hub) -> None:
    send_sync(hub, ROWS)
    strangers = [Cut(account=f"S{k}", day=DAY) for k in range(9)]  # do not make up for what is missing
    send(hub, *due(but=("A",)), *strangers)
    for hour, minute in ((19, 59), (20, 0), (20, 1), (22, 0), (22, 44), (22, 45), (22, 59)):
        hub.at(local(CNP, NEXT, hour, minute))
        hub.sweep()
    said = [(e["details"]["warning"], e["details"]["loaded"], e["details"]["due"]) for e in
            hub.events("deadline.warned")]  # fmt: skip
    assert said == [("20:00", 3, 4), ("22:00", 3, 4), ("22:45", 3, 4)]
    assert [e["details"]["minutes_left"] for e in hub.events("deadline.warned")] == [180, 60, 15]


def test_nobody_is_warned_when_all_is_in(hub: Hub) -> None:
    send_sync(hub, ROWS)
    send(hub, *due())
    hub.at(local(CNP, NEXT, 22, 50))
    hub.sweep()
    assert hub.events("deadline.warned") == []


def test_a_warning_is_given_when_there_is_no_roster_to_tell_what_is_missing(hub: Hub) -> None:
    send(hub, *due())
    hub.at(local(CNP, NEXT, 20))
    hub.sweep()
    (event,) = hub.events("deadline.warned")
    assert (event["details"]["due"], event["details"]["loaded"]) == (0, 0)


def test_a_partner_that_never_sent_anything_is_neither_warned_nor_judged(hub: Hub) -> None:
    hub.at(local(CNP, NEXT, 23, 30))
    hub.sweep()
    assert {event["name"] for event in hub.events()} == {"config.noted", "chain.sealed", "job.ended"}


# ── catching up ──────────────────────────────────────────────────────────────────────────────────


def test_after_nights_off_every_day_is_judged_in_one_sweep(hub: Hub) -> None:
    send_sync(hub, ROWS)
    send(hub, *due())
    hub.at(local(CNP, date(2013, 9, 7), 6))
    hub.restart()
    hub.sweep()
    judged = [
        (event["about"], event["name"]) for event in hub.events() if event["name"].startswith("deadline.")
    ]
    assert judged == [
        ("cnp/2013-09-02", "deadline.met"),
        ("cnp/2013-09-03", "deadline.missed"),
        ("cnp/2013-09-04", "deadline.missed"),
        ("cnp/2013-09-05", "deadline.missed"),
    ]
    assert report(hub, date(2013, 9, 5))["judged_at"] == "2013-09-07T11:00:00Z"
    assert report(hub, date(2013, 9, 5))["verdict"] == "missed"


def test_what_came_in_time_before_a_night_off_is_in_time(hub: Hub) -> None:
    send_sync(hub, ROWS)
    at_deadline(hub, seconds=-1)
    hub.arrive(CNP.id, interval_name(hub), lse(due()))
    hub.at(local(CNP, date(2013, 9, 5), 6))
    hub.restart()
    hub.sweep()
    said = report(hub)
    assert (said["verdict"], said["hub_late_seconds"]) == ("met", 31 * 3600)


# ── clocks ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("day", "instant"),
    [
        (date(2013, 3, 8), "2013-03-10T05:00:00+00:00"),  # the eve of the spring day: still winter time
        (date(2013, 3, 9), "2013-03-11T04:00:00+00:00"),  # its deadline is on the spring day
        (date(2013, 3, 10), "2013-03-12T04:00:00+00:00"),
        (date(2013, 11, 1), "2013-11-03T04:00:00+00:00"),
        (date(2013, 11, 2), "2013-11-04T05:00:00+00:00"),  # its deadline is on the autumn day
        (date(2013, 11, 3), "2013-11-05T05:00:00+00:00"),
        (date(2012, 12, 31), "2013-01-02T05:00:00+00:00"),
    ],
)
def test_the_deadline_is_by_the_clock_on_the_wall_around_each_change_of_it(
    make_hub: Callable[..., Hub], day: date, instant: str
) -> None:
    at = datetime.fromisoformat(instant)
    hub = make_hub(now=at - timedelta(hours=10))
    send_sync(hub, ROWS)
    hub.at(at)
    in_time = send(hub, *due(but=("B",), day=day))
    assert in_time.blocks_late == 0
    hub.at(at + timedelta(microseconds=1))
    late = send(hub, *due(but=("A", "C"), day=day))
    assert late.blocks_late == 2
    hub.sweep()
    said = report(hub, day)
    assert (said["verdict"], said["loaded_in_time"], said["late"]) == ("missed", 2, 2)
    assert said["deadline"] == instant.replace("+00:00", "Z")
    assert in_time.intervals_loaded == 2 * UsageDay(day, CNP.zone).intervals(900)


def test_two_zones_are_judged_each_by_its_own_clock(hub: Hub) -> None:
    """At one instant the deadline of one EDC has passed, and another's has an hour to go."""
    for edc in (CNP, PPL):
        send_sync(hub, ROWS, edc=edc)
    hub.at(local(PPL, NEXT, 23))
    hub.sweep()
    assert verdict(hub, edc=PPL) is not None
    assert verdict(hub, edc=CNP) is None
    hub.on(seconds=1)
    drops = [send(hub, *due(), edc=edc) for edc in (CNP, PPL)]
    assert [drop.blocks_late for drop in drops] == [0, 4]
    hub.at(local(CNP, NEXT, 23))
    hub.sweep()
    said = [(report(hub, edc=edc)["verdict"], report(hub, edc=edc)["late"]) for edc in (CNP, PPL)]
    assert said == [("met", 0), ("missed", 4)]


TOKYO = Edc(id="tokyo", name="Tokyo", duns="123456789", zone=ZoneInfo("Asia/Tokyo"))
HONOLULU = Edc(id="honolulu", name="Honolulu", duns="223456789", zone=ZoneInfo("Pacific/Honolulu"))


def test_zones_on_both_sides_of_midnight_have_different_days_due_at_one_instant(hub: Hub) -> None:
    for edc in (TOKYO, HONOLULU):
        hub.add_partner(partner_text(edc, "edc"), edc.id)
        send_sync(hub, ROWS, edc=edc, as_of=date(2013, 9, 2))
    hub.at(datetime(2013, 9, 3, 14, 0, tzinfo=UTC))  # 23:00 in Tokyo on the 3rd, 04:00 in Honolulu
    hub.sweep()
    assert verdict(hub, DAY, TOKYO) is not None
    assert verdict(hub, DAY, HONOLULU) is None
    hub.at(datetime(2013, 9, 4, 9, 0, tzinfo=UTC))  # 23:00 in Honolulu on the 3rd
    assert send(hub, *due(), edc=HONOLULU).blocks_late == 0
    hub.sweep()
    assert report(hub, DAY, HONOLULU)["verdict"] == "met"
    assert verdict(hub, NEXT, TOKYO) is None


@given(
    now=st.integers(0, 3 * 366 * 86_400).map(
        lambda k: datetime(2012, 1, 1, tzinfo=UTC) + timedelta(seconds=k)
    ),
    nights=st.integers(0, 40),
    zone=st.sampled_from([CNP.zone, PPL.zone, TOKYO.zone, HONOLULU.zone, ZoneInfo("Australia/Lord_Howe")]),
    at=st.sampled_from([time(23), time(12), time(4), time(23, 59)]),
    judged=st.sets(st.integers(0, 40)),
)
def test_the_days_due_are_those_whose_deadline_passed_since_the_first_arrival(
    now: datetime, nights: int, zone: ZoneInfo, at: time, judged: set[int]
) -> None:
    since = now - timedelta(days=nights)
    today = now.astimezone(zone).date()
    done = {today - timedelta(days=k) for k in judged}
    found_due = deadlines.days_due(now=now, at=at, zone=zone, judged=done, known_since=since)
    wanted = [
        day
        for k in range(nights + 5, -3, -1)
        if (day := today - timedelta(days=k)) not in done
        and since <= datetime.combine(day + timedelta(days=1), at, tzinfo=zone).astimezone(UTC) <= now
    ]
    assert [day.date for day in found_due] == wanted


def test_publication_follows_the_deadline_at_once(hub: Hub) -> None:
    hub.stores.home.settings_file.write_text("[publish]\nevery_minutes = 1440\n")
    hub.restart()
    send_sync(hub, ROWS)
    hub.sweep()
    send(hub, *due())
    hub.sweep()
    assert found(hub, CHAMPION.id) == []
    at_deadline(hub)
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["A", "B", "B"]
