"""Where the rows and blocks of an LSE file begin and end, found by columns.

A row ends at a line feed; carriage returns before it belong to the line end. A block is a row
00000001 and every row up to the next one. Sort codes carry the structure; lines are not counted.
"""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import interval_grammar as grammar

Places = npt.NDArray[np.int64]  # byte offsets, or numbers of rows
Flags = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]  # eight bytes of text each

STRETCH_BYTES = 4 << 20  # small enough that what is worked on stays in the processor's cache
MOST_ROWS = 4 + 100  # of a block: a day of 25 hours, one quarter hour a row

LF, CR, COMMA = 10, 13, 44
_BLOCK = re.compile(rb"(?:\A|\n)00000001(?:,|\r*\n|\r*\Z)")
_NEXT_BLOCK = re.compile(rb"\n(?=00000001,)")
_CODES: Words = np.frombuffer(b"".join(map(grammar.sort_code, range(MOST_ROWS))) + bytes(8), np.uint64)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a stretch of text: row k is `text[begins[k]:ends[k]]`, without its line end."""

    text: pa.Buffer
    octets: npt.NDArray[np.uint8]  # the same bytes
    begins: Places
    ends: Places
    codes: Words  # the sort code as eight bytes in one word; 0 where there is none
    blocks: Places  # the numbers of the rows 00000001
    line: int  # of the first row in its file, from 1

    def row(self, number: int) -> bytes:
        """The bytes of one row."""
        return self.octets[self.begins[number] : self.ends[number]].tobytes()


def has_blocks(text: pa.Buffer) -> bool:
    """Whether any row of the text begins a block."""
    return _BLOCK.search(memoryview(text)) is not None


def stretches(text: pa.Buffer) -> list[int]:
    """The places at which to part the text so that each piece has whole blocks and a few megabytes."""
    view = memoryview(text)
    places = [0]
    while places[-1] < len(view):
        following = _NEXT_BLOCK.search(view, min(places[-1] + STRETCH_BYTES, len(view)))
        places.append(following.end() if following else len(view))
    return places


def rows(text: pa.Buffer, *, line: int = 1) -> Rows:
    """The rows of `text`; the last one may lack its line end."""
    octets = np.frombuffer(text, np.uint8)
    feeds = np.flatnonzero(octets == LF)
    if len(octets) and octets[-1] != LF:
        feeds = np.append(feeds, len(octets))
    begins = np.zeros_like(feeds)
    begins[1:] = feeds[:-1] + 1
    ends = _without_returns(octets, begins, feeds)
    codes = _sort_codes(octets, begins, ends)
    blocks = np.flatnonzero(codes == _CODES[0])
    return Rows(text, octets, begins, ends, codes, blocks, line)


def well_ordered(found: Rows) -> Flags:
    """For each block, whether its rows are 1, 2, 3, 4 and then data rows whose codes rise by one."""
    first, total = found.blocks, len(found.begins)
    if not len(first):
        return np.zeros(0, np.bool_)
    lengths = np.diff(first, append=total)
    positions = np.arange(first[0], total) - np.repeat(first, lengths)
    expected = _CODES[np.minimum(positions, MOST_ROWS)]
    in_place = found.codes[first[0] :] == expected
    ordered: Flags = np.logical_and.reduceat(in_place, first - first[0]) & (
        lengths > len(grammar.HEADER_CODES)
    )
    return ordered


def words(octets: npt.NDArray[np.uint8]) -> Words:
    """The eight bytes from each place on as one word: `words(octets)[places]` reads them all at once."""
    shape = (max(len(octets) - 7, 0),)
    return np.ndarray(shape, np.uint64, buffer=octets, strides=(1,)) if shape[0] else np.zeros(0, np.uint64)


def _without_returns(octets: npt.NDArray[np.uint8], begins: Places, ends: Places) -> Places:
    """The ends of the rows, before any carriage returns."""

    def returned() -> Flags:
        flags: Flags = (ends > begins) & (octets[np.maximum(ends - 1, 0)] == CR)
        return flags

    ends = ends - returned()
    for number in np.flatnonzero(returned()):  # more than one: so rare that plain Python will do
        ends[number] = begins[number] + len(octets[begins[number] : ends[number]].tobytes().rstrip(b"\r"))
    return ends


def _sort_codes(octets: npt.NDArray[np.uint8], begins: Places, ends: Places) -> Words:
    """The first field of each row where it is eight bytes long, else 0."""
    codes = np.zeros(len(begins), np.uint64)
    lengths = ends - begins
    if lengths.size and lengths.min() > 8:
        codes = words(octets)[begins]
        codes[octets[begins + 8] != COMMA] = 0
        return codes
    long = lengths > 8
    long[long] = octets[begins[long] + 8] == COMMA
    has_code = long | (lengths == 8)
    codes[has_code] = words(octets)[begins[has_code]]
    return codes
