"""Meter data syncs: how they form and come into force, and what keeps them from it."""

import dataclasses
import threading
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from hub_fixtures import CNP, Hub
from jobs import pipeline, tasks
from jobs.steps import sync
from jobs.stores import layout
from jobs.stores.ledger import claims, syncs
from jobs.stores.ledger.claims import Owner
from jobs.stores.ledger.syncs import Sync
from jobs_fixtures import (
    BLUEBONNET,
    CHAMPION,
    KEYSTONE,
    STRANGER_DUNS,
    Cut,
    Row,
    accounts_found,
    local,
    send,
    send_sync,
    sync_name,
    sync_part,
)
from schemas.drop import IllegalMoveError, Outcome
from sync_fixtures import DAY, OPEN, TODAY, a_night, all_syncs, get_sync, report, states


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub(OPEN)


# ── forming ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_a_sync_is_in_force_when_its_last_part_came_in_whatever_order(
    hub: Hub, order: tuple[int, ...]
) -> None:
    for count, part in enumerate(order, 1):
        drop = send_sync(hub, {f"A{part}": CHAMPION.duns}, part=part, parts=3)
        assert (drop.outcome, drop.sync_id) == (Outcome.ACCEPTED, "S130903-cnp-1")
        assert states(hub) == {"S130903-cnp-1": "in-force" if count == 3 else "forming"}
    (sync,) = all_syncs(hub)
    assert (sync.accounts, sync.rows, sync.due, sync.moved) == (3, 3, 3, 0)
    assert report(hub, sync.id)["state"] == "in-force"


def test_a_part_that_comes_again_changed_takes_the_place_of_the_first(hub: Hub) -> None:
    first = send_sync(hub, {"A": CHAMPION.duns}, part=1, parts=2)
    again = send_sync(hub, {"A": KEYSTONE.duns}, part=1, parts=2)
    back = send_sync(hub, {"A": CHAMPION.duns}, part=1, parts=2)
    assert [drop.outcome for drop in (first, again, back)] == [Outcome.ACCEPTED] * 3
    send_sync(hub, {"B": KEYSTONE.duns}, part=2, parts=2)
    send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["A"]
    assert accounts_found(hub, KEYSTONE.id) == []


def test_the_same_part_again_is_a_duplicate_and_forms_nothing(hub: Hub) -> None:
    for _ in range(2):
        drops = [send_sync(hub, {f"A{part}": CHAMPION.duns}, part=part, parts=2) for part in (1, 2)]
        hub.on(minutes=5)
        hub.sweep()
    assert [drop.outcome for drop in drops] == [Outcome.DUPLICATE] * 2
    assert states(hub) == {"S130903-cnp-1": "in-force"}


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_sync_sent_again_may_have_parts_that_have_not_changed(hub: Hub, order: tuple[int, int]) -> None:
    """Of a correction on the same day, the parts without a change are of the same bytes as before."""
    old = {1: {"A": CHAMPION.duns}, 2: {"B": CHAMPION.duns}}
    new = {1: {"A": CHAMPION.duns}, 2: {"B": KEYSTONE.duns}}
    for part in (1, 2):
        send_sync(hub, old[part], part=part, parts=2)
    send(hub, Cut(account="A", day=DAY), Cut(account="B", day=DAY))
    hub.sweep()
    for part in order:
        hub.on(minutes=20)
        send_sync(hub, new[part], part=part, parts=2)
        hub.sweep()
    assert states(hub) == {"S130903-cnp-1": "superseded", "S130903-cnp-2": "in-force"}
    assert accounts_found(hub, CHAMPION.id) == ["A"]


def test_parts_of_another_number_of_parts_form_another_sync(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns}, part=1, parts=2)
    send_sync(hub, {"B": CHAMPION.duns}, part=2, parts=3)
    assert states(hub) == {"S130903-cnp-1": "forming", "S130903-cnp-2": "forming"}


def test_a_part_that_is_refused_keeps_its_sync_waiting_for_a_good_one(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns}, part=1, parts=2)
    bad = send_sync(hub, [Row(account="B", ami="?")], part=2, parts=2)
    assert bad.outcome == Outcome.REJECTED
    hub.sweep()
    assert states(hub) == {"S130903-cnp-1": "forming"}
    send_sync(hub, {"B": CHAMPION.duns}, part=2, parts=2)
    assert states(hub) == {"S130903-cnp-1": "in-force"}


