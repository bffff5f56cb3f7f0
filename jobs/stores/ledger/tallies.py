"""Tallies: many rows bound to the chain by one event, whatever their order: how many, and a sum of their hashes.

A sum and not a hash of all of them in a row: what is held is noted in the order of lake files and read again in any.
"""

import hashlib

_ROOM = 1 << 256


class Tally:
    """Rows counted, and summed up by the SHA-256 of their words."""

    __slots__ = ("_sum", "count")

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, *words: object) -> None:
        said = "\n".join(map(str, words)).encode()
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(said).digest())) % _ROOM
        self.count += 1

    def take(self, said: str) -> None:
        """Add what another said of itself."""
        count, _, total = said.partition(":")
        self.count += int(count)
        self._sum = (self._sum + int(total, 16)) % _ROOM

    def __str__(self) -> str:
        return f"{self.count}:{self._sum:064x}"
