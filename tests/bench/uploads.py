"""Uploads by OpenSSH's client on 8 connections: beside servers that only take bytes, and a night through them."""

import getpass
import os
import resource
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import doors
from load import BenchHub, Took
from pair import Pair

from jobs.clock import StandingClock
from jobs.schedule import Schedule
from jobs.steps import arrive
from jobs.stores.ledger import syncs
from schemas.sample import Edc, Egs, Night, SampleFile

BUCKETS = 8
_A_DAY = 24 * 60  # minutes


def measured(folder: Path, *, edc: Edc, egss: tuple[Egs, ...], accounts: int, runs: int) -> list[Pair]:
    """The first run warms up and does not count."""
    uploaded = f"upload {BUCKETS} buckets on {doors.CONNECTIONS} connections"
    lines = {
        "openssh": Pair(what=uploaded, peer="OpenSSH's server"),
        "asyncssh": Pair(what=uploaded, peer="asyncssh's own server"),
        "night": Pair(
            what=f"{BUCKETS} buckets, first byte to last outbound file",
            peer="load and publish from disk",
            at_most=1.6,
        ),
    }
    folder.mkdir()
    first = doors.MORNING.date() - timedelta(days=1)
    size = {"accounts": BUCKETS * accounts, "bucket": accounts}
    night = Night(day=first, edcs=(edc,), egss=egss, net_metered=0.0, **size)
    disk, sftp = ByDisk(folder / "disk", egss), BySftp(folder / "sftp", edc, egss)
    plain = doors.plain(folder / "plain")
    beside = folder / "openssh-served"
    beside.mkdir()
    with doors.openssh(folder / "openssh") as (key, port):
        for run in range(runs + 1):
            day = first + timedelta(days=run)
            parts = list(night.sync(edc, later=run))
            files = [night.bucket_of(edc, number, day=day) for number in range(BUCKETS)]
            paths = [written(folder / "files", file) for file in files]
            sent = sftp.uploads(paths)
            lines["openssh"].hub.append(sent)
            lines["asyncssh"].hub.append(sent)
            to = (getpass.getuser(), key, port, str(beside))
            lines["openssh"].other.append(_timed(paths, *to))
            lines["asyncssh"].other.append(_timed(paths, "anybody", plain.key, plain.port, "."))
            sftp.knows(parts, folder / "files")
            disk.knows(parts)
            if run % 2:
                lines["night"].hub.append(sftp.plays(paths))
            lines["night"].other.append(disk.plays(files))
            if not run % 2:
                lines["night"].hub.append(sftp.plays(paths))
            for path in (*paths, *beside.iterdir(), *(plain.folder / "served").iterdir()):
                path.unlink()
            sftp.sleeps()
            disk.sleeps()
    plain.close()
    sftp.served.close()
    disk.close()
    for line in lines.values():
        del line.hub[:1], line.other[:1]
    return list(lines.values())


def written(folder: Path, file: SampleFile) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / file.name).write_bytes(file.content)
    return folder / file.name


def _timed(paths: Sequence[Path], login: str, key: Path, port: int, into: str, *, ending: str = "") -> Took:
    """How long an upload takes; its processor time is the clients'."""
    os.sync()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    doors.finished(doors.upload(paths, login=login, key=key, port=port, into=into, ending=ending))
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall=wall, cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


class BySftp:
    """A hub that serves in a process of its own."""

    def __init__(self, root: Path, edc: Edc, egss: tuple[Egs, ...]) -> None:
        self.served = doors.hub(root, edc, egss)
        self.edc = edc
        self.sent = 0

    def uploads(self, paths: Sequence[Path]) -> Took:
        """Uploads alone: under temporary names, of which nothing is loaded."""
        took = _timed(paths, self.edc.id, self.served.key, self.served.port, "inbound", ending=".tmp")
        doors.finished(doors.remove(paths, login=self.edc.id, key=self.served.key, port=self.served.port))
        return took

    def _send(self, paths: Sequence[Path]) -> None:
        self.sent += len(paths)
        _timed(paths, self.edc.id, self.served.key, self.served.port, "inbound")
        outcomes = self.served.asked(f"loaded {self.sent}")
        if set(outcomes) != {"accepted"}:
            raise SystemExit(f"not all was accepted: {outcomes}")

    def knows(self, parts: Sequence[SampleFile], folder: Path) -> None:
        """A sync comes into force."""
        paths = [written(folder, part) for part in parts]
        self._send(paths)
        self.served.asked("sweep")
        for path in paths:
            path.unlink()

    def plays(self, paths: Sequence[Path]) -> Took:
        """From the first byte of the buckets to the last outbound file."""
        os.sync()
        began = time.perf_counter()
        self._send(paths)
        self.served.asked("later 15")
        self.served.asked("sweep")
        return Took(wall=time.perf_counter() - began, cpu=0.0)

    def sleeps(self) -> None:
        self.served.asked(f"later {_A_DAY - 15}")


class ByDisk:
    """A hub whose files are laid where an upload would have ended."""

    def __init__(self, root: Path, egss: tuple[Egs, ...]) -> None:
        self.bench = BenchHub(root, egss, workers=0)
        self.now = doors.MORNING
        self.schedule = Schedule(self.bench.stores, StandingClock(self.now))

    def _later(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.schedule.clock = StandingClock(self.now)

    def _load(self, files: Sequence[SampleFile]) -> float:
        mailboxes = self.bench.stores.mailboxes
        for file in files:
            mailboxes.part(file.edc, file.name).write_bytes(file.content)
        os.sync()
        began = time.perf_counter()
        for file in files:
            drop = arrive.ended(file.edc, file.name, stores=self.bench.stores, now=self.now)
            self.schedule.wake(drop.id)
        self.schedule.settle_down()
        return began

    def knows(self, parts: Sequence[SampleFile]) -> None:
        self._load(parts)
        self.schedule.sweep(to_the_end=True)
        with self.bench.stores.ledger.read() as tx:
            if syncs.in_force(tx, parts[0].edc) is None:
                raise SystemExit("the sync is not in force")

    def plays(self, files: Sequence[SampleFile]) -> Took:
        """From the end of the uploads to the last outbound file."""
        began = self._load(files)
        self._later(15)
        self.schedule.sweep(to_the_end=True)
        return Took(wall=time.perf_counter() - began, cpu=0.0)

    def sleeps(self) -> None:
        self._later(_A_DAY - 15)

    def close(self) -> None:
        self.schedule.stop(seconds=60)
        self.bench.close()
