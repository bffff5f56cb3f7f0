"""When things are done: an upload's end wakes its drop at once, and a sweep a minute finds all that is due.

A sweep decides by the ledger and the clock alone what should have been done by now. So nothing depends on
the hub having been up at the time: after a night off, one sweep catches up.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from datetime import datetime, timedelta
from typing import Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from config.partners import Partner
from jobs import tasks
from jobs.executor import Inline, make_executor
from jobs.pipeline import UNSETTLED, Clock
from jobs.rules import deadlines
from jobs.steps import arrive, retain
from jobs.stores.ledger import drops, runs, syncs
from jobs.stores.opened import Stores
from schemas.drop import UNDER_WAY

log = structlog.get_logger()


class Schedule:
    """Hands out work to an executor, and knows what is due. Used by one process of a home."""

    def __init__(self, stores: Stores, clock: Clock, *, inline: bool = False) -> None:
        self.stores = stores
        self.clock = clock
        self._root = stores.home.root
        self._inline = inline
        self._executor = self._make()
        self._under_way: dict[str, Future[Any]] = {}
        self._lock = threading.RLock()
        self._triggers: BackgroundScheduler | None = None

    def start(self) -> None:
        """Begin to sweep by the clock: every minute, and on the dot of each deadline and warning."""
        triggers = BackgroundScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        triggers.add_job(self.sweep, IntervalTrigger(minutes=1, timezone="UTC"), id="sweep")
        settings = self.stores.settings
        for zone in sorted({str(edc.zone) for edc in self.stores.partners.current().edcs}):
            for at in (*settings.deadline.warnings, settings.deadline.time):
                trigger = CronTrigger(hour=at.hour, minute=at.minute, timezone=zone)
                triggers.add_job(self.sweep, trigger, id=f"sweep {at:%H:%M} {zone}")
        triggers.start()
        self._triggers = triggers

    def stop(self, *, seconds: float) -> int:
        """Stop sweeping and let what is under way end, for so long at most; how many tasks did not."""
        if self._triggers is not None:
            self._triggers.shutdown(wait=False)
        left = self.settle_down(seconds=seconds)
        self._executor.shutdown(wait=not left, cancel_futures=True)
        if self._inline:
            tasks.give_back(self.stores)
        return left

    def settle_down(self, *, seconds: float | None = None) -> int:
        """Wait until nothing is under way; how many tasks are, when the time is up."""
        with self._lock:
            futures = list(self._under_way.values())
        return len(wait(futures, timeout=seconds).not_done)

    def wake(self, drop_id: str) -> None:
        """Take a drop along its way."""
        self._submit(f"drop:{drop_id}", tasks.advance, drop_id)

    def sweep(self, *, to_the_end: bool = False) -> None:
        """Begin all that is due. `to_the_end`: in order, and wait for it."""
        now = self.clock()
        edcs = list(self.stores.partners.current().edcs)
        for stage in (self._drops, self._syncs, self._deadlines, self._publications):
            stage(edcs, now)
            if to_the_end:
                self.settle_down()
        retain.retain(stores=self.stores, now=now)
        arrive.discard_broken(stores=self.stores, now=now)

    def _drops(self, edcs: list[Partner], now: datetime) -> None:
        for edc in edcs:
            arrive.adopt(edc.id, stores=self.stores, now=now, parts=False)
        arrive.wait_no_longer(stores=self.stores, now=now)
        with self.stores.ledger.read() as tx:
            waiting = [*drops.at_stage(tx, UNDER_WAY), *drops.receipts_due(tx)]
        for drop in waiting:
            self.wake(drop.id)

    def _syncs(self, _: list[Partner], now: datetime) -> None:
        with self.stores.ledger.read() as tx:
            unsettled = syncs.in_state(tx, *UNSETTLED)
        for sync in unsettled:
            self._submit(f"sync:{sync.id}", tasks.settle, sync.id)

    def _deadlines(self, edcs: list[Partner], now: datetime) -> None:
        setting = self.stores.settings.deadline
        for edc in edcs:
            assert edc.zone is not None
            with self.stores.ledger.read() as tx:
                judged = runs.last_judged(tx, edc.id)
                since = drops.first_arrival(tx, edc.id)
            due = deadlines.days_due(
                now=now, at=setting.time, zone=edc.zone, judged=judged, known_since=since
            )
            for day in due:
                self._submit(f"deadline:{edc.id}/{day.date}", tasks.judge, edc.id, day.date)
            if since is None:
                continue
            warnings = deadlines.warnings_due(
                now=now, at=setting.time, warnings=setting.warnings, zone=edc.zone
            )
            for day, at in warnings:
                self._submit(f"warning:{edc.id}/{day.date}/{at}", tasks.warn, edc.id, day.date, at)

    def _publications(self, edcs: list[Partner], now: datetime) -> None:
        minutes = self.stores.settings.publish.every_minutes
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        at = midnight + (now - midnight) // timedelta(minutes=minutes) * timedelta(minutes=minutes)
        for edc in edcs:
            self._submit(f"publish:{edc.id}", tasks.publish_slot, tasks.Slot(edc=edc.id, at=at))

    def _submit(self, key: str, task: Callable[..., str], *given: Any) -> None:
        """Hand out a task, unless it is under way already."""
        with self._lock:
            if key in self._under_way:
                return
            try:
                future = self._executor.submit(task, self._root, *given, self.clock)
            except BrokenProcessPool:
                self._rebuild()
                future = self._executor.submit(task, self._root, *given, self.clock)
            self._under_way[key] = future
        future.add_done_callback(lambda done: self._done(key, done))

    def _done(self, key: str, future: Future[Any]) -> None:
        with self._lock:
            self._under_way.pop(key, None)
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            with self._lock:
                self._rebuild()
        elif error is not None:
            log.error("work.failed", task=key, exc_info=error)

    def _rebuild(self) -> None:
        """A worker died and took the pool with it. The ledger knows what is to be taken up again."""
        if self._inline or not getattr(self._executor, "_broken", False):
            return
        log.error("pool.rebuilt")
        self._executor.shutdown(wait=False)
        self._executor = self._make()

    def _make(self) -> Executor:
        if self._inline:
            tasks.lend(self.stores)
            return Inline()
        return make_executor(self.stores.settings, prepare=tasks.prepare, given=(self._root,))
