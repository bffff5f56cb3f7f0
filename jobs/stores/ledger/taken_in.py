"""Drops, loads and syncs as they were: of each row what it said when the history had come so far."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, select, true
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from jobs.stores.ledger.history import Later, Row, Until, Wanted, events_about, known_by, rows_of
from schemas import tables
from schemas.drop import ENDED, Stage

_SYNC_STATES = {
    "sync.begun": "forming",
    "sync.completed": "complete",
    "sync.held": "held",
    "sync.assembled": "withdrawing",
    "sync.approved": "withdrawing",
    "sync.enforced": "in-force",
    "sync.superseded": "superseded",
    "sync.rejected": "rejected",
    "sync.refused": "refused",
    "sync.outdated": "older",
}
_SYNC_KNOWS: Mapping[str, Row] = {
    "sync.completed": {"completed_at": None},
    "sync.enforced": {"in_force_at": None},
    "sync.superseded": {"superseded_at": None},
}
_ROSTER = {"path": "", "sha256": "", "rows": 0, "accounts": 0, "due": 0, "moved": 0, "share_moved": 0.0}
_UPLOADS = {"drop.arrived", "drop.misnamed", "drop.incomplete"}


def drops(tx: Connection, later: Later, wanted: Wanted, loaded: set[str]) -> Iterator[Row]:
    moved = {about for name in list(later.events) if name.startswith("drop.") for about in later.about(name)}
    known = known_by(tx, moved, until=later.until)
    named = loaded | set(wanted.drops)
    for row in rows_of(tx, tables.drop, wanted.of(tables.drop.c.partner)):
        if wanted.edc and row["id"] not in named and not row["sync_id"]:
            continue
        if row["id"] not in moved:
            yield row
        elif row["id"] in known and (before := events_about(tx, row["id"], until=later.until, kind="drop.")):
            yield _drop_then(row, before)


def _drop_then(row: Row, before: list[Row]) -> Row:
    """A drop as it stood after these events of its own."""
    stage = Stage(before[-1]["name"].removeprefix("drop."))
    if stage in ENDED:
        return row
    fresh = {
        column.name: _default(column)
        for column in tables.drop.columns
        if column.name not in {"id", "partner", "name", "stage", "arrived_at", "bytes", "in_inbound"}
    }
    named = [one["details"]["name"] for one in before if "name" in one["details"]]
    received = next((one for one in before if one["name"] == "drop.received"), None)
    accepted = next((one for one in before if one["name"] == "drop.accepted"), None)
    sized = [one["details"]["bytes"] for one in before if "bytes" in one["details"]]
    said = {
        "stage": str(stage),
        "name": named[-1] if named else row["name"],
        "arrived_at": arrived_at(before),
        "bytes": sized[-1] if sized else row["bytes"],
        "in_inbound": received is None,
        "sha256": received["details"]["sha256"] if received else "",
        "kind": accepted["details"]["kind"] if accepted else "",
    }
    return row | fresh | said


def _default(column: Column[Any]) -> Any:
    """What a column of a new row says."""
    default = column.default
    if default is None:
        return None
    return default.arg if isinstance(default, ScalarElementColumnDefault) else []


def arrived_at(of_drop: Iterable[Row]) -> datetime:
    """When an upload ended, by the events of its drop. One that waited for its rename in vain goes on later,
    and came when it came.
    """
    uploads = [one for one in of_drop if one["name"] in _UPLOADS]
    if (
        len(uploads) > 1
        and uploads[-1]["name"] == "drop.arrived"
        and uploads[-2]["name"] == "drop.misnamed"
        and "was" not in uploads[-1]["details"]
    ):
        uploads.pop()
    at: datetime = uploads[-1]["at"]
    return at


def loads(tx: Connection, later: Later, wanted: Wanted) -> Iterator[Row]:
    loaded = later.about("drop.loaded")
    for row in rows_of(tx, tables.load, wanted.of(tables.load.c.edc)):
        if row["drop_id"] not in loaded:
            yield row


def lake_files(tx: Connection, later: Later, wanted: Wanted) -> Iterator[Row]:
    loaded, file = later.about("drop.loaded"), tables.lake_file
    for row in rows_of(tx, file, wanted.of(file.c.edc) & wanted.on(file.c.usage_date)):
        if row["drop_id"] not in loaded:
            yield row


def syncs(tx: Connection, later: Later, wanted: Wanted) -> Iterator[Row]:
    moved = {about for name in _SYNC_STATES for about in later.about(name)}
    known = known_by(tx, moved, until=later.until)
    for row in rows_of(tx, tables.sync, wanted.of(tables.sync.c.edc)):
        if row["id"] not in moved:
            yield row
        elif row["id"] in known and (before := events_about(tx, row["id"], until=later.until, kind="sync.")):
            yield _sync_then(row, before)


def _sync_then(row: Row, before: list[Row]) -> Row:
    names = {one["name"] for one in before}
    state = _SYNC_STATES[before[-1]["name"]]
    then = row | {"state": state}
    rebuilt = "sync.begun" not in names  # made again from its file: complete from the outset
    for name, unknown in _SYNC_KNOWS.items():
        if name not in names and not (rebuilt and name == "sync.completed"):
            then |= unknown
    if not names & {"sync.held", "sync.assembled"}:
        then |= _ROSTER
    if "sync.held" in names and state in {"held", "withdrawing", "in-force", "superseded"}:
        held = next(one["details"] for one in before if one["name"] == "sync.held")
        moves = f"it moves {held['moved']:,} accounts, {row['share_moved']:.1%}"
        then["why"] = held.get("why", moves)  # one of a rebuild says why
    elif state not in {"rejected", "refused", "older"}:
        then["why"] = ""
    return then


def parts(tx: Connection, later: Later, syncs: set[str], drops: set[str]) -> Iterator[Row]:
    """The parts of these syncs; one that a later one has taken the place of since stands there again."""
    loaded, again = later.about("drop.loaded"), later.about("drop.duplicate")
    part = tables.sync_part
    of_sync: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in rows_of(tx, part, true()):
        if row["sync_id"] in syncs and row["drop_id"] in drops - loaded - again:
            of_sync[row["sync_id"]][row["part"]] = row
    replaced = [row for row in later.events["drop.loaded"] if row["details"].get("sync") in syncs]
    for row in replaced:
        sync_id, number = row["details"]["sync"], row["details"]["part"]
        if number not in of_sync[sync_id] and (before := _part_before(tx, sync_id, number, later.until)):
            of_sync[sync_id][number] = before
    for parts in of_sync.values():
        yield from parts.values()


def _part_before(tx: Connection, sync_id: str, number: int, until: Until) -> Row | None:
    drop, event = tables.drop, tables.event
    query = (
        select(event)
        .join(drop, drop.c.id == event.c.about)
        .where((drop.c.sync_id == sync_id) & (event.c.name == "drop.loaded") & until.earlier)
        .order_by(event.c.id.desc())
    )
    for row in tx.execute(query).mappings():
        said = row["details"]
        if said["part"] == number:
            (path,) = said["lake"]
            return {
                "sync_id": sync_id,
                "part": number,
                "drop_id": row["about"],
                "path": path,
                "rows": said["rows"],
            }
    return None
