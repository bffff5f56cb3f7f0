"""Reading an LSE interval file: good blocks as columns, and the faults of the others.

Source: formats.md, section 1. The file is taken in stretches of whole blocks, and each stretch by
columns: rows and their order, then the header rows, then the data rows. A block that is not of the
plain kind at any of these goes to `interval_blocks`, which reads it field by field.
"""

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from schemas import interval_headers, interval_readings, interval_rows
from schemas.block import FIELDS
from schemas.fault import Fault
from schemas.interval_rows import Places, Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a file holds: its good blocks as a table of `FIELDS`, and what is wrong with the others."""

    blocks: pa.Table
    faults: tuple[Fault, ...]
    rejected: int  # blocks refused
    refused: bool  # the file is refused whole: there are no blocks, then


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a file is read by, besides its bytes."""

    stamp: str  # of the file's name, for blocks that have none
    zone: ZoneInfo
    channels: frozenset[str]
    latest: date  # the last usage day that may be in it


def parse(
    text: pa.Buffer | bytes,
    *,
    stamp: str,
    zone: ZoneInfo,
    channels: frozenset[str],
    max_accounts: int,
    latest: date,
) -> Parsed:
    """The blocks of an LSE file, and its faults."""
    terms = Terms(stamp=stamp, zone=zone, channels=channels, latest=latest)
    tables = []
    for found in interval_rows.segments(pa.py_buffer(text)):
        table, bad = columnar(found, terms)
        tables.append(table)
    blocks = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return Parsed(blocks=blocks, faults=(), rejected=0, refused=False)


def columnar(found: Rows, terms: Terms) -> tuple[pa.Table, Places]:
    """The blocks of a stretch that are of the plain kind, and the first rows of the others."""
    blocks = found.blocks[interval_rows.well_ordered(found)] if len(found.blocks) else found.blocks
    while len(blocks):
        headers, legal = interval_headers.read(found, blocks, channels=terms.channels, latest=terms.latest)
        if legal.all():
            readings, legal = interval_readings.read(found, blocks, headers.kinds(), zone=terms.zone)
            if readings is not None:
                columns = headers.columns(stamp=terms.stamp) | readings.columns()
                columns["line"] = pa.array((blocks + found.line).astype(np.int32))
                table = pa.table([columns[name] for name in FIELDS.names], FIELDS)
                return table, np.setdiff1d(found.blocks, blocks)
        blocks = blocks[legal]
    return FIELDS.empty_table(), found.blocks
