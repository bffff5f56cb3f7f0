"""What needs an operator, each with the command to run. By the ledger and the partners' files."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from exchange.tonight import OfEdc, Tonight
from jobs.rules import expiry
from jobs.stores import place
from jobs.stores.ledger import drops, failures, publications, standing, syncs
from jobs.stores.opened import Stores
from schemas import receipt
from schemas.drop import UNDER_WAY

PATIENCE = timedelta(minutes=5)  # after which what should go on by itself is looked into


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that an operator has to see to: what, and the command that does it or shows more; `then`:
    the commands of which one is to follow, where there is a choice.
    """

    code: str
    partner: str
    what: str
    run: str
    then: tuple[str, ...] = ()


def needed(seen: Tonight, *, stores: Stores, stopped: bool = False) -> tuple[Need, ...]:
    """All that needs an operator. `stopped`: a server ran on this home, and does not now."""
    with stores.ledger.read() as tx:
        troubles = [*_troubles(stores)] or [*_waiting(tx)]
        needs = [*troubles, *_stopped(tx), *_unmoved(tx, seen.at), *_held_syncs(tx)]
        for edc in seen.edcs:
            needs += [*_unsaid(edc), *_held_back(edc, tx), *_overdue(edc, tx, stores=stores, now=seen.at)]
    return (
        *_closed(stopped=stopped),
        *needs,
        *_ending_keys(stores, seen.at.date()),
        *_ending_exceptions(stores, seen.at.date()),
    )


def tried_again(stores: Stores) -> tuple[dict[str, Any], ...]:
    """What has failed and needs nobody yet, ready for JSON: the next sweep tries it again, and parks it when it
    has failed three times.
    """
    with stores.ledger.read() as tx:
        return tuple(
            {
                "about": one.about,
                "partner": one.partner,
                "stage": str(drops.get(tx, one.about).stage) if one.task.startswith("drop:") else "",
                "times": one.times,
                "why": one.why,
                "last_at": receipt.instant(one.last_at),
            }
            for one in failures.tried(tx)
        )


def _closed(*, stopped: bool) -> Iterator[Need]:
    """Nobody can log in: of now, whichever usage day is looked at."""
    if stopped:
        what = "no server is running on this home: nobody can log in, and nothing goes on by itself"
        yield _need("no-server", "", what, "serve")


def _troubles(stores: Stores) -> Iterator[Need]:
    """The disks cannot be worked with: nothing is taken in, loaded or published."""
    for trouble in place.look(stores):
        what = f"{trouble.what}: uploads are refused and loads wait, until that is mended"
        yield _need(trouble.code, "", what, "retain" if trouble.code == "disk-full" else "status")


def _waiting(tx: Connection) -> Iterator[Need]:
    """What its place stopped although the disks look sound: a quota, one file too large, a folder closed to us."""
    of_partner: dict[str, list[failures.Failure]] = {}
    for failure in failures.waiting(tx):
        of_partner.setdefault(failure.partner, []).append(failure)
    for partner, them in sorted(of_partner.items()):
        named = [one.about if one.task.startswith(("drop:", "sync:")) else one.task for one in them]
        last = max(them, key=lambda one: one.last_at)
        what = f"{_few(named)} cannot go on: {last.why}; all goes on by itself then, or at once with this"
        yield _need("no-room", partner, what, "sweep")


def _stopped(tx: Connection) -> Iterator[Need]:
    """Work that failed again and again: what is left alone for it, and what is still tried."""
    for failure in failures.parked(tx):
        what = f"{failure.about} failed {failure.times} times and is parked: {failure.why}"
        refuse = f'retry {failure.about} --refuse --why "WHAT ITS SENDER IS TOLD"'
        choice = (refuse,) if failure.task.startswith("drop:") else ()
        yield _need("parked", failure.partner, what, f"retry {failure.about}", *choice)
    for failure in failures.failing(tx):
        what = f"{failure.task} fails again and again, {failure.times} times by now: {failure.why}"
        yield _need("work-fails", failure.partner, what, "sweep")


def _unmoved(tx: Connection, now: datetime) -> Iterator[Need]:
    """Drops, receipts and syncs that should have moved on by themselves by now."""
    before = now - PATIENCE
    told = {failure.about for failure in (*failures.parked(tx), *failures.waiting(tx))}
    waiting = [
        drop for drop in drops.at_stage(tx, UNDER_WAY) if drop.arrived_at <= before and drop.id not in told
    ]
    unsaid = [
        drop
        for drop in drops.receipts_due(tx)
        if (drop.ended_at is None or drop.ended_at <= before) and drop.id not in told
    ]
    for partner in sorted({drop.partner for drop in (*waiting, *unsaid)}):
        mine = [drop.id for drop in waiting if drop.partner == partner]
        if mine:
            yield _need("drops-wait", partner, f"{_count(len(mine), 'drop')} waiting: {_few(mine)}", "sweep")
        mine = [drop.id for drop in unsaid if drop.partner == partner]
        if mine:
            yield _need(
                "receipts-wait", partner, f"{_count(len(mine), 'receipt')} unwritten: {_few(mine)}", "sweep"
            )
    for sync in syncs.in_state(tx, "complete", "withdrawing"):
        if (sync.completed_at is None or sync.completed_at <= before) and sync.id not in told:
            yield _need("sync-waits", sync.edc, f"{sync.id} is complete and not settled", "sweep")


