"""Stories on a terminal: what happened as a line down the page, and tables that fit or are told row by row."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from itertools import groupby
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.text import Text

from exchange.cli import show
from exchange.stories.story import Moment, Section

_WIDEST = 110  # what is read line by line is no wider, however wide the terminal
_HASH = 64  # characters of a hash, of which people are shown the first twelve
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(\.\d+)?Z")
_INDENT = " " * 12
_KEPT = "\N{NO-BREAK SPACE}"


class Timeline:
    """Moments under the days they happened on, by UTC: when, what, and below it the details."""

    def __init__(self, moments: Sequence[Moment]) -> None:
        self._moments = moments

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, _WIDEST)
        for day, some in groupby(self._moments, key=lambda one: one.at.astimezone(UTC).date()):
            yield Text(f"{day}  (UTC)", "bold")
            for one in some:
                yield from _moment(one, width)
        yield Text("")


def _moment(one: Moment, width: int) -> Iterator[Text]:
    begins = f"  {one.at.astimezone(UTC):%H:%M:%S}  "
    first, *rest = _wrapped(one.words, width - len(_INDENT) - 2) or [""]
    yield Text.assemble(begins, ("● ", "bold"), first)
    below = _wrapped(told(one.details, kept=_KEPT), width - len(_INDENT) - 2)
    for line in (*rest, *below):
        yield Text.assemble(_INDENT, ("│ ", "dim"), line)


class Fitting:
    """A section as a table, where that is not wider than the terminal; else row by row, each cell with its heading."""

    def __init__(self, section: Section) -> None:
        self._section = section

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        section = self._section
        title = f"{section.title} ({section.note})" if section.note else section.title
        rows = [[text(row.get(key)) for key in section.columns] for row in section.rows]
        table = show.table(tuple(section.columns.values()), rows, title=title, tight=True)
        if Measurement.get(console, options.update(width=10_000), table).maximum <= options.max_width:
            yield table
            return
        yield Text("")
        yield Text(title, "italic")
        headings = [heading.removeprefix(">") for heading in section.columns.values()]
        for row in rows:
            said = ", ".join(
                f"{name} {value}".lstrip() for name, value in zip(headings, row, strict=True) if value
            )
            first, *rest = _wrapped(said, options.max_width - 4) or [""]
            yield Text.assemble(("  ● ", "bold"), first)
            for line in rest:
                yield Text(f"    {line}")
        yield Text("")


def facts(kind: str, subject: str, said: Mapping[str, Any]) -> RenderableType:
    """What is said of a thing, a line each."""
    rows = [
        (key.replace("_", " "), f"{value:.1%}" if key.startswith("share_") else text(value))
        for key, value in said.items()
        if says(value)
    ]
    return show.table((kind.replace("-", " "), subject), rows)


def told(details: Mapping[str, Any], *, kept: str = " ") -> str:
    """Details in a line: `file … , bytes 1,234, whole`. `kept` stands for blanks at which no line is broken."""
    said = ((key.replace("_", kept), value) for key, value in details.items() if says(value))
    return ", ".join(
        (key if value else f"not{kept}{key}") if isinstance(value, bool) else f"{key}{kept}{text(value)}"
        for key, value in said
    )


def says(value: object) -> bool:
    """Whether there is anything to show; a count of nothing is not."""
    return value is False or value not in (None, "", [], {}, 0)


def text(value: Any) -> str:
    """A value as people are shown it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, list):
        return ", ".join(text(one) for one in value)
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    said = str(value)
    if found := _INSTANT.fullmatch(said):
        return f"{found[1]} {found[2]}"
    is_hash = len(said) == _HASH and all(letter in "0123456789abcdef" for letter in said)
    return f"{said[:12]}…" if is_hash else said


def _wrapped(said: str, width: int) -> list[str]:
    """Lines of so many characters; a name is not broken in two unless it is longer than that."""
    return [line.replace(_KEPT, " ") for line in textwrap.wrap(said, max(width, 20), break_on_hyphens=False)]
