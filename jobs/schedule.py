"""When things are done: an upload's end wakes its drop at once, and a sweep a minute finds all that is due.

A sweep decides by the ledger and the clock alone what should have been done by now. So nothing depends on
the hub having been up at the time: after a night off, one sweep catches up.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from config.partners import Partner
from jobs import executor, tasks
from jobs.pipeline import UNSETTLED, Clock
from jobs.rules import deadlines
from jobs.steps import arrive, checksum, expiry, retain, seal, sheets, sync, tidy, visit
from jobs.stores import attempts, place
from jobs.stores.ledger import LedgerUnreachable, drops, runs, syncs
from jobs.stores.opened import Stores
from jobs.stores.place import Trouble
from schemas.drop import UNDER_WAY
from schemas.usage_day import local_date

log = structlog.get_logger()

# A load of a day that was judged reports it at once; for so long a sweep looks whether that was cut off.
_REPORTED_FOR = timedelta(days=60)
_CLAIMS_ARE_FREE = timedelta(seconds=1)  # after the death of the process that held them


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A task has ended. `key` says which: its kind and what it was about, `drop:D130902-00042`."""

    key: str
    outcome: str = ""  # what the task answered; empty when it failed
    error: BaseException | None = None


class Schedule:
    """Hands out work to an executor, and knows what is due. Used by one process of a home."""

    def __init__(
        self,
        stores: Stores,
        clock: Clock,
        *,
        inline: bool = False,
        console: bool = False,
        told: Callable[[Done], None] = lambda _: None,
    ) -> None:
        """`told` is called with each task that has ended, in whatever thread that is noticed. `console`:
        workers show their log on the terminal, too.
        """
        self.stores = stores
        self.clock = clock
        self._root = stores.home.root
        self._inline = inline
        self._console = console
        self._told = told
        self._executor = self._make()
        self._under_way: dict[str, Future[Any]] = {}
        self._failed: set[str] = set()  # stages of sweeps
        self._lock = threading.RLock()
        self._ended = threading.Condition(self._lock)
        self._sweeping = threading.Lock()
        self._stopping = False
        self._triggers: BackgroundScheduler | None = None

    def start(self) -> None:
        """Begin to sweep: now, every minute, and on the dot of each deadline and warning."""
        triggers = BackgroundScheduler(
            timezone="UTC",
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        every_minute = IntervalTrigger(minutes=1, timezone="UTC")
        triggers.add_job(self._sweep, every_minute, id="sweep", next_run_time=datetime.now(UTC))
        settings = self.stores.settings
        for zone in sorted({str(edc.zone) for edc in self.stores.partners.current().edcs}):
            for at in (*settings.deadline.warnings, settings.deadline.time):
                trigger = CronTrigger(hour=at.hour, minute=at.minute, timezone=zone)
                triggers.add_job(self._sweep, trigger, id=f"sweep {at:%H:%M} {zone}")
        triggers.start()
        self._triggers = triggers

    def stop(self, *, seconds: float | None) -> int:
        """Stop sweeping, and let what workers have begun end, for so long at most. What no worker has begun
        is left for the next start, as is what has not ended: how many loads that is.
        """
        with self._lock:
            self._stopping = True
            waiting = [key for key, future in list(self._under_way.items()) if future.cancel()]
        if self._triggers is not None:
            self._triggers.shutdown(wait=False)
        left = self.settle_down(seconds=seconds)
        if left or executor.is_broken(self._executor):
            self._abandon()
        else:
            self._executor.shutdown()
        with self._sweeping:  # whoever sweeps still, ends first
            if self._inline:
                tasks.give_back(self.stores)
        return left + sum(key.startswith("drop:") for key in waiting)

    def settle_down(self, *, to: int = 0, seconds: float | None = None) -> int:
        """Wait until at most `to` tasks are under way; how many are, then or when the time is up."""
        with self._ended:
            self._ended.wait_for(lambda: len(self._under_way) <= to, timeout=seconds)
            return len(self._under_way)

    def wake(self, drop_id: str) -> None:
        """Take a drop along its way; while the place is in trouble, a later sweep does."""
        if not place.look(self.stores):
            self._submit(f"drop:{drop_id}", tasks.advance, drop_id)

    def sweep(self, *, to_the_end: bool = False) -> tuple[Trouble, ...]:
        """Begin all that is due. `to_the_end`: in order, and wait for it.

        Each stage stands alone: one that fails is told, and the others go on. While the place is in trouble,
        which is the answer, only what makes room is done.
        """
        with self._sweeping:
            now = self.clock()
            troubles = place.look_closely(self.stores)
            if troubles:
                log.error("work.waits", why="; ".join(trouble.what for trouble in troubles))
            edcs = list(self.stores.partners.current().edcs)
            for name, stage in self._stages(edcs, now, troubles):
                if self._stopping:
                    break
                self._stand_alone(name, stage, now)
                if to_the_end:
                    self.settle_down()
            return troubles

    def _stages(
        self, edcs: list[Partner], now: datetime, troubles: tuple[Trouble, ...]
    ) -> Iterator[tuple[str, Callable[[], object]]]:
        """The stages of a sweep in their order, each with its name."""
        stores = self.stores
        if any(trouble.code != "disk-full" for trouble in troubles):
            return
        if not troubles:
            yield "config", partial(seal.note, stores=stores, now=now)
            for edc in edcs:
                yield f"adopt/{edc.id}", partial(arrive.adopt, edc.id, stores=stores, now=now, parts=False)
            yield "rename", partial(arrive.wait_no_longer, stores=stores, now=now)
            yield "drops", self._drops
            yield "checksums", partial(self._checksums, edcs)
            yield "complete", partial(sync.complete, stores=stores, now=now)
            yield "syncs", self._syncs
            for edc in edcs:
                yield f"deadlines/{edc.id}", partial(self._deadlines, edc, now)
            yield "publications", partial(self._publications, edcs, now)
            yield "sheets", partial(sheets.write, stores=stores, now=now)
            yield "seal", partial(seal.seal, stores=stores, now=now)
            yield "tidy", partial(tidy.tidy, stores=stores, now=now)
        yield "retain", partial(retain.retain, stores=stores, now=now)
        yield "discard", partial(arrive.discard_broken, stores=stores, now=now)
        for edc in edcs:
            yield f"checksums/{edc.id}", partial(checksum.discard, edc.id, stores=stores, now=now)
        yield "expiry", partial(expiry.warn, stores=stores, now=now)
        yield "visits", partial(visit.forget, stores=stores, now=now)

    def _stand_alone(self, name: str, stage: Callable[[], object], now: datetime) -> None:
        """Do a stage of a sweep. What stops it is told, as a task's failure is."""
        task = f"sweep:{name}"
        try:
            stage()
            if task in self._failed:
                attempts.went_well(task, stores=self.stores)
                self._failed.remove(task)
        except Exception as error:  # noqa: BLE001 - it is told
            self._tell_of(task, error)
            self._failed.add(task)
            with suppress(LedgerUnreachable):  # which the next sweep tells
                attempts.note(task, error, stores=self.stores, now=now)
            self._told(Done(key=task, error=error))

    def _tell_of(self, task: str, error: BaseException) -> None:
        """Log that work stopped, by a fault of its own or of its place."""
        if place.is_at_fault(error, self.stores):
            log.error("work.waits", task=task, why=place.told(error, self.stores))
        else:
            log.error("work.failed", task=task, exc_info=error)

    def _sweep(self) -> None:
        """A sweep by the clock. What stops it is told, and the next one begins all the same."""
        try:
            self.sweep()
        except Exception:  # nobody waits for it
            log.exception("work.failed", task="sweep")

    def _drops(self) -> None:
        with self.stores.ledger.read() as tx:
            waiting = [*drops.at_stage(tx, UNDER_WAY), *drops.receipts_due(tx)]
        for drop in waiting:
            self.wake(drop.id)

    def _checksums(self, edcs: list[Partner]) -> None:
        for edc in (one for one in edcs if checksum.has_late(one.id, stores=self.stores)):
            self._submit(f"checksums:{edc.id}", tasks.check, edc.id)

    def _syncs(self) -> None:
        with self.stores.ledger.read() as tx:
            unsettled = [found.id for found in syncs.in_state(tx, *UNSETTLED)]
        for sync_id in unsettled:
            self._submit(f"sync:{sync_id}", tasks.settle, sync_id)

    def _deadlines(self, edc: Partner, now: datetime) -> None:
        setting = self.stores.settings.deadline
        assert edc.zone is not None
        with self.stores.ledger.read() as tx:
            judged = runs.judged(tx, edc.id)
            since = drops.first_arrival(tx, edc.id)
        due = deadlines.days_due(now=now, at=setting.time, zone=edc.zone, judged=judged, known_since=since)
        for day in due:
            self._submit(f"deadline:{edc.id}/{day.date}", tasks.judge, edc.id, day.date)
        if since is None:
            return
        with self.stores.ledger.read() as tx:
            told_before = runs.outdated(tx, edc.id, since=local_date(now, edc.zone) - _REPORTED_FOR)
        for date in told_before:
            self._submit(f"report:{edc.id}/{date}", tasks.report, edc.id, date)
        warnings = deadlines.warnings_due(now=now, at=setting.time, warnings=setting.warnings, zone=edc.zone)
        for day, at in warnings:
            self._submit(f"warning:{edc.id}/{day.date}/{at}", tasks.warn, edc.id, day.date, at)

    def _publications(self, edcs: list[Partner], now: datetime) -> None:
        minutes = self.stores.settings.publish.every_minutes
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        at = midnight + (now - midnight) // timedelta(minutes=minutes) * timedelta(minutes=minutes)
        for edc in edcs:
            self._submit(f"publish:{edc.id}", tasks.publish_slot, tasks.Slot(edc=edc.id, at=at))

    def _submit(self, key: str, task: Callable[..., str], *given: Any) -> None:
        """Hand out a task, unless it is under way already. A hub that stops leaves it for its next start."""
        with self._lock:
            if key in self._under_way or self._stopping:
                return
            try:
                future = self._executor.submit(task, self._root, *given, self.clock)
            except BrokenProcessPool:
                self._rebuild()
                future = self._executor.submit(task, self._root, *given, self.clock)
            self._under_way[key] = future
        future.add_done_callback(lambda done: self._done(key, done))

    def _done(self, key: str, future: Future[Any]) -> None:
        try:
            if future.cancelled():
                return
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                with self._lock:
                    self._rebuild()
            elif error is not None:
                self._tell_of(key, error)
            self._told(Done(key=key, outcome="" if error else future.result(), error=error))
        finally:
            with self._ended:
                self._under_way.pop(key, None)
                self._ended.notify_all()
            if not future.cancelled() and isinstance(future.exception(), BrokenProcessPool):
                self._sweep_soon()

    def _sweep_soon(self) -> None:
        """Take up what a dead worker left, when its claims are free: at once, or nearly so."""
        if self._triggers is not None and not self._stopping:
            soon = datetime.now(UTC) + _CLAIMS_ARE_FREE
            self._triggers.add_job(self._sweep, DateTrigger(soon), id="sweep soon", replace_existing=True)

    def _rebuild(self) -> None:
        """A worker died and took the pool with it. The ledger knows what is to be taken up again."""
        if self._stopping or not executor.is_broken(self._executor):
            return
        log.error("pool.rebuilt")
        self._abandon()
        self._executor = self._make()

    def _abandon(self) -> None:
        """Let go of the pool. Those of its processes that live still are ended, and have not failed."""
        self.stores.owner.put_away(executor.abandon(self._executor))

    def _make(self) -> Executor:
        if self._inline:
            tasks.lend(self.stores)
            return executor.Inline()
        settings = self.stores.settings
        given = (self._root, settings, self._console)
        return executor.make_executor(settings, prepare=tasks.prepare, given=given)
