"""The ledger as it was: its rows after a given event of the history, and nothing that came later.

Rows are only ever added, or moved on by something of which there is an event; so each can be taken back to
where it stood. What is copied is written into a ledger of its own, which the same code reads as any other.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, func, insert, select, true
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from schemas import tables
from schemas.drop import ENDED, Stage

Row = dict[str, Any]
_CHUNK = 2_000  # rows
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
# What a sync's row says from an event on, and what it says before that.
_SYNC_KNOWS: Mapping[str, Row] = {
    "sync.completed": {"completed_at": None},
    "sync.enforced": {"in_force_at": None},
    "sync.superseded": {"superseded_at": None},
}
_ROSTER = {"path": "", "sha256": "", "rows": 0, "accounts": 0, "due": 0, "moved": 0, "share_moved": 0.0}
_UPLOADS = {"drop.arrived", "drop.misnamed", "drop.incomplete"}


def last_event(tx: Connection, instant: datetime) -> int:
    """The last event that had happened at an instant; 0 before the first."""
    event = tables.event
    return int(tx.execute(select(func.max(event.c.id)).where(event.c.at <= instant)).scalar_one() or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """Where the history is cut: after an event, in the order of what was done; or after an instant."""

    event_id: int = 0
    instant: datetime | None = None

    @property
    def earlier(self) -> ColumnElement[bool]:
        """Of events: whether they had happened."""
        event = tables.event.c
        return event.id <= self.event_id if self.instant is None else event.at <= self.instant

    @property
    def later(self) -> ColumnElement[bool]:
        """Of events: whether they had not."""
        return ~self.earlier


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows are copied: of one EDC, of its lake's files those of these usage days, of its drops those
    that files and syncs name, and these; with `edc` empty, all.
    """

    edc: str = ""
    days: Collection[date] = ()
    drops: Collection[str] = ()

    def of(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        return column == self.edc if self.edc else true()

    def on(self, column: ColumnElement[Any]) -> ColumnElement[bool]:
        return column.in_(sorted(self.days)) if self.edc else true()


@dataclass(slots=True)
class _Later:
    """What happened after the event: by event name, what each was about, in order."""

    until: Until
    events: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    of_subject: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def read(cls, tx: Connection, until: Until) -> "_Later":
        later = cls(until)
        for row in _rows(tx, tables.event, until.later):
            later.events[row["name"]].append(row)
            later.of_subject[row["about"]].append(row)
        return later

    def about(self, *names: str) -> set[str]:
        return {row["about"] for name in names for row in self.events[name]}


def copy(source: Connection, target: Connection, *, until: Until, wanted: Wanted | None = None) -> None:
    """Write into an empty ledger what another one held when its history had come so far.

    Claims, runs of jobs and failures are not copied: they say what goes on, not what is known.
    """
    wanted = wanted or Wanted()
    later = _Later.read(source, until)
    publications = list(_publications(source, later, wanted))
    kept = {row["id"] for row in publications}
    syncs = list(_syncs(source, later, wanted))
    lake = list(_lake(source, later, wanted))
    seqs = {row["load_seq"] for row in lake}
    known = {row["id"] for row in lake}
    drops = list(_drops(source, later, wanted, {row["drop_id"] for row in lake}))
    begun = {row["id"] for row in drops}
    _put(target, tables.drop, drops)
    _put(
        target,
        tables.load,
        (row for row in _loads(source, later, wanted) if not wanted.edc or row["seq"] in seqs),
    )
    _put(target, tables.lake_file, lake)
    _put(target, tables.sync, syncs)
    _put(target, tables.sync_part, _parts(source, later, {row["id"] for row in syncs}, begun))
    _put(target, tables.publication, publications)
    _put(target, tables.outbound_file, _outbound(source, later, wanted, kept))
    _put(target, tables.collection, _collections(source, later, wanted))
    for table, rows in _held(source, later, publications, known, wanted):
        _put(target, table, rows)
    _put(target, tables.verdict, _verdicts(source, later, wanted))
    if not wanted.edc:
        _put(target, tables.event, _rows(source, tables.event, until.earlier))


def _rows(tx: Connection, table: Table, where: ColumnElement[bool]) -> Iterator[Row]:
    query = select(table).where(where).order_by(*table.primary_key)
    for row in tx.execute(query.execution_options(yield_per=_CHUNK)).mappings():
        yield dict(row)


def _put(tx: Connection, table: Table, rows: Iterable[Row]) -> None:
    left = iter(rows)
    while some := list(islice(left, _CHUNK)):
        tx.execute(insert(table), some)


def _drops(tx: Connection, later: _Later, wanted: Wanted, loaded: set[str]) -> Iterator[Row]:
    moved = {about for name in list(later.events) if name.startswith("drop.") for about in later.about(name)}
    named = loaded | set(wanted.drops)
    for row in _rows(tx, tables.drop, wanted.of(tables.drop.c.partner)):
        if wanted.edc and row["id"] not in named and not row["sync_id"]:
            continue
        if row["id"] not in moved:
            yield row
        elif before := _events(tx, row["id"], until=later.until, kind="drop."):
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


def _events(tx: Connection, about: str, *, until: Until, kind: str) -> list[Row]:
    event = tables.event
    where = (event.c.about == about) & until.earlier & event.c.name.startswith(kind)
    return list(_rows(tx, event, where))


def _loads(tx: Connection, later: _Later, wanted: Wanted) -> Iterator[Row]:
    loaded = later.about("drop.loaded")
    for row in _rows(tx, tables.load, wanted.of(tables.load.c.edc)):
        if row["drop_id"] not in loaded:
            yield row


def _lake(tx: Connection, later: _Later, wanted: Wanted) -> Iterator[Row]:
    loaded, file = later.about("drop.loaded"), tables.lake_file
    for row in _rows(tx, file, wanted.of(file.c.edc) & wanted.on(file.c.usage_date)):
        if row["drop_id"] not in loaded:
            yield row


def _syncs(tx: Connection, later: _Later, wanted: Wanted) -> Iterator[Row]:
    moved = {about for name in _SYNC_STATES for about in later.about(name)}
    for row in _rows(tx, tables.sync, wanted.of(tables.sync.c.edc)):
        if row["id"] not in moved:
            yield row
        elif before := _events(tx, row["id"], until=later.until, kind="sync."):
            yield _sync_then(row, before)


def _sync_then(row: Row, before: list[Row]) -> Row:
    names = {one["name"] for one in before}
    state = _SYNC_STATES[before[-1]["name"]]
    then = row | {"state": state}
    for name, unknown in _SYNC_KNOWS.items():
        if name not in names:
            then |= unknown
    if not names & {"sync.held", "sync.assembled"}:
        then |= _ROSTER
    if "sync.held" in names and state in {"held", "withdrawing", "in-force", "superseded"}:
        held = next(one["details"] for one in before if one["name"] == "sync.held")
        then["why"] = f"it moves {held['moved']} accounts, {row['share_moved']:.1%}"
    elif state not in {"rejected", "refused", "older"}:
        then["why"] = ""
    return then


def _parts(tx: Connection, later: _Later, syncs: set[str], drops: set[str]) -> Iterator[Row]:
    """The parts of these syncs; one that a later one has taken the place of since stands there again."""
    loaded, again = later.about("drop.loaded"), later.about("drop.duplicate")
    part = tables.sync_part
    of_sync: dict[str, dict[int, Row]] = defaultdict(dict)
    for row in _rows(tx, part, true()):
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


def _publications(tx: Connection, later: _Later, wanted: Wanted) -> Iterator[Row]:
    recorded, laid_out = later.about("publication.recorded"), later.about("publication.laid_out")
    for row in _rows(tx, tables.publication, wanted.of(tables.publication.c.edc)):
        if row["id"] not in recorded:
            yield row | ({"laid_out": row["files"] == 0} if row["id"] in laid_out else {})


def _outbound(tx: Connection, later: _Later, wanted: Wanted, publications: set[str]) -> Iterator[Row]:
    laid_out = later.about("publication.laid_out")
    withdrawn = {(row["partner"], row["about"]) for row in later.events["outbound.withdrawn"]}
    expired = {(row["partner"], row["about"]) for row in later.events["outbound.expired"]}
    fetched = {
        (row["partner"], row["about"])
        for row in later.events["outbound.collected"]
        if row["details"]["whole"]
    }
    heirs = {row["about"] for row in later.events["outbound.recorded"]}
    rewritten = {
        row["partner"]: row for row in later.events["publication.recorded"] if row["details"].get("replaces")
    }
    file = tables.outbound_file
    for row in _rows(tx, file, wanted.of(file.c.edc)):
        key = (row["egs"], row["name"])
        if row["publication_id"] not in publications:
            continue
        if key in expired:
            row |= {"expired_at": None, "state": "laid-out" if row["state"] == "expired" else row["state"]}
        if key in withdrawn:
            row |= {"state": "laid-out", "withdrawn_at": None, "withdrawn_by": "", "rewrite_due": False}
        elif row["withdrawn_at"] is not None and row["edc"] in rewritten:
            row["rewrite_due"] = _was_due(tx, key, later.until, row["edc"])
        if row["replaced_by"] in heirs:
            row["replaced_by"] = ""
        if key in fetched and not _was_fetched(tx, key, later.until):
            row["collected_at"] = None
        if row["publication_id"] in laid_out:
            row |= {"state": "recorded", "laid_out_at": None}
        yield row


def _was_due(tx: Connection, key: tuple[str, str], until: Until, edc: str) -> bool:
    """Whether a file that was withdrawn by then was still to be written again."""
    event = tables.event
    taken = _of_file(tx, key, "outbound.withdrawn", until)
    if not taken or not taken[0]["details"]["rewrite"]:
        return False
    where = (event.c.name == "publication.recorded") & (event.c.partner == edc)
    between = where & (event.c.id > taken[0]["id"]) & until.earlier
    return not any(row["details"].get("replaces") for row in _rows(tx, event, between))


def _was_fetched(tx: Connection, key: tuple[str, str], until: Until) -> bool:
    return any(row["details"]["whole"] for row in _of_file(tx, key, "outbound.collected", until))


def _of_file(tx: Connection, key: tuple[str, str], name: str, until: Until) -> list[Row]:
    event = tables.event
    where = (event.c.about == key[1]) & (event.c.partner == key[0]) & (event.c.name == name)
    return list(_rows(tx, event, where & until.earlier))


def _collections(tx: Connection, later: _Later, wanted: Wanted) -> Iterator[Row]:
    if wanted.edc:
        return
    rows = list(_rows(tx, tables.collection, true()))
    yield from rows[: len(rows) - len(later.events["outbound.collected"])]


def _held(
    tx: Connection, later: _Later, publications: list[Row], lake_files: set[int], wanted: Wanted
) -> Iterator[tuple[Table, list[Row]]]:
    """What was held, and why; held by a publication, and given free by one."""
    held, was = tables.held, tables.held_before
    looked: dict[str, int] = defaultdict(int)
    for one in publications:
        looked[one["edc"]] = max(looked[one["edc"]], one["through_seq"])
    first: dict[str, datetime] = {}
    for event in later.events["publication.recorded"]:
        if not event["details"].get("replaces"):
            first.setdefault(event["partner"], event["at"])
    recorded = later.about("publication.recorded")
    before: dict[int, Row] = {}
    kept_before = []
    for row in _rows(tx, was, true()):
        if row["publication_id"] in recorded:
            before.setdefault(row["held_id"], row)
        else:
            kept_before.append(row)
    file = tables.lake_file
    seq = dict(tx.execute(select(file.c.id, file.c.load_seq).where(wanted.of(file.c.edc))).all())
    rows = []
    for row in _rows(tx, held, wanted.of(held.c.edc)):
        if row["lake_file_id"] not in lake_files or seq[row["lake_file_id"]] > looked[row["edc"]]:
            continue
        at = first.get(row["edc"])
        given_later = row["release"] in recorded if row["release"].startswith("P") else (
            at is not None and row["released_at"] is not None and row["released_at"] >= at
        )  # fmt: skip
        if given_later:
            row |= {"released_at": None, "release": ""}
        if row["id"] in before:
            row |= {name: before[row["id"]][name] for name in ("reason", "egs_duns")}
        rows.append(row)
    there = {row["id"] for row in rows}
    yield held, rows
    yield was, [row for row in kept_before if row["held_id"] in there]


def _verdicts(tx: Connection, later: _Later, wanted: Wanted) -> Iterator[Row]:
    judged = later.about("deadline.met", "deadline.missed", "deadline.unjudged")
    reported = later.about("deadline.reported")
    for row in _rows(tx, tables.verdict, wanted.of(tables.verdict.c.edc)):
        about = f"{row['edc']}/{row['usage_date']}"
        if about in judged:
            continue
        if about in reported:
            said = [
                one
                for one in _events(tx, about, until=later.until, kind="deadline.")
                if "through" in one["details"]
            ]
            details = said[-1]["details"]
            row |= {
                "late": details["late"],
                "missing": details["missing"],
                "reported_seq": details["through"],
            }
        yield row
