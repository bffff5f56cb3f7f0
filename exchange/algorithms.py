"""What is spoken at the doors: the algorithms that are offered, what a connection agreed on, and what is old."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from config import legacy

# Best first; a client's own order decides among what both know. Without NIST curves, SHA-1 and groups below
# 4096 bits. The two plain MACs are for libssh2 (curl), which knows no others.
KEY_EXCHANGES = (
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
)
HOST_KEYS = ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
# What a partner's key, and an authority's, may sign with.
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
# What goes next, when clients allow it; `meterhub doctor` says whom it would shut out.
NEXT_TO_GO: Mapping[str, str] = {
    "diffie-hellman-group16-sha512": "the hub's library for it means to drop such groups",
    "diffie-hellman-group18-sha512": "the hub's library for it means to drop such groups",
    "hmac-sha2-256": "encrypt-and-MAC",
    "hmac-sha2-512": "encrypt-and-MAC",
}
_NEEDS_NO_MAC = "gcm"
_LONGEST = 8 * 1024  # bytes of a KEXINIT; OpenSSH's has 1,600
_SIGNS = ("ext-info-", "kex-strict-")  # in the list of key exchanges, and none (RFC 8308, section 2.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a connection agreed on, and how its partner's key signed."""

    key_exchange: str = ""
    host_key: str = ""
    cipher: str = ""  # from the client to the hub
    cipher_out: str = ""  # the other way
    mac: str = ""  # the cipher's name again, where that needs none
    mac_out: str = ""
    signature: str = ""

    @property
    def all(self) -> frozenset[str]:
        return frozenset(asdict(self).values()) - {""}

    @property
    def old(self) -> frozenset[str]:
        """What of it only an exception allows."""
        return self.all & legacy.KNOWN.keys()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What one side can do, best first (RFC 4253, section 7.1)."""

    key_exchanges: tuple[str, ...]
    host_keys: tuple[str, ...]
    ciphers: tuple[str, ...]
    ciphers_out: tuple[str, ...]
    macs: tuple[str, ...]
    macs_out: tuple[str, ...]

    def without(self, names: Collection[str]) -> "Lists":
        """The same lists without these algorithms."""
        kept = {kind: tuple(one for one in some if one not in names) for kind, some in asdict(self).items()}
        return Lists(**kept)


OFFERED = Lists(
    key_exchanges=KEY_EXCHANGES,
    host_keys=HOST_KEYS,
    ciphers=CIPHERS,
    ciphers_out=CIPHERS,
    macs=MACS,
    macs_out=MACS,
)


def offered(allows: Collection[str] = frozenset()) -> Lists:
    """What is offered where these old algorithms are allowed; they come last."""
    ciphers = (*CIPHERS, *_in(legacy.CIPHERS, allows))
    macs = (*MACS, *_in(legacy.MACS, allows))
    return replace(
        OFFERED,
        key_exchanges=(*KEY_EXCHANGES, *_in(legacy.KEY_EXCHANGES, allows)),
        host_keys=(*HOST_KEYS, *_in(legacy.SIGNATURES, allows)),
        ciphers=ciphers,
        ciphers_out=ciphers,
        macs=macs,
        macs_out=macs,
    )


def signatures(allows: Collection[str] = frozenset()) -> tuple[str, ...]:
    """What a partner's key may sign with where these old algorithms are allowed."""
    return (*SIGNATURES, *_in(legacy.SIGNATURES, allows))


def lacking(client: Lists, hub: Lists) -> str:
    """The list in which the two have nothing in common, with what the client knows; empty: they have."""
    found = agreed(client, hub)
    if isinstance(found, Spoken):
        return ""
    kind = next(kind for kind, name in _KINDS.items() if _WORDS.get(name) == found)
    return f"no {found} in common; the client knows {', '.join(getattr(client, kind)) or 'none'}"


def agreed(client: Lists, hub: Lists) -> Spoken | str:
    """What the two would speak, or the name of the list in which they have nothing in common."""
    found: dict[str, str] = {}
    for kind, name in _KINDS.items():
        cipher = found.get("cipher" + name.removeprefix("mac"), "") if name.startswith("mac") else ""
        if _NEEDS_NO_MAC in cipher:
            found[name] = cipher
            continue
        theirs, ours = getattr(client, kind), getattr(hub, kind)
        chosen = next((one for one in theirs if one in ours), None)
        if chosen is None:
            return _WORDS[name.removesuffix("_out")]
        found[name] = chosen
    return Spoken(**found)


_KINDS = {
    "key_exchanges": "key_exchange",
    "host_keys": "host_key",
    "ciphers": "cipher",
    "ciphers_out": "cipher_out",
    "macs": "mac",
    "macs_out": "mac_out",
}
_WORDS = {"key_exchange": "key exchange", "host_key": "host key", "cipher": "cipher", "mac": "MAC"}


def parse_kexinit(packet: bytes) -> Lists | None:
    """The lists of a KEXINIT packet, from its type on; None if it is none (RFC 4253, section 7.1), or is much longer
    than any client's: strangers are not remembered by the megabyte.
    """
    return _parse_lists(packet[17:]) if len(packet) <= _LONGEST else None


@lru_cache(maxsize=256)  # a client shows the same ones each time
def _parse_lists(rest: bytes) -> Lists | None:
    lists = []
    for _ in range(len(_KINDS)):
        length = int.from_bytes(rest[:4])
        if len(rest) < 4 + length:
            return None
        names = rest[4 : 4 + length].decode("ascii", "replace").split(",")
        named = (name for name in names if name.isprintable())  # as operators are shown it
        lists.append(tuple(name for name in named if name and not name.startswith(_SIGNS)))
        rest = rest[4 + length :]
    return Lists(**dict(zip(_KINDS, lists, strict=True)))


def _in(known: Iterable[str], allows: Collection[str]) -> tuple[str, ...]:
    return tuple(one for one in known if one in allows)
