"""Meter data syncs: how they form and come into force, what keeps them from it, and what EGSs lose by them."""

import dataclasses
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from hub_fixtures import CNP, PPL, Hub, partner_text
from jobs import pipeline
from jobs.steps import collect, publish, sync
from jobs.steps.collect import Reading
from jobs.stores.ledger import syncs
from jobs.stores.ledger.syncs import Sync
from jobs_fixtures import (
    BLUEBONNET,
    CHAMPION,
    KEYSTONE,
    STRANGER_DUNS,
    Cut,
    Row,
    accounts_found,
    found,
    interval_name,
    local,
    lse,
    manifests_of,
    send,
    send_sync,
    sync_name,
    sync_part,
)
from schemas.drop import IllegalMoveError, Outcome
from schemas.sample import Egs

DAY = date(2013, 9, 2)
TODAY = date(2013, 9, 3)
OPEN = "[sync]\nbrake = 1.0\n"  # nothing is held


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub(OPEN)


def all_syncs(hub: Hub, edc: str = CNP.id) -> list[Sync]:
    with hub.stores.ledger.read() as tx:
        return syncs.listed(tx, edc=edc)


def states(hub: Hub, edc: str = CNP.id) -> dict[str, str]:
    return {sync.id: sync.state for sync in all_syncs(hub, edc)}


def report(hub: Hub, sync_id: str, edc: str = CNP.id) -> dict[str, Any]:
    folder = hub.stores.mailboxes.folder(edc, "reports")
    said: dict[str, Any] = json.loads((folder / f"{sync_id}.sync.json").read_text())
    return said


def laid(hub: Hub, egs: Egs) -> list[str]:
    return [path.name for path in hub.laid(egs.id, "outbound", ".lse.gz")]


def read(hub: Hub, egs: Egs, name: str, *, whole: bool = True) -> None:
    """The EGS reads a file of its outbound/."""
    reading = Reading(
        partner=egs.id, name=name, sent=1, whole=whole, began=hub.now, ended=hub.now, session="s",
        address="127.0.0.1", key_fingerprint="SHA256:x",
    )  # fmt: skip
    collect.collect(reading, stores=hub.stores)


def a_night(hub: Hub, roster: dict[str, str], *, days: int = 1) -> list[Cut]:
    """A sync, a block for each of its accounts, and a publication."""
    send_sync(hub, roster)
    cuts = [
        Cut(account=account, day=DAY - timedelta(days=k), wh=100 + n)
        for k in range(days)
        for n, account in enumerate(roster)
    ]
    send(hub, *cuts)
    hub.sweep()
    return cuts


# ── forming ──────────────────────────────────────────────────────────────────────────────────────


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


# ── order ────────────────────────────────────────────────────────────────────────────────────────


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


# ── the brake ────────────────────────────────────────────────────────────────────────────────────

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
    assert hub.events("sync.held")[0]["details"] == {"moved": 3, "share": 0.3}
    assert len(accounts_found(hub, CHAMPION.id)) == 9
    approved = sync.approve(_get(hub, held), by="ann", stores=hub.stores, now=hub.now)
    assert isinstance(approved, Sync)
    hub.sweep()
    assert states(hub)[held] == "in-force"
    assert sorted(accounts_found(hub, CHAMPION.id)) == [f"A{k}" for k in range(3, 10)]
    assert hub.events("sync.approved")[0]["details"] == {"by": "ann"}


def _get(hub: Hub, sync_id: str) -> Sync:
    with hub.stores.ledger.read() as tx:
        return syncs.get(tx, sync_id)


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
    held = _get(hub, "S130904-cnp-1")
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
    held = _get(hub, "S130903-cnp-2")
    assert held.state == "held"
    hub.on(hours=1)
    send_sync(hub, moved(0))
    assert states(hub) == {
        "S130903-cnp-1": "superseded", held.id: "older", "S130903-cnp-3": "in-force",
    }  # fmt: skip
    assert isinstance(sync.approve(held, by="bob", stores=hub.stores, now=hub.now), sync.NotHeld)


# ── what an EGS loses ────────────────────────────────────────────────────────────────────────────


