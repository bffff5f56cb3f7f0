"""Which of the history is a day's: what was received, loaded and published from one deadline to the next."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from config.partners import Partner
from jobs.replay import acts as acts_of
from jobs.replay.acts import Act, Judge
from jobs.replay.compare import Difference
from jobs.stores.ledger import as_of, runs
from jobs.stores.opened import Stores
from schemas.usage_day import UsageDay


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From deadline to deadline: the events above `after`, up to `until`."""

    edc: Partner
    day: date
    begin: datetime
    end: datetime
    after: int
    until: int
    acts: Sequence[Act]
    verdict: Judge | None  # given when the window was over


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What came of it, for one EDC."""

    edc: str
    day: date
    begin: datetime
    end: datetime
    counts: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def windows(
    edcs: Sequence[Partner], day: date, *, stores: Stores, now: datetime, known_at: datetime | None = None
) -> list[Window]:
    """What there is to do again of a day, by the ledger of now, or as it was known at an instant."""
    with stores.ledger.read() as tx:
        return [_window(tx, edc, day, stores=stores, until=min(now, known_at or now)) for edc in edcs]


def _window(tx: Connection, edc: Partner, day: date, *, stores: Stores, until: datetime) -> Window:
    begin, end = (_deadline(tx, edc, one, stores) for one in (day - timedelta(days=1), day))
    after, last = as_of.last_event(tx, begin), as_of.last_event(tx, min(end, until))
    found = acts_of.read(tx, edc=edc.id, after=after, until=last)
    # The verdict on the day before was given after its deadline, and is a part of that day.
    mine = [act for act in found if not isinstance(act, Judge) or act.day == day]
    verdict = acts_of.verdict_on(tx, edc=edc.id, day=day)
    if verdict is not None and (verdict in mine or verdict.at > until):
        verdict = None
    return Window(
        edc=edc, day=day, begin=begin, end=min(end, until), after=after, until=last, acts=mine, verdict=verdict
    )  # fmt: skip


def _deadline(tx: Connection, edc: Partner, day: date, stores: Stores) -> datetime:
    """The deadline of a usage day: that by which it was judged, or will be."""
    assert edc.zone is not None
    row = runs.verdict(tx, edc=edc.id, day=day)
    if row is not None:
        judged: datetime = row["deadline"]
        return judged
    return UsageDay(day, edc.zone).deadline(stores.settings.deadline.time)
