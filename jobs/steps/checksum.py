"""checksum: what a sender says the hash of its file is, held to what came.

A checksum (`<name>.sha256`, `<name>.md5`) is no drop. It lies in inbound/ until it agrees with a file of its name,
which takes it away; one that does not agree stays, for its sender to replace, and for the next file of that name.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.stores import files
from jobs.stores.ledger import checksums, claims, drops, events
from jobs.stores.opened import Stores
from schemas import checksum, receipt
from schemas.checksum import Beside, Compared
from schemas.drop import IN_INBOUND, Drop, Stage

_GONE = "checksum.discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A checksum came when its file had been judged already, and was held to it then."""

    drop: Drop
    compared: Compared


def compare(drop: Drop, content: bytes | None, *, stores: Stores) -> tuple[Compared, ...]:
    """Hold a received drop to the checksums that lie beside it now; none when there are none.

    `content`: its bytes as they came, where they are at hand.
    """
    found = []
    for kind in checksum.DIGITS:
        said = Beside(file=drop.name, kind=kind)
        if (wanted := _read(drop.partner, said, stores)) is not None:
            found.append(Compared(kind=kind, wanted=wanted, found=_taken(kind, drop, content, stores)))
    return tuple(found)


def note(drop: Drop, compared: Sequence[Compared], *, stores: Stores, now: datetime) -> None:
    """Say in the ledger what came of it. Checksums that agreed go."""
    if agree := {one.kind for one in compared if one.matches} - set(drop.checked):
        with stores.ledger.write() as tx:
            drops.note(tx, drop.id, checked=sorted({*drop.checked, *agree}))
    for one in compared:
        said = Beside(file=drop.name, kind=one.kind)
        with stores.ledger.write() as tx:
            what = "checksum.matched" if one.matches else "checksum.mismatched"
            events.record(
                tx, what, at=now, about=said.name, partner=drop.partner, drop=drop.id, wanted=one.wanted
            )
            # Its sender may have put another in its place meanwhile.
            if one.matches and _read(drop.partner, said, stores) == one.wanted:
                files.remove(stores.mailboxes.whole(drop.partner, said.name))


def settle(partner: str, *, stores: Stores, now: datetime) -> list[Late]:
    """Hold the partner's checksums that came late to the files that they came too late for, with a receipt.

    Nothing is loaded, or taken back, because of them: what is in force stays in force.
    """
    with claims.claimed(stores.ledger, f"checksums:{partner}", owner=stores.owner, now=now) as mine:
        return (
            [late for said in _lying(partner, stores) if (late := _settle(partner, said, stores, now))]
            if mine
            else []
        )


def _settle(partner: str, said: Beside, stores: Stores, now: datetime) -> Late | None:
    with stores.ledger.read() as tx:
        last = checksums.last(tx, partner=partner, name=said.name)
        newest = drops.listed(tx, partner=partner, name=said.file, limit=1)
    if last is None or last.event != checksums.ARRIVED or not newest:
        return None
    (drop,) = newest
    before = last.at - timedelta(hours=stores.settings.inbound.keep_incomplete_hours)
    if drop.stage in IN_INBOUND | {Stage.RECEIVED, Stage.DISCARDED} or drop.arrived_at < before:
        return None  # it is in time for that drop, or meant for another that comes
    wanted = _read(partner, said, stores)
    if wanted is None:
        return None
    compared = Compared(kind=said.kind, wanted=wanted, found=_taken(said.kind, drop, None, stores))
    if said.kind not in drop.checked:  # or its receipt says so already
        content = receipt.checked_late(drop, compared, at=now)
        laid = stores.mailboxes.lay(partner, "receipts", receipt.checked_late_name(drop, said.kind), content)
        with stores.ledger.write() as tx:
            events.laid(tx, laid, at=now, about=drop.id)
    note(drop, [compared], stores=stores, now=now)
    return Late(drop=drop, compared=compared)


def has_late(partner: str, *, stores: Stores) -> bool:
    """Whether a checksum lies in the partner's inbound/ that has not been held to anything yet."""
    with stores.ledger.read() as tx:
        lasts = [checksums.last(tx, partner=partner, name=said.name) for said in _lying(partner, stores)]
    return any(last is not None and last.event == checksums.ARRIVED for last in lasts)


def discard(partner: str, *, stores: Stores, now: datetime) -> list[Beside]:
    """Checksums for which no file came in time, or that nobody mended, go, with a note to their sender."""
    hours = stores.settings.inbound.keep_incomplete_hours
    why = f"no file that agrees with it came within {hours} hours"
    gone = []
    for said in _lying(partner, stores):
        with stores.ledger.write() as tx:
            last = checksums.last(tx, partner=partner, name=said.name)
            if last is not None and last.event != _GONE and last.at <= now - timedelta(hours=hours):
                note = {
                    "file": said.name,
                    "checksum_of": said.file,
                    "discarded_at": receipt.instant(now),
                    "why": why,
                }
                laid = stores.mailboxes.lay(partner, "receipts", f"{said.name}.discarded.json", note)
                events.laid(tx, laid, at=now, about=said.name)
                events.record(tx, _GONE, at=now, about=said.name, partner=partner, why=why)
                gone.append(said)
        with stores.ledger.write() as tx:  # afterwards: a note of which the ledger does not know is nobody's
            last = checksums.last(tx, partner=partner, name=said.name)
            if last is not None and last.event == _GONE:
                files.remove(stores.mailboxes.whole(partner, said.name))
    return gone


def _lying(partner: str, stores: Stores) -> list[Beside]:
    """The whole checksums in a partner's inbound/."""
    names = (name for name, whole in stores.mailboxes.uploads(partner) if whole)
    return [said for name in names if (said := checksum.beside(name)) is not None]


def _read(partner: str, said: Beside, stores: Stores) -> str | None:
    """What a checksum says (schemas.checksum.digest), or None when it is not there."""
    try:
        with stores.mailboxes.whole(partner, said.name).open("rb") as file:
            return checksum.digest(file.read(checksum.MOST_BYTES), said)
    except FileNotFoundError:
        return None


def _taken(kind: str, drop: Drop, content: bytes | None, stores: Stores) -> str:
    """The hash of the bytes that came."""
    if kind == "sha256":
        return drop.sha256
    if content is None:
        content = stores.archive.read(drop.sha256)
    return hashlib.new(kind, content, usedforsecurity=False).hexdigest()
