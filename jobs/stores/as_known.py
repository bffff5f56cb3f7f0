"""The stores as they were known at an instant: the ledger as of then, with the settings and partners of then.

What is asked about an instant is the same whenever it is asked. So an instant that is hardly over waits for
work that began before it: a load, a publication, a sync; each says of itself the instant it had then.
"""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select

from config.errors import OperatorError, RefusedError
from config.home import Home
from jobs.stores import circumstances
from jobs.stores.ledger import Ledger, as_of
from jobs.stores.ledger.history import Until
from jobs.stores.mailboxes import Mailboxes
from jobs.stores.opened import Stores
from schemas import receipt, tables

_LOOK_AGAIN = 0.1  # seconds
_PATIENCE = 600.0  # seconds


@contextmanager
def as_known(stores: Stores, at: datetime, *, now: datetime) -> Iterator[Stores]:
    """Open the stores as they were known at an instant, to be read. Nothing is uploaded in them.

    Raises RefusedError for an instant to come; OperatorError if what began before it does not end.
    """
    if at > now:
        said = f"{receipt.instant(at)} is still to come; it is {receipt.instant(now)}"
        raise RefusedError("instant-to-come", said, "ask for an instant that is over")
    _wait_for_what_began(stores, at)
    folder = stores.home.staging / f"as-known-{secrets.token_hex(4)}"
    home = Home(folder)
    home.state.mkdir(parents=True)
    ledger = Ledger(f"sqlite:///{home.ledger_file}")
    try:
        with stores.ledger.read() as source, ledger.write() as target:
            tables.metadata.create_all(target)
            until = Until(instant=at)
            as_of.copy(source, target, until=until)
            noted = circumstances.last(source, until=until)
        then = replace(stores, ledger=ledger, mailboxes=Mailboxes(home.sftp_root))
        if noted is not None:
            circumstances.write(noted, folder)
            then = circumstances.under(then, folder)
        yield then
    finally:
        ledger.close()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_what_began(stores: Stores, at: datetime) -> None:
    """Wait until nobody works on anything that was begun by then."""
    until = time.monotonic() + _PATIENCE
    claim = tables.claim
    while True:
        with stores.ledger.read() as tx:
            begun = tx.execute(select(claim.c.key, claim.c.owner).where(claim.c.since <= at)).all()
        alive = sorted(key for key, owner in begun if stores.owner.is_alive(owner))
        if not alive:
            return
        if time.monotonic() > until:
            raise OperatorError(
                "busy", f"still under way since before {receipt.instant(at)}: {', '.join(alive[:5])}",
                "see what `meterhub serve` is doing in state/logs/",
            )  # fmt: skip
        time.sleep(_LOOK_AGAIN)
