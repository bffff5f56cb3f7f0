"""sync: parts of a meter data sync are kept until all are there; then it comes into force, or is refused.

Before a sync comes into force, every outbound file that holds an account which its EGS loses by it is taken
away. Those that were not collected are marked to be written again, which the next publication does.

What partners are told is laid before the transaction that makes it true has ended: a crash between the two
is followed by the same step once more, and one behind it could leave a partner untold.
"""

from dataclasses import asdict, dataclass
from datetime import date, datetime

from sqlalchemy import Connection

from config.partners import Partner
from jobs.steps.sync import judge, losses
from jobs.stores import circumstances, files, layout, sync_parts
from jobs.stores.ledger import claims, drops, events, outbox, syncs
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster
from schemas import receipt, sync_file
from schemas.drop import Drop, Outcome, Stage
from schemas.sync_whole import NONE, AtOdds
from schemas.usage_day import local_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A part is kept. `complete`: it was the last that its sync waited for."""

    drop: Drop
    sync: Sync
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """The sync says from now on who may see what; so many outbound files were withdrawn for it."""

    sync: Sync
    withdrawn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The sync moves more accounts than the brake allows: an operator must approve or refuse it."""

    sync: Sync


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTaken:
    """The sync is at fault, or older than the one in force, which stays."""

    sync: Sync


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Another process publishes this EDC's blocks, or brings a sync into force, at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadySettled:
    """Another process was quicker: there is nothing to settle about the sync any more."""

    sync: Sync


UNSETTLED = ("complete", "withdrawing")  # states that settle() brings on
Settled = InForce | Held | NotTaken | Busy | AlreadySettled


def keep(drop: Drop, part: sync_file.Part, *, stores: Stores, now: datetime) -> Kept:
    """Keep one good part."""
    written = sync_parts.keep(part.rows, drop=drop, as_of=part.as_of, lake=stores.lake)
    with stores.ledger.write() as tx:
        sync = syncs.forming(tx, edc=drop.partner, as_of=part.as_of, parts=part.parts, at=now)
        rows = len(part.rows)
        syncs.keep_part(tx, sync_id=sync.id, part=part.part, drop_id=drop.id, path=written.path, rows=rows)
        loaded = drops.move(
            tx,
            drop,
            Stage.LOADED,
            at=now,
            say={
                "sync": sync.id,
                "part": part.part,
                "parts": part.parts,
                "rows": rows,
                "lake": {written.path: written.sha256},
            },
            outcome=Outcome.ACCEPTED,
            receipt_due=True,
            sync_id=sync.id,
            rows_loaded=rows,
        )
        complete = len(syncs.parts_of(tx, sync.id)) == part.parts
        if complete:
            sync = syncs.move(tx, sync, "complete", event="sync.completed", at=now, completed_at=now)
    return Kept(drop=loaded, sync=sync, complete=complete)


def complete(*, stores: Stores, now: datetime) -> list[Sync]:
    """Bring together syncs of which some parts came as duplicates: a sync sent again, where only some of its
    parts have changed. The parts that have not are of the same bytes as those of the one before.
    """
    completed = []
    with stores.ledger.read() as tx:
        forming = syncs.in_state(tx, "forming")
    for sync in forming:
        with stores.ledger.write() as tx:
            if syncs.get(tx, sync.id).state == "forming" and syncs.keep_parts_again(tx, sync):
                completed.append(
                    syncs.move(tx, sync, "complete", event="sync.completed", at=now, completed_at=now)
                )
    return completed


