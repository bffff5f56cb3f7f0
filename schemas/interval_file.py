"""Reading an LSE interval file: its good blocks as columns, and what is wrong with the others.

Source: formats.md, section 1. The file is taken in stretches of whole blocks, and each stretch by
columns: the rows and their order, then the header rows, then the data rows. A block that is not of the
plain kind at any of these goes to `interval_blocks`, which reads it field by field and decides.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from schemas import interval_blocks, interval_headers, interval_readings, interval_rows, interval_whole
from schemas.block import FIELDS
from schemas.fault import Fault
from schemas.interval_blocks import Verdict
from schemas.interval_grammar import Terms
from schemas.interval_rows import Places, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a file holds: its good blocks as a table of `FIELDS`, and what is wrong with the others."""

    blocks: pa.Table  # in the order of the file
    faults: tuple[Fault, ...]  # those of the file as a whole, then the others in its order
    rejected: int  # blocks refused, each for itself
    refused: bool  # the file is refused whole: there are no blocks, then


def parse(
    text: pa.Buffer | bytes,
    *,
    stamp: str,
    zone: ZoneInfo,
    channels: frozenset[str],
    max_accounts: int,
    latest: date,
) -> Parsed:
    """The good blocks of an LSE file, and its faults; whatever the bytes are, nothing is raised.

    `stamp` is the one in the file's name, `zone` and `channels` are the sender's, and `latest` is the
    last usage day that may be in the file: the local date of its arrival.
    """
    body = interval_whole.body(pa.py_buffer(text))
    if isinstance(body, Fault):
        return Parsed(blocks=FIELDS.empty_table(), faults=(body,), rejected=0, refused=True)
    terms = Terms(stamp=stamp, zone=zone, channels=channels, latest=latest)
    tables: list[pa.Table] = []
    verdicts: dict[int, Verdict] = {}  # on the blocks that needed care, by their lines
    line = 1
    for begin, end in pairwise(body.pieces):
        found = interval_rows.rows(body.text.slice(begin, end - begin), line=line)
        table, others = columnar(found, terms)
        tables.append(table)
        verdicts |= careful(found, others, terms)
        line += len(found.begins)
    tables.append(_rescued(verdicts.values()))
    blocks = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    if len(tables[-1]):
        blocks = blocks.sort_by("line")
    return _judged(blocks, verdicts, _cut(found, verdicts, ended=body.ended), max_accounts=max_accounts)


def columnar(found: Rows, terms: Terms) -> tuple[pa.Table, Places]:
    """The blocks of a stretch that are of the plain kind, and the first rows of the others."""
    blocks = found.blocks[interval_rows.well_ordered(found)]
    while len(blocks):
        headers, legal = interval_headers.read(found, blocks, terms)
        if legal.all():
            readings, legal = interval_readings.read(found, blocks, headers.kinds(), zone=terms.zone)
            if readings is not None:
                columns = headers.columns(stamp=terms.stamp) | readings.columns()
                columns["line"] = pa.array((blocks + found.line).astype(np.int32))
                table = pa.table([columns[name] for name in FIELDS.names], FIELDS)
                return table, np.setdiff1d(found.blocks, blocks, assume_unique=True)
        blocks = blocks[legal]
    return FIELDS.empty_table(), found.blocks


def careful(found: Rows, blocks: Places, terms: Terms) -> dict[int, Verdict]:
    """The verdicts on the blocks whose first rows are given, and on what stands before the first block."""
    verdicts = {}
    ends = np.append(found.blocks, len(found.begins))
    strays = [0] if ends[0] > 0 else []
    for first in (*strays, *blocks.tolist()):
        end = int(ends[np.searchsorted(ends, first, side="right")])
        rows = [found.row(number) for number in range(first, end)]
        verdicts[found.line + first] = interval_blocks.read(rows, line=found.line + first, terms=terms)
    return verdicts


def _rescued(verdicts: Iterable[Verdict]) -> pa.Table:
    """The blocks that are good although the columnar path would not take them."""
    return pa.Table.from_pylist([verdict.block for verdict in verdicts if verdict.block], FIELDS)


def _cut(found: Rows, verdicts: dict[int, Verdict], *, ended: bool) -> Fault | None:
    """The fault of a file that was cut off, if the last block of its last stretch shows that it was."""
    verdict = verdicts.get(found.line + int(found.blocks[-1])) if len(found.blocks) else None
    if verdict is None or not verdict.faults:
        return None
    last = found.row(-1).decode(errors="replace")
    return interval_whole.cut_short(
        verdict, ended=ended, line=found.line + len(found.begins) - 1, column=len(last) + 1
    )


def _judged(
    blocks: pa.Table, verdicts: dict[int, Verdict], cut: Fault | None, *, max_accounts: int
) -> Parsed:
    """What remains when the file is looked at as a whole."""
    bad = {line: verdict for line, verdict in verdicts.items() if verdict.faults}
    told: dict[int, Sequence[Fault]] = {line: verdict.faults for line, verdict in bad.items()}
    if cut is not None:
        told[max(bad)] = interval_whole.besides(cut, told[max(bad)])
    faults = [fault for some in told.values() for fault in some]
    rejected = set(bad)
    for key, lines in interval_whole.twice(blocks, bad.items()).items():
        faults += [interval_whole.block_twice(key, line, lines) for line in lines]
        rejected |= set(lines)
    too_many = interval_whole.too_many_accounts(blocks, bad.values(), most=max_accounts)
    of_file = [fault for fault in (too_many, cut) if fault]
    in_order = of_file + sorted(faults, key=lambda fault: (fault.line or 0, fault.column or 0))
    if of_file:
        blocks = FIELDS.empty_table()
    elif len(rejected) > len(bad):
        blocks = blocks.filter(pa.array(~np.isin(np.asarray(blocks["line"]), sorted(rejected))))
    return Parsed(blocks=blocks, faults=tuple(in_order), rejected=len(rejected), refused=bool(of_file))
