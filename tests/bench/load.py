"""How fast a hub is, beside a bare script that does the least possible: `make bench`.

    python tests/bench/load.py --accounts 50000 --runs 5

Each run is a night of its own: a sync, a bucket and a publication. What the bare script can do, too, it does
turn about with the hub, on the same bytes and the same disk, each in a process that has warmed up. The hub's
time for a bucket goes from the end of its upload to its final receipt.
"""

import json
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import bare
import click
from rich.console import Console
from rich.table import Table

from config import log, partner_file, settings
from config.home import Home
from config.partners import Role
from jobs import tasks
from jobs.clock import StandingClock
from jobs.executor import make_executor
from jobs.steps import arrive
from jobs.stores.opened import Stores
from schemas.drop import Outcome
from schemas.sample import EDCS, EGSS, Egs, Night, SampleFile

FIRST_DAY = date(2013, 9, 1)
EDC = EDCS[0]
LIMIT = 1.7  # a bucket's time over the bare script's
MEMORY = 1024  # MiB of a worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Seconds by the clock, and of processor time in the worker that did it."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of the answer: what was done, and how long it took in each run."""

    what: str
    hub: list[Took] = field(default_factory=list)
    bare: list[Took] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Worker:
    """An executor; of one process, where nothing else is said."""

    pool: Executor

    def does(self, task: Callable[..., Any], *given: Any) -> tuple[Any, Took]:
        """Do it there, and say how long it took."""
        before = self.pool.submit(spent).result()
        began = time.perf_counter()
        answer = self.pool.submit(task, *given).result()
        wall = time.perf_counter() - began
        return answer, Took(wall=wall, cpu=self.pool.submit(spent).result() - before)

    def does_all(self, task: Callable[..., Any], given: Iterable[tuple[Any, ...]]) -> Took:
        """Do it to each, as many at a time as it has processes, and say how long all took."""
        before = self._spent_by_all()
        began = time.perf_counter()
        for answer in [self.pool.submit(task, *each) for each in given]:
            answer.result()
        wall = time.perf_counter() - began
        return Took(wall=wall, cpu=self._spent_by_all() - before)

    def _spent_by_all(self) -> float:
        stats = [
            Path(f"/proc/{pid}/stat").read_text() for pid in getattr(self.pool, "_processes", None) or ()
        ]
        ticks = sum(int(field) for stat in stats for field in stat.rpartition(")")[2].split()[11:13])
        return ticks / os.sysconf("SC_CLK_TCK")

    def peak(self) -> int:
        """The most memory that its process has held so far, in MiB."""
        return self.pool.submit(held).result()


def spent() -> float:
    """Seconds of processor time that this process has used."""
    return time.process_time()


def held() -> int:
    """The most memory that this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


class BenchHub:
    """A hub's home, and workers as `meterhub serve` has them: one that loads, one for everything else."""

    def __init__(
        self, root: Path, egss: tuple[Egs, ...] = EGSS, *, workers: int = 1, beside: "BenchHub | None" = None
    ) -> None:
        """`beside`: the hub whose workers, which are warm, are this one's, too."""
        home = Home(root)
        home.lay_out()
        home.settings_file.write_text(f"workers = {workers}\n")
        ours = {"role": Role.EDC, "name": EDC.name, "duns": EDC.duns, "zone": str(EDC.zone)}
        (home.partners / f"{EDC.id}.toml").write_text(partner_file.new(id=EDC.id, **ours))
        for egs in egss:
            theirs = partner_file.new(id=egs.id, role=Role.EGS, name=egs.name, duns=egs.duns)
            (home.partners / f"{egs.id}.toml").write_text(theirs)
        self.home = home
        knobs = settings.load(root)
        log.configure(home, knobs, console=False)
        self.stores = Stores.open(home, knobs)
        if beside is not None:
            self.loader, self.other = beside.loader, beside.other
            return
        self.loader = Worker(make_executor(knobs, prepare=tasks.prepare, given=(root, knobs)))
        self.other = Worker(make_executor(knobs, prepare=tasks.prepare, given=(root, knobs)))

    def takes(self, file: SampleFile, worker: Worker, *, at: datetime) -> Took:
        """From the end of the file's upload to its final receipt, which must say that all was accepted."""
        self.stores.mailboxes.part(file.edc, file.name).write_bytes(file.content)
        os.sync()
        began = time.perf_counter()
        drop = arrive.ended(file.edc, file.name, stores=self.stores, now=at)
        before = time.perf_counter() - began
        _, took = worker.does(tasks.advance, self.home.root, drop.id, StandingClock(at))
        receipts = self.stores.mailboxes.folder(file.edc, "receipts")
        receipt = json.loads((receipts / f"{file.name}.{drop.id}.{Outcome.ACCEPTED}.json").read_text())
        if receipt.get("blocks_loaded", file.blocks) != file.blocks:
            raise SystemExit(f"{file.name}: {receipt}")
        return Took(wall=before + took.wall, cpu=took.cpu)

    def takes_all(self, files: Sequence[SampleFile], *, at: datetime) -> Took:
        """A night's files, whole in inbound/ at once, by all workers that load."""
        for file in files:
            self.stores.mailboxes.part(file.edc, file.name).write_bytes(file.content)
        os.sync()
        ends = (arrive.ended(file.edc, file.name, stores=self.stores, now=at) for file in files)
        took = self.loader.does_all(
            tasks.advance, ((self.home.root, drop.id, StandingClock(at)) for drop in ends)
        )
        receipts = self.stores.mailboxes.folder(EDC.id, "receipts")
        for file in files:
            if not any(receipts.glob(f"{file.name}.*.{Outcome.ACCEPTED}.json")):
                raise SystemExit(f"{file.name} was not accepted")
        return took

    def publishes(self, *, at: datetime) -> Took:
        """What was loaded goes to its EGSs."""
        os.sync()
        slot = tasks.Slot(edc=EDC.id, at=at)
        _, took = self.other.does(tasks.publish_slot, self.home.root, slot, StandingClock(at))
        return took

    def close(self) -> None:
        self.loader.pool.shutdown()
        self.other.pool.shutdown()
        self.stores.close()


