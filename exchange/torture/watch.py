"""The clock of a tortured hub: it runs on, and steps, forth and back, while the hub is at work."""

from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from jobs.clock import FollowedClock, RunningClock

_STEPS = (-600.0, -30.0, -1.0, 1.0, 30.0, 300.0, 960.0)  # seconds, while a hub is at work
_BETWEEN = (-600.0, 60.0, 960.0, 960.0, 2700.0, 14400.0)  # seconds, while none is
_BACK = timedelta(minutes=40)  # behind what was shown it never goes further


class Watch:
    """What every process of the hub goes by. `latest`: what it has shown at most, by steps."""

    def __init__(self, file: Path, begins: datetime) -> None:
        self.file = file
        self.clock = FollowedClock(file)
        self._set(RunningClock.reading(begins).ahead)
        self.latest = begins

    def step(self, draw: Random) -> None:
        """A step while a hub is at work."""
        self._step(draw.choice(_STEPS))

    def step_far(self, draw: Random) -> None:
        """A step between two hubs."""
        self._step(draw.choice(_BETWEEN))

    def on(self, minutes: float) -> None:
        self._step(minutes * 60)

    def shown(self) -> datetime:
        """The latest instant that it ever showed."""
        self.latest = max(self.latest, self.clock())
        return self.latest

    def _step(self, seconds: float) -> None:
        by = timedelta(seconds=seconds)
        if self.clock() + by > self.shown() - _BACK:
            self._set(self.clock.ahead + by)

    def _set(self, ahead: timedelta) -> None:
        aside = self.file.with_suffix(".aside")
        aside.write_text(str(ahead.total_seconds()))
        aside.replace(self.file)  # whoever reads it, reads one or the other
