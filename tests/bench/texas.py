"""A night of Texas: 7 million meters, 140 buckets, 100 suppliers, on this machine: `make texas`, `make texas N=500000`.

The hub's own schedule and worker processes do the night, as in `meterhub serve`. By disk, files are laid into
inbound/ as whole uploads, made on the fly between the stretches that are timed. Over SFTP (`SFTP=1`), all are made
first, and OpenSSH's client uploads them on 8 connections to a hub that serves in a process of its own. The hub's
clock stands meanwhile: it is 07:00 in Houston.
"""

import json
import os
import shutil
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import islice, repeat
from pathlib import Path

import click
import doors
import numpy as np
import plot
import pyarrow as pa
from load import BenchHub
from plot import Panel, Span
from ratios import CROWD, EDC
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from config import settings
from config.home import Home
from jobs.clock import StandingClock
from jobs.schedule import Done, Schedule
from jobs.steps import arrive
from jobs.stores.ledger import drops, loads, outbox, syncs
from jobs.stores.opened import Stores
from schemas.sample import Night, SampleFile
from schemas.usage_day import UsageDay

DAY = date(2013, 9, 1)
BUCKET = 50_000
AT = doors.MORNING
STRETCH = 20  # buckets a stretch: 1 GB of files
REPLACED = 5_000  # account-days, of all buckets
SWITCHED = 20_000  # accounts, of a whole Texas
LOOK = 0.5  # seconds between two looks
_SPOKEN = {"accepted", "partial", "rejected", "duplicate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen at a time: seconds into the timed parts, loads so far, MiB of the hub and its workers."""

    at: float
    part: str
    loads: int
    hub: int
    worker: int


@dataclass
class Story:
    """What was measured."""

    spans: list[Span] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)  # when each bucket had its receipt
    receipts: list[float] = field(default_factory=list)  # seconds from a replacement's upload to its receipt

    @property
    def seconds(self) -> float:
        return self.spans[-1].end if self.spans else 0.0

    def took(self, *parts: str) -> float:
        return sum(span.end - span.begin for span in self.spans if span.name in parts)


