"""visit: a partner's client came and left, or was turned away; counted for whoever asks how it comes."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from jobs.stores.ledger import visits
from jobs.stores.opened import Stores
from schemas.visit import TurnedAway, Visit


def note(came: Sequence[Visit], turned: Sequence[TurnedAway], *, stores: Stores, now: datetime) -> None:
    """Count them all, in one transaction. Who did not come as far as a login is meant for those partners that
    were seen at the address before; if there are none, it is nobody's.
    """
    nameless = {one.address for one in turned if not one.partner}
    with stores.ledger.read() as tx:
        seen = visits.seen_from(tx, nameless) if nameless else {}
    meant = [
        replace(one, partner=partner)
        for one in turned
        for partner in ([one.partner] if one.partner else seen.get(one.address, ()))
    ]
    if not came and not meant:
        return
    with stores.ledger.write() as tx:
        for visit in came:
            visits.note(tx, visit, at=now)
        for each in meant:
            visits.note_turned_away(tx, each, at=now)


def forget(*, stores: Stores, now: datetime) -> int:
    """Let go of what was not seen for visits.KEPT. How much that is."""
    with stores.ledger.read() as tx:
        if not visits.any_before(tx, now - visits.KEPT):
            return 0
    with stores.ledger.write() as tx:
        return visits.forget(tx, now=now)
