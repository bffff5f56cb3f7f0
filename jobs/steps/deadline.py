"""deadline: when a usage day's time is up, say what was due of it, in time, late and missing, and to whom."""

import csv
import io
import secrets
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from config.partners import Partner
from jobs.rules import deadlines, ownership
from jobs.stores import circumstances, due_blocks
from jobs.stores.ledger import claims, drops, events, loads, runs, syncs
from jobs.stores.ledger.syncs import Sync
from jobs.stores.mailboxes import Laid
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster
from schemas import receipt
from schemas.usage_day import UsageDay, local_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The verdict on a usage day (a row of schemas.tables.verdict), and what was missing."""

    verdict: dict[str, Any]
    missing: pa.Table  # due_blocks.MISSING: a night of which nothing came has as many as its roster


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """So many drops arrived in time and are still being loaded: the verdict waits for them."""

    drops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Another process judges this usage day at this moment."""


def judge(edc: Partner, day: date, *, stores: Stores, now: datetime) -> Judged | Waits | Busy:
    """Give the verdict on a usage day whose deadline has passed; record and report it.

    Done again after late loads, it changes what is late and missing, never the verdict. The report is
    laid before the transaction ends: after a crash between the two, all of it is done once more.
    """
    with claims.claimed(stores.ledger, f"verdict:{edc.id}/{day}", owner=stores.owner, now=now) as mine:
        if not mine:
            return Busy()
        with stores.ledger.read() as tx:
            waits_for = drops.under_way_by(tx, partner=edc.id, instant=_deadline(edc, day, stores))
            before = runs.verdict(tx, edc=edc.id, day=day)
        if waits_for and before is None:
            return Waits(drops=waits_for)
        judged = look(edc, day, stores=stores, now=now, held_to=before["sync_id"] if before else None)
        row = judged.verdict
        with stores.ledger.write() as tx:
            if before is None:
                say = {
                    key: row[key] for key in ("expected", "in_time", "late", "missing", "hub_late_seconds")
                }
                say |= {
                    "through": row["reported_seq"],
                    "under": circumstances.note(tx, stores=stores, at=now),
                }
                name = _EVENTS[row["verdict"]]
                events.record(tx, name, at=now, about=f"{edc.id}/{day}", partner=edc.id, **say)
            else:
                row |= {key: before[key] for key in _FOR_GOOD}
                if row != before:
                    say = {"late": row["late"], "missing": row["missing"], "through": row["reported_seq"]}
                    about = f"{edc.id}/{day}"
                    events.record(tx, "deadline.reported", at=now, about=about, partner=edc.id, **say)
            runs.keep_verdict(tx, row)
            laid = report_to_edc(judged, stores=stores)
            events.laid(tx, *laid, at=now, about=f"{edc.id}/{day}")
        return judged


_EVENTS = {"met": "deadline.met", "missed": "deadline.missed", "unknown": "deadline.unjudged"}

# What a later report of a usage day does not change.
_FOR_GOOD = ("verdict", "sync_id", "expected", "in_time", "judged_at", "last_load_at", "hub_late_seconds")


def report_to_edc(judged: Judged, *, stores: Stores) -> tuple[Laid, Laid]:
    """Lay the report and the list of what is missing into the EDC's reports/."""
    row = judged.verdict
    lay = stores.mailboxes.lay
    report = lay(row["edc"], "reports", receipt.report_name(row["usage_date"]), receipt.report(row))
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(due_blocks.MISSING.names)
    for some in judged.missing.to_batches(max_chunksize=50_000):
        rows.writerows(zip(*(column.to_pylist() for column in some.columns), strict=True))
    return report, lay(row["edc"], "reports", receipt.missing_name(row["usage_date"]), out.getvalue())


def look(edc: Partner, day: date, *, stores: Stores, now: datetime, held_to: str | None = None) -> Judged:
    """How a usage day stands, without recording anything; `unknown` without a roster to hold it to.

    `held_to`: the sync whose roster an earlier verdict was given upon; empty when there was none.
    """
    deadline = _deadline(edc, day, stores)
    with stores.ledger.read() as tx:
        if held_to is None:
            sync = syncs.in_force_at(tx, edc.id, deadline) or syncs.in_force(tx, edc.id)
        else:
            sync = syncs.get(tx, held_to) if held_to else None
        files = [file for file in loads.on_day(tx, edc=edc.id, day=day) if file.kind == "usage"]
        night = loads.night(tx, edc=edc.id, day=day, until=deadline)
    last_load_at = night["last_load_at"]
    row: dict[str, Any] = {
        "edc": edc.id,
        "usage_date": day,
        "deadline": deadline,
        "verdict": "unknown",
        "sync_id": "",
        "expected": 0,
        "in_time": 0,
        "late": 0,
        "missing": 0,
        "last_load_at": last_load_at,
        "hub_late_seconds": deadlines.seconds_late(last_load_at=last_load_at, deadline=deadline),
        "judged_at": now,
        "reported_seq": max((file.load_seq for file in files), default=0),
    }
    assert edc.zone is not None
    if sync is None or (held_to is None and _is_stale(sync, local_date(deadline, edc.zone), stores)):
        return Judged(verdict=row, missing=due_blocks.MISSING.empty_table())
    spill = stores.home.staging / f"deadline-{secrets.token_hex(4)}"  # made when needed, gone at the end
    found = due_blocks.held(Roster(stores.lake, sync.path), files, lake=stores.lake, spill=spill)
    row |= {
        "verdict": deadlines.verdict(expected=found.expected, in_time=found.in_time),
        "sync_id": sync.id,
        "expected": found.expected,
        "in_time": found.in_time,
        "late": found.late,
        "missing": len(found.missing),
    }
    return Judged(verdict=row, missing=found.missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Blocks were missing at a time of warning: so many of those due."""

    loaded: int
    due: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AllIn:
    """Nothing was missing at a time of warning."""


def warn(edc: Partner, day: UsageDay, at: str, *, stores: Stores, now: datetime) -> Warned | AllIn:
    """At a time of warning: say so when blocks of the usage day are missing still, or when there is no
    roster that could tell.
    """
    row = look(edc, day.date, stores=stores, now=now).verdict
    if row["verdict"] != "unknown" and not row["missing"]:
        return AllIn()
    due, loaded = row["expected"], row["in_time"] + row["late"]
    deadline = day.deadline(stores.settings.deadline.time)
    with stores.ledger.write() as tx:
        events.record(
            tx,
            "deadline.warned",
            at=now,
            about=f"{edc.id}/{day.date}",
            partner=edc.id,
            loaded=loaded,
            due=due,
            minutes_left=int((deadline - now).total_seconds() // 60),
            warning=at,
        )
    return Warned(loaded=loaded, due=due)


def _deadline(edc: Partner, day: date, stores: Stores) -> datetime:
    assert edc.zone is not None
    return UsageDay(day, edc.zone).deadline(stores.settings.deadline.time)


def _is_stale(sync: Sync, today: date, stores: Stores) -> bool:
    return ownership.is_stale(as_of=sync.as_of, today=today, max_age_days=stores.settings.sync.max_age_days)
