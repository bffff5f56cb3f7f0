"""What the hub writes for partners: receipts, reports and manifests, as JSON. Source: formats.md, sections 4 and 5.

Instants are ISO 8601 in UTC; days are `ccyy-mm-dd`.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any, Protocol

from schemas.checksum import Compared
from schemas.drop import Drop, Stage
from schemas.fault import Fault
from schemas.short import Short

FAULT_FIELDS = ("line", "account", "code", "column", "found", "wanted", "message")


def received_name(drop: Drop) -> str:
    """`<name>.<drop id>.received.json`"""
    return f"{drop.name}.{drop.id}.received.json"


def final_name(drop: Drop) -> str:
    """`<name>.<drop id>.<outcome>.json`"""
    return f"{drop.name}.{drop.id}.{drop.outcome}.json"


def faults_name(drop: Drop) -> str:
    """`<name>.<drop id>.faults.csv`"""
    return f"{drop.name}.{drop.id}.faults.csv"


def discarded_name(drop: Drop) -> str:
    """`<name>.<drop id>.discarded.json`"""
    return f"{drop.name}.{drop.id}.discarded.json"


def received(drop: Drop) -> dict[str, Any]:
    """The first receipt: the hub has the file."""
    return {
        "drop": drop.id,
        "file": drop.name,
        "bytes": drop.bytes,
        "sha256": drop.sha256,
        "received_at": instant(drop.arrived_at),
    }


def final(drop: Drop, *, deadline: datetime | None) -> dict[str, Any]:
    """The second and last receipt: what became of the file. `deadline`: of its latest usage day."""
    said = received(drop) | {
        "outcome": str(drop.outcome),
        "usage_days": [day.isoformat() for day in drop.usage_days],
        "deadline": None if deadline is None else instant(deadline),
        "blocks_loaded": drop.blocks_loaded,
        "blocks_late": drop.blocks_late,
        "blocks_replacing": drop.blocks_replacing,
        "blocks_unchanged": drop.blocks_unchanged,
        "blocks_rejected": drop.blocks_rejected,
        "intervals_loaded": drop.intervals_loaded,
        "suspense": drop.suspense,
        "faults": [fault(one) for one in drop.faults],
        "faults_total": drop.faults_total,
    }
    if drop.blocks_outranked:
        said["blocks_outranked"] = drop.blocks_outranked
    if drop.checked:
        said["checksums_that_agree"] = list(drop.checked)
    if drop.shorts:
        said["looks_short"] = [short(one) for one in drop.shorts]
    if drop.stage is Stage.DUPLICATE:
        said["duplicate_of"] = drop.duplicate_of
    if drop.sync_id:
        said |= {"sync": drop.sync_id, "rows_loaded": drop.rows_loaded}
    return said


def short(one: Short) -> dict[str, Any]:
    """What looks short of a usage day. A remark: nothing was refused for it."""
    return asdict(one) | {"usage_day": one.usage_day.isoformat()}


def checked_late_name(drop: Drop, kind: str) -> str:
    """`<name>.<drop id>.<kind>-came-late.json`"""
    return f"{drop.name}.{drop.id}.{kind}-came-late.json"


def checked_late(drop: Drop, compared: Compared, *, at: datetime) -> dict[str, Any]:
    """What came of a checksum that came when its file had been judged already."""
    became = str(drop.outcome) if drop.outcome else str(drop.stage)
    words = (
        "it agrees with the file"
        if compared.matches
        else f"it does not agree with the file, which was {became} before this checksum came. If the file is wrong, send "
        "the right one under a new name; if the checksum is, put the right one in its place"
    )
    return {
        "drop": drop.id,
        "file": drop.name,
        "outcome": became,
        "checksum": f"{drop.name}.{compared.kind}",
        "agrees": compared.matches,
        "found": compared.found,
        "wanted": compared.wanted or None,
        "words": words,
        "at": instant(at),
    }


def discarded(drop: Drop, *, why: str, at: datetime) -> dict[str, Any]:
    """The note that an upload which never became whole is gone."""
    return {
        "drop": drop.id,
        "file": drop.name,
        "bytes": drop.bytes,
        "broke_off_at": instant(drop.arrived_at),
        "discarded_at": instant(at),
        "why": why,
    }


def fault(one: Fault) -> dict[str, Any]:
    """One fault, with its message."""
    said = asdict(one) | {"message": one.message}
    return {name: said[name] for name in FAULT_FIELDS}


def faults_csv(faults: Iterable[Fault]) -> str:
    """All faults of a file, one a row."""
    out = io.StringIO()
    rows = csv.DictWriter(out, FAULT_FIELDS, lineterminator="\n")
    rows.writeheader()
    rows.writerows(fault(one) for one in faults)
    return out.getvalue()


class Outbound(Protocol):
    """What a manifest tells of an outbound file."""

    @property
    def name(self) -> str: ...
    @property
    def edc(self) -> str: ...
    @property
    def egs(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def blocks(self) -> int: ...
    @property
    def intervals(self) -> int: ...
    @property
    def estimated(self) -> int: ...
    @property
    def versions_above_1(self) -> int: ...
    @property
    def usage_days(self) -> tuple[date, ...]: ...
    @property
    def sync_id(self) -> str: ...
    @property
    def replaces(self) -> str: ...
    @property
    def withdrawn_at(self) -> datetime | None: ...
    @property
    def withdrawn_by(self) -> str: ...
    @property
    def replaced_by(self) -> str: ...


MANIFEST = ".manifest.json"


def manifest_name(name: str) -> str:
    """`<outbound file>.manifest.json`"""
    return f"{name}{MANIFEST}"


def manifest(
    file: Outbound, *, edc_duns: str, egs_duns: str, as_of: date, laid_out_at: datetime
) -> dict[str, Any]:
    """What an outbound file holds. One that was withdrawn keeps its manifest, so that `sequence` has no
    gap, and says by which sync and what replaces it."""
    said: dict[str, Any] = {
        "file": file.name,
        "sequence": file.sequence,
        "sha256": file.sha256,
        "bytes": file.bytes,
        "edc": {"id": file.edc, "duns": edc_duns},
        "egs": {"id": file.egs, "duns": egs_duns},
        "usage_days": [day.isoformat() for day in file.usage_days],
        "blocks": file.blocks,
        "intervals": file.intervals,
        "estimated_intervals": file.estimated,
        "versions_above_1": file.versions_above_1,
        "sync": {"id": file.sync_id, "as_of": as_of.isoformat()},
        "laid_out_at": instant(laid_out_at),
    }
    if file.replaces:
        said["replaces"] = file.replaces
    if file.withdrawn_at is not None:
        said["withdrawn"] = {
            "at": instant(file.withdrawn_at),
            "sync": file.withdrawn_by,
            "replaced_by": file.replaced_by or None,
        }
    return said


def report_name(day: date) -> str:
    """`<usage date>.deadline.json`"""
    return f"{day.isoformat()}.deadline.json"


def missing_name(day: date) -> str:
    """`<usage date>.missing.csv`"""
    return f"{day.isoformat()}.missing.csv"


def report(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The report on a usage day, of a row of schemas.tables.verdict. Counts are of accounts and channels."""
    expected, in_time = verdict["expected"], verdict["in_time"]
    last = verdict["last_load_at"]
    return {
        "edc": verdict["edc"],
        "usage_date": verdict["usage_date"].isoformat(),
        "deadline": instant(verdict["deadline"]),
        "verdict": verdict["verdict"],
        "expected": expected,
        "loaded_in_time": in_time,
        "late": verdict["late"],
        "missing": verdict["missing"],
        "percent_at_deadline": percent(in_time, of=expected),
        "last_load_at": None if last is None else instant(last),
        "hub_late_seconds": verdict["hub_late_seconds"],
        "sync": verdict["sync_id"] or None,
        "judged_at": instant(verdict["judged_at"]),
    }


def percent(count: int, *, of: int) -> float | None:
    """A share in per cent, rounded down to three decimals: 100.0 only when nothing is missing. None: of nothing."""
    return min(count, of) * 100_000 // of / 1_000 if of else None


def instant(at: datetime) -> str:
    """An instant as partners read it: `2013-09-02T09:15:30Z`, with fractions where it has any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
