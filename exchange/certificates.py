"""OpenSSH user certificates, as a client shows them: read, and held to what their authority signed.

The form is OpenSSH's PROTOCOL.certkeys. The library's own reading is not used: it takes a certificate without
principals for anybody's and one whose `source-address` is empty for one from anywhere, believes an authority
that signs with SHA-1, checks strangers' signatures, and goes by the machine's clock.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network

import asyncssh

from config import authorized_key
from config.authorized_key import AuthorizedKey
from exchange import addresses, algorithms

_SUFFIX = b"-cert-v01@openssh.com"
# How many fields the certified key has in each kind of certificate.
_FIELDS: Mapping[bytes, tuple[bytes, int]] = {
    b"ssh-ed25519-cert-v01@openssh.com": (b"ssh-ed25519", 1),
    b"ssh-rsa-cert-v01@openssh.com": (b"ssh-rsa", 2),
    b"ecdsa-sha2-nistp256-cert-v01@openssh.com": (b"ecdsa-sha2-nistp256", 2),
    b"ecdsa-sha2-nistp384-cert-v01@openssh.com": (b"ecdsa-sha2-nistp384", 2),
    b"ecdsa-sha2-nistp521-cert-v01@openssh.com": (b"ecdsa-sha2-nistp521", 2),
    b"sk-ssh-ed25519-cert-v01@openssh.com": (b"sk-ssh-ed25519@openssh.com", 2),
    b"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com": (b"sk-ecdsa-sha2-nistp256@openssh.com", 3),
}
_USER = 1
_SFTP = "internal-sftp"  # the one command that a login here stands for
_LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())  # what ends later never does
_LONGEST = 100  # characters of an authority's words that are logged


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What an authority has signed: this key may log in as these, from then until then."""

    serial: int
    key_id: str  # the authority's own words
    principals: tuple[str, ...]
    since: int  # seconds since 1970
    until: int  # seconds since 1970: no longer then; 2^64 - 1: for ever
    authority: str  # fingerprint of who signed it
    key: str  # fingerprint of the certified key
    sources: tuple[str, ...] | None = None  # networks it may be used from; None: any
    command: str | None = None  # the only thing it may be used for
    unknown: str = ""  # an option that has to be understood, and is not

    @property
    def ends(self) -> datetime | None:
        """The first instant at which it is no longer good; None: it is for ever."""
        return datetime.fromtimestamp(self.until, UTC) if self.until < _LATEST else None


def is_one(blob: bytes) -> bool:
    """Whether what a client shows in the place of a key is a certificate."""
    length = int.from_bytes(blob[:4])
    return blob[4 : 4 + length].endswith(_SUFFIX)


def read(blob: bytes, authorities: Iterable[AuthorizedKey]) -> tuple[Certificate, asyncssh.SSHKey] | None:
    """A user certificate that one of the authorities has signed, and the key that it is for.

    None: it is no such thing. Whether it is good here and now is `refusal`'s to say.
    """
    try:
        return _read(_Fields(blob), {one.fingerprint: one for one in authorities})
    except ValueError:
        return None


def refusal(found: Certificate, *, login: str, address: str, now: datetime) -> tuple[str, str] | None:
    """Why a certificate does not open that login from there now: a code, and words. None: it does."""
    if login not in found.principals:
        return (
            "certificate-principals",
            f"this certificate does not name {login} among its principals; have one signed with -n {login}",
        )
    if now.timestamp() < found.since:
        begins = datetime.fromtimestamp(min(found.since, _LATEST), UTC)
        return "certificate-early", f"this certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC"
    if found.ends is not None and now >= found.ends:
        ended = f"{found.ends:%Y-%m-%d %H:%M} UTC"
        return "certificate-expired", f"this certificate expired on {ended}; have a new one signed"
    if found.unknown:
        words = f"this certificate asks for {found.unknown}, which the hub cannot promise; have one signed without"
        return "certificate-option", words
    if found.command not in {None, _SFTP}:
        return (
            "certificate-command",
            f"this certificate is for one command only; have one signed without, or for {_SFTP}",
        )
    if found.sources is not None and not _is_from(address, found.sources):
        return "certificate-address", f"this certificate is not to be used from {address}"
    return None


