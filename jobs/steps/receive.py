"""receive: a whole file in inbound/ becomes the hub's: hashed, archived, in the ledger, receipted."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from isal import igzip

from jobs.stores import files
from jobs.stores.ledger import drops, events
from jobs.stores.opened import Stores
from schemas import receipt
from schemas.drop import Drop, Stage

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The drop, archived."""

    drop: Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """The file was gone from inbound/ before the hub took it: there is nothing to receive."""

    drop: Drop


def receive(drop: Drop, content: bytes | None, *, stores: Stores, now: datetime) -> Received | Vanished:
    """Take a drop in, of which these bytes came; None if they are gone from inbound/. Its file leaves that
    when its `received` receipt is there.

    Safe to do again from wherever it was cut off.
    """
    if content is None:
        return Vanished(drop=_discard(drop, stores=stores, now=now))
    if drop.stage is Stage.ARRIVED:
        drop = _keep(drop, content, stores=stores, now=now)
    name, said = receipt.received_name(drop), receipt.received(drop)
    laid = stores.mailboxes.lay(drop.partner, "receipts", name, said)
    with stores.ledger.write() as tx:
        drops.note(tx, drop.id, in_inbound=False)
        events.laid(tx, laid, at=now, about=drop.id)
        # In here: whoever may use the name again finds it free in both. And durably, or it would come again.
        files.remove(stores.mailboxes.whole(drop.partner, drop.name))
        return Received(drop=drops.get(tx, drop.id))


def _keep(drop: Drop, content: bytes, *, stores: Stores, now: datetime) -> Drop:
    with ThreadPoolExecutor(1) as beside:  # both let go of the interpreter
        packing = None if content.startswith(_GZIP_MAGIC) else beside.submit(igzip.compress, content, 1)
        sha256 = hashlib.sha256(content).hexdigest()
        packed = None if packing is None else packing.result()
    kept = stores.archive.keep(content, sha256=sha256, packed=packed)
    with stores.ledger.write() as tx:
        return drops.move(
            tx,
            drop,
            Stage.RECEIVED,
            at=now,
            say={"sha256": sha256, "bytes": len(content), "kept_sha256": kept},
            sha256=sha256,
            bytes=len(content),
        )


def _discard(drop: Drop, *, stores: Stores, now: datetime) -> Drop:
    with stores.ledger.write() as tx:
        return drops.move(
            tx, drop, Stage.DISCARDED, at=now, say={"why": "gone from inbound/"}, in_inbound=False
        )
