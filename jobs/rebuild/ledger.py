"""Rows and events of a ledger that is made again, from what was found."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert

from jobs.rebuild import lake
from jobs.rebuild.lake import File
from jobs.rebuild.papers import Paper
from jobs.stores.ledger import drops, events, loads, outbox, publications, runs
from jobs.stores.ledger.outbox import OutboundFile
from schemas import ids, tables
from schemas.drop import Drop, Stage

WHY = "made again from its file: whether it was in force is not known"
_ENDED = {Stage.LOADED: "drop.loaded", Stage.REFUSED: "drop.refused", Stage.DUPLICATE: "drop.duplicate"}


@dataclass(slots=True, kw_only=True)
class Found:
    """What the files of a home say."""

    drops: dict[str, Drop] = field(default_factory=dict)
    files: list[File] = field(default_factory=list)
    papers: list[Paper] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    manifests: list[Paper] = field(default_factory=list)
    archived: dict[str, tuple[str, int]] = field(default_factory=dict)  # by hash: that of the file, bytes
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def by_drop(self) -> dict[str, list[File]]:
        """The files that each drop brought into the lake."""
        found: dict[str, list[File]] = defaultdict(list)
        for file in self.files:
            if "drop_id" in file.said:
                found[file.said["drop_id"]].append(file)
        return found


def write(
    tx: Connection, found: Found, lake_folder: Path, *, since: datetime, now: datetime
) -> tuple[int, list[str]]:
    """All rows and events. How many loads will be laid out again, and the syncs that wait for an operator."""
    numbers: dict[str, int] = {}
    for one in found.manifests:
        numbers[one.laid.partner] = min(one.said["sequence"], numbers.get(one.laid.partner, 1 << 60))
    events.record(
        tx, "ledger.rebuilt", at=now, drops=len(found.drops), files=len(found.files), numbers=numbers
    )
    of_drop = found.by_drop()
    held = _syncs(tx, found, of_drop, now=now)
    for drop in sorted(found.drops.values(), key=lambda one: (one.arrived_at, one.id)):
        kept, _ = found.archived.get(drop.sha256, ("", 0))
        _drop(tx, drop, of_drop.get(drop.id, []), kept)
    cursor: dict[str, int] = {}
    open_again: set[str] = set()
    again = last = 0
    for drop_id in lake.in_order(found.files, lake_folder):
        brought = of_drop[drop_id]
        at, edc = brought[0].instant("loaded_at"), brought[0].said["edc"]
        rows = [file.row for file in brought if file.row is not None]
        last = loads.add(tx, drop_id=drop_id, edc=edc, at=at, written=rows)
        if at < since and edc not in open_again:
            cursor[edc] = last
        else:
            open_again.add(edc)
            again += 1
    _published(tx, found, cursor, now=now)
    for verdict in found.verdicts:
        runs.keep_verdict(tx, verdict | {"reported_seq": last})
    for paper in found.papers:
        events.laid(tx, paper.laid, at=now, about=paper.about)
    return again, held


def _drop(tx: Connection, drop: Drop, brought: list[File], kept: str) -> None:
    """A drop and its history, as far as it is known. `kept`: the hash of its archived file."""
    drops.restore(tx, drop)
    common: dict[str, Any] = {"about": drop.id, "partner": drop.partner}
    if drop.stage is Stage.DISCARDED:
        at = drop.ended_at or drop.arrived_at
        events.record(tx, "drop.discarded", at=at, **common, name=drop.name, why="by its receipt")
        return
    events.record(tx, "drop.arrived", at=drop.arrived_at, **common, name=drop.name, bytes=drop.bytes)
    say: dict[str, Any] = {"sha256": drop.sha256, "bytes": drop.bytes, "kept_sha256": kept}
    events.record(tx, "drop.received", at=drop.arrived_at, **common, **say)
    if drop.stage not in _ENDED:
        return
    say = {"lake": {file.path: file.sha256 for file in brought}}
    names = ("blocks_loaded", "blocks_late", "blocks_replacing", "blocks_unchanged", "intervals_loaded")
    if drop.stage is Stage.LOADED and not drop.sync_id:
        say |= {name: getattr(drop, name) for name in names}
        say |= {"blocks_outranked": drop.blocks_outranked} if drop.blocks_outranked else {}
    say |= {
        "faults": drop.faults_total,
        "code": drop.faults[0].code if drop.faults else "",
        "of": drop.duplicate_of,
    }
    events.record(tx, _ENDED[drop.stage], at=drop.ended_at or drop.arrived_at, **common, **say)


def _syncs(tx: Connection, found: Found, of_drop: Mapping[str, list[File]], *, now: datetime) -> list[str]:
    """Each roster's sync; the newest of each EDC waits for an operator, the others are over."""
    rosters = {file.said["sync_id"]: file for file in found.files if file.said["kind"] == "roster"}
    newest: dict[str, str] = {}
    for sync_id, file in sorted(rosters.items(), key=lambda one: (one[1].said["as_of"], _number(one[0]))):
        newest[file.said["edc"]] = sync_id
    wanted: dict[str, tuple[str, str]] = {k: (f.said["edc"], f.said["as_of"]) for k, f in rosters.items()}
    for drop_id, brought in of_drop.items():
        drop, part = found.drops[drop_id], brought[0]
        if part.row is None:
            day = datetime.fromisoformat(part.said["as_of"]).date()
            sync_id = drop.sync_id or ids.sync(drop.partner, day, 1)
            found.drops[drop_id] = replace(drop, sync_id=sync_id)
            wanted.setdefault(sync_id, (drop.partner, part.said["as_of"]))
    for sync_id, (edc, as_of) in sorted(wanted.items()):
        state, event = (
            ("held", "sync.held") if newest.get(edc) == sync_id else ("superseded", "sync.superseded")
        )
        roster = rosters.get(sync_id)
        if roster is None:
            state, event = "rejected", "sync.rejected"
        row: dict[str, Any] = {
            "id": sync_id, "edc": edc, "as_of": datetime.fromisoformat(as_of).date(), "parts": 1,
            "state": state, "began_at": now, "completed_at": now, "why": WHY,
        }  # fmt: skip
        if state == "superseded":
            row["superseded_at"] = now
        if roster is not None:
            row |= {"path": roster.path, "sha256": roster.sha256, "rows": roster.rows}
            row |= {"accounts": roster.accounts, "due": roster.due}
        tx.execute(insert(tables.sync).values(row))
        bound = {roster.path: roster.sha256} if roster else {}
        say = {"moved": 0, "share": 0.0, "by": "", "why": WHY, "lake": bound}
        events.record(tx, event, at=now, about=sync_id, partner=edc, **say)
    return sorted(newest.values())


