"""Where blocking work is done: a few threads beside the event loop, and no more than that."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A bounded pool. More calls than threads wait for their turn, in order."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="door")

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work` in a thread and give what it gives, or raise what it raises.

        Work that has begun is finished, even if whoever waits for it is cancelled.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(work, *args, **kwargs))

    def close(self) -> None:
        """Wait for the work under way. Blocks."""
        self._pool.shutdown()
