"""What was done again, held to what the ledger says and to what lies on the disk.

The ledger's rows and events are held to those that the scratch home has now, column by column; files to
those that were written there, byte by byte.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import structlog
from sqlalchemy import ColumnElement, Connection, Table, select, true

from jobs.replay.acts import VERDICTS, Row
from jobs.stores.ledger import loads
from jobs.stores.ledger.events import PAPERS
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.opened import Stores
from schemas import tables

MISSING = "no such file"
_NAMED_BY = ("account", "channel", "meter")  # what names a row of blocks, or of a roster
_FOLDERS = {event: folder for folder, event in PAPERS.items()}


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not as it was: what, where, what doing it again gives, and what there is."""

    what: str  # archive | lake | outbound | contents | receipts | reports | manifest | roster | ledger | event | step
    where: str
    expected: Any
    found: Any


def be_silent() -> None:
    """What is done again has happened before: nothing of it is logged."""
    structlog.configure(processors=[_drop_it])


def _drop_it(*_: Any) -> Any:
    raise structlog.DropEvent


def hash_of(path: Path) -> str:
    """The hash of a file, or that there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return MISSING


def lake_files(stores: Stores, *, drop_id: str) -> list[LakeFile]:
    """The files of a load in the scratch home."""
    with stores.ledger.read() as tx:
        return loads.of_drop(tx, drop_id)


def lake(
    stores: Stores, files: Sequence[LakeFile], *, real: Path, same_software: bool
) -> Iterator[Difference]:
    """What of these lake files is not on the hub's disk as it was written again. Another software may write
    the same in other bytes.
    """
    for file in files:
        found = hash_of(real / file.path)
        if found == file.sha256:
            continue
        differs = first_difference(stores.lake.root / file.path, real / file.path)
        if differs or same_software:
            yield Difference("lake", f"{file.path}{differs and ': '}{differs}", file.sha256, found)


def first_difference(again: Path, there: Path) -> str:
    """Of two Parquet files of the lake, the first row and column that differ; empty when none does."""
    try:
        one, other = _read(again), _read(there)
    except (OSError, pa.ArrowException) as error:
        return f"it cannot be read ({type(error).__name__})"
    if not one.schema.equals(other.schema) or len(one) != len(other):
        return f"{len(other)} rows, not {len(one)}"
    mine, theirs = one.schema.metadata or {}, other.schema.metadata or {}
    if changed := sorted(key.decode() for key in mine if mine[key] != theirs.get(key)):
        return f"in its metadata, {', '.join(changed)}"
    for column in one.column_names:
        if one[column].equals(other[column]):
            continue
        pairs = zip(one[column].to_pylist(), other[column].to_pylist(), strict=True)
        for row, (a, b) in enumerate(pairs):
            if a != b:
                which = ", ".join(
                    f"{key} {one[key][row].as_py()}" for key in _NAMED_BY if key in one.column_names
                )
                return f"{column} of {which} differs"
    return ""


def _read(path: Path) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read()


def papers(
    again: Connection, real: Connection, stores: Stores, *, written: Path, same_software: bool
) -> tuple[int, list[Difference]]:
    """Receipts, reports and manifests that were laid again below `written`, held to those that lie there now; how
    many. One that was laid anew since is not looked at: it says more. Of files that another software wrote, a
    manifest names other hashes and sizes.
    """
    event = tables.event
    query = select(event).where(event.c.name.in_(_FOLDERS)).order_by(event.c.id)
    mine = {_paper(row): row for row in again.execute(query).mappings()}
    theirs: dict[Any, Any] = {}
    subjects = sorted({row["about"] for row in mine.values()})
    for start in range(0, len(subjects), 500):
        some = query.where(event.c.about.in_(subjects[start : start + 500]))
        theirs |= {_paper(row): row for row in real.execute(some).mappings()}
    gone = _expired(real, subjects)
    found = []
    for key, row in mine.items():
        partner, name, file = key
        last = theirs.get(key)
        if last is None or last["at"] != row["at"] or (partner, row["about"]) in gone:
            continue
        folder = _FOLDERS[name]
        path = Path(partner, folder, file)
        there = hash_of(stores.mailboxes.root / path)
        same = there == row["details"]["sha256"]
        if not same and not same_software and folder == "outbound":
            same = _besides_bytes(written / path) == _besides_bytes(stores.mailboxes.root / path)
        if not same:
            what = "manifest" if folder == "outbound" else folder
            found.append(Difference(what, f"{partner}/{folder}/{file}", row["details"]["sha256"], there))
    return len(mine), found


def _besides_bytes(manifest: Path) -> dict[str, Any] | None:
    """What a manifest says besides hash and size; None where there is none that can be read."""
    try:
        said: dict[str, Any] = json.loads(manifest.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return {name: value for name, value in said.items() if name not in _BYTES}


def _paper(row: Any) -> tuple[str, str, str]:
    return row["partner"], row["name"], row["details"]["file"]


def _expired(tx: Connection, names: Collection[str]) -> set[tuple[str, str]]:
    event = tables.event
    query = select(event.c.partner, event.c.about).where(event.c.name == "outbound.expired")
    wanted = set(names)
    return {(partner, about) for partner, about in tx.execute(query) if about in wanted}


# Of each table that a load or publication writes: what names a row, and what is not compared.
_KEYS: Mapping[str, tuple[Table, tuple[str, ...], frozenset[str]]] = {
    "drop": (tables.drop, ("id",), frozenset({"in_inbound", "receipt_due"})),
    "load": (tables.load, ("seq",), frozenset()),
    "lake_file": (tables.lake_file, ("id",), frozenset()),
    "sync": (tables.sync, ("id",), frozenset()),
    "sync_part": (tables.sync_part, ("sync_id", "part"), frozenset()),
    "publication": (tables.publication, ("id",), frozenset()),
    "outbound_file": (tables.outbound_file, ("egs", "sequence"), frozenset({"id"})),
    "held": (tables.held, ("lake_file_id", "account", "channel", "since"), frozenset({"id"})),
}
_OF_LOADS = {"drop": "id", "load": "drop_id", "lake_file": "drop_id"}  # which column names their drop

_BYTES = frozenset({"sha256", "bytes"})  # of files, which another software may write otherwise
_OF_BYTES = frozenset({"under", "lake", "contents_sha256", *_BYTES})


def rows(
    again: Connection,
    recorded: Connection,
    *,
    edc: str,
    same_software: bool,
    drops: Collection[str] | None = None,
) -> tuple[int, list[Difference]]:
    """Each table's rows of an EDC, or of these drops and their loads alone, held to the recorded ones, column
    by column; how many.
    """
    count, found = 0, []
    for name, (table, key, left_out) in _KEYS.items():
        if drops is not None and name not in _OF_LOADS:
            continue
        of = true() if drops is None else table.c[_OF_LOADS[name]].in_(sorted(drops))
        mine, theirs = _by_key(again, table, key, edc, of), _by_key(recorded, table, key, edc, of)
        count += len(mine)
        for one in sorted(mine.keys() | theirs.keys(), key=str):
            where = f"{name} {' '.join(str(part) for part in one)}"
            if one not in theirs:
                found.append(Difference("ledger", where, "a row", "none"))
            elif one not in mine:
                found.append(Difference("ledger", where, "none", "a row"))
            else:
                found += [
                    Difference("ledger", f"{where}: {column}", mine[one][column], theirs[one][column])
                    for column in mine[one]
                    if column not in (left_out if same_software else left_out | _BYTES)
                    and mine[one][column] != theirs[one][column]
                ]
    return count, found


def _by_key(
    tx: Connection, table: Table, key: Sequence[str], edc: str, of: ColumnElement[bool]
) -> dict[tuple[Any, ...], Row]:
    query = select(table).where(of)
    if "edc" in table.c:
        query = query.where(table.c.edc == edc)
    elif "partner" in table.c:
        query = query.where((table.c.partner == edc) & table.c.ended_at.is_not(None))
    return {tuple(row[part] for part in key): dict(row) for row in tx.execute(query).mappings()}


# Events that tell of other things, or of how the work went.
_ASIDE = {
    "circumstances.noted",
    "drop.arrived",
    "deadline.reported",
    "deadline.warned",
    "outbound.expired",
    "checksum.matched",
    "checksum.mismatched",
    "blocks.held",
    "blocks.unfetched",
    "blocks.nobodys",
    "job.ended",
    *VERDICTS,
}


def events(
    again: Connection, recorded: Sequence[Row], *, same_software: bool
) -> tuple[int, list[Difference]]:
    """What the steps said when they were done again, held to what they said first; how many events."""
    event = tables.event
    query = select(event).where(event.c.name.not_in(_ASIDE)).order_by(event.c.id)
    mine, theirs = defaultdict(list), defaultdict(list)
    for row in again.execute(query).mappings():
        mine[row["name"], row["partner"], row["about"]].append(dict(row))
    for other in recorded:
        theirs[other["name"], other["partner"], other["about"]].append(other)
    found: list[Difference] = []
    for key in sorted(mine.keys() | theirs.keys()):
        name, _, about = key
        if len(mine[key]) != len(theirs[key]):
            counts = f"{len(mine[key])} of them", f"{len(theirs[key])} of them"
            found.append(Difference("event", f"{name} about {about}", *counts))
            continue
        for a, b in zip(mine[key], theirs[key], strict=True):
            found += one_event(a, b, same_software=same_software)
    return sum(len(some) for some in mine.values()), found


def one_event(mine: Row, theirs: Row, *, same_software: bool) -> Iterator[Difference]:
    where = f"event {theirs['id']}, {theirs['name']} about {theirs['about']}"
    if mine["at"] != theirs["at"]:
        yield Difference("event", f"{where}: at", mine["at"], theirs["at"])
    one, other = mine["details"], theirs["details"]
    for key in sorted(one.keys() | other.keys()):
        if key in _OF_BYTES and not same_software:
            continue
        if one.get(key) != other.get(key):
            yield Difference("event", f"{where}: {key}", one.get(key), other.get(key))
