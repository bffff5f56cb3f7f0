"""Usage days: the local calendar days that readings are for.

A usage day is a date of a zone. How many intervals it holds follows from elapsed time, computed in
UTC (formats.md, section 1): at 15 minutes 96, and 92 or 100 on the daylight-saving days.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, order=False)
class UsageDay:
    """One local calendar day of a zone."""

    date: date
    zone: ZoneInfo

    @property
    def begin(self) -> datetime:
        """The instant (UTC) of local midnight at which the day begins."""
        return _instant(self.date, time(0), self.zone)

    @property
    def end(self) -> datetime:
        """The instant (UTC) at which the day is over and the next one begins."""
        return _instant(self.date + timedelta(days=1), time(0), self.zone)

    @property
    def seconds(self) -> int:
        """Elapsed seconds: 86,400, or an hour less or more on a daylight-saving day."""
        return int((self.end - self.begin).total_seconds())

    def intervals(self, interval_seconds: int) -> int:
        """How many intervals of that length the day holds, e.g. 96, 92 or 100 at 900 seconds."""
        return self.seconds // interval_seconds

    def interval_starts(self, interval_seconds: int) -> list[datetime]:
        """The start of each interval, in order, as instants in UTC."""
        step = timedelta(seconds=interval_seconds)
        return [self.begin + k * step for k in range(self.intervals(interval_seconds))]

    def deadline(self, at: time) -> datetime:
        """The instant (UTC) by which the day must have arrived: `at` o'clock on the day after."""
        return _instant(self.date + timedelta(days=1), at, self.zone)


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """The calendar date that the wall clock of `zone` shows at `instant`."""
    return instant.astimezone(zone).date()


def due_at(instant: datetime, zone: ZoneInfo) -> UsageDay:
    """The usage day that the deadline of the local day of `instant` is for: the day before it."""
    return UsageDay(local_date(instant, zone) - timedelta(days=1), zone)


def _instant(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, tzinfo=zone).astimezone(UTC)
