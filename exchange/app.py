"""The wiring: one hub of one home, its doors, its schedule and its clock put together. Nowhere else are they."""

import asyncio
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import structlog

from config import log as log_setup
from config.errors import OperatorError
from config.home import Home
from config.partners import Partner
from config.settings import Settings
from exchange import keys, lock
from exchange.addresses import Source
from exchange.bans import Bans
from exchange.desk import DISK_FULL, Read, Refused, SessionInfo
from exchange.server import Doors
from jobs import executor, pipeline
from jobs.schedule import Schedule
from jobs.steps import arrive, collect, look, visit
from jobs.stores import place
from jobs.stores.books import Books, Entry
from jobs.stores.ledger import LedgerUnreachable, drops
from jobs.stores.opened import Stores
from schemas.drop import IN_INBOUND, UNDER_WAY, Drop, Stage
from schemas.visit import Habit, TurnedAway, Visit

log = structlog.get_logger()

# That loads have for their end, beside the doors' 30: a service manager kills after 90. What has not ended
# is taken up at the next start.
DRAIN_SECONDS = 50.0
_OPEN_FILES = 65_536

# What partners are told while the place is in trouble (jobs.stores.place).
_ELSE = "the hub cannot take files just now; try again later, and tell its operator"
_CLOSED = {
    "disk-full": DISK_FULL,
    "ledger-unreachable": "the hub's ledger cannot be reached just now; try again later, and tell its operator",
}


class Counter:
    """The hub's side of `exchange.desk.Desk`: what happens at the doors becomes drops and collections."""

    def __init__(self, stores: Stores, clock: pipeline.Clock, wake: Callable[[str], None]) -> None:
        self._stores = stores
        self._clock = clock
        self._wake = wake

    def now(self) -> datetime:
        return self._clock()

    def partner(self, login: str) -> Partner | None:
        found = self._stores.partners.one(login)
        return None if found is None or found.disabled else found

    def partner_at_once(self, login: str) -> Partner | None:
        found = self._stores.partners.one_at_once(login)
        return None if found is None or found.disabled else found

    def visited(self, visits: Sequence[Visit], turned: Sequence[TurnedAway]) -> None:
        known = self._stores.partners.current().by_id.values()
        meant: list[TurnedAway] = []
        for one in turned:
            listed = [each for each in known if keys.is_listed(each, one.address)] if not one.partner else []
            meant += [replace(one, partner=each.id) for each in listed] or [one]
        visit.note(visits, meant, stores=self._stores, now=self.now())

    def is_listed(self, source: Source) -> bool:
        return self._stores.partners.current().any_from(source)

    def excepted(self) -> Sequence[Partner]:
        today = self.now().date()
        known = self._stores.partners.current().by_id.values()
        return [one for one in known if one.legacy is not None and one.legacy.on(today) and not one.disabled]

    def unloaded(self, partner_id: str) -> int:
        with self._stores.ledger.read() as tx:
            on_the_way = drops.at_stage(tx, UNDER_WAY - IN_INBOUND)
        return sum(drop.bytes for drop in on_the_way if drop.partner == partner_id)

    def closed_because(self) -> str:
        found = place.look_closely(self._stores)
        return _CLOSED.get(found[0].code, _ELSE) if found else ""

    def room_left(self) -> int:
        return place.room_left(self._stores)

    def mailbox(self, partner: Partner, folder: str) -> Path:
        return self._stores.mailboxes.folder(partner.id, folder)

    def upload_resumed(
        self, partner_id: str, folder: str, name: str, *, whole: bool, session: SessionInfo
    ) -> None:
        _only_inbound(folder)
        with _in_words():
            arrive.resumed(partner_id, name, whole=whole, stores=self._stores, now=self.now())
        session.habits[Habit.RESUMED] += 1

    def upload_whole(self, partner_id: str, folder: str, name: str) -> datetime:
        _only_inbound(folder)
        at = self.now()
        arrive.make_durable(partner_id, name, stores=self._stores)
        return at

    def upload_ended(
        self, partner_id: str, folder: str, name: str, *, at: datetime, session: SessionInfo
    ) -> None:
        _only_inbound(folder)
        with _in_words():
            drop = arrive.ended(partner_id, name, stores=self._stores, now=at, durable=True)
        session.habits[Habit.IN_PLACE if self._arrived(drop) else Habit.OTHER] += 1

    def upload_broken(
        self, partner_id: str, folder: str, name: str, *, received: int, session: SessionInfo
    ) -> None:
        _only_inbound(folder)
        session.habits[Habit.BROKEN] += 1
        with _in_words():
            arrive.broken(partner_id, name, size=received, stores=self._stores, now=self.now())

    def file_renamed(
        self, partner_id: str, folder: str, old: str, new: str, *, whole: bool, session: SessionInfo
    ) -> None:
        _only_inbound(folder)
        with _in_words():
            drop = arrive.renamed(partner_id, old, new, whole=whole, stores=self._stores, now=self.now())
        session.habits[Habit.RENAMED] += self._arrived(drop)

    def file_removed(
        self, partner_id: str, folder: str, name: str, *, whole: bool, session: SessionInfo
    ) -> None:
        _only_inbound(folder)
        with _in_words():
            arrive.removed(partner_id, name, whole=whole, stores=self._stores, now=self.now())
        session.habits[Habit.REMOVED] += 1

    def seen(self, parts: tuple[str, ...]) -> Entry:
        return Books(self._stores).entry(parts)

    def listed(self, parts: tuple[str, ...], *, session: SessionInfo) -> Sequence[Entry]:
        with _in_words():
            return look.listed(parts, _looker(session), stores=self._stores, now=self.now())

    def opened(self, parts: tuple[str, ...], *, session: SessionInfo) -> int:
        with _in_words():
            return look.opened(parts, _looker(session), stores=self._stores, now=self.now())

    def reads_ended(self, ended: Sequence[Read]) -> None:
        for one in ended:
            one.session.habits[Habit.FETCHED if one.whole else Habit.IN_PART] += 1
        readings = [
            collect.Reading(
                partner=one.session.partner_id,
                name=one.name,
                sent=one.sent,
                whole=one.whole,
                began=one.began,
                ended=one.ended,
                session=one.session.id,
                address=one.session.address,
                key_fingerprint=one.session.proof.fingerprint,
            )
            for one in ended
            if one.folder == "outbound"
        ]
        if readings:
            collect.collect(*readings, stores=self._stores)

    def _arrived(self, drop: Drop | arrive.Checksum) -> bool:
        """Whether it is one that goes on at once; it is taken along its way."""
        if arrived := isinstance(drop, Drop) and drop.stage is Stage.ARRIVED:
            self._wake(drop.id)
        return arrived


