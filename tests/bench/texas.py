"""A night of Texas: 7 million meters, 140 buckets, 100 suppliers, on this machine: `make texas`, `make texas N=500000`.

The hub's own schedule and worker processes do the night, as in `meterhub serve`; files are laid into inbound/
as whole uploads. They are made on the fly, between the stretches that are timed: what is waiting for the
hub is at most a few files, and its clock stands while they are made.
"""

import shutil
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import islice, repeat
from pathlib import Path

import click
from load import BenchHub
from ratios import CROWD, EDC
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from jobs.clock import StandingClock
from jobs.schedule import Done, Schedule
from jobs.steps import arrive
from jobs.stores.ledger import drops, outbox, syncs
from schemas.sample import Night, SampleFile

DAY = date(2013, 9, 1)
BUCKET = 50_000
AT = datetime(2013, 9, 2, 12, tzinfo=UTC)  # 07:00 in Houston
STRETCH = 20  # buckets a stretch: 1 GB of files
BARS = 60


@dataclass
class Story:
    """What was measured: seconds of the stretches that count, and memory while they ran."""

    loaded: list[tuple[float, int]] = field(default_factory=list)  # seconds into the loading, intervals
    spans: dict[str, float] = field(default_factory=dict)
    memory: list[tuple[str, int, int]] = field(
        default_factory=list
    )  # part, MiB here, MiB of the biggest worker
    intervals: int = 0


class Texas:
    """The hub of the night."""

    def __init__(self, root: Path, accounts: int) -> None:
        self.bench = BenchHub(root, CROWD, workers=0)
        self.stores = self.bench.stores
        self.night = Night(
            day=DAY, edcs=(EDC,), egss=CROWD, accounts=accounts, bucket=BUCKET, net_metered=0.0
        )
        self.story = Story()
        self.failed: list[str] = []
        self.ended: dict[str, float] = {}
        self.schedule = Schedule(self.stores, StandingClock(AT), told=self.told)

    def told(self, done: Done) -> None:
        self.ended[done.key] = time.perf_counter()
        if done.error is not None:
            self.failed.append(f"{done.key}: {done.error!r}")

    def lay(self, file: SampleFile) -> str:
        """Its upload has ended; the drop waits to be woken."""
        self.stores.mailboxes.part(file.edc, file.name).write_bytes(file.content)
        return arrive.ended(file.edc, file.name, stores=self.stores, now=self.schedule.clock()).id

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the seconds of a stretch, and look at the memory now and then."""
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(what, over), daemon=True)
        watch.start()
        began = time.perf_counter()
        yield
        self.story.spans[what] = self.story.spans.get(what, 0.0) + time.perf_counter() - began
        over.set()
        watch.join()
        if self.failed:
            raise SystemExit("\n".join(self.failed))

    def _watch(self, what: str, over: threading.Event) -> None:
        while not over.wait(0.5):
            workers = [rss(pid) for pid in self.schedule._executor._processes]
            self.story.memory.append((what, rss("self"), max(workers, default=0)))

    def sync(self, *, later: int = 0, switched: int = 0) -> None:
        what = "switch" if switched else "sync"
        content = list(self.night.sync(EDC, later=later, switched=switched))
        waiting = [self.lay(file) for file in content]
        with self.timed(what):
            for drop in waiting:
                self.schedule.wake(drop)
            self.schedule.settle_down()
            self.schedule._syncs([], self.schedule.clock())  # complete while another process was busy
            self.schedule.settle_down()
        with self.stores.ledger.read() as tx:
            sync = syncs.in_force(tx, EDC.id)
        if sync is None or sync.as_of != self.night.morning(later):
            raise SystemExit("the sync is not in force")

    def load(self, makers: ProcessPoolExecutor, progress: Progress) -> None:
        numbers = iter(range(-(-self.night.accounts // BUCKET)))
        bar = progress.add_task("buckets loaded", total=-(-self.night.accounts // BUCKET))
        while stretch := list(islice(numbers, STRETCH)):
            files = makers.map(self.night.bucket_of, repeat(EDC), stretch)
            waiting = {self.lay(file): file.intervals for file in files}
            before = self.story.spans.get("load", 0.0)
            began = time.perf_counter()
            with self.timed("load"):
                for drop in waiting:
                    self.schedule.wake(drop)
                for left in range(len(waiting) - 1, -1, -1):
                    self.schedule.settle_down(to=left)
                    progress.advance(bar)
            ends = sorted((self.ended[f"drop:{drop}"], n) for drop, n in waiting.items())
            self.story.loaded += [(before + end - began, n) for end, n in ends]
        with self.stores.ledger.read() as tx:
            outcomes = {drop.outcome for drop in drops.listed(tx, limit=10_000)}
        self.story.intervals = sum(n for _, n in self.story.loaded)
        if outcomes != {"accepted"}:
            raise SystemExit(f"not all was accepted: {outcomes}")

    def publish(self, *, later: timedelta) -> None:
        self.schedule.clock = StandingClock(AT + later)
        with self.timed("publish"):
            self.schedule._publications(list(self.stores.partners.current().edcs), self.schedule.clock())
            self.schedule.settle_down()

    def files(self) -> int:
        with self.stores.ledger.read() as tx:
            return len(outbox.live(tx, edc=EDC.id))

    def close(self) -> None:
        self.schedule.stop(seconds=60)
        self.bench.close()


def rss(pid: int | str) -> int:
    """The memory that a process holds, in MiB; 0 when it has gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    return int(text.partition("VmRSS:")[2].split()[0]) // 1024


