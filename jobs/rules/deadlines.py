"""The deadline: when a usage day has to be in, and what is said of it then.

A usage day's deadline is deadline.time in the EDC's zone on the day after; the instant itself is in time.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from schemas.usage_day import UsageDay, local_date


def days_due(
    *, now: datetime, at: time, zone: ZoneInfo, judged: Collection[date], known_since: datetime | None
) -> list[UsageDay]:
    """The usage days whose deadline has passed and that were not `judged` yet, oldest first.

    `known_since`: when the EDC first sent anything; a day whose deadline was before that is nobody's
    concern, and with nothing sent yet, none is.
    """
    if known_since is None:
        return []
    first = local_date(known_since, zone) - timedelta(days=1)
    days = [UsageDay(first + timedelta(days=k), zone) for k in range((local_date(now, zone) - first).days)]
    return [day for day in days if day.date not in judged and known_since <= day.deadline(at) <= now]


def warnings_due(
    *, now: datetime, at: time, warnings: Sequence[time], zone: ZoneInfo
) -> list[tuple[UsageDay, time]]:
    """The warnings whose time has come while the deadline they are for has not passed."""
    day = UsageDay(local_date(now, zone) - timedelta(days=1), zone)
    if now > day.deadline(at):
        return []
    return [(day, warning) for warning in warnings if day.deadline(warning) <= now]


def verdict(*, expected: int, in_time: int) -> str:
    """`met` when all that was due was loaded in time, else `missed`."""
    return "met" if in_time >= expected else "missed"


def seconds_late(*, last_load_at: datetime | None, deadline: datetime) -> int:
    """By how much the hub itself was late with what had arrived in time."""
    if last_load_at is None or last_load_at <= deadline:
        return 0
    return int((last_load_at - deadline).total_seconds())
