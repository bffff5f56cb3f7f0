"""The clauses of the LSE format that both ways of reading it share.

Source: formats.md, section 1. Everything here is plain Python over the text of one field or of a few
fields; the columnar path asks it once for each distinct text, the careful path once for each block.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from schemas.block import METER_FIELDS
from schemas.file_name import is_stamp
from schemas.usage_day import UsageDay

# A block is these rows in this order; a day may be split over data rows whose codes rise by one.
HEADER_CODES = (b"00000001", b"00000002", b"00000003", b"00000004")
FIRST_DATA_CODE = 10_000_000

# An account: 1 to 64 of these characters.
ACCOUNT = r"[A-Za-z0-9._-]{1,64}"

# A non-negative decimal kWh: at most 6 digits before the point and 3 behind it; further zeros are legal.
VALUE = r"(?:[0-9]{1,6}(?:\.[0-9]{0,3}0*)?|\.[0-9]{1,3}0*)"

# A blank status is Lodestar's "normal": actual.
STATUSES = ("A", "E", "")

# More than any day of any clock has: one of 48 hours, in quarter hours, has 192.
MOST_INTERVALS = 200

INTERVAL_SECONDS = ("900", "1800", "3600")
UNIT = "01"  # kWh

_ACCOUNT = re.compile(ACCOUNT)
_VALUE = re.compile(VALUE)
_DIGITS_14 = re.compile(r"[0-9]{14}")


def sort_code(position: int) -> bytes:
    """The sort code of a block's row number `position`, from 0: four header rows, then the data rows."""
    if position < len(HEADER_CODES):
        return HEADER_CODES[position]
    return b"%d" % (FIRST_DATA_CODE + position - len(HEADER_CODES))


def is_account(text: str) -> bool:
    """Whether `text` is an account."""
    return _ACCOUNT.fullmatch(text) is not None


def day_begun(start: str) -> date | None:
    """The date at whose midnight `start` is, or None if it is no midnight: a block begins with its day."""
    if _DIGITS_14.fullmatch(start) is None or not start.endswith("000000"):
        return None
    try:
        return date(int(start[:4]), int(start[4:6]), int(start[6:8]))
    except ValueError:
        return None


def day_stops(day: date) -> tuple[str, ...]:
    """The three spellings of the end of `day` that occur: 23:59:59, 23:59:00 and 00:00:00 of the next."""
    spelt = f"{day:%Y%m%d}"
    if day == date.max:
        return (f"{spelt}235959", f"{spelt}235900")
    return (f"{spelt}235959", f"{spelt}235900", f"{day + timedelta(days=1):%Y%m%d}000000")


def is_time(text: str) -> bool:
    """Whether `text` is a legal time: 14 digits that name a date and time of the calendar."""
    return is_stamp(text)


def is_origin(text: str) -> bool:
    """Whether `text` is an origin: one letter, or empty."""
    return text == "" or (len(text) == 1 and text.isascii() and text.isalpha())


@lru_cache(maxsize=1 << 16)
def watt_hours(value: str) -> int | None:
    """The energy of a value in whole watt-hours, exactly, or None if the value is not legal."""
    if _VALUE.fullmatch(value) is None:
        return None
    whole, _, part = value.partition(".")
    return int(whole or "0") * 1000 + int((part + "000")[:3])


@lru_cache(maxsize=4096)
def interval_count(day: date, seconds: int, zone: ZoneInfo) -> int:
    """How many intervals a block of that day holds; 0 for a day the zone's clock cannot tell."""
    try:
        return UsageDay(day, zone).intervals(seconds)
    except (OverflowError, ValueError):
        return 0


@lru_cache(maxsize=256)
def interval_starts(day: date, seconds: int, zone: ZoneInfo) -> tuple[str, ...]:
    """What the third field of each triplet of a day says when it is filled, in local prevailing time.

    In autumn the hour that the clock shows twice stands there twice.
    """
    if interval_count(day, seconds, zone) == 0:
        return ()
    starts = UsageDay(day, zone).interval_starts(seconds)
    return tuple(f"{start.astimezone(zone):%Y%m%d%H%M%S}" for start in starts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a file is read by, besides its bytes."""

    stamp: str  # of the file's name, for blocks that have none
    zone: ZoneInfo
    channels: frozenset[str]
    latest: date  # the last usage day that may be in it


@dataclass(frozen=True, slots=True)
class Extent:
    """What row 00000001 says behind the account: channel and day."""

    channel: str
    day: date


def extent(fields: Sequence[str], terms: Terms) -> Extent | None:
    """The channel and day of `channel, start, stop, DST, invalid`, or None if one of them is at fault."""
    if len(fields) != 5:
        return None
    channel, start, stop, dst, invalid = fields
    day = day_begun(start)
    if day is None or day > terms.latest or stop not in day_stops(day):
        return None
    if channel not in terms.channels or dst != "Y" or invalid != "N":
        return None
    return Extent(channel, day)


@dataclass(frozen=True, slots=True)
class Meter:
    """What row 00000002 says behind the meter's readings."""

    seconds: int  # of one interval
    fields: tuple[str, ...]  # the others as sent, as METER_FIELDS from the third on


def meter(fields: Sequence[str]) -> Meter | None:
    """The fields of row 00000002 behind the meter's readings, or None if one of them is at fault."""
    if len(fields) != len(METER_FIELDS) or fields[4] not in INTERVAL_SECONDS or fields[5] != UNIT:
        return None
    return Meter(int(fields[4]), (*fields[:4], *fields[6:]))


@dataclass(frozen=True, slots=True)
class Cut:
    """What row 00000004 says: the EDC's time stamp of this cut (maybe empty), and its origin."""

    stamp: str
    origin: str


def cut(fields: Sequence[str]) -> Cut | None:
    """The stamp and origin of row 00000004 behind its sort code, or None if one of them is at fault."""
    if len(fields) != 2 or not is_origin(fields[1]) or not (fields[0] == "" or is_time(fields[0])):
        return None
    return Cut(fields[0], fields[1])
