"""The scratch home held to the hub, when all has been done again."""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from isal import igzip, isal_zlib
from sqlalchemy import Connection, select

from jobs import executor
from jobs.replay import compare, held_then, scratch
from jobs.replay.acts import VERDICTS, Judge, Load, Publish, Row
from jobs.replay.compare import Difference
from jobs.replay.doing import World, do
from jobs.replay.window import Replayed, Window
from jobs.stores.ledger import as_of, runs
from jobs.stores.ledger.events import PAPERS
from jobs.stores.ledger.history import Until
from jobs.stores.outbound import read_contents
from schemas import tables

# What a verdict says for good; and what a later report of its day brings up to date.
_FOR_GOOD = (
    "deadline",
    "verdict",
    "sync_id",
    "expected",
    "in_time",
    "last_load_at",
    "hub_late_seconds",
    "judged_at",
)
_RENEWED = ("late", "missing", "reported_seq")


def hold(window: Window, world: World, replayed: Replayed) -> None:
    """Find every difference between what was done again and what there is."""
    same = not replayed.notes
    if window.of_usage:
        _rows_of_loads(window, world, replayed, same_software=same)
    else:
        _rows(window, world, replayed, same_software=same)
    if window.verdict is not None:
        _judge(window.verdict, world)
    judged = window.verdict or next((act for act in window.acts if isinstance(act, Judge)), None)
    with world.place.hand() as again, world.real.ledger.read() as real:
        if judged is not None:
            replayed.differences += _verdict(judged, again, real, edc=world.edc)
            replayed.counts["verdicts"] += 1
        recorded = list(_recorded(real, window, judged, world))
        count, found = compare.events(again, recorded, same_software=same)
        replayed.counts["events"] += count
        replayed.differences += found
        count, found = compare.papers(
            again, real, world.real, written=world.place.home.sftp_root, same_software=same
        )
        replayed.counts["papers"] += count
        replayed.differences += found
    _files(window, world, replayed, same_software=same)


def _rows(window: Window, world: World, replayed: Replayed, *, same_software: bool) -> None:
    path = world.place.root / "recorded.sqlite"
    shutil.copyfile(world.place.empty_ledger, path)
    with world.real.ledger.read() as real, scratch.by_hand(path) as recorded, world.place.hand() as again:
        as_of.copy(real, recorded, until=Until(event_id=window.until), wanted=world.wanted)
        count, found = compare.rows(again, recorded, edc=world.edc, same_software=same_software)
    replayed.counts["rows"] += count
    replayed.differences += found
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


def _rows_of_loads(window: Window, world: World, replayed: Replayed, *, same_software: bool) -> None:
    """Only the rows of the loads that were done again: nothing changes them afterwards."""
    drops = {act.drop_id for act in window.acts if isinstance(act, Load)}
    with world.real.ledger.read() as real, world.place.hand() as again:
        count, found = compare.rows(again, real, edc=world.edc, same_software=same_software, drops=drops)
    replayed.counts["rows"] += count
    replayed.differences += found


def _judge(act: Judge, world: World) -> None:
    """Give the verdict again, upon what was loaded of the day until then."""
    file = tables.lake_file
    with world.real.ledger.read() as real, world.place.hand() as again:
        where = (file.c.edc == world.edc) & (file.c.usage_date == act.day) & (file.c.load_seq <= act.through)
        wanted = dict(real.execute(select(file.c.id, file.c.drop_id).where(where)).all())
        there = set(again.execute(select(file.c.id)).scalars())
    for drop_id in sorted({drop for number, drop in wanted.items() if number not in there}):
        held_then.put_recorded(world.place, world.real, drop_id=drop_id)
    do(act, world)


def _verdict(act: Judge, again: Connection, real: Connection, *, edc: str) -> Iterator[Difference]:
    mine = runs.verdict(again, edc=edc, day=act.day) or {}
    theirs = runs.verdict(real, edc=edc, day=act.day) or {}
    event = tables.event
    renewed = select(event.c.id).where(
        (event.c.about == f"{edc}/{act.day}") & (event.c.name == "deadline.reported")
    )
    columns = _FOR_GOOD if real.execute(renewed.limit(1)).first() else (*_FOR_GOOD, *_RENEWED)
    for column in columns:
        if mine.get(column) != theirs.get(column):
            where = f"verdict {edc}/{act.day}: {column}"
            yield Difference("ledger", where, mine.get(column), theirs.get(column))
    said = select(event).where((event.c.about == f"{edc}/{act.day}") & event.c.name.in_(VERDICTS))
    first, second = (tx.execute(said.order_by(event.c.id)).mappings().first() for tx in (again, real))
    if first is not None and second is not None:
        yield from compare.one_event(dict(first), dict(second), same_software=True)


_OF_A_DROP = frozenset({"drop.accepted", "drop.loaded", "drop.refused", "drop.duplicate", "receipt.laid"})
_OF_A_FILE = frozenset({"outbound.recorded", "outbound.withdrawn", "outbound.collected", "manifest.laid"})


