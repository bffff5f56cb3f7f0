"""Reads the fields of a partner's file, one kind of value a method, and keeps what is mistaken."""

import difflib
import json
import re
from collections.abc import Collection, Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from config import authorized_key, legacy, revoked
from config.authorized_key import AuthorizedKey
from config.errors import PartnerError
from config.legacy import Legacy
from config.revoked import Revoked

Choice = TypeVar("Choice", bound=StrEnum)
Network = IPv4Network | IPv6Network

FORMATS = ("lse",)
_NARROW = {4: 16, 6: 32}  # bits that a network has to fix to be somebody's
KNOWN = (
    "id",
    "role",
    "name",
    "duns",
    "time_zone",
    "authorized_keys",
    "certificate_authorities",
    "revoked",
    "allow_from",
    "legacy",
    "format",
    "channels",
    "disabled",
)


class Reader:
    """The fields of one file. `finish` raises if anything was mistaken, or not asked for."""

    def __init__(self, found: Mapping[str, Any], *, file: str, text: str = "") -> None:
        """`text` is the file's, if mistakes shall say on which line they are."""
        self._found = found
        self._file = file
        self._lines = text.splitlines()
        self._asked: set[str] = set()
        self._mistakes: list[str] = []

    def mistaken(self, key: str, found: Any, wanted: str) -> None:
        shown = "missing" if found is None else json.dumps(found, default=str, ensure_ascii=False)
        self._mistakes.append(f"{self._file}: {key} is {shown}; wanted: {wanted}{self._line(key)}")

    def _line(self, key: str) -> str:
        """Where the key is given, if that can be known."""
        given = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=")
        found = next((number for number, line in enumerate(self._lines, 1) if given.match(line)), None)
        return f" (line {found})" if found else ""

    def finish(self) -> None:
        """Raises PartnerError with every mistake of the file."""
        for key in self._found:
            if key not in KNOWN:
                near = difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.0)[0]
                said = f"{self._file}: there is no key {key}; the nearest is {near}{self._line(key)}"
                self._mistakes.append(said)
            elif key not in self._asked and "role" in self._found:
                self.mistaken(
                    key, self._found[key], f"nothing; a partner of role {self._found['role']} has none"
                )
        if self._mistakes:
            raise PartnerError("partner-refused", "\n".join(self._mistakes))

    def _take(self, key: str) -> Any:
        self._asked.add(key)
        return self._found.get(key)

    def text(self, key: str, form: re.Pattern[str], wanted: str, *, required: bool) -> str:
        found = self._take(key)
        if found is None and not required:
            return ""
        if not isinstance(found, str) or form.fullmatch(found) is None:
            self.mistaken(key, found, wanted)
            return ""
        return found

    def one_of(self, key: str, choices: type[Choice], *, required: bool) -> Choice | None:
        found = self._take(key)
        if found in list(choices):
            return choices(found)
        if required or found is not None:
            self.mistaken(key, found, " or ".join(choices))
        return None

    def flag(self, key: str) -> bool:
        found = self._take(key)
        if found is not None and not isinstance(found, bool):
            self.mistaken(key, found, "true or false")
        return found is True

    def zone(self, key: str, *, required: bool) -> ZoneInfo | None:
        found = self._take(key)
        if found is None and not required:
            return None
        try:
            return ZoneInfo(found)
        except (TypeError, ValueError, OSError, ZoneInfoNotFoundError):
            near = difflib.get_close_matches(str(found), sorted(available_timezones()), n=1, cutoff=0.6)
            self.mistaken(key, found, f"an IANA time zone such as {near[0] if near else 'America/Chicago'}")
            return None

    def format(self, key: str) -> str:
        found = self._take(key)
        if found is not None and found not in FORMATS:
            self.mistaken(key, found, f"{' or '.join(FORMATS)}; no other format is laid out yet")
        return FORMATS[0]

    def channels(self, key: str, default: frozenset[str]) -> frozenset[str]:
        found = self._list(key, 'a list of channels, such as ["4", "1"]')
        if found is None:
            return default
        for one in found:
            if not isinstance(one, str) or re.fullmatch(r"\d{1,3}", one) is None:
                self.mistaken(key, one, 'channels in quotes, such as "4"')
        if not found:
            self.mistaken(key, found, "at least one channel")
        return frozenset(str(one) for one in found)

    def networks(self, key: str) -> tuple[Network, ...]:
        networks = []
        for one in self._list(key, 'a list of networks, such as ["203.0.113.0/24"]') or ():
            try:
                networks.append(ip_network(one))
            except (TypeError, ValueError):
                self.mistaken(
                    key, one, "a network or address, such as 203.0.113.0/24, with no bits of a host set"
                )
        return tuple(networks)

    def keys(self, key: str) -> tuple[AuthorizedKey, ...]:
        keys: dict[str, AuthorizedKey] = {}
        for entry in self._list(key, "a list of public keys") or ():
            try:
                parsed = authorized_key.parse(entry)
            except ValueError as error:
                # The head of it is enough to find it by, and a private key is not repeated into a log.
                line = entry.get("key") if isinstance(entry, Mapping) else entry
                shown = f"{line[:32]}…" if isinstance(line, str) and len(line) > 32 else line
                self.mistaken(key, shown, str(error))
                continue
            if parsed.fingerprint in keys:
                self.mistaken(key, parsed.fingerprint, "each key once")
            keys[parsed.fingerprint] = parsed
        return tuple(keys.values())

    def revoked(self, key: str) -> Revoked:
        found = self._list(key, f"a list of {revoked.WANTED}")
        try:
            return revoked.parse(found or ())
        except ValueError as error:
            line, wanted = error.args
            self.mistaken(key, line, wanted)
            return Revoked()

    def legacy(self, key: str, allow_from: Collection[Network]) -> Legacy | None:
        """The exception for old algorithms; bound to addresses, since these are known before the login is."""
        found = self._take(key)
        if found is None:
            return None
        if not isinstance(found, Mapping):
            self.mistaken(key, found, 'a table: { until = 2027-03-31, allows = ["ssh-rsa"] }')
            return None
        wide = [str(network) for network in allow_from if network.prefixlen < _NARROW[network.version]]
        if wide or not allow_from:
            self.mistaken(
                "allow_from",
                wide[0] if wide else None,
                "the partner's own addresses, in networks of /16 or /32 (IPv6) at most: old algorithms are"
                " offered to nobody else",
            )
        try:
            return legacy.parse(found)
        except ValueError as error:
            self.mistaken(key, found, str(error))
            return None

    def _list(self, key: str, wanted: str) -> list[Any] | None:
        found = self._take(key)
        if found is not None and not isinstance(found, list):
            self.mistaken(key, found, wanted)
            return None
        return found
