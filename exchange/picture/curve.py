"""Drawings as inline SVG, in black and white: an arrival curve against its deadline, and a bar of shares.

Nothing is told by colour alone: what differs, differs by line, hatching or words. How it looks stands in
attributes: not every program that prints pages gives their style to drawings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

_WIDTH, _HEIGHT = 680, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 28, 22, 26  # margins round the plot
_PLOT_W, _PLOT_H = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
_BAR = 160  # the length of a bar
_LONGEST = timedelta(days=3)  # what came later than this after the deadline is told in words
HATCH = (
    '<pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="5" height="5" fill="#fff"/><line x1="0" y1="0" x2="0" y2="5" stroke="#000" stroke-width="2"/>'
    "</pattern>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """What arrived of an EDC's usage day: instants with how many first versions came then, oldest first."""

    since: datetime
    deadline: datetime
    zone: ZoneInfo
    due: int | None
    arrived: Sequence[tuple[datetime, int]]

    @property
    def until(self) -> datetime:
        """Where the drawing ends: an hour after the deadline or after what came last, whichever is later."""
        last = max((at for at, _ in self.arrived), default=self.deadline)
        return min(max(last, self.deadline), self.deadline + _LONGEST) + timedelta(hours=1)

    @property
    def beyond(self) -> int:
        """How many came too late to be drawn."""
        return sum(blocks for at, blocks in self.arrived if at > self.until)

    @property
    def total(self) -> int:
        return sum(blocks for _, blocks in self.arrived)


def drawn(curve: Curve, *, says: str) -> str:
    """The curve as SVG. `says`: the same in words, escaped, for who cannot see it."""
    parts = [*_axes(curve), *_steps(curve), *_marks(curve)]
    return (
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{says}" '
        'fill="none" stroke="#000" font-family="Georgia, serif" font-size="11">' + "".join(parts) + "</svg>"
    )


def _label(x: float, y: float, words: str, *, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="#000" stroke="none">{words}</text>'


def _highest(curve: Curve) -> int:
    return max(curve.total, curve.due or 0, 1)


def _x(curve: Curve, at: datetime) -> float:
    share = (at - curve.since) / (curve.until - curve.since)
    return round(_LEFT + _PLOT_W * min(max(share, 0.0), 1.0), 1)


def _y(curve: Curve, blocks: int) -> float:
    return round(_TOP + _PLOT_H * (1 - blocks / _highest(curve)), 1)


def _axes(curve: Curve) -> Iterator[str]:
    bottom = _TOP + _PLOT_H
    yield f'<path d="M{_LEFT} {_TOP}V{bottom}H{_LEFT + _PLOT_W}"/>'
    for share in (0, 50, 100):
        blocks = _highest(curve) * share // 100
        yield _label(_LEFT - 6, _y(curve, blocks) + 4, f"{blocks:,}", anchor="end")
    hours = (curve.until - curve.since) / timedelta(hours=1)
    step = next(step for step in (3, 6, 12, 24) if hours / step <= 10 or step == 24)
    # Counted in elapsed hours and written by the clock on the wall: right on days that have 23 or 25.
    for k in range(int(hours // step) + 1):
        at = curve.since + timedelta(hours=k * step)
        x, local = _x(curve, at), at.astimezone(curve.zone)
        yield f'<path d="M{x} {bottom}v4"/>'
        words = f"{local:%b %-d}" if k and local.hour == 0 else f"{local:%H:%M}"
        yield _label(x, bottom + 17, words, anchor="middle")


def _steps(curve: Curve) -> Iterator[str]:
    """One step up for each drop, at the instant of its arrival."""
    path, sum_of = f"M{_LEFT} {_y(curve, 0)}", 0
    for at, blocks in curve.arrived:
        if at <= curve.until:
            sum_of += blocks
            path += f"H{_x(curve, at)}V{_y(curve, sum_of)}"
    yield f'<path d="{path}H{_LEFT + _PLOT_W}" stroke-width="2"/>'


def _marks(curve: Curve) -> Iterator[str]:
    x = _x(curve, curve.deadline)
    yield f'<path d="M{x} {_TOP - 6}V{_TOP + _PLOT_H}" stroke-dasharray="6 3"/>'
    local = curve.deadline.astimezone(curve.zone)
    yield _label(x + 20, _TOP - 9, f"deadline {local:%H:%M %Z}", anchor="end")
    if curve.due:
        y = _y(curve, curve.due)
        yield f'<path d="M{_LEFT} {y}H{_LEFT + _PLOT_W}" stroke-dasharray="1 3"/>'
        yield _label(_LEFT + 4, y - 4, f"due: {curve.due:,}")


def bar(in_time: int, late: int, missing: int) -> str:
    """Shares of what was due: in time black, late hatched, missing white. What there is of late and missing can
    be seen, however little it is.
    """
    due = in_time + late + missing
    if not due:
        return ""
    white = max(round(_BAR * missing / due, 1), 3) if missing else 0
    hatched = max(round(_BAR * late / due, 1), 3) if late else 0
    black = _BAR - white - hatched
    return (
        f'<svg class="bar" viewBox="0 0 {_BAR + 2} 12" aria-hidden="true">'
        f'<rect x="1" y="1" width="{_BAR}" height="10" fill="#fff" stroke="#000"/>'
        f'<rect x="1" y="1" width="{black}" height="10" fill="#000"/>'
        f'<rect x="{1 + black}" y="1" width="{hatched}" height="10" fill="url(#hatch)"/></svg>'
    )
