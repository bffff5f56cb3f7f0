"""The header rows of many blocks at once, as columns.

The texts that differ in every block (account, meter readings, free text) are cut out by columns; of
the rest few are distinct, and the grammar is asked once for each distinct text.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import interval_grammar as grammar
from schemas.block import METER_FIELDS
from schemas.interval_rows import Flags, Places, Rows

Codes = npt.NDArray[np.int32]
T = TypeVar("T")

_ACCOUNT = f"^{grammar.ACCOUNT}$"
_BEHIND_CODE = 9  # where the second field of a row begins


@dataclass(frozen=True, slots=True)
class Coded(Generic[T]):
    """A column of few distinct values: row i is `values[codes[i]]`, or not legal where the code is -1."""

    codes: Codes
    values: list[T]

    def words(self, say: Callable[[T], str]) -> pa.DictionaryArray:
        """What the value of each row says, each distinct word held once."""
        said = [say(value) for value in self.values]
        numbers = {word: number for number, word in enumerate(dict.fromkeys(said))}
        lookup = np.array([numbers[word] for word in said], np.int32)
        return pa.DictionaryArray.from_arrays(
            pa.array(lookup[self.codes]), pa.array(list(numbers), pa.string())
        )

    def plain(self, say: Callable[[T], object], kind: pa.DataType) -> pa.Array:
        """What the value of each row says, as a plain column of that type."""
        return pa.array([say(value) for value in self.values], kind).take(pa.array(self.codes))


@dataclass(frozen=True, slots=True)
class Headers:
    """The header rows of some blocks, one place in each column a block."""

    account: pa.LargeBinaryArray
    extent: Coded[grammar.Extent]
    readings: tuple[pa.LargeBinaryArray, pa.LargeBinaryArray]  # start and stop of the meter
    meter: Coded[grammar.Meter]
    text: pa.LargeBinaryArray
    cut: Coded[grammar.Cut]

    def kinds(self) -> Coded[tuple[date, int]]:
        """Of which day each block is, and how many seconds its intervals have."""
        lengths = len(self.meter.values)
        pairs = self.extent.codes.astype(np.int64) * lengths + self.meter.codes
        distinct, codes = np.unique(pairs, return_inverse=True)
        kinds = [
            (self.extent.values[pair // lengths].day, self.meter.values[pair % lengths].seconds)
            for pair in distinct.tolist()
        ]
        return Coded(codes.astype(np.int32), kinds)

    def columns(self, *, stamp: str) -> dict[str, pa.Array]:
        """The columns of `schemas.block.FIELDS` that stand in the headers; an empty stamp becomes `stamp`."""
        known = {
            "account": self.account.cast(pa.string()),
            "channel": self.extent.words(lambda extent: extent.channel),
            "usage_date": self.extent.plain(lambda extent: extent.day, pa.date32()),
            "interval_seconds": self.meter.plain(lambda meter: meter.seconds, pa.int32()),
            "stamp": self.cut.words(lambda cut: cut.stamp or stamp),
            "origin": self.cut.words(lambda cut: cut.origin),
            "text": self.text.cast(pa.string()),
        }
        for name, reading in zip(METER_FIELDS, self.readings, strict=False):
            known[name] = reading.cast(pa.string()).dictionary_encode()
        for number, name in enumerate(METER_FIELDS[2:]):
            known[name] = self.meter.words(_field(number))
        return known


def _field(number: int) -> Callable[[grammar.Meter], str]:
    return lambda meter: meter.fields[number]


def read(found: Rows, blocks: Places, terms: grammar.Terms) -> tuple[Headers, Flags]:
    """The headers of the blocks whose first rows are the rows `blocks`, and which of them are legal.

    The blocks must be well ordered. What the headers say of a block that is not legal means nothing.
    """

    def row(number: int) -> pa.LargeBinaryArray:
        begins, ends = found.begins[blocks + number], found.ends[blocks + number]
        return between(found.text, np.minimum(begins + _BEHIND_CODE, ends), ends)

    (account, rest), legal = parted(row(0), 2)
    extent = asked(rest, lambda fields: grammar.extent(fields, terms))
    (start, stop, rest), enough = parted(row(1), 3)
    meter = asked(rest, grammar.meter)
    text, cut = row(2), asked(row(3), grammar.cut)
    legal &= flags(pc.match_substring_regex(account, _ACCOUNT)) & enough
    legal &= (extent.codes >= 0) & (meter.codes >= 0) & (cut.codes >= 0)
    legal &= found.ends[blocks + 2] - found.begins[blocks + 2] >= _BEHIND_CODE
    legal &= is_utf8(start) & is_utf8(stop) & is_utf8(text)
    return Headers(account, extent, (start, stop), meter, text, cut), legal


def between(text: pa.Buffer, begins: Places, ends: Places) -> pa.LargeBinaryArray:
    """The pieces `text[begins[k]:ends[k]]`; they stand in order and do not overlap."""
    marks = np.empty(2 * len(begins), np.int64)
    marks[0::2], marks[1::2] = begins, ends
    if not marks.size:
        return pa.array([], pa.large_binary())
    pieces = pa.Array.from_buffers(pa.large_binary(), len(marks) - 1, [None, pa.py_buffer(marks), text])
    return pieces.take(pa.array(np.arange(0, len(marks), 2)))


def parted(texts: pa.LargeBinaryArray, parts: int) -> tuple[list[pa.LargeBinaryArray], Flags]:
    """The texts cut at their first commas into so many columns, and which of them have that many parts."""
    lists = pc.split_pattern(texts, ",", max_splits=parts - 1)
    enough = np.asarray(pc.list_value_length(lists)) == parts
    if not enough.all():
        lists = pc.split_pattern(
            pc.if_else(pa.array(enough), texts, b"," * (parts - 1)), ",", max_splits=parts - 1
        )
    pieces = lists.flatten()
    return [pieces.take(pa.array(np.arange(part, len(pieces), parts))) for part in range(parts)], enough


def asked(texts: pa.LargeBinaryArray, clause: Callable[[list[str]], T | None]) -> Coded[T]:
    """What a clause of the grammar makes of the fields of each text, asked once a distinct text."""
    encoded = texts.dictionary_encode()
    numbers: list[int] = []
    values: list[T] = []
    for text in encoded.dictionary.to_pylist():
        value = None if (decoded := decode(text)) is None else clause(decoded.split(","))
        numbers.append(-1 if value is None else len(values))
        if value is not None:
            values.append(value)
    return Coded(np.array(numbers, np.int32)[np.asarray(encoded.indices)], values)


def decode(text: bytes) -> str | None:
    """The text, or None if it is not UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def is_utf8(texts: pa.LargeBinaryArray) -> Flags:
    """Which of the texts are legal UTF-8."""
    try:
        texts.cast(pa.large_string())
    except pa.ArrowInvalid:
        return np.array([decode(text) is not None for text in texts.to_pylist()], np.bool_)
    return np.ones(len(texts), np.bool_)


def flags(column: pa.BooleanArray) -> Flags:
    """A column of yes and no as NumPy has it."""
    return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)
