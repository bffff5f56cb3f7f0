"""How fast a hub is, beside others who do the same work in the same run: `make bench`.

    python tests/bench/ratios.py --only night --runs 3

Groups of lines: a night, uploads, the doors, syncs, questions, and three years in the ledger. Each run of the
night has a day of its own: a sync, a bucket or several, their publication to a hundred EGSs and a replacement.
The hub and its peers take turns, on the same bytes and the same disk, each in a process that has warmed up. A
ratio is the median of the runs' ratios: 0.5 is half the peer's time.
"""

import json
import multiprocessing
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import duckdb
import history
import load
import openssh
import peers
import pyarrow.compute as pc
import stalls
import switches
import uploads
from load import BenchHub, Took, Worker
from pair import Pair
from rich.console import Console
from rich.table import Table
from years import NIGHTS

from jobs.stores import views
from jobs.stores.lake import usage_path
from jobs.stores.ledger import drops, loads, syncs
from jobs.stores.ledger.loads import LakeFile
from schemas.drop import Stage
from schemas.sample import EDCS, Egs, Night

EDC = EDCS[0]
FIRST_DAY = date(2013, 9, 1)
CROWD = tuple(Egs(id=f"egs{k:03}", name=f"Supplier {k:03}", duns=f"{600_000_000 + k}") for k in range(100))
REPLACED = 5_000
BUCKETS = 6  # of a night that two workers load


def one_bucket(folder: Path, *, accounts: int, runs: int) -> list[Pair]:
    """Loading, a sync, publishing and replacing. The first day warms up and does not count."""
    recipe = Night(
        day=FIRST_DAY, edcs=(EDC,), egss=CROWD, accounts=accounts, bucket=accounts, net_metered=0.0
    )
    bucket = "load a bucket, to its final receipt"
    lines = {
        "bare": Pair(what=bucket, peer="bare script", at_most=load.LIMIT),
        "padded": Pair(what=bucket, peer="DuckDB, null padding", at_most=1 / 4),
        "lines": Pair(what=bucket, peer="DuckDB, as well as we can"),
        "frames": Pair(what=bucket, peer="Polars", at_most=1 / 3),
        "sync": Pair(what="a sync of as many rows, to its report", peer="pyarrow: read, sort, write"),
        "loading": Pair(what="publish it to 100 EGSs", peer="the hub's own load of it"),
        "replace": Pair(what=f"replace {REPLACED:,} account-days, to the receipt", peer="bare script"),
    }
    hub = BenchHub(folder / "hub", CROWD)
    script = Worker(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("forkserver")))
    loaders = {"padded": peers.padded, "lines": peers.by_lines, "frames": peers.frames}
    others = folder / "peers"
    others.mkdir()

    def beside(key: str, task: Callable[..., Any], *given: Any) -> None:
        lines[key].other.append(script.does(task, *given)[1])

    for run in range(runs + 1):
        day = FIRST_DAY + timedelta(days=run)
        today = Night(**{name: getattr(recipe, name) for name in recipe.__slots__} | {"day": day})
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(days=1)
        (part,) = recipe.sync(EDC, later=run)
        lines["sync"].hub.append(hub.takes(part, hub.other, at=at))
        (others / part.name).write_bytes(part.content)
        beside("sync", peers.roster, others / part.name, others / "roster.parquet")

        file = today.bucket_of(EDC, 0)
        took = [hub.takes(file, hub.loader, at=at)] if run % 2 else []
        lines["bare"].other.append(load.bare_loads(file, script, folder / "bare"))
        took = took or [hub.takes(file, hub.loader, at=at)]
        (others / file.name).write_bytes(file.content)
        for key, peer in loaders.items():
            beside(key, peer, others / file.name, others / "bucket.parquet")
            lines[key].hub.extend(took)
        lines["bare"].hub.extend(took)

        lines["loading"].hub.append(hub.publishes(at=at))
        lines["loading"].other.extend(took)

        again = today.replacement(EDC, accounts=min(REPLACED, accounts))
        lines["replace"].hub.append(hub.takes(again, hub.loader, at=at))
        lines["replace"].other.append(load.bare_loads(again, script, folder / "bare"))
        hub.publishes(at=at + timedelta(minutes=15))
        for old in others.glob(f"{EDC.duns}*"):
            old.unlink()
    hub.close()
    script.pool.shutdown()
    for line in lines.values():
        del line.hub[:1], line.other[:1]
    return list(lines.values())


