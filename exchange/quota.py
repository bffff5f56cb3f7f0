"""How much of one partner's may wait to be loaded: the bytes in its inbound/, and those of drops on their way;
and how much the hub's disks still take.

Counted on disk and in the ledger when an upload begins, at most once a second, and from then on as bytes come. A
count that says no is made again before anybody is refused: meanwhile the hub may have loaded what lay there. One
that says yes is made again every second, for others fill the disks, too.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from exchange.desk import DISK_FULL, Desk
from exchange.sftp_v3 import Code, Refusal

_AGAIN = 1.0  # seconds between two counts of a partner whose uploads are being refused
_OLD = 1.0  # seconds after which a count is made again, whatever it said


class NoRoom(Exception):  # noqa: N818 - a question, not an error: is that still so?
    """By the last count there is no room; nothing has been written."""


@dataclass(slots=True)
class Count:
    """What one partner has waiting, in bytes; what the disks still took; and when that was counted."""

    held: int
    room: int
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

    def refusal(self, name: str, more: int) -> Refusal:
        return self.quota.refusal(self.partner_id, name, more)


class Quota:
    """The counts of all partners. `closed`, `look` and `room` run in threads, but while it `is_open`; all else on the event
    loop.
    """

    def __init__(self, most: int, desk: Desk, clock: Callable[[], float] = monotonic) -> None:
        self._most = most
        self._desk = desk
        self._clock = clock
        self._counts: dict[str, Count] = {}
        self._open_until = 0.0

    def closed(self) -> str:
        """Why no file can be taken just now, in words for a partner; empty: it can, which
        then holds for a second."""
        if self._clock() < self._open_until:
            return ""
        found = self._desk.closed_because()
        if not found:
            self._open_until = self._clock() + _AGAIN
        return found

    def is_open(self, partner_id: str) -> bool:
        """Whether a partner may send something, by what was found out within the last second."""
        known = partner_id in self._counts and self._clock() < self._open_until
        return known and self.has_room(partner_id, 1)

    def look(self, partner_id: str, inbound: Path) -> None:
        """Count. Bytes that come at this very moment may be missed, until it is counted again."""
        with os.scandir(inbound) as entries:
            lying = sum(_size(entry) for entry in entries)
        held = lying + self._desk.unloaded(partner_id)
        self._counts[partner_id] = Count(held, self._desk.room_left(), self._clock())

    def room(self, partner_id: str, inbound: Path, name: str, *, freed: int) -> Room:
        """What the partner may still send, `freed` bytes of what is there now going. Refusal if it is nothing."""
        count = self._counts.get(partner_id)
        fresh = count is not None and self.is_fresh(partner_id)
        if count is None or not fresh or count.held - freed >= self._most or count.room + freed <= 0:
            self.look(partner_id, inbound)
            count = self._counts[partner_id]
        if freed:
            count.held -= freed
            count.room += freed
        if count.held >= self._most or count.room <= 0:
            raise self.refusal(partner_id, name, 1)
        return Room(self, partner_id)

    def is_fresh(self, partner_id: str) -> bool:
        """Whether it was counted just now."""
        count = self._counts.get(partner_id)
        return count is not None and self._clock() < count.at + _AGAIN

    def has_room(self, partner_id: str, more: int) -> bool:
        """Whether so many bytes more may come. A count that is old says no, to be made again."""
        count = self._counts[partner_id]
        return more <= 0 or (
            count.held + more <= self._most and more <= count.room and self._clock() < count.at + _OLD
        )

    def take(self, partner_id: str, more: int) -> None:
        """So many bytes more lie there now; or fewer, below 0."""
        count = self._counts[partner_id]
        count.held += more
        count.room -= more

    def refusal(self, partner_id: str, name: str, more: int) -> Refusal:
        """Why so many bytes more cannot come."""
        if self._counts[partner_id].held + more <= self._most:
            return Refusal(Code.FAILURE, f"{name}: {DISK_FULL}")
        words = f"{name}: what waits to be loaded of yours may have at most {self._most} "
        return Refusal(Code.FAILURE, words + "bytes; wait for receipts, or remove what broke off")


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # taken in since it was listed
        return 0
