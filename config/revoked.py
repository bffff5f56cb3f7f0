"""What a partner has taken back before its end: certificates by serial or key id, and keys.

Each is a line as `ssh-keygen -k` takes it in a specification of a revocation list: `serial: 17`,
`serial: 20-29`, `id: night-batch-3`, or the key itself or its fingerprint, certified or not.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from config import authorized_key

WANTED = "`serial: 17`, `serial: 20-29`, `id: KEY-ID`, `SHA256:…` or a public key"
_SERIALS = re.compile(r"serial:\s*(\d{1,20})(?:\s*-\s*(\d{1,20}))?")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """What opens no door any more. Serials are those of any authority of the partner's."""

    serials: tuple[tuple[int, int], ...] = ()  # from … to …, both among them
    key_ids: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()  # fingerprints

    def certificate(self, *, serial: int, key_id: str) -> bool:
        """Whether a certificate of that serial or key id is taken back."""
        return key_id in self.key_ids or any(low <= serial <= high for low, high in self.serials)


def parse(lines: Iterable[Any]) -> Revoked:
    """What the lines take back. Raises ValueError, of the first line that cannot be taken, saying it first."""
    serials: list[tuple[int, int]] = []
    key_ids: set[str] = set()
    keys: set[str] = set()
    for line in lines:
        text = line.strip() if isinstance(line, str) else ""
        if found := _SERIALS.fullmatch(text):
            low, high = int(found[1]), int(found[2] or found[1])
            if low > high:
                raise ValueError(line, "the lower serial first")
            serials.append((low, high))
        elif text.startswith("id:") and (key_id := text.removeprefix("id:").strip()):
            key_ids.add(key_id)
        elif _FINGERPRINT.fullmatch(text):
            keys.add(text)
        else:
            keys.add(_key(line, text))
    return Revoked(serials=tuple(serials), key_ids=frozenset(key_ids), keys=frozenset(keys))


def _key(line: Any, text: str) -> str:
    try:
        return authorized_key.parse(text).fingerprint
    except ValueError as error:
        raise ValueError(line, WANTED) from error
