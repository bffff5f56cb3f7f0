"""A line of the table of `make bench`."""

import statistics
from dataclasses import dataclass, field

from load import Took


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The hub's time of each run, and the peer's. `at_most`: what the ratio may be."""

    what: str
    peer: str
    at_most: float | None = None
    hub: list[Took] = field(default_factory=list)
    other: list[Took] = field(default_factory=list)

    def ratio(self, clock: str = "wall") -> float:
        """The hub's time over the peer's."""
        runs = zip(self.hub, self.other, strict=True)
        return statistics.median(
            getattr(ours, clock) / max(getattr(theirs, clock), 1e-9) for ours, theirs in runs
        )

    @property
    def kept(self) -> bool:
        return self.at_most is None or self.ratio() <= self.at_most
