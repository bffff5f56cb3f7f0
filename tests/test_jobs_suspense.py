"""Who waits for a sync or a partner: the unknown, the unclaimed, and those whose day has not come."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import pytest

from hub_fixtures import CNP, PPL, Hub, partner_text
from jobs.steps import publish
from jobs.stores.ledger import holds
from jobs_fixtures import (
    BLUEBONNET,
    CHAMPION,
    KEYSTONE,
    STRANGER_DUNS,
    Cut,
    accounts_found,
    found,
    interval_name,
    local,
    lse,
    send,
    send_sync,
)
from schemas.sample import Egs
from sync_fixtures import DAY, OPEN, TODAY, laid


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub(OPEN)


# ── start dates ────────────────────────────────────────────────────────────────────────────────────


def test_an_account_with_a_start_date_to_come_is_nobodys_until_that_day(hub: Hub) -> None:
    start = date(2013, 9, 5)
    send_sync(hub, {"A": (CHAMPION.duns, start)})
    early = [Cut(account="A", day=DAY), Cut(account="A", day=TODAY)]
    assert send(hub, early[0]).suspense == 0
    hub.sweep()
    hub.at(local(CNP, date(2013, 9, 4), 23, 59, 59))
    send(hub, early[1])
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == []
    hub.at(local(CNP, start, 0))
    later = Cut(account="A", day=date(2013, 9, 4))
    send(hub, later)
    hub.sweep()
    assert found(hub, CHAMPION.id) == [later.read(CNP)]


@pytest.mark.parametrize("edc", [CNP, PPL], ids=["Chicago", "New York"])
def test_the_start_date_is_of_the_edcs_own_calendar(hub: Hub, edc: Any) -> None:
    send_sync(hub, {"A": (CHAMPION.duns, date(2013, 9, 5))}, edc=edc)
    hub.at(datetime.fromisoformat("2013-09-05T04:30:00+00:00"))  # 23:30 in Chicago, 00:30 in New York
    send(hub, Cut(account="A", day=DAY), edc=edc)
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ([] if edc is CNP else ["A"])


# ── no sync, or too old a one ──────────────────────────────────────────────────────────────────────


def test_without_a_sync_nothing_is_published_and_an_operator_is_told(hub: Hub) -> None:
    send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    assert not any(laid(hub, egs) for egs in (CHAMPION, BLUEBONNET, KEYSTONE))
    outcome = publish.publish(hub.partner(CNP.id), stores=hub.stores, now=hub.now)
    assert outcome == publish.Withheld(why="no sync is in force", waiting=True)
    assert [line["why"] for line in hub.log() if line["event"] == "publication.withheld"] == [
        "no sync is in force"
    ]


def test_a_sync_withholds_everything_the_day_after_its_last_good_one(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})  # as of 3 September
    send(hub, Cut(account="A", day=DAY))
    hub.at(local(CNP, date(2013, 9, 8), 23, 59))  # five days old
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["A"]
    late = Cut(account="A", day=TODAY)
    send(hub, late)
    hub.at(local(CNP, date(2013, 9, 9), 0))
    hub.sweep()
    assert len(found(hub, CHAMPION.id)) == 1
    outcome = publish.publish(hub.partner(CNP.id), stores=hub.stores, now=hub.now)
    assert outcome == publish.Withheld(why="the sync in force, S130903-cnp-1, is too old", waiting=True)
    send_sync(hub, {"A": CHAMPION.duns}, as_of=date(2013, 9, 8))
    hub.on(minutes=15)
    hub.sweep()
    assert found(hub, CHAMPION.id)[-1] == late.read(CNP)


def test_one_edcs_old_sync_does_not_keep_anothers_readings_back(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    hub.on(days=8)
    send_sync(hub, {"B": CHAMPION.duns}, edc=PPL)
    send(hub, Cut(account="A", day=DAY))
    send(hub, Cut(account="B", day=DAY), edc=PPL)
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["B"]


# ── suspense and unclaimed ─────────────────────────────────────────────────────────────────────────


def test_suspense_is_released_by_the_sync_that_brings_the_account(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    cuts = [Cut(account="N", day=DAY), Cut(account="N", day=DAY, channel="1"), Cut(account="M", day=DAY)]
    assert send(hub, *cuts).suspense == 2
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == []
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "N": CHAMPION.duns})
    hub.sweep()
    assert sorted(found(hub, CHAMPION.id)) == sorted(cut.read(CNP) for cut in cuts[:2])
    hub.on(days=1)
    hub.sweep()
    assert len(found(hub, CHAMPION.id)) == 2


def test_of_suspense_only_what_is_current_is_released(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    old, new = Cut(account="N", day=DAY), Cut(account="N", day=DAY, wh=9, stamp="20130903080000")
    send(hub, old)
    hub.on(minutes=20)
    hub.sweep()
    send(hub, new)
    hub.on(minutes=20)
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"N": CHAMPION.duns})
    hub.sweep()
    assert found(hub, CHAMPION.id) == [new.read(CNP)]


@pytest.mark.parametrize(("start", "given"), [(DAY, ["N"]), (TODAY, [])])
def test_suspense_of_an_account_that_turns_out_to_be_nobodys_waits_for_a_supplier_of_that_day(
    hub: Hub, start: date, given: list[str]
) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="N", day=DAY))
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "N": ""})
    hub.sweep()
    with hub.stores.ledger.read() as tx:
        assert holds.counts(tx, CNP.id) == {("nobody", ""): 1}
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "N": (CHAMPION.duns, start)})
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == given


NEWCOMER = Egs(id="newcomer", name="Newcomer Energy", duns=STRANGER_DUNS)


@pytest.mark.parametrize(("days", "given"), [(1, True), (3, True), (4, False)])
def test_the_unclaimed_is_laid_out_when_its_partner_is_added_in_time(
    make_hub: Callable[..., Hub], days: int, given: bool
) -> None:
    hub = make_hub("[outbound]\nclaim_days = 3\n")
    send_sync(hub, {"A": STRANGER_DUNS, "B": CHAMPION.duns})
    cut = Cut(account="A", day=DAY)
    assert send(hub, cut).suspense == 0
    hub.sweep()
    hub.on(days=days)
    hub.add_partner(partner_text(NEWCOMER, "egs"), NEWCOMER.id)
    hub.sweep()
    assert found(hub, NEWCOMER.id) == ([cut.read(CNP)] if given else [])
    hub.on(days=1)
    fresh = Cut(account="A", day=TODAY)
    send(hub, fresh)
    hub.sweep()
    assert found(hub, NEWCOMER.id)[-1] == fresh.read(CNP)


def test_the_unclaimed_goes_to_whom_a_later_sync_names(hub: Hub) -> None:
    send_sync(hub, {"A": STRANGER_DUNS})
    cut = Cut(account="A", day=DAY)
    send(hub, cut)
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"A": KEYSTONE.duns})
    hub.add_partner(partner_text(NEWCOMER, "egs"), NEWCOMER.id)
    hub.sweep()
    assert found(hub, NEWCOMER.id) == []
    assert found(hub, KEYSTONE.id) == [cut.read(CNP)]


def test_suspense_that_a_sync_gives_to_a_stranger_waits_for_its_partner(hub: Hub) -> None:
    send_sync(hub, {"B": CHAMPION.duns})
    cut = Cut(account="A", day=DAY)
    send(hub, cut)
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"A": STRANGER_DUNS})
    hub.sweep()
    hub.on(days=1)
    hub.add_partner(partner_text(NEWCOMER, "egs"), NEWCOMER.id)
    hub.sweep()
    assert found(hub, NEWCOMER.id) == [cut.read(CNP)]


def test_readings_sent_before_any_sync_are_published_when_one_comes(hub: Hub) -> None:
    cuts = [Cut(account="A", day=DAY), Cut(account="B", day=DAY)]
    hub.upload(CNP.id, interval_name(hub), lse(cuts))
    hub.on(hours=1)
    hub.sweep()
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    hub.on(hours=1)
    hub.sweep()
    assert (found(hub, CHAMPION.id), found(hub, KEYSTONE.id)) == ([cuts[0].read(CNP)], [cuts[1].read(CNP)])
