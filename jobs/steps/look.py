"""look: an auditor sees a folder's names, or what is in a file; and that it does is part of the history."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs.stores.books import Books, Entry, Parts
from jobs.stores.ledger import events
from jobs.stores.opened import Stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """Who looks."""

    partner: str
    session: str
    address: str
    key_fingerprint: str


def listed(parts: Parts, by: Looker, *, stores: Stores, now: datetime) -> Sequence[Entry]:
    """What is in a folder. Raises FileNotFoundError."""
    found = Books(stores).listed(parts)
    _record(parts, "folder", by, stores=stores, now=now)
    return found


def opened(parts: Parts, by: Looker, *, stores: Stores, now: datetime) -> int:
    """A descriptor of a file, to be read from and closed. Raises FileNotFoundError."""
    found = Books(stores).open(parts)
    try:
        _record(parts, "file", by, stores=stores, now=now)
    except BaseException:
        os.close(found)
        raise
    return found


def _record(parts: Parts, what: str, by: Looker, *, stores: Stores, now: datetime) -> None:
    """Before anything is shown: what cannot be recorded is not."""
    say = {"path": "/" + "/".join(parts), "what": what, "address": by.address, "key": by.key_fingerprint}
    with stores.ledger.write() as tx:
        events.record(tx, "audit.looked", at=now, about=by.session, partner=by.partner, **say)
