"""Files that partners have read and closed: told to the hub in order, those of a moment together.

Nobody waits for it: a client's CLOSE is answered at once. The end of a session waits.
"""

import asyncio
from contextlib import suppress

import structlog

from exchange.desk import Desk, Read
from exchange.readings import Reading
from exchange.threads import Threads

_GATHERED = 0.1  # seconds for which they are gathered: a write to the ledger takes longer than a small file
_AT_ONCE = 500  # in one transaction of the ledger

log = structlog.get_logger()


class Endings:
    """What is still to be told. Used on one event loop."""

    def __init__(self, desk: Desk, threads: Threads) -> None:
        self._desk = desk
        self._threads = threads
        self._waiting: list[tuple[Reading, Read]] = []
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def add(self, reading: Reading, read: Read) -> None:
        """It is over: close its file, and tell of it."""
        self._waiting.append((reading, read))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._tell_all())

    async def settle(self) -> None:
        """Wait until all that has been added is told."""
        while self._task is not None:
            self._hurry.set()
            await asyncio.wait([self._task])

    async def _tell_all(self) -> None:
        while self._waiting:
            if len(self._waiting) < _AT_ONCE:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), _GATHERED)
            self._hurry.clear()
            now, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            try:
                await self._threads.run(self._tell, now)
            except Exception:
                log.exception("work.failed", task="readings")
        self._task = None

    def _tell(self, now: list[tuple[Reading, Read]]) -> None:
        for reading, _ in now:
            reading.close()
        self._desk.reads_ended([read for _, read in now])
