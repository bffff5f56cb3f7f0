"""A day of which there is nothing is refused, and the days that there are are named."""

from collections.abc import Sequence
from datetime import date, timedelta

from config.errors import OperatorError
from config.partners import Partner
from jobs.stores.ledger import loads
from jobs.stores.opened import Stores

_NAMED = 8  # runs of days that are named; of more, the latest


def refused(what: str, days: Sequence[date]) -> OperatorError:
    """The refusal. `what`: that there is nothing, in words; `days`: those of which there is something, in order."""
    hint = (
        f"there is something of {_in_words(days)}"
        if days
        else "there is no day of which there is anything yet"
    )
    return OperatorError("nothing-of-the-day", what, hint)


def with_readings(edcs: Sequence[Partner], *, stores: Stores) -> list[date]:
    """The usage days of which readings of these EDCs are loaded."""
    wanted = {edc.id for edc in edcs}
    with stores.ledger.read() as tx:
        return sorted({day for edc, day in loads.days(tx) if edc in wanted})


def _in_words(days: Sequence[date]) -> str:
    runs: list[tuple[date, date]] = []
    for day in days:
        if runs and day - runs[-1][1] == timedelta(days=1):
            runs[-1] = runs[-1][0], day
        else:
            runs.append((day, day))
    words = [f"{first}" if first == last else f"{first} to {last}" for first, last in runs[-_NAMED:]]
    earlier = "days before, " if len(runs) > _NAMED else ""
    return earlier + ", ".join(words)
