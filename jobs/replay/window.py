"""Which of the history is a day's: what was received, loaded and published from one deadline to the next."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, func, select

from config.partners import Partner
from jobs.replay import days, recorded
from jobs.replay.acts import Act, Elsewhere, Enforced, Judge, Load, Recorded, Settle
from jobs.replay.compare import Difference
from jobs.stores.ledger import as_of
from jobs.stores.opened import Stores
from schemas import tables


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
    of_usage: bool = False  # not a day's load, but all versions of a usage day, whenever they came

    @property
    def empty(self) -> bool:
        """Whether nothing of its EDC was done in it that could be done again."""
        return self.verdict is None and all(isinstance(act, Elsewhere) for act in self.acts)


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
    begin, end = (days.deadline(tx, edc, one, stores) for one in (day - timedelta(days=1), day))
    days.refuse_before_rebuild(tx, edc, day, begin, stores)
    after, last = as_of.last_event(tx, begin), as_of.last_event(tx, min(end, until))
    found = recorded.read(tx, edc=edc.id, after=after, until=last)
    # The verdict on the day before was given after its deadline, and is a part of that day.
    mine = [act for act in found if not isinstance(act, Judge) or act.day == day]
    verdict = recorded.verdict_on(tx, edc=edc.id, day=day)
    if verdict is not None and (verdict in mine or verdict.at > until):
        verdict = None
    return Window(
        edc=edc, day=day, begin=begin, end=min(end, until), after=after, until=last, acts=mine, verdict=verdict
    )  # fmt: skip


def usage_windows(
    edcs: Sequence[Partner], day: date, *, stores: Stores, now: datetime, known_at: datetime | None = None
) -> list[Window]:
    """All loads of a usage day, whenever they came, and the verdict on it."""
    with stores.ledger.read() as tx:
        return [_usage_window(tx, edc, day, stores=stores, until=min(now, known_at or now)) for edc in edcs]


def _usage_window(tx: Connection, edc: Partner, day: date, *, stores: Stores, until: datetime) -> Window:
    event, file = tables.event, tables.lake_file
    drops = select(file.c.drop_id).where((file.c.edc == edc.id) & (file.c.usage_date == day))
    loaded = (event.c.name == "drop.loaded") & event.c.about.in_(drops) & (event.c.at <= until)
    query = select(func.min(event.c.id), func.max(event.c.id), func.min(event.c.at), func.max(event.c.at))
    first, last, begin, end = tx.execute(query.where(loaded)).one()
    if begin is not None:
        days.refuse_before_rebuild(tx, edc, day, begin, stores)
    found = recorded.read(tx, edc=edc.id, after=first - 1, until=last) if first else []
    verdict = recorded.verdict_on(tx, edc=edc.id, day=day) if first else None
    mine = [one for act in found if (one := _for_usage(act, day)) is not None]
    if verdict is not None and (verdict in mine or verdict.at > until):
        verdict = None
    return Window(
        edc=edc,
        day=day,
        begin=begin or until,
        end=end or until,
        after=(first or 1) - 1,
        until=last or 0,
        acts=mine,
        verdict=verdict,
        of_usage=True,
    )


def _for_usage(act: Act, day: date) -> Act | None:
    """What there is of an act for the loads of a usage day: the load itself, or what it stood upon."""
    match act:
        case Load() if day in act.days:
            return act
        case Load():
            return Recorded(drop_id=act.drop_id)
        case Settle() if act.allowed["sync.enforced"]:
            return Enforced(sync_id=act.sync_id, at=act.at)
        case Judge() if act.day == day:
            return act
    return None
