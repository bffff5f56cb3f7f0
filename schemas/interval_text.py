"""Writing LSE: blocks as columns become the text of an interval file.

Source: formats.md, section 1. Each distinct pair of value and status is spelt once; the file is then one
`take` over the spellings and the blocks' headers, whose bytes lie behind each other as the file has them.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.block import METER_FIELDS

_ESTIMATED = ord("E")
_SAMPLE = 20_000  # intervals


@dataclass(frozen=True, slots=True)
class Rendered:
    """The text of an interval file; block i is `text[offsets[i]:offsets[i + 1]]`."""

    text: pa.Buffer
    offsets: npt.NDArray[np.int64]


def render(blocks: pa.Table) -> Rendered:
    """The text of the blocks (of `schemas.block.FIELDS`), in their order.

    Lines end in LF, the stop time is 23:59:59, a day stands in one row, interval starts stay empty.
    """
    blocks = blocks.combine_chunks()
    count = len(blocks)
    if not count:
        return Rendered(pa.py_buffer(b""), np.zeros(1, np.int64))
    spelling, codes = _triplets(blocks)
    intervals = _intervals(blocks)
    # The pieces of a block: its head, a triplet an interval, its end.
    begins = np.concatenate(([0], np.cumsum(intervals + 2)))
    pieces = np.empty(begins[-1], np.int32)
    inner = np.ones(len(pieces), np.bool_)
    inner[begins[:-1]] = inner[begins[1:] - 1] = False
    pieces[inner] = codes
    pieces[begins[:-1]] = len(spelling) + 1 + np.arange(count, dtype=np.int32)
    pieces[begins[1:] - 1] = len(spelling)
    said = pa.concat_arrays([spelling, pa.array(["\n"]), _heads(blocks)])
    text = said.cast(pa.large_string()).take(pa.array(pieces))
    marks = np.frombuffer(text.buffers()[1], np.int64)[begins]
    return Rendered(text.buffers()[2].slice(0, int(marks[-1])), marks)


def _intervals(blocks: pa.Table) -> npt.NDArray[np.int64]:
    """How many intervals each block has."""
    return np.asarray(pc.list_value_length(_column(blocks, "wh"))).astype(np.int64)


def _triplets(blocks: pa.Table) -> tuple[pa.StringArray, npt.NDArray[np.int32]]:
    """Every distinct triplet as it is written, and which of them each interval is."""
    wh = np.asarray(_column(blocks, "wh").flatten())
    letters = _letters(_column(blocks, "status"))
    pairs = pa.array(wh.astype(np.int64) * 2 + (letters == _ESTIMATED))
    if 2 * len(pairs.slice(0, _SAMPLE).unique()) > min(
        _SAMPLE, len(pairs)
    ):  # looking for equal ones costs more
        return _spelling(np.asarray(pairs)), np.arange(len(pairs), dtype=np.int32)
    encoded = pairs.dictionary_encode()
    return _spelling(np.asarray(encoded.dictionary)), np.asarray(encoded.indices)


def _letters(status: pa.StringArray) -> npt.NDArray[np.uint8]:
    """The statuses of all blocks behind each other."""
    _, offsets, letters = status.buffers()
    marks = np.frombuffer(offsets, np.int32)[status.offset : status.offset + len(status) + 1]
    return np.frombuffer(letters, np.uint8)[marks[0] : marks[-1]]


def _spelling(pairs: npt.NDArray[np.int64]) -> pa.StringArray:
    """`,value,status,` of each pair of watt-hours and status; the value in kWh, exactly, without idle zeros."""
    unscaled = np.zeros(2 * len(pairs), np.int64)
    unscaled[0::2] = pairs >> 1
    kwh = pa.Array.from_buffers(pa.decimal128(18, 3), len(pairs), [None, pa.py_buffer(unscaled)])
    plain = pc.ascii_rtrim(pc.ascii_rtrim(kwh.cast(pa.string()), "0"), ".")
    letter = pa.array(np.where(pairs & 1, "E", "A"), pa.string())
    return pc.binary_join_element_wise("", plain, letter, "", ",")


def _heads(blocks: pa.Table) -> pa.StringArray:
    """The header rows of each block, and the sort code of its data row."""
    day = _column(blocks, "usage_date").dictionary_encode()
    spelt = pa.DictionaryArray.from_arrays(day.indices, pc.strftime(day.dictionary, "%Y%m%d")).cast(
        pa.string()
    )
    meter = {name: _column(blocks, name).cast(pa.string()) for name in METER_FIELDS}
    seconds = _column(blocks, "interval_seconds").cast(pa.string())
    fields = list(meter.values())
    joined = pc.binary_join_element_wise
    first = joined(
        "00000001",
        _column(blocks, "account"),
        _column(blocks, "channel").cast(pa.string()),
        joined(spelt, "000000", ""),
        joined(spelt, "235959", ""),
        "Y",
        "N",
        ",",
    )
    second = joined("00000002", *fields[:6], seconds, "01", *fields[6:], ",")
    third = joined("00000003", _column(blocks, "text"), ",")
    fourth = joined(
        "00000004",
        _column(blocks, "stamp").cast(pa.string()),
        _column(blocks, "origin").cast(pa.string()),
        ",",
    )
    return joined(first, second, third, fourth, "10000000", "\n")


def _column(blocks: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    column = blocks.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
