"""What an EGS never fetched before it lost the account: whose it becomes, with whom it waits, and who is told."""

from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from hub_fixtures import CNP, Hub, partner_text
from jobs.steps import publish
from jobs.stores import as_known, supply
from jobs.stores.ledger import holds
from jobs_fixtures import (
    BLUEBONNET,
    CHAMPION,
    KEYSTONE,
    STRANGER_DUNS,
    accounts_found,
    found,
    send,
    send_sync,
)
from look_fixtures import Desk
from schemas import tables
from schemas.sample import Egs
from sync_fixtures import DAY, OPEN, a_night, laid, nothing_is_wrong, read, settle, switch

EARLIER = DAY - timedelta(days=1)
STRANGER = Egs(id="stranger", name="Stranger Energy", duns=STRANGER_DUNS)


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub(OPEN)


def held(hub: Hub) -> Counter[tuple[str, str]]:
    """How many blocks are held unfetched, by account and the DUNS they wait for."""
    with hub.stores.ledger.read() as tx:
        rows = holds.held(tx, edc=CNP.id, reason="unfetched")
    return Counter((one.account, one.egs_duns) for one in rows)


def releases(hub: Hub) -> list[str]:
    with hub.stores.ledger.read() as tx:
        rows = tx.execute(select(tables.held.c.release).where(tables.held.c.reason == "unfetched"))
        return sorted(rows.scalars())


def test_usage_days_from_the_new_suppliers_start_on_are_laid_before_it(hub: Hub) -> None:
    cuts = a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns}, days=2)
    switch(hub, {"A": (KEYSTONE.duns, DAY), "B": CHAMPION.duns})
    assert found(hub, KEYSTONE.id) == [cuts[0].read(CNP)]  # and not the day before its start
    assert sorted(accounts_found(hub, CHAMPION.id)) == ["B", "B"]
    assert held(hub) == {("A", ""): 1}
    hub.sweep()
    assert len(found(hub, KEYSTONE.id)) == 1
    nothing_is_wrong(hub)


