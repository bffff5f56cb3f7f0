"""How long the doors are held up while a night is loaded beside them: their loop, and a partner's client."""

import asyncio
import getpass
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import asyncssh
import doors
from load import Took
from pair import Pair
from uploads import BySftp, written

from schemas.sample import Edc, Egs, Night

BUCKETS = 4
MOST = 0.25  # seconds for which the loop may stand still
_EVERY = 0.01  # seconds from an answer to the next question


def measured(folder: Path, *, edc: Edc, egss: tuple[Egs, ...], accounts: int, runs: int) -> list[Pair]:
    """Each run is a night of its own: buckets by SFTP, loaded and laid out, from the first byte to the last
    outbound file. The first warms up and does not count.
    """
    night = f"{BUCKETS} buckets, first byte to last outbound file"
    stood = Pair(what=f"longest stall of the loop beside {night}", peer="a quarter of a second", at_most=1)
    waited = Pair(what="longest wait for an answer meanwhile", peer="OpenSSH's internal-sftp")
    folder.mkdir()
    first = doors.MORNING.date() - timedelta(days=1)
    size = {"accounts": BUCKETS * accounts, "bucket": accounts}
    recipe = Night(day=first, edcs=(edc,), egss=egss, net_metered=0.0, **size)
    sftp = BySftp(folder / "hub", edc, egss)
    try:
        with doors.openssh(folder / "openssh") as (key, port):
            asked = (
                (edc.id, sftp.served.key, sftp.served.port),
                (getpass.getuser(), key, port),
            )
            for run in range(runs + 1):
                day = first + timedelta(days=run)
                sftp.knows(list(recipe.sync(edc, later=run)), folder / "files")
                files = [recipe.bucket_of(edc, number, day=day) for number in range(BUCKETS)]
                paths = [written(folder / "files", file) for file in files]
                sftp.served.asked("stalled")  # and begins anew
                patience = Patience(*asked)
                sftp.plays(paths)
                ours, theirs = patience.ended()
                stall = sftp.served.asked("stalled")["seconds"]
                if run:
                    stood.hub.append(Took(wall=stall, cpu=stall))
                    stood.other.append(Took(wall=MOST, cpu=MOST))
                    waited.hub.append(Took(wall=ours, cpu=ours))
                    waited.other.append(Took(wall=theirs, cpu=theirs))
                for path in paths:
                    path.unlink()
                sftp.sleeps()
    finally:
        sftp.served.close()
    return [stood, waited]


class Patience:
    """Clients that each ask a server the same small thing again and again, in a thread of their own."""

    def __init__(self, *servers: tuple[str, Path, int]) -> None:
        self._enough = threading.Event()
        self._longest = [0.0] * len(servers)
        self._ready = threading.Barrier(len(servers) + 1, timeout=60)
        self._threads = [
            threading.Thread(target=lambda one=one, to=to: asyncio.run(self._ask(one, *to)))
            for one, to in enumerate(servers)
        ]
        for thread in self._threads:
            thread.start()
        self._ready.wait()

    def ended(self) -> list[float]:
        """The longest that each had to wait for an answer, in seconds."""
        self._enough.set()
        for thread in self._threads:
            thread.join()
        return self._longest

    async def _ask(self, one: int, login: str, key: Path, port: int) -> None:
        options = {"known_hosts": None, "config": None, "agent_path": None, "client_keys": [os.fspath(key)]}
        async with (
            asyncssh.connect("127.0.0.1", port, username=login, **options) as connection,
            connection.start_sftp_client() as client,
        ):
            await client.realpath(".")
            self._ready.wait()
            while not self._enough.is_set():
                began = time.perf_counter()
                await client.realpath(".")
                self._longest[one] = max(self._longest[one], time.perf_counter() - began)
                await asyncio.sleep(_EVERY)
