"""Reading one block of an LSE file field by field, with care.

Source: formats.md, section 1. Only blocks that the columnar path will not take come here. What comes
out is the block, or all of its faults in the order of the file, each with line, column, found and wanted.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from schemas import interval_grammar as grammar
from schemas.block import METER_FIELDS
from schemas.fault import CODES, SHOWN, Fault, shown
from schemas.interval_grammar import Terms

Key = tuple[str, str, date]  # account, channel, usage day

END_OF_BLOCK = "the end of the block"  # found where another row of it was wanted
TOLD = 5  # faults of one code in one block that are told one by one; the last of them counts the others

_HEADERS = len(grammar.HEADER_CODES)
_DATA_CODE = re.compile(rb"1[0-9]{7}")
_BEHIND_CODE = 10  # the column of a row's second field


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a block ends, to tell one that was cut off from one that is merely bad."""

    data_rows: int
    intervals: int  # whole triplets
    wanted: int | None  # intervals of its day; None if the headers do not say
    broken: bool  # the last row, or its last triplet, is at fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A block as a row of `schemas.block.FIELDS`, or, if it has faults, None and these."""

    block: Mapping[str, object] | None
    faults: tuple[Fault, ...]
    account: str  # empty if it cannot be read
    key: Key | None  # None if it cannot be read
    end: End


def read(rows: Sequence[bytes], *, line: int, terms: Terms) -> Verdict:
    """The verdict on the block whose rows, without their line ends, begin at that line of its file."""
    block = _Block(terms, line)
    for number, octets in enumerate(rows):
        block.take(line + number, octets)
    return block.verdict(line + len(rows) - 1)


@dataclass(frozen=True, slots=True)
class _Row:
    """One row: its line in the file, and its fields."""

    line: int
    octets: bytes
    text: str
    fields: list[str]

    def column(self, number: int) -> int:
        """The place of a field's first character in its line, from 1."""
        return min(1 + sum(len(each) + 1 for each in self.fields[:number]), len(self.text) + 1)


