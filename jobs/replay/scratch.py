"""A scratch home: what the hub held when a day began, for one EDC, in a folder of its own.

Its ledger is the hub's as of then. The archive that is read is the hub's own; files of the lake that were
there are links. Kept, it can be looked at as any home.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text

from config.home import Home
from config.partners_folder import PartnersFolder
from config.settings import Settings
from jobs.replay.acts import PIVOTS
from jobs.stores import circumstances
from jobs.stores.archive import Archive, DamagedError
from jobs.stores.lake import Lake
from jobs.stores.ledger import SAID, Ledger, engines
from jobs.stores.ledger.claims import Owner
from jobs.stores.mailboxes import Mailboxes
from jobs.stores.opened import Stores


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
