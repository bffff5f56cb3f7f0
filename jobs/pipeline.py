"""The way of a drop: which step comes after which, and how far one may go at once.

`WAY` is the order. A drop is taken along it by `advance`, by whoever holds its claim, from wherever it
stands: after a crash the same steps are taken again, and each is safe to take twice.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from config.partners import Partner
from jobs.rules import admission
from jobs.steps import (
    accept,
    arrive,
    checksum,
    collect,
    commit,
    deadline,
    finish,
    parse,
    publish,
    receive,
    short,
    sync,
    tidy,
)
from jobs.stores import attempts
from jobs.stores.attempts import Turn, attempt
from jobs.stores.ledger import claims, drops, failures, runs, syncs
from jobs.stores.ledger.failures import Failure
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from schemas import file_name, sync_file
from schemas.drop import UNDER_WAY, Drop, Stage
from schemas.fault import Fault, shown
from schemas.fault_codes import BY_OPERATOR
from schemas.usage_day import local_date

Clock = Callable[[], datetime]
Parsed = parse.Blocks | sync_file.Part | parse.Unusable
Parsing = Future[Parsed]

WAY = (receive.receive, accept.accept, parse.parse, commit.commit, publish.publish, collect.collect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """How far the drop has come now."""

    drop: Drop


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedElsewhere:
    """Another process takes this drop along at this moment."""

    drop_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The drop or sync has failed too often, and waits for an operator."""

    id: str


def take_up(*, stores: Stores, now: datetime) -> None:
    """At a hub's start, before anybody can upload: free what dead processes had in hand, and begin drops for
    what they left in inbound/, broken off or whole. What else lies between two steps, each sweep finds.
    """
    attempts.take_back(stores=stores, now=now)
    for edc in stores.partners.current().edcs:
        arrive.adopt(edc.id, stores=stores, now=now, parts=True)


def advance(drop_id: str, *, stores: Stores, clock: Clock) -> Advanced | ClaimedElsewhere | Parked:
    """Take a drop as far along its way as it can go by itself, and write its receipts."""
    with attempt(f"drop:{drop_id}", stores=stores, now=clock()) as turn:
        if turn is Turn.PARKED:
            return Parked(id=drop_id)
        if turn is Turn.ELSEWHERE:
            return ClaimedElsewhere(drop_id=drop_id)
        with stores.ledger.read() as tx:
            drop = drops.get(tx, drop_id)
        sender = stores.partners.current().get(drop.partner)
        if drop.stage in UNDER_WAY:
            drop, parsed = take_in(drop, sender, stores=stores, clock=clock)
            if drop.stage is Stage.ACCEPTED and sender is not None:
                drop = load(drop, parsed, sender, stores=stores, clock=clock)
        if drop.receipt_due:
            drop = finish.finish(drop, sender=sender, stores=stores, now=clock())
    _follow_up(drop, sender, stores=stores, clock=clock)
    return Advanced(drop=drop)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOpen:
    """The drop has come to its end already: there is nothing to refuse."""

    drop: Drop


def refuse(
    parked: Failure, *, by: str, why: str, stores: Stores, clock: Clock
) -> Advanced | ClaimedElsewhere | NotOpen:
    """An operator ends a drop that is parked: it is received, if it was not yet, and then refused with a receipt
    that says so. What stops that is raised, and the drop stays parked.
    """
    with claims.claimed(stores.ledger, f"drop:{parked.about}", owner=stores.owner, now=clock()) as mine:
        if not mine:
            return ClaimedElsewhere(drop_id=parked.about)
        with stores.ledger.read() as tx:
            drop = drops.get(tx, parked.about)
        if drop.stage not in UNDER_WAY:
            return NotOpen(drop=drop)
        if drop.stage is Stage.ARRIVED or drop.in_inbound:
            drop = receive.receive(drop, _content(drop, stores), stores=stores, now=clock()).drop
        tidy.of_drop(drop, stores=stores)
        with stores.ledger.write() as tx:
            failures.refuse(tx, parked, by=by, why=why, at=clock())
            if drop.stage is Stage.RECEIVED or drop.stage is Stage.ACCEPTED:
                drop = drops.refuse(tx, drop, (_by_operator(why),), at=clock())
        if drop.receipt_due:
            sender = stores.partners.current().get(drop.partner)
            drop = finish.finish(drop, sender=sender, stores=stores, now=clock())
    return Advanced(drop=drop)


def _by_operator(why: str) -> Fault:
    wanted = "what its operator asks for, and then the file under a new name"
    return Fault(code=BY_OPERATOR, found=shown(why), wanted=wanted)


