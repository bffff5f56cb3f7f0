"""What an EGS loses by a sync, and what it is given instead."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from hub_fixtures import CNP, PPL, Hub
from jobs import pipeline
from jobs.steps import sync
from jobs.stores import layout
from jobs.stores.ledger import claims, syncs
from jobs.stores.ledger.claims import Owner
from jobs_fixtures import (
    BLUEBONNET,
    CHAMPION,
    KEYSTONE,
    STRANGER_DUNS,
    Cut,
    accounts_found,
    found,
    manifests_of,
    send,
    send_sync,
    sync_name,
    sync_part,
)
from sync_fixtures import DAY, OPEN, TODAY, a_night, laid, read, states


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub(OPEN)


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
    # what was not fetched before a switch goes to the next, beside what it has already
    assert laid(hub, KEYSTONE)[:1] == before
    assert accounts_found(hub, KEYSTONE.id) == ["C", "B"]


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
    send_sync(hub, {"B": (CHAMPION.duns, hub.now.date())})  # anew: not the days before
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
    assert enforced["details"].items() >= {"accounts": 1, "moved": 1, "withdrawn": 1}.items()


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
    assert sorted(accounts_found(hub, KEYSTONE.id)) == ["B", "C", "C"]


def test_what_was_superseded_meanwhile_is_not_written_again_behind_its_successor(hub: Hub) -> None:
    old = a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns, "C": CHAMPION.duns})
    hub.on(minutes=15)
    new = old[0].again(wh=7, stamp="20130903090000")
    send(hub, new)
    hub.sweep()
    hub.on(days=1)
    send_sync(hub, {"A": CHAMPION.duns, "C": CHAMPION.duns})
    assert found(hub, CHAMPION.id) == [new.read(CNP), old[2].read(CNP)]


def test_a_withdrawn_file_that_a_crash_left_unwritten_is_written_again_by_the_next_sweep(hub: Hub) -> None:
    """The hub died when the sync was in force, and this slot's publication was made before."""
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    hub.sweep()
    part = sync_part({"A": CHAMPION.duns, "B": KEYSTONE.duns}, as_of=TODAY)
    drop = hub.arrive(CNP.id, sync_name(hub), part)
    other = Owner(hub.home.locks)
    with claims.claimed(hub.stores.ledger, layout.claim_key(CNP.id), owner=other, now=hub.now):
        pipeline.advance(drop.id, stores=hub.stores, clock=hub.schedule.clock)  # it waits for its turn
    other.close()
    with hub.stores.ledger.read() as tx:
        complete = syncs.get(tx, hub.drop(drop.id).sync_id)
    sync.settle(complete, edc=hub.partner(CNP.id), stores=hub.stores, now=hub.now)
    assert laid(hub, CHAMPION) == []
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["A"]
    before = laid(hub, CHAMPION)
    hub.sweep()
    assert laid(hub, CHAMPION) == before
