"""What receipts, reports and manifests still say, when the ledger that they were written from is gone."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from jobs.stores.mailboxes import Laid
from schemas import file_name, ids
from schemas.drop import Drop, Outcome, Stage
from schemas.fault import Fault
from schemas.short import Short

_OF_DROP = re.compile(rf"(?P<name>.+)\.(?P<drop>{ids.DROP.pattern})\.(?P<ending>.+)")
_STAGES = {
    Outcome.ACCEPTED: Stage.LOADED,
    Outcome.PARTIAL: Stage.LOADED,
    Outcome.REJECTED: Stage.REFUSED,
    Outcome.DUPLICATE: Stage.DUPLICATE,
}
_COUNTS = (
    "blocks_loaded",
    "blocks_late",
    "blocks_replacing",
    "blocks_outranked",
    "blocks_unchanged",
    "blocks_rejected",
    "intervals_loaded",
    "suspense",
    "faults_total",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One that lies there: its hash, what it tells of, and what it says (nothing for a list)."""

    laid: Laid
    about: str
    ending: str  # received.json, accepted.json, …
    said: Mapping[str, Any]


def read(sftp_root: Path, folder: str) -> Iterator[Paper | tuple[Path, str]]:
    """All papers in partners' folders of that name; or which cannot be read, and why."""
    for path in sorted(sftp_root.glob(f"*/{folder}/*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        content = path.read_bytes()
        partner = path.parent.parent.name
        laid = Laid(partner, folder, path.name, hashlib.sha256(content).hexdigest())
        about, ending = _about(path.name, partner)
        try:
            said = json.loads(content) if path.suffix == ".json" else {}
        except ValueError as error:
            yield path, f"it is no JSON: {error}"
            continue
        yield Paper(laid=laid, about=about, ending=ending, said=said)


def _about(name: str, partner: str) -> tuple[str, str]:
    """What a paper tells of: a drop, a sync, EDC/day, or a file; and what its name ends in."""
    if found := _OF_DROP.fullmatch(name):
        return found["drop"], found["ending"]
    first, _, ending = name.partition(".")
    if ids.SYNC.fullmatch(first):
        return first, ending
    if re.fullmatch(r"\d{4}-\d\d-\d\d", first):
        return f"{partner}/{first}", ending
    return name.removesuffix(".discarded.json"), "other"


def drop(paper: Paper, known: Drop | None) -> Drop | None:
    """The drop as this receipt tells of it, beside what others told before; None if it tells of none."""
    said = paper.said
    ending = paper.ending.removesuffix(".json")
    if ending == "received":
        return known or _received(paper)
    if ending == "discarded":
        at = _instant(said["broke_off_at"])
        one = replace(_named(paper, at), bytes=said["bytes"], stage=Stage.DISCARDED)
        return replace(one, ended_at=_instant(said["discarded_at"]))
    if ending not in {str(outcome) for outcome in Outcome}:
        return known
    outcome = Outcome(ending)
    return replace(
        _received(paper),
        stage=_STAGES[outcome],
        outcome=outcome,
        usage_days=tuple(date.fromisoformat(day) for day in said["usage_days"]),
        faults=tuple(Fault(**{k: v for k, v in one.items() if k != "message"}) for one in said["faults"]),
        duplicate_of=said.get("duplicate_of", ""),
        sync_id=said.get("sync", ""),
        rows_loaded=said.get("rows_loaded", 0),
        checked=tuple(said.get("checksums_that_agree", ())),
        shorts=tuple(
            Short(**one | {"usage_day": date.fromisoformat(one["usage_day"])})
            for one in said.get("looks_short", ())
        ),
        ended_at=_instant(said["received_at"]),
        **{name: said.get(name, 0) for name in _COUNTS},
    )


def _received(paper: Paper) -> Drop:
    said = paper.said
    return replace(
        _named(paper, _instant(said["received_at"])),
        bytes=said["bytes"],
        sha256=said["sha256"],
        stage=Stage.RECEIVED,
    )


def _named(paper: Paper, at: datetime) -> Drop:
    return named(paper.said["drop"], partner=paper.laid.partner, name=paper.said["file"], at=at)


def named(drop_id: str, *, partner: str, name: str, at: datetime) -> Drop:
    """A drop of which no more is known yet."""
    parsed = file_name.parse(name)
    kind = "" if isinstance(parsed, Fault) else str(parsed.kind)
    return Drop(
        id=drop_id,
        partner=partner,
        name=name,
        stage=Stage.LOADED,
        arrived_at=at,
        bytes=0,
        in_inbound=False,
        kind=kind,
    )


def verdict(paper: Paper) -> dict[str, Any] | None:
    """The row of schemas.tables.verdict that a report on a usage day tells of."""
    said = paper.said
    if paper.ending != "deadline.json":
        return None
    return {
        "edc": said["edc"],
        "usage_date": date.fromisoformat(said["usage_date"]),
        "deadline": _instant(said["deadline"]),
        "verdict": said["verdict"],
        "sync_id": said["sync"] or "",
        "expected": said["expected"],
        "in_time": said["loaded_in_time"],
        "late": said["late"],
        "missing": said["missing"],
        "last_load_at": _instant(said["last_load_at"]) if said["last_load_at"] else None,
        "hub_late_seconds": said["hub_late_seconds"],
        "judged_at": _instant(said["judged_at"]),
    }


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