def test_parts_at_odds_reject_the_whole_sync_and_the_one_before_stays(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    hub.on(days=1)
    send_sync(hub, {"A": KEYSTONE.duns, "B": KEYSTONE.duns}, part=1, parts=2)
    send_sync(hub, {"A": BLUEBONNET.duns, "C": KEYSTONE.duns}, part=2, parts=2)
    assert states(hub) == {"S130903-cnp-1": "in-force", "S130904-cnp-1": "rejected"}
    told = report(hub, "S130904-cnp-1")
    assert (told["state"], told["faults"][0]["code"]) == ("rejected", "account-twice-differs")
    assert told["faults_total"] == len(told["faults"]) == 2  # of another supplier, with the same meter
    assert accounts_found(hub, CHAMPION.id) == ["A", "B"]


def test_parts_of_a_rejected_sync_may_come_again_as_they_were(hub: Hub) -> None:
    send_sync(hub, {"A": KEYSTONE.duns}, part=1, parts=2)
    send_sync(hub, {"A": BLUEBONNET.duns}, part=2, parts=2)
    assert states(hub) == {"S130903-cnp-1": "rejected"}
    again = send_sync(hub, {"A": KEYSTONE.duns}, part=1, parts=2)
    assert again.outcome == Outcome.ACCEPTED
    send_sync(hub, {"B": BLUEBONNET.duns}, part=2, parts=2)
    assert states(hub) == {"S130903-cnp-1": "rejected", "S130903-cnp-2": "in-force"}


def test_an_account_with_two_meters_is_one_account(hub: Hub) -> None:
    rows = [Row(account="A", meter="M1", channels="4"), Row(account="A", meter="M2", channels="4;1")]
    send_sync(hub, rows)
    (sync,) = all_syncs(hub)
    assert (sync.state, sync.rows, sync.accounts, sync.due) == ("in-force", 2, 1, 2)
    send(hub, Cut(account="A", day=DAY), Cut(account="A", day=DAY, channel="1"))
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["A", "A"]


# ── order ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_older_as_of_date_never_displaces_a_newer(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    hub.on(days=1)
    send_sync(hub, {"A": KEYSTONE.duns}, as_of=TODAY - timedelta(days=1))
    assert states(hub) == {"S130903-cnp-1": "in-force", "S130902-cnp-1": "older"}
    assert report(hub, "S130902-cnp-1")["state"] == "older"
    assert accounts_found(hub, CHAMPION.id) == ["A"]


def test_of_two_of_the_same_date_the_later_arrival_is_in_force(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    hub.on(minutes=1)
    send_sync(hub, {"A": KEYSTONE.duns})
    assert states(hub) == {"S130903-cnp-1": "superseded", "S130903-cnp-2": "in-force"}
    assert accounts_found(hub, CHAMPION.id) == []


def test_a_sync_of_a_future_date_is_refused(hub: Hub) -> None:
    drop = send_sync(hub, {"A": CHAMPION.duns}, as_of=TODAY + timedelta(days=1))
    assert (drop.outcome, drop.faults[0].code) == (Outcome.REJECTED, "sync-as-of")
    hub.at(local(CNP, TODAY, 0))  # its first moment, by the EDC's own clock
    assert send_sync(hub, {"A": CHAMPION.duns}, as_of=TODAY).outcome == Outcome.ACCEPTED


def test_an_older_sync_still_forming_never_comes_into_force_behind_a_newer(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns}, part=1, parts=2)
    hub.on(days=1)
    send_sync(hub, {"A": KEYSTONE.duns})
    assert states(hub) == {"S130903-cnp-1": "older", "S130904-cnp-1": "in-force"}
    send_sync(hub, {"B": CHAMPION.duns}, part=2, parts=2, as_of=TODAY)
    send_sync(hub, {"A": BLUEBONNET.duns}, part=1, parts=2, as_of=TODAY)
    assert states(hub)["S130904-cnp-1"] == "in-force"
    assert states(hub)["S130903-cnp-2"] == "older"


def test_a_sync_cut_off_while_it_withdrew_does_not_displace_one_that_came_since(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    hub.on(days=1)
    with hub.stores.ledger.write() as tx:  # as if its process had died there
        before = syncs.in_force(tx, CNP.id)
        assert before is not None
        cut = syncs.forming(tx, edc=CNP.id, as_of=TODAY, parts=1, at=hub.now)
        cut = syncs.move(
            tx, cut, "complete", event="sync.completed", at=hub.now, completed_at=hub.now, path=before.path
        )
        cut = syncs.move(tx, cut, "withdrawing", event="sync.assembled", at=hub.now, say={"rows": 1})
    send_sync(hub, {"A": KEYSTONE.duns})
    hub.sweep()
    assert states(hub)[cut.id] == "older"
    assert states(hub)["S130904-cnp-1"] == "in-force"


def test_a_sync_moves_only_as_its_life_allows(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    (found_sync,) = all_syncs(hub)
    for state in ("forming", "complete", "held", "withdrawing", "rejected", "refused", "older"):
        with pytest.raises(IllegalMoveError), hub.stores.ledger.write() as tx:
            syncs.move(tx, found_sync, state, event="sync.refused", at=hub.now, say={"by": "x"})
    assert all_syncs(hub) == [found_sync]


# ── the brake ──────────────────────────────────────────────────────────────────────────────────────

TEN = {f"A{k}": CHAMPION.duns for k in range(10)}


def moved(*accounts: int, to: str = KEYSTONE.duns) -> dict[str, str]:
    return TEN | {f"A{k}": to for k in accounts}


def test_a_sync_that_moves_more_than_the_brake_waits_for_an_operator(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    a_night(hub, TEN)
    hub.on(days=1)
    send_sync(hub, moved(0))  # exactly 10 % pass
    assert states(hub)["S130904-cnp-1"] == "in-force"
    hub.on(days=1)
    send_sync(hub, moved(1, 2))
    held = "S130905-cnp-1"
    for _ in range(3):
        hub.sweep()
        hub.on(minutes=15)
        assert states(hub)[held] == "held"
    assert report(hub, held)["why"] == "it moves 3 accounts, 30.0%"
    said = hub.events("sync.held")[0]["details"]
    assert (said["moved"], said["share"]) == (3, 0.3)
    assert len(accounts_found(hub, CHAMPION.id)) == 9
    approved = sync.approve(get_sync(hub, held), by="ann", stores=hub.stores, now=hub.now)
    assert isinstance(approved, Sync)
    hub.sweep()
    assert states(hub)[held] == "in-force"
    assert sorted(accounts_found(hub, CHAMPION.id)) == ["A0", *(f"A{k}" for k in range(3, 10))]  # A0 is back
    assert hub.events("sync.approved")[0]["details"] == {"by": "ann"}


@pytest.mark.parametrize(
    "roster",
    [
        {},
        moved(*range(5), to=STRANGER_DUNS),
        moved(*range(5), to=""),
        {f"A{k}": CHAMPION.duns for k in range(5)},
        TEN | {f"A{k}": (CHAMPION.duns, date(2031, 1, 15)) for k in range(5)},
    ],
    ids=["another account", "to a stranger", "to default service", "gone", "a start in a far future"],
)
def test_the_brake_holds_whatever_would_be_taken_from_an_egs(
    make_hub: Callable[..., Hub], roster: dict[str, Any]
) -> None:
    hub = make_hub()
    a_night(hub, TEN)
    hub.on(days=1)
    send_sync(hub, roster or {"B": CHAMPION.duns})
    assert states(hub)["S130904-cnp-1"] == "held"
    assert len(accounts_found(hub, CHAMPION.id)) == 10


def test_new_accounts_and_the_first_sync_do_not_pull_the_brake(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    a_night(hub, {"A": CHAMPION.duns})
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns} | {f"N{k}": KEYSTONE.duns for k in range(50)})
    assert states(hub)["S130904-cnp-1"] == "in-force"


def test_what_is_settled_can_be_neither_approved_nor_refused(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    a_night(hub, TEN)
    hub.on(days=1)
    send_sync(hub, {"B": CHAMPION.duns})
    held = get_sync(hub, "S130904-cnp-1")
    refused = sync.refuse(held, by="ann", why="not agreed", stores=hub.stores, now=hub.now)
    assert isinstance(refused, Sync)
    assert report(hub, held.id)["why"] == "not agreed"
    assert isinstance(sync.approve(held, by="bob", stores=hub.stores, now=hub.now), sync.NotHeld)
    hub.sweep()
    assert states(hub) == {"S130903-cnp-1": "in-force", held.id: "refused"}
    assert len(accounts_found(hub, CHAMPION.id)) == 10


def test_a_held_sync_gives_way_to_one_that_comes_into_force(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    a_night(hub, TEN)
    hub.on(hours=1)
    send_sync(hub, {"B": CHAMPION.duns})
    held = get_sync(hub, "S130903-cnp-2")
    assert held.state == "held"
    hub.on(hours=1)
    send_sync(hub, moved(0))
    assert states(hub) == {
        "S130903-cnp-1": "superseded", held.id: "older", "S130903-cnp-3": "in-force",
    }  # fmt: skip
    assert isinstance(sync.approve(held, by="bob", stores=hub.stores, now=hub.now), sync.NotHeld)


def test_an_edcs_own_part_is_settled_by_whoever_comes_first(hub: Hub) -> None:
    """A part is kept by one process and settled by another."""
    content = sync_part({"A": CHAMPION.duns}, as_of=TODAY)
    drop = hub.arrive(CNP.id, sync_name(hub), content)
    first = pipeline.advance(drop.id, stores=hub.stores, clock=hub.schedule.clock)
    again = pipeline.advance(drop.id, stores=hub.stores, clock=hub.schedule.clock)
    assert isinstance(first, pipeline.Advanced)
    assert isinstance(again, pipeline.Advanced)
    assert states(hub) == {"S130903-cnp-1": "in-force"}
    assert len(hub.events("sync.enforced")) == 1


def test_a_sync_that_another_process_has_settled_is_left_as_it_is(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    (standing,) = all_syncs(hub)
    stale = dataclasses.replace(standing, state="complete")  # as it was read before the other was done
    outcome = sync.settle(stale, edc=hub.partner(CNP.id), stores=hub.stores, now=hub.now)
    assert outcome == sync.AlreadySettled(sync=standing)
    assert all_syncs(hub) == [standing]


def test_a_sync_that_met_a_publication_comes_into_force_behind_it(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    hub.on(days=1)
    publishing = Owner(hub.home.locks)
    with claims.claimed(hub.stores.ledger, layout.claim_key(CNP.id), owner=publishing, now=hub.now):
        send_sync(hub, {"A": KEYSTONE.duns})
        assert states(hub)["S130904-cnp-1"] == "complete"
    publishing.close()
    slot = tasks.Slot(edc=CNP.id, at=hub.now)
    tasks.publish_slot(hub.home.root, slot, hub.schedule.clock)
    assert states(hub) == {"S130903-cnp-1": "superseded", "S130904-cnp-1": "in-force"}
    assert accounts_found(hub, CHAMPION.id) == []


def test_parts_that_are_kept_side_by_side_form_one_sync_that_is_enforced_once(hub: Hub) -> None:
    arrived = [
        hub.arrive(CNP.id, sync_name(hub), sync_part({f"A{k}": CHAMPION.duns}, as_of=TODAY, part=k, parts=4))
        for k in (1, 2, 3, 4)
    ]
    start = threading.Barrier(4)

    def work(drop_id: str) -> None:
        start.wait()
        pipeline.advance(drop_id, stores=hub.stores, clock=hub.schedule.clock)

    threads = [threading.Thread(target=work, args=(drop.id,)) for drop in arrived]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hub.sweep()
    (standing,) = all_syncs(hub)
    assert (standing.state, standing.accounts) == ("in-force", 4)
    assert len(hub.events("sync.enforced")) == 1


def test_of_two_syncs_of_a_day_the_one_that_arrived_last_stands_whichever_is_loaded_first(hub: Hub) -> None:
    """The worker that had the first died, and the clock was set back meanwhile."""
    first = hub.arrive(
        CNP.id, sync_name(hub), sync_part({"A": CHAMPION.duns, "B": CHAMPION.duns}, as_of=TODAY)
    )
    hub.on(minutes=-10)
    second = hub.arrive(
        CNP.id, sync_name(hub), sync_part({"A": CHAMPION.duns, "B": KEYSTONE.duns}, as_of=TODAY)
    )
    for drop in (second, first):
        hub.on(minutes=1)
        pipeline.advance(drop.id, stores=hub.stores, clock=hub.schedule.clock)
    with hub.stores.ledger.read() as tx:
        in_force = syncs.in_force(tx, CNP.id)
    assert in_force is not None
    assert in_force.id == hub.drop(second.id).sync_id
    assert [event["about"] for event in hub.events("sync.outdated")] == [hub.drop(first.id).sync_id]