def test_a_file_with_a_lost_account_is_written_again_without_it(hub: Hub) -> None:
    cuts = a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns, "C": KEYSTONE.duns})
    (old,) = laid(hub, CHAMPION)
    before = laid(hub, KEYSTONE)
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns, "C": KEYSTONE.duns})
    (new,) = laid(hub, CHAMPION)
    assert found(hub, CHAMPION.id) == [cuts[0].read(CNP)]
    first, second = sorted(manifests_of(hub, CHAMPION.id), key=lambda one: one["sequence"])
    assert (first["file"], first["sequence"], second["file"], second["sequence"]) == (old, 1, new, 2)
    assert first["withdrawn"] == {"at": "2013-09-04T10:00:00Z", "sync": "S130904-cnp-1", "replaced_by": new}
    assert second["replaces"] == old
    assert second["sync"] == {"id": "S130904-cnp-1", "as_of": "2013-09-04"}
    assert (second["blocks"], second["intervals"]) == (1, 96)
    # what was another's before a switch is not given to the next
    assert laid(hub, KEYSTONE) == before
    assert accounts_found(hub, KEYSTONE.id) == ["C"]


def test_an_egs_whose_partners_file_is_broken_loses_nothing_by_that(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    before = laid(hub, CHAMPION)
    file = hub.home.partners / f"{CHAMPION.id}.toml"
    file.write_text("duns ==")
    hub.restart()  # the new process knows it as it was
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    assert (laid(hub, CHAMPION), states(hub)["S130904-cnp-1"]) == (before, "in-force")


def test_no_sync_is_settled_while_nothing_is_known_of_an_egs_that_has_files(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    before = laid(hub, CHAMPION)
    file = hub.home.partners / f"{CHAMPION.id}.toml"
    good = file.read_text()
    file.write_text("duns ==")
    (hub.home.kept_partners / file.name).unlink()
    hub.restart()
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    assert (laid(hub, CHAMPION), states(hub)["S130904-cnp-1"]) == (before, "withdrawing")
    assert any("champion has files" in str(failure) for failure in hub.failures())
    file.write_text(good)
    hub.sweep()
    assert (laid(hub, CHAMPION), states(hub)["S130904-cnp-1"]) == (before, "in-force")


def test_what_was_superseded_is_not_written_again_behind_its_newer_version(hub: Hub) -> None:
    roster = {"A": CHAMPION.duns, "B": CHAMPION.duns, "C": CHAMPION.duns}
    send_sync(hub, roster)
    send(hub, *(Cut(account=account, day=DAY) for account in roster))
    hub.sweep()
    hub.on(minutes=15)
    send(hub, Cut(account="B", day=DAY, wh=777, stamp="20130903080000"))
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, roster | {"C": BLUEBONNET.duns})
    by_name = hub.outbound(CHAMPION.id)
    assert sorted(tuple(blocks["account"].to_pylist()) for blocks in by_name.values()) == [("A",), ("B",)]


def test_a_file_that_was_collected_whole_is_withdrawn_and_not_written_again(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    (old,) = laid(hub, CHAMPION)
    read(hub, CHAMPION, old)
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    hub.sweep()
    assert laid(hub, CHAMPION) == []
    (manifest,) = manifests_of(hub, CHAMPION.id)
    assert manifest["withdrawn"]["replaced_by"] is None


def test_a_file_that_was_read_in_part_counts_as_not_collected(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    (old,) = laid(hub, CHAMPION)
    read(hub, CHAMPION, old, whole=False)
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    assert accounts_found(hub, CHAMPION.id) == ["A"]
    assert laid(hub, CHAMPION) != [old]


@pytest.mark.parametrize(
    "roster",
    [
        {"A": CHAMPION.duns},
        {"A": CHAMPION.duns, "B": ""},
        {"A": CHAMPION.duns, "B": STRANGER_DUNS},
        {"A": CHAMPION.duns, "B": (CHAMPION.duns, date(2013, 9, 5))},
        {"A": CHAMPION.duns, "B": (KEYSTONE.duns, date(2013, 9, 5))},
    ],
    ids=["disappeared", "default service", "unclaimed", "its own later", "another's later"],
)
def test_an_account_is_lost_by_whatever_takes_its_egs_off_record(hub: Hub, roster: dict[str, Any]) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    hub.on(days=1)
    send_sync(hub, roster)
    assert accounts_found(hub, CHAMPION.id) == ["A"]


def test_a_file_of_which_nothing_is_left_is_not_written_again(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    hub.on(days=1)
    send_sync(hub, {"A": KEYSTONE.duns, "B": ""})
    hub.sweep()
    assert laid(hub, CHAMPION) == []
    (manifest,) = manifests_of(hub, CHAMPION.id)
    assert manifest["withdrawn"]["replaced_by"] is None


def test_withdrawal_reaches_back_to_every_file_that_lies_there(hub: Hub) -> None:
    roster = {"A": CHAMPION.duns, "B": CHAMPION.duns}
    send_sync(hub, roster)
    for _ in range(3):
        send(hub, *[Cut(account=account, day=hub.now.date() - timedelta(days=1)) for account in roster])
        hub.on(days=1)
        hub.sweep()
    assert len(laid(hub, CHAMPION)) == 3
    send_sync(hub, {"A": CHAMPION.duns})
    assert accounts_found(hub, CHAMPION.id) == ["A"] * 3
    hub.on(days=1)
    send_sync(hub, {"B": CHAMPION.duns})
    assert accounts_found(hub, CHAMPION.id) == []
    manifests = manifests_of(hub, CHAMPION.id)
    assert sorted(one["sequence"] for one in manifests) == [1, 2, 3, 4, 5, 6]
    assert all("withdrawn" in one for one in manifests)
    chain = {one["file"]: one["withdrawn"]["replaced_by"] for one in manifests}
    assert sum(one is None for one in chain.values()) == 3
    assert all(chain[one["replaces"]] == one["file"] for one in manifests if "replaces" in one)


def test_files_are_gone_before_the_sync_is_in_force_and_not_after(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    hub.on(days=1)
    drop = send_sync(hub, {"A": KEYSTONE.duns})
    names = [event["name"] for event in hub.events()]
    assert names.index("outbound.withdrawn") < names.index("sync.superseded") < len(names)
    (enforced,) = hub.events("sync.enforced", about=drop.sync_id)
    assert enforced["details"] == {"accounts": 1, "moved": 1, "withdrawn": 1}


def test_files_of_another_edc_are_left_alone(hub: Hub) -> None:
    """Accounts are the EDC's own: the same number is another account with another EDC."""
    for edc in (CNP, PPL):
        send_sync(hub, {"A": CHAMPION.duns}, edc=edc)
        send(hub, Cut(account="A", day=DAY, wh=1 if edc is CNP else 2), edc=edc)
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"A": KEYSTONE.duns})
    (left,) = laid(hub, CHAMPION)
    assert left.startswith(PPL.duns)


def test_a_withdrawal_for_an_egs_that_is_no_partner_any_more_stops_nobody(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns, "C": KEYSTONE.duns})
    hub.remove_partner(CHAMPION.id)
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns, "C": KEYSTONE.duns})
    send(hub, Cut(account="C", day=TODAY))
    hub.sweep()
    assert laid(hub, CHAMPION) == []
    assert accounts_found(hub, KEYSTONE.id) == ["C", "C"]


# ── start dates ──────────────────────────────────────────────────────────────────────────────────


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


# ── no sync, or too old a one ────────────────────────────────────────────────────────────────────


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


# ── suspense and unclaimed ───────────────────────────────────────────────────────────────────────


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


def test_suspense_of_an_account_that_turns_out_to_be_nobodys_is_never_released(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="N", day=DAY))
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "N": ""})
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "N": CHAMPION.duns})
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == []


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


def test_readings_sent_before_any_sync_are_published_when_one_comes(hub: Hub) -> None:
    cuts = [Cut(account="A", day=DAY), Cut(account="B", day=DAY)]
    hub.upload(CNP.id, interval_name(hub), lse(cuts))
    hub.on(hours=1)
    hub.sweep()
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    hub.on(hours=1)
    hub.sweep()
    assert (found(hub, CHAMPION.id), found(hub, KEYSTONE.id)) == ([cuts[0].read(CNP)], [cuts[1].read(CNP)])
