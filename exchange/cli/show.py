"""How answers look on a terminal."""

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, cast
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

# Where there is no terminal to ask for its width, nothing is cut off that a line of a file can hold.
WIDE = 200


def console() -> Console:
    """Where answers are shown: standard output, as wide as the terminal. Brackets in names are brackets."""
    if sys.stdout.isatty():
        return Console(highlight=False, markup=False, emoji=False)
    file = cast("IO[str]", _Trimmed(sys.stdout))
    return Console(highlight=False, markup=False, emoji=False, width=WIDE, file=file)


class _Trimmed:
    """A file whose lines do not end in the blanks that fill up a table."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(re.sub(r" +$", "", text, flags=re.MULTILINE))

    def flush(self) -> None:
        self._file.flush()


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", tight: bool = False
) -> Table:
    """A table of text; columns whose name begins with `>` are set to the right. A cell may be styled Text.
    `tight`: two blanks between columns, and no empty lines around.
    """
    shown = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=tight,
    )
    for column in columns:
        justify: JustifyMethod = "right" if column.startswith(">") else "left"
        shown.add_column(column.removeprefix(">"), justify=justify, overflow="fold")  # nothing is cut off
    for row in rows:
        shown.add_row(
            *("" if cell is None else cell if isinstance(cell, Text) else str(cell) for cell in row)
        )
    return shown


def instant(at: datetime | None) -> str:
    """An instant in UTC, to the second; nothing for none."""
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def minute(at: datetime | None) -> str:
    """An instant in UTC, to the minute; nothing for none."""
    return instant(at)[:16]


def local(at: datetime | None, zone: ZoneInfo) -> str:
    """An instant by the clocks of a zone, with what they call themselves; nothing for none."""
    return "" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def progress() -> Progress:
    """How far the work is, on standard error, for as long as it lasts; nothing where nobody looks on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = Console(stderr=True)
    return Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal)
