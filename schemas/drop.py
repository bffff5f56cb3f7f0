"""The life of a drop: one table of stages, and what moves a drop from one to the next.

A drop is one uploaded file. A move that the table does not allow raises and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from schemas.fault import Fault
from schemas.short import Short


class Stage(StrEnum):
    """Where a drop is; past participles, since each is what was last done to it."""

    INCOMPLETE = "incomplete"
    MISNAMED = "misnamed"
    ARRIVED = "arrived"
    RECEIVED = "received"
    ACCEPTED = "accepted"
    LOADED = "loaded"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What a stage means, where the bytes are meanwhile, and which stages may come next."""

    means: str
    bytes_in: str
    next: frozenset[Stage]


LIFE: Mapping[Stage, Life] = {
    Stage.INCOMPLETE: Life(
        means="The upload broke off. Kept to be resumed, discarded after inbound.keep_incomplete_hours.",
        bytes_in="inbound/ (hidden until whole)",
        next=frozenset({Stage.INCOMPLETE, Stage.MISNAMED, Stage.ARRIVED, Stage.DISCARDED}),
    ),
    Stage.MISNAMED: Life(
        means="Whole, but under a name that is not of the agreed form. Waits for its rename for "
        "inbound.rename_minutes, then goes on as it is and is refused for its name.",
        bytes_in="inbound/",
        next=frozenset({Stage.INCOMPLETE, Stage.MISNAMED, Stage.ARRIVED, Stage.DISCARDED}),
    ),
    Stage.ARRIVED: Life(
        means="Whole, and the hub's instant of arrival is in the ledger.",
        bytes_in="inbound/",
        next=frozenset({Stage.RECEIVED, Stage.DISCARDED}),
    ),
    Stage.RECEIVED: Life(
        means="Hashed and archived for good; the sender has its `received` receipt.",
        bytes_in="archive",
        next=frozenset({Stage.ACCEPTED, Stage.REFUSED, Stage.DUPLICATE}),
    ),
    Stage.ACCEPTED: Life(
        means="Name, sender and size are right and the bytes are new. Waits to be parsed and committed.",
        bytes_in="archive",
        next=frozenset({Stage.LOADED, Stage.REFUSED}),
    ),
    Stage.LOADED: Life(
        means="Its good blocks are in the lake, or its sync part is kept. Publication takes it from there.",
        bytes_in="archive and lake",
        next=frozenset(),
    ),
    Stage.REFUSED: Life(
        means="Nothing of it was loaded; its receipt names the faults.",
        bytes_in="archive",
        next=frozenset(),
    ),
    Stage.DUPLICATE: Life(
        means="The same bytes came from the same sender before and were taken then.",
        bytes_in="archive (once)",
        next=frozenset(),
    ),
    Stage.DISCARDED: Life(
        means="An upload that never became whole, or that its sender removed; a note says so. Or one that got "
        "the name of a checksum, which is no drop.",
        bytes_in="nowhere",
        next=frozenset(),
    ),
}

ENDED = frozenset(stage for stage, life in LIFE.items() if not life.next)
UNDER_WAY = frozenset({Stage.ARRIVED, Stage.RECEIVED, Stage.ACCEPTED})
IN_INBOUND = frozenset({Stage.INCOMPLETE, Stage.MISNAMED, Stage.ARRIVED})


class IllegalMoveError(Exception):
    """A move that the table of stages does not allow."""


def check_move(drop_id: str, was: Stage, to: Stage) -> None:
    """Raise unless a drop may go from `was` to `to`."""
    if to not in LIFE[was].next:
        wanted = ", ".join(sorted(LIFE[was].next)) or "nothing: it is an end"
        raise IllegalMoveError(f"{drop_id} is {was} and cannot become {to}; wanted: {wanted}")


class Outcome(StrEnum):
    """What a final receipt says of a drop; its name ends in this word."""

    ACCEPTED = "accepted"
    PARTIAL = "partial"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """One uploaded file, as the ledger knows it. Instants are UTC; counts are of blocks unless named."""

    id: str
    partner: str
    name: str
    stage: Stage
    arrived_at: datetime  # the upload's end; of an incomplete one, when it broke off
    bytes: int
    in_inbound: bool  # its file still lies in inbound/
    kind: str = ""
    sha256: str = ""
    outcome: Outcome | None = None
    receipt_due: bool = False  # its final receipt is still to be written
    duplicate_of: str = ""
    sync_id: str = ""
    usage_days: tuple[date, ...] = ()
    blocks_loaded: int = 0
    blocks_late: int = 0
    blocks_replacing: int = 0
    blocks_outranked: int = 0  # kept, and never current: a later stamp stood
    blocks_unchanged: int = 0
    blocks_rejected: int = 0
    intervals_loaded: int = 0
    rows_loaded: int = 0  # of a sync part
    suspense: int = 0  # accounts
    faults: tuple[Fault, ...] = ()  # the first 100
    faults_total: int = 0
    checked: tuple[str, ...] = ()  # the kinds of checksums beside it that agreed with what came
    shorts: tuple[Short, ...] = ()  # what looks short of it
    ended_at: datetime | None = None


FAULTS_KEPT = 100
