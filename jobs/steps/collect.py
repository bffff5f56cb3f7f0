"""collect: an EGS has read an outbound file; who, when, how much of it, whole or not."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection

from jobs.stores.ledger import events, outbox
from jobs.stores.opened import Stores


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One reading of a file by a partner. `sent`: distinct bytes; `whole`: all of them."""

    partner: str
    name: str
    sent: int
    whole: bool
    began: datetime
    ended: datetime
    session: str
    address: str
    key_fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The reading is in the ledger. `first`: it was the first that had the whole file."""

    first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOutbound:
    """The file is no outbound file (a manifest, say): its reading is not counted."""


def collect(*readings: Reading, stores: Stores) -> tuple[Collected | NotOutbound, ...]:
    """Record who read outbound files. A power cut may take back the last ones: then they count as not collected."""
    with stores.ledger.write(soon=True) as tx:
        return tuple(_collect(tx, reading) for reading in readings)


def _collect(tx: Connection, reading: Reading) -> Collected | NotOutbound:
    files = outbox.named(tx, reading.name, egs=reading.partner)
    if not files:
        return NotOutbound()
    file = files[0]
    outbox.collected(
        tx,
        outbound_file_id=file.id,
        partner=reading.partner,
        address=reading.address,
        key_fingerprint=reading.key_fingerprint,
        session=reading.session,
        began_at=reading.began,
        ended_at=reading.ended,
        bytes=reading.sent,
        whole=reading.whole,
    )
    first = reading.whole and file.collected_at is None
    if first:
        outbox.note(tx, file.id, collected_at=reading.ended)
    events.record(
        tx,
        "outbound.collected",
        at=reading.ended,
        about=file.name,
        partner=reading.partner,
        bytes=reading.sent,
        of=file.bytes,
        whole=reading.whole,
        address=reading.address,
        key=reading.key_fingerprint,
        session=reading.session,
        began_at=reading.began.astimezone(UTC).isoformat(),
    )
    return Collected(first=first)