def settle(sync: Sync, *, edc: Partner, stores: Stores, now: datetime) -> Settled:
    """Bring a complete sync into force, unless something speaks against it.

    Safe to do again from wherever it was cut off.
    """
    with claims.claimed(stores.ledger, layout.claim_key(edc.id), owner=stores.owner, now=now) as mine:
        if not mine:
            return Busy()
        layout.finish(edc.id, stores=stores, now=now)
        _go_on(edc, sync.id, stores=stores, now=now)
        with stores.ledger.read() as tx:
            sync = syncs.get(tx, sync.id)
            before = syncs.in_force(tx, edc.id)
            is_older = before is not None and syncs.comes_before(tx, sync, before)
        if sync.state not in UNSETTLED:
            return AlreadySettled(sync=sync)
        if before is not None and is_older:
            why = f"{before.id}, in force, is as of {before.as_of}"
            return _not_taken(sync, "older", why, stores=stores, now=now)
        if sync.state == "complete":
            judged = _judge(sync, before, edc=edc, stores=stores, now=now)
            if not isinstance(judged, Sync):
                return judged
            sync = judged
        return _enforce(sync, before, edc=edc, stores=stores, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHeld:
    """The sync waits for nobody's word (any more); nothing was changed."""

    sync: Sync


def approve(sync: Sync, *, by: str, stores: Stores, now: datetime) -> Sync | NotHeld:
    """An operator lets a held sync pass the brake: the next `settle` brings it into force."""
    with stores.ledger.write() as tx:
        standing = syncs.get(tx, sync.id)
        if standing.state != "held":
            return NotHeld(sync=standing)
        return syncs.move(tx, sync, "withdrawing", event="sync.approved", at=now, say={"by": by})


def refuse(sync: Sync, *, by: str, why: str, stores: Stores, now: datetime) -> Sync | NotHeld:
    """An operator sends a held sync away."""
    with stores.ledger.write() as tx:
        standing = syncs.get(tx, sync.id)
        if standing.state != "held":
            return NotHeld(sync=standing)
        sync = syncs.move(tx, sync, "refused", event="sync.refused", at=now, say={"by": by}, why=why[:500])
        _report(tx, sync, stores=stores, now=now)
    return sync


def _judge(
    sync: Sync, before: Sync | None, *, edc: Partner, stores: Stores, now: datetime
) -> Sync | Held | NotTaken:
    """Join the parts and look for what speaks against the whole."""
    with stores.ledger.read() as tx:
        parts = syncs.parts_of(tx, sync.id)
    assembled = judge.assemble(
        sync,
        {part.part: part.path for part in parts},
        before=None if before is None else Roster(stores.lake, before.path),
        today=_today(edc, now),
        lake=stores.lake,
    )
    if isinstance(assembled, AtOdds):
        why = assembled.faults[0].message
        return _not_taken(sync, "rejected", why, stores=stores, now=now, odds=assembled)
    written, counts = assembled
    share = counts.moved / before.accounts if before is not None and before.accounts else 0.0
    known = asdict(counts) | {"path": written.path, "sha256": written.sha256, "share_moved": share}
    lake = {written.path: written.sha256}
    with stores.ledger.write() as tx:
        under = circumstances.note(tx, stores=stores, at=now)
        if share > stores.settings.sync.brake:
            why = f"it moves {counts.moved:,} accounts, {share:.1%}"
            say = {"moved": counts.moved, "share": round(share, 4), "lake": lake, "under": under}
            held = syncs.move(tx, sync, "held", event="sync.held", at=now, say=say, why=why, **known)
            _report(tx, held, stores=stores, now=now)
            return Held(sync=held)
        say = {"rows": counts.rows, "lake": lake, "under": under}
        return syncs.move(tx, sync, "withdrawing", event="sync.assembled", at=now, say=say, **known)


def _not_taken(
    sync: Sync, state: str, why: str, *, stores: Stores, now: datetime, odds: AtOdds = NONE
) -> NotTaken:
    if not sync.path:  # a roster that was written before this was cut off is nobody's now
        files.remove(stores.lake.root / judge.roster_path(sync))
    event = "sync.rejected" if state == "rejected" else "sync.outdated"
    with stores.ledger.write() as tx:
        say = {"why": why, "under": circumstances.note(tx, stores=stores, at=now)}
        moved = syncs.move(tx, sync, state, event=event, at=now, say=say, why=why[:500])
        _report(tx, moved, stores=stores, now=now, odds=odds)
    return NotTaken(sync=moved)


def _enforce(sync: Sync, before: Sync | None, *, edc: Partner, stores: Stores, now: datetime) -> InForce:
    lost = losses.files(sync, edc, today=_today(edc, now), stores=stores)
    told_so = layout.withdraw(lost, by=sync.id, stores=stores, now=now)
    with stores.ledger.write() as tx:
        outbox.withdraw(tx, lost, told_so, by=sync.id, at=now)
        if before is not None:
            syncs.move(
                tx,
                before,
                "superseded",
                event="sync.superseded",
                at=now,
                say={"by": sync.id},
                superseded_at=now,
            )
        for old in syncs.in_state(tx, "forming", "held"):
            if old.edc == edc.id and syncs.comes_before(tx, old, sync):
                why = f"{sync.id} came into force while this one was {old.state}"
                syncs.move(tx, old, "older", event="sync.outdated", at=now, say={"by": sync.id}, why=why)
        sync = syncs.move(
            tx,
            sync,
            "in-force",
            event="sync.enforced",
            at=now,
            say={
                "accounts": sync.accounts,
                "moved": sync.moved,
                "withdrawn": len(lost),
                "under": circumstances.note(tx, stores=stores, at=now),
            },
            in_force_at=now,
        )
        _report(tx, sync, stores=stores, now=now)
    return InForce(sync=sync, withdrawn=len(lost))


def _go_on(edc: Partner, sync_id: str, *, stores: Stores, now: datetime) -> None:
    """Bring the other syncs of an EDC into force that were cut off while they took files away: what they took
    is recorded with them, and no sync that is looked at sooner would know that it is gone.
    """
    with stores.ledger.read() as tx:
        begun = [one for one in syncs.in_state(tx, "withdrawing") if one.edc == edc.id and one.id != sync_id]
    for one in begun:
        with stores.ledger.read() as tx:
            before = syncs.in_force(tx, edc.id)
            is_older = before is not None and syncs.comes_before(tx, one, before)
        if not is_older:
            _enforce(one, before, edc=edc, stores=stores, now=now)


def _today(edc: Partner, now: datetime) -> date:
    assert edc.zone is not None  # every EDC has one (config.partners)
    return local_date(now, edc.zone)


def _report(tx: Connection, sync: Sync, *, stores: Stores, now: datetime, odds: AtOdds = NONE) -> None:
    """Tell the EDC what became of its sync as a whole: `reports/<sync id>.sync.json`."""
    content = {
        "sync": sync.id,
        "as_of": sync.as_of.isoformat(),
        "parts": sync.parts,
        "state": sync.state,
        "why": sync.why or None,
        "accounts": sync.accounts,
        "moved": sync.moved,
        "in_force_at": None if sync.in_force_at is None else receipt.instant(sync.in_force_at),
        "faults": [receipt.fault(fault) for fault in odds.faults],
        "faults_total": odds.total,
    }
    laid = stores.mailboxes.lay(sync.edc, "reports", f"{sync.id}.sync.json", content)
    events.laid(tx, laid, at=now, about=sync.id)
