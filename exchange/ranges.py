"""Which bytes of a file were written or sent, when they come in any order and overlap."""

from bisect import bisect_left, bisect_right


class Ranges:
    """A set of byte positions, kept as sorted half-open ranges that do not touch."""

    __slots__ = ("_starts", "_stops")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __len__(self) -> int:
        """The number of ranges: 1 where nothing is missing in between."""
        return len(self._starts)

    def add(self, start: int, stop: int) -> None:
        """Take in the bytes from `start` up to, not including, `stop`."""
        if stop <= start:
            return
        starts, stops = self._starts, self._stops
        if stops and starts[-1] <= start <= stops[-1]:  # the common case: one byte after another
            stops[-1] = max(stops[-1], stop)
            return
        first = bisect_left(stops, start)  # the first range that reaches `start` or touches it
        last = bisect_right(starts, stop)  # and the one after the last that begins by `stop`
        if first < last:
            start = min(start, starts[first])
            stop = max(stop, stops[last - 1])
        starts[first:last] = [start]
        stops[first:last] = [stop]

    def forget(self) -> None:
        """As if no byte had come."""
        self._starts.clear()
        self._stops.clear()

    def __contains__(self, position: int) -> bool:
        at = bisect_right(self._starts, position) - 1
        return at >= 0 and position < self._stops[at]

    @property
    def total(self) -> int:
        """How many bytes there are in all."""
        return sum(self._stops) - sum(self._starts)

    @property
    def prefix(self) -> int:
        """How many bytes there are from the file's first on, up to the first hole."""
        return self._stops[0] if self._starts and self._starts[0] == 0 else 0

    def gap(self, size: int) -> tuple[int, int] | None:
        """The first stretch below `size` that is missing, or None if every byte is there."""
        prefix = self.prefix
        if prefix >= size:
            return None
        beyond = next((start for start in self._starts if start > prefix), size)
        return prefix, min(beyond, size)
