"""The yardstick: loading a bucket with nothing but the unavoidable, as fast as a script can.

    python tests/bench/bare.py FILE.lse OUT_DIR

It reads an LSE file, hashes it, packs it into an archive, splits it, parses it with pyarrow and writes the
Parquet file that the hub would write: the same columns, by account, zstd, row groups of 5,000. Both files are
made durable. It believes every byte: nothing is checked, nothing is versioned, nobody is told. It takes files
of one usage day only, with LF, five rows a block and no comma in a row 00000003, which is how
`meterhub sample-night` writes them.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from isal import igzip
from pyarrow import csv

from schemas.block import LAKE, METER_FIELDS

Numbers = npt.NDArray[Any]

ROW_GROUP = 5_000
BATCH = 4_000
WORD = pa.dictionary(pa.int32(), pa.string())
# The four header rows of a block as one; what begins with _ is not kept.
HEADERS = dict.fromkeys(
    (
        *("_1", "account", "channel", "start", "_stop", "_dst", "_invalid"),
        *("_2", *METER_FIELDS[:6], "interval_seconds", "_unit", *METER_FIELDS[6:]),
        *("_3", "text"),
        *("_4", "stamp", "origin"),
    ),
    WORD,
) | {"account": pa.string(), "text": pa.string(), "interval_seconds": pa.int32()}
WORDS = [field.name for field in LAKE if field.type == WORD]


def load(source: Path, out: Path) -> Path:
    """Archive and load one file: the archive is written beside the parsing, which need not wait for it."""
    content = source.read_bytes()
    with ThreadPoolExecutor(1) as beside:
        archived = beside.submit(archive, content, out)
        table, day = parse(content)
        path = out / "lake" / f"usage_date={day}" / f"{source.stem}.parquet"
        durable(path, lambda file: write(table, file))
        archived.result()
    return path


def archive(content: bytes, out: Path) -> None:
    """Keep the file as it came, packed, under its hash."""
    digest = hashlib.sha256(content).hexdigest()
    packed = igzip.compress(content, 1)
    durable(out / "archive" / digest[:2] / f"{digest}.gz", lambda file: file.write(packed))


def parse(content: bytes) -> tuple[pa.Table, date]:
    """The blocks as columns, and their usage day."""
    octets = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(octets == ord("\n")).reshape(-1, 5)
    begins = np.append(0, ends[:-1, 4] + 1)
    head = headers(content, begins, ends)
    triplets = content.count(b",", int(ends[0, 3]), int(ends[0, 4])) // 3
    wh = np.empty((len(ends), triplets), np.int32)
    status = np.empty((len(ends), triplets), np.uint8)
    for at in range(0, len(ends), BATCH):  # so many that what is worked on stays in the processor's cache
        some = slice(at, at + BATCH)
        stretch = slice(int(begins[at]), int(ends[some][-1, 4]))
        intervals(octets[stretch], wh[some], status[some])
    day = datetime.strptime(head["start"][0].as_py()[:8], "%Y%m%d").replace(tzinfo=UTC).date()
    return by_account(head, wh, status), day


def headers(content: bytes, begins: Numbers, ends: Numbers) -> pa.Table:
    """The four header rows of all blocks, read as one row a block."""
    view = memoryview(content)
    pieces = zip(begins.tolist(), (ends[:, 3] + 1).tolist(), strict=True)
    text = np.frombuffer(bytearray().join([view[begin:end] for begin, end in pieces]), np.uint8)
    inner = ends[:, :3] - begins[:, None]  # the line ends in a block's headers become commas
    lengths = ends[:, 3] + 1 - begins
    text[(inner + (np.cumsum(lengths) - lengths)[:, None]).ravel()] = ord(",")
    return csv.read_csv(
        pa.py_buffer(text),
        csv.ReadOptions(column_names=list(HEADERS), block_size=len(text) + 1),
        csv.ParseOptions(quote_char=False),
        csv.ConvertOptions(
            column_types=HEADERS, include_columns=[name for name in HEADERS if name[0] != "_"]
        ),
    )


def intervals(octets: Numbers, wh: Numbers, status: Numbers) -> None:
    """Fill in watt-hours and letters of status, a row a block, of a stretch of whole blocks."""
    n, triplets = wh.shape
    commas = np.flatnonzero(octets == ord(",")).reshape(n, -1)[:, -3 * triplets :]
    marks = np.empty((n, triplets, 2), np.int64)
    marks[:, :, 0] = commas[:, 0::3] + 1
    marks[:, :, 1] = behind = commas[:, 1::3]
    # A value, then what stands between it and the next one, which is null.
    values = pa.py_buffer(np.full(marks.size // 8 + 1, 0b01010101, np.uint8))
    texts = pa.LargeStringArray.from_buffers(
        marks.size - 1, pa.py_buffer(marks), pa.py_buffer(octets), values
    )
    kwh = np.frombuffer(texts.cast(pa.float64()).buffers()[1], np.float64)[0::2]
    wh[:] = np.rint(kwh * 1000).reshape(wh.shape)
    status[:] = octets[behind + 1]


def by_account(head: pa.Table, wh: Numbers, status: Numbers) -> pa.Table:
    """The columns of the lake, in the order of the accounts."""
    n, count = wh.shape
    marks = pa.array(np.arange(0, (n + 1) * count, count, dtype=np.int32))
    now = pa.repeat(pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC")), n)
    made = {
        "wh": pa.ListArray.from_arrays(marks, pa.array(wh.ravel()), type=LAKE.field("wh").type),
        "status": pa.StringArray.from_buffers(n, marks.buffers()[1], pa.py_buffer(status)),
        "wh_total": wh.sum(axis=1, dtype=np.int64),
        "estimated": (status == ord("E")).sum(axis=1, dtype=np.int32),
        "line": np.arange(1, 5 * n + 1, 5, dtype=np.int32),
        "edc": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), ["cnp"]),
        "version": np.ones(n, np.int32),
        "received_at": now,
        "loaded_at": now,
        "drop_id": pa.DictionaryArray.from_arrays(np.zeros(n, np.int32), ["D130902-00001"]),
        "on_time": np.ones(n, bool),
        "outranked": np.zeros(n, bool),
    }
    columns = [made[name] if name in made else head[name] for name in LAKE.names]
    blocks = pa.table(columns, schema=LAKE)
    accounts = blocks["account"]
    in_order = pc.all(pc.less_equal(accounts.slice(0, n - 1), accounts.slice(1))).as_py()
    return blocks if in_order else blocks.sort_by("account")


def write(blocks: pa.Table, file: BinaryIO) -> None:
    """The Parquet file."""
    pq.write_table(
        blocks,
        file,
        compression="zstd",
        row_group_size=ROW_GROUP,
        use_dictionary=WORDS,
        write_statistics=["account"],
        column_encoding={"wh.list.element": "BYTE_STREAM_SPLIT"},
    )


def durable(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file aside, and give it its name when it would outlive a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    with aside.open("wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


if __name__ == "__main__":
    print(load(Path(sys.argv[1]), Path(sys.argv[2])))  # noqa: T201 - a script's answer
