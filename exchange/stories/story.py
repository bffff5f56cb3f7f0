"""What a story is: facts, a timeline, and tables of what belongs to it. All of it is ready for JSON."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from jobs.stores.ledger.outbox import OutboundFile
from schemas import receipt
from schemas.event import EVENTS, EVIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened: when, what (an event's name where there is one), and in words."""

    at: datetime
    event: str
    words: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table of a story: what it is called in JSON and on a terminal, its columns by key and heading."""

    key: str
    title: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The whole story of one thing."""

    kind: str  # drop | outbound-file | sync | publication | account | partner | egs-day
    subject: str
    summary: str  # one sentence
    facts: Mapping[str, Any]
    timeline: Sequence[Moment] = ()
    sections: Sequence[Section] = ()
    in_timeline: Sequence[str] = ()  # keys of sections all of which the timeline tells

    def as_json(self) -> dict[str, Any]:
        """The story as JSON holds it."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "summary": self.summary,
            **self.facts,
            "timeline": [
                {"at": receipt.instant(one.at), "event": one.event, "words": one.words, **one.details}
                for one in self.timeline
            ],
            **{section.key: list(section.rows) for section in self.sections},
        }


def moments(events: Iterable[Mapping[str, Any]]) -> list[Moment]:
    """The timeline of rows of schemas.tables.event, without what is there as evidence alone."""
    return [
        Moment(
            at=row["at"],
            event=row["name"],
            words=EVENTS[row["name"]].meaning if row["name"] in EVENTS else "",
            details={
                name: said for name, said in row["details"].items() if name not in ("lake", "kept_sha256")
            },
        )
        for row in events
        if row["name"] not in EVIDENCE
    ]


def in_order(timeline: Iterable[Moment]) -> list[Moment]:
    """Moments as they followed each other; what came at the same instant stays in the order given."""
    return sorted(timeline, key=lambda one: one.at)


def blocks(count: int) -> str:
    """So many blocks, in words."""
    return "1 block" if count == 1 else f"{count:,} blocks"


def instant(at: datetime | None) -> str | None:
    return None if at is None else receipt.instant(at)


def days(them: Iterable[date]) -> list[str]:
    return [day.isoformat() for day in them]


def outbound(file: OutboundFile) -> dict[str, Any]:
    """What is told of an outbound file wherever one is named."""
    return {
        "egs": file.egs,
        "file": file.name,
        "sequence": file.sequence,
        "state": file.state,
        "laid_out_at": instant(file.laid_out_at),
        "collected_at": instant(file.collected_at),
        "withdrawn_at": instant(file.withdrawn_at),
        "replaced_by": file.replaced_by or None,
    }


HELD = {
    "usage_date": "usage day",
    "blocks": ">blocks",
    "reason": "why",
    "egs_duns": "EGS DUNS",
    "since": "since",
    "released_at": "released",
    "release": "by, or why never",
}
OUTBOUND = {
    "egs": "EGS",
    "file": "file",
    "sequence": ">sequence",
    "state": "state",
    "laid_out_at": "laid out",
    "collected_at": "collected",
    "withdrawn_at": "withdrawn",
    "replaced_by": "replaced by",
}
