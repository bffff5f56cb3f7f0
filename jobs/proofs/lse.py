"""Reading an outbound file again, without the code that wrote it or that reads what EDCs send.

Rows are told apart by their sort codes and split at commas; nothing is known here of blocks as columns,
of how they are rendered or of who they were rendered for.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from isal import isal_zlib

from jobs.proofs.place import pieces
from jobs.stores import unpacking

_GZIP = 16 + 15
_UNPACKED = 16 << 20  # bytes at a time
_LF, _COMMA, _E = ord("\n"), ord(","), ord("E")


@dataclass(slots=True, kw_only=True)
class Reread:
    """What an outbound file holds. `blocks` are account, channel and day (text, ccyymmdd), piece by piece."""

    sha256: str = ""
    bytes: int = 0
    intervals: int = 0
    estimated: int = 0
    blocks: list[pa.Table] = field(default_factory=list)
    broken: str = ""

    @property
    def keys(self) -> pa.ChunkedArray:
        """One word a block: account, channel and day."""
        words = [
            pc.binary_join_element_wise(one["account"], one["channel"], one["day"], " ")
            for one in self.blocks
        ]
        return pa.chunked_array([chunk for word in words for chunk in word.chunks], pa.string())

    @property
    def accounts(self) -> pa.ChunkedArray:
        return pa.chunked_array(
            [chunk for one in self.blocks for chunk in one["account"].chunks], pa.string()
        )


def read(path: Path) -> Reread:
    """Read a gzip file of LSE. Raises FileNotFoundError."""
    found = Reread()
    digest = hashlib.sha256()
    try:
        for text in _whole_lines(_unpacked(path, digest, found)):
            _take(text, found)
    except (isal_zlib.error, EOFError) as error:  # type: ignore[misc] # its stub says too little
        found.broken = unpacking.words(error)
    found.sha256 = digest.hexdigest()
    return found


def _unpacked(path: Path, digest: "hashlib._Hash", found: Reread) -> Iterator[bytes]:
    member = isal_zlib.decompressobj(wbits=_GZIP)
    for piece in pieces(path):
        digest.update(piece)
        found.bytes += len(piece)
        rest = piece
        while rest and not member.eof:
            yield member.decompress(rest, _UNPACKED)
            rest = member.unconsumed_tail
    while not member.eof:
        more = member.decompress(b"", _UNPACKED)
        if not more:
            raise EOFError
        yield more


def _whole_lines(unpacked: Iterator[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in unpacked:
        text = held + piece
        end = text.rfind(b"\n") + 1
        held = text[end:]
        if end:
            yield text[:end]
    if held:
        yield held + b"\n"


def _take(text: bytes, found: Reread) -> None:
    """Take in some whole lines. Sort codes stand in their first eight bytes: 00000001 and 1……… matter here."""
    every = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(every == _LF) + 1
    marks = np.concatenate(([0], ends)).astype(np.int64)
    starts = marks[:-1]
    if (ends - starts).min() < len("00000003,\n"):
        found.broken = "a row is shorter than its sort code"
        return
    is_reading = every[starts] == ord("1")
    is_head = ~is_reading & (every[starts + 7] == ord("1"))
    lines = pa.LargeStringArray.from_buffers(len(ends), pa.py_buffer(marks), pa.py_buffer(text))
    heads = lines.filter(pa.array(is_head))
    if len(heads):
        fields = pc.split_pattern(heads, ",", max_splits=4)
        columns = [pc.list_element(fields, place).cast(pa.string()) for place in (1, 2, 3)]
        day = pc.utf8_slice_codeunits(columns[2], 0, 8)
        found.blocks.append(pa.table({"account": columns[0], "channel": columns[1], "day": day}))
    others = pc.count_substring(lines.filter(pa.array(~is_reading)), ",")
    commas = int(np.count_nonzero(every == _COMMA)) - int(pc.sum(others).as_py() or 0)
    # Each reading has a comma before itself, one before its status and one behind it; of the last in a row
    # that one may be missing.
    bare = int(np.count_nonzero(every[ends[is_reading] - 2] != _COMMA))
    found.intervals += (commas + bare) // 3
    letters = np.flatnonzero(every == _E)
    letters = letters[every[letters - 1] == _COMMA]
    found.estimated += int(is_reading[np.searchsorted(ends, letters, side="right")].sum())
