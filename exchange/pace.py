"""How fast one partner may go, over all its sessions and both ways together."""

from collections.abc import Callable
from time import monotonic

_AHEAD = 0.25  # seconds that a partner may be ahead of its pace, so that short answers are not held up


class Pace:
    """When each partner's bytes will have been paid for. Used on one event loop."""

    def __init__(self, bytes_a_second: int, clock: Callable[[], float] = monotonic) -> None:
        """`bytes_a_second` of each partner; 0: as fast as it goes."""
        self._rate = bytes_a_second
        self._clock = clock
        self._paid: dict[str, float] = {}

    def take(self, partner_id: str, size: int) -> float:
        """So many bytes came or go. For how many seconds the session is to wait before the next ones."""
        if not self._rate:
            return 0.0
        now = self._clock()
        self._paid[partner_id] = max(self._paid.get(partner_id, now), now) + size / self._rate
        return max(0.0, self._paid[partner_id] - now - _AHEAD)
