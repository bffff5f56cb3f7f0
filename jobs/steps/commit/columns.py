"""Blocks with what a load adds to them: the columns of a lake file."""

from datetime import datetime

import numpy as np
import pyarrow as pa

from jobs.rules import versions
from schemas import block
from schemas.drop import Drop

AFFIRMED = ("account", "channel", "version", "stamp")  # of the versions that a drop sent again unchanged


def of_lake(
    rows: pa.Table,
    version: versions.Ints,
    outranked: versions.Bools,
    *,
    drop: Drop,
    edc: str,
    on_time: bool,
    now: datetime,
) -> pa.Table:
    """Blocks as the lake holds them (schemas.block.LAKE)."""
    count = len(rows)

    def word(text: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(np.zeros(count, dtype=np.int32), [text])

    added = {
        "edc": word(edc),
        "version": pa.array(version, pa.int32()),
        "received_at": pa.repeat(pa.scalar(drop.arrived_at, block.LAKE.field("received_at").type), count),
        "loaded_at": pa.repeat(pa.scalar(now, block.LAKE.field("loaded_at").type), count),
        "drop_id": word(drop.id),
        "on_time": pa.repeat(on_time, count),
        "outranked": pa.array(outranked, pa.bool_()),
    }
    arrays = [added[f.name] if f.name in added else rows[f.name] for f in block.LAKE]
    return pa.Table.from_arrays(arrays, schema=block.LAKE)
