"""Who came, and who was turned away: told to the hub as sessions end, those that are alike together."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime

import structlog

from exchange.algorithms import Lists, Spoken
from exchange.desk import Desk, SessionInfo
from exchange.threads import Threads
from schemas.visit import TurnedAway, Visit

_GATHERED = 0.25  # seconds for which they are gathered: a write to the ledger costs more than a login
_REST = 30.0  # seconds after which it is tried again when the ledger could not be written
_MOST_TURNED = 1000  # tries to log in that wait to be told, at most
_CLIENT = 255  # characters of what a client calls itself

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Way:
    """What sessions that are counted together have in common."""

    partner: str
    client: str
    spoken: Spoken
    lists: Lists | None
    credential: str
    certified: bool


@dataclass(slots=True)
class _Tally:
    """What is counted of them."""

    certificate: dict[str, object] = field(default_factory=dict)
    addresses: dict[str, None] = field(default_factory=dict)  # in the order in which they came last
    began: list[datetime] = field(default_factory=list)
    most_at_once: int = 0
    habits: Counter[str] = field(default_factory=Counter)


class Visitors:
    """Hands visits on. Used on one event loop; nobody waits for it but `settle`."""

    def __init__(self, desk: Desk, threads: Threads) -> None:
        self._desk = desk
        self._threads = threads
        self._visits: dict[_Way, _Tally] = {}
        self._turned: list[TurnedAway] = []
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def left(self, session: SessionInfo, spoken: Spoken, lists: Lists | None, *, at_once: int) -> None:
        """A session has ended."""
        signed = session.proof.certificate
        way = _Way(
            session.partner_id,
            session.client_version[:_CLIENT],
            spoken,
            lists,
            session.proof.fingerprint if signed is None else signed.authority,
            signed is not None,
        )
        tally = self._visits.setdefault(way, _Tally())
        if signed is not None:
            tally.certificate = session.proof.told() | {"since": signed.since, "until": signed.until}
        tally.addresses.pop(session.address, None)
        tally.addresses[session.address] = None
        tally.began.append(session.began)
        tally.most_at_once = max(tally.most_at_once, at_once)
        tally.habits += session.habits
        self._go()

    def turned_away(self, turned: TurnedAway) -> None:
        """Somebody could not log in."""
        if len(self._turned) < _MOST_TURNED:
            self._turned.append(turned)
        self._go()

    async def settle(self) -> None:
        """Wait until all are handed on."""
        self._hurry.set()
        while self._task is not None:
            await asyncio.wait([self._task])

    def _go(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._hand_on())

    async def _hand_on(self) -> None:
        """All that came by now in one go, and then what came meanwhile. What cannot be told is let go of."""
        pause = _GATHERED
        while self._visits or self._turned:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), pause)
            visits, turned = self._visits, self._turned
            self._visits, self._turned = {}, []
            try:
                told = [_visit(way, tally) for way, tally in visits.items()]
                await self._threads.run(self._desk.visited, told, turned)
                pause = _GATHERED
            except Exception:
                pause = _REST
                log.exception("work.failed", task="visits")
        self._task = None


def _visit(way: _Way, tally: _Tally) -> Visit:
    return Visit(
        partner=way.partner,
        client=way.client,
        spoken=asdict(way.spoken),
        offers=asdict(way.lists) if way.lists is not None else {},
        credential=way.credential,
        certificate=tally.certificate,
        addresses=tuple(tally.addresses),
        began=tally.began,
        most_at_once=tally.most_at_once,
        habits=tally.habits,
    )
