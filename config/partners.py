"""Partners: who may log in, as what, from where and with which keys. One file a partner."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from threading import Lock
from zoneinfo import ZoneInfo

import structlog

from config import partner_fields
from config.authorized_key import AuthorizedKey
from config.errors import PartnerError
from config.home import Home

_ID = re.compile(r"[a-z][a-z0-9-]{0,31}")


class Role(StrEnum):
    """What a partner is to the hub, and so what it finds behind the door."""

    EDC = "edc"  # reads the meters
    EGS = "egs"  # sells the energy
    THIRD_PARTY = "third_party"  # holds letters of authorization
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """A party that logs in. `id` is the login and the name of its mailbox."""

    id: str
    role: Role
    name: str
    duns: str = ""  # EDCs and EGSs always have one
    zone: ZoneInfo | None = None  # EDCs always have one, nobody else does
    keys: tuple[AuthorizedKey, ...] = ()
    allow_from: tuple[IPv4Network | IPv6Network, ...] = ()  # empty: from anywhere
    format: str = "lse"
    channels: frozenset[str] = frozenset({"4", "1"})  # that an EDC's files may hold
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Partners:
    """All partners, those that are disabled among them, in the order of their ids."""

    by_id: Mapping[str, Partner]
    mistakes: tuple[str, ...] = ()  # of files that cannot be taken; each names its file
    left_out: frozenset[str] = frozenset()  # ids whose file cannot be taken, and no earlier one is known

    def get(self, login: str) -> Partner | None:
        return self.by_id.get(login)

    @property
    def edcs(self) -> tuple[Partner, ...]:
        return tuple(one for one in self.by_id.values() if one.role is Role.EDC)

    @property
    def egss(self) -> tuple[Partner, ...]:
        return tuple(one for one in self.by_id.values() if one.role is Role.EGS)

    def any_from(self, source: IPv4Network | IPv6Network) -> bool:
        """Whether a partner's `allow_from` names addresses of that network."""
        return any(source.overlaps(network) for one in self.by_id.values() for network in one.allow_from)

    def by_duns(self, role: Role, duns: str) -> Partner | None:
        """The one partner of that role with that DUNS."""
        return next((one for one in self.by_id.values() if one.role is role and one.duns == duns), None)

    def admit(self, new: Partner) -> None:
        """Raises PartnerError if another partner has the DUNS of the new one."""
        for one in self.by_id.values():
            if one.id != new.id and one.duns and (one.role, one.duns) == (new.role, new.duns):
                raise PartnerError("partner-refused", _clash(new, one.id, f"{new.id}.toml"))


