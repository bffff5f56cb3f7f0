"""Partners: who may log in, as what, from where and with which keys. One file a partner."""

import re
import tomllib
from collections.abc import Iterable, Mapping
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


def parse(text: str, *, file: str) -> Partner:
    """The partner that a file named `file` describes.

    Raises PartnerError that names the file and, for each mistake, its key, what was found and wanted.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PartnerError("partner-not-toml", f"{file}: {error}") from error
    reader = partner_fields.Reader(found, file=file)
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
    if f"{partner.id}.toml" != file:
        reader.mistaken("id", partner.id, f"{Path(file).stem}, as its file is named")
    reader.finish()
    return partner


def gather(texts: Mapping[str, str]) -> Partners:
    """The partners of several files, by file name. Raises PartnerError with the mistakes of them all."""
    mistakes: list[str] = []
    partners: list[Partner] = []
    for file, text in sorted(texts.items()):
        try:
            partners.append(parse(text, file=file))
        except PartnerError as error:
            mistakes.append(error.message)
    mistakes += _clashes(partners)
    if mistakes:
        raise PartnerError("partner-refused", "\n".join(mistakes))
    return Partners(by_id={one.id: one for one in partners})


def load(folder: Path) -> Partners:
    """The partners whose files lie in `folder`; none if it is empty or missing."""
    return gather(read(folder))


def read(folder: Path) -> dict[str, str]:
    """The text of each partner's file, by file name. Editors' and half-written files are passed over."""
    return {file.name: file.read_text(encoding="utf-8") for file in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.toml") if not file.name.startswith("."))


def _clashes(partners: Iterable[Partner]) -> Iterable[str]:
    holders: dict[tuple[Role, str], str] = {}
    for one in partners:
        if one.duns and (first := holders.setdefault((one.role, one.duns), one.id)) != one.id:
            yield f"{one.id}.toml: duns is {one.duns}; wanted: one that no other {one.role} has, and {first} has it"


class PartnersFolder:
    """The partners of a folder, read again when a file in it changes. Safe to share between threads.

    A broken edit leaves the partners as they were, and is logged once as `partners.refused`.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the folder; raises PartnerError if what lies there cannot be taken."""
        self._folder = folder
        self._lock = Lock()
        self._seen = self._look()
        self._partners = load(folder)

    def current(self) -> Partners:
        """The partners as of now."""
        with self._lock:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._read_again()
            return self._partners

    def _read_again(self) -> None:
        log = structlog.get_logger()
        try:
            self._partners = load(self._folder)
        except (PartnerError, OSError, UnicodeDecodeError) as error:
            log.error("partners.refused", mistakes=str(error).splitlines())
        else:
            log.info("partners.read", partners=len(self._partners.by_id))

    def _look(self) -> tuple[tuple[str, int, int, int], ...]:
        seen = []
        for file in _files(self._folder):
            try:
                stat = file.stat()
            except FileNotFoundError:  # taken away since it was listed: the next look does not list it
                continue
            seen.append((file.name, stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(seen)