def whole_night(folder: Path, *, accounts: int, runs: int) -> list[Pair]:
    """Several buckets by two workers, and their publication: what a night consists of. The first does not count."""
    loading = f"load a night of {BUCKETS} buckets, by two workers"
    publishing = "publish that night to 100 EGSs"
    lines = {
        "bare": Pair(what=loading, peer="bare script, by two workers", at_most=1.3),
        "loading": Pair(what=publishing, peer="the hub's own load of it", at_most=1.25),
        "agg": Pair(what=publishing, peer="DuckDB, string_agg", at_most=1 / 3),
    }
    hub = BenchHub(folder / "whole", CROWD, workers=2)
    script = Worker(ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")))
    size = {"accounts": BUCKETS * accounts, "bucket": accounts}
    recipe = Night(day=FIRST_DAY, edcs=(EDC,), egss=CROWD, net_metered=0.0, **size)
    for run in range(runs + 1):
        day = FIRST_DAY + timedelta(days=run)
        at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC) + timedelta(days=1)
        for part in recipe.sync(EDC, later=run):
            hub.takes(part, hub.other, at=at)
        files = [recipe.bucket_of(EDC, number, day=day) for number in range(BUCKETS)]
        took = [hub.takes_all(files, at=at)] if run % 2 else []
        lines["bare"].other.append(load.bare_loads_all(files, script, folder / "bare"))
        took = took or [hub.takes_all(files, at=at)]
        lines["bare"].hub.extend(took)
        lines["loading"].other.extend(took)

        published = hub.publishes(at=at)
        for key in ("loading", "agg"):
            lines[key].hub.append(published)
        lake_and_roster = _lake_and_roster(hub, BUCKETS)
        lines["agg"].other.append(
            script.does_all(peers.string_agg, [(*lake_and_roster, _by_duns(), folder / "agg")])
        )
    hub.close()
    script.pool.shutdown()
    for line in lines.values():
        del line.hub[:1], line.other[:1]
    return list(lines.values())


def _by_duns() -> dict[str, str]:
    return {egs.duns: egs.id for egs in CROWD}


def _lake_and_roster(hub: BenchHub, last: int) -> tuple[list[Path], Path]:
    """The lake files that were loaded last, and the roster in force."""
    with hub.stores.ledger.read() as tx:
        paths = loads.paths(tx, kind="usage")[-last:]
        sync = syncs.in_force(tx, EDC.id)
    assert sync is not None
    return [hub.stores.lake.root / path for path in paths], hub.stores.lake.root / sync.path


# ── Questions ──────────────────────────────────────────────────────────────────────────────────────


def questions(folder: Path, *, accounts: int, runs: int) -> list[Pair]:
    """Versions and ranges asked of a year of small nights, beside DuckDB on the same files without the
    hub's views, which knows of no version and no ledger.
    """
    accounts = min(accounts, 20_000)
    hub = BenchHub(folder / "year")
    some = a_year(hub, accounts=accounts)
    peer = "DuckDB on the bare files"
    lines = [
        Pair(what="which version of an account-day is current", peer=peer),
        Pair(what="one account over 365 days", peer=peer),
        Pair(what=f"{len(some) // 4:,} accounts over 90 days", peer=peer),
    ]
    usage = hub.stores.lake.root.resolve() / "usage"
    bare_files = f"read_parquet('{usage}/*/*.parquet', hive_partitioning = true)"
    for run in range(runs + 1):
        one, day = f"account = '{some[97 * run % len(some)]}'", FIRST_DAY + timedelta(days=run)
        many = ", ".join(f"'{account}'" for account in some[run % 4 :: 4])
        ninety = f"usage_date between '{day}' and '{day + timedelta(days=89)}'"
        asked = (
            f"select version, drop_id from {{}} where {one} and channel = '4' and usage_date = '{day}'",
            f"select usage_date, wh, status from {{}} where {one}",
            f"select account, usage_date, wh, status from {{}} where {ninety} and account in ({many})",
        )
        for line, question in zip(lines, asked, strict=True):
            ours, theirs = question.format("usage_current"), question.format(bare_files)
            turns = [
                (line.hub, lambda q=ours: _ask(q, hub)),
                (line.other, lambda q=theirs: _ask_duckdb(q)),
            ]
            for kept, turn in turns if run % 2 else turns[::-1]:
                kept.append(_timed(turn))
    hub.close()
    for line in lines:
        del line.hub[:1], line.other[:1]
    return lines


def a_year(hub: BenchHub, *, accounts: int) -> list[str]:
    """Put a year of nights into the lake and the ledger, all of the same readings; the accounts."""
    night = Night(day=FIRST_DAY, edcs=(EDC,), accounts=accounts, bucket=accounts, net_metered=0.0)
    at = datetime(2013, 9, 2, 12, tzinfo=UTC)
    hub.takes(night.bucket_of(EDC, 0), hub.loader, at=at)
    with hub.stores.ledger.read() as tx:
        (loaded,) = loads.between(tx, edc=EDC.id, after_seq=0, through_seq=1)
    source = hub.stores.lake.root / loaded.path
    some = pc.unique(hub.stores.lake.read(loaded.path, columns=["account"])["account"]).to_pylist()
    facts = {name: getattr(loaded, name) for name in LakeFile.__slots__} | {"id": 0, "load_seq": 0}
    with hub.stores.ledger.write() as tx:
        for later in range(1, 365):
            day = FIRST_DAY + timedelta(days=later)
            name = f"{EDC.duns}INTERVALDATA{later}.lse"
            drop = drops.begin(tx, partner=EDC.id, name=name, stage=Stage.ARRIVED, at=at, size=1)
            path = usage_path(edc=EDC.id, day=day, drop_id=drop.id, kind="usage")
            (hub.stores.lake.root / path).parent.mkdir(parents=True)
            (hub.stores.lake.root / path).hardlink_to(source)
            file = LakeFile(**facts | {"usage_date": day, "path": path, "drop_id": drop.id})
            loads.add(tx, drop_id=drop.id, edc=EDC.id, at=at, written=[file])
    return some


