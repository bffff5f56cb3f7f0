"""A hub whose syncs are looked at: their states, what is told of them, and what lies in outbound folders."""

import json
from datetime import date, timedelta
from typing import Any

from hub_fixtures import CNP, Hub
from jobs.steps import collect
from jobs.steps.collect import Reading
from jobs.stores.ledger import syncs
from jobs.stores.ledger.syncs import Sync
from jobs_fixtures import (
    Cut,
    send,
    send_sync,
)
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
