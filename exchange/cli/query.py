"""`meterhub query`: asks the lake and the ledger in SQL. Nothing can be changed by asking."""

import csv
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq

from config.errors import RefusedError
from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from jobs.stores import files, views
from jobs.stores.view_columns import VIEWS
from jobs.stores.views import Answer
from schemas import receipt

SHOWN = 100  # rows on a terminal, if nothing else is asked for
_ACROSS = 12  # columns that stand side by side; more stand one below the other
_OF_A_LIST = 4  # values of a long list that people are shown
_OF_A_LIST_UPRIGHT = 2  # where rows stand upright
_LONG = 36  # letters; of longer text there, a third of that is shown
_NUMBER = re.compile(r"INTEGER|U?\w*INT|DECIMAL.*|DOUBLE|FLOAT")


@options.command(
    "query",
    'meterhub query "select edc, usage_date, count(*), sum(wh_total) / 1000 as kwh from usage_current group by all"',
    "meterhub query \"select * from usage_as_of('2013-09-03T22:00Z') where account = '10443720000000001'\"",
    "meterhub query \"from intervals where usage_date = '2013-11-03'\" --parquet autumn.parquet",
    'meterhub query --as-known-at 2013-09-03T22:00Z "from roster limit 5"',
    "meterhub query --csv - < question.sql",
)
@click.argument("question", metavar="SQL")
@click.option("--csv", "as_csv", is_flag=True, help="Answer in CSV; lists stand in it as JSON.")
@click.option(
    "--parquet",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the answer to a new file.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"The rows to give at most; 0: all. On a terminal {SHOWN}, else all, if not said.",
)
@options.AS_KNOWN_AT
def command(
    asked: Asked,
    *,
    question: str,
    as_csv: bool,
    file: Path | None,
    limit: int | None,
    known_at: datetime | None,
) -> int | None:
    """Ask the lake and the ledger in SQL.

    The question is DuckDB's SQL, or - to read it from standard input. Instants are given and shown in UTC. With
    --as-known-at every view shows what was known then: blocks, rosters and history.
    """
    if sum((as_csv, asked.json, file is not None)) > 1:
        raise click.UsageError("an answer has one form: --json, --csv or --parquet")
    text = sys.stdin.read() if question == "-" else question
    people = not (as_csv or asked.json or file)
    most = (SHOWN if people else 0) if limit is None else limit
    with opened.stores_of(asked, known_at) as stores, views.ask(text, stores=stores) as answer:
        if file is not None:
            rows = _write(answer, file, most)
            asked.show({"file": str(file), "rows": rows}, f"{_rows(rows)} in {file}")
        elif as_csv:
            out = csv.writer(sys.stdout, lineterminator="\n")
            out.writerow(answer.columns)
            out.writerows([_text(value) for value in row] for row in _limited(answer, most))
        elif asked.json:
            names = _unique(answer.columns)
            asked.show(
                [dict(zip(names, _plain_row(row, answer), strict=True)) for row in _limited(answer, most)]
            )
        else:
            _show(asked, answer, most)
    return None


def _views() -> str:
    """What can be asked, for the help."""
    said = []
    of_blocks = ""
    for name, view in VIEWS.items():
        columns = ", ".join(f"{column} {kind}" for column, kind in view.columns.items())
        if name != "usage" and columns == of_blocks:
            columns = "the columns of usage"
        of_blocks = of_blocks or columns
        listed = textwrap.fill(columns, 100, initial_indent="  ", subsequent_indent="  ")
        said.append(f"\b\n{name}: {view.says}\n{listed}")
    return "\n\n".join(said)


command.help = f"""{inspect.cleandoc(command.help or "")}

What can be asked, with columns and their types:

{_views()}
"""


