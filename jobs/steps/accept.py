"""accept: is this a file that its sender may send, and has not sent before?"""

from dataclasses import dataclass
from datetime import datetime

from config.partners import Partner
from jobs.rules import admission
from jobs.stores import circumstances
from jobs.stores.ledger import drops
from jobs.stores.opened import Stores
from schemas.drop import Drop, Outcome, Stage
from schemas.fault import Fault
from schemas.file_name import FileName


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The drop may be parsed."""

    drop: Drop
    name: FileName


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyHeld:
    """The same bytes came from the same sender before, as the drop `earlier`."""

    drop: Drop
    earlier: Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """The same bytes came from the same sender as the drop `earlier`, of which it is not known yet whether
    it can be taken: this drop waits for that.
    """

    drop: Drop
    earlier: Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nothing of the drop is loaded; `faults` say why."""

    drop: Drop
    faults: tuple[Fault, ...]


def accept(drop: Drop, *, sender: Partner | None, stores: Stores, now: datetime) -> (
    Accepted | AlreadyHeld | Waits | Refused
):  # fmt: skip
    """Judge a received drop by its name, sender, size and hash."""
    name = admission.judge(
        drop.name, sender=drop.partner, duns=sender.duns if sender else None, size=drop.bytes
    )
    with stores.ledger.write() as tx:
        under = circumstances.note(tx, stores=stores, at=now)
        if isinstance(name, Fault):
            faults = (name,)
            moved = drops.refuse(tx, drop, faults, at=now, under=under)
            return Refused(drop=moved, faults=faults)
        earlier = drops.twin(tx, drop)
        if earlier is not None and earlier.stage is not Stage.LOADED:
            return Waits(drop=drop, earlier=earlier)
        if earlier is not None:
            moved = drops.move(
                tx,
                drop,
                Stage.DUPLICATE,
                at=now,
                say={"of": earlier.id, "under": under},
                kind=str(name.kind),
                outcome=Outcome.DUPLICATE,
                receipt_due=True,
                duplicate_of=earlier.id,
            )
            return AlreadyHeld(drop=moved, earlier=earlier)
        said = {"kind": str(name.kind), "under": under}
        moved = drops.move(tx, drop, Stage.ACCEPTED, at=now, say=said, kind=str(name.kind))
        return Accepted(drop=moved, name=name)