def bare_loads(file: SampleFile, worker: Worker, folder: Path) -> Took:
    """The bare script, from the file to its archive and Parquet."""
    source, out = folder / file.name, folder / "out"
    folder.mkdir(parents=True, exist_ok=True)
    source.write_bytes(file.content)
    os.sync()
    _, took = worker.does(bare.load, source, out)
    source.unlink()
    shutil.rmtree(out)
    return took


def bare_loads_all(files: Sequence[SampleFile], worker: Worker, folder: Path) -> Took:
    """The bare script, with as many processes as its worker has."""
    sources, out = [folder / file.name for file in files], folder / "out"
    folder.mkdir(parents=True, exist_ok=True)
    for source, file in zip(sources, files, strict=True):
        source.write_bytes(file.content)
    os.sync()
    took = worker.does_all(bare.load, ((source, out) for source in sources))
    for source in sources:
        source.unlink()
    shutil.rmtree(out)
    return took


def measure(folder: Path, *, accounts: int, runs: int) -> tuple[list[Line], dict[str, int]]:
    """All lines, and the peak memory of each loader in MiB. The first night warms up and does not count."""
    night = Night(day=FIRST_DAY, edcs=(EDC,), accounts=accounts, bucket=accounts, net_metered=0.0)
    hub = BenchHub(folder / "hub")
    script = Worker(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")))
    bucket = Line(what="a bucket, from the end of its upload to its final receipt")
    sync = Line(what="a sync of as many rows, until it is in force")
    publication = Line(what="its publication")
    for run in range(runs + 1):
        day = FIRST_DAY + timedelta(days=run)
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(days=1)
        parts = list(night.sync(EDC, later=run))
        synced = [hub.takes(part, hub.other, at=at) for part in parts]
        file = night.bucket_of(EDC, 0, day=day)
        if run % 2:
            bucket.hub.append(hub.takes(file, hub.loader, at=at))
        bucket.bare.append(bare_loads(file, script, folder / "bare"))
        if not run % 2:
            bucket.hub.append(hub.takes(file, hub.loader, at=at))
        sync.hub.append(Took(wall=sum(one.wall for one in synced), cpu=sum(one.cpu for one in synced)))
        publication.hub.append(hub.publishes(at=at))
    lines = [bucket, sync, publication]
    for line in lines:
        del line.hub[:1], line.bare[:1]
    peaks = {"hub": hub.loader.peak(), "bare": script.peak()}
    hub.close()
    script.pool.shutdown()
    return lines, peaks


def median(took: list[Took], what: str) -> float | None:
    return statistics.median(getattr(one, what) for one in took) if took else None


def ratio(line: Line, what: str = "wall") -> float | None:
    """The median of the runs' ratios: both of a pair were measured in the same weather."""
    pairs = [
        getattr(ours, what) / getattr(theirs, what)
        for ours, theirs in zip(line.hub, line.bare, strict=bool(line.bare))
    ]
    return statistics.median(pairs) if pairs else None


def table(lines: list[Line], peaks: dict[str, int], *, accounts: int) -> Table:
    """The answer, a line a measurement."""
    title = f"{accounts:,} accounts, medians of {len(lines[0].hub)} runs, {os.cpu_count()} cores"
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    for column in ("bare s", "hub s", "ratio", "bare CPU s", "hub CPU s", "CPU ratio"):
        shown.add_column(column, justify="right")

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    for line in lines:
        walls = (median(line.bare, "wall"), median(line.hub, "wall"), ratio(line))
        cpus = (median(line.bare, "cpu"), median(line.hub, "cpu"), ratio(line, "cpu"))
        shown.add_row(line.what, *map(cell, (*walls, *cpus)))
    shown.add_row("peak memory of who loads, MiB", f"{peaks['bare']:,}", f"{peaks['hub']:,}")
    return shown


@click.command()
@click.option("--accounts", type=click.IntRange(1, 50_000), default=50_000, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("bench-night"),
    show_default=True,
    help="Where to work; made, and removed at the end.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def main(accounts: int, runs: int, folder: Path, as_json: bool) -> None:
    """Load buckets by the hub and by a bare script, turn about, and say how long each took.

    Exit code 1 if the hub takes longer, or more memory, than it may.
    """
    if folder.exists():
        raise click.UsageError(f"{folder} is there already: it would be removed at the end")
    folder.mkdir(parents=True)
    try:
        lines, peaks = measure(folder.absolute(), accounts=accounts, runs=runs)
    finally:
        shutil.rmtree(folder)
    found = ratio(lines[0])
    kept = found is not None and found <= LIMIT and peaks["hub"] < MEMORY
    if as_json:
        facts = {
            line.what: {
                who: [{"wall": one.wall, "cpu": one.cpu} for one in took]
                for who, took in (("hub", line.hub), ("bare", line.bare))
            }
            for line in lines
        }
        click.echo(json.dumps({"lines": facts, "ratio": found, "peak_mib": peaks, "kept": kept}, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(table(lines, peaks, accounts=accounts))
        click.echo(
            f"A bucket may take {LIMIT} times what the bare script takes, and a worker {MEMORY:,} MiB: "
            + ("kept." if kept else "NOT KEPT.")
        )
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
