"""Where the doors have blocking work done: the loop may stand still for a moment, and never for longer."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from exchange.threads import Threads

SECONDS = 30
MANY = 12


def served(work: Callable[[Threads], Coroutine[Any, Any, None]]) -> None:
    threads = Threads(2 * MANY)
    try:
        asyncio.run(work(threads))
    finally:
        threads.close()


def test_what_is_done_in_a_moment_gives_what_it_gives_or_raises_what_it_raises() -> None:
    def fail(error: Exception) -> None:
        raise error

    async def work(threads: Threads) -> None:
        assert await threads.moment(lambda one, two: one + two, 1, two=2) == 3
        for error in (KeyError("gone"), TimeoutError("the disk's own"), OSError(5, "EIO")):
            with pytest.raises(type(error)) as raised:
                await threads.moment(fail, error)
            assert raised.value is error

    served(work)


def test_the_loop_goes_on_while_what_should_take_a_moment_takes_long() -> None:
    def wait_for(released: threading.Event, number: int) -> int:
        assert released.wait(SECONDS)
        return number

    async def work(threads: Threads) -> None:
        released = threading.Event()
        waiting: list[asyncio.Future[int]] = []
        for number in range(MANY):  # each of them waits for what the loop does only after all have begun
            waiting.append(asyncio.ensure_future(threads.moment(wait_for, released, number)))
            await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
        released.set()
        assert await asyncio.gather(*waiting) == list(range(MANY))

    served(work)


def test_what_is_settled_is_handed_on_whether_the_disk_is_quick_or_slow() -> None:
    async def work(threads: Threads) -> None:
        released = threading.Event()

        def slow() -> str:
            assert released.wait(SECONDS)
            return "slow"

        assert await threads.settled(lambda: "quick", lambda found: found + "ly") == "quickly"
        waiting = asyncio.ensure_future(threads.settled(slow, lambda found: found + "ly"))
        await asyncio.sleep(0)
        assert not waiting.done()
        released.set()
        assert await waiting == "slowly"
        assert await threads.settled(lambda: "again", lambda found: found + " quickly") == "again quickly"

    served(work)


def test_a_disk_that_fails_is_told_to_whoever_waits_and_nothing_is_handed_on() -> None:
    def fail() -> str:
        raise OSError(5, "EIO")

    async def work(threads: Threads) -> None:
        handed: list[str] = []
        with pytest.raises(OSError, match="EIO"):
            await threads.settled(fail, handed.append)
        assert handed == []
        await threads.settled(lambda: "well", handed.append)
        assert handed == ["well"]

    served(work)
