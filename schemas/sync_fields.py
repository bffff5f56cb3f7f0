"""The fields of a meter data sync: what each may hold, and what is said when it does not.

Source: formats.md, section 2. A pattern is for the whole value and means the same to Python's `re` and to
RE2, which pyarrow uses: the columnar path and the careful path ask the same grammar.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache


@lru_cache(maxsize=10_000)  # the same dates stand in part after part
def date_of(text: str) -> date | None:
    """The date that `ccyymmdd` names, or None if it names none."""
    if re.fullmatch("[0-9]{8}", text) is None:
        return None
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def spelt(day: date) -> str:
    """A date as `ccyymmdd`."""
    return day.isoformat().replace("-", "")  # %Y writes the year 999 with three digits


def anything(_: str) -> bool:
    return True


def _empty_or_date(text: str) -> bool:
    return not text or date_of(text) is not None


def _above_zero(text: str) -> bool:
    return re.search("[1-9]", text) is not None


def _all_different(text: str) -> bool:
    channels = text.split(";")
    return len(set(channels)) == len(channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a `DTL` record."""

    name: str
    code: str
    pattern: str
    wanted: str
    stands: Callable[[str], bool] = anything  # what the pattern cannot say

    def is_legal(self, value: str) -> bool:
        """Whether the field may hold `value`."""
        return re.fullmatch(self.pattern, value) is not None and self.stands(value)


_PRINTABLE = r"[^\x00-\x1f\x7f-\x9f]"
ACCOUNT = Field(
    name="account",
    code="sync-account",
    pattern="[A-Za-z0-9._-]{1,64}",
    wanted="1 to 64 characters of A-Z a-z 0-9 . _ -",
)
DTL = (
    ACCOUNT,
    Field(
        name="egs_duns",
        code="sync-egs-duns",
        pattern="([A-Z0-9]{9,13})?",
        wanted="9 to 13 characters of A-Z 0-9, or nothing",
    ),
    Field(
        name="egs_name",
        code="sync-text",
        pattern=_PRINTABLE + "{0,100}",
        wanted="a name of at most 100 characters, none of them a control character",
    ),
    Field(
        name="egs_start",
        code="sync-egs-start",
        pattern="([0-9]{8})?",
        wanted="ccyymmdd, a date that exists, or nothing",
        stands=_empty_or_date,
    ),
    Field(name="account_status", code="sync-account-status", pattern="[ADI]", wanted="A, D or I"),
    Field(
        name="customer_class",
        code="sync-customer-class",
        pattern="(RES|SCI|LCI)",
        wanted="RES, SCI or LCI",
    ),
    Field(
        name="load_profile",
        code="sync-text",
        pattern=_PRINTABLE + "{0,64}",
        wanted="a load profile of at most 64 characters, none of them a control character",
    ),
    Field(
        name="bill_cycle",
        code="sync-text",
        pattern=_PRINTABLE + "{0,64}",
        wanted="a bill cycle of at most 64 characters, none of them a control character",
    ),
    Field(
        name="zip",
        code="sync-zip",
        pattern="[0-9]{5}(-?[0-9]{4})?",
        wanted="5 digits, or 5 and 4",
    ),
    Field(
        name="meter",
        code="sync-meter",
        pattern=_PRINTABLE + "{1,64}",
        wanted="a meter number of 1 to 64 characters, none of them a control character",
    ),
    Field(
        name="meter_multiplier",
        code="sync-multiplier",
        pattern=r"[0-9]{0,9}\.?[0-9]{0,6}",
        wanted="a decimal above 0, of at most 9 digits before the point and 6 after it",
        stands=_above_zero,
    ),
    Field(
        name="channels",
        code="sync-channels",
        pattern="[A-Za-z0-9]{1,8}(;[A-Za-z0-9]{1,8})*",
        wanted="one channel or several, all different, with ; between",
        stands=_all_different,
    ),
    Field(
        name="interval_seconds",
        code="sync-interval",
        pattern="(900|1800|3600)",
        wanted="900, 1800 or 3600",
    ),
    Field(name="ami", code="sync-ami", pattern="[YN]", wanted="Y or N"),
)
NAMES = tuple(field.name for field in DTL)

HDR = "HDR,METERDATASYNC,1,<DUNS>,<as-of date>,<part>,<parts>"
LAYOUT = "1"
