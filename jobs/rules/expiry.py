"""When a key ends: it opens the door on its last day, in UTC, and not on the day after."""

from collections.abc import Iterable
from datetime import date

AHEAD = (30, 14, 3)  # days before a key's end at which it is warned of, once each


def days_left(expires: date, *, today: date) -> int:
    """How many days more it opens the door after today; below 0: it has ended."""
    return (expires - today).days


def warning_due(expires: date | None, *, today: date) -> int | None:
    """Which of AHEAD has come: the nearest one, for a key of which nobody spoke for a while.

    None: it is too early, or too late, or the key never ends.
    """
    if expires is None:
        return None
    left = days_left(expires, today=today)
    return min((ahead for ahead in AHEAD if 0 <= left <= ahead), default=None)


def last_day(ends: Iterable[date | None]) -> date | None:
    """The last day on which one of several keys opens the door; None: it never ends, or there is no key."""
    known = list(ends)
    return None if None in known else max((end for end in known if end is not None), default=None)
