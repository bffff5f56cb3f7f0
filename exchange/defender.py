"""Who makes trouble at the doors is shut out for a while: points for each address, and bans that grow.

Points leak away evenly, so that `ban_score` of them are forgotten in `ban_watch_minutes`: whoever fails
more seldom than that is never banned. Addresses that some partner's `allow_from` names never are.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import timedelta
from time import monotonic

import structlog

from config.settings import Sftp
from exchange import addresses
from exchange.addresses import Source
from exchange.bans import Ban, Bans
from exchange.desk import Desk
from exchange.threads import Threads

# What is counted, and for how much. A login that nobody has counts like one that somebody has, or
# strangers could tell them apart by counting the tries that are left to them.
POINTS: Mapping[str, int] = {
    "failed-login": 1,  # a key, or another way in, was refused; forgotten if the same connection logs in
    "too-many-connections": 1,  # one more than max_connections_per_address
    "slow-login": 2,  # connected, and did not log in within login_seconds
    "not-ssh": 3,  # what came before a login was not SSH
    "malformed": 5,  # what came after it was not SFTP
}
_WATCHED = 20_000  # addresses whose points are kept; beyond, those that were quiet longest are forgotten
_LEAKED = 0.5  # of a point: thirty tries within some seconds are 30 points, though a little has leaked
_FORGETS = 3600.0  # seconds between two looks for bans that nobody need remember

log = structlog.get_logger()


class Defender:
    """The points of every address, and what follows from them. Used on one event loop."""

    def __init__(
        self,
        bans: Bans,
        limits: Sftp,
        *,
        desk: Desk,
        threads: Threads,
        banned: Callable[[Ban], None],
        ticks: Callable[[], float] = monotonic,
    ) -> None:
        """`banned` is called when somebody was banned, to end what they have open. `ticks`: seconds."""
        self._bans = bans
        self._limits = limits
        self._desk = desk
        self._threads = threads
        self._banned = banned
        self._points: OrderedDict[Source, tuple[float, float]] = OrderedDict()  # how many, when
        self._judging: dict[Source, asyncio.Task[None]] = {}
        self._ticks = ticks
        self._forgot = ticks()

    def ban_on(self, address: str) -> Ban | None:
        """The ban in force on an address, if any."""
        return self._bans.on(addresses.source(address)) if self._limits.ban_score else None

    def note(self, address: str, what: str) -> None:
        """Count one of POINTS against an address, and have it banned if it has too many now."""
        if not self._limits.ban_score:
            return
        source = addresses.source(address)
        points = self._left(source) + POINTS[what]
        if points >= self._limits.ban_score - _LEAKED and source not in self._judging:
            self._points.pop(source, None)
            task = asyncio.get_running_loop().create_task(self._judge(source, what))
            self._judging[source] = task
            task.add_done_callback(lambda _: self._judging.pop(source))
            return
        self._points[source] = points, self._ticks()
        self._points.move_to_end(source)
        if len(self._points) > _WATCHED:
            self._points.popitem(last=False)

    def forgive(self, address: str, what: str, count: int) -> None:
        """Take back what was counted: somebody who tried several keys had the right one among them."""
        source = addresses.source(address)
        if count and source in self._points:
            self._points[source] = max(0.0, self._left(source) - POINTS[what] * count), self._ticks()

    async def settle(self) -> None:
        """Wait until everybody who is being judged is."""
        while self._judging:
            await asyncio.wait(list(self._judging.values()))

    def _left(self, source: Source) -> float:
        points, at = self._points.get(source, (0.0, 0.0))
        a_second = self._limits.ban_score / (60 * self._limits.ban_watch_minutes)
        return max(0.0, points - a_second * (self._ticks() - at))

    async def _judge(self, source: Source, what: str) -> None:
        try:
            ban = await self._threads.run(self._ban, source, what)
        except Exception:
            log.exception("work.failed", task="ban")
            return
        if ban is not None:
            self._banned(ban)

    def _ban(self, source: Source, what: str) -> Ban | None:
        """Runs in a thread."""
        address = addresses.shown(source)
        if self._desk.is_listed(source):
            log.warning("address.spared", address=address, reason=what)
            return None
        if self._bans.on(source) is not None:
            return None  # what it had begun before it was banned has ended
        most = timedelta(hours=self._limits.ban_most_hours)
        ban = self._bans.add(source, what, first=timedelta(minutes=self._limits.ban_minutes), most=most)
        log.warning(
            "address.banned", address=address, reason=what, until=ban.until.isoformat(), times=ban.times
        )
        if self._ticks() - self._forgot > _FORGETS:
            self._forgot = self._ticks()
            self._bans.forget(most=most)
        return ban


def words(ban: Ban) -> str:
    """What somebody who is banned is told."""
    return f"too many failed tries from your address; try again after {ban.until:%Y-%m-%d %H:%M} UTC"
