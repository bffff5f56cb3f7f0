"""Writing LSE: blocks as columns become the text of an interval file.

Source: formats.md, section 1. A pair of value and status is spelt once; the file is then one
`take` over the spellings and the blocks' headers, whose bytes lie behind each other as the file has them.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.block import METER_FIELDS

# The columns of blocks (schemas.block.FIELDS) that the text is made of.
WRITTEN = (
    "account", "channel", "usage_date", "interval_seconds", "stamp", "origin", *METER_FIELDS, "text", "wh", "status",
)  # fmt: skip
_SHARED = ("channel", "usage_date", "interval_seconds", "stamp", "origin", *METER_FIELDS)
_ESTIMATED = ord("E")
_COMMON = 1 << 16  # pairs of value and status below it are spelt once and for all: up to 32.768 kWh


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of an interval file; block i is `text[offsets[i]:offsets[i + 1]]`."""

    text: pa.Buffer
    offsets: npt.NDArray[np.int64]


def render(blocks: pa.Table) -> Rendered:
    """The text of the blocks (of `schemas.block.FIELDS`), in their order."""
    return spell(blocks).text(np.arange(len(blocks)))


@dataclass(frozen=True, slots=True)
class Spelt:
    """Blocks of which everything is written once: `said` has each triplet, the end of a line and each block's
    head; `codes` says which triplet each interval is; block i has `counts[i]` intervals.
    """

    said: pa.LargeStringArray
    codes: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]

    def text(self, places: npt.NDArray[np.int64]) -> Rendered:
        """The text of the blocks at these places, in this order.

        Lines end in LF, the stop time is 23:59:59, a day stands in one row, interval starts stay empty.
        """
        if not len(places):
            return Rendered(pa.py_buffer(b""), np.zeros(1, np.int64))
        heads = len(self.said) - len(self.counts)
        # The pieces of a block: its head, a triplet an interval, its end.
        begins = np.concatenate(([0], np.cumsum(self.counts[places] + 2, dtype=np.int64)))
        pieces = np.empty(begins[-1], np.int32)
        inner = np.ones(len(pieces), np.bool_)
        inner[begins[:-1]] = inner[begins[1:] - 1] = False
        pieces[inner] = self._codes_of(places)
        pieces[begins[:-1]] = heads + places
        pieces[begins[1:] - 1] = heads - 1
        text = self.said.take(pa.array(pieces))
        marks = np.frombuffer(text.buffers()[1], np.int64)[begins]
        return Rendered(text.buffers()[2].slice(0, int(marks[-1])), marks)

    def _codes_of(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        if self.counts.min() == self.counts.max():
            days: npt.NDArray[np.int32] = self.codes.reshape(len(self.counts), -1)[places]
            return days.ravel()
        ends = np.cumsum(self.counts, dtype=np.int64)[places]
        spans = zip((ends - self.counts[places]).tolist(), ends.tolist(), strict=True)
        return np.concatenate([self.codes[begin:end] for begin, end in spans])


def spell(blocks: pa.Table) -> Spelt:
    """Make ready what the text of blocks consists of."""
    blocks = blocks.combine_chunks()
    spelling, codes = _triplets(blocks)
    said = pa.concat_arrays([spelling, pa.array(["\n"]), _heads(blocks)])
    counts = np.asarray(pc.list_value_length(_column(blocks, "wh")))
    return Spelt(said.cast(pa.large_string()), codes, counts)


def _triplets(blocks: pa.Table) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """The triplets as they are written, and which of them each interval is."""
    codes = np.asarray(_column(blocks, "wh").flatten()) * 2  # at most 1,999,999,998: an int32
    codes += _letters(_column(blocks, "status")) == _ESTIMATED
    common = _common()
    high = np.flatnonzero(codes >= len(common))
    if not len(high):
        return common, codes
    others = pa.array(codes[high]).dictionary_encode()
    codes[high] = np.asarray(others.indices) + len(common)
    return pa.concat_arrays([common, _spelling(np.asarray(others.dictionary))]), codes


@functools.cache
def _common() -> pa.StringArray:
    """The triplets of all readings that most customers have, by their pair of value and status."""
    return _spelling(np.arange(_COMMON))


def _letters(status: pa.StringArray) -> npt.NDArray[np.uint8]:
    """The statuses of all blocks behind each other."""
    _, offsets, letters = status.buffers()
    marks = np.frombuffer(offsets, np.int32)[status.offset : status.offset + len(status) + 1]
    return np.frombuffer(letters, np.uint8)[marks[0] : marks[-1]]


def _spelling(pairs: npt.NDArray[np.integer[Any]]) -> pa.StringArray:
    """`,value,status,` of each pair of watt-hours and status; the value in kWh, exactly, without idle zeros."""
    unscaled = np.zeros(2 * len(pairs), np.int64)
    unscaled[0::2] = pairs >> 1
    kwh = pa.Array.from_buffers(pa.decimal128(18, 3), len(pairs), [None, pa.py_buffer(unscaled)])
    plain = pc.ascii_rtrim(pc.ascii_rtrim(kwh.cast(pa.string()), "0"), ".")
    letter = pa.array(np.where(pairs & 1, "E", "A"), pa.string())
    return pc.binary_join_element_wise("", plain, letter, "", ",")


def _heads(blocks: pa.Table) -> pa.StringArray:
    """The header rows of each block, and the sort code of its data row. What most blocks of a file agree in,
    all but account and text, is joined once for each combination that there is.
    """
    row, combination = _combinations(blocks.select(_SHARED))
    some = blocks.select(_SHARED).take(row)
    spelt = {name: _column(some, name).cast(pa.string()) for name in _SHARED if name != "usage_date"}
    day = pc.strftime(_column(some, "usage_date"), "%Y%m%d")
    meter = [spelt[name] for name in METER_FIELDS]
    joined = pc.binary_join_element_wise
    first = joined("", spelt["channel"], joined(day, "000000", ""), joined(day, "235959", ""), "Y", "N", ",")
    second = joined("00000002", *meter[:6], spelt["interval_seconds"], "01", *meter[6:], ",")
    middle = joined(first, second, "00000003,", "\n")
    fourth = joined("00000004", spelt["stamp"], spelt["origin"], ",")
    end = joined("", fourth, "10000000", "\n")
    return joined(
        "00000001,",
        _column(blocks, "account"),
        middle.take(combination),
        _column(blocks, "text"),
        end.take(combination),
        "",
    )


def _combinations(words: pa.Table) -> tuple[npt.NDArray[np.int64], pa.Array]:
    """A row of each combination of words that there is, and which of them each row has."""
    found, count = pa.array(np.zeros(len(words), np.int32)), 0
    for name in words.column_names:
        word = _column(words, name)
        word = word if pa.types.is_dictionary(word.type) else word.dictionary_encode()
        pair = np.asarray(found).astype(np.int64) * len(word.dictionary) + np.asarray(word.indices)
        encoded = pa.array(pair).dictionary_encode()
        found, count = encoded.indices, len(encoded.dictionary)
    row = np.empty(count, np.int64)
    row[np.asarray(found)] = np.arange(len(words))
    return row, found


def _column(blocks: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    column = blocks.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