@dataclass(slots=True)
class _Block:
    """A block while it is read: what its rows have said so far, and what is wrong with them."""

    terms: Terms
    line: int
    position: int = 0  # of the row that is wanted next
    account: str = ""
    channel: str = ""
    day: date | None = None
    seconds: int | None = None
    starts: tuple[str, ...] = ()  # of its intervals, if its day and their length are known
    words: dict[str, str] = field(default_factory=dict)
    wh: list[int] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    intervals: int = 0
    data_lines: list[int] = field(default_factory=list)
    torn: bool = False  # so that its intervals cannot be counted
    broken: bool = False
    told: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    def take(self, line: int, octets: bytes) -> None:
        """A block is the rows 00000001 to 00000004 in this order, then 10000000 and on, rising by one."""
        place = _place(octets)
        if place != self.position:
            self._fault("row-order", line, 1, _named(octets), grammar.sort_code(self.position).decode())
        self.broken = place is None or place < self.position
        if self.broken or place is None:  # in a place of its own: what it says is not the block's
            self.torn |= self.position > _HEADERS
            return
        self.torn |= place > self.position >= _HEADERS
        self.position = place + 1
        text = octets.decode(errors="replace")
        row = _Row(line, octets, text, text.split(","))
        _ROWS[min(place, _HEADERS)](self, row)

    def first_row(self, row: _Row) -> None:
        """Sort code, account, channel, start, stop, DST participation, invalid flag: exactly 7 fields."""
        if grammar.is_account("".join(row.fields[1:2])):
            self.account = row.fields[1]
        if not self._has_fields(row, 7):
            return
        _, account, channel, start, stop, dst, invalid = row.fields
        if not self.account:
            self._wrong("account", row, 1, account)
        if channel in self.terms.channels:
            self.channel = channel
        else:
            self._wrong("channel", row, 2, channel, " or ".join(sorted(self.terms.channels)))
        self.day = grammar.day_begun(start)
        if self.day is None:
            self._wrong("start-time", row, 3, start)
        elif self.day > self.terms.latest:
            self._wrong("future-day", row, 3, start[:8], f"{self.terms.latest:%Y%m%d} or earlier")
        self._stop(row, stop)
        if dst != "Y":
            self._wrong("dst-flag", row, 5, dst)
        if invalid != "N":
            self._wrong("invalid-flag", row, 6, invalid)

    def _stop(self, row: _Row, stop: str) -> None:
        """The stop time is the end of the day that the start time begins, in one of three spellings."""
        spellings = grammar.day_stops(self.day) if self.day else ()
        if not grammar.is_time(stop):
            self._wrong("stop-time", row, 4, stop)
        elif self.day is not None and stop not in spellings:
            self._wrong("usage-day", row, 4, stop, " or ".join(spellings))

    def second_row(self, row: _Row) -> None:
        """Exactly 14 fields; the eighth are the seconds of an interval, the ninth is the unit, `01`."""
        self._is_utf8(row)
        if not self._has_fields(row, len(METER_FIELDS) + 3):
            return
        seconds, unit = row.fields[7:9]
        if seconds in grammar.INTERVAL_SECONDS:
            self.seconds = int(seconds)
        else:
            self._wrong("interval-length", row, 7, seconds)
        if unit != grammar.UNIT:
            self._wrong("unit", row, 8, unit)
        self.words |= zip(METER_FIELDS, row.fields[1:7] + row.fields[9:], strict=True)

    def third_row(self, row: _Row) -> None:
        """Free text, which may hold commas; nothing of it is ever repeated, since it may name a customer."""
        self._is_utf8(row)
        _, comma, self.words["text"] = row.text.partition(",")
        if not comma:
            self._fault("field-count", row.line, 1, "1 field", "at least 2 fields")

    def fourth_row(self, row: _Row) -> None:
        """The EDC's time stamp of this cut, and the origin; either may be empty."""
        if not self._has_fields(row, 3):
            return
        _, stamp, origin = row.fields
        if stamp and not grammar.is_time(stamp):
            self._wrong("stamp", row, 1, stamp)
        if not grammar.is_origin(origin):
            self._wrong("origin", row, 2, origin)
        self.words |= {"stamp": stamp or self.terms.stamp, "origin": origin}

    def data_row(self, row: _Row) -> None:
        """Triplets `value,status,interval-start`, at least one; a trailing comma after the last is legal."""
        if not self.data_lines and self.day is not None and self.seconds is not None:
            self.starts = grammar.interval_starts(self.day, self.seconds, self.terms.zone)
        self.data_lines.append(row.line)
        fields = row.fields[1:]
        if len(fields) % 3 == 1 and len(fields) > 1 and not fields[-1]:
            fields.pop()
        if not fields or len(fields) % 3:
            self._torn_row(row, fields)
        elif len(fields) > 3 * grammar.MOST_INTERVALS:
            self.torn = True
            found, wanted = f"{len(fields) // 3} in one row", f"at most {grammar.MOST_INTERVALS}"
            self._fault("interval-count", row.line, _BEHIND_CODE, found, wanted)
        else:
            for number in range(0, len(fields), 3):
                self._triplet(row, number + 1, *fields[number : number + 3])

    def _triplet(self, row: _Row, number: int, value: str, status: str, start: str) -> None:
        """A legal decimal, a known status, and the start that its place in the day has, or none."""
        wh = grammar.watt_hours(value)
        due = self.starts[self.intervals] if self.intervals < len(self.starts) else start
        unknown, astray = status not in grammar.STATUSES, start not in ("", due)
        self.broken = wh is None or unknown or astray
        if wh is None:
            self._wrong("value" if value else "value-null", row, number, value)
        if unknown:
            self._wrong("status", row, number + 1, status)
        if astray:
            self._wrong("interval-start", row, number + 2, start, f"{due} or nothing")
        self.wh.append(wh or 0)
        self.letters.append(status or "A")
        self.intervals += 1

    def _torn_row(self, row: _Row, fields: list[str]) -> None:
        """A row without whole triplets: where its fields first do not fit, or what is left over at its end."""
        whole = 0
        while len(fields) - whole >= 3 and _fits(fields[whole : whole + 3]):
            whole += 3
        self.intervals += whole // 3
        self.torn, self.broken = True, len(fields) - whole < 3
        found = f"{len(fields)} fields behind the sort code" if any(fields) else "no triplet"
        self._fault("triplet", row.line, row.column(whole + 1), found, CODES["triplet"].wanted)

    def verdict(self, last_line: int) -> Verdict:
        """What comes of the block, now that its last row is read."""
        wanted = None
        if self.day is not None and self.seconds is not None:
            wanted = grammar.interval_count(self.day, self.seconds, self.terms.zone)
        if self.position <= _HEADERS:
            code = grammar.sort_code(self.position).decode()
            self._fault("row-order", last_line, 1, END_OF_BLOCK, code)
        elif wanted is not None and self.intervals != wanted and not self.torn:
            self._fault("interval-count", self.data_lines[0], _BEHIND_CODE, str(self.intervals), str(wanted))
        end = End(data_rows=len(self.data_lines), intervals=self.intervals, wanted=wanted, broken=self.broken)
        key = (self.account, self.channel, self.day) if self.account and self.channel and self.day else None
        faults = self._counted()
        block = None if faults else self._fields()
        return Verdict(block=block, faults=faults, account=self.account, key=key, end=end)

    def _fields(self) -> dict[str, object]:
        return self.words | {
            "account": self.account,
            "channel": self.channel,
            "usage_date": self.day,
            "interval_seconds": self.seconds,
            "wh": self.wh,
            "status": "".join(self.letters),
            "wh_total": sum(self.wh),
            "estimated": self.letters.count("E"),
            "line": self.line,
        }

    def _has_fields(self, row: _Row, wanted: int) -> bool:
        if len(row.fields) == wanted:
            return True
        found = f"{len(row.fields)} field{'s' if len(row.fields) > 1 else ''}"
        self._fault("field-count", row.line, 1, found, f"exactly {wanted} fields")
        return False

    def _is_utf8(self, row: _Row) -> None:
        try:
            row.octets.decode()
        except UnicodeDecodeError as error:
            column = len(row.octets[: error.start].decode()) + 1
            found = f"the byte {row.octets[error.start]:02x}"
            self._fault("encoding", row.line, column, found, CODES["encoding"].wanted)

    def _wrong(self, code: str, row: _Row, number: int, found: str, wanted: str = "") -> None:
        """A field at fault."""
        if self.told[code] < TOLD:
            self._fault(code, row.line, row.column(number), shown(found), wanted or CODES[code].wanted)
        else:
            self.told[code] += 1

    def _fault(self, code: str, line: int, column: int, found: str, wanted: str) -> None:
        self.told[code] += 1
        if self.told[code] <= TOLD:
            self.faults.append(
                Fault(code=code, line=line, account=self.account, column=column, found=found, wanted=wanted)
            )

    def _counted(self) -> tuple[Fault, ...]:
        """The faults in order; the last one told of a code says how many more there are."""
        last = {fault.code: number for number, fault in enumerate(self.faults)}
        for code, number in last.items():
            if (more := self.told[code] - TOLD) > 0:
                fault, also = self.faults[number], f" (and {more} more in this block)"
                found = (fault.found or "nothing")[: SHOWN - len(also)] + also
                self.faults[number] = replace(fault, found=found)
        return tuple(sorted(self.faults, key=lambda fault: (fault.line or 0, fault.column or 0)))


