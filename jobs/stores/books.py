"""What an auditor sees: the archive under the names that files came with, receipts, reports, manifests and closed
logs, as folders. Nothing is copied: each is looked up in the ledger or where it lies, when it is asked for.
"""

import errno
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import IO

from isal import igzip

from jobs.stores.ledger import drops, runs
from jobs.stores.opened import Stores
from schemas import ids
from schemas.drop import Drop
from schemas.receipt import MANIFEST

Parts = tuple[str, ...]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
_DAY = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
# By folder: the one that is shown of each partner's, and how the files end that are.
_MAILBOXES = {"receipts": ("receipts", ""), "published": ("outbound", MANIFEST), "verdicts": ("reports", "")}
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # what has no time of its own
_README = "README.txt"
_TEXT = b"""What lies here, for you to read. Every folder you list and every file you open is an event of the hub's
own history, too.

archive/<EDC>/<day>/       every file as it came, byte for byte, by the UTC day of its arrival. Two of one name on
                           one day: the later one has its drop's id behind its name.
receipts/<EDC>/            what each company was told of each file: received, then accepted, partial, rejected or
                           duplicate, with all faults. The drop's id stands in the name; sha256 is the file's.
published/<EGS>/           the manifest of each file that was laid before a supplier: its hash, its counts, and the
                           meter data sync by which it was its to have. `sequence` counts without gaps.
verdicts/<partner>/        how each usage day stood at its deadline, what was missing, and the signed proof sheets.
events/                    the log of each day that is over, a line an event. Its hash stands in the chain of events.

From doubt to proof: find the drop in receipts/, fetch it from archive/, take its sha256 (`sha256sum`), and hold it
to the receipt; then find the day in published/. The operator can do the day again from these bytes:
`meterhub replay DAY`; hold every byte of the home to the chain: `meterhub verify`; and tell the story of one
account, drop or file: `meterhub explain`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that an auditor sees: a folder, or a file with its size in bytes."""

    name: str
    at: datetime
    size: int = 0
    is_folder: bool = False


