"""What all sessions have in common: the desk, the limits, and what they have in hand together."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass

from config.settings import Sftp
from exchange.defender import Defender
from exchange.desk import Desk
from exchange.endings import Endings
from exchange.knocks import Knocks
from exchange.pace import Pace
from exchange.quota import Quota
from exchange.ranges import Ranges
from exchange.threads import Threads
from exchange.uploads import Claims, Recent
from exchange.visitors import Visitors


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Made once, by the listener."""

    desk: Desk
    limits: Sftp
    threads: Threads
    claims: Claims
    recent: Recent
    defender: Defender
    quota: Quota
    pace: Pace
    visitors: Visitors
    connections: Counter[str]  # over which each partner is logged in
    sessions: Counter[str]  # that it has open over them
    knocks: Knocks
    endings: Endings
    sent: defaultdict[
        str, dict[tuple[str, str, int], Ranges]
    ]  # by partner, of files it does not have whole yet
    running: set[asyncio.Task[None]]  # all sessions, those of connections that are gone, too
