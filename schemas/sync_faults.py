"""The careful reading of a sync part: all its faults, in order, each with line, column, found and wanted.

Runs when the columnar path has found something amiss; a text in which this finds nothing is a good part.
Lines come without their ends. Source: formats.md, section 2.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from schemas import sync_fields
from schemas.fault import Fault

_SHOWN = 80  # characters of a wrong value that a fault repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the `HDR` record says besides whose it is."""

    as_of: date
    part: int
    parts: int


def header(line: str, *, duns: str, today: date) -> Header | tuple[Fault, ...]:
    """The `HDR` record in `line`, or its faults; `duns` is the sender's, `today` the latest as-of date."""
    cells = _cells(line)
    if len(cells) != 7 or cells[0] != "HDR":
        return (Fault(code="sync-header", line=1, column=1, found=shown(line), wanted=sync_fields.HDR),)
    as_of = sync_fields.date_of(cells[4])
    numbers = [int(text) if re.fullmatch("[0-9]{1,4}", text) else 0 for text in cells[5:]]
    checks = (
        (1, "sync-header", cells[1] == "METERDATASYNC", "METERDATASYNC"),
        (2, "sync-header", cells[2] == sync_fields.LAYOUT, f"layout version {sync_fields.LAYOUT}"),
        (3, "sync-sender", cells[3] == duns, f"the sender's DUNS {duns}"),
        (4, "sync-as-of", as_of is not None, "ccyymmdd, a date that exists"),
        (
            4,
            "sync-as-of",
            as_of is None or as_of <= today,
            f"a date not later than {sync_fields.spelt(today)}",
        ),
        (5, "sync-part", numbers[0] > 0, "a part, counted from 1"),
        (6, "sync-part", numbers[1] >= max(numbers[0], 1), "the number of parts, none above it"),
    )
    faults = tuple(
        Fault(code=code, line=1, column=_column(cells, at), found=shown(cells[at]), wanted=wanted)
        for at, code, holds, wanted in checks
        if not holds
    )
    if faults or as_of is None:
        return faults
    return Header(as_of=as_of, part=numbers[0], parts=numbers[1])


def of(lines: Sequence[str], *, duns: str, today: date) -> tuple[Fault, ...]:
    """All faults of the part, in the order of its lines; none if it is good."""
    if _kind(lines[0]) not in ("HDR", "DTL"):  # no sync at all: what its rows lack would be noise
        head = header(lines[0], duns=duns, today=today)
        return head if isinstance(head, tuple) else ()
    return tuple(_each(lines, duns=duns, today=today))


def shown(text: str) -> str:
    """As much of a wrong value as a fault repeats; what would act on a terminal is spelt out."""
    some = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in some)


@dataclass(slots=True)
class _Seen:
    """Where an account and a meter first stood, and of which EGS the account is."""

    accounts: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    meters: dict[tuple[str, str], int] = field(default_factory=dict)


def _each(lines: Sequence[str], *, duns: str, today: date) -> Iterator[Fault]:
    head = header(lines[0], duns=duns, today=today)
    if isinstance(head, tuple):
        yield from head
    begin = 0 if _kind(lines[0]) == "DTL" else 1
    end = next((k for k in range(begin, len(lines)) if _kind(lines[k]) == "TRL"), len(lines))
    seen = _Seen()
    rows = 0
    for k in range(begin, end):
        if _kind(lines[k]) == "DTL":
            rows += 1
            yield from _row(k + 1, _cells(lines[k]), seen)
        else:
            yield Fault(code="sync-record", line=k + 1, column=1, found=shown(lines[k]), wanted="DTL or TRL")
    yield from _trailer(lines, end, rows)


def _row(line: int, cells: list[str], seen: _Seen) -> Iterator[Fault]:
    if len(cells) != 1 + len(sync_fields.DTL):
        found = f"{len(cells)} fields" if len(cells) <= _MOST else f"more than {_MOST} fields"
        wanted = f"{1 + len(sync_fields.DTL)} fields"
        yield Fault(code="sync-fields", line=line, column=1, found=found, wanted=wanted)
        return
    account = cells[1] if sync_fields.ACCOUNT.is_legal(cells[1]) else ""
    for at, spec in enumerate(sync_fields.DTL, 1):
        if not spec.is_legal(cells[at]):
            yield Fault(
                code=spec.code,
                line=line,
                account=account,
                column=_column(cells, at),
                found=shown(cells[at]),
                wanted=spec.wanted,
            )
    if account:
        yield from _again(line, cells, seen)


def _again(line: int, cells: list[str], seen: _Seen) -> Iterator[Fault]:
    """What is wrong with a further row of an account."""
    account, duns, start, meter = cells[1], cells[2], cells[4], cells[10]
    first, first_duns, first_start = seen.accounts.setdefault(account, (line, duns, start))
    if (duns, start) != (first_duns, first_start):
        yield Fault(
            code="account-twice-differs",
            line=line,
            account=account,
            column=_column(cells, 2 if duns != first_duns else 4),
            found=shown(supplier(duns, start)),
            wanted=f"{shown(supplier(first_duns, first_start))}, as in line {first}",
        )
    stood = seen.meters.setdefault((account, meter), line)
    if stood != line:
        yield Fault(
            code="meter-twice",
            line=line,
            account=account,
            column=_column(cells, 10),
            found=shown(meter),
            wanted=f"each meter of an account once; this one stands in line {stood}",
        )


def _trailer(lines: Sequence[str], at: int, rows: int) -> Iterator[Fault]:
    """What is wrong with the `TRL` record, which is to stand at `lines[at]`, and with what follows it."""
    if at == len(lines):
        wanted = f"TRL,{rows} after the last row: the file may be cut off"
        yield Fault(code="sync-trailer", line=at, found=f"the file's end after {rows} rows", wanted=wanted)
        return
    cells = _cells(lines[at])
    if len(cells) != 2 or not re.fullmatch("[0-9]{1,9}", cells[1]):
        yield Fault(code="sync-trailer", line=at + 1, column=1, found=shown(lines[at]), wanted=f"TRL,{rows}")
    elif int(cells[1]) != rows:
        wanted = f"{rows}, the number of DTL rows"
        yield Fault(code="sync-count", line=at + 1, column=5, found=cells[1], wanted=wanted)
    if not rows:
        yield Fault(code="sync-no-rows", line=at + 1, found="no DTL row", wanted="at least one")
    if at + 1 < len(lines):
        more = len(lines) - at - 1
        yield Fault(
            code="sync-after-trailer",
            line=at + 2,
            column=1,
            found=(shown(lines[at + 1]) or "an empty line") + (f" and {more - 1} more" if more > 1 else ""),
            wanted="nothing after TRL",
        )


def supplier(duns: str, start: str) -> str:
    """An account's EGS in words, of its DUNS and start date as they stand in a row."""
    who = f"EGS {duns}" if duns else "no EGS"
    return f"{who} from {start}" if start else who


_MOST = 32  # commas are counted no further: a line may be of any length


def _cells(line: str) -> list[str]:
    return line.split(",", _MOST)


def _kind(line: str) -> str:
    return line[:4].partition(",")[0]


def _column(cells: Sequence[str], at: int) -> int:
    """The character, from 1, at which field `at` (from 0) begins."""
    return 1 + sum(len(cell) + 1 for cell in cells[:at])
