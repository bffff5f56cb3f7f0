"""Checksums that partners lay beside their files: `<name>.sha256` and `<name>.md5`.

What is in one is as the usual tools write it: `sha256sum` and `md5sum` (`<digest>  <name>`, `<digest> *<name>`),
the BSD tools and `openssl` (`SHA256 (<name>) = <digest>`), or the digest alone; also as UTF-16, which Windows' shells write.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from schemas import file_name
from schemas.fault import Fault
from schemas.file_name import FileName

MOST_BYTES = 64 * 1024  # of a checksum's file that are looked at
DIGITS: Mapping[str, int] = {"sha256": 64, "md5": 32}  # of each kind's digest, in hexadecimal
_LATIN = "latin-1"  # every byte means something in it; a digest is the same in all others
_UTF_16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a checksum's name says: which file it is for, and of what kind it is."""

    file: str
    kind: str  # of DIGITS

    @property
    def name(self) -> str:
        return f"{self.file}.{self.kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a sender said the hash of its file is, held to what came. `wanted` is empty if it said nothing
    that can be read; both are in small letters.
    """

    kind: str  # of DIGITS
    wanted: str
    found: str

    @property
    def matches(self) -> bool:
        return self.wanted == self.found

    @property
    def fault(self) -> Fault | None:
        """What is wrong, if they differ."""
        if self.matches:
            return None
        if not self.wanted:
            words = f"{DIGITS[self.kind]} hexadecimal digits in the .{self.kind} beside it"
            return Fault(code="checksum", found=f"no {self.kind} that can be read", wanted=words)
        return Fault(
            code="checksum",
            found=f"{self.kind} {self.found}",
            wanted=f"{self.kind} {self.wanted}, as the .{self.kind} beside it says",
        )


def beside(name: str) -> Beside | None:
    """Of which file of an agreed name this is the checksum; None: it is no checksum's name."""
    file, dot, kind = name.rpartition(".")
    if not dot or kind not in DIGITS or not isinstance(file_name.parse(file), FileName):
        return None
    return Beside(file=file, kind=kind)


def digest(content: bytes, said: Beside) -> str:
    """The digest that a checksum's file gives for its file, in small letters; empty if it gives none.

    Of several different ones, that of the line that names the file is meant.
    """
    start = content[:2]
    text = content.decode(_UTF_16[start], "replace") if start in _UTF_16 else content.decode(_LATIN)
    one = re.compile(rf"(?<![0-9A-Za-z])[0-9A-Fa-f]{{{DIGITS[said.kind]}}}(?![0-9A-Za-z])")
    found = [(one.findall(line), line) for line in text.splitlines()]
    every = {each.lower() for digests, _ in found for each in digests}
    if len(every) > 1:
        named = re.compile(rf"(?<![\w.-]){re.escape(said.file)}(?![\w.-])")
        every = {each.lower() for digests, line in found if named.search(line) for each in digests}
    return every.pop() if len(every) == 1 else ""