def _held_syncs(tx: Connection) -> Iterator[Need]:
    for sync in syncs.in_state(tx, "held"):
        choice = (f"sync approve {sync.id}", f'sync refuse {sync.id} --why "WHAT ITS EDC IS TOLD"')
        yield _need("sync-held", sync.edc, f"{sync.id} is held: {sync.why}", f"sync diff {sync.id}", *choice)


def _unsaid(edc: OfEdc) -> Iterator[Need]:
    """Nothing says who may see what of the EDC, or what does is too old."""
    waits = f"; {_count(edc.waiting, 'load')} withheld" if edc.waiting else ""
    run = f"sync list --edc {edc.edc}"
    if edc.sync is None:
        yield _need("no-sync", edc.edc, f"no sync is in force: nothing is published{waits}", run)
    elif edc.sync_too_old:
        what = f"{edc.sync.id}, in force, is {edc.sync_age} days old: nothing is published{waits}"
        yield _need("sync-too-old", edc.edc, what, run)


def _held_back(edc: OfEdc, tx: Connection) -> Iterator[Need]:
    for duns, count in edc.unclaimed.items():
        what = f"{_count(count, 'block')} for an EGS that is no partner: {duns}"
        run = f'partner add ID --role egs --duns {duns} --name "NAME" --key FILE'
        yield _need("unclaimed", edc.edc, what, run)
    for drop_id, count in standing.held_late(tx, edc=edc.edc).items() if edc.held_late else ():
        yield _need(
            "late-held", edc.edc, f"{_count(count, 'late block')} held", f"publish --release {drop_id}"
        )


def _overdue(edc: OfEdc, tx: Connection, *, stores: Stores, now: datetime) -> Iterator[Need]:
    """What a running hub would have done."""
    if edc.sync is not None and not edc.sync_too_old and edc.waiting:
        slots = timedelta(minutes=2 * stores.settings.publish.every_minutes)
        _, oldest = standing.unpublished(tx, edc=edc.edc, after_seq=publications.cursor(tx, edc.edc))
        if oldest is not None and oldest <= now - slots:
            yield _need(
                "publication-overdue", edc.edc, f"{_count(edc.waiting, 'load')} not published", "sweep"
            )
    if edc.verdict is None and now > edc.deadline + PATIENCE and not edc.under_way:
        first = drops.first_arrival(tx, edc.edc)
        if first is not None and first <= edc.deadline:
            yield _need("verdict-overdue", edc.edc, f"{edc.usage_day} is not judged", "sweep")


def _ending_keys(stores: Stores, today: date) -> Iterator[Need]:
    """Partners that will soon stand before a closed door: the last of their keys ends."""
    for partner in stores.partners.current().by_id.values():
        last = expiry.last_day(key.expires for key in (*partner.keys, *partner.authorities))
        left = None if last is None or partner.disabled else expiry.days_left(last, today=today)
        if left is None or left > max(expiry.AHEAD):
            continue
        when = "today" if left == 0 else "in 1 day" if left == 1 else f"in {left} days"
        what = f"its last key expired on {last}: it cannot log in"
        if left >= 0:
            what = f"its last key expires on {last}, {when}"
        yield _need("key-expires", partner.id, what, f"partner key add {partner.id} FILE")


def _ending_exceptions(stores: Stores, today: date) -> Iterator[Need]:
    """Partners whose old clients will soon find nothing in common with the hub."""
    for partner in stores.partners.current().by_id.values():
        if partner.legacy is None or partner.disabled:
            continue
        left = expiry.days_left(partner.legacy.until, today=today)
        if 0 <= left <= max(expiry.AHEAD):
            what = f"its exception for old algorithms ends on {partner.legacy.until}"
            yield _need("legacy-ends", partner.id, what, f"doctor {partner.id}")


def _need(code: str, partner: str, what: str, run: str, *then: str) -> Need:
    choice = tuple(f"meterhub {one}" for one in then)
    return Need(code=code, partner=partner, what=what, run=f"meterhub {run}", then=choice)


def _count(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count:,} {noun}s are"


def _few(them: list[str]) -> str:
    return ", ".join(them[:3]) + (" …" if len(them) > 3 else "")
