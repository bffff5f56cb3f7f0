"""What is done to a tortured hub: it and its workers are killed, its disk fails and fills, its ledger goes away, its
clock steps.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from exchange.cli.options import NOW
from exchange.torture.nursery import Child, Nursery
from exchange.torture.server import Server
from exchange.torture.watch import Watch
from jobs.stores import mishaps

_OPENS_WITHIN = 180.0  # seconds
_STOPS_WITHIN = 120.0
_ERRNOS = ("EIO", "ENOSPC", "EDQUOT", "EROFS")
_FAILING = ("write:*", "fsync:*", "rename:*", "remove:*", "link:*", "mkdir:*")
_SHARES = (0.02, 0.05, 0.15)

# The named points of commit, publish, sync and withdrawal at which a process dies, in turn.
POINTS = (
    "fsync:inbound", "rename:inbound", "commit:drop.arrived", "committed:drop.arrived", "write:archive",
    "fsync:archive", "rename:archive", "commit:drop.received", "committed:drop.received", "write:receipts",
    "rename:receipts", "remove:inbound", "committed:receipt.laid", "committed:drop.accepted", "write:lake",
    "fsync:lake", "rename:lake", "commit:drop.loaded", "committed:drop.loaded", "write:staging", "fsync:staging",
    "commit:outbound.recorded", "committed:outbound.recorded", "rename:contents", "write:outbound",
    "rename:outbound", "commit:publication.laid_out", "committed:publication.laid_out", "committed:sync.completed",
    "commit:sync.assembled", "committed:sync.assembled", "remove:outbound", "commit:sync.enforced",
    "committed:sync.enforced", "rename:reports",
)  # fmt: skip


@dataclass(slots=True)
class Tormentor:
    """One hub, as a process, and what is done to it. `done` counts that, by its kind."""

    home: Path
    random: Random
    disk: bool  # the home has a small disk of its own, which can be filled
    watch: Watch
    nursery: Nursery
    server: Server | None = None  # of the ledger, where that is one that can be stopped
    hub: Child | None = None
    beside: Child | None = None
    done: Counter[str] = field(default_factory=Counter)
    _points: Iterator[str] = field(default_factory=lambda: cycle(POINTS))

    @property
    def told(self) -> Path:
        return self.home.parent / f"{self.home.name}.mishaps"

    def begin(self, *, planned: str = "") -> dict[str, Any] | None:
        """Start a hub; what it said when it opened, or None if it was struck before."""
        words = ["exchange.cli", "--home", str(self.home), "serve", "--json"]
        self.hub = self._start(words, planned=planned)
        select.select([self.hub.stdout], [], [], _OPENS_WITHIN)
        line = self.hub.stdout.readline() if self.hub.is_alive or planned else ""
        opened: dict[str, Any] | None = json.loads(line) if line.startswith('{"home"') else None
        return opened

    def _start(self, words: list[str], *, planned: str) -> Child:
        struck = f"{planned} told={self.told}" if planned else ""
        return self.nursery.bear(words, {NOW: f"@{self.watch.file}", mishaps.VARIABLE: struck})

    def plan(self) -> str:
        """Mishaps for a while: the disk fails at some points, and processes die at one that is named."""
        seed = self.random.getrandbits(32)
        draw = self.random
        fails = [f"{pattern}={draw.choice(_ERRNOS)}@{draw.choice(_SHARES)}" for pattern in _FAILING]
        dies = [f"{next(self._points)}=die@{draw.randint(1, 3)}" for _ in range(2)]
        return " ".join([f"seed={seed}", *fails, *dies])

    def keep_beside(self) -> None:
        """Let an operator's process work beside the hub, under the same mishaps, and another when it is gone."""
        if self.beside is not None and not self.beside.is_alive:
            self.beside.close()
            self.beside = None
        if self.beside is None:
            self.beside = self._start(["exchange.torture.beside", str(self.home)], planned=self.plan())

    def harm(self) -> None:
        """One thing, at once: a worker, a command or the hub is killed, the clock steps, or for a moment the disk
        is full or the ledger's server gone.
        """
        kinds = ["worker", "worker", "worker", "command", "command", "hub", "clock", "clock"]
        kinds += (["disk"] if self.disk else []) + (["ledger"] if self.server else [])
        what = self.random.choice(kinds)
        if what == "command":
            self._end_beside()
        elif what == "disk":
            self._fill(self.random.uniform(0.3, 1.5))
        elif what == "ledger":
            assert self.server is not None
            self.server.interrupt(self.random.uniform(0.1, 1.0))
            self.done["ledgers stopped"] += 1
        elif what == "clock":
            self.watch.step(self.random)
            self.done["clock steps"] += 1
        elif what == "hub":
            self.kill()
        elif workers := self._workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(workers), signal.SIGKILL)
                self.done["workers killed"] += 1

    def _end_beside(self) -> None:
        if self.beside is None:
            return
        if self.beside.is_alive:
            self.beside.signal(signal.SIGKILL)
            self.done["commands killed"] += 1
        self.beside.wait(_STOPS_WITHIN)
        self.beside.close()
        self.beside = None

    def kill(self) -> None:
        """SIGKILL for the hub; its workers leave with it. And for the command beside it."""
        self._end_beside()
        if self.hub is not None and self.is_alive:
            self.hub.signal(signal.SIGKILL)
            self.done["hubs killed"] += 1
        self._bury()

    def stop(self) -> None:
        """Let the hub end as it should."""
        assert self.hub is not None
        self.hub.signal(signal.SIGTERM)
        self._bury()

    @property
    def is_alive(self) -> bool:
        return self.hub is not None and self.hub.is_alive

    def count_told(self) -> None:
        """Count the mishaps that processes have told of."""
        with contextlib.suppress(FileNotFoundError):
            for line in self.told.read_text().splitlines():
                what, name, _ = line.split()
                done = name.partition(":")[0]
                self.done["deaths at a named point" if what == "die" else f"{done} failed"] += 1
            self.told.unlink()

    def _bury(self) -> None:
        if self.hub is None:
            return
        self.hub.wait(_STOPS_WITHIN)
        until = time.monotonic() + _STOPS_WITHIN
        while self._workers() and time.monotonic() < until:
            time.sleep(0.02)
        self.hub.close()
        self.hub = None

    def _workers(self) -> list[int]:
        """The processes of the hub's session besides itself that do its work."""
        found = []
        assert self.hub is not None
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, IndexError):
                pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
                is_worker = b"resource_tracker" not in (stat.parent / "cmdline").read_bytes()
                if int(rest[3]) == self.hub.pid and pid != self.hub.pid and rest[0] != "Z" and is_worker:
                    found.append(pid)
        return found

    def _fill(self, seconds: float) -> None:
        """The disk is full to its last byte for a while."""
        balloon = self.home / "state" / "balloon"
        free = shutil.disk_usage(self.home).free
        with contextlib.suppress(OSError), balloon.open("wb") as file:
            for _ in range(free // (1 << 20) + 2):
                file.write(bytes(1 << 20))
        self.done["disks filled"] += 1
        time.sleep(seconds)
        balloon.unlink()