def _ask(question: str, hub: BenchHub) -> int:
    with views.ask(question, stores=hub.stores) as answer:
        return sum(len(batch) for batch in answer)


def _ask_duckdb(question: str) -> int:
    with duckdb.connect() as sql:
        sql.execute("set enable_progress_bar = false")
        return sum(len(batch) for batch in sql.sql(question).to_arrow_reader(10_000))


def _timed(work: Callable[[], int]) -> Took:
    wall, cpu = time.perf_counter(), time.process_time()
    assert work() > 0
    return Took(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


# ── The answer ─────────────────────────────────────────────────────────────────────────────────────


def night(folder: Path, *, accounts: int, runs: int) -> list[Pair]:
    return [
        *one_bucket(folder, accounts=accounts, runs=runs),
        *whole_night(folder, accounts=accounts, runs=runs),
    ]


def by_sftp(folder: Path, *, accounts: int, runs: int) -> list[Pair]:
    return uploads.measured(folder / "by-sftp", edc=EDC, egss=CROWD, accounts=accounts, runs=runs)


def rosters(folder: Path, *, accounts: int, runs: int) -> list[Pair]:
    return switches.measured(folder / "syncs", edc=EDC, egss=CROWD, accounts=accounts, runs=runs)


def three_years(folder: Path, *, accounts: int, runs: int, nights: int = NIGHTS) -> list[Pair]:
    return history.measured(
        folder / "years", edc=EDC, egss=CROWD, accounts=accounts, runs=runs, nights=nights
    )


def through_doors(folder: Path, *, accounts: int, runs: int) -> list[Pair]:
    beside = stalls.measured(folder / "stalls", edc=EDC, egss=CROWD, accounts=accounts, runs=runs)
    return openssh.measured(accounts=accounts, runs=runs) + beside


GROUPS: dict[str, Callable[..., list[Pair]]] = {
    "night": night,
    "uploads": by_sftp,
    "doors": through_doors,
    "syncs": rosters,
    "questions": questions,
    "years": three_years,
}


def table(lines: list[Pair]) -> Table:
    title = f"The hub's time over the peer's: medians of {len(lines[0].hub)} runs, {os.cpu_count()} cores"
    shown = Table(title=title, title_justify="left")
    for column in ("", "beside"):
        shown.add_column(column)
    for column in ("hub s", "peer s", "ratio", "CPU ratio", "at most"):
        shown.add_column(column, justify="right")
    before = ""
    for line in lines:
        hub, other = (statistics.median(one.wall for one in side) for side in (line.hub, line.other))
        at_most = "" if line.at_most is None else f"{line.at_most:.2f}" + ("" if line.kept else " MISSED")
        ratios = (f"{line.ratio():.2f}", f"{line.ratio('cpu'):.2f}")
        shown.add_row(
            line.what if line.what != before else "",
            line.peer,
            f"{hub:.3f}",
            f"{other:.3f}",
            *ratios,
            at_most,
        )
        before = line.what
    return shown


def measured(folder: Path, only: tuple[str, ...], *, accounts: int, runs: int, nights: int) -> Iterator[Pair]:
    for name in only or GROUPS:
        size = {"nights": nights} if name == "years" else {}
        yield from GROUPS[name](folder, accounts=accounts, runs=runs, **size)


@click.command()
@click.option("--only", type=click.Choice(list(GROUPS)), multiple=True, help="May be said several times.")
@click.option("--accounts", type=click.IntRange(100, 50_000), default=50_000, show_default=True)
@click.option("--runs", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--nights", type=click.IntRange(1), default=NIGHTS, help="So many in the ledger; three years of them."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("bench-night"),
    show_default=True,
    help="Where to work; made, and removed at the end.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def main(only: tuple[str, ...], accounts: int, runs: int, nights: int, folder: Path, as_json: bool) -> None:
    """Measure a hub beside a bare script, DuckDB and Polars. Exit code 1 if it takes longer than it may."""
    if folder.exists():
        raise click.UsageError(f"{folder} is there already: it would be removed at the end")
    folder.mkdir(parents=True)
    lines = []
    try:
        for line in measured(folder.absolute(), only, accounts=accounts, runs=runs, nights=nights):
            click.echo(f"{line.ratio():6.2f}  {line.what} / {line.peer}", err=True)  # the table takes a while
            lines.append(line)
    finally:
        shutil.rmtree(folder)
    if as_json:
        facts = [
            {
                "what": line.what,
                "peer": line.peer,
                "ratio": line.ratio(),
                "cpu_ratio": line.ratio("cpu"),
                "at_most": line.at_most,
                "hub": [one.wall for one in line.hub],
                "other": [one.wall for one in line.other],
            }
            for line in lines
        ]
        click.echo(json.dumps(facts, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(table(lines))
    sys.exit(0 if all(line.kept for line in lines) else 1)


if __name__ == "__main__":
    main()
