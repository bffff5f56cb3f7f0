"""arrive: an upload has ended, broken off, been renamed or removed; its drop begins, waits or goes.

The file's new name and the drop's row are one: the rename is made inside the transaction. A crash between
them leaves a whole file without a row, which `adopt` finds. So does a power cut, until the drop's next stage.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection

from jobs.stores import files
from jobs.stores.ledger import checksums, drops, events
from jobs.stores.opened import Stores
from schemas import checksum, file_name, receipt
from schemas.drop import IN_INBOUND, Drop, Stage
from schemas.fault import Fault

_WAITING = (Stage.INCOMPLETE, Stage.MISNAMED)


class TakenError(Exception):
    """The file is the hub's already, or about to be: its partner can no longer change it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """What came is no drop, but the checksum of a file that came or will."""

    name: str


def make_durable(partner: str, name: str, *, stores: Stores) -> None:
    """The first half of `ended`: what came of an upload outlives a power cut from now on."""
    files.sync_file(stores.mailboxes.part(partner, name))


def ended(
    partner: str, name: str, *, stores: Stores, now: datetime, durable: bool = False
) -> Drop | Checksum:
    """The client closed a whole upload: make it durable, if it is not, give it its name, and begin its drop."""
    if not durable:
        make_durable(partner, name, stores=stores)
    part, whole = stores.mailboxes.part(partner, name), stores.mailboxes.whole(partner, name)
    with _together(part, whole, stores) as tx:
        drop = drops.in_inbound(tx, partner=partner, name=name)
        if drop is not None and drop.stage not in (Stage.INCOMPLETE, Stage.MISNAMED):
            raise TakenError(f"{name} is still being taken in; wait for its receipt")
        if checksum.beside(name) is not None:
            _checksum(tx, drop, partner, name, now=now)
            files.appear(part, whole)
            return Checksum(name=name)
        size = part.stat().st_size
        stage = _stage(name)
        if drop is None:
            drop = drops.begin(tx, partner=partner, name=name, stage=stage, at=now, size=size)
        else:
            say = {"name": name, "bytes": size}
            drop = drops.move(tx, drop, stage, at=now, say=say, bytes=size, arrived_at=now)
        files.appear(part, whole)
    return drop


def resumed(partner: str, name: str, *, whole: bool, stores: Stores, now: datetime) -> None:
    """The partner goes on with an upload, or sends it again: from now on it is unfinished, and not old."""
    part, there = stores.mailboxes.part(partner, name), stores.mailboxes.whole(partner, name)
    with _together(there, part, stores) as tx:
        drop = drops.in_inbound(tx, partner=partner, name=name)
        if drop is not None:
            _open_to_change(drop)
            say = {"name": name, "bytes": drop.bytes}
            drops.move(tx, drop, Stage.INCOMPLETE, at=now, say=say, arrived_at=now)
        if whole:
            files.appear(there, part)


def broken(partner: str, name: str, *, size: int, stores: Stores, now: datetime) -> Drop:
    """An upload broke off after `size` bytes: it is kept to be resumed."""
    with stores.ledger.write(soon=True) as tx:
        drop = drops.in_inbound(tx, partner=partner, name=name)
        if drop is None:
            return drops.begin(tx, partner=partner, name=name, stage=Stage.INCOMPLETE, at=now, size=size)
        say = {"name": name, "bytes": size}
        return drops.move(tx, drop, Stage.INCOMPLETE, at=now, say=say, bytes=size, arrived_at=now)


def renamed(
    partner: str, old: str, new: str, *, whole: bool, stores: Stores, now: datetime
) -> Drop | Checksum:
    """The partner renames a file of its inbound/. Under a name of the agreed form, a whole one arrives."""
    path = stores.mailboxes.whole if whole else stores.mailboxes.part
    with _together(path(partner, old), path(partner, new), stores) as tx:
        there = drops.in_inbound(tx, partner=partner, name=new)
        if there is not None:
            _open_to_change(there)
            _drop_out(tx, there, why=f"{old} was renamed over it", now=now)
        drop = drops.in_inbound(tx, partner=partner, name=old)
        source = path(partner, old)
        if whole and checksum.beside(new) is not None:
            if drop is not None:
                _open_to_change(drop)
            _checksum(tx, drop, partner, new, now=now)
            files.appear(source, path(partner, new))
            return Checksum(name=new)
        stage = _stage(new) if whole else Stage.INCOMPLETE
        if drop is None:
            size = source.stat().st_size
            drop = drops.begin(tx, partner=partner, name=new, stage=stage, at=now, size=size)
        else:
            _open_to_change(drop)
            say = {"name": new, "was": old}
            drop = drops.move(tx, drop, stage, at=now, say=say, name=new, arrived_at=now)
        files.appear(source, path(partner, new))
    return drop


def removed(partner: str, name: str, *, whole: bool, stores: Stores, now: datetime) -> None:
    """The partner takes back an upload that the hub has not taken in."""
    path = stores.mailboxes.whole(partner, name) if whole else stores.mailboxes.part(partner, name)
    with stores.ledger.write(soon=True) as tx:
        drop = drops.in_inbound(tx, partner=partner, name=name)
        if drop is not None:
            _open_to_change(drop)
            _drop_out(tx, drop, why="removed by its sender", now=now)
        files.remove(path, missing_ok=False)