def _read(
    fields: "_Fields", authorities: Mapping[str, AuthorizedKey]
) -> tuple[Certificate, asyncssh.SSHKey] | None:
    kind, count = _FIELDS.get(fields.string(), (b"", 0))
    fields.string()  # the nonce
    key = _wire(kind) + b"".join(_wire(fields.string()) for _ in range(count))
    serial, usage, key_id, principals = fields.number(8), fields.number(4), fields.string(), fields.string()
    since, until = fields.number(8), fields.number(8)
    critical, extensions, _ = fields.string(), fields.string(), fields.string()
    signer = authorities.get(authorized_key.fingerprint(fields.string()))
    signed, signature = fields.seen, fields.string()
    # Nothing is made of what a stranger says.
    if not kind or usage != _USER or signer is None or not fields.is_at_end:
        return None
    if _Fields(signature).string().decode() not in algorithms.SIGNATURES:  # no SHA-1
        return None
    if not asyncssh.import_public_key(signer.line).verify(signed, signature):
        return None
    encoded = f"{kind.decode()} {base64.b64encode(key).decode()}"
    certified = authorized_key.parse(encoded)  # ValueError: too weak
    options = dict(_options(critical))
    dict(_options(extensions))  # they only ever allow what is not to be had here; their form is held to
    sources = options.pop(b"source-address", None)
    command = options.pop(b"force-command", None)
    found = Certificate(
        serial=serial,
        key_id=key_id.decode("utf-8", "replace"),
        principals=tuple(one.decode() for one in _Fields(principals).strings()),
        since=since,
        until=until,
        authority=signer.fingerprint,
        key=certified.fingerprint,
        sources=None if sources is None else _sources(sources),
        command=None if command is None else _only(command).decode(),
        unknown=printable(min(options, default=b"").decode("utf-8", "replace")),
    )
    held = asyncssh.import_public_key(encoded)
    held.set_touch_required(True)
    return found, held


def _options(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and values, each name once and in order, as the form demands. Raises ValueError otherwise."""
    fields, before = _Fields(encoded), b""
    while not fields.is_at_end:
        name, value = fields.string(), fields.string()
        if name <= before:
            raise ValueError("options out of order")
        yield name, value
        before = name


def _sources(value: bytes) -> tuple[str, ...]:
    """The networks; ValueError where one is none, so that nothing is let in by mistake."""
    named = _only(value).decode("ascii")
    return tuple(str(ip_network(one)) for one in named.split(",") if one)


def _only(value: bytes) -> bytes:
    """The one string that an option's value is. Raises ValueError if there is more."""
    fields = _Fields(value)
    found = fields.string()
    if not fields.is_at_end:
        raise ValueError("more than one value")
    return found


def _is_from(address: str, sources: Iterable[str]) -> bool:
    return any(addresses.plain(address) in ip_network(one) for one in sources)


def printable(words: str) -> str:
    """An authority's words as a log can have them: short, and nothing in them that a terminal obeys."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in words[:_LONGEST])


def _wire(value: bytes) -> bytes:
    return len(value).to_bytes(4) + value


class _Fields:
    """The fields of RFC 4251, section 5, one after the other."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._encoded)

    @property
    def seen(self) -> bytes:
        """All up to here."""
        return self._encoded[: self._at]

    def number(self, length: int) -> int:
        return int.from_bytes(self._take(length))

    def string(self) -> bytes:
        return self._take(int.from_bytes(self._take(4)))

    def strings(self) -> Iterator[bytes]:
        """All that are left."""
        while not self.is_at_end:
            yield self.string()

    def _take(self, length: int) -> bytes:
        if self._at + length > len(self._encoded):
            raise ValueError("a field ends behind the end of what there is")
        self._at += length
        return self._encoded[self._at - length : self._at]