def test_what_was_fetched_is_nobody_elses(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    read(hub, CHAMPION, laid(hub, CHAMPION)[0])
    switch(hub, {"A": KEYSTONE.duns})
    assert (laid(hub, KEYSTONE), held(hub)) == ([], {})


def test_what_was_read_in_part_counts_as_unfetched(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    read(hub, CHAMPION, laid(hub, CHAMPION)[0], whole=False)
    switch(hub, {"A": KEYSTONE.duns})
    assert accounts_found(hub, KEYSTONE.id) == ["A"]


@pytest.mark.parametrize("start", [DAY + timedelta(days=1), None], ids=["after it", "not said"])
def test_days_before_the_new_suppliers_start_go_to_nobody(hub: Hub, start: date | None) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    switch(hub, {"A": (KEYSTONE.duns, start)})
    assert (laid(hub, CHAMPION), laid(hub, KEYSTONE)) == ([], [])
    assert held(hub) == {("A", ""): 1}
    (said,) = [one for one in hub.events("publication.recorded") if "replaces" in one["details"]]
    assert said["details"]["unfetched"] == 1
    nothing_is_wrong(hub)


def test_a_mistake_in_a_roster_costs_nobody_readings_that_were_not_fetched(hub: Hub) -> None:
    cuts = a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    switch(hub, {"A": (KEYSTONE.duns, DAY + timedelta(days=1)), "B": ""})
    assert laid(hub, CHAMPION) == []
    assert held(hub) == {("A", ""): 1, ("B", ""): 1}
    switch(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    assert found(hub, CHAMPION.id) == [cut.read(CNP) for cut in cuts]
    assert held(hub) == {}
    nothing_is_wrong(hub)


def test_it_goes_from_one_to_the_next_for_as_long_as_nobody_fetches_it(hub: Hub) -> None:
    (cut,) = a_night(hub, {"A": CHAMPION.duns})
    for egs in (KEYSTONE, BLUEBONNET, CHAMPION):
        switch(hub, {"A": egs.duns})
        assert {one.id: found(hub, one.id) for one in (CHAMPION, KEYSTONE, BLUEBONNET)} == {
            one.id: [cut.read(CNP)] if one is egs else [] for one in (CHAMPION, KEYSTONE, BLUEBONNET)
        }
    assert len(releases(hub)) == 3
    read(hub, CHAMPION, laid(hub, CHAMPION)[0])
    switch(hub, {"A": KEYSTONE.duns})
    assert laid(hub, KEYSTONE) == []
    nothing_is_wrong(hub)


def test_what_was_superseded_while_it_lay_there_is_not_held(hub: Hub) -> None:
    (cut,) = a_night(hub, {"A": CHAMPION.duns})
    hub.on(minutes=15)
    new = cut.again(wh=7, stamp="20130903090000")
    send(hub, new)
    hub.sweep()
    switch(hub, {"A": KEYSTONE.duns})
    assert found(hub, KEYSTONE.id) == [new.read(CNP)]
    assert len(releases(hub)) == 1


def test_what_is_superseded_while_it_is_held_is_not_laid_out_but_what_took_its_place(hub: Hub) -> None:
    (cut,) = a_night(hub, {"A": CHAMPION.duns})
    switch(hub, {"A": ""})
    hub.on(minutes=15)
    new = cut.again(wh=7, stamp="20130903090000")
    send(hub, new)
    hub.sweep()
    switch(hub, {"A": KEYSTONE.duns})
    assert (found(hub, KEYSTONE.id), held(hub)) == ([new.read(CNP)], {})


def test_it_waits_for_a_supplier_that_is_no_partner_yet(hub: Hub) -> None:
    (cut, _) = a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    switch(hub, {"A": STRANGER_DUNS, "B": (STRANGER_DUNS, DAY + timedelta(days=1))})
    assert held(hub) == {("A", STRANGER_DUNS): 1, ("B", ""): 1}
    hub.on(minutes=15)
    hub.add_partner(partner_text(STRANGER, "egs"), STRANGER.id)
    hub.sweep()
    assert found(hub, STRANGER.id) == [cut.read(CNP)]
    assert held(hub) == {("B", ""): 1}


def test_it_waits_for_another_supplier_when_a_sync_names_one(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    switch(hub, {"A": ""})
    switch(hub, {"A": STRANGER_DUNS})
    assert held(hub) == {("A", STRANGER_DUNS): 1}
    switch(hub, {"B": CHAMPION.duns})  # the account is not known any more
    assert held(hub) == {("A", ""): 1}


def test_what_is_nobodys_for_too_long_is_given_up(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub(f"{OPEN}[outbound]\nclaim_days = 3\n")
    a_night(hub, {"A": CHAMPION.duns})
    switch(hub, {"A": ""})
    switch(hub, {"A": ""}, days=3)
    assert held(hub) == {("A", ""): 1}  # on the last day
    switch(hub, {"A": CHAMPION.duns})
    assert (laid(hub, CHAMPION), held(hub), releases(hub)) == ([], {}, ["nobody's for too long"])


def test_what_was_held_is_known_as_of_any_instant(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    moments: list[tuple[datetime, int]] = [(hub.now, 0)]
    for roster, waits in (({"A": ""}, 1), ({"A": CHAMPION.duns}, 0), ({"A": ""}, 1)):
        switch(hub, roster)
        moments.append((hub.now, waits))
    for at, waits in moments:
        with as_known.as_known(hub.stores, at, now=hub.now) as then, then.ledger.read() as tx:
            assert holds.counts(tx, CNP.id) == ({("unfetched", ""): 1} if waits else {}), at


def test_why_it_is_with_nobody_is_told_of_the_suppliers_day(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    switch(hub, {"A": (KEYSTONE.duns, DAY + timedelta(days=1)), "B": KEYSTONE.duns})
    edc = hub.partner(CNP.id)
    told = {}
    for egs in (CHAMPION, KEYSTONE):
        with supply.worked_out(hub.partner(egs.id), edc, DAY, stores=hub.stores, now=hub.now) as it:
            told[egs.id] = {count.reason: count.accounts for count in it.counts()}
    assert told == {CHAMPION.id: {"taken-back": 2}, KEYSTONE.id: {"given": 1, "unfetched": 1}}


def test_a_publication_of_an_older_hub_that_held_nothing_is_done_again_so(hub: Hub) -> None:
    a_night(hub, {"A": CHAMPION.duns})
    hub.on(days=1)
    edc = settle(hub, {"A": KEYSTONE.duns})
    publish.publish(edc, stores=hub.stores, now=hub.now, holds_unfetched=False)
    assert (laid(hub, CHAMPION), laid(hub, KEYSTONE), held(hub)) == ([], [], {})
    nothing_is_wrong(hub)


def test_an_operator_is_told_before_and_after_what_was_never_fetched(
    make_hub: Callable[..., Hub],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    hub = make_hub()
    desk = Desk(hub, capsys, monkeypatch)
    a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns, "C": KEYSTONE.duns}, days=2)
    hub.on(days=1)
    send_sync(hub, {"A": (KEYSTONE.duns, DAY), "B": CHAMPION.duns, "C": KEYSTONE.duns})
    diff = desk.ask("sync", "diff", CNP.id, "--json").json
    assert diff["unfetched"] == [{"egs": CHAMPION.id, "files": 1, "blocks": 2}]
    words = "Blocks that would be taken back before they were fetched: 2 in 1 file of champion."
    assert words in desk.ask("sync", "diff", CNP.id).out
    approved = desk.ask("sync", "approve", diff["to"], "--yes")
    assert words in approved.out
    hub.sweep()
    assert desk.ask("sync", "diff", diff["from"], diff["to"], "--json").json["unfetched"] == []
    (cnp,) = [one for one in desk.ask("status", "--json").json["edcs"] if one["edc"] == CNP.id]
    assert (cnp["unfetched"], cnp["unfetched_other_days"]) == (0, 1)
    told = "1 of others, taken back before they were fetched, and nobody's to be given"
    assert told in " ".join(desk.ask("status").out.split())
    assert desk.ask("report", str(EARLIER), "--html", str(tmp_path / "day.html")).code == 0
    page = (tmp_path / "day.html").read_text()
    assert "1 held, taken back from suppliers before they were fetched, and with nobody" in page
    listed = desk.ask("explain", KEYSTONE.id, "--day", str(EARLIER), "--edc", CNP.id, "--list").out
    assert "unfetched" in listed
    (story,) = desk.ask("explain", "A", "--edc", CNP.id, "--json").json
    assert [one["reason"] for one in story["held"]] == ["unfetched", "unfetched"]
    said = [one["words"] for one in story["timeline"]]
    assert f"a block of {EARLIER} was held back: it had been taken back before it was fetched" in said
