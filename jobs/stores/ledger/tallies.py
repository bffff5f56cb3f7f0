"""Tallies: many rows bound to the chain by one event, whatever their order: how many, and a hash of their hashes.

Each row is hashed, and the hashes are sorted and hashed in a row: what is held is noted in the order of lake files
and read again in any. Ledgers of before have a sum of the hashes instead. For a few rows that is as good; but who
may word tens of thousands of rows as he likes finds others with the same sum (Wagner's generalized birthday, 2^32
tries), so such a sum is read and no longer written.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

_HASH = 32  # bytes
_SORTED = "sorted"


class Tally:
    """Rows counted and hashed. 32 bytes a row are held."""

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes = bytearray()

    def add(self, *words: object) -> None:
        self._hashes += hashlib.sha256("\n".join(map(str, words)).encode()).digest()

    def join(self, other: "Tally") -> None:
        """Count the rows of another, too."""
        self._hashes += other._hashes  # noqa: SLF001 - of its own kind

    @property
    def count(self) -> int:
        return len(self._hashes) // _HASH

    def __str__(self) -> str:
        in_order = np.sort(np.frombuffer(self._hashes, f"V{_HASH}").view(f"S{_HASH}"))
        return f"{self.count}:{_SORTED}:{hashlib.sha256(in_order.tobytes()).hexdigest()}"

    def is_that_of(self, told: Sequence[str]) -> bool:
        """Whether these are the rows of which events told so, oldest first. One that has them sorted speaks for
        those before it, too; sums are added up.
        """
        if told and _is_sorted(told[-1]):
            return str(self) == told[-1]
        total = sum(int(one.rpartition(":")[2], 16) for one in told)
        mine = sum(int.from_bytes(self._hashes[at : at + _HASH]) for at in range(0, len(self._hashes), _HASH))
        return self.count == counted(told) and (total - mine) % (1 << 8 * _HASH) == 0


def counted(told: Sequence[str]) -> int:
    """How many rows events told of in all."""
    heard = told[-1:] if told and _is_sorted(told[-1]) else told
    return sum(int(one.partition(":")[0]) for one in heard)


def _is_sorted(said: str) -> bool:
    return said.split(":")[1] == _SORTED
