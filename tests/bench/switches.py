"""A sync of many parts, by both workers, and what a switch of suppliers costs beside the publication it undoes."""

import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import peers
from load import BenchHub, Took, Worker
from pair import Pair

from jobs import tasks
from jobs.clock import StandingClock
from jobs.steps import arrive
from jobs.stores.ledger import syncs
from schemas.sample import Edc, Egs, Night, SampleFile

PARTS = 10  # of the sync
BUCKETS = 2  # of the night that is published
SWITCHED = 25  # one account in so many, as 20,000 of 500,000
_FIRST_DAY = date(2013, 9, 1)


def measured(folder: Path, *, edc: Edc, egss: tuple[Egs, ...], accounts: int, runs: int) -> list[Pair]:
    """Each run has a sync of as many accounts as before; and a hub of its own with one night, not collected, and a
    sync in which some have switched. The first run, whose sync has none before it, warms up and does not count.
    """
    sync = Pair(
        what=f"a sync of {PARTS * accounts:,} rows, in force beside the one before",
        peer="DuckDB: read, sort, write, compare",
    )
    switch = Pair(
        what=f"a switch: withdrawn, in force, {len(egss)} files rewritten",
        peer="publishing them",
        at_most=1.2,
    )
    folder.mkdir()
    large, small = BenchHub(folder / "large", egss), BenchHub(folder / "0", egss)
    script = Worker(ProcessPoolExecutor(1, mp_context=get_context("forkserver")))
    for run in range(runs + 1):
        day = _FIRST_DAY + timedelta(days=2 * run)
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(days=1)
        of_all = Night(day=day, edcs=(edc,), egss=egss, accounts=PARTS * accounts, net_metered=0.0)
        parts = list(of_all.sync(edc, switched=PARTS * accounts // SWITCHED if run % 2 else 0))
        paths = [folder / part.name for part in parts]
        for path, part in zip(paths, parts, strict=True):
            path.write_bytes(part.content)
        before, after = folder / f"{run - 1}.parquet", folder / f"{run}.parquet"
        turns = [
            lambda parts=parts, at=at: sync.hub.append(_in_force(large, parts, at=at)),
            lambda given=(paths, before, after): sync.other.append(script.does(peers.sync, *given)[1]),
        ]
        for turn in turns if run % 2 else turns[::-1]:
            turn()
        for path in paths:
            path.unlink()

        night = Night(
            day=day, edcs=(edc,), egss=egss, accounts=BUCKETS * accounts, bucket=accounts, net_metered=0.0
        )
        one = BenchHub(folder / f"{run + 1}", egss, beside=small)
        for part in night.sync(edc):
            one.takes(part, one.other, at=at)
        for number in range(BUCKETS):
            one.takes(night.bucket_of(edc, number), one.loader, at=at)
        switch.other.append(one.publishes(at=at))
        next_day = at + timedelta(hours=20)
        switched = night.switch(edc, accounts=BUCKETS * accounts // SWITCHED)
        switch.hub.append([one.takes(part, one.other, at=next_day) for part in switched][-1])
        one.stores.close()
    for hub in (large, small):
        hub.close()
    script.pool.shutdown()
    for line in (sync, switch):
        del line.hub[:1], line.other[:1]
    return [sync, switch]


def _in_force(hub: BenchHub, parts: list[SampleFile], *, at: datetime) -> Took:
    """All parts have arrived: from there to the sync in force, by two workers."""
    drops = []
    for part in parts:
        hub.stores.mailboxes.part(part.edc, part.name).write_bytes(part.content)
        drops.append(arrive.ended(part.edc, part.name, stores=hub.stores, now=at).id)
    os.sync()
    waiting = iter(drops)

    def work(worker: Worker) -> float:
        spent = (
            worker.does(tasks.advance, hub.home.root, drop, StandingClock(at))[1].cpu for drop in waiting
        )
        return sum(spent)

    began = perf_counter()
    with ThreadPoolExecutor(2) as both:
        cpu = sum(both.map(work, (hub.loader, hub.other)))
    wall = perf_counter() - began
    with hub.stores.ledger.read() as tx:
        sync = syncs.in_force(tx, parts[0].edc)
    if sync is None or sync.began_at != at:
        raise SystemExit("the sync is not in force")
    return Took(wall=wall, cpu=cpu)
