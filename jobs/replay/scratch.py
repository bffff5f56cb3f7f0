"""A scratch home: what the hub held when a day began, for one EDC, in a folder of its own.

Its ledger is the hub's as of then. The archive that is read is the hub's own; files of the lake that were
there are links. Kept, it can be looked at as any home.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, delete, func, insert, select, text

from config.home import Home
from config.partners_folder import PartnersFolder
from config.settings import Settings
from jobs.replay.acts import PIVOTS, Row
from jobs.stores import circumstances
from jobs.stores.archive import Archive, DamagedError
from jobs.stores.lake import Lake
from jobs.stores.ledger import SAID, Ledger, as_of, engines
from jobs.stores.ledger.claims import Owner
from jobs.stores.ledger.history import Until, Wanted
from jobs.stores.mailboxes import Mailboxes
from jobs.stores.opened import Stores
from schemas import tables
from schemas.drop import ENDED


class CutOffError(Exception):
    """The step is at the place where it was cut off when it was taken first."""


class ArchiveChangedError(Exception):
    """The archive holds other bytes than came."""

    def __init__(self, wanted: str, found: str) -> None:
        super().__init__(f"the archive holds {found}; what came had the hash {wanted}")
        self.wanted, self.found = wanted, found


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the next load and its first lake file were called: numbers that the database gives."""

    load: int
    lake_file: int


class ScratchLedger(Ledger):
    """A ledger that follows a record: it lets a writer in when it is its turn, gives the numbers that were
    given, and stops a step where the record knows no more of it. Nothing is logged: it has happened before.
    """

    def __init__(
        self,
        url: str,
        *,
        turn: Callable[[], None] = lambda: None,
        numbers: Numbers | None = None,
        allowed: Counter[str] | None = None,
    ) -> None:
        self.url = url
        self.engine = _engine(url)
        self._turn = turn
        self._numbers = numbers
        self._left = None if allowed is None else Counter(allowed)

    def close(self) -> None:
        """Its engine is kept for the next: what it has learnt to say is most of the work."""

    @contextmanager
    def write(self, *, soon: bool = False) -> Iterator[Connection]:
        self._turn()
        with super().write(soon=soon) as tx:
            if self._numbers is not None:
                _count_from(tx, "load", self._numbers.load)
                _count_from(tx, "lake_file", self._numbers.lake_file)
            yield tx
            if self._left is not None:
                said = Counter(name for name, _ in tx.info[SAID] if name in PIVOTS)
                if said - self._left:
                    raise CutOffError
                self._left -= said

    def _tell(self, said: Sequence[tuple[str, dict[str, Any]]]) -> None:
        pass


_engines: dict[tuple[str, bool], Engine] = {}


def _engine(url: str, *, whole: bool = True) -> Engine:
    """The engine of a scratch ledger, made once a process. `whole`: what its rows refer to must be there."""
    if (url, whole) not in _engines:
        _engines[url, whole] = engines.engine(url) if whole else create_engine(url)
    return _engines[url, whole]


def forget(root: Path) -> None:
    """Close what this process has open of the ledgers below a folder."""
    for key in [key for key in _engines if key[0].startswith(f"sqlite:///{root}/")]:
        _engines.pop(key).dispose()


def _count_from(tx: Connection, table: str, number: int) -> None:
    """Let the next row of a table have this number."""
    if not number:
        return
    given = {"name": table, "seq": number - 1}
    if not tx.execute(text("update sqlite_sequence set seq = :seq where name = :name"), given).rowcount:
        tx.execute(text("insert into sqlite_sequence (name, seq) values (:name, :seq)"), given)


class HeldArchive(Archive):
    """The archive, held to its hashes. Nothing is added to it."""

    def read(self, sha256: str) -> bytes:
        try:
            content = super().read(sha256)
        except DamagedError:
            raise ArchiveChangedError(sha256, "bytes that cannot be unpacked") from None
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise ArchiveChangedError(sha256, found)
        return content


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scratch home lies, and whose archive it reads. A value that travels to workers."""

    root: Path
    archive: Path

    @property
    def home(self) -> Home:
        return Home(self.root)

    @property
    def empty_ledger(self) -> Path:
        """A ledger without rows, for all scratch homes beside each other."""
        return self.root.parent / "empty.sqlite"

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.home.ledger_file}"

    def circumstances(self, name: str) -> Path:
        return self.home.root / "config" / "circumstances" / name

    def open(self, under: str, ledger: ScratchLedger | None = None) -> Stores:
        """The stores of the scratch home, with the settings and partners of those circumstances."""
        folder = self.circumstances(under)
        stores = Stores(
            home=self.home,
            settings=Settings(),
            partners=PartnersFolder(folder / "partners"),
            ledger=ledger or ScratchLedger(self.ledger_url),
            lake=Lake(self.home.lake),
            archive=HeldArchive(self.archive),
            mailboxes=Mailboxes(self.home.sftp_root),
            owner=Owner(self.home.locks),
        )
        return circumstances.under(stores, folder)

    @contextmanager
    def opened(self, under: str, ledger: ScratchLedger | None = None) -> Iterator[Stores]:
        stores = self.open(under, ledger)
        try:
            yield stores
        finally:
            stores.close()

    @contextmanager
    def hand(self) -> Iterator[Connection]:
        """A transaction that puts in rows as they were recorded; what they refer to may be missing."""
        with by_hand(self.home.ledger_file) as tx:
            yield tx


def make_empty(file: Path) -> None:
    """Make a ledger without rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    ScratchLedger(f"sqlite:///{file}").migrate()
    forget(file.parent)


