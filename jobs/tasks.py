"""What a worker process does: one function a kind of work, over small values, safe to run twice.

Each process opens the stores of its home once, when it starts.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import structlog

from config import log as log_setup
from config import settings as settings_file
from config.home import Home
from config.settings import Settings
from jobs import pipeline
from jobs.pipeline import Clock
from jobs.steps import checksum, deadline, publish
from jobs.stores.attempts import Turn, attempt
from jobs.stores.ledger import outbox, publications, runs, syncs
from jobs.stores.opened import Stores
from schemas.usage_day import UsageDay

log = structlog.get_logger()

_opened: dict[Path, Stores] = {}


def prepare(root: Path, settings: Settings, console: bool = False) -> None:
    """Get a new worker process ready: its log, shown on the terminal where the hub's is, and the stores."""
    # A signal to the whole group is for the hub, which lets its workers end what they do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_leave_with_the_hub, name="hub-watch", daemon=True).start()
    home = Home(root)
    log_setup.configure(home, settings, console=console)
    opened = Stores.open(home, settings)
    lend(opened)
    Finalize(None, opened.close, exitpriority=1)  # a worker that ends in order has not died


def _leave_with_the_hub() -> None:
    """End this worker when the hub has died without a word: nobody would ever give it work again."""
    hub = multiprocessing.parent_process()
    if hub is not None:
        hub.join()
        os._exit(1)


def stores(root: Path) -> Stores:
    """The stores of a home, opened once a process."""
    if root not in _opened:
        _opened[root] = Stores.open(Home(root), settings_file.load(root))
    return _opened[root]


def lend(opened: Stores) -> None:
    """Let tasks that run in this process use stores that are open already."""
    _opened.setdefault(opened.home.root, opened)


def give_back(opened: Stores) -> None:
    """The stores are about to be closed: if it is they that tasks use, they do so no longer."""
    if _opened.get(opened.home.root) is opened:
        del _opened[opened.home.root]


def advance(root: Path, drop_id: str, clock: Clock) -> str:
    """Take a drop along its way. The stage it is at then; empty when another process takes it, `Parked` when
    it has failed too often.
    """
    advanced = pipeline.advance(drop_id, stores=stores(root), clock=clock)
    if isinstance(advanced, pipeline.Advanced):
        return str(advanced.drop.stage)
    return "Parked" if isinstance(advanced, pipeline.Parked) else ""


def settle(root: Path, sync_id: str, clock: Clock) -> str:
    """Bring a complete sync into force, or not. The kind of outcome."""
    opened = stores(root)
    with opened.ledger.read() as tx:
        sync = syncs.get(tx, sync_id)
    edc = opened.partners.current().get(sync.edc)
    if edc is None or sync.state not in pipeline.UNSETTLED:
        return sync.state
    return type(pipeline.settle(sync, edc=edc, stores=opened, clock=clock)).__name__


def check(root: Path, partner: str, clock: Clock) -> str:
    """Hold the partner's checksums that came late to their files. How many those were."""
    return str(len(checksum.settle(partner, stores=stores(root), now=clock())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The time a publication of an EDC is for: a quarter hour, or a deadline."""

    edc: str
    at: datetime

    @property
    def key(self) -> str:
        return f"{self.edc}@{self.at.isoformat()}"


def _is_owed(edc: str, opened: Stores) -> bool:
    """Whether files are recorded that have not appeared, or withdrawn that are not written again."""
    with opened.ledger.read() as tx:
        return bool(publications.unfinished(tx, edc) or outbox.rewrites_due(tx, edc=edc))


def publish_slot(root: Path, slot: Slot, clock: Clock) -> str:
    """The publication of a slot, once; and another when one was cut off since. The kind of outcome."""
    opened = stores(root)
    edc = opened.partners.current().get(slot.edc)
    if edc is None:
        return "Gone"

    def work() -> dict[str, Any] | None:
        outcome = publish.publish(edc, stores=opened, now=clock())
        if isinstance(outcome, publish.Withheld) and outcome.waiting:
            log.warning("publication.withheld", partner=edc.id, why=outcome.why)
        return None if isinstance(outcome, publish.Busy) else {"outcome": type(outcome).__name__}

    said = once("publish", slot.key, work, opened=opened, clock=clock)
    if said == "Done" and _is_owed(edc.id, opened):
        said = type(publish.publish(edc, stores=opened, now=clock())).__name__
    _let_in(edc.id, root, clock)
    return said


def _let_in(edc_id: str, root: Path, clock: Clock) -> None:
    """Bring on the syncs of an EDC that were complete while its files were being published: they need not
    wait for the next sweep.
    """
    with stores(root).ledger.read() as tx:
        waiting = [one.id for one in syncs.in_state(tx, "complete") if one.edc == edc_id]
    for sync_id in waiting:
        settle(root, sync_id, clock)


def judge(root: Path, edc_id: str, day: date, clock: Clock) -> str:
    """The verdict on a usage day, once, and a publication of what was loaded for it."""
    opened = stores(root)
    edc = opened.partners.current().get(edc_id)
    if edc is None:
        return "Gone"

    def work() -> dict[str, Any] | None:
        judged = deadline.judge(edc, day, stores=opened, now=clock())
        if isinstance(judged, deadline.Waits):
            log.warning("deadline.awaited", partner=edc.id, about=f"{edc.id}/{day}", drops=judged.drops)
        if not isinstance(judged, deadline.Judged):
            return None
        publish.publish(edc, stores=opened, now=clock())
        return {"verdict": judged.verdict["verdict"]}

    said = once("deadline", f"{edc_id}/{day}", work, opened=opened, clock=clock)
    _let_in(edc.id, root, clock)
    return said


def report(root: Path, edc_id: str, day: date, clock: Clock) -> str:
    """A usage day that was judged is reported anew: something was loaded of it since."""
    opened = stores(root)
    edc = opened.partners.current().get(edc_id)
    if edc is None:
        return "Gone"
    return type(deadline.judge(edc, day, stores=opened, now=clock())).__name__


def warn(root: Path, edc_id: str, day: date, at: time, clock: Clock) -> str:
    """A warning before the deadline, once."""
    opened = stores(root)
    edc = opened.partners.current().get(edc_id)
    if edc is None or edc.zone is None:
        return "Gone"
    usage_day = UsageDay(day, edc.zone)

    def work() -> dict[str, Any]:
        warned = deadline.warn(edc, usage_day, f"{at:%H:%M}", stores=opened, now=clock())
        return {"outcome": type(warned).__name__}

    return once("warning", f"{edc_id}/{day}/{at:%H:%M}", work, opened=opened, clock=clock)


def once(
    job: str, key: str, work: Callable[[], dict[str, Any] | None], *, opened: Stores, clock: Clock
) -> str:
    """Do work that is to be done once for its key, whichever process comes first. Work that answers
    None is not done yet, and is tried again at the next sweep.

    What came of it: the first word of the work's own answer; `Done` if it was done before, `Busy` if another
    process does it, `Waits` if it is not done yet.
    """
    with opened.ledger.read() as tx:
        if runs.is_done(tx, job, key):
            return "Done"
    with attempt(f"{job}:{key}", stores=opened, now=clock()) as turn:
        if turn is not Turn.MINE:
            return "Busy"
        with opened.ledger.write() as tx:
            if runs.is_done(tx, job, key):
                return "Done"
            runs.began(tx, job, key, at=clock())
        said = work()
        if said is None:
            return "Waits"
        with opened.ledger.write() as tx:
            runs.ended(tx, job, key, at=clock(), **said)
    return str(next(iter(said.values())))