def take_in(
    drop: Drop, sender: Partner | None, *, stores: Stores, clock: Clock
) -> tuple[Drop, Parsing | None]:
    """Receive a drop and judge it. What it holds, if it was parsed beside that: most of receiving is packing,
    hashing and waiting for the disk.
    """
    content, parsing = None, None
    with ThreadPoolExecutor(1, thread_name_prefix="parse") as beside:
        if drop.stage is Stage.ARRIVED or drop.in_inbound:
            content = _content(drop, stores)
            if content and sender is not None and _may_be_taken(drop, sender, size=len(content)):
                parsing = beside.submit(_parse, drop, content, sender, stores=stores)
            received = receive.receive(drop, content, stores=stores, now=clock())
            if isinstance(received, receive.Vanished):
                return received.drop, None
            drop = received.drop
        if drop.stage is Stage.RECEIVED:
            compared = checksum.compare(drop, content, stores=stores)
            if faults := tuple(one.fault for one in compared if one.fault is not None):
                drop = _refuse(drop, faults, 0, stores=stores, now=clock())
            checksum.note(drop, compared, stores=stores, now=clock())
        if drop.stage is Stage.RECEIVED:
            accepted = accept.accept(drop, sender=sender, stores=stores, now=clock())
            if isinstance(accepted, accept.Refused):
                finish.faults(accepted.drop, accepted.faults, stores=stores)
            drop = accepted.drop
    return drop, parsing


def _content(drop: Drop, stores: Stores) -> bytes | None:
    """The bytes of a drop as they came; None when its file is gone from inbound/ and was never taken in."""
    if drop.stage is not Stage.ARRIVED:
        return stores.archive.read(drop.sha256)
    path = stores.mailboxes.whole(drop.partner, drop.name)
    return path.read_bytes() if path.exists() else None


def _may_be_taken(drop: Drop, sender: Partner, *, size: int) -> bool:
    """Whether it will be accepted, as far as can be told before anything is done with it."""
    judged = admission.judge(drop.name, sender=drop.partner, duns=sender.duns, size=size)
    return not isinstance(judged, Fault)


def _parse(drop: Drop, content: bytes, sender: Partner, *, stores: Stores) -> Parsed:
    name = file_name.parse(drop.name)
    # Or it would not be accepted.
    assert isinstance(name, file_name.FileName)
    assert sender.zone is not None
    return parse.parse(
        content,
        name=name,
        sender=sender,
        limits=stores.settings.limits,
        today=local_date(drop.arrived_at, sender.zone),
    )


def load(drop: Drop, parsing: Parsing | None, sender: Partner, *, stores: Stores, clock: Clock) -> Drop:
    """Commit what is good of an accepted drop. `parsing`: what it holds, where it was parsed before."""
    if parsing is not None:
        parsed = parsing.result()
    else:
        parsed = _parse(drop, stores.archive.read(drop.sha256), sender, stores=stores)
    if isinstance(parsed, parse.Unusable):
        return _refuse(drop, parsed.faults, parsed.rejected, stores=stores, now=clock())
    if isinstance(parsed, sync_file.Part):
        return sync.keep(drop, parsed, stores=stores, now=clock()).drop
    finish.faults(drop, parsed.faults, stores=stores)
    short.note(drop, parsed.blocks, faults=parsed.faults, stores=stores)
    committed = commit.commit(
        drop,
        parsed.blocks,
        faults=parsed.faults,
        rejected=parsed.rejected,
        edc=sender,
        stores=stores,
        now=clock(),
    )
    if isinstance(committed, commit.AllLate):
        rejected = parsed.rejected + len(parsed.blocks)
        return _refuse(drop, committed.faults, rejected, stores=stores, now=clock())
    return committed.drop


def _refuse(drop: Drop, faults: tuple[Fault, ...], rejected: int, *, stores: Stores, now: datetime) -> Drop:
    finish.faults(drop, faults, stores=stores)
    with stores.ledger.write() as tx:
        return drops.refuse(tx, drop, faults, blocks_rejected=rejected, at=now)


def _follow_up(drop: Drop, sender: Partner | None, *, stores: Stores, clock: Clock) -> None:
    """What a loaded drop sets off: its sync, or a new report of a day that was judged already."""
    if drop.stage is not Stage.LOADED or sender is None:
        return
    if drop.sync_id:
        with stores.ledger.read() as tx:
            found = syncs.get(tx, drop.sync_id)
        if found.state in UNSETTLED:
            settle(found, edc=sender, stores=stores, clock=clock)
    for day in drop.usage_days if drop.blocks_late else ():
        with stores.ledger.read() as tx:
            judged = runs.verdict(tx, edc=sender.id, day=day)
        if judged is not None:
            deadline.judge(sender, day, stores=stores, now=clock())


UNSETTLED = sync.UNSETTLED


def settle(found: Sync, *, edc: Partner, stores: Stores, clock: Clock) -> sync.Settled | Parked:
    """Bring a complete sync into force if nothing speaks against it; then write withdrawn files again."""
    with attempt(f"sync:{found.id}", stores=stores, now=clock()) as turn:
        if turn is Turn.PARKED:
            return Parked(id=found.id)
        if turn is Turn.ELSEWHERE:
            return sync.Busy()
        settled = sync.settle(found, edc=edc, stores=stores, now=clock())
        if isinstance(settled, sync.InForce) and settled.withdrawn:
            publish.publish(edc, stores=stores, now=clock())
        return settled
