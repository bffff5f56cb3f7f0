"""A hub whose syncs are looked at: their states, what is told of them, and what lies in outbound folders."""

import json
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from config.partners import Partner
from hub_fixtures import CNP, Hub
from jobs import pipeline
from jobs.proofs import home as proofs
from jobs.proofs.place import Place
from jobs.steps import collect, sync
from jobs.steps.collect import Reading
from jobs.stores import layout
from jobs.stores.ledger import HEAD, claims, syncs
from jobs.stores.ledger.claims import Owner
from jobs.stores.ledger.syncs import Sync
from jobs_fixtures import (
    Cut,
    Row,
    Supplier,
    send,
    send_sync,
    sync_name,
    sync_part,
)
from replay_fixtures import again
from schemas.sample import Egs

DAY = date(2013, 9, 2)
TODAY = date(2013, 9, 3)
OPEN = "[sync]\nbrake = 1.0\n"  # nothing is held


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


def get_sync(hub: Hub, sync_id: str) -> Sync:
    with hub.stores.ledger.read() as tx:
        return syncs.get(tx, sync_id)


def switch(hub: Hub, roster: dict[str, Any], *, days: int = 1) -> None:
    hub.on(days=days)
    send_sync(hub, roster)
    hub.sweep()


def settle(hub: Hub, roster: Mapping[str, Supplier] | Iterable[Row]) -> Partner:
    """A sync comes into force, and nothing is published yet. Its EDC."""
    part = sync_part(roster, as_of=hub.now.astimezone(CNP.zone).date())
    drop = hub.arrive(CNP.id, sync_name(hub), part)
    other = Owner(hub.home.locks)
    with claims.claimed(hub.stores.ledger, layout.claim_key(CNP.id), owner=other, now=hub.now):
        pipeline.advance(drop.id, stores=hub.stores, clock=hub.schedule.clock)  # it waits for its turn
    other.close()
    edc = hub.partner(CNP.id)
    complete = get_sync(hub, hub.drop(drop.id).sync_id)
    sync.settle(complete, edc=edc, stores=hub.stores, now=hub.now)
    return edc


def nothing_is_wrong(hub: Hub) -> None:
    """The home is as its ledger has it, and the day can be done again to the byte."""
    place = Place(
        home=hub.home, settings=hub.stores.settings, partners=hub.stores.partners.current(), now=hub.now
    )
    said = proofs.verify(hub.stores.ledger, place, version=HEAD)
    assert [one for one in said.findings if one.where.partition("/")[0] != "config"] == []
    for back in (1, 0):  # the last switch, and what came before it
        for replayed in again(hub, hub.now.date() - timedelta(days=back), edcs=[CNP.id]):
            assert replayed.differences == []
