"""Where blocking work is done: a few threads beside the event loop, and no more than that."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")

_PATIENCE = 0.003  # seconds that the loop stands still for work that hardly takes one of them
_CREDIT = 0.02  # seconds that it does so in a row; after that, half of the time at most
_IN_VAIN = 0.02  # seconds that it counts as when the work took longer: the disk or the ledger is slow now
_QUICK = 0.0005  # seconds in which a quick disk makes a small file durable


class Threads:
    """A bounded pool. More calls than threads wait for their turn, in order."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="door")
        self._credit = _CREDIT
        self._credited = monotonic()
        self._settling = 0.0  # seconds that the disk took last

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work` in a thread and give what it gives, or raise what it raises.

        Work that has begun is finished, even if whoever waits for it is cancelled.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(work, *args, **kwargs))

    async def moment(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what is mostly done in a moment: the loop stands still for it, but never for long.

        Two threads that run Python at once hand the interpreter to and fro at each call to the system, and
        that took longer than such work does.
        """
        future = self._pool.submit(work, *args, **kwargs)
        self._await_briefly(future)
        return future.result() if future.done() else await asyncio.wrap_future(future)

    async def settled(self, settle: Callable[[], T], then: Callable[[T], U]) -> U:
        """Wait for the disk in `settle`, and then, in a moment, do what is to be done with what that gives.

        With a quick disk both are one piece of work: a way to another thread and back takes longer.
        """
        if self._settling < _QUICK:
            return await self.moment(lambda: then(self._settle(settle)))
        return await self.moment(then, await self.run(self._settle, settle))

    def _settle(self, settle: Callable[[], T]) -> T:
        began = monotonic()
        try:
            return settle()
        finally:
            self._settling = monotonic() - began

    def _await_briefly(self, future: "Future[T]") -> None:
        now = monotonic()
        self._credit = min(_CREDIT, self._credit + (now - self._credited) / 2)
        self._credited = now
        if self._credit > 0:
            with suppress(TimeoutError):
                future.exception(_PATIENCE)
            self._credit -= monotonic() - now if future.done() else _IN_VAIN

    def close(self) -> None:
        """Wait for the work under way. Blocks."""
        self._pool.shutdown()
