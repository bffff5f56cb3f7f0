"""A hub on disk without its doors: files arrive as an upload's end lets them, and a clock is set."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog
from isal import igzip
from sqlalchemy import select

from config import log as log_setup
from config import settings as settings_file
from config.home import Home
from config.partners import Partner
from jobs.clock import StandingClock
from jobs.schedule import Schedule
from jobs.steps import arrive
from jobs.stores.ledger import drops, outbox
from jobs.stores.opened import Stores
from schemas import interval_file, tables
from schemas.drop import Drop
from schemas.event import EVENTS
from schemas.sample import EDCS, EGSS, Night, SampleFile

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINE4LUN9mPwnSnYc0ykdYmSCv1nPH5jFTh3tEGS/YAIc a@b"
CNP, PPL = EDCS
PATIENCE = 300.0  # seconds that a process may take on a busy machine
LONG = os.environ.get("METERHUB_TESTS") == "long"  # for a run over night: every moment, many examples


def partner_text(party: Any, role: str) -> str:
    zone = f'time_zone = "{party.zone}"\n' if role == "edc" else ""
    return (
        f'id = "{party.id}"\nrole = "{role}"\nname = "{party.name}"\nduns = "{party.duns}"\n'
        f"{zone}authorized_keys = []\n"
    )


@dataclass
class Hub:
    """A home with the sample partners. `now` is what its clock shows. Work that fails, and is not looked
    for with `failures`, fails the test when the hub is closed.
    """

    home: Home
    now: datetime
    settings: str = ""
    fresh: bool = True  # or a home that is there already
    seen: int = 0  # lines of the log that a test has asked for
    stores: Stores = field(init=False)
    schedule: Schedule = field(init=False)

    def __post_init__(self) -> None:
        if self.fresh:
            self._lay_out()
        self.open()

    def _lay_out(self) -> None:
        self.home.lay_out()
        self.home.settings_file.write_text(self.settings)
        for role, parties in (("edc", EDCS), ("egs", EGSS)):
            for party in parties:
                self.add_partner(partner_text(party, role), party.id)

    def open(self) -> None:
        settings = settings_file.load(self.home.root)
        log_setup.configure(self.home, settings, console=False, strict=True)
        self.stores = Stores.open(self.home, settings)
        self.schedule = Schedule(self.stores, StandingClock(self.now), inline=True)

    def close(self) -> None:
        self.schedule.stop(seconds=PATIENCE)
        self.stores.close()

    def restart(self) -> None:
        """The hub goes and comes again; nobody is uploading yet, so broken uploads are known as such."""
        self.close()
        self.open()
        for edc in self.stores.partners.current().edcs:
            arrive.adopt(edc.id, stores=self.stores, now=self.now, parts=True)

    def end(self) -> None:
        """Close, and see that no work failed and that every event is as the vocabulary has it."""
        told = self.events()
        self.close()
        for event in told:
            lacking = set(EVENTS[event["name"]].fields) - set(event["details"])
            assert not lacking, f"{event['name']} lacks {lacking}"
        failed = self.failures()
        structlog.reset_defaults()
        assert not failed, failed

    def log(self) -> list[dict[str, Any]]:
        """The lines of the log, oldest first; but for one that is being written at this moment."""
        files = sorted(self.home.logs.glob("*.jsonl"))
        whole = (file.read_text().rpartition("\n")[0] for file in files)
        return [json.loads(line) for text in whole for line in text.splitlines()]

    def failures(self) -> list[dict[str, Any]]:
        """Work that failed since this was last asked."""
        log, begin = self.log(), self.seen
        self.seen = len(log)
        return [line for line in log[begin:] if line["event"] in {"work.failed", "library.warned"}]

    def events(self, name: str = "", about: str = "") -> list[dict[str, Any]]:
        """The history, oldest first: all of it, or of a name, or about something."""
        query = select(tables.event).order_by(tables.event.c.id)
        query = query.where(tables.event.c.name == name) if name else query
        query = query.where(tables.event.c.about == about) if about else query
        with self.stores.ledger.read() as tx:
            return [dict(row) for row in tx.execute(query).mappings()]

    def add_partner(self, text: str, name: str) -> None:
        (self.home.partners / f"{name}.toml").write_text(text)

    def remove_partner(self, name: str) -> None:
        (self.home.partners / f"{name}.toml").unlink()

    def at(self, instant: datetime) -> None:
        self.now = instant
        self.schedule.clock = StandingClock(instant)

    def on(self, **span: float) -> None:
        self.at(self.now + timedelta(**span))

    def sweep(self) -> None:
        self.schedule.sweep(to_the_end=True)

    def partner(self, name: str) -> Partner:
        found = self.stores.partners.current().get(name)
        assert found is not None
        return found

    def upload(self, edc: str, name: str, content: bytes) -> Drop:
        """An upload of the EDC ends, and its drop goes as far as it can."""
        drop = self.arrive(edc, name, content)
        self.schedule.wake(drop.id)
        return self.drop(drop.id)

    def arrive(self, edc: str, name: str, content: bytes) -> Drop:
        """An upload of the EDC ends, and nobody has looked at it yet."""
        self.stores.mailboxes.part(edc, name).write_bytes(content)
        drop = arrive.ended(edc, name, stores=self.stores, now=self.now)
        assert isinstance(drop, Drop)
        return drop

    def send(self, *files: SampleFile) -> list[Drop]:
        return [self.upload(file.edc, file.name, file.content) for file in files]

    def drop(self, drop_id: str) -> Drop:
        with self.stores.ledger.read() as tx:
            return drops.get(tx, drop_id)

    def laid(self, partner: str, folder: str, ending: str) -> list[Path]:
        found = self.stores.mailboxes.folder(partner, folder).iterdir()
        return sorted(path for path in found if path.name.endswith(ending) and not path.name.startswith("."))

    def receipt(self, drop: Drop) -> dict[str, Any]:
        """The final receipt of a drop, of which there is exactly one."""
        endings = ("accepted", "partial", "rejected", "duplicate")
        (found,) = [
            path
            for word in endings
            for path in self.laid(drop.partner, "receipts", f".{drop.id}.{word}.json")
        ]
        said: dict[str, Any] = json.loads(found.read_text())
        return said

    def outbound(self, egs: str) -> dict[str, pa.Table]:
        """The outbound files of an EGS, read back: name and blocks."""
        return {path.name: self.blocks_of(path) for path in self.laid(egs, "outbound", ".lse.gz")}

    def manifests(self, egs: str) -> list[dict[str, Any]]:
        read = [json.loads(path.read_text()) for path in self.laid(egs, "outbound", ".manifest.json")]
        return sorted(read, key=lambda manifest: manifest["sequence"])

    def blocks_of(self, path: Path) -> pa.Table:
        (edc,) = [edc for edc in self.stores.partners.current().edcs if path.name.startswith(edc.duns)]
        assert edc.zone is not None
        parsed = interval_file.parse(
            igzip.decompress(path.read_bytes()),
            stamp=path.name.split("IntervalData")[1][:14],
            zone=edc.zone,
            channels=edc.channels,
            max_accounts=10_000_000,
            latest=date(2100, 1, 1),
        )
        assert not parsed.faults
        return parsed.blocks

    def files(self, egs: str) -> list[outbox.OutboundFile]:
        with self.stores.ledger.read() as tx:
            return outbox.listed(tx, egs=egs)

    def holders(self) -> Iterator[tuple[str, str, str]]:
        """Each (EGS, file, account) that can be downloaded at this moment."""
        for egs in EGSS:
            for name, blocks in self.outbound(egs.id).items():
                for account in set(blocks["account"].to_pylist()):
                    yield egs.id, name, account


def morning(day: date, hour: float = 10) -> datetime:
    """An instant of the morning after a usage day, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, hours=hour)


def small_night(day: date, **recipe: Any) -> Night:
    """A night of a few accounts."""
    return Night(day=day, **({"accounts": 40, "bucket": 20} | recipe))