def _recorded(tx: Connection, window: Window, judged: Judge | None, world: World) -> Iterator[Row]:
    """The events that what was done again should have left, in the hub's ledger."""
    for act in window.acts:
        if isinstance(act, Load) and act.drop_id not in world.left_out:
            yield from (one for one in act.told if one["name"] in _OF_A_DROP and not _came_later(one, act))
    ours = _Ours(tx, world.edc)
    event = tables.event
    query = (
        select(event).where((event.c.id > window.after) & (event.c.id <= window.until)).order_by(event.c.id)
    )
    for row in () if window.of_usage else map(dict, tx.execute(query).mappings()):
        if ours.has(row):
            yield row
    if judged is not None:
        about = (event.c.about == f"{world.edc}/{judged.day}") & (event.c.name == PAPERS["reports"])
        papers = select(event).where(about & (event.c.id > judged.event_id)).order_by(event.c.id).limit(2)
        yield from map(dict, tx.execute(papers).mappings())


def _came_later(one: Row, act: Load) -> bool:
    """Whether a receipt is of a checksum that came when the drop was at its end."""
    return one["name"] == "receipt.laid" and not one["details"]["file"].endswith(
        (".received.json", ".faults.csv", f".{_OUTCOMES[act.end['name']]}.json", ".partial.json")
    )


_OUTCOMES = {"drop.loaded": "accepted", "drop.refused": "rejected", "drop.duplicate": "duplicate"}


class _Ours:
    """Which events tell of an EDC's syncs, publications and outbound files."""

    def __init__(self, tx: Connection, edc: str) -> None:
        self._tx = tx
        self._edc = edc
        self._files: dict[tuple[str, str], bool] = {}

    def has(self, row: Row) -> bool:
        name, about = row["name"], row["about"]
        if name.startswith("sync.") or name == "publication.recorded":
            return bool(row["partner"] == self._edc)
        if name == "publication.laid_out":
            of = select(tables.publication.c.edc).where(tables.publication.c.id == about)
            return self._tx.execute(of).scalar_one_or_none() == self._edc
        if name == PAPERS["reports"]:
            return row["partner"] == self._edc and "/" not in about
        return name in _OF_A_FILE and self._is_file(row["partner"], about)

    def _is_file(self, egs: str, name: str) -> bool:
        if (egs, name) not in self._files:
            file = tables.outbound_file
            query = select(file.c.edc).where((file.c.egs == egs) & (file.c.name == name))
            self._files[egs, name] = self._tx.execute(query).scalar_one_or_none() == self._edc
        return self._files[egs, name]


def _files(window: Window, world: World, replayed: Replayed, *, same_software: bool) -> None:
    """Outbound files, the lists of their blocks, and rosters, as they lie on the hub's disk."""
    made = [name for act in window.acts if isinstance(act, Publish) for name in act.ids]
    outbound, event = tables.outbound_file, tables.event
    with world.place.hand() as again, world.real.ledger.read() as real:
        of_these = outbound.c.publication_id.in_(made)
        mine = [dict(row) for row in again.execute(select(outbound).where(of_these)).mappings()]
        now = {
            (row["egs"], row["name"]): row
            for row in real.execute(select(outbound).where(of_these)).mappings()
        }
        said = again.execute(select(event.c.details).where(event.c.name.in_(_WITH_ROSTERS))).scalars()
        rosters = {
            path: digest
            for one in said
            for path, digest in one.get("lake", {}).items()
            if path.startswith("syncs/")
        }
    checks: list[tuple[str, str, str, Path, Path]] = []
    for row in mine:
        name = f"{row['egs']}/outbound/{row['name']}"
        there = now.get((row["egs"], row["name"]))
        replayed.counts["outbound_files"] += 1
        path = Path(row["egs"]) / "outbound" / row["name"]
        if there is not None and there["state"] == "laid-out":
            checks.append(
                (
                    "outbound",
                    name,
                    row["sha256"],
                    world.place.home.sftp_root / path,
                    world.real.mailboxes.root / path,
                )
            )
        else:
            replayed.counts["outbound_files_gone"] += 1
        again_at, real_at = world.place.home.state / row["contents"], world.real.home.state / row["contents"]
        checks.append(("contents", row["contents"], compare.hash_of(again_at), again_at, real_at))
    for path_, digest in sorted(rosters.items()):
        checks.append(("roster", path_, digest, world.place.home.lake / path_, world.real.lake.root / path_))
    with ThreadPoolExecutor(executor.workers(world.real.settings)) as threads:
        for found in threads.map(lambda one: _check(*one, same_software=same_software), checks):
            replayed.differences += found


_WITH_ROSTERS = ("drop.loaded", "sync.assembled", "sync.held")


def _check(
    what: str, name: str, wanted: str, again: Path, real: Path, *, same_software: bool
) -> list[Difference]:
    found = compare.hash_of(real)
    if found == wanted or (not same_software and _same_inside(what, again, real)):
        return []
    return [Difference(what, name, wanted, found)]


def _same_inside(what: str, again: Path, real: Path) -> bool:
    """Whether two files that another software wrote hold the same."""
    if not (again.exists() and real.exists()):
        return False
    try:
        if what == "outbound":
            return bool(igzip.decompress(again.read_bytes()) == igzip.decompress(real.read_bytes()))
        if what == "contents":
            return bool(read_contents(again).equals(read_contents(real)))
    except (OSError, EOFError, isal_zlib.error, pa.ArrowException):  # type: ignore[misc] # its stub says too little
        return False
    return not compare.first_difference(again, real)
