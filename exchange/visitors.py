"""Who came, and who was turned away: told to the hub as sessions end, many at a time when many do."""

import asyncio
from dataclasses import asdict

import structlog

from exchange.algorithms import Lists, Spoken
from exchange.desk import Desk, SessionInfo
from exchange.threads import Threads
from schemas.visit import TurnedAway, Visit

_CLIENT = 255  # characters of what a client calls itself

log = structlog.get_logger()


class Visitors:
    """Hands visits on. Used on one event loop; nobody waits for it but `settle`."""

    def __init__(self, desk: Desk, threads: Threads) -> None:
        self._desk = desk
        self._threads = threads
        self._visits: list[Visit] = []
        self._turned: list[TurnedAway] = []
        self._task: asyncio.Task[None] | None = None

    def left(self, session: SessionInfo, spoken: Spoken, lists: Lists | None, *, at_once: int) -> None:
        """A session has ended."""
        signed = session.proof.certificate
        certificate = (
            {} if signed is None else session.proof.told() | {"since": signed.since, "until": signed.until}
        )
        visit = Visit(
            partner=session.partner_id,
            client=session.client_version[:_CLIENT],
            spoken=asdict(spoken),
            offers={name: list(some) for name, some in asdict(lists).items()} if lists is not None else {},
            credential=session.proof.fingerprint if signed is None else signed.authority,
            certificate=certificate,
            address=session.address,
            began=session.began,
            at_once=at_once,
            habits=dict(session.habits),
        )
        self._visits.append(visit)
        self._go()

    def turned_away(self, turned: TurnedAway) -> None:
        """Somebody could not log in."""
        self._turned.append(turned)
        self._go()

    async def settle(self) -> None:
        """Wait until all are handed on."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def _go(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._hand_on())

    async def _hand_on(self) -> None:
        """All that came by now in one go, and then what came meanwhile."""
        while self._visits or self._turned:
            visits, turned = self._visits, self._turned
            self._visits, self._turned = [], []
            try:
                await self._threads.run(self._desk.visited, visits, turned)
            except Exception:
                log.exception("work.failed", task="visits")
        self._task = None
