"""Load and generation as they go over a day: what the sample customers use and feed in.

Everything is arrays of watt-hours, a row a customer and a column an interval; nothing here knows of files.
"""

from datetime import date
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from schemas.usage_day import UsageDay

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


class CustomerClass(IntEnum):
    """Residential, small commercial, large commercial and industrial; the names are the sync's."""

    RES = 0
    SCI = 1
    LCI = 2


SHARES = (0.88, 0.115, 0.005)
_MEAN_WATTS = np.array([1_250, 6_000, 260_000], np.float32)
_SPREAD = np.array([0.5, 0.8, 0.7], np.float32)  # of the logarithm of a customer's size
_MOST = 999_999_999  # watt-hours an interval can say


def hours(day: UsageDay, interval_seconds: int) -> Floats:
    """The local hour, e.g. 13.25, at which each interval begins; right on daylight-saving days, too."""
    local = [start.astimezone(day.zone) for start in day.interval_starts(interval_seconds)]
    return np.array([at.hour + at.minute / 60 for at in local], np.float32)


def classes(n: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """The class of each of `n` customers."""
    return np.searchsorted(np.cumsum(SHARES[:-1]), rng.random(n), side="right").astype(np.int8)


def sizes(kinds: npt.NDArray[np.int8], rng: np.random.Generator) -> Floats:
    """The mean load of each customer in watts."""
    spread = _SPREAD[kinds]
    drawn = rng.standard_normal(len(kinds), np.float32)
    return np.asarray(_MEAN_WATTS[kinds] * np.exp(spread * drawn - spread**2 / 2), np.float32)


def use(
    kinds: npt.NDArray[np.int8],
    watts: Floats,
    *,
    day: UsageDay,
    interval_seconds: int,
    rng: np.random.Generator,
) -> Floats:
    """What each customer uses in each interval of the day, in watt-hours, not rounded."""
    shapes = _shapes(hours(day, interval_seconds), day.date)
    # A house is noisy; 4,096 days of noise, begun anywhere, are as good as one drawn for each customer.
    noise = np.exp(0.3 * rng.standard_normal((4_096, shapes.shape[1]), np.float32))
    noise /= noise.mean()
    level = (
        watts * np.float32(interval_seconds / 3600) * rng.uniform(0.85, 1.15, len(watts)).astype(np.float32)
    )
    wh = shapes[kinds]
    wh *= noise[rng.integers(0, len(noise), len(kinds))]
    wh *= level[:, None]
    return wh


def sun(n: int, *, day: UsageDay, interval_seconds: int, rng: np.random.Generator) -> Floats:
    """What the panels of `n` customers make in each interval, in watt-hours: nothing by night."""
    height = np.sin(np.pi * (hours(day, interval_seconds) - 6.5) / 13.5)
    clear = np.where(height > 0, np.abs(height) ** 1.3, 0).astype(np.float32)
    peak = rng.uniform(3_000, 9_000, n).astype(np.float32) * np.float32(interval_seconds / 3600)
    clouds = rng.uniform(0.55, 1, (n, len(clear))).astype(np.float32)
    return np.asarray(peak[:, None] * clear * clouds, np.float32)


def whole(wh: Floats) -> Ints:
    """Whole watt-hours of what may not be negative."""
    return np.clip(np.rint(wh), 0, _MOST).astype(np.int32)


def _shapes(hour: Floats, day: date) -> Floats:
    """A row a class: load over the day, as a multiple of its mean."""

    def bump(at: float, width: float) -> Floats:
        away = np.abs((hour - at + 12) % 24 - 12)
        return np.asarray(np.exp(-((away / width) ** 2) / 2), np.float32)

    working = 0.35 if day.isoweekday() > 5 else 1.0
    open_hours = (1 / (1 + np.exp(-2 * (hour - 7.5))) / (1 + np.exp(2 * (hour - 18.5)))).astype(np.float32)
    rows = np.stack(
        [
            0.5 + 0.35 * bump(7.25, 1.3) + 0.6 * bump(16.5, 3.2) + 0.7 * bump(20, 1.8),
            0.45 + 1.3 * working * open_hours,
            0.8 + 0.45 * working * open_hours,
        ]
    )
    shapes: Floats = rows / rows.mean(axis=1, keepdims=True)
    return shapes
