"""Curves over time: bars for a terminal, and a picture that stands in one SVG file."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

Points = Sequence[tuple[float, float]]  # seconds, and a value

BARS = 60
_WIDE, _HIGH, _LEFT, _GAP = 900, 150, 90, 55  # of a panel, in pixels
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Some curves over the same time, by name; in one unit."""

    title: str
    unit: str
    curves: dict[str, Points]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of the time, with its name."""

    name: str
    begin: float
    end: float


def bars(title: str, points: Points, *, unit: str) -> str:
    """A bar for each stretch of time: the mean of its points."""
    first, last = min(at for at, _ in points), max(at for at, _ in points)
    wide = (last - first) or 1.0
    steps = min(12, len(points))
    cells: list[list[float]] = [[] for _ in range(steps)]
    for at, value in points:
        cells[min(int((at - first) / wide * steps), steps - 1)].append(value)
    means = [sum(cell) / len(cell) if cell else 0.0 for cell in cells]
    lines = [title]
    for step, mean in enumerate(means):
        bar = "█" * round(BARS * mean / (max(means) or 1))
        lines.append(f"{first + wide * (step + 1) / steps:8.1f} s {bar} {mean:,.1f} {unit}")
    return "\n".join(lines)


def svg(title: str, panels: Sequence[Panel], spans: Sequence[Span], *, below: Sequence[str] = ()) -> str:
    """One picture: a panel above the other, the same time along all, its parts shaded in turns."""
    last = max(span.end for span in spans)
    height = 50 + len(panels) * (_HIGH + _GAP) + 18 * len(below) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDE + 30}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><text x="{_LEFT}" y="24" font-size="16">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        top = 60 + number * (_HIGH + _GAP)
        parts += [*_ground(spans, top=top, last=last), *_panel(panel, top=top, last=last)]
    foot = 60 + len(panels) * (_HIGH + _GAP)
    parts += [
        f'<text x="{_LEFT}" y="{foot + 18 * line}">{escape(text)}</text>' for line, text in enumerate(below)
    ]
    return "\n".join([*parts, "</svg>", ""])


def _ground(spans: Sequence[Span], *, top: float, last: float) -> list[str]:
    parts = []
    for number, span in enumerate(spans):
        left, wide = _x(span.begin, last), (span.end - span.begin) / last * _WIDE
        shade = ("#eef3f8", "#f8f4ee")[number % 2]
        parts.append(f'<rect x="{left:.1f}" y="{top}" width="{wide:.1f}" height="{_HIGH}" fill="{shade}"/>')
        if wide > 8 * len(span.name):
            parts.append(
                f'<text x="{left + 4:.1f}" y="{top + _HIGH - 5}" fill="#999">{escape(span.name)}</text>'
            )
    return parts


def _panel(panel: Panel, *, top: float, last: float) -> list[str]:
    most = max((value for points in panel.curves.values() for _, value in points), default=0) or 1
    parts = [f'<text x="{_LEFT}" y="{top - 6}">{escape(panel.title)}</text>']
    for share in (0, 0.5, 1):
        y = top + _HIGH * (1 - share)
        parts.append(f'<line x1="{_LEFT}" y1="{y}" x2="{_LEFT + _WIDE}" y2="{y}" stroke="#ccc"/>')
        said = f"{most * share:,.1f} {panel.unit}" if most < 100 else f"{most * share:,.0f} {panel.unit}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(said)}</text>')
    for step in range(9):
        x = _x(last * step / 8, last)
        parts.append(
            f'<text x="{x:.1f}" y="{top + _HIGH + 15}" text-anchor="middle">{last * step / 8:,.0f} s</text>'
        )
    right = _LEFT + _WIDE
    for (name, points), colour in zip(panel.curves.items(), _COLOURS, strict=False):
        line = " ".join(f"{_x(at, last):.1f},{top + _HIGH * (1 - value / most):.1f}" for at, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(
            f'<text x="{right}" y="{top - 6}" text-anchor="end" fill="{colour}">{escape(name)}</text>'
        )
        right -= 8 * len(name) + 16
    return parts


def _x(at: float, last: float) -> float:
    return _LEFT + at / last * _WIDE
