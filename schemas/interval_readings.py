"""The data rows of many blocks at once: sort code, then triplets `value,status,interval-start`.

The commas give the places of the triplets. A value is held against the grammar, and turned into watt-hours,
once for each distinct text; so no loop runs over blocks or intervals.
"""

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from numpy.lib.stride_tricks import as_strided

from schemas import interval_grammar as grammar
from schemas.block import FIELDS
from schemas.interval_headers import Coded, Codes, flags
from schemas.interval_rows import COMMA, Flags, Places, Rows, Words, words

Near = npt.NDArray[np.int32]  # byte offsets in a stretch; half as much to move as the long ones
Energies = npt.NDArray[np.int32]  # watt-hours
Letters = npt.NDArray[np.uint8]  # statuses

# More zeros behind a value than these are legal, too; the careful path reads them.
_LEGAL = f"^{grammar.VALUE.replace('0*', '0{0,20}')}$"
_SAMPLE = 20_000  # pieces of text
_START_BYTES = 14
_EVERY_OTHER = 0b01010101
_ACTUAL, _ESTIMATED = ord("A"), ord("E")


@dataclass(frozen=True, slots=True)
class Readings:
    """The intervals of some blocks, one block behind the other."""

    wh: Energies
    status: Letters
    counts: Places  # intervals a block

    def columns(self) -> dict[str, pa.Array]:
        """The columns of `schemas.block.FIELDS` that stand in the data rows."""
        offsets = np.zeros(len(self.counts) + 1, np.int64)
        np.cumsum(self.counts, out=offsets[1:])
        places = pa.array(offsets.astype(np.int32))
        letters = [None, places.buffers()[1], pa.py_buffer(self.status)]
        estimated = np.add.reduceat(self.status == _ESTIMATED, offsets[:-1], dtype=np.int32)
        return {
            "wh": pa.ListArray.from_arrays(places, pa.array(self.wh), type=FIELDS.field("wh").type),
            "status": pa.Array.from_buffers(pa.string(), len(self.counts), letters),
            "wh_total": pa.array(np.add.reduceat(self.wh, offsets[:-1], dtype=np.int64)),
            "estimated": pa.array(estimated),
        }


@dataclass(frozen=True, slots=True)
class _Triplets:
    """Where the triplets of some blocks stand in the text, block by block."""

    begins: Near  # of the value
    ends: Near  # of the value; the status begins one comma behind it
    closings: Near  # where the status ends; the interval's start begins one comma behind it
    until: Near  # where the interval's start ends
    counts: Places  # triplets a block


def read(
    found: Rows, blocks: Places, kinds: Coded[tuple[date, int]], *, zone: ZoneInfo
) -> tuple[Readings | None, Flags]:
    """The intervals of the blocks whose first rows are the rows `blocks`, and which of them are legal.

    Where some are not legal there are no readings: ask again for the others.
    """
    wanted = np.array([grammar.interval_count(*kind, zone) for kind in kinds.values])[kinds.codes]
    triplets, legal = _triplets(found, blocks, wanted)
    if triplets is None:
        return None, legal
    wh, sound = _energies(found, triplets)
    status, known = _statuses(found, triplets)
    sound &= known
    sound &= _starts_agree(found, triplets, kinds, zone)
    if not sound.all():
        return None, np.logical_and.reduceat(sound, np.cumsum(triplets.counts) - triplets.counts)
    return Readings(wh, status, triplets.counts), legal


def _triplets(found: Rows, blocks: Places, wanted: Places) -> tuple[_Triplets | None, Flags]:
    """The triplets of the blocks, if each has whole triplets and as many as wanted; and which have."""
    rows, firsts = _data_rows(found, blocks)
    begins, ends = found.begins[rows].astype(np.int32), found.ends[rows].astype(np.int32)
    commas = np.flatnonzero(found.octets == COMMA).astype(np.int32)
    opening = np.searchsorted(commas, begins + 8)
    behind = np.searchsorted(commas, ends) - opening  # commas behind the sort code, its own among them
    counts, over = np.divmod(behind, 3)
    trailing = (over == 1) & (found.octets[ends - 1] == COMMA)
    whole = (counts > 0) & ((over == 0) | trailing)
    totals = np.add.reduceat(counts, firsts)
    legal = np.logical_and.reduceat(whole, firsts) & (totals == wanted)
    if not legal.all():
        return None, legal
    openings = _every_third(commas, opening, counts)
    ends_of_values = _every_third(commas, opening + 1, counts)
    closings = _every_third(commas, opening + 2, counts)
    until = np.empty_like(openings)
    until[:-1] = openings[1:]
    until[np.cumsum(counts) - 1] = ends - trailing
    return _Triplets(openings + 1, ends_of_values, closings, until, totals), legal


def _every_third(commas: Near, first: Places, counts: Places) -> Near:
    """For each row, `commas[first]` and every third one behind it, `counts` of them."""
    count, step = int(counts[0]), int(first[1] - first[0]) if len(first) > 1 else 0
    if (counts == count).all() and (np.diff(first) == step).all():  # as most files are written
        strides = (step * commas.itemsize, 3 * commas.itemsize)
        return as_strided(commas[first[0] :], (len(first), count), strides, writeable=False).ravel()
    at = np.repeat(first - 3 * (np.cumsum(counts) - counts), counts)
    return commas[at + np.arange(0, 3 * len(at), 3)]


