"""A ledger made again, from the files of a home alone, and what of the home is changed for it.

What cannot be known fails closed: no roster is in force until an operator approves one, and what lay in outbound
folders is taken from there, since nobody can tell any more what must be withdrawn of it and when.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from isal import igzip
from sqlalchemy import Connection, insert

from config.errors import OperatorError
from config.home import Home
from jobs.rebuild import lake, papers
from jobs.rebuild.lake import File
from jobs.rebuild.papers import Paper
from jobs.stores import files
from jobs.stores.ledger import Ledger, drops, events, loads, outbox, runs
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.mailboxes import Mailboxes
from schemas import ids, receipt, tables
from schemas.drop import Drop, Outcome, Stage

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was made again, and what is not known any more."""

    drops: Counter[str]  # by stage
    loads: int
    lake_files: int
    held: tuple[str, ...]  # syncs that wait for an operator
    taken_away: int  # outbound files, to state/taken-away
    again: int  # loads whose blocks will be laid out again
    without_drop: tuple[str, ...]  # archived bytes that nothing tells of
    without_receipt: tuple[str, ...]  # drops that only their lake files tell of
    unreadable: tuple[tuple[str, str], ...]
    head: str


def rebuild(home: Home, lake_folder: Path, *, since: datetime, now: datetime) -> Rebuilt:
    """Make the ledger of a home again. Blocks of loads since `since` will be laid out again, once a roster is in
    force. Raises OperatorError if there is a ledger.
    """
    if home.ledger_file.exists():
        raise OperatorError(
            "ledger-there",
            f"there is a ledger: {home.ledger_file}",
            "stop the hub and move it away first, and keep it",
        )
    found = _find(home, lake_folder)
    mailboxes = Mailboxes(home.sftp_root)
    lacking = _complete(found, mailboxes)
    for path in home.state.glob(f"{home.ledger_file.name}-*"):  # of the one that is gone: they fit no other
        path.unlink()
    aside = home.state / f".{home.ledger_file.name}.rebuilt"
    aside.unlink(missing_ok=True)
    ledger = Ledger(f"sqlite:///{aside}")
    try:
        ledger.migrate()
        with ledger.write() as tx:
            again, held = _write(tx, found, lake_folder, since=since, now=now)
            head = events.head(tx)
    finally:
        ledger.close()
    taken = _take_away(home)
    files.settle(aside, home.ledger_file)
    known = {drop.sha256 for drop in found.drops.values()}
    return Rebuilt(
        drops=Counter(str(drop.stage) for drop in found.drops.values()),
        loads=len({file.row.drop_id for file in found.files if file.row}),
        lake_files=len(found.files),
        held=tuple(held),
        taken_away=taken,
        again=again,
        without_drop=tuple(sorted(found.archived.keys() - known)),
        without_receipt=tuple(lacking),
        unreadable=tuple(found.unreadable),
        head=str(head),
    )


def _find(home: Home, lake_folder: Path) -> Found:
    found = Found()
    for one in lake.read(lake_folder):
        if isinstance(one, File):
            found.files.append(one)
        else:
            found.unreadable.append((str(one[0]), one[1]))
    for path in sorted(home.archive.glob("??/*")):
        kept = path.read_bytes()
        try:
            content = igzip.decompress(kept) if path.suffix == ".gz" else kept
        except (OSError, EOFError) as error:
            found.unreadable.append((str(path), f"it cannot be unpacked: {error}"))
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != path.name.removesuffix(".gz"):
            found.unreadable.append((str(path), "its bytes are not those that came"))
            continue
        found.archived[sha256] = (hashlib.sha256(kept).hexdigest(), len(content))
    for paper in _papers(home.sftp_root, found, "receipts", "reports"):
        found.papers.append(paper)
        if paper.laid.folder == "receipts" and (drop := papers.drop(paper, found.drops.get(paper.about))):
            found.drops[drop.id] = drop
        if (verdict := papers.verdict(paper)) is not None:
            found.verdicts.append(verdict)
    for root in (home.sftp_root, home.state / _AWAY):
        found.manifests += [one for one in _papers(root, found, "outbound") if "sequence" in one.said]
    return found


_AWAY = "taken-away"


def _papers(root: Path, found: Found, *folders: str) -> Iterator[Paper]:
    for folder in folders:
        for one in papers.read(root, folder):
            if isinstance(one, Paper):
                yield one
            elif one[0].suffix == ".json":
                found.unreadable.append((str(one[0]), one[1]))


def _complete(found: Found, mailboxes: Mailboxes) -> list[str]:
    """Drops by what the lake has of them: those that no receipt tells of any more, and what was in each load.
    The ids of the former.
    """
    lacking = []
    of_drop: dict[str, list[File]] = defaultdict(list)
    for file in found.files:
        if "drop_id" in file.said:
            of_drop[file.said["drop_id"]].append(file)
    for drop_id, brought in of_drop.items():
        drop = found.drops.get(drop_id)
        if drop is None or drop.stage is Stage.RECEIVED:
            said = brought[0]
            named = papers.named(
                drop_id, partner=said.said["edc"], name=said.said["drop_name"], at=said.instant("arrived_at")
            )
            sha256 = said.said["drop_sha256"]
            size = found.archived.get(sha256, ("", 0))[1]
            drop = replace(named, sha256=sha256, bytes=size, outcome=Outcome.ACCEPTED, receipt_due=True)
            drop = replace(drop, ended_at=drop.arrived_at, **_counts(brought))
            lacking.append(drop_id)
        found.drops[drop_id] = drop
    told = {(paper.laid.partner, paper.laid.name) for paper in found.papers}
    for drop in found.drops.values():
        name = receipt.received_name(drop)
        if drop.sha256 and (drop.partner, name) not in told:
            laid = mailboxes.lay(drop.partner, "receipts", name, receipt.received(drop))
            found.papers.append(Paper(laid=laid, about=drop.id, ending="received.json", said={}))
    return sorted(lacking)


