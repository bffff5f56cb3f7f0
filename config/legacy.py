"""Old algorithms that one partner may go on using until a day, because its client knows no better.

The hub offers none of them to anybody else. Which ones can be allowed at all is `KNOWN`: what is left out is
broken (MD5, RC4, 1024-bit groups, DSA), or lets the client choose (group exchange: a group of 1024 bits, too).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from config import authorized_key

KEY_EXCHANGES: Mapping[str, str] = {
    "ecdh-sha2-nistp256": "a NIST curve",
    "ecdh-sha2-nistp384": "a NIST curve",
    "ecdh-sha2-nistp521": "a NIST curve",
    "diffie-hellman-group14-sha256": "a group of 2048 bits",
    "diffie-hellman-group14-sha1": "a group of 2048 bits, and SHA-1",
}
SIGNATURES: Mapping[str, str] = {"ssh-rsa": "SHA-1; for the hub's RSA key and the partner's alike"}
CIPHERS: Mapping[str, str] = {
    "aes128-cbc": "chained blocks, which can be told apart",
    "aes192-cbc": "chained blocks, which can be told apart",
    "aes256-cbc": "chained blocks, which can be told apart",
    "3des-cbc": "blocks of 64 bits",
}
MACS: Mapping[str, str] = {
    "hmac-sha1-etm@openssh.com": "SHA-1",
    "hmac-sha1": "SHA-1",
}
KNOWN: Mapping[str, str] = {**KEY_EXCHANGES, **SIGNATURES, **CIPHERS, **MACS}  # each with what is weak in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Legacy:
    """What a partner may use besides what everybody may, up to and with the day `until` (UTC)."""

    until: date
    allows: frozenset[str]

    def on(self, today: date) -> frozenset[str]:
        """What it allows on that day."""
        return self.allows if today <= self.until else frozenset()


def parse(found: Mapping[str, Any]) -> Legacy:
    """The exception that a partner's file makes. Raises ValueError whose message says what was wanted."""
    if unknown := set(found) - {"until", "allows"}:
        raise ValueError(f"only `until` and `allows`, not `{min(unknown)}`")
    until = authorized_key.last_day(found.get("until"), "until")
    if until is None:
        raise ValueError("its last day: until = 2027-03-31")
    allows = found.get("allows")
    if not isinstance(allows, list) or not allows:
        raise ValueError('the algorithms it allows: allows = ["ssh-rsa"]')
    for one in allows:
        if not isinstance(one, str) or one not in KNOWN:
            raise ValueError(f"algorithms among {', '.join(KNOWN)}, not {one!r}")
    return Legacy(until=until, allows=frozenset(allows))
