"""visit: a partner's client came and left, or was turned away; counted for whoever asks how it comes."""

from collections.abc import Sequence
from datetime import datetime

from jobs.stores.ledger import visits
from jobs.stores.opened import Stores
from schemas.visit import TurnedAway, Visit


def note(came: Sequence[Visit], turned: Sequence[TurnedAway], *, stores: Stores, now: datetime) -> None:
    """Count them all, in one transaction."""
    with stores.ledger.write() as tx:
        for one in came:
            visits.note(tx, one, at=now)
        for each in turned:
            visits.note_turned_away(tx, each, at=now)


def forget(*, stores: Stores, now: datetime) -> int:
    """Let go of what was not seen for visits.KEPT. How much that is."""
    with stores.ledger.read() as tx:
        if not visits.any_before(tx, now - visits.KEPT):
            return 0
    with stores.ledger.write() as tx:
        return visits.forget(tx, now=now)
