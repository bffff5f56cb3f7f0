"""retain: what has been kept for as long as was agreed, goes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.stores import files, layout
from jobs.stores.ledger import claims, events, outbox
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.opened import Stores
from schemas import receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """These outbound files had lain for outbound.keep_days and are gone from there."""

    expired: tuple[OutboundFile, ...]


def retain(*, stores: Stores, now: datetime) -> Retained:
    """Take outbound files away after outbound.keep_days. What they held stays known, and in the lake.

    Those of an EDC whose files another process changes at this moment wait for the next time.
    """
    before = now - timedelta(days=stores.settings.outbound.keep_days)
    with stores.ledger.read() as tx:
        edcs = {file.edc for file in outbox.laid_out_before(tx, before)}
    expired: list[OutboundFile] = []
    for edc in sorted(edcs):
        with claims.claimed(stores.ledger, layout.claim_key(edc), owner=stores.owner, now=now) as mine:
            if mine:
                expired += _retain(edc, before, stores=stores, now=now)
    return Retained(expired=tuple(expired))


def _retain(edc: str, before: datetime, *, stores: Stores, now: datetime) -> list[OutboundFile]:
    with stores.ledger.read() as tx:
        old = [file for file in outbox.laid_out_before(tx, before) if file.edc == edc]
    for file in old:
        layout.take_away(file, stores=stores)
        manifest = layout.place(file, stores=stores).with_name(receipt.manifest_name(file.name))
        files.remove(manifest)
        with stores.ledger.write() as tx:
            state = "expired" if file.state == "laid-out" else file.state
            outbox.note(tx, file.id, state=state, expired_at=now)
            events.record(tx, "outbound.expired", at=now, about=file.name, partner=file.egs)
    return old