def _data_rows(found: Rows, blocks: Places) -> tuple[Places, Places]:
    """The numbers of the data rows of the blocks, and for each block where its first stands among them."""
    headers = len(grammar.HEADER_CODES)
    following = np.append(found.blocks, len(found.begins))[np.searchsorted(found.blocks, blocks) + 1]
    counts = following - blocks - headers
    firsts = np.cumsum(counts) - counts
    return np.repeat(blocks + headers - firsts, counts) + np.arange(counts.sum()), firsts


def _energies(found: Rows, triplets: _Triplets) -> tuple[Energies, Flags]:
    """Watt-hours of each triplet, and whether its value is legal."""
    codes, texts = _in_words(found, triplets) or _distinct(found, triplets)
    wh, legal = _spelt(texts)
    if codes is None:
        return wh, legal
    return wh[codes], np.ones(len(codes), np.bool_) if legal.all() else legal[codes]


def _statuses(found: Rows, triplets: _Triplets) -> tuple[Letters, Flags]:
    """Status of each triplet, a blank one as actual, and whether it is legal."""
    letters = found.octets[triplets.ends + 1]
    blank = letters == COMMA
    legal = ((letters == _ACTUAL) | (letters == _ESTIMATED) | blank) & (
        triplets.closings - triplets.ends <= 2
    )
    letters[blank] = _ACTUAL
    return letters, legal


def _in_words(found: Rows, triplets: _Triplets) -> tuple[Codes | None, pa.BinaryArray] | None:
    """The distinct values as texts and which one each is, where all have eight bytes or less: each is one
    word then, with zeros behind it.
    """
    widths = triplets.ends - triplets.begins
    if widths.max() > 8 or triplets.begins[-1] + 8 > len(found.octets) or found.octets.min() == 0:
        return None
    said = words(found.octets)[triplets.begins] & _FIRST_BYTES[widths]
    if _mostly_distinct(pa.array(said)):
        return None, pa.array(said.view("S8"), pa.binary())
    encoded = pa.array(said).dictionary_encode()
    return encoded.indices.to_numpy(), pa.array(encoded.dictionary.to_numpy().view("S8"), pa.binary())


_FIRST_BYTES: Words = np.array([(1 << 8 * width) - 1 for width in range(9)], np.uint64)


def _distinct(found: Rows, triplets: _Triplets) -> tuple[Codes | None, pa.BinaryArray]:
    """The same of texts of any length. If few are equal, they come as they stand, and there are no codes."""
    marks = np.empty(2 * len(triplets.begins), np.int32)
    marks[0::2], marks[1::2] = triplets.begins, triplets.ends
    # Of the pieces from mark to mark every other one is wanted; those between are null.
    between = pa.py_buffer(np.full(len(marks) // 8 + 1, _EVERY_OTHER, np.uint8))
    pairs = pa.Array.from_buffers(pa.binary(), len(marks) - 1, [between, pa.py_buffer(marks), found.text])
    if _mostly_distinct(pairs.slice(0, 2 * _SAMPLE).drop_null()):
        return None, pairs.drop_null()
    encoded = pairs.dictionary_encode()
    return np.frombuffer(encoded.indices.buffers()[1], np.int32, len(pairs))[0::2], encoded.dictionary


def _mostly_distinct(pairs: pa.Array) -> bool:
    """Whether so many texts are distinct that looking for equal ones takes longer than it saves."""
    sample = pairs.slice(0, _SAMPLE)
    return 2 * len(sample.unique()) > len(sample)


def _spelt(values: pa.BinaryArray) -> tuple[Energies, Flags]:
    """Watt-hours of values as texts, and whether they are legal; exact, in decimals."""
    legal = flags(pc.match_substring_regex(values, _LEGAL))
    if not legal.all():
        values = pc.if_else(pa.array(legal), values, b"0")
    kwh = values.cast(pa.string()).cast(pa.decimal128(9, 3))
    return np.frombuffer(kwh.buffers()[1], np.int64)[0::2].astype(np.int32), legal


def _starts_agree(found: Rows, triplets: _Triplets, kinds: Coded[tuple[date, int]], zone: ZoneInfo) -> Flags:
    """Whether each interval's start is empty or the one that its place in the day says."""
    widths = triplets.until - triplets.closings - 1
    agree: Flags = widths == 0
    if agree.all():
        return agree
    table = _start_words(kinds.values, zone)
    counts = triplets.counts
    places = np.arange(len(widths)) - np.repeat(np.cumsum(counts) - counts, counts)
    filled = np.flatnonzero(widths == _START_BYTES)
    wanted = table[np.repeat(kinds.codes, counts)[filled], places[filled]]
    starts, at = words(found.octets), triplets.closings[filled] + 1
    agree[filled] = (starts[at] == wanted[:, 0]) & (starts[at + _START_BYTES - 8] == wanted[:, 1])
    return agree


def _start_words(kinds: list[tuple[date, int]], zone: ZoneInfo) -> Words:
    """The interval starts of each kind of day, each as its first and its last eight bytes."""
    table = np.zeros((len(kinds), max(grammar.interval_count(*kind, zone) for kind in kinds), 2), np.uint64)
    for row, kind in zip(table, kinds, strict=True):
        for place, start in zip(row, grammar.interval_starts(*kind, zone), strict=False):
            place[:] = np.frombuffer((start[:8] + start[-8:]).encode(), np.uint64)
    return table
