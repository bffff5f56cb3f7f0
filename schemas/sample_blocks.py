"""Sample readings as blocks: arrays in, a table of `block.FIELDS` out."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import block, sample_curves
from schemas.usage_day import UsageDay

Letters = npt.NDArray[np.uint8]  # a row a block, a column an interval: A or E as ASCII

_ROWS_A_BLOCK = 5  # in the file: 00000001 to 00000004, and the whole day in one row
_LONGEST = 12  # intervals that are estimated together, but for whole days


def table(
    accounts: pa.Array,
    channels: pa.Array,
    *,
    day: UsageDay,
    interval_seconds: int,
    stamp: str,
    wh: sample_curves.Ints,
    status: Letters,
) -> pa.Table:
    """The blocks of one usage day, a row of `wh` and `status` each, in file order."""
    n, intervals = wh.shape
    ends = np.arange(0, (n + 1) * intervals, intervals, dtype=np.int32)
    words = {
        "stamp": stamp,
        "origin": "M",
        **dict.fromkeys(block.METER_FIELDS, ""),
        "meter_multiplier": "1",
        "meter_offset": "0",
        "pulse_multiplier": "1",
        "pulse_offset": "0",
        "zone_half_hours": _half_hours_west(day.date, day.zone),
        "zone_name": _posix_name(day.date, day.zone),
    }
    columns = {
        "account": accounts,
        "channel": channels,
        "usage_date": pa.repeat(pa.scalar(day.date), n),
        "interval_seconds": np.full(n, interval_seconds, np.int32),
        **{
            name: pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), [word])
            for name, word in words.items()
        },
        "text": pa.repeat("", n),
        "wh": pa.ListArray.from_arrays(ends, wh.ravel(), type=block.FIELDS.field("wh").type),
        "status": pa.StringArray.from_buffers(n, pa.py_buffer(ends), pa.py_buffer(status)),
        "wh_total": wh.sum(axis=1, dtype=np.int64),
        "estimated": (status == ord("E")).sum(axis=1, dtype=np.int32),
        "line": 1 + _ROWS_A_BLOCK * np.arange(n, dtype=np.int32),
    }
    return pa.table(columns, schema=block.FIELDS)


def statuses(n: int, intervals: int, *, estimated: float, draw: np.random.Generator) -> Letters:
    """Statuses of `n` blocks; a share `estimated` of them holds estimates: some intervals, or the whole day."""
    status = np.full((n, intervals), ord("A"), np.uint8)
    some = np.flatnonzero(draw.random(n) < estimated)
    begin = draw.integers(0, intervals, len(some))
    end = begin + draw.integers(1, _LONGEST + 1, len(some))
    all_day = draw.random(len(some)) < 0.2
    begin[all_day], end[all_day] = 0, intervals
    at = np.arange(intervals)
    status[some] = np.where((at >= begin[:, None]) & (at < end[:, None]), ord("E"), ord("A"))
    return status


def _half_hours_west(day: date, zone: ZoneInfo) -> str:
    return f"{_hours_west(_noon(day, 1, zone)) * 2:g}"


def _posix_name(day: date, zone: ZoneInfo) -> str:
    """`CST6CDT` of America/Chicago; the zone's own name where winter and summer have no letters."""
    winter, summer = _noon(day, 1, zone), _noon(day, 7, zone)
    names = [winter.tzname() or "", summer.tzname() or ""]
    if not all(name.isalpha() for name in names):
        return zone.key
    return f"{names[0]}{_hours_west(winter):g}{names[1] if names[1] != names[0] else ''}"


def _noon(day: date, month: int, zone: ZoneInfo) -> datetime:
    return datetime(day.year, month, 1, 12, tzinfo=zone)


def _hours_west(at: datetime) -> float:
    return -(at.utcoffset() or timedelta()) / timedelta(hours=1)
