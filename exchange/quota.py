"""How much of one partner's may wait to be loaded: the bytes in its inbound/, and those of drops on their way.

Counted on disk and in the ledger when an upload begins, and from then on as bytes come. A count that says
no is made again before anybody is refused: meanwhile the hub may have loaded what lay there.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from exchange.desk import Desk
from exchange.sftp_v3 import Code, Refusal

_AGAIN = 1.0  # seconds between two counts of a partner whose uploads are being refused


class NoRoom(Exception):  # noqa: N818 - a question, not an error: is that still so?
    """By the last count there is no room; nothing has been written."""


@dataclass(slots=True)
class Count:
    """What one partner has waiting, in bytes, and when that was counted."""

    held: int
    at: float


@dataclass(frozen=True, slots=True)
class Room:
    """A partner's quota, as one upload asks for it."""

    quota: "Quota"
    partner_id: str

    def has(self, more: int) -> bool:
        return self.quota.has_room(self.partner_id, more)

    def take(self, more: int) -> None:
        self.quota.take(self.partner_id, more)


class Quota:
    """The counts of all partners. `look` and `room` run in threads, all else on the event loop."""

    def __init__(self, most: int, desk: Desk, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._desk = desk
        self._clock = clock
        self._counts: dict[str, Count] = {}

    def look(self, partner_id: str, inbound: Path) -> None:
        """Count. Bytes that come at this very moment may be missed, until the next upload begins."""
        with os.scandir(inbound) as entries:
            lying = sum(_size(entry) for entry in entries)
        self._counts[partner_id] = Count(lying + self._desk.unloaded(partner_id), self._clock())

    def room(self, partner_id: str, inbound: Path, name: str, *, freed: int) -> Room:
        """What the partner may still send, `freed` bytes of what is there now going. Refusal if it is nothing."""
        self.look(partner_id, inbound)
        count = self._counts[partner_id]
        if count.held - freed >= self._most:
            raise self.refusal(name)
        count.held -= freed
        return Room(self, partner_id)

    def is_fresh(self, partner_id: str) -> bool:
        """Whether it was counted just now."""
        count = self._counts.get(partner_id)
        return count is not None and self._clock() < count.at + _AGAIN

    def has_room(self, partner_id: str, more: int) -> bool:
        return more <= 0 or self._counts[partner_id].held + more <= self._most

    def take(self, partner_id: str, more: int) -> None:
        """So many bytes more lie there now; or fewer, below 0."""
        self._counts[partner_id].held += more

    def refusal(self, name: str) -> Refusal:
        words = f"{name}: what waits to be loaded of yours may have at most {self._most} "
        return Refusal(Code.FAILURE, words + "bytes; wait for receipts, or remove what broke off")


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # taken in since it was listed
        return 0
