"""Which days can be done again: those of which the history holds something, from where it begins."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from sqlalchemy import Connection, func, select

from config.errors import OperatorError
from config.partners import Partner
from jobs.replay.acts import ENDS, VERDICTS
from jobs.stores.ledger import runs
from jobs.stores.opened import Stores
from schemas import receipt, tables
from schemas.usage_day import UsageDay, local_date

_A_DAY = timedelta(days=1)
_OF_A_DAY = (*ENDS, "publication.recorded")  # what of the history is a day's own


def deadline(tx: Connection, edc: Partner, day: date, stores: Stores) -> datetime:
    """The deadline of a usage day: that by which it was judged, or will be."""
    assert edc.zone is not None
    row = runs.verdict(tx, edc=edc.id, day=day)
    if row is not None:
        judged: datetime = row["deadline"]
        return judged
    return UsageDay(day, edc.zone).deadline(stores.settings.deadline.time)


def refuse_before_rebuild(tx: Connection, edc: Partner, day: date, begin: datetime, stores: Stores) -> None:
    """Raises OperatorError when what is to be done again began before the ledger was made again from files."""
    rebuilt = _rebuilt_at(tx)
    if rebuilt is None or begin >= rebuilt:
        return
    assert edc.zone is not None
    first = local_date(rebuilt, edc.zone) - _A_DAY
    while deadline(tx, edc, first - _A_DAY, stores) < rebuilt:
        first += _A_DAY
    raise OperatorError(
        "before-rebuild",
        f"the ledger was made again at {receipt.instant(rebuilt)}; the history before that is not in it, so what "
        f"was done for {edc.id} and {day} cannot be replayed",
        f"replay {first} or a later day; an earlier one can be replayed in a backup of the home from before the rebuild",
    )


def _rebuilt_at(tx: Connection) -> datetime | None:
    event = tables.event
    at: datetime | None = tx.execute(
        select(func.max(event.c.at)).where(event.c.name == "ledger.rebuilt")
    ).scalar_one()
    return at


def there_are(edcs: Sequence[Partner], *, stores: Stores, until: datetime) -> list[date]:
    """The days on which something of these EDCs was received, published or judged, and that can be replayed."""
    with stores.ledger.read() as tx:
        since = _rebuilt_at(tx)
        return sorted({day for edc in edcs for day in _of(tx, edc, stores, since=since, until=until)})


def _of(
    tx: Connection, edc: Partner, stores: Stores, *, since: datetime | None, until: datetime
) -> Iterator[date]:
    event = tables.event
    judged = select(event.c.about).where((event.c.partner == edc.id) & event.c.name.in_(VERDICTS))
    days = {
        date.fromisoformat(about.partition("/")[2])
        for about in tx.execute(judged.where(event.c.at <= until)).scalars()
    }
    query = select(event.c.at).where((event.c.partner == edc.id) & event.c.name.in_(_OF_A_DAY))
    begin = end = None
    assert edc.zone is not None
    for at in tx.execute(query.where(event.c.at <= until).order_by(event.c.at)).scalars():
        if begin is None or end is None or not begin < at <= end:
            day = local_date(at, edc.zone) - 2 * _A_DAY
            while (end := deadline(tx, edc, day, stores)) < at:
                day += _A_DAY
            begin = deadline(tx, edc, day - _A_DAY, stores)
            days.add(day)
    for day in days:
        if since is None or deadline(tx, edc, day - _A_DAY, stores) >= since:
            yield day