class Texas(ABC):
    """A hub, and the night that is put through it."""

    stores: Stores

    def __init__(self, accounts: int, progress: Progress) -> None:
        self.night = Night(
            day=DAY, edcs=(EDC,), egss=CROWD, accounts=accounts, bucket=BUCKET, net_metered=0.0
        )
        self.buckets = -(-accounts // BUCKET)
        self.intervals = accounts * 96
        self.story = Story()
        self.progress = progress
        self.bar = progress.add_task("buckets loaded", total=self.buckets, said="")
        self.deadline = UsageDay(DAY, EDC.zone).deadline(settings.Deadline().time)

    @abstractmethod
    def pids(self) -> tuple[int, list[int]]:
        """The process of the hub, and those of its workers."""

    @abstractmethod
    def sync(self, what: str, parts: Sequence[SampleFile]) -> None:
        """Bring a sync into force, with all that it sets off."""

    @abstractmethod
    def load(self, makers: ProcessPoolExecutor) -> None:
        """Load every bucket."""

    @abstractmethod
    def replace(self, file: SampleFile) -> None:
        """Load a replacement, and note how long its receipt took."""

    @abstractmethod
    def publish(self) -> None:
        """Lay out what is new."""

    @abstractmethod
    def close(self) -> None: ...

    def play(self, makers: ProcessPoolExecutor) -> None:
        """All of the night: a sync, the buckets, new readings of some, the publication, a switch."""
        self.sync("sync", list(self.night.sync(EDC)))
        self.load(makers)
        with self.stores.ledger.read() as tx:
            outcomes = {drop.outcome for drop in drops.listed(tx, limit=100_000)}
        if outcomes != {"accepted"}:
            raise SystemExit(f"not all was accepted: {outcomes}")
        self.replace(self.night.replacement(EDC, accounts=REPLACED))
        self.replace(some_again(self.night))
        self.publish()
        switched = max(self.night.accounts * SWITCHED // 7_000_000, 1)
        self.sync("switch", list(self.night.sync(EDC, later=1, switched=switched)))

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """A stretch of time that counts; the hub is looked at now and then."""
        over = threading.Event()
        began, before = time.perf_counter(), self.story.seconds
        watch = threading.Thread(target=self._watch, args=(part, over, before - began), daemon=True)
        watch.start()
        yield
        spent = time.perf_counter() - began
        over.set()
        watch.join()
        spans = self.story.spans
        if spans and spans[-1].name == part:
            spans[-1] = Span(name=part, begin=spans[-1].begin, end=before + spent)
        else:
            spans.append(Span(name=part, begin=before, end=before + spent))

    def _watch(self, part: str, over: threading.Event, shift: float) -> None:
        while not over.wait(LOOK):
            hub, workers = self.pids()
            with self.stores.ledger.read() as tx:
                done = loads.last_seq(tx, EDC.id)
            look = Look(
                at=time.perf_counter() + shift,
                part=part,
                loads=done,
                hub=rss(hub),
                worker=max(map(rss, workers), default=0),
            )
            self.story.looks.append(look)
            self.progress.update(self.bar, completed=min(done, self.buckets), said=self._said(look))

    def _said(self, look: Look) -> str:
        past = [one for one in self.story.looks if one.part == look.part and one.at > look.at - 5]
        speed = (past[-1].loads - past[0].loads) * BUCKET * 96 / max(past[-1].at - past[0].at, LOOK) / 1e6
        loading = f"{speed:4.1f} M intervals/s, " if look.part == "load" else ""
        return f"{look.part}: {loading}hub {look.hub} MiB, a worker {look.worker} MiB, {self.left(look.at):.0f} min to the deadline"

    def left(self, at: float) -> float:
        """Minutes to the deadline, so many seconds into the night."""
        return (self.deadline - AT).total_seconds() / 60 - at / 60

    def in_force(self, as_of: date) -> bool:
        with self.stores.ledger.read() as tx:
            sync = syncs.in_force(tx, EDC.id)
        return sync is not None and sync.as_of == as_of


class ByDisk(Texas):
    """Files are laid where an upload would have ended. The hub shares its process with who makes them."""

    def __init__(self, root: Path, accounts: int, progress: Progress) -> None:
        super().__init__(accounts, progress)
        self.bench = BenchHub(root, CROWD, workers=0)
        self.stores = self.bench.stores
        self.failed: list[str] = []
        self.ended: dict[str, float] = {}
        self.schedule = Schedule(self.stores, StandingClock(AT), told=self._told)

    def _told(self, done: Done) -> None:
        self.ended[done.key] = time.perf_counter()
        if done.error is not None:
            self.failed.append(f"{done.key}: {done.error!r}")

    def pids(self) -> tuple[int, list[int]]:
        return os.getpid(), list(self.schedule._executor._processes)

    def _lay(self, file: SampleFile) -> str:
        self.stores.mailboxes.part(file.edc, file.name).write_bytes(file.content)
        return arrive.ended(file.edc, file.name, stores=self.stores, now=self.schedule.clock()).id

    def _all_done(self) -> None:
        self.schedule.settle_down()
        if self.failed:
            raise SystemExit("\n".join(self.failed))

    def sync(self, what: str, parts: Sequence[SampleFile]) -> None:
        if what == "switch":
            self.schedule.clock = StandingClock(AT + timedelta(hours=20))
        waiting = [self._lay(file) for file in parts]
        with self.timed(what):
            for drop in waiting:
                self.schedule.wake(drop)
            self._all_done()
            if not self.in_force(self.night.morning(what == "switch")):  # complete while another was busy
                self.schedule.sweep(to_the_end=True)
                self._all_done()

    def load(self, makers: ProcessPoolExecutor) -> None:
        numbers = iter(range(self.buckets))
        while stretch := list(islice(numbers, STRETCH)):
            waiting = [self._lay(file) for file in makers.map(self.night.bucket_of, repeat(EDC), stretch)]
            shift = self.story.seconds - time.perf_counter()
            with self.timed("load"):
                for drop in waiting:
                    self.schedule.wake(drop)
                self._all_done()
            self.story.ends += sorted(self.ended[f"drop:{drop}"] + shift for drop in waiting)

    def replace(self, file: SampleFile) -> None:
        drop = self._lay(file)
        before = self.story.took("replace")
        with self.timed("replace"):
            self.schedule.wake(drop)
            self._all_done()
        self.story.receipts.append(self.story.took("replace") - before)

    def publish(self) -> None:
        self.schedule.clock = StandingClock(AT + timedelta(minutes=15))
        with self.timed("publish"):
            self.schedule.sweep(to_the_end=True)
            self._all_done()

    def close(self) -> None:
        self.schedule.stop(seconds=60)
        self.bench.close()


class BySftp(Texas):
    """Files are uploaded by OpenSSH's client; the hub serves in a process of its own."""

    def __init__(self, root: Path, accounts: int, progress: Progress) -> None:
        super().__init__(accounts, progress)
        self.files = root / "files"
        self.files.mkdir(parents=True)
        self.served = doors.hub(root / "hub", EDC, CROWD)
        home = Home(root / "hub")
        self.stores = Stores.open(home, settings.load(home.root))
        self.sent = 0

    def pids(self) -> tuple[int, list[int]]:
        return self.served.pid, descendants(self.served.pid)

    def _write(self, file: SampleFile) -> Path:
        path = self.files / file.name
        path.write_bytes(file.content)
        return path

    def _upload(self, files: Sequence[Path]) -> None:
        self.sent += len(files)
        clients = doors.upload(
            files, login=EDC.id, key=self.served.key, port=self.served.port, into="inbound"
        )
        doors.finished(clients)

    def sync(self, what: str, parts: Sequence[SampleFile]) -> None:
        files = [self._write(file) for file in parts]
        if what == "switch":
            self.served.asked(f"later {20 * 60}")
        with self.timed(what):
            self._upload(files)
            self.served.asked(f"loaded {self.sent}")
            if not self.in_force(self.night.morning(what == "switch")):
                self.served.asked("sweep")  # it was complete while another was busy

    def load(self, makers: ProcessPoolExecutor) -> None:
        every = range(self.buckets)
        files = [self._write(file) for file in makers.map(self.night.bucket_of, repeat(EDC), every)]
        os.sync()
        before = self.story.seconds
        with self.timed("load"):
            self._upload(files)
            self.served.asked(f"loaded {self.sent}")
        seen = [(look.at, look.loads) for look in self.story.looks if look.part == "load"]
        at, done = zip((before, 0), *seen, (self.story.seconds, self.buckets), strict=True)
        self.story.ends = np.interp(np.arange(1, self.buckets + 1), done, at).tolist()

    def replace(self, file: SampleFile) -> None:
        path = self._write(file)
        with self.timed("replace"):
            self._upload([path])
            ended = time.perf_counter()
            self.served.asked(f"loaded {self.sent}")
            receipts = self.stores.mailboxes.folder(EDC.id, "receipts")
            if not any(said.name.split(".")[-2] in _SPOKEN for said in receipts.glob(f"{path.name}.*.json")):
                raise SystemExit("the replacement has no receipt")
            self.story.receipts.append(time.perf_counter() - ended)

    def publish(self) -> None:
        self.served.asked("later 15")
        with self.timed("publish"):
            self.served.asked("sweep")

    def close(self) -> None:
        self.stores.close()
        self.served.close()


def some_again(night: Night) -> SampleFile:
    """New readings of accounts that lie far apart, some of every bucket: each is in the lake already."""
    count = min(REPLACED, night.accounts)
    blocks = night.blocks(EDC, 0, count, day=DAY + timedelta(days=7)).combine_chunks()
    apart = pa.array(np.linspace(0, night.accounts - 1, count).astype(np.int64))
    for name, column in (
        ("account", night.people(EDC).accounts.take(apart)),
        ("usage_date", pa.repeat(pa.scalar(DAY, pa.date32()), count)),
    ):
        place = blocks.schema.get_field_index(name)
        blocks = blocks.set_column(place, blocks.schema.field(place), column)
    at = (AT + timedelta(hours=3)).time()
    return night.file(EDC, blocks, says="new readings", day=DAY, at=at, counter=1)


def rss(pid: int) -> int:
    """The memory that a process holds, in MiB; 0 when it has gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024 if "VmRSS:" in text else 0


def descendants(pid: int) -> list[int]:
    """All processes that a process has started, and those that they have."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents.setdefault(parent, []).append(int(stat.parent.name))
    found = list(parents.get(pid, []))
    for child in found:
        found += parents.get(child, [])
    return found


# ── The answer ─────────────────────────────────────────────────────────────────────────────────────


def facts(texas: Texas) -> dict[str, float | int]:
    """What came of it, in numbers."""
    story, n = texas.story, min(10, texas.buckets // 2)
    ends = [next(span.begin for span in story.spans if span.name == "load"), *story.ends]
    last, first = ends[-1] - ends[-1 - n], ends[n] - ends[0]
    with texas.stores.ledger.read() as tx:
        laid = len(outbox.live(tx, edc=EDC.id))
    return {
        "accounts": texas.night.accounts,
        "intervals": texas.intervals,
        **{f"{span.name}_seconds": round(span.end - span.begin, 2) for span in story.spans},
        "load_a_second": round(texas.intervals / story.took("load")),
        "publish_a_second": round(texas.intervals / story.took("publish")),
        "first_byte_to_last_file_seconds": round(story.took("load", "publish"), 2),
        "last_buckets_over_first": round(last / first, 3) if n else 0,
        "receipt_seconds": round(story.receipts[0], 2),
        "receipt_of_all_buckets_seconds": round(story.receipts[1], 2),
        "hub_mib": max((look.hub for look in story.looks), default=0),
        "worker_mib": max((look.worker for look in story.looks), default=0),
        "minutes_to_deadline": round(texas.left(story.took("sync", "load", "replace", "publish")), 1),
        "outbound_files": laid,
    }


def report(texas: Texas, said: dict[str, float | int]) -> Table:
    how = "over SFTP" if isinstance(texas, BySftp) else "from disk"
    shown = Table(
        title=f"{said['accounts']:,} accounts, {said['intervals']:,} intervals, {how}", title_justify="left"
    )
    for column in ("", "seconds", ""):
        shown.add_column(column, justify="right" if column else "left")
    for span in texas.story.spans:
        speed = said.get(f"{span.name}_a_second")
        memory = [look for look in texas.story.looks if look.part == span.name]
        held = (
            f"hub {max(look.hub for look in memory)} MiB, a worker {max(look.worker for look in memory)}"
            if memory
            else ""
        )
        more = [f"{speed:,} intervals a second"] if speed else []
        shown.add_row(
            span.name, f"{span.end - span.begin:.1f}", ", ".join([*more, *([held] if held else [])])
        )
    shown.add_row(
        "load and publish",
        f"{said['first_byte_to_last_file_seconds']:.1f}",
        "first byte to last outbound file",
    )
    for key, where in (("receipt_seconds", "one bucket"), ("receipt_of_all_buckets_seconds", "all buckets")):
        shown.add_row("a replacement's receipt", f"{said[key]:.2f}", f"{REPLACED:,} account-days of {where}")
    n = min(10, texas.buckets // 2)
    shown.add_row(f"last {n} buckets over the first {n}", f"{said['last_buckets_over_first']:.2f}", "")
    shown.add_row(
        "outbound files",
        f"{said['outbound_files']:,}",
        f"{said['minutes_to_deadline']:.0f} minutes before the deadline",
    )
    return shown


def curves(texas: Texas) -> list[Panel]:
    """What the picture shows."""
    story = texas.story
    begin = next(span.begin for span in story.spans if span.name == "load")
    window = max(len(story.ends) // 40, 2)
    ends = [begin, *story.ends]
    per = texas.intervals / texas.buckets / 1e6
    speeds = [
        (ends[k], per * window / max(ends[k] - ends[k - window], 0.01)) for k in range(window, len(ends))
    ] or [(story.ends[-1], per / (story.ends[-1] - begin))]
    published = [span for span in story.spans if span.name == "publish"]
    steady = [
        (at, texas.intervals / (span.end - span.begin) / 1e6)
        for span in published
        for at in (span.begin, span.end)
    ]
    looks = story.looks or [Look(at=story.seconds, part="", loads=0, hub=0, worker=0)]
    return [
        Panel(
            title="intervals a second", unit="M", curves={"loading": speeds, "publishing, on average": steady}
        ),
        Panel(
            title="memory",
            unit="MiB",
            curves={
                "the biggest worker": [(look.at, look.worker) for look in looks],
                "the hub's own process": [(look.at, look.hub) for look in looks],
            },
        ),
        Panel(
            title="minutes to the deadline, 23:00 in Houston",
            unit="min",
            curves={"left": [(at, texas.left(at)) for at in (0.0, story.seconds)]},
        ),
    ]


def tell(console: Console, texas: Texas, picture: Path | None, *, as_json: bool) -> None:
    said = facts(texas)
    if as_json:
        click.echo(json.dumps(said, indent=2))
    else:
        console.print(report(texas, said))
        speed, memory, _ = curves(texas)
        console.print(
            plot.bars("loading, million intervals a second", speed.curves["loading"], unit="M/s"),
            highlight=False,
        )
        held = memory.curves["the biggest worker"]
        console.print(plot.bars("memory of the biggest worker", held, unit="MiB"), highlight=False)
    if picture is not None:
        below = [f"{name.replace('_', ' ')}: {value:,}" for name, value in said.items()]
        title = f"A night of {said['accounts']:,} meters"
        picture.write_text(plot.svg(title, curves(texas), texas.story.spans, below=below))
        if not as_json:
            console.print(f"The same as a picture: {picture}")


@click.command()
@click.option("--accounts", type=click.IntRange(1_000), default=7_000_000, show_default=True)
@click.option(
    "--sftp", is_flag=True, help="Upload by OpenSSH's client, 8 connections; else files come by disk."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("texas-night"),
    show_default=True,
    help="Where to work; made, and removed at the end. A full night takes 25 GB.",
)
@click.option("--picture", type=click.Path(path_type=Path), help="Draw it as an SVG file, too.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def main(accounts: int, sftp: bool, folder: Path, picture: Path | None, as_json: bool) -> None:
    """A whole night: a sync, all buckets, new readings, their publication, and a switch of 0.3 % of the accounts."""
    if folder.exists():
        raise click.UsageError(f"{folder} is there already: it would be removed at the end")
    folder.mkdir(parents=True)
    console = Console(width=None if sys.stdout.isatty() else 130)
    columns = (
        TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
    )  # fmt: skip
    try:
        with (
            ProcessPoolExecutor(2) as makers,
            Progress(*columns, console=console, transient=as_json) as shown,
        ):
            texas = (BySftp if sftp else ByDisk)(folder.absolute(), accounts, shown)
            try:
                texas.play(makers)
                shown.stop()
                tell(console, texas, picture, as_json=as_json)
            finally:
                texas.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