def _limited(answer: Answer, most: int) -> Iterator[tuple[Any, ...]]:
    rows = (
        row for batch in answer for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    return islice(rows, most) if most else rows


def _show(asked: Asked, answer: Answer, most: int) -> None:
    """A table for people; rows with many columns stand upright, side by side."""
    rows = list(_limited(answer, most + 1 if most else 0))
    more = bool(most) and len(rows) > most
    shown = rows[:most] or rows
    below = f"the first {_rows(most)}; --limit 0 for all" if more else _rows(len(rows))
    if len(answer.columns) > _ACROSS:
        asked.show(None, *_upright(answer.columns, shown, show.console().width), below)
        return
    texts = [[_short(value) for value in row] for row in shown]
    headings = [
        f">{name}" if _NUMBER.fullmatch(kind) else name
        for name, kind in zip(answer.columns, answer.types, strict=True)
    ]
    asked.show(None, show.table(headings, texts), below)


def _upright(columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> Iterator[Any]:
    """Tables with a line a column and as many rows beside each other as there is room for; what is empty in all rows
    is named below.
    """
    texts = [[_short(value, few=_OF_A_LIST_UPRIGHT) for value in row] for row in rows]
    said = [place for place in range(len(columns)) if any(row[place] for row in texts)] or [0]
    names = max((len(columns[place]) for place in said), default=0)
    widths = [2 + max(len(row[place]) for place in said) for row in texts]
    begin = 0
    while begin < len(texts):
        end, left = begin, width - 2 - names
        while end < len(texts) and (end == begin or left >= widths[end]):
            left -= widths[end]
            end += 1
        lines = ([columns[place], *(row[place] for row in texts[begin:end])] for place in said)
        yield show.table(("", *(f"row {number + 1}" for number in range(begin, end))), lines, tight=True)
        begin = end
    empty = [name for place, name in enumerate(columns) if place not in said]
    if empty and texts:
        yield f"empty in all: {', '.join(empty)}"


def _write(answer: Answer, file: Path, most: int) -> int:
    """Write the answer as Parquet, aside and then in its place; how many rows."""
    if file.exists():
        raise RefusedError(
            "file-there-already", f"there is a file {file} already", "name one that is not there"
        )
    if not file.parent.is_dir():
        raise RefusedError("no-such-folder", f"there is no folder {file.parent}", "make it first")
    aside = file.with_name(f".{file.name}.aside")
    rows = 0
    try:
        with pq.ParquetWriter(aside, answer.schema, compression="zstd") as writer:
            for batch in answer:
                part = batch.slice(0, most - rows) if most else batch
                writer.write_batch(part)
                rows += len(part)
                if most and rows >= most:
                    break
        files.settle(aside, file)
    except pa.ArrowNotImplementedError as error:
        raise RefusedError(
            "not-for-parquet", f"Parquet cannot hold this answer: {error}", "cast it"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    return rows


def _plain_row(row: Sequence[Any], answer: Answer) -> Iterator[Any]:
    for value, kind in zip(row, answer.types, strict=True):
        yield json.loads(value) if kind == "JSON" and value is not None else _plain(value)


def _plain(value: Any) -> Any:
    """A value as JSON has it. Decimals become numbers where those say the same."""
    if isinstance(value, Decimal):
        exact = int(value) if value == value.to_integral_value() else float(value)
        return exact if Decimal(str(exact)) == value else str(value)
    if isinstance(value, datetime):
        return receipt.instant(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _text(value: Any) -> str:
    """A value as CSV has it."""
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return json.dumps(_plain(value), ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, Decimal) else str(_plain(value))


def _short(value: Any, *, few: int = _OF_A_LIST) -> str:
    """A value as people are shown it."""
    if isinstance(value, list) and len(value) > few:
        return f"[{', '.join(_text(one) for one in value[:few])}, … {len(value)} in all]"
    said = _text(value)
    if few < _OF_A_LIST and len(said) > _LONG:
        return f"{said[: _LONG // 3]}… {len(said)} in all"
    return said


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _unique(names: Sequence[str]) -> list[str]:
    """The names of columns, a number behind those that come again: a JSON object has each once."""
    seen: list[str] = []
    for name in names:
        again = sum(one == name or one.startswith(f"{name}_") for one in seen) if name in seen else 0
        seen.append(f"{name}_{again + 1}" if again else name)
    return seen