@contextmanager
def by_hand(file: Path) -> Iterator[Connection]:
    """A transaction of a ledger's file that asks for no references to be whole."""
    with _engine(f"sqlite:///{file}", whole=False).begin() as tx:
        yield tx


def lay_out(place: Place, real: Stores, *, under: Collection[str]) -> None:
    """Make the folders of the home, an empty ledger, and the settings and partners of each circumstances."""
    place.home.lay_out()
    shutil.copyfile(place.empty_ledger, place.home.ledger_file)
    with real.ledger.read() as tx:
        said = {name: circumstances.noted(tx, name) for name in under}
    for name, content in said.items():
        circumstances.write(content, place.circumstances(name))
        _as_a_home(place, content)


def _as_a_home(place: Place, last: dict[str, Any]) -> None:
    """So that other commands find in it what they look for."""
    place.home.settings_file.write_text(last["settings"] + "\n", encoding="utf-8")
    for file, words in last["partners"].items():
        (place.home.partners / file).write_text(words, encoding="utf-8")


def seed(place: Place, real: Stores, *, edc: str, until: int, wanted: Wanted) -> None:
    """Copy the ledger as of event `until`, and link the files it names."""
    with real.ledger.read() as source, place.hand() as target:
        as_of.copy(source, target, until=Until(event_id=until), wanted=wanted)
        # What was on its way is begun anew when its turn comes.
        target.execute(delete(tables.drop).where(tables.drop.c.stage.not_in([str(one) for one in ENDED])))
        _arrivals(source, target, wanted.drops)
        _numbers_of_others(source, target, edc=edc, until=until)
        _link(target, place, real)


def _arrivals(source: Connection, target: Connection, drops: Collection[str]) -> None:
    """In which order uploads ended: syncs are put in order by that."""
    event = tables.event
    of_syncs = target.execute(select(tables.sync_part.c.drop_id)).scalars()
    wanted = sorted({*drops, *of_syncs})
    for start in range(0, len(wanted), 500):
        some = event.c.about.in_(wanted[start : start + 500]) & (event.c.name == "drop.arrived")
        for row in source.execute(select(event).where(some)).mappings():
            target.execute(insert(event).values(dict(row)))


def _numbers_of_others(source: Connection, target: Connection, *, edc: str, until: int) -> None:
    """The latest publications and files of other EDCs, since they are counted for all EDCs together."""
    event, publication, file = tables.event, tables.publication, tables.outbound_file
    query = (
        select(event.c.about)
        .where((event.c.name == "publication.recorded") & (event.c.id <= until) & (event.c.partner != edc))
        .order_by(event.c.id.desc())
    )
    latest = list(source.execute(query.limit(1_000)).scalars())
    top = dict(
        source.execute(
            select(file.c.egs, func.max(file.c.sequence))
            .where((file.c.edc != edc) & file.c.publication_id.in_(query.order_by(None)))
            .group_by(file.c.egs)
        ).all()
    )
    for egs, sequence in top.items():
        where = (file.c.egs == egs) & (file.c.sequence == sequence)
        for row in source.execute(select(file).where(where)).mappings():
            target.execute(insert(file).values(dict(row)))
            latest.append(row["publication_id"])
    for name in sorted(set(latest)):
        for row in source.execute(select(publication).where(publication.c.id == name)).mappings():
            target.execute(insert(publication).values(dict(row)))


def _link(tx: Connection, place: Place, real: Stores) -> None:
    """Links to the lake's files, rosters and lists of blocks that the copied rows name."""
    file, sync, part = tables.lake_file, tables.sync, tables.sync_part
    for column in (file.c.path, sync.c.path, part.c.path):
        for path in tx.execute(select(column).where(column != "")).scalars():
            link(place.home.lake / path, real.lake.root / path)
    outbound = tables.outbound_file
    for path in tx.execute(select(outbound.c.contents).where(outbound.c.expired_at.is_(None))).scalars():
        link(place.home.state / path, real.home.state / path)


def link(there: Path, real: Path) -> None:
    """Let a file be found in the scratch home, if it is not there yet."""
    if not os.path.lexists(there) and real.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(real.absolute())


def put_recorded(place: Place, real: Stores, *, drop_id: str) -> None:
    """Let a drop be in the scratch home what the hub says it is, without doing its load again."""
    with real.ledger.read() as source, place.hand() as target:
        for table, key in (
            (tables.drop, tables.drop.c.id),
            (tables.load, tables.load.c.drop_id),
            (tables.lake_file, tables.lake_file.c.drop_id),
            (tables.sync_part, tables.sync_part.c.drop_id),
        ):
            target.execute(delete(table).where(key == drop_id))
            for row in source.execute(select(table).where(key == drop_id)).mappings():
                target.execute(insert(table).values(dict(row)))
                if "path" in row:
                    there = place.home.lake / row["path"]
                    there.unlink(missing_ok=True)
                    link(there, real.lake.root / row["path"])


def days_of(tx: Connection, *, edc: str, seqs: Collection[int], files: Collection[Row]) -> frozenset[date]:
    """The usage days whose lake files may be looked at: of these loads, of outbound files that may be written
    again, and of what is held.
    """
    lake, held = tables.lake_file, tables.held
    days: set[date] = {date.fromisoformat(day) for file in files for day in file["usage_days"]}
    wanted = sorted(seqs)
    for start in range(0, len(wanted), 500):
        some = lake.c.load_seq.in_(wanted[start : start + 500])
        days.update(tx.execute(select(lake.c.usage_date).where(some).distinct()).scalars())
    of_held = select(lake.c.usage_date).join(held, held.c.lake_file_id == lake.c.id)
    days.update(tx.execute(of_held.where(held.c.edc == edc).distinct()).scalars())
    return frozenset(days)
