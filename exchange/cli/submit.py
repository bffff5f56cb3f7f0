"""`meterhub submit`: files taken in as if their EDC had uploaded them just now."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from config.errors import OperatorError, RefusedError
from config.partners import Partner
from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from jobs import executor
from jobs.pipeline import Clock
from jobs.schedule import Done, Schedule
from jobs.steps import arrive, checksum
from jobs.stores import place
from jobs.stores.ledger import checksums, drops, failures
from jobs.stores.opened import Stores
from schemas import checksum as checksum_of
from schemas import file_name, receipt
from schemas.drop import ENDED, Drop, Outcome, Stage
from schemas.fault import Fault

_FEW = 2  # files that are loaded in this process; for more, it is worth starting others
_TRIES = 3  # of a drop whose load stops with an error
_FAULTS = 5  # of a file that are shown; its receipt has more, and the list beside it all
_BAD = {Outcome.REJECTED, Outcome.PARTIAL}
_DIFFERS = "differs"
# What became of a checksum, by what happened to it last.
_CHECKED = {
    "checksum.matched": ("agrees", "its file is what it says; it has gone"),
    "checksum.mismatched": (_DIFFERS, "its file is not what it says; it waits to be put right"),
}
_WAITS = ("waits", "no file of its name has come yet, or a hub that serves is about to hold it to it")


@options.command(
    "submit",
    "meterhub submit --edc cnp 957877905IntervalData20130902041530001.lse",
    "meterhub submit --edc cnp backfill/*.lse.gz --json",
    "meterhub submit --edc cnp backfill/*.lse.gz backfill/*.sha256",
)
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="FILE…",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option("--edc", "login", required=True, metavar="ID", help="Whose upload it is.")
def command(asked: Asked, *, files: tuple[Path, ...], login: str) -> int:
    """Take files in as if their EDC had uploaded them just now, and wait for their receipts.

    They arrive now, so that readings whose deadline has passed are late. Checksums (NAME.sha256, NAME.md5) come
    before the rest, and their files are held to them. Exit code 1 if anything in them was refused; 3 if one could not be brought to its end, which `meterhub serve` goes on trying.
    """
    with opened.stores(asked) as stores:
        edc = opened.edc(stores, login)
        _require_names(files, limit=stores.settings.sftp.max_upload_bytes)
        for trouble in place.look(stores):
            raise OperatorError(
                trouble.code, trouble.what, "nothing was taken; submit again when that is mended"
            )
        submitted = _Submitted(edc=edc, stores=stores, clock=asked.clock, many=len(files) > _FEW)
        try:
            ends = submitted.take(files)
        finally:
            submitted.close()
        answer = [_told(end, edc, stores) for end in ends]
    asked.show(answer, *_readable(answer))
    if any(end.drop is not None and not _has_ended(end.drop) for end in ends):
        return 3
    wrong = any(end.refused or (end.drop and end.drop.outcome in _BAD) for end in ends)
    return 1 if wrong or any(one["outcome"] == _DIFFERS for one in answer) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """What became of a file: its drop, or why it was not even taken; neither of a checksum."""

    name: str
    drop: Drop | None = None
    refused: str = ""


@dataclass(slots=True, kw_only=True)
class _Submitted:
    """Files on their way."""

    edc: Partner
    stores: Stores
    clock: Clock
    many: bool
    failures: Counter[str] = field(default_factory=Counter)
    schedule: Schedule = field(init=False)

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.stores, self.clock, inline=not self.many, told=self._note)

    def take(self, files: Sequence[Path]) -> list[_End]:
        """Bring all in, in order, and wait for the end of each. Never many wait in inbound/."""
        at_once = 2 * executor.workers(self.stores.settings)
        begun: list[_End] = []
        with show.progress() as progress:
            bar = progress.add_task("taking in", total=len(files))
            for file in sorted(files, key=lambda file: checksum_of.beside(file.name) is None):
                begun.append(self._bring(file))
                self.schedule.settle_down(to=at_once)
                progress.update(bar, advance=0.5)
            ends = []
            for one in begun:
                ends.append(_End(name=one.name, drop=self._end_of(one.drop)) if one.drop else one)
                progress.update(bar, advance=0.5)
        if any(_is_checksum(one) for one in ends):
            checksum.settle(self.edc.id, stores=self.stores, now=self.clock())
        order = [file.name for file in files]
        return sorted(ends, key=lambda end: order.index(end.name))

    def close(self) -> None:
        self.schedule.stop(seconds=None)

    def _bring(self, file: Path) -> _End:
        mailboxes, now = self.stores.mailboxes, self.clock()
        try:
            mailboxes.bring(file, self.edc.id)
        except FileExistsError:
            return _End(name=file.name, refused="an upload of this name is under way, or waits to be resumed")
        try:
            drop = arrive.ended(self.edc.id, file.name, stores=self.stores, now=now)
        except arrive.TakenError as error:
            mailboxes.part(self.edc.id, file.name).unlink()
            return _End(name=file.name, refused=str(error))
        if isinstance(drop, arrive.Checksum):
            return _End(name=file.name)
        self.schedule.wake(drop.id)
        return _End(name=file.name, drop=drop)

    def _end_of(self, drop: Drop) -> Drop:
        """The drop at its end, whoever took it there; or where it stands, when that fails again and again."""
        while True:
            self.schedule.settle_down()
            with self.stores.ledger.read() as tx:
                drop = drops.get(tx, drop.id)
                parked = failures.is_parked(tx, f"drop:{drop.id}")
            tried = parked or self.failures[f"drop:{drop.id}"] >= _TRIES
            if _has_ended(drop) or tried or place.look(self.stores):
                return drop
            time.sleep(opened.LOOK_AGAIN)
            self.schedule.wake(drop.id)

    def _note(self, done: Done) -> None:
        self.failures[done.key] += done.error is not None


def _is_checksum(end: _End) -> bool:
    return end.drop is None and not end.refused


def _has_ended(drop: Drop) -> bool:
    return drop.stage in ENDED and not drop.receipt_due


def _require_names(files: Sequence[Path], *, limit: int) -> None:
    """Raise RefusedError, before anything is taken, unless all can be: as the door does."""
    wrong = []
    for file in files:
        named = file_name.parse(file.name)
        if isinstance(named, Fault) and checksum_of.beside(file.name) is None:
            wrong.append(named.message)
        elif (size := file.stat().st_size) > limit:
            wrong.append(f"{file.name}: {size} bytes, wanted at most {limit}")
    wrong += [f"{name}: named {n} times" for name, n in Counter(file.name for file in files).items() if n > 1]
    if wrong:
        raise RefusedError("not-taken", "; ".join(wrong), "nothing was taken in")


def _told(end: _End, edc: Partner, stores: Stores) -> dict[str, Any]:
    """The final receipt of a file, as its EDC reads it; or what there is instead."""
    if _is_checksum(end):
        with stores.ledger.read() as tx:
            last = checksums.last(tx, partner=edc.id, name=end.name)
        outcome, why = _CHECKED.get(last.event if last is not None else "", _WAITS)
        return {"file": end.name, "outcome": outcome, "why": why}
    if end.drop is None:
        return {"file": end.name, "outcome": "not taken", "why": end.refused}
    if end.drop.stage is Stage.DISCARDED:
        why = "it was gone from inbound/ before it could be taken in"
        return {"file": end.name, "drop": end.drop.id, "outcome": str(end.drop.stage), "why": why}
    if not _has_ended(end.drop):
        with stores.ledger.read() as tx:
            stopped = failures.waits(tx, end.drop.id) or failures.of(tx, end.drop.id)
        because = f": {stopped.why}" if stopped is not None else "; see state/logs/"
        why = f"it cannot be brought to its end{because}. `meterhub serve` tries again"
        return {"file": end.name, "drop": end.drop.id, "outcome": str(end.drop.stage), "why": why}
    file = stores.mailboxes.whole(end.drop.partner, receipt.final_name(end.drop), "receipts")
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return told


def _readable(answer: Sequence[dict[str, Any]]) -> list[Any]:
    columns = ("file", "drop", "outcome", "usage days", ">loaded", ">late", ">replacing", ">outranked", ">unchanged", ">refused", ">suspense")  # fmt: skip
    counts = ("blocks_loaded", "blocks_late", "blocks_replacing", "blocks_outranked", "blocks_unchanged", "blocks_rejected", "suspense")  # fmt: skip
    rows = [
        (
            one["file"],
            one.get("drop"),
            one["outcome"],
            ", ".join(one.get("usage_days", ())) or one.get("sync"),
            *(f"{one[count]:,}" if one.get(count) else "" for count in counts),
        )
        for one in answer
    ]
    shown: list[Any] = [show.table(columns, rows)]
    for one in answer:
        if why := one.get("why") or (
            one.get("duplicate_of") and f"the same bytes came as {one['duplicate_of']}"
        ):
            shown.append(f"{one['file']}: {why}")
        faults = one.get("faults", ())
        shown += [f"{one['file']}: {fault['message']}" for fault in faults[:_FAULTS]]
        if (more := one.get("faults_total", 0) - len(faults[:_FAULTS])) > 0:
            shown.append(
                f"{one['file']}: {more:,} faults more, in {one['file']}.{one['drop']}.faults.csv in receipts/"
            )
    return shown
