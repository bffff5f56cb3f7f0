"""What is judged of an LSE file as a whole: what kind of file it is, and whether it is all there.

Source: formats.md, section 1, and what a receipt owes to a sender whose file cannot be read at all.
"""

import codecs
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import interval_rows
from schemas.fault import CODES, Fault
from schemas.interval_blocks import END_OF_BLOCK, Key, Verdict

LONGEST_BLOCK = 1 << 20  # bytes; a legal one has a few thousand

_HEAD = 1 << 16  # bytes that are looked at to say what a file is that is not LSE
_GZIP_MAGIC = b"\x1f\x8b"
_BEGUN = re.compile(rb"(?:\A|\n)00000001,[^\n]*\n00000002,")
_CONTROL = re.compile(rb"[^\t\n\r\x20-\x7e\x80-\xff]")


@dataclass(frozen=True, slots=True)
class Body:
    """The part of a file in which its blocks stand."""

    text: pa.Buffer  # without a byte order mark, and without line ends and empty rows at the end
    ended: bool  # whether the last row has its line end
    pieces: list[int]  # where to part it into stretches of whole blocks, first and last place included


def body(text: pa.Buffer) -> Body | Fault:
    """The body of a file, or the fault for which none of it can be read.

    A UTF-8 byte order mark at the beginning is passed over, as are empty rows at the end.
    """
    view = memoryview(text)
    begin = len(codecs.BOM_UTF8) if view[:3].tobytes() == codecs.BOM_UTF8 else 0
    end = _last_text(view)
    if end <= begin:
        return Fault(code="empty", found=f"{len(view)} bytes", wanted=CODES["empty"].wanted)
    trimmed = text.slice(begin, end - begin)
    if not interval_rows.has_blocks(trimmed) or _is_binary(trimmed):
        return _foreign(trimmed)
    pieces = interval_rows.stretches(trimmed)
    longest = int(np.diff(pieces).max())
    if longest > interval_rows.STRETCH_BYTES + LONGEST_BLOCK:
        found = f"{longest} bytes without a row 00000001"
        return Fault(code="not-lse", found=found, wanted=CODES["not-lse"].wanted)
    return Body(trimmed, b"\n" in view[end : end + 2].tobytes(), pieces)


def _last_text(view: memoryview) -> int:
    """The place behind the last byte that is no line end."""
    end = len(view)
    while end:
        tail = view[max(end - _HEAD, 0) : end].tobytes()
        if kept := tail.rstrip(b"\r\n"):
            return end - len(tail) + len(kept)
        end -= len(tail)
    return 0


def _foreign(text: pa.Buffer) -> Fault:
    """What a file is that has no block to be read: UTF-16, no text at all, or another text."""
    head = memoryview(text)[:_HEAD].tobytes()
    if head[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} or _every_other_is_nul(head):
        found = f"the bytes {head[:4].hex(' ')} at its beginning"
        return Fault(code="utf-16", found=found, wanted=CODES["utf-16"].wanted)
    if head[:2] == _GZIP_MAGIC:
        found = "gzip data, under a name that does not end in .gz"
        return Fault(code="not-text", found=found, wanted=CODES["not-text"].wanted)
    place = _no_text(head)
    if place is not None:
        found = f"the byte {head[place]:02x} at place {place + 1} of the file"
        return Fault(code="not-text", found=found, wanted=CODES["not-text"].wanted)
    rows = np.count_nonzero(np.frombuffer(text, np.uint8) == interval_rows.LF) + 1
    found = f"{rows} row{'s' if rows > 1 else ''}, none with the sort code 00000001"
    return Fault(code="not-lse", found=found, wanted=CODES["not-lse"].wanted)


def _is_binary(text: pa.Buffer) -> bool:
    """Whether a row 00000001 stands in what is no text by chance: no block begins as blocks do near its beginning."""
    head = memoryview(text)[:_HEAD].tobytes()
    return not _BEGUN.search(head) and _no_text(head) is not None


def _every_other_is_nul(head: bytes) -> bool:
    """Whether the half of the bytes is NUL and the other is not, as in UTF-16 of plain letters."""
    return len(head) > 3 and any(head[0:64:2]) != any(head[1:64:2])


