"""What a publication can come to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was new is laid out; `rewritten` of the files replace withdrawn ones."""

    files: int
    blocks: int
    rewritten: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingNew:
    """All that may be published of this EDC has been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """Nothing of this EDC is published: there is no sync in force, or it is too old."""

    why: str
    waiting: bool  # whether there is anything that would be


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Another process publishes this EDC's blocks, or brings its sync into force, at this moment."""


Outcome = Published | NothingNew | Withheld | Busy
