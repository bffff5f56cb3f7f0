"""Clocks. Only exchange/app.py and jobs/schedule.py own one; everything else is handed an instant.

All kinds travel to worker processes as values.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunningClock:
    """The machine's clock, or one that is ahead of it by a fixed span and runs on."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    @classmethod
    def reading(cls, instant: datetime) -> "RunningClock":
        """A clock that shows `instant` now and runs on from there."""
        return cls(instant - datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class FollowedClock:
    """A clock that is ahead of the machine's by as many seconds as a file says, which is read at each look: so
    it steps, forth or back, in all processes at once. For rehearsals of that.
    """

    file: Path

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    @property
    def ahead(self) -> timedelta:
        return timedelta(seconds=float(self.file.read_text()))


@dataclass(frozen=True, slots=True)
class StandingClock:
    """A clock that shows one instant for good; in UTC, as all clocks do: thirty days before it are so many hours."""

    instant: datetime

    def __call__(self) -> datetime:
        return self.instant.astimezone(UTC)
