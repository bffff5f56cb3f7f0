"""What was done: acts, each with the instant and the circumstances it was done under."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

Row = dict[str, Any]
ENDS = ("drop.loaded", "drop.refused", "drop.duplicate")
VERDICTS = ("deadline.met", "deadline.missed", "deadline.unjudged")
# Of each kind an act leaves as many as it left then: when more would follow, it was cut off there.
PIVOTS = frozenset(
    {
        "sync.assembled",
        "sync.held",
        "sync.rejected",
        "sync.enforced",
        "publication.recorded",
        "publication.laid_out",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A drop was taken along its way to its end. `told`: its events; `seq`: of its load, if it is one."""

    drop_id: str
    under: str
    told: tuple[Row, ...]
    seq: int = 0
    lake_file_id: int = 0  # the first of its files
    days: frozenset[date] = frozenset()
    checksums: Mapping[str, str] = field(default_factory=dict)  # what its sender laid beside it, by name

    @property
    def end(self) -> Row:
        return next(one for one in reversed(self.told) if one["name"] in ENDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """Parts that came as duplicates made syncs complete."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """A complete sync was brought into force, held, or not taken."""

    sync_id: str
    at: datetime
    under: str
    allowed: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    """An operator's word on a held sync."""

    sync_id: str
    at: datetime
    by: str
    approved: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A publication, or two: of withdrawn files, written again, and of what was new."""

    ids: list[str]
    at: datetime
    under: str
    through: int  # the last load that was there
    rewrites: bool  # only
    unfetched: bool  # whether it held what was lost unfetched; older ones did not
    nobodys: bool  # whether it looked for what came while nobody was of record; older ones did not
    release: tuple[str, ...]
    allowed: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Files of a publication that was cut off appeared later."""

    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """An EGS read a file: a row of schemas.tables.collection, and the file's name."""

    row: Row
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """A file had lain long enough."""

    egs: str
    name: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A publication of another EDC, which took numbers that are counted for all."""

    publication_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """The verdict on a usage day. `through`: the last load of the day that it looked at."""

    day: date
    at: datetime
    under: str
    through: int
    event_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A load that is not done again, but stands before others that are, or what an operator has refused: it is
    taken as it was recorded.
    """

    drop_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforced:
    """A sync that came into force is taken as it was recorded."""

    sync_id: str
    at: datetime


Act = (
    Recorded
    | Enforced
    | Load
    | Complete
    | Settle
    | Decide
    | Publish
    | Finish
    | Collect
    | Expire
    | Elsewhere
    | Judge
)