_ROWS: tuple[Callable[[_Block, _Row], None], ...] = (
    _Block.first_row,
    _Block.second_row,
    _Block.third_row,
    _Block.fourth_row,
    _Block.data_row,
)


def _place(octets: bytes) -> int | None:
    """The place in a block that a row's sort code gives it, from 0; None if it has none."""
    code = octets[:8]
    if octets[8:9] not in (b"", b","):
        return None
    if code in grammar.HEADER_CODES:
        return grammar.HEADER_CODES.index(code)
    if _DATA_CODE.fullmatch(code):
        return _HEADERS + int(code) - grammar.FIRST_DATA_CODE
    return None


def _named(octets: bytes) -> str:
    """A row as a fault names it: by its sort code; of a row without one nothing is repeated."""
    code = octets.partition(b",")[0]
    if len(code) == 8 and code.isdigit():
        return code.decode()
    return f"a row of {len(octets)} bytes without a sort code" if octets else "an empty row"


def _fits(triplet: Sequence[str]) -> bool:
    """Whether three fields can be a triplet, as far as they show it themselves."""
    value, status, start = triplet
    filled = start == "" or (len(start) == 14 and start.isascii() and start.isdigit())
    return grammar.watt_hours(value) is not None and status in grammar.STATUSES and filled
