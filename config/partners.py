"""Partners: who may log in, as what, from where and with which keys. One file a partner."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from zoneinfo import ZoneInfo

from config import partner_fields
from config.authorized_key import AuthorizedKey
from config.errors import PartnerError
from config.home import Home
from config.legacy import Legacy
from config.revoked import Revoked

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
    authorities: tuple[AuthorizedKey, ...] = ()  # who may sign user certificates for this login
    revoked: Revoked = field(default_factory=Revoked)
    allow_from: tuple[IPv4Network | IPv6Network, ...] = ()  # empty: from anywhere
    legacy: Legacy | None = None  # old algorithms for its old client
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
        """Raises PartnerError if another partner of its role has the DUNS of the new one."""
        wanted = _of_its_own(new)
        for one in self.by_id.values():
            for thing in wanted.keys() & _of_its_own(one).keys() if one.id != new.id else ():
                raise PartnerError("partner-refused", f"{new.id}.toml: {wanted[thing]}, and {one.id} has it")


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
        authorities=reader.keys("certificate_authorities"),
        revoked=reader.revoked("revoked"),
        allow_from=(networks := reader.networks("allow_from")),
        legacy=reader.legacy("legacy", networks),
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
    taken, _ = take({Path(file): text for file, text in texts.items()}, {}, names_only=True)
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
    found = texts(folder)
    if mistakes := [str(text) for text in found.values() if isinstance(text, PartnerError)]:
        raise PartnerError("partner-unreadable", "\n".join(mistakes))
    return {file.name: text for file, text in found.items() if isinstance(text, str)}


def known(home: Home) -> Partners:
    """The partners of a home as of now: for a file that cannot be taken, as it was when it last could.

    Such files are named in `mistakes`. Nothing is written.
    """
    return take(texts(home.partners), kept(home.kept_partners))[0]


def files(folder: Path) -> list[Path]:
    """The partners' files of a folder."""
    return sorted(file for file in folder.glob("*.toml") if is_file(file.name))


def is_file(name: str) -> bool:
    """Whether a file of that name describes a partner."""
    return name.endswith(".toml") and not name.startswith(".")


def texts(folder: Path) -> "dict[Path, str | PartnerError]":
    """The text of each partner's file, or why it cannot be read."""
    found: dict[Path, str | PartnerError] = {}
    for file in files(folder):
        try:
            found[file] = file.read_text(encoding="utf-8")
        except FileNotFoundError:  # taken away since it was listed
            continue
        except (OSError, UnicodeDecodeError) as error:
            found[file] = PartnerError("partner-unreadable", f"{file}: it cannot be read: {error}")
    return found


def kept(folder: Path | None) -> dict[str, str]:
    """The texts that were kept when they could last be taken, by file name."""
    found = texts(folder) if folder is not None else {}
    return {file.name: text for file, text in found.items() if isinstance(text, str)}


def _of_its_own(one: Partner) -> dict[tuple[str, str], str]:
    """What no two partners may both have, each with the words for whoever comes second."""
    if not one.duns:
        return {}
    said = f"duns is {one.duns}; wanted: one that no other {one.role} has"
    return {(f"{one.role} duns", one.duns): said}


class _Taking:
    """Partners that are taken one by one, each if it contradicts none before it."""

    def __init__(self) -> None:
        self.partners: dict[str, Partner] = {}
        self._holders: dict[tuple[str, str], str] = {}

    def take(self, one: Partner, shown: str) -> None:
        """Raises PartnerError if another has what one partner alone may have."""
        wanted = _of_its_own(one)
        for thing, said in wanted.items():
            if (holder := self._holders.get(thing, one.id)) != one.id:
                raise PartnerError("partner-refused", f"{shown}: {said}, and {holder} has it")
        self._holders |= dict.fromkeys(wanted, one.id)
        self.partners[one.id] = one


def take(
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
