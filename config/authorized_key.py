"""Public keys that partners log in with, as a line of OpenSSH's `authorized_keys` has them."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

KINDS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
LEAST_RSA_BITS = 2048
WANTED = "a public key: ssh-ed25519 AAAA… comment"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizedKey:
    """One public key. `fingerprint` is OpenSSH's (`SHA256:…`)."""

    line: str  # kind, key and comment, as in authorized_keys
    fingerprint: str
    comment: str
    expires: date | None = None  # the last day (UTC) on which it opens the door


def parse(entry: str | Mapping[str, Any]) -> AuthorizedKey:
    """The key of one entry of `authorized_keys` or `certificate_authorities`: a line, or a table of `key` and
    `expires`.

    Raises ValueError whose message says what was wanted.
    """
    expires = None
    if isinstance(entry, Mapping):
        if unknown := set(entry) - {"key", "expires"}:
            raise ValueError(f"only `key` and `expires` in a key's table, not `{min(unknown)}`")
        expires = last_day(entry.get("expires"), "expires")
        entry = entry.get("key", "")
    if not isinstance(entry, str):
        raise ValueError(WANTED)
    kind, _, rest = entry.strip().partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    if "PRIVATE" in entry:
        raise ValueError(f"{WANTED}; this is a private one, which its owner should now replace")
    if kind not in KINDS:
        raise ValueError(f"{WANTED}, of a kind among {', '.join(KINDS)}, with no options before it")
    blob = _blob(kind, encoded)
    comment = comment.strip()
    return AuthorizedKey(
        line=f"{kind} {encoded} {comment}".rstrip(),
        fingerprint=fingerprint(blob),
        comment=comment,
        expires=expires,
    )


def fingerprint(blob: bytes) -> str:
    """How OpenSSH names a public key, given as SSH sends it: `SHA256:` and 43 characters."""
    return f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"


def _blob(kind: str, encoded: str) -> bytes:
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{WANTED}; the middle part is not base64") from error
    parts = _parts(blob)
    if len(parts) < 2 or parts[0] != kind.encode() or (kind == "ssh-ed25519" and len(parts[1]) != 32):
        raise ValueError(f"{WANTED}; the middle part is cut off, or of another kind than {kind}")
    if kind == "ssh-rsa":
        bits = int.from_bytes(parts[-1]).bit_length()
        if bits < LEAST_RSA_BITS:
            raise ValueError(f"an RSA key of at least {LEAST_RSA_BITS} bits; this one has {bits}")
    return blob


def _parts(blob: bytes) -> list[bytes]:
    """The length-prefixed strings that a key consists of (RFC 4251, section 5); none if cut off."""
    parts = []
    at = 0
    while at < len(blob):
        length = int.from_bytes(blob[at : at + 4])
        at += 4
        if at + length > len(blob):
            return []
        parts.append(blob[at : at + length])
        at += length
    return parts


def last_day(found: Any, key: str) -> date | None:
    """The date that a file gives under `key`, if any. Raises ValueError that says what was wanted."""
    if found is None or (isinstance(found, date) and not isinstance(found, datetime)):
        return found
    try:
        return date.fromisoformat(found)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a date such as 2027-01-31 in `{key}`, not {found!r}") from error
