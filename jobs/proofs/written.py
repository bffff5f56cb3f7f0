"""What a paper must say by the row that it was written from, word by word, without the code that wrote it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_COUNTS = (
    "blocks_loaded", "blocks_late", "blocks_replacing", "blocks_unchanged", "blocks_rejected",
    "intervals_loaded", "suspense", "faults_total",
)  # fmt: skip


def final(row: Any) -> dict[str, Any]:
    """Of a drop's final receipt."""
    wanted = {name: getattr(row, name) for name in _COUNTS} | {
        "drop": row.id,
        "file": row.name,
        "bytes": row.bytes,
        "sha256": row.sha256,
        "received_at": _instant(row.arrived_at),
        "outcome": row.outcome,
        "usage_days": row.usage_days,
        "faults": row.faults,
        "blocks_outranked": row.blocks_outranked or None,
        "checksums_that_agree": row.checked or None,
        "looks_short": row.shorts or None,
        "duplicate_of": row.duplicate_of or None,
        "sync": row.sync_id or None,
    }
    return wanted | ({"rows_loaded": row.rows_loaded} if row.sync_id else {})


def manifest(row: Any) -> dict[str, Any]:
    """Of an outbound file's manifest."""
    withdrawn = None
    if row.withdrawn_at is not None:
        withdrawn = {
            "at": _instant(row.withdrawn_at),
            "sync": row.withdrawn_by,
            "replaced_by": row.replaced_by or None,
        }
    return {
        "file": row.name,
        "sequence": row.sequence,
        "sha256": row.sha256,
        "bytes": row.bytes,
        "edc.id": row.edc,
        "egs.id": row.egs,
        "usage_days": row.usage_days,
        "blocks": row.blocks,
        "intervals": row.intervals,
        "estimated_intervals": row.estimated,
        "versions_above_1": row.versions_above_1,
        "sync.id": row.sync_id,
        "replaces": row.replaces or None,
        "withdrawn": withdrawn,
    }


def report(row: Any) -> dict[str, Any]:
    """Of the report on a usage day."""
    return {
        "edc": row.edc,
        "usage_date": row.usage_date.isoformat(),
        "deadline": _instant(row.deadline),
        "verdict": row.verdict,
        "expected": row.expected,
        "loaded_in_time": row.in_time,
        "late": row.late,
        "missing": row.missing,
        "last_load_at": None if row.last_load_at is None else _instant(row.last_load_at),
        "hub_late_seconds": row.hub_late_seconds,
        "sync": row.sync_id or None,
        "judged_at": _instant(row.judged_at),
    }


def picked(said: Mapping[str, Any], name: str) -> Any:
    """What a paper says under a name; `edc.id` is the id in what it says of the EDC. Of faults, without their
    messages, which are made of the rest.
    """
    first, _, second = name.partition(".")
    found = said.get(first)
    if second:
        return found.get(second) if isinstance(found, dict) else found
    if name == "faults" and isinstance(found, list):
        return [{key: one[key] for key in one if key != "message"} for one in found]
    return found


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
