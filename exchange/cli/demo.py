"""`meterhub demo`: a whole night through real SFTP, told as it happens, with a clock that is set."""

import asyncio
import multiprocessing
import shutil
import sys
import threading
import time as stopwatch
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.console import Console
from rich.padding import Padding

from config import log as log_setup
from config import settings
from config.errors import RefusedError
from config.home import Home
from exchange import keys
from exchange.app import Hub
from exchange.cli import demo_clients, options, sample_partners, show
from exchange.cli.demo_clients import Client, Downloaded, Uploaded
from exchange.cli.options import Asked
from jobs.clock import RunningClock
from jobs.stores import files
from jobs.stores.ledger import outbox, runs
from schemas import sample_faults
from schemas.sample import EDCS, EGSS, Edc, Night, SampleFile

CNP, PPL = EDCS
EARLY, LATE = EGSS[:2], EGSS[2:]  # who fetches before the switch, and after it
_EXTRA = 3_000  # accounts of the small buckets; with fewer, what is bad in one would be over 1 %
_MWH = "select edc, count(*) as blocks, sum(wh_total) / 1e6 as mwh from usage_current group by edc"
_STRANGERS, _REPLACED, _SWITCHED = 5, 2_000, 100


@options.command(
    "demo", "meterhub --home demo-night demo", "meterhub --home small-night demo --accounts 2000"
)
@click.option(
    "--accounts", type=click.IntRange(10), default=100_000, show_default=True, help="Accounts of each EDC."
)
@click.option(
    "--day",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The usage day; by default three days ago, so that all of it is past.",
)
def command(asked: Asked, *, accounts: int, day: datetime | None) -> int:
    """Play a whole night through real SFTP, in a new home, and say what happened."""
    usage_day = day.date() if day is not None else asked.clock().date() - timedelta(days=3)
    night = Night(
        day=usage_day,
        accounts=accounts,
        bucket=max(accounts // 2, 1),
        extra=_EXTRA,
        strangers=_STRANGERS,
    )
    home = asked.place
    if home.state.exists():
        raise RefusedError("home-taken", f"there is a hub in {home.root} already", "name another with --home")
    demo = _Demo(home=home, night=night, console=show.console() if not asked.json else Console(quiet=True))
    return demo.play(asked)


@dataclass
class _Demo:
    """One night. Times are of the EDC that is spoken of."""

    home: Home
    night: Night
    console: Console
    began: float = field(default_factory=stopwatch.monotonic)
    port: int = 0
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    fetched: dict[str, list[Downloaded]] = field(default_factory=dict)
    uploading: float = 0.0
    loading: float = 0.0
    wrong: int = 0  # blocks that an EGS had and should not have had

    def play(self, asked: Asked) -> int:
        self.prepare()
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as partners:
            self.partners = partners
            with _opened(self.home, self.clock(CNP, 1, time(3, 10))) as hub:
                self.hub, self.port = hub, hub.doors.port
                sample_partners.renew(
                    self.home, self.host_keys, replace(hub.stores.settings.sftp, port=self.port)
                )
                self.say("the hub", f"opens its doors on 127.0.0.1:{self.port}")
                self.morning()
                self.new_readings()
                self.deadline()
                self.switch()
                summary = self.summary()
        self.tell(summary)
        asked.show(summary) if asked.json else None
        return 1 if self.wrong else 0

    # ── the night ──────────────────────────────────────────────────────────────────────────────

    def prepare(self) -> None:
        """A home with sample partners, and the files that its EDCs will send."""
        self.home.lay_out()
        files.write(self.home.settings_file, b"[sftp]\nport = 0\n")
        self.host_keys = keys.make_host_keys(self.home.host_keys)
        sample_partners.bring(self.home, self.host_keys, settings.load(self.home.root).sftp)
        log_setup.configure(self.home, settings.load(self.home.root), console=False)
        each = f"{self.night.accounts:,} accounts each, {self.night.bucket:,} in a bucket"
        self.say(
            "prepared", f"two EDCs in two time zones, four suppliers; {each}; usage day {self.night.day}"
        )

    def morning(self) -> None:
        """Both EDCs send their rosters and last night's readings; suppliers get theirs."""
        self.upload("sends its roster", self.night.syncs())
        small = [sample_faults.bad_bucket(self.night, CNP), self.night.extra_bucket(PPL)]
        self.upload("sends its buckets", [*self.night.buckets(), *small])
        self.at(CNP, 1, time(6, 15))
        self.publish()
        self.collect(EARLY, later=0)

    def new_readings(self) -> None:
        """Corrected readings of some accounts: a second version."""
        self.at(CNP, 1, time(10, 20))
        self.upload("sends new readings", [self.night.replacement(CNP, accounts=_REPLACED)])
        self.at(CNP, 1, time(10, 30))
        self.publish()

    def deadline(self) -> None:
        """23:00 comes to each zone in its turn."""
        for edc in (PPL, CNP):
            self.at(edc, 1, time(23))
            self.hub.schedule.sweep(to_the_end=True)
            with self.hub.stores.ledger.read() as tx:
                verdict = runs.verdict(tx, edc=edc.id, day=self.night.day)
            assert verdict is not None
            self.say(
                edc.id,
                f"deadline {verdict['verdict']}: {verdict['in_time']:,} of {verdict['expected']:,} due in time"
                + (f", {verdict['missing']:,} missing" if verdict["missing"] else ""),
            )

    def switch(self) -> None:
        """Customers change their supplier before all suppliers have fetched their files."""
        self.at(CNP, 2, time(3, 10))
        withdrawn = set(self.lying())
        self.upload(
            f"sends a roster in which {_SWITCHED:,} customers have switched",
            self.night.switch(CNP, accounts=_SWITCHED),
        )
        self.hub.schedule.settle_down()  # a roster's receipt comes first, then it comes into force
        withdrawn -= set(self.lying())
        self.say(
            "the hub", f"took back {len(withdrawn)} files and wrote those again that were not fetched yet"
        )
        self.collect(LATE, later=1)

    # ── what partners do ───────────────────────────────────────────────────────────────────────

    def upload(self, what: str, sent: Iterable[SampleFile]) -> None:
        by_edc: dict[str, list[Path]] = {}
        blocks = size = 0
        for file in sent:
            path = self.home.root / "sample_files" / file.edc / file.name
            files.write(path, file.content, durable=False)
            by_edc.setdefault(file.edc, []).append(path)
            blocks, size = blocks + file.blocks, size + len(file.content)
        began = stopwatch.monotonic()
        asked = [
            self.partners.submit(demo_clients.upload, self.client(edc), paths)
            for edc, paths in by_edc.items()
        ]
        done: list[Uploaded] = [one.result() for one in asked]
        took = stopwatch.monotonic() - began
        self.uploading += max(one.seconds for one in done)
        self.loading += took
        for edc, one in zip(by_edc, done, strict=True):
            self.receipts |= one.receipts
            outcomes = [receipt["outcome"] for receipt in one.receipts.values()]
            said = ", ".join(f"{outcomes.count(word)} {word}" for word in dict.fromkeys(outcomes))
            self.say(edc, f"{what}: {said}")
        if blocks:
            self.say(
                "", f"{size / 1e6:,.0f} MB, {blocks:,} blocks: first byte to last receipt in {took:.1f} s"
            )

    def publish(self) -> None:
        began = stopwatch.monotonic()
        self.hub.schedule.sweep(to_the_end=True)
        lying = self.lying()
        took = stopwatch.monotonic() - began
        self.say("the hub", f"lays out what is new: {len(lying)} files lie ready now ({took:.1f} s)")

    def collect(self, egss: Iterable[Any], *, later: int) -> None:
        """Suppliers fetch their files; each account in them is held to the EDC's own roster."""
        owners = self.owners(later)
        asked = {
            egs: self.partners.submit(
                demo_clients.download, self.client(egs.id), self.home.root / "downloads" / egs.id
            )
            for egs in egss
        }
        for egs, one in asked.items():
            got = one.result()
            self.fetched.setdefault(egs.id, []).append(got)
            strangers = sum(owners.get(account) != egs.duns for account in got.accounts)
            self.wrong += strangers
            self.say(
                egs.id,
                f"fetches {len(got.files)} files, {got.blocks:,} blocks; accounts of others among them: {strangers}",
            )

    def owners(self, later: int) -> dict[str, str]:
        """Account → DUNS of its EGS, as the EDCs' rosters have it."""
        owners: dict[str, str] = {}
        for edc in EDCS:
            switched = _SWITCHED if later and edc is CNP else 0
            roster = self.night.roster(edc, later=later if edc is CNP else 0, switched=switched)
            owners |= dict(zip(roster["account"].to_pylist(), roster["egs_duns"].to_pylist(), strict=True))
        return owners

    def client(self, login: str) -> Client:
        folder = sample_partners.keys_folder(self.home)
        return Client(login=login, host="127.0.0.1", port=self.port, keys=folder)

    def lying(self) -> list[tuple[str, str]]:
        return [
            (egs.id, path.name)
            for egs in EGSS
            for path in self.hub.stores.mailboxes.folder(egs.id, "outbound").glob("*.lse.gz")
        ]

    # ── the clock, and what is told ────────────────────────────────────────────────────────────

    def clock(self, edc: Edc, days_after: int, at: time) -> RunningClock:
        """A clock that shows that time of the EDC's zone, so many days after the usage day."""
        day: date = self.night.day + timedelta(days=days_after)
        return RunningClock.reading(datetime.combine(day, at, tzinfo=edc.zone))

    def at(self, edc: Edc, days_after: int, at: time) -> None:
        self.hub.schedule.clock = self.clock(edc, days_after, at)

    def say(self, who: str, what: str) -> None:
        self.console.print(f"{stopwatch.monotonic() - self.began:5.1f} s  {who:<11}{what}", soft_wrap=True)

    def summary(self) -> dict[str, Any]:
        with self.hub.stores.ledger.read() as tx:
            verdicts = {edc.id: runs.verdict(tx, edc=edc.id, day=self.night.day) for edc in EDCS}
            laid = {egs.id: outbox.listed(tx, egs=egs.id) for egs in EGSS}
        of = {edc.id: [r for r in self.receipts.values() if r["file"].startswith(edc.duns)] for edc in EDCS}
        return {
            "home": str(self.home.root),
            "usage_day": self.night.day.isoformat(),
            "seconds": round(stopwatch.monotonic() - self.began, 1),
            "edcs": [
                {
                    "edc": edc.id,
                    "files": len(of[edc.id]),
                    "blocks_loaded": sum(r["blocks_loaded"] for r in of[edc.id]),
                    "intervals_loaded": sum(r["intervals_loaded"] for r in of[edc.id]),
                    "replacing": sum(r["blocks_replacing"] for r in of[edc.id]),
                    "refused": sum(r["blocks_rejected"] for r in of[edc.id]),
                    "suspense": sum(r["suspense"] for r in of[edc.id]),
                    "deadline": (verdicts[edc.id] or {}).get("verdict"),
                }
                for edc in EDCS
            ],
            "egss": [
                {
                    "egs": egs.id,
                    "files": len(laid[egs.id]),
                    "withdrawn": sum(file.state == "withdrawn" for file in laid[egs.id]),
                    "fetched": sum(len(got.files) for got in self.fetched.get(egs.id, [])),
                    "blocks_fetched": sum(got.blocks for got in self.fetched.get(egs.id, [])),
                    "last_sequence": max((file.sequence for file in laid[egs.id]), default=0),
                }
                for egs in EGSS
            ],
            "accounts_of_others": self.wrong,
        }

    def tell(self, summary: dict[str, Any]) -> None:
        for rows in (summary["edcs"], summary["egss"]):
            columns = [
                (">" if isinstance(rows[0][key], int) else "") + key.replace("_", " ") for key in rows[0]
            ]
            cells = [
                [f"{cell:,}" if isinstance(cell, int) else cell for cell in row.values()] for row in rows
            ]
            table = show.table(columns, cells)
            table.show_edge = False
            self.console.print(Padding(table, (1, 0, 0, 1), expand=False))
        intervals = sum(row["intervals_loaded"] for row in summary["edcs"])
        self.console.print(
            f"\n{intervals:,} intervals in {summary['seconds']} s, keys, SFTP, archive, versions, receipts and all.\n"
            f"Accounts shown to the wrong supplier: {summary['accounts_of_others']}.\n",
            soft_wrap=True,
        )
        faulty = next((r for r in self.receipts.values() if r["outcome"] == "partial"), None)
        here = _from_here(self.home.root)
        meterhub = "meterhub" if shutil.which("meterhub") else _from_here(Path(sys.argv[0]))
        looks = [
            f"{meterhub} --home {here} status --day {self.night.day}",
            f"{meterhub} --home {here} sync list",
        ]
        if faulty is not None:
            looks.insert(1, f"{meterhub} --home {here} explain {faulty['drop']}    # the bucket with faults")
        looks.append(f"{meterhub} --home {here} query '{_MWH}'")
        self.console.print("Where to look next:", *(f"  {look}" for look in looks), sep="\n", soft_wrap=True)
        self.console.print(f"  ls {here}/sftp_root/*/    # what partners see", soft_wrap=True)


@contextmanager
def _opened(home: Home, clock: RunningClock) -> Iterator[Hub]:
    """A hub that serves on an event loop of its own, in a thread."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="doors")
    thread.start()
    hub = Hub(home, settings.load(home.root), clock)
    try:
        asyncio.run_coroutine_threadsafe(hub.start(), loop).result()
        yield hub
    finally:
        asyncio.run_coroutine_threadsafe(hub.stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _from_here(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
