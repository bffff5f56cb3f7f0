"""Commands and commits with three years of nights in the ledger, beside the same with none."""

import contextlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import years
from load import BenchHub, Took
from pair import Pair

from exchange.cli.main import main
from jobs.stores.ledger import drops, loads
from schemas.sample import Edc, Egs, Night

LAST = date(2016, 9, 1)  # the usage day that both hubs have; before it come the years
NOW = datetime(2016, 9, 2, 12, tzinfo=UTC)
AT_MOST = 1.5
_METERHUB = "import sys; from exchange.cli.main import main; sys.exit(main(sys.argv[1:]))"


def measured(
    folder: Path,
    *,
    edc: Edc,
    egss: tuple[Egs, ...],
    accounts: int,
    runs: int,
    nights: int = years.NIGHTS,
    few: bool = False,
) -> list[Pair]:
    """Each command twice: with the interpreter's start, and in a process that has done it before. `few`: only
    the first of them.
    """
    accounts = min(accounts, 1_000)
    hubs = [_hub(folder / name, edc, egss, accounts) for name in ("years", "empty")]
    old, new = hubs
    with old.stores.ledger.read() as tx:
        (path,) = loads.paths(tx, kind="usage")
        (drop,) = [one.id for one in drops.listed(tx) if one.blocks_loaded]
        account = loads.of_drop(tx, drop)[0].account_low
    source = old.stores.lake.root / path
    years.fill(
        old.stores,
        source=source,
        edc=edc,
        egss=egss,
        first=LAST - timedelta(days=nights),
        nights=nights,
    )
    asked = _asked(drop, account)
    lines = _commands(hubs, asked[:1] if few else asked, runs=runs)
    commit = Pair(what="load 1,000 account-days", peer=f"without {nights:,} nights", at_most=AT_MOST)
    publication = Pair(what="publish them", peer=commit.peer, at_most=AT_MOST)
    for run in range(runs + 1):
        night = Night(day=LAST, edcs=(edc,), egss=egss, accounts=accounts, bucket=accounts, net_metered=0.0)
        file = night.replacement(edc, accounts=accounts, cut=run + 1)
        at = NOW + timedelta(hours=1, minutes=15 * run)
        turns = [(commit.hub, publication.hub, old), (commit.other, publication.other, new)]
        for loaded, laid_out, hub in turns if run % 2 else turns[::-1]:
            loaded.append(hub.takes(file, hub.loader, at=at))
            laid_out.append(hub.publishes(at=at))
    for line in (commit, publication):
        del line.hub[:1], line.other[:1]
    for hub in hubs:
        hub.close()
    return [*lines, commit, publication]


def _hub(root: Path, edc: Edc, egss: tuple[Egs, ...], accounts: int) -> BenchHub:
    hub = BenchHub(root, egss)
    night = Night(day=LAST, edcs=(edc,), egss=egss, accounts=accounts, bucket=accounts, net_metered=0.0)
    for part in night.sync(edc):
        hub.takes(part, hub.other, at=NOW)
    hub.takes(night.bucket_of(edc, 0), hub.loader, at=NOW)
    hub.publishes(at=NOW)
    return hub


def _asked(drop: str, account: str) -> Sequence[Sequence[str]]:
    of_day = f"usage_date = '{LAST}'"
    return (
        ("status",),
        ("drops",),
        ("explain", drop),
        ("explain", account, "--days", "1"),
        ("deadline", "--day", str(LAST)),
        ("publish",),
        ("sweep",),
        ("query", f"select stage, count(*) from drops where arrived_at >= '{NOW.date()}' group by all"),
        ("query", f"select name, details from events where about = '{drop}'"),
        ("query", f"select wh, status from usage_current where account = '{account}' and {of_day}"),
        ("query", "from usage_current limit 5"),
    )


def _commands(hubs: Sequence[BenchHub], asked: Sequence[Sequence[str]], *, runs: int) -> list[Pair]:
    lines = []
    for words in asked:
        said = " ".join(words)
        said = f"meterhub {said[:50]}…" if len(said) > 50 else f"meterhub {said}"
        started = Pair(what=said, peer="a hub of one night", at_most=AT_MOST)
        warm = Pair(what=said, peer="the same, without the start")
        for run in range(runs + 1):
            for line, ask in ((started, _started), (warm, _warm)):
                turns = [(line.hub, hubs[0]), (line.other, hubs[1])]
                for took, hub in turns if run % 2 else turns[::-1]:
                    took.append(ask(hub, words))
        for line in (started, warm):
            del line.hub[:1], line.other[:1]
        lines += [started, warm]
    return lines


def _started(hub: BenchHub, words: Sequence[str]) -> Took:
    command = [sys.executable, "-c", _METERHUB, "--home", str(hub.home.root), "--json", *words]
    environment = {**os.environ, "METERHUB_NOW": NOW.isoformat()}
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - began, os.times()
    _require(done.returncode, words, done.stderr + done.stdout)
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(wall=wall, cpu=spent)


def _warm(hub: BenchHub, words: Sequence[str]) -> Took:
    """In the worker that does everything else, whose modules are there."""
    (code, said, wall), took = hub.other.does(run, str(hub.home.root), tuple(words))
    _require(code, words, said)
    return Took(wall=wall, cpu=took.cpu)


def run(root: str, words: tuple[str, ...]) -> tuple[int, str, float]:
    """A command in this process: its exit code, what it says, and how long it took."""
    os.environ["METERHUB_NOW"] = NOW.isoformat()
    out = io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main(["--home", root, "--json", *words])
    return code, out.getvalue(), time.perf_counter() - began


def _require(code: int, words: Sequence[str], said: str) -> None:
    if code not in {0, 3}:  # 3: an operator is needed
        raise SystemExit(f"{' '.join(words)}: {said}")
