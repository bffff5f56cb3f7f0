"""Proof sheets: what the chain of events says of one partner between two of its heads, in a file of its own.

Sheets of a partner follow each other: each begins behind the event that the one before ended with, and has
its hash. So each drop, and each outbound file, stands in exactly one of them.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from schemas.drop import Drop
from schemas.receipt import Outbound, instant, report

NAMESPACE = "proof-sheet@meterhub"  # what `ssh-keygen -Y verify -n` is told
OF_A_DROP = ("drop.loaded", "drop.refused", "drop.duplicate")  # a drop is on a sheet once, by its end


def name(day: date) -> str:
    """`<usage date>.proof.json`; its signature beside it: `<usage date>.proof.json.sig`"""
    return f"{day.isoformat()}.proof.json"


def sheet(
    *,
    partner: Mapping[str, str],
    day: date,
    after: str,
    through: str,
    before: Mapping[str, str] | None,
    tells: Mapping[str, Any],
) -> dict[str, Any]:
    """A whole sheet. `after`, `through`: heads of the chain, `number:hash`; `before`: the partner's last sheet."""
    return {
        "proof_sheet": 1,
        "partner": dict(partner),
        "usage_day": day.isoformat(),
        "chain": {"after": after, "through": through},
        "sheet_before": None if before is None else dict(before),
        **tells,
    }


def of_edc(
    *, verdict: Mapping[str, Any] | None, drops: Sequence[Drop], syncs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What a distribution company's sheet tells: the verdict, its drops, and its syncs that came into force."""
    said = [drop(one) for one in drops]
    return {
        "verdict": None if verdict is None else report(verdict),
        "syncs_in_force": list(syncs),
        "totals": {
            "drops": len(said),
            **{count: sum(one[count] for one in said) for count in ("bytes", "blocks_loaded", "intervals_loaded")},
        },
        "drops": said,
    }  # fmt: skip


def drop(one: Drop) -> dict[str, Any]:
    """A drop at its end."""
    return {
        "drop": one.id,
        "file": one.name,
        "sha256": one.sha256,
        "bytes": one.bytes,
        "arrived_at": instant(one.arrived_at),
        "outcome": str(one.outcome or one.stage),
        "usage_days": [day.isoformat() for day in one.usage_days],
        "blocks_loaded": one.blocks_loaded,
        "blocks_late": one.blocks_late,
        "blocks_replacing": one.blocks_replacing,
        **({"blocks_outranked": one.blocks_outranked} if one.blocks_outranked else {}),
        "blocks_rejected": one.blocks_rejected,
        "intervals_loaded": one.intervals_loaded,
        "faults_total": one.faults_total,
        "duplicate_of": one.duplicate_of or None,
        "sync": one.sync_id or None,
    }


def of_egs(
    *, files: Sequence[Outbound], withdrawn: Sequence[Mapping[str, Any]], fetched: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What a supplier's sheet tells: files laid out for it, those taken back, and what it fetched."""
    said = [
        {
            "sequence": file.sequence,
            "file": file.name,
            "sha256": file.sha256,
            "bytes": file.bytes,
            "edc": file.edc,
            "usage_days": [day.isoformat() for day in file.usage_days],
            "blocks": file.blocks,
            "intervals": file.intervals,
            "estimated_intervals": file.estimated,
            "versions_above_1": file.versions_above_1,
            "sync": file.sync_id,
            "replaces": file.replaces or None,
        }
        for file in files
    ]
    counts = ("bytes", "blocks", "intervals")
    return {
        "totals": {
            "files": len(said),
            **{name: sum(getattr(file, name) for file in files) for name in counts},
        },
        "files": said,
        "withdrawn": list(withdrawn),
        "fetched": list(fetched),
    }