class Hub:
    """A hub that is open: partners can log in, and what is due is done."""

    def __init__(
        self, home: Home, settings: Settings, clock: pipeline.Clock, *, console: bool = False
    ) -> None:
        """Raises OperatorError if another process serves this home, or there are no host keys."""
        host_keys = keys.load_host_keys(home.host_keys)
        self._lock = lock.take(home)
        try:
            self.stores = Stores.open(home, settings)
        except BaseException:
            self._lock.close()
            raise
        self.schedule = Schedule(self.stores, clock, console=console)
        # The schedule's clock may be set: it is asked for each time.
        desk = Counter(self.stores, lambda: self.schedule.clock(), self.schedule.wake)  # noqa: PLW0108
        self.doors = Doors(desk, settings.sftp, host_keys, Bans(home.bans, desk.now))

    async def start(self) -> None:
        """Take up what lay between two steps, then open the doors, then begin to sweep.

        When it raises, the hub is closed. Raises OperatorError if it cannot listen.
        """
        try:
            await self._open()
        except BaseException:
            await asyncio.to_thread(self._close, seconds=0)
            raise
        lock.tell_port(self._lock, self.doors.port)
        self.schedule.start()
        log.info("hub.started", port=self.doors.port, workers=executor.workers(self.stores.settings))

    async def _open(self) -> None:
        await asyncio.to_thread(pipeline.take_up, stores=self.stores, now=self.schedule.clock())
        door = self.stores.settings.sftp
        try:
            await self.doors.start()
        except OSError as error:
            raise OperatorError(
                "cannot-listen",
                f"cannot listen on {door.host}, port {door.port}: {error.strerror or error}",
                f"sftp.host and sftp.port are set in {self.stores.home.settings_file}",
            ) from error

    async def stop(self) -> int:
        """Close the doors, let loads end, and close. How many loads are left for the next start."""
        await self.doors.drain()
        left = await asyncio.to_thread(self._close, seconds=DRAIN_SECONDS)
        log.info("hub.stopped", left=left)
        return left

    def _close(self, *, seconds: float) -> int:
        left = self.schedule.stop(seconds=seconds)
        self.stores.close()
        self._lock.close()
        return left


def serve(
    home: Home,
    settings: Settings,
    *,
    clock: pipeline.Clock,
    console: bool,
    opened: Callable[[Hub], None],
) -> int:
    """Run a hub until SIGTERM or SIGINT, then drain it. How many loads are left for the next start.

    `opened` is called once partners can log in. Raises OperatorError if the hub cannot be opened.
    """
    home.lay_out()
    log_setup.configure(home, settings, console=console)

    async def run() -> int:
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, enough.set)
        hub = Hub(home, settings, clock, console=console)
        await hub.start()
        opened(hub)
        await enough.wait()
        return await hub.stop()

    let_many_files_be_open()
    # uvloop is the one clear gain that was found for transfers (see README.md)
    import uvloop

    return uvloop.run(run())


def let_many_files_be_open() -> None:
    """Each connection and each open file takes one of those a process may have, of which systems often give 1024."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if most == resource.RLIM_INFINITY else min(_OPEN_FILES, most)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _looker(session: SessionInfo) -> look.Looker:
    return look.Looker(
        partner=session.partner_id,
        session=session.id,
        address=session.address,
        key_fingerprint=session.proof.fingerprint,
    )


def _only_inbound(folder: str) -> None:
    if folder != "inbound":
        raise Refused("this hub does not answer history requests yet; nothing can be uploaded here")


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except arrive.TakenError as error:
        raise Refused(str(error)) from error
    except LedgerUnreachable as error:
        log.error("ledger.unreachable", why=error.message)
        raise Refused(_CLOSED["ledger-unreachable"]) from error