class Books:
    """The folders, of a home's stores. Paths are given in their parts; those that lead nowhere raise
    FileNotFoundError.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def listed(self, parts: Parts) -> Sequence[Entry]:
        """What is in a folder."""
        if not self.entry(parts).is_folder:
            raise _nothing(parts)
        return list(self._in(parts))

    def entry(self, parts: Parts) -> Entry:
        """The folder or file itself, looked up without listing what lies beside it."""
        found = self._found(parts) if all(_NAME.fullmatch(part) for part in parts) else None
        if found is None:
            raise _nothing(parts)
        return found

    def _found(self, parts: Parts) -> Entry | None:
        match parts:
            case ():
                return _folder("/")
            case (top,):
                return next((one for one in self._in(()) if one.name == top), None)
            case ("archive", edc):
                return _folder(edc) if edc in self._senders() else None
            case ("archive", edc, day):
                return Entry(name=day, at=_midnight(day), is_folder=True) if self._of_day(edc, day) else None
            case ("archive", edc, day, name):
                return self._archived(name, self._drop(edc, day, name))
            case ("events", name):
                return _file(self._path(parts)) if name in self._sealed() else None
            case (top, partner) if top in _MAILBOXES:
                return _folder(partner) if _is_folder(self._mailbox(top, partner)) else None
            case (top, partner, name) if top in _MAILBOXES and name.endswith(_MAILBOXES[top][1]):
                return _file(self._path(parts)) if _is_folder(self._mailbox(top, partner)) else None
        return None

    def open(self, parts: Parts) -> int:
        """A descriptor of a file, to be read from and closed. Of bytes that are kept packed, one of them as they
        came, which is on no disk under any name.
        """
        if self.entry(parts).is_folder:
            raise _nothing(parts)
        if parts == (_README,):
            return self._unnamed(lambda file: file.write(_TEXT))
        if parts[0] != "archive":
            return os.open(self._path(parts), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        drop = self._drop(*parts[1:])
        kept = self._stores.archive.path(drop.sha256) if drop is not None else None
        if kept is None:
            raise _nothing(parts)
        if kept.suffix != ".gz":
            return os.open(kept, os.O_RDONLY | os.O_CLOEXEC)
        with igzip.open(kept, "rb") as unpacked:
            return self._unnamed(lambda file: shutil.copyfileobj(unpacked, file, 1 << 20))

    def _in(self, parts: Parts) -> Iterator[Entry]:
        match parts:
            case ():
                yield Entry(name=_README, at=_BEGINNING, size=len(_TEXT))
                yield from map(_folder, ("archive", *_MAILBOXES, "events"))
            case ("archive",):
                yield from map(_folder, self._senders())
            case ("archive", edc):
                with self._stores.ledger.read() as tx:
                    days = drops.days_received(tx, edc)
                yield from (Entry(name=day, at=_midnight(day), is_folder=True) for day in days)
            case ("archive", edc, day):
                for name, drop in self._of_day(edc, day).items():
                    if (entry := self._archived(name, drop)) is not None:
                        yield entry
            case ("events",):
                yield from filter(None, (_file(self._stores.home.logs / name) for name in self._sealed()))
            case (top,):
                for path in sorted(self._stores.home.sftp_root.glob(f"*/{_MAILBOXES[top][0]}")):
                    if _NAME.fullmatch(path.parent.name) and _is_folder(path):
                        yield _folder(path.parent.name)
            case (top, partner):
                yield from _files(self._mailbox(top, partner), _MAILBOXES[top][1])

    def _senders(self) -> list[str]:
        with self._stores.ledger.read() as tx:
            return drops.senders(tx)

    def _drop(self, edc: str, day: str, name: str) -> Drop | None:
        """The drop that has a name here, found without those that came beside it."""
        names = [name]
        while ids.DROP.fullmatch(names[-1].rpartition(".")[2]):
            names.append(names[-1].rpartition(".")[0])
        return self._of_day(edc, day, *names).get(name)

    def _of_day(self, edc: str, day: str, *names: str) -> dict[str, Drop]:
        """The drops of a UTC day by the names they have here, or those that came under these; none for what
        is no day.
        """
        if not _DAY.fullmatch(day):
            return {}
        with self._stores.ledger.read() as tx:
            found = drops.received_on(tx, edc, day, names=names)
        named: dict[str, Drop] = {}
        for drop in found:
            shown = drop.name
            while shown in named:  # nobody can hide a file behind another by what it is called
                shown += f".{drop.id}"
            named[shown] = drop
        return named

    def _archived(self, name: str, drop: Drop | None) -> Entry | None:
        """A drop, if its bytes are there still."""
        if drop is None or self._stores.archive.path(drop.sha256) is None:
            return None
        return Entry(name=name, at=drop.arrived_at, size=drop.bytes)

    def _sealed(self) -> list[str]:
        """The logs that are over, and whose hashes are in the chain."""
        with self._stores.ledger.read() as tx:
            seal = runs.latest(tx, "seal")
        return sorted(seal["said"].get("logs", ())) if seal else []

    def _mailbox(self, top: str, partner: str) -> Path:
        return self._stores.home.sftp_root / partner / _MAILBOXES[top][0]

    def _path(self, parts: Parts) -> Path:
        """Where a file lies that is shown as it lies."""
        if parts[0] == "events":
            return self._stores.home.logs / parts[1]
        return self._mailbox(parts[0], parts[1]) / parts[2]

    def _unnamed(self, write: Callable[[IO[bytes]], object]) -> int:
        """A file without a name, on the hub's disk, with what is written; gone when it is closed."""
        with tempfile.TemporaryFile(dir=self._stores.home.staging) as file:
            write(file)
            file.flush()
            return os.dup(file.fileno())


def _folder(name: str) -> Entry:
    return Entry(name=name, at=_BEGINNING, is_folder=True)


def _nothing(parts: Parts) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/".join(parts))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.parent.is_symlink()


def _file(path: Path) -> Entry | None:
    """A file as it lies; None for anything else, or nothing."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Entry(name=path.name, at=datetime.fromtimestamp(found.st_mtime, UTC), size=found.st_size)


def _files(folder: Path, ending: str) -> Iterator[Entry]:
    with os.scandir(folder) as names:
        for one in names:
            if _NAME.fullmatch(one.name) and one.name.endswith(ending):
                entry = _file(folder / one.name)
                if entry is not None:
                    yield entry


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), tzinfo=UTC)