def _number(sync_id: str) -> int:
    return int(sync_id.rpartition("-")[2])


def _published(tx: Connection, found: Found, cursor: Mapping[str, int], *, now: datetime) -> None:
    """What was laid out, by the manifests that are left; and up to which load all counts as laid out."""
    by_edc: dict[str, list[Paper]] = defaultdict(list)
    syncs = {file.said["sync_id"]: file.said["edc"] for file in found.files if file.said["kind"] == "roster"}
    for one in found.manifests:
        by_edc[one.said["edc"]["id"]].append(one)
    for edc in sorted(cursor.keys() | by_edc.keys()):
        sync_id = next((k for k, whose in sorted(syncs.items(), reverse=True) if whose == edc), "")
        if not sync_id:
            continue  # without any roster, nothing of it was ever laid out
        sent = sorted(by_edc[edc], key=lambda one: (one.laid.partner, one.said["sequence"]))
        through = cursor.get(edc, 0)
        publication = publications.begin(
            tx,
            edc=edc,
            sync_id=sync_id,
            at=now,
            after_seq=0,
            through_seq=through,
            files=len(sent),
            blocks=sum(one.said["blocks"] for one in sent),
            looked_through=through,
            under="",
        )
        gone = [_sent(one, publication, sync_id, now=now) for one in sent]
        outbox.add(tx, gone, [""] * len(gone), at=now)
        for file in gone:
            events.record(tx, "outbound.expired", at=now, about=file.name, partner=file.egs)
        if gone:
            publications.laid_out(tx, publication, at=now)


def _sent(one: Paper, publication: str, sync_id: str, *, now: datetime) -> OutboundFile:
    """An outbound file of which the manifest is left. It is out of its folder now, and its number is not given again."""
    said = one.said
    days = tuple(datetime.fromisoformat(day).date() for day in said["usage_days"])
    return OutboundFile(
        egs=one.laid.partner,
        sequence=said["sequence"],
        name=said["file"],
        edc=said["edc"]["id"],
        publication_id=publication,
        sync_id=sync_id,
        state="expired",
        sha256=said["sha256"],
        bytes=said["bytes"],
        blocks=said["blocks"],
        intervals=said["intervals"],
        estimated=said["estimated_intervals"],
        versions_above_1=said["versions_above_1"],
        usage_days=days,
        contents="",
        replaces=said.get("replaces", ""),
        laid_out_at=datetime.fromisoformat(said["laid_out_at"]),
        expired_at=now,
    )
