"""Shares: what of a lake file is for whom, rendered, and ready to be appended to outbound files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import block, interval_text

# Which blocks an outbound file holds, in its order.
CONTENTS = pa.schema(
    [
        pa.field("account", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("usage_date", pa.date32()),
        pa.field("version", pa.int32()),
        pa.field("lake_file_id", pa.int64()),
    ]
)
_STRETCH = 8_192  # blocks that are rendered at a time: 8 MB of text
# What is read of a lake file to publish it.
COLUMNS = tuple(
    name
    for name in (*interval_text.WRITTEN, "estimated", "version", "on_time", "outranked")
    if name in block.LAKE.names
)


@dataclass(frozen=True, slots=True)
class To:
    """Whom an outbound file is for, and the name of the one it replaces."""

    egs: str
    replaces: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Blocks of one lake file for one outbound file: their LSE text, and which they are (`CONTENTS`)."""

    to: To
    text: memoryview
    contents: pa.RecordBatch
    day: date
    intervals: int
    estimated: int
    versions_above_1: int


def shares(
    rows: pa.Table,
    owner: npt.NDArray[np.int32],
    to: Sequence[To],
    *,
    row: npt.NDArray[np.int64] | None = None,
    day: date,
    lake_file_id: int,
) -> Iterator[list[Share]]:
    """Share out rows of one lake file (`COLUMNS`), a stretch at a time: `owner` gives each row's place in `to`,
    or a negative; of all rows, or of those that `row` names. Of a stretch no two shares are for the same.
    """
    order = np.argsort(owner, kind="stable")
    order = order[np.searchsorted(owner[order], 0) :]
    if not len(order):
        return
    owner, order = owner[order], order if row is None else row[order]
    spelt = interval_text.spell(with_day(rows, day))
    intervals, estimated = np.asarray(pc.binary_length(rows["status"])), np.asarray(rows["estimated"])
    above_1 = np.asarray(rows["version"]) > 1
    for start in range(0, len(order), _STRETCH):
        places, owners = order[start : start + _STRETCH], owner[start : start + _STRETCH]
        rendered = spelt.text(places)
        text = memoryview(rendered.text)
        contents = _contents(rows, places, day=day, lake_file_id=lake_file_id)
        begins = np.flatnonzero(np.diff(owners, prepend=-1)).tolist()
        yield [
            Share(
                to=to[owners[begin]],
                text=text[rendered.offsets[begin] : rendered.offsets[end]],
                contents=contents.slice(begin, end - begin),
                day=day,
                intervals=int(intervals[places[begin:end]].sum()),
                estimated=int(estimated[places[begin:end]].sum()),
                versions_above_1=int(above_1[places[begin:end]].sum()),
            )
            for begin, end in pairwise([*begins, len(places)])
        ]


def _contents(
    rows: pa.Table, places: npt.NDArray[np.int64], *, day: date, lake_file_id: int
) -> pa.RecordBatch:
    chosen = rows.select(["account", "channel", "version"]).take(places)
    columns = {
        "account": chosen["account"].cast(pa.string()),
        "channel": chosen["channel"].cast(pa.string()),
        "usage_date": pa.repeat(pa.scalar(day, pa.date32()), len(places)),
        "version": chosen["version"],
        "lake_file_id": pa.repeat(pa.scalar(lake_file_id, pa.int64()), len(places)),
    }
    (batch,) = pa.table(columns, schema=CONTENTS).combine_chunks().to_batches()
    return batch


def with_day(rows: pa.Table, day: date) -> pa.Table:
    """Rows of a lake file with the usage day that its partition names."""
    return rows.append_column("usage_date", pa.repeat(pa.scalar(day, pa.date32()), len(rows)))