def _no_text(head: bytes) -> int | None:
    """The place of the first byte that no text has."""
    control = _CONTROL.search(head)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        return min(error.start, control.start()) if control else error.start
    return control.start() if control else None


def cut_short(verdict: Verdict, *, ended: bool, line: int, column: int) -> Fault | None:
    """The fault of a file that ends in the middle of its last block, which the verdict is on.

    It was cut off if that block has no data row; if it lacks intervals, and either the last row has no
    line end or further rows may have followed, since the day is split over rows or half of it is not
    there; or if the last row has no line end and what it ends with is broken. Any other last block is bad
    only for itself. `line` and `column` say where the file ends.
    """
    end = verdict.end
    lacks = end.wanted is not None and end.intervals < end.wanted
    split = end.data_rows > 1 or (end.wanted is not None and 2 * end.intervals <= end.wanted)
    if not end.data_rows:
        found = "the end of the file before any interval"
    elif lacks and (split or not ended):
        found = f"the end of the file after {end.intervals} of {end.wanted} intervals"
    elif end.broken and not ended:
        found = "the end of the file within a row"
    else:
        return None
    wanted = CODES["cut-short"].wanted
    return Fault(
        code="cut-short", line=line, column=column, account=verdict.account, found=found, wanted=wanted
    )


def besides(cut: Fault, faults: Iterable[Fault]) -> list[Fault]:
    """The faults of a block that was cut off that do not merely say so again."""
    return [
        fault
        for fault in faults
        if not (fault.code == "triplet" and fault.line == cut.line)
        and fault.code != "interval-count"
        and fault.found != END_OF_BLOCK
    ]


def too_many_accounts(blocks: pa.Table, verdicts: Iterable[Verdict], *, most: int) -> Fault | None:
    """The fault of a file with more accounts than are taken, those of bad blocks included."""
    others = pa.array({verdict.account for verdict in verdicts if verdict.account}, pa.string())
    count = len(pa.chunked_array([*blocks["account"].chunks, others]).unique())
    if count <= most:
        return None
    return Fault(code="too-many-accounts", found=str(count), wanted=f"at most {most}")


def twice(blocks: pa.Table, verdicts: Iterable[tuple[int, Verdict]]) -> dict[Key, list[int]]:
    """Every account, channel and day that stands in the file more than once, and in which lines.

    A bad block counts as far as its first row can be read: which of the two was meant cannot be told.
    """
    bad = [(line, verdict.key) for line, verdict in verdicts if verdict.key]
    suspects = _alike(blocks)
    if bad:
        accounts = pa.array(sorted({key[0] for _, key in bad}))
        suspects |= np.asarray(pc.is_in(blocks["account"], accounts).to_numpy(zero_copy_only=False), np.bool_)
    lines: defaultdict[Key, list[int]] = defaultdict(list)
    if bad or suspects.any():
        some = blocks.select(["account", "channel", "usage_date", "line"]).filter(pa.array(suspects))
        for account, channel, day, line in zip(*(column.to_pylist() for column in some.columns), strict=True):
            lines[account, channel, day].append(line)
        for line, key in bad:
            lines[key].append(line)
    return {key: sorted(them) for key, them in lines.items() if len(them) > 1}


def _alike(blocks: pa.Table) -> npt.NDArray[np.bool_]:
    """Which blocks have the account, channel and day of another."""
    key = np.zeros(len(blocks), np.int64)
    for name in ("account", "channel", "usage_date"):
        column = blocks[name].combine_chunks()
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        key = key * max(len(encoded.dictionary), 1) + np.asarray(encoded.indices)
    _, inverse, counts = np.unique(key, return_inverse=True, return_counts=True)
    alike: npt.NDArray[np.bool_] = counts[inverse] > 1
    return alike


def block_twice(key: Key, line: int, lines: list[int]) -> Fault:
    """The fault of the block in that line, one of several of the same account, channel and day."""
    account, channel, day = key
    other = next(each for each in lines if each != line)
    found = f"channel {channel} of {day} in line {other}, too"
    return Fault(
        code="block-twice",
        line=line,
        account=account,
        column=10,
        found=found,
        wanted=CODES["block-twice"].wanted,
    )
