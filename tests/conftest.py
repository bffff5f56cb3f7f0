"""Fixtures that every test may ask for."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

import pytest
from hypothesis import settings

from config.home import Home
from hub_fixtures import LONG, Hub, morning

DAY = date(2013, 9, 2)

# Machines are shared: how long an example takes says nothing about what it shows. Examples are the same in each run,
# so that a change is judged by what it changed; a long run draws new ones.
settings.register_profile("hub", deadline=None, derandomize=not LONG)
settings.load_profile("hub")


@pytest.fixture
def make_hub(tmp_path: Path) -> Iterator[Callable[..., Hub]]:
    """Makes hubs, each in a home of its own, with settings as TOML and a clock that stands."""
    made: list[Hub] = []

    def make(settings: str = "", now: datetime | None = None) -> Hub:
        hub = Hub(Home(tmp_path / f"hub-{len(made)}"), now or morning(DAY), settings)
        made.append(hub)
        return hub

    yield make
    for hub in made:
        hub.end()


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    """A hub with the sample partners, on the morning after the usage day 2013-09-02."""
    return make_hub()