def report(texas: Texas, accounts: int) -> Table:
    story, spans = texas.story, texas.story.spans
    shown = Table(title=f"{accounts:,} accounts, {story.intervals:,} intervals", title_justify="left")
    for column in ("", "seconds", "intervals a second"):
        shown.add_column(column, justify="right" if column else "left")
    for what, seconds in spans.items():
        speed = f"{story.intervals / seconds:,.0f}" if what in {"load", "publish"} else ""
        shown.add_row(what, f"{seconds:.1f}", speed)
    for what in spans:
        here = [(main, worker) for part, main, worker in story.memory if part == what]
        if here:
            peak = f"{max(main for main, _ in here)} hub, {max(worker for _, worker in here)} a worker"
            shown.add_row(f"MiB at most, {what}", "", peak)
    n = min(10, len(story.loaded) // 2)
    if n:
        ends = [0.0, *(end for end, _ in story.loaded)]
        shown.add_row(
            f"last {n} buckets over the first {n}",
            f"{(ends[-1] - ends[-1 - n]) / (ends[n] - ends[0]):.2f}",
            "",
        )
    shown.add_row("outbound files", f"{texas.files()}", "")
    return shown


def plot(title: str, points: list[tuple[float, float]], *, unit: str) -> str:
    """Bars: the mean of the points of each stretch of time."""
    last = max(at for at, _ in points)
    steps = min(12, len(points))
    lines = [title]
    cells: list[list[float]] = [[] for _ in range(steps)]
    for at, value in points:
        cells[min(int(at / last * steps), steps - 1)].append(value)
    means = [sum(cell) / len(cell) if cell else 0.0 for cell in cells]
    for step, mean in enumerate(means):
        bar = "█" * round(BARS * mean / max(*means, 1))
        lines.append(f"{last * (step + 1) / steps:8.1f} s {bar} {mean:,.1f} {unit}")
    return "\n".join(lines)


def speeds(loaded: list[tuple[float, int]], *, seconds: float) -> list[tuple[float, float]]:
    """Millions of intervals a second, of a few stretches of the loading."""
    steps = min(12, max(len(loaded) // 4, 1))
    step = seconds / steps
    return [
        (k * step + step / 2, sum(n for end, n in loaded if k * step < end <= (k + 1) * step) / step / 1e6)
        for k in range(steps)
    ]


@click.command()
@click.option("--accounts", type=click.IntRange(1_000), default=7_000_000, show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("texas-night"),
    show_default=True,
    help="Where to work; made, and removed at the end. A full night takes 25 GB.",
)
def main(accounts: int, folder: Path) -> None:
    """A whole night: a sync, all buckets, their publication, and a switch of one account in 350."""
    if folder.exists():
        raise click.UsageError(f"{folder} is there already: it would be removed at the end")
    folder.mkdir(parents=True)
    console = Console(width=None if sys.stdout.isatty() else 110)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        texas = Texas(folder.absolute(), accounts)
        with ProcessPoolExecutor(2) as makers, Progress(*columns, console=console) as progress:
            parts = progress.add_task("parts of the night", total=4)
            texas.sync()
            progress.advance(parts)
            texas.load(makers, progress)
            progress.advance(parts)
            texas.publish(later=timedelta(minutes=15))
            progress.advance(parts)
            texas.schedule.clock = StandingClock(AT + timedelta(hours=20))
            texas.sync(later=1, switched=max(accounts // 350, 1))
            progress.advance(parts)
        console.print(report(texas, accounts))
        story = texas.story
        seconds = story.spans["load"]
        console.print(
            plot(
                "loading, million intervals a second",
                speeds(story.loaded, seconds=seconds),
                unit="M/s",
            ),
            highlight=False,
        )
        for part in ("load", "publish"):
            rows = [worker for what, _, worker in story.memory if what == part]
            points = [((k + 1) / 2, float(worker)) for k, worker in enumerate(rows)]
            if points:
                console.print(
                    plot(f"memory of the biggest worker, {part}", points, unit="MiB"), highlight=False
                )
        texas.close()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