def _counts(brought: list[File]) -> dict[str, Any]:
    """What a receipt would count of a drop, as far as its lake files tell."""
    rows = [file for file in brought if file.row is not None]
    if not rows:
        return {"rows_loaded": sum(file.rows for file in brought)}
    usage = [file for file in rows if file.said["kind"] == "usage"]
    return {
        "usage_days": tuple(sorted({file.row.usage_date for file in rows if file.row})),
        "blocks_loaded": sum(file.rows for file in usage),
        "blocks_late": sum(file.late for file in usage),
        "blocks_replacing": sum(file.replacing for file in usage),
        "intervals_loaded": sum(file.intervals for file in usage),
    }


def _write(
    tx: Connection, found: Found, lake_folder: Path, *, since: datetime, now: datetime
) -> tuple[int, list[str]]:
    """All rows and events. How many loads will be laid out again, and the syncs that wait for an operator."""
    numbers: dict[str, int] = {}
    for one in found.manifests:
        numbers[one.laid.partner] = min(one.said["sequence"], numbers.get(one.laid.partner, 1 << 60))
    events.record(
        tx, "ledger.rebuilt", at=now, drops=len(found.drops), files=len(found.files), numbers=numbers
    )
    held = _syncs(tx, found, now=now)
    for drop in sorted(found.drops.values(), key=lambda one: (one.arrived_at, one.id)):
        _drop(tx, drop, found)
    of_drop: dict[str, list[File]] = defaultdict(list)
    for file in found.files:
        if file.row is not None:
            of_drop[file.row.drop_id].append(file)
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


def _drop(tx: Connection, drop: Drop, found: Found) -> None:
    """A drop and its history, as far as it is known."""
    drops.restore(tx, drop)
    common: dict[str, Any] = {"about": drop.id, "partner": drop.partner}
    if drop.stage is Stage.DISCARDED:
        at = drop.ended_at or drop.arrived_at
        events.record(tx, "drop.discarded", at=at, **common, name=drop.name, why="by its receipt")
        return
    events.record(tx, "drop.arrived", at=drop.arrived_at, **common, name=drop.name, bytes=drop.bytes)
    kept = found.archived.get(drop.sha256, ("", 0))[0]
    say: dict[str, Any] = {"sha256": drop.sha256, "bytes": drop.bytes, "kept_sha256": kept}
    events.record(tx, "drop.received", at=drop.arrived_at, **common, **say)
    if drop.stage not in _ENDED:
        return
    brought = [file for file in found.files if file.said.get("drop_id") == drop.id]
    say = {"lake": {file.path: file.sha256 for file in brought}}
    names = ("blocks_loaded", "blocks_late", "blocks_replacing", "blocks_unchanged", "intervals_loaded")
    if drop.stage is Stage.LOADED and not drop.sync_id:
        say |= {name: getattr(drop, name) for name in names}
    say |= {
        "faults": drop.faults_total,
        "code": drop.faults[0].code if drop.faults else "",
        "of": drop.duplicate_of,
    }
    events.record(tx, _ENDED[drop.stage], at=drop.ended_at or drop.arrived_at, **common, **say)


def _syncs(tx: Connection, found: Found, *, now: datetime) -> list[str]:
    """Each roster's sync; the newest of each EDC waits for an operator, the others are over."""
    rosters = {file.said["sync_id"]: file for file in found.files if file.said["kind"] == "roster"}
    newest: dict[str, str] = {}
    for sync_id, file in sorted(rosters.items(), key=lambda one: (one[1].said["as_of"], _number(one[0]))):
        newest[file.said["edc"]] = sync_id
    wanted: dict[str, tuple[str, str]] = {k: (f.said["edc"], f.said["as_of"]) for k, f in rosters.items()}
    for drop_id, drop in list(found.drops.items()):
        part = next((f for f in found.files if f.said.get("drop_id") == drop_id and f.row is None), None)
        if part is not None:
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
        publication = outbox.begin(
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
            outbox.laid_out(tx, publication, at=now)


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


def _take_away(home: Home) -> int:
    """Move what lies in outbound folders, and the lists of its blocks, to where no partner sees it."""
    taken = 0
    away = home.state / _AWAY
    for path in sorted(home.sftp_root.glob("*/outbound/*")):
        taken += not path.name.endswith(receipt.MANIFEST) and not path.name.startswith(".")
        files.appear(path, away / path.relative_to(home.sftp_root))
    contents = home.state / "contents"
    for path in sorted(contents.glob("*/*")):
        files.appear(path, away / "contents" / path.relative_to(contents))
    return taken
