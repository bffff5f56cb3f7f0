"""One round after the other: a while of harm under traffic, then peace, and then all of it is judged."""

import os
import socket
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import asyncssh

from config import partner_file
from config import settings as settings_file
from config.home import Home
from exchange import keys
from exchange.cli.demo_clients import Client
from exchange.torture import beside, judge
from exchange.torture.nursery import Nursery
from exchange.torture.partners import Traffic, keys_of
from exchange.torture.server import Server
from exchange.torture.tormentor import Tormentor
from exchange.torture.watch import Watch
from exchange.torture.world import ZONES, World
from jobs import pipeline
from jobs.schedule import Schedule
from jobs.stores import files
from jobs.stores.ledger import drops, failures, syncs
from jobs.stores.ledger.events import Head
from jobs.stores.opened import Stores
from schemas.drop import UNDER_WAY

BEGINS = datetime(2013, 9, 10, 14, tzinfo=UTC)  # what the hub's clock shows at first
_BEHIND = timedelta(hours=1)  # EDCs date a sync as of then: never of a day that the hub may not have come to
_LIVES = (1.0, 8.0)  # seconds that a hub is given
_HARM = (0.05, 0.3)  # between two blows
_PATIENCE = 300.0  # seconds in which a hub that is left in peace takes in what was under way
_SWEEPS = 30


class Torture:
    """A hub of its own in `home`, and what becomes of it."""

    def __init__(
        self, home: Path, *, seed: str, disk: bool, edcs: int, egss: int, server: Server | None = None
    ) -> None:
        self.home = Home(home)
        self.world = World.drawn(seed, edcs=edcs, egss=egss)
        self.random = Random(f"{seed}/harm")  # noqa: S311 - a rehearsal
        self.watch = Watch(home.parent / f"{home.name}.clock", BEGINS)
        self.nursery = Nursery(home.parent / f"{home.name}.errors")
        self.tormentor = Tormentor(
            home=home, random=self.random, disk=disk, watch=self.watch, nursery=self.nursery, server=server
        )
        self.rounds = 0
        self.heads: list[Head] = []  # of the chain, after each round
        self.host = _own_address()
        self.port = _free_port(self.host)
        self.keys = home.parent / f"{home.name}.keys"
        self._lay_out()
        self.traffic = Traffic(self.world, self._client, seed=seed, today=self._today)

    def round(self, *, seconds: float) -> list[str]:
        """A while of harm, then peace. What is found wrong then."""
        self.rounds += 1
        self.traffic.begin()
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.traffic.broken:
            self._step()
            self.tormentor.begin(planned=self.tormentor.plan())
            self._torment(until)
        self._step()
        opened = self.tormentor.begin()
        if opened is None:
            return ["a hub that was left in peace did not open"]
        left = self.traffic.rest(seconds=_PATIENCE)
        self.tormentor.stop()
        self.tormentor.count_told()
        if self.traffic.broken or left:
            return [*map(repr, self.traffic.broken), *(f"{name} was never taken in" for name in left)]
        return self._judged()

    def faults(self) -> Counter[str]:
        """What was done to the hub, by its kind."""
        return self.tormentor.done + Counter({"connections cut": self.traffic.cuts})

    def end(self) -> None:
        """Leave no process behind."""
        self.traffic.rest(seconds=0)
        self.tormentor.kill()
        self.nursery.close()

    def _torment(self, until: float) -> None:
        """One hub's life, to its violent end."""
        ends = time.monotonic() + self.random.uniform(*_LIVES)
        while (now := time.monotonic()) < min(ends, until) and self.tormentor.is_alive:
            time.sleep(min(self.random.uniform(*_HARM), max(0.0, ends - now)))
            self.tormentor.keep_beside()
            if self.random.random() < 0.6:
                self.tormentor.harm()
        self.tormentor.kill()
        self.tormentor.count_told()

    def _judged(self) -> list[str]:
        """What is still under way is brought to its end, as an operator and a server would; then all is judged."""
        settings = settings_file.load(self.home.root)
        clock = self.watch.clock
        self.watch.on(minutes=16)
        stores = Stores.open(self.home, settings)
        try:
            pipeline.take_up(stores=stores, now=clock())
            schedule = Schedule(stores, clock, inline=True)
            for _ in range(_SWEEPS):
                beside.retry(stores, now=clock())
                troubles = schedule.sweep(to_the_end=True)
                if not troubles and not _is_open(stores):
                    break
            self.watch.on(minutes=16)
            schedule.sweep(to_the_end=True)
            schedule.stop(seconds=10)
            proof = judge.prove(stores, self.heads, now=clock())
            self.heads.append(proof.head)
            return [*judge.judge(self.world, stores), *judge.wrong(proof)]
        finally:
            stores.close()

    def _step(self) -> None:
        """The clock steps on, or back."""
        self.watch.step_far(self.random)
        self.tormentor.done["clock steps"] += 1

    def _today(self) -> date:
        """The day that every EDC's clock has come to, whatever the hub's shows."""
        return (self.watch.shown() - _BEHIND).astimezone(ZoneInfo(ZONES[0])).date()

    def _client(self, login: str) -> Client:
        return Client(login=login, host=self.host, port=self.port, keys=self.keys)

    def _lay_out(self) -> None:
        self.home.lay_out()
        ledger = f'database_url = "{self.tormentor.server.url}"\n' if self.tormentor.server else ""
        text = (
            f'workers = 2\n{ledger}[sftp]\nhost = "{self.host}"\nport = {self.port}\nban_score = 0\n'
            "[sync]\nbrake = 1.0\n"
            f"[publish]\nevery_minutes = 1\n[storage]\nmin_free_bytes = {8 << 20 if self.tormentor.disk else 0}\n"
        )
        files.write(self.home.settings_file, text.encode())
        host_keys = keys.make_host_keys(self.home.host_keys)
        key = asyncssh.generate_private_key("ssh-ed25519", comment="torture")
        public = key.export_public_key("openssh").decode().strip()
        for one in (*self.world.edcs, *self.world.egss):
            file = partner_file.new(
                id=one.id, role=one.role, name=one.id.upper(), duns=one.duns, zone=one.zone, keys=[public]
            )
            files.write(self.home.partners / f"{one.id}.toml", file.encode())
        known = "".join(f"[{self.host}]:{self.port} {one.public}\n" for one in host_keys)
        logins = [one.id for one in (*self.world.edcs, *self.world.egss)]
        keys_of(self.keys, logins, key.export_private_key("openssh").decode(), known)


def _is_open(stores: Stores) -> bool:
    """Whether anything is under way still."""
    with stores.ledger.read() as tx:
        under_way = [*drops.at_stage(tx, UNDER_WAY), *drops.receipts_due(tx)]
        return bool(under_way or syncs.in_state(tx, *pipeline.UNSETTLED) or failures.parked(tx))


def _own_address() -> str:
    """One of this machine's, where nobody else takes the port while the hub is down."""
    low, high = os.getpid() & 0xFF, os.getpid() >> 8 & 0xFFFF
    return f"127.{1 + (high >> 8) % 254}.{high & 0xFF}.{1 + low % 254}"


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
