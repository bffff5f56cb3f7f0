"""How answers look on a terminal."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

# Where there is no terminal to ask for its width, nothing is cut off that a line of a file can hold.
WIDE = 200


def console() -> Console:
    """Where answers are shown: standard output, as wide as the terminal. Brackets in names are brackets."""
    width = None if sys.stdout.isatty() else WIDE
    return Console(highlight=False, markup=False, emoji=False, width=width)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> Table:
    """A table of text; columns whose name begins with `>` are set to the right."""
    shown = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        shown.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    return shown
