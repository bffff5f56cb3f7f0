"""Ids that people read aloud on the telephone.

A drop is `D130902-00042`: the forty-second of the UTC day 2 September 2013. A sync is
`S130903-cnp-1`: the first that EDC cnp sent as of 3 September 2013. A publication is
`P130904-00007`. All sort in the order of their making.
"""

import re
from datetime import UTC, date, datetime

DROP = re.compile(r"D\d{6}-\d{5,}")
SYNC = re.compile(r"S\d{6}-[a-z0-9-]+-\d+")
PUBLICATION = re.compile(r"P\d{6}-\d{5,}")


def drop_day(at: datetime) -> str:
    """The part of a drop's id that its day gives: `D130902-`."""
    return f"D{at.astimezone(UTC):%y%m%d}-"


def drop(at: datetime, number: int) -> str:
    """The id of the `number`th drop (from 1) of the UTC day of `at`."""
    return f"{drop_day(at)}{number:05d}"


def publication_day(at: datetime) -> str:
    """The part of a publication's id that its day gives: `P130904-`."""
    return f"P{at.astimezone(UTC):%y%m%d}-"


def publication(at: datetime, number: int) -> str:
    """The id of the `number`th publication (from 1) of the UTC day of `at`."""
    return f"{publication_day(at)}{number:05d}"


def sync(edc: str, as_of: date, number: int) -> str:
    """The id of the `number`th sync (from 1) of that EDC with that as-of date."""
    return f"S{as_of:%y%m%d}-{edc}-{number}"
