"""What comes while nobody is of record: whose it becomes, of which days, and that nothing of it is given twice."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from hub_fixtures import CNP, Hub, partner_text
from jobs.steps import publish
from jobs.stores import as_known, supply
from jobs.stores.ledger import holds
from jobs_fixtures import (
    CHAMPION,
    KEYSTONE,
    STRANGER_DUNS,
    Cut,
    accounts_found,
    found,
    local,
    send,
    send_sync,
)
from schemas import tables
from schemas.sample import Egs
from sync_fixtures import DAY, OPEN, TODAY, a_night, laid, nothing_is_wrong, read, settle, switch

EARLIER = DAY - timedelta(days=1)
STRANGER = Egs(id="stranger", name="Stranger Energy", duns=STRANGER_DUNS)


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub(OPEN)


def held(hub: Hub) -> dict[tuple[str, str], int]:
    with hub.stores.ledger.read() as tx:
        return holds.counts(tx, CNP.id)


def releases(hub: Hub) -> list[str]:
    """What became of the blocks that were held for nobody, P for a publication."""
    with hub.stores.ledger.read() as tx:
        rows = tx.execute(select(tables.held.c.release).where(tables.held.c.reason == "nobody"))
        return sorted(release[:1] for release in rows.scalars())


@pytest.mark.parametrize("mistake", ["", (CHAMPION.duns, TODAY + timedelta(days=9))], ids=["none", "later"])
def test_what_came_while_a_roster_was_mistaken_goes_to_the_supplier_when_it_is_put_right(
    hub: Hub, mistake: object
) -> None:
    (cut,) = a_night(hub, {"A": CHAMPION.duns})
    read(hub, CHAMPION, laid(hub, CHAMPION)[0])
    switch(hub, {"A": mistake, "B": CHAMPION.duns})
    correction, reading = cut.again(wh=7, stamp="20130903090000"), Cut(account="A", day=TODAY)
    hub.on(minutes=15)
    send(hub, correction)
    send(hub, reading)
    hub.sweep()
    assert (accounts_found(hub, CHAMPION.id), held(hub)) == ([], {})
    switch(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    assert found(hub, CHAMPION.id) == [correction.read(CNP), reading.read(CNP)]
    assert releases(hub) == ["P", "P"]
    switch(hub, {"A": (CHAMPION.duns, DAY), "B": CHAMPION.duns})
    assert len(found(hub, CHAMPION.id)) == 2
    nothing_is_wrong(hub)


def test_an_account_of_default_service_gives_its_supplier_the_days_from_its_start_on(hub: Hub) -> None:
    cuts = a_night(hub, {"A": "", "B": CHAMPION.duns}, days=2)
    switch(hub, {"A": (KEYSTONE.duns, DAY), "B": CHAMPION.duns})
    assert found(hub, KEYSTONE.id) == [cuts[0].read(CNP)]
    switch(hub, {"A": (KEYSTONE.duns, EARLIER), "B": CHAMPION.duns})  # the first day was mistaken
    assert found(hub, KEYSTONE.id) == [cuts[0].read(CNP), cuts[2].read(CNP)]
    assert held(hub) == {}
    nothing_is_wrong(hub)


def test_what_somebody_else_was_given_is_not_given_again(hub: Hub) -> None:
    (first,) = a_night(hub, {"A": CHAMPION.duns})
    read(hub, CHAMPION, laid(hub, CHAMPION)[0])
    switch(hub, {"A": ""})
    hub.on(minutes=15)
    second = Cut(account="A", day=TODAY)
    send(hub, second)
    hub.sweep()
    switch(hub, {"A": KEYSTONE.duns})
    assert found(hub, KEYSTONE.id) == [second.read(CNP)]
    assert first.read(CNP) not in found(hub, KEYSTONE.id)
    nothing_is_wrong(hub)


def test_it_is_given_once_however_often_the_account_changes_hands(hub: Hub) -> None:
    (cut,) = a_night(hub, {"A": ""})
    switch(hub, {"A": CHAMPION.duns})
    assert found(hub, CHAMPION.id) == [cut.read(CNP)]
    read(hub, CHAMPION, laid(hub, CHAMPION)[0])
    switch(hub, {"A": ""})
    switch(hub, {"A": KEYSTONE.duns})
    assert laid(hub, KEYSTONE) == []
    nothing_is_wrong(hub)


def test_it_waits_for_a_supplier_that_is_no_partner_yet(hub: Hub) -> None:
    (cut, _) = a_night(hub, {"A": "", "B": ""})
    switch(hub, {"A": STRANGER_DUNS, "B": (STRANGER_DUNS, TODAY)})
    assert held(hub) == {("nobody", STRANGER_DUNS): 1}
    hub.on(minutes=15)
    hub.add_partner(partner_text(STRANGER, "egs"), STRANGER.id)
    hub.sweep()
    assert (found(hub, STRANGER.id), held(hub)) == ([cut.read(CNP)], {})
    nothing_is_wrong(hub)


def test_only_the_version_that_counts_is_given(hub: Hub) -> None:
    (cut,) = a_night(hub, {"A": ""})
    new = cut.again(wh=7, stamp="20130903090000")
    hub.on(minutes=15)
    send(hub, new)
    hub.sweep()
    switch(hub, {"A": CHAMPION.duns})
    assert found(hub, CHAMPION.id) == [new.read(CNP)]


@pytest.mark.parametrize(("days", "given"), [(3, ["A"]), (4, [])])
def test_what_was_published_to_nobody_longer_ago_is_left(
    make_hub: Callable[..., Hub], days: int, given: list[str]
) -> None:
    hub = make_hub(f"{OPEN}[outbound]\nclaim_days = 3\n")
    a_night(hub, {"A": ""})
    switch(hub, {"A": CHAMPION.duns}, days=days)
    assert accounts_found(hub, CHAMPION.id) == given


def test_what_came_late_while_nobody_was_of_record_waits_for_an_operator_all_the_same(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub(f'{OPEN}[deadline]\nlate = "hold"\n')
    send_sync(hub, {"A": ""})
    hub.at(local(CNP, DAY + timedelta(days=2), 9))
    cut = Cut(account="A", day=DAY)
    drop = send(hub, cut).id
    hub.sweep()
    assert held(hub) == {("late", ""): 1}
    switch(hub, {"A": CHAMPION.duns})
    assert laid(hub, CHAMPION) == []
    publish.publish(hub.partner(CNP.id), stores=hub.stores, now=hub.now, release=[drop])
    assert found(hub, CHAMPION.id) == [cut.read(CNP)]


def test_what_is_held_for_nobody_is_known_as_of_any_instant(hub: Hub) -> None:
    a_night(hub, {"A": ""})
    moments = [(hub.now, {})]
    for roster in ({"A": STRANGER_DUNS}, {"A": CHAMPION.duns}):
        switch(hub, roster)
        moments.append((hub.now, held(hub)))
    assert [waits for _, waits in moments] == [{}, {("nobody", STRANGER_DUNS): 1}, {}]
    for at, waits in moments:
        with as_known.as_known(hub.stores, at, now=hub.now) as then, then.ledger.read() as tx:
            assert holds.counts(tx, CNP.id) == waits, at


def test_a_publication_of_an_older_hub_that_gave_it_to_nobody_is_done_again_so(hub: Hub) -> None:
    a_night(hub, {"A": ""})
    hub.on(days=1)
    edc = settle(hub, {"A": CHAMPION.duns})
    publish.publish(edc, stores=hub.stores, now=hub.now, holds_nobodys=False)
    assert (laid(hub, CHAMPION), held(hub)) == ([], {})
    nothing_is_wrong(hub)


@pytest.mark.parametrize("version", [1, 2])
def test_no_account_is_without_a_reason_on_the_suppliers_day(hub: Hub, version: int) -> None:
    (cut, _) = a_night(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    switch(hub, {"A": "", "B": CHAMPION.duns})
    if version > 1:
        hub.on(minutes=15)
        send(hub, cut.again(wh=7, stamp="20130903090000"))
        hub.sweep()
    switch(hub, {"A": (CHAMPION.duns, TODAY), "B": CHAMPION.duns})
    edc = hub.partner(CNP.id)
    with supply.worked_out(hub.partner(CHAMPION.id), edc, DAY, stores=hub.stores, now=hub.now) as it:
        told = {count.reason: count.accounts for count in it.counts()}
    assert told == {"given": 1, "unfetched" if version == 1 else "nobodys": 1}
