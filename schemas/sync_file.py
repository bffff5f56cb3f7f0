"""Meter data syncs: who may see what, as a table.

    HDR,METERDATASYNC,1,957877905,20130903,1,2
    DTL,10443720000000001,799530915,CHAMPION ENERGY,20130115,A,RES,RESHIWR,07,77002,MTR0012345,1,4,900,Y
    TRL,1

`parse` reads one part by columns and, when anything is amiss, once more with care to name every fault: a
sync is refused whole, so its sender is told all at once. `render` writes one; `parse` of it gives the same
part. Source: formats.md, section 2; nothing is quoted.
"""

from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from schemas import sync_faults, sync_fields, sync_whole
from schemas.fault import Fault

# One row a meter. `egs_duns` is empty for default service; `channels` is as sent, e.g. "4;1". What is of
# few words is kept as such: read, checked, sorted and written once a word, not once a row.
_WORD = pa.dictionary(pa.int32(), pa.string())
_TYPES = {
    "account": pa.string(),
    "egs_start": pa.date32(),
    "meter": pa.string(),
    "interval_seconds": pa.int32(),
    "ami": pa.bool_(),
}
ROSTER = pa.schema(
    [pa.field(name, _TYPES.get(name, _WORD), nullable=name == "egs_start") for name in sync_fields.NAMES]
)
WORDS = tuple(field.name for field in ROSTER if pa.types.is_dictionary(field.type))

_KEYS = ("account", "meter", "egs_duns", "egs_start")  # what rows of an account can be at odds in

MAX_ROWS = 50_000  # of a part
_LONGEST = 2_000  # bytes of a line, on average


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One good part of a sync: its as-of date, its place among the parts, its rows (`ROSTER`) in file order."""

    as_of: date
    part: int
    parts: int
    rows: pa.Table


def parse(text: bytes, *, duns: str, today: date, max_rows: int = MAX_ROWS) -> Part | tuple[Fault, ...]:
    """The part of a sync that `text` is, or all that is wrong with it.

    `duns` is the sender's, `today` the sender's local date at arrival: a sync as of a later day is refused.
    """
    if fault := _unreadable(text, max_rows):
        return (fault,)
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    first, _, rest = text.partition(b"\n")
    head = sync_faults.header(first.decode(), duns=duns, today=today)
    if isinstance(head, sync_faults.Header):
        rows = _rows(rest)
        if rows is not None and not sync_whole.at_odds(sync_whole.in_order(rows.select(_KEYS))):
            return Part(as_of=head.as_of, part=head.part, parts=head.parts, rows=rows)
    faults = sync_faults.of(text.decode().removesuffix("\n").split("\n"), duns=duns, today=today)
    if not faults:
        raise AssertionError("a sync part that the columnar path refused has no fault")
    return faults


def render(rows: pa.Table, *, duns: str, as_of: date, part: int, parts: int) -> bytes:
    """The file of one part: `rows` (`ROSTER`) between their header and trailer, with LF."""
    head = (
        f"HDR,METERDATASYNC,{sync_fields.LAYOUT},{duns},{sync_fields.spelt(as_of)},{part},{parts}\n".encode()
    )
    lines = pc.binary_join_element_wise("DTL", *map(_words, rows.select(sync_fields.NAMES).columns), ",")
    ended = _one(pc.binary_join_element_wise(lines, "", "\n"))
    body = pc.binary_join(pa.ListArray.from_arrays([0, len(rows)], ended), "")[0].as_py().encode()
    return b"%s%sTRL,%d\n" % (head, body, len(rows))


def _unreadable(text: bytes, max_rows: int) -> Fault | None:
    """The fault of a text that cannot be taken as lines of characters, or is too much for a part."""
    if not text:
        return Fault(code="empty", found="0 bytes", wanted="a meter data sync")
    lines = text.count(b"\n")
    if lines > max_rows + 2 or len(text) > (max_rows + 2) * _LONGEST:
        return Fault(
            code="sync-too-large",
            found=f"{lines:,} lines, {len(text):,} bytes",
            wanted=f"parts of at most {max_rows:,} rows and {max_rows * _LONGEST:,} bytes",
        )
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        found = f"the bytes {text[:4].hex(' ')} at its beginning"
        return Fault(code="utf-16", found=found, wanted="UTF-8 or ASCII")
    if (at := text.find(0)) >= 0:
        found = f"the byte 00 at place {at + 1} of the file"
        return Fault(code="not-text", found=found, wanted="lines of UTF-8 or ASCII")
    try:
        text.decode()
    except UnicodeDecodeError as wrong:
        before = text[: wrong.start]
        return Fault(
            code="not-utf8",
            line=before.count(b"\n") + 1,
            column=len(before[before.rfind(b"\n") + 1 :].decode()) + 1,
            found=f"the byte {text[wrong.start]:02x}",
            wanted="text in UTF-8",
        )
    return None


def _rows(rest: bytes) -> pa.Table | None:
    """The rows of what follows the header, or None if anything in it is amiss."""
    end = rest.rfind(b"\n", 0, -1) + 1
    trailer = b"TRL,%d" % rest.count(b"\n", 0, end)
    if rest[end:].removesuffix(b"\n") != trailer or b"\r" in rest or not rest.startswith(b"DTL,"):
        return None
    types = {"record": _WORD} | {field.name: _READ.get(field.name, _WORD) for field in ROSTER}
    try:
        raw = csv.read_csv(
            pa.BufferReader(pa.py_buffer(rest).slice(0, end)),
            read_options=csv.ReadOptions(column_names=list(types), block_size=end + 1, use_threads=False),
            parse_options=csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types=types),
        )
    except pa.ArrowInvalid:  # a row with another number of fields: the careful path says which
        return None
    columns = [_one(column) for column in raw.columns]
    if columns[0].dictionary.to_pylist() != ["DTL"] or not all(map(_is_legal, columns[1:], sync_fields.DTL)):
        return None
    return pa.table(list(map(_typed, columns[1:], ROSTER.types)), schema=ROSTER)


_READ = {"account": pa.string(), "meter": pa.string()}  # as columns of their own, the rest as few words


def _is_legal(column: pa.Array, field: sync_fields.Field) -> bool:
    words = column.dictionary if pa.types.is_dictionary(column.type) else column
    if not pc.all(pc.match_substring_regex(words, f"^(?:{field.pattern})$")).as_py():
        return False
    return field.stands is sync_fields.anything or all(map(field.stands, words.to_pylist()))


def _typed(column: pa.Array, to: pa.DataType) -> pa.Array:
    """A column as it was read, of a type that `ROSTER` has."""
    if to == column.type:
        return column
    if pa.types.is_boolean(to):
        words = pc.equal(column.dictionary, "Y")
    elif pa.types.is_date(to):
        words = pa.array([sync_fields.date_of(word) for word in column.dictionary.to_pylist()], to)
    else:
        words = column.dictionary.cast(to)
    return words.take(column.indices)


def _words(column: pa.ChunkedArray) -> pa.Array:
    """A column of the roster as it is written in a file."""
    if pa.types.is_boolean(column.type):
        return pc.if_else(_one(column), "Y", "N")
    if pa.types.is_date(column.type):
        distinct = _one(column).dictionary_encode()
        words = [sync_fields.spelt(day) for day in distinct.dictionary.to_pylist()]
        return pc.fill_null(pa.array(words, pa.string()).take(distinct.indices), "")
    return _one(column).cast(pa.string())


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
