"""Who knocks: connections that have not logged in yet, how many there may be, and how fast they may come.

Whoever comes faster is kept waiting before a word is spoken: what costs the hub something, the exchange of
keys, begins afterwards. So nobody who means well is turned away, and a flood goes no faster than it may.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable
from time import monotonic

from config.settings import Sftp
from exchange import addresses
from exchange.addresses import Source

_WATCHED = 20_000  # places whose pace is kept; beyond, those that knocked longest ago are forgotten


class Knocks:
    """The half-open connections of all places. Used on one event loop."""

    def __init__(self, limits: Sftp, clock: Callable[[], float] = monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._open: Counter[Source] = Counter()
        self._turns: OrderedDict[Source, float] = OrderedDict()  # when the next one's turn would be

    def refuses(self, address: str) -> tuple[str, str] | None:
        """Why nobody else may knock from there: a code for the log, and words. None: there is room."""
        if self._open.total() >= self._limits.max_unauthenticated:
            return "unauthenticated", "too many connections are logging in; try again later"
        if self._open[addresses.source(address)] >= self._limits.max_unauthenticated_per_address:
            return "knocking", "too many connections from your address are logging in; try again later"
        return None

    def wait(self, address: str) -> float:
        """In how many seconds it is the turn of one more from there: 0 for as many as may come in a second."""
        rate = self._limits.max_connections_a_second_per_address
        if not rate:
            return 0.0
        source, now = addresses.source(address), self._clock()
        turn = max(self._turns.get(source, 0.0), now - 1.0) + 1.0 / rate
        self._turns[source] = turn
        self._turns.move_to_end(source)
        if len(self._turns) > _WATCHED:
            self._turns.popitem(last=False)
        return max(0.0, turn - now)

    def begin(self, address: str) -> None:
        """Somebody knocks."""
        self._open[addresses.source(address)] += 1

    def end(self, address: str) -> None:
        """And has logged in, or gone."""
        source = addresses.source(address)
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]