def adopt(partner: str, *, stores: Stores, now: datetime, parts: bool) -> list[Drop]:
    """Begin drops for files that a crash left without one, and bring those on whose file has got another name
    without them. `parts`: broken uploads too, which is right only while nobody can be uploading.
    """
    found = []
    for name, whole in list(stores.mailboxes.uploads(partner)):
        if not whole and not parts:
            continue
        path = stores.mailboxes.whole(partner, name) if whole else stores.mailboxes.part(partner, name)
        with stores.ledger.write() as tx:
            drop = drops.in_inbound(tx, partner=partner, name=name)
            if not path.exists():
                continue
            if whole and checksum.beside(name) is not None:
                if checksums.last(tx, partner=partner, name=name) is None:
                    _checksum(tx, drop, partner, name, now=now)
                continue
            stage = _stage(name) if whole else Stage.INCOMPLETE
            size = path.stat().st_size
            if drop is None:
                found.append(drops.begin(tx, partner=partner, name=name, stage=stage, at=now, size=size))
            elif drop.stage is (Stage.INCOMPLETE if whole else Stage.MISNAMED):
                say = {"name": name, "bytes": size}
                found.append(drops.move(tx, drop, stage, at=now, say=say, bytes=size, arrived_at=now))
    _let_go(partner, stores=stores, now=now)
    return found


def _let_go(partner: str, *, stores: Stores, now: datetime) -> None:
    """Drops that wait for their sender, and whose file is there no more under either name, are discarded: a
    rename was made, or it was discarded with a note, and the ledger could not be written.
    """
    with stores.ledger.read() as tx:
        waiting = [drop for drop in drops.at_stage(tx, _WAITING) if drop.partner == partner]
    for drop in waiting:
        paths = (stores.mailboxes.whole(partner, drop.name), stores.mailboxes.part(partner, drop.name))
        if any(path.exists() for path in paths):
            continue
        with stores.ledger.write() as tx:
            if drops.get(tx, drop.id) != drop or any(path.exists() for path in paths):
                continue
            note = stores.mailboxes.folder(partner, "receipts") / receipt.discarded_name(drop)
            if note.exists():  # whoever discarded it died before the ledger had it
                _discard(tx, drop, stores=stores, now=now)
            else:
                _drop_out(tx, drop, why="gone from inbound/", now=now)


def wait_no_longer(*, stores: Stores, now: datetime) -> list[Drop]:
    """Whole files whose rename has not come in time go on under the name they have."""
    before = now - timedelta(minutes=stores.settings.inbound.rename_minutes)
    with stores.ledger.read() as tx:
        waiting = [drop for drop in drops.at_stage(tx, [Stage.MISNAMED]) if drop.arrived_at <= before]
    gone_on = []
    for drop in waiting:
        with stores.ledger.write() as tx:
            if drops.get(tx, drop.id).stage is Stage.MISNAMED:
                say = {"name": drop.name, "bytes": drop.bytes}
                gone_on.append(drops.move(tx, drop, Stage.ARRIVED, at=now, say=say))
    return gone_on


def discard_broken(*, stores: Stores, now: datetime) -> list[Drop]:
    """Broken uploads that nobody resumed in time go, with a note to their sender."""
    before = now - timedelta(hours=stores.settings.inbound.keep_incomplete_hours)
    with stores.ledger.read() as tx:
        old = [drop for drop in drops.at_stage(tx, [Stage.INCOMPLETE]) if drop.arrived_at <= before]
    gone = []
    for drop in old:
        with stores.ledger.write() as tx:
            if drops.get(tx, drop.id) == drop:  # and was not resumed meanwhile
                _discard(tx, drop, stores=stores, now=now)
                files.remove(stores.mailboxes.part(drop.partner, drop.name))
                gone.append(drop)
    return gone


def _discard(tx: Connection, drop: Drop, *, stores: Stores, now: datetime) -> None:
    why = f"not resumed within {stores.settings.inbound.keep_incomplete_hours} hours"
    note = receipt.discarded(drop, why=why, at=now)
    laid = stores.mailboxes.lay(drop.partner, "receipts", receipt.discarded_name(drop), note)
    _drop_out(tx, drop, why=why, now=now)
    events.laid(tx, laid, at=now, about=drop.id)


@contextmanager
def _together(path: Path, to: Path, stores: Stores) -> Iterator[Connection]:
    """A transaction in which `path` is renamed `to`: both are done, or, when either fails, neither. Whoever was told
    that it failed must not find it done.
    """
    lay_there = path.exists()
    try:
        with stores.ledger.write(soon=True) as tx:
            yield tx
    except BaseException:
        if lay_there and not path.exists() and to.exists():
            to.rename(path)
        raise


def _stage(name: str) -> Stage:
    return Stage.MISNAMED if isinstance(file_name.parse(name), Fault) else Stage.ARRIVED


def _checksum(tx: Connection, drop: Drop | None, partner: str, name: str, *, now: datetime) -> None:
    """A checksum lies in inbound/ from now on. The drop that it was meanwhile, if any, is none."""
    if drop is not None:
        _drop_out(tx, drop, why=f"it is {name}, a checksum", now=now)
    events.record(tx, checksums.ARRIVED, at=now, about=name, partner=partner)


def _open_to_change(drop: Drop) -> None:
    if drop.stage not in IN_INBOUND - {Stage.ARRIVED}:
        raise TakenError(f"{drop.name} is still being taken in; wait for its receipt")


def _drop_out(tx: Connection, drop: Drop, *, why: str, now: datetime) -> None:
    drops.move(tx, drop, Stage.DISCARDED, at=now, say={"why": why}, in_inbound=False)