def parse(text: str, *, file: str | Path) -> Partner:
    """The partner that a file named `file` describes.

    Raises PartnerError that names the file as it is given and, for each mistake, its key, what was found
    and wanted; with the line where the file is a path.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PartnerError("partner-not-toml", f"{file}: {error}") from error
    reader = partner_fields.Reader(found, file=str(file), text=text if isinstance(file, Path) else "")
    role = reader.one_of("role", Role, required=True)
    traded = role in {Role.EDC, Role.EGS}
    partner = Partner(
        id=reader.text("id", _ID, "a to z first, then a to z, 0 to 9 and -, at most 32", required=True),
        role=role or Role.AUDITOR,
        name=reader.text("name", re.compile(r"\S.{0,99}"), "a name of at most 100 characters", required=True),
        duns=reader.text("duns", re.compile(r"[A-Z0-9]{9,13}"), "9 to 13 of A-Z and 0-9", required=traded),
        zone=reader.zone("time_zone", required=True) if role is Role.EDC else None,
        keys=reader.keys("authorized_keys"),
        allow_from=reader.networks("allow_from"),
        format=reader.format("format") if role is Role.EGS else "lse",
        channels=reader.channels("channels", frozenset({"4", "1"})) if role is Role.EDC else frozenset(),
        disabled=reader.flag("disabled"),
    )
    if partner.id and f"{partner.id}.toml" != Path(file).name:
        reader.mistaken("id", partner.id, f"{Path(file).stem}, as its file is named")
    reader.finish()
    return partner


def gather(texts: Mapping[str, str]) -> Partners:
    """The partners of several files, by file name. Raises PartnerError with the mistakes of them all."""
    taken, _ = _take({Path(file): text for file, text in texts.items()}, {}, names_only=True)
    if taken.mistakes:
        raise PartnerError("partner-refused", "\n".join(taken.mistakes))
    return taken


def load(folder: Path) -> Partners:
    """The partners whose files lie in `folder`; none if it is empty or missing.

    Raises PartnerError if any of them cannot be taken.
    """
    return gather(read(folder))


def read(folder: Path) -> dict[str, str]:
    """The text of each partner's file, by file name. Editors' and half-written files are passed over.

    Raises PartnerError if one is no text, or not for us to read.
    """
    found = _texts(folder)
    if mistakes := [str(text) for text in found.values() if isinstance(text, PartnerError)]:
        raise PartnerError("partner-unreadable", "\n".join(mistakes))
    return {file.name: text for file, text in found.items() if isinstance(text, str)}


def known(home: Home) -> Partners:
    """The partners of a home as of now: for a file that cannot be taken, as it was when it last could.

    Such files are named in `mistakes`. Nothing is written.
    """
    return _take(_texts(home.partners), _kept(home.kept_partners))[0]


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.toml") if not file.name.startswith("."))


def _texts(folder: Path) -> "dict[Path, str | PartnerError]":
    found: dict[Path, str | PartnerError] = {}
    for file in _files(folder):
        try:
            found[file] = file.read_text(encoding="utf-8")
        except FileNotFoundError:  # taken away since it was listed
            continue
        except (OSError, UnicodeDecodeError) as error:
            found[file] = PartnerError("partner-unreadable", f"{file}: it cannot be read: {error}")
    return found


def _kept(folder: Path | None) -> dict[str, str]:
    """The texts that were kept when they could last be taken, by file name."""
    found = _texts(folder) if folder is not None else {}
    return {file.name: text for file, text in found.items() if isinstance(text, str)}


def _clash(one: Partner, holder: str, shown: str) -> str:
    return f"{shown}: duns is {one.duns}; wanted: one that no other {one.role} has, and {holder} has it"


class _Taking:
    """Partners that are taken one by one, each if it contradicts none before it."""

    def __init__(self) -> None:
        self.partners: dict[str, Partner] = {}
        self.texts: dict[str, str] = {}  # of files that were taken as they are now
        self._holders: dict[tuple[Role, str], str] = {}

    def take(self, one: Partner, shown: str) -> None:
        """Raises PartnerError if another has its DUNS."""
        first = self._holders.setdefault((one.role, one.duns), one.id) if one.duns else one.id
        if first != one.id:
            said = (
                f"{shown}: duns is {one.duns}; wanted: one that no other {one.role} has, and {first} has it"
            )
            raise PartnerError("partner-refused", said)
        self.partners[one.id] = one


def _take(
    found: "Mapping[Path, str | PartnerError]", earlier: Mapping[str, str], *, names_only: bool = False
) -> tuple[Partners, dict[str, str]]:
    """The partners of those files, and the texts of the ones that were taken as they are, by file name.

    What was taken `earlier` and is unchanged goes before what is new, so that the new one is refused where
    two contradict each other; and it stands in for a file that cannot be taken.
    """
    parsed: dict[Path, Partner] = {}
    mistakes: dict[Path, str] = {}
    for file, text in found.items():
        try:
            if isinstance(text, PartnerError):
                raise text
            parsed[file] = parse(text, file=file.name if names_only else file)
        except PartnerError as error:
            mistakes[file] = error.message
    taking = _Taking()
    unchanged = [file for file in parsed if earlier.get(file.name) == found[file]]
    for file in unchanged:
        taking.take(parsed[file], str(file))
    left_out = {file.stem for file in mistakes if not _stand_in(file, earlier, taking)}
    for file in sorted(set(parsed) - set(unchanged)):
        try:
            taking.take(parsed[file], file.name if names_only else str(file))
        except PartnerError as error:
            mistakes[file] = error.message
            if not _stand_in(file, earlier, taking):
                left_out.add(file.stem)
    partners = Partners(
        by_id=dict(sorted(taking.partners.items())),
        mistakes=tuple(mistakes[file] for file in sorted(mistakes)),
        left_out=frozenset(left_out),
    )
    return partners, {file.name: str(found[file]) for file in parsed if file not in mistakes}


def _stand_in(file: Path, earlier: Mapping[str, str], taking: _Taking) -> bool:
    """Whether the partner is taken as it was earlier."""
    if file.name not in earlier:
        return False
    try:
        taking.take(parse(earlier[file.name], file=file.name), file.name)
    except PartnerError:  # what is wrong with the file as it is now is told
        return False
    return True


class PartnersFolder:
    """The partners of a folder, read again when a file in it changes. Safe to share between threads.

    A file that cannot be taken leaves its partner as it was, and all others are as their files say. It is
    logged once as `partners.refused`. With `kept`, a folder for copies of what was taken, that holds for a
    new process, too; a partner of whom nothing earlier is known is left out.
    """

    def __init__(self, folder: Path, kept: Path | None = None) -> None:
        self._folder = folder
        self._keep = kept
        self._lock = Lock()
        self._seen = self._look()
        self._earlier: dict[str, str] = {}
        self._partners = self._read()

    def current(self) -> Partners:
        """The partners as of now, and the mistakes in their files."""
        with self._lock:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._partners = self._read()
                if not self._partners.mistakes:
                    structlog.get_logger().info("partners.read", partners=len(self._partners.by_id))
            return self._partners

    def _read(self) -> Partners:
        found = _texts(self._folder)
        before = self._earlier | _kept(self._keep)  # another process may have taken what this one has not
        partners, taken = _take(found, before)
        there = {file.name for file in found}
        earlier = {name: text for name, text in before.items() if name in there} | taken
        mistakes = list(partners.mistakes)
        try:
            self._write(earlier)
        except OSError as error:  # a full disk shuts nobody out
            mistakes.append(f"{self._keep}: no copy can be kept there: {error}")
        self._earlier = earlier
        if mistakes:
            structlog.get_logger().error(
                "partners.refused", mistakes=mistakes, left_out=sorted(partners.left_out)
            )
        return partners

    def _write(self, texts: Mapping[str, str]) -> None:
        """Keep the texts that were taken, and none of partners whose files are gone."""
        if self._keep is None:
            return
        self._keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = _kept(self._keep)
        for name, text in texts.items():
            if there.get(name) != text:
                aside = self._keep / f".{name}.{os.getpid()}"
                aside.write_text(text, encoding="utf-8")
                aside.replace(self._keep / name)
        for name in there.keys() - texts.keys():
            (self._keep / name).unlink(missing_ok=True)

    def _look(self) -> tuple[tuple[str, int, int, int], ...]:
        seen = []
        for file in _files(self._folder):
            try:
                stat = file.stat()
            except FileNotFoundError:  # taken away since it was listed: the next look does not list it
                continue
            seen.append((file.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(seen)
