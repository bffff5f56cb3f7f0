"""Outbound files in the making: per EGS one gzip stream and a list of the blocks in it.

Everything is staged and durable before the ledger records it, and appears in outbound/ only afterwards.
"""

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from isal import isal_zlib

from jobs.stores import files
from schemas import interval_text

CONTENTS = pa.schema(
    [
        pa.field("account", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("usage_date", pa.date32()),
        pa.field("version", pa.int32()),
        pa.field("lake_file_id", pa.int64()),
    ]
)
_GZIP = 16 + 15
_SIDE_BY_SIDE = 8  # files made durable at a time: a disk takes many in little more than the time of one


@dataclass(frozen=True, slots=True)
class To:
    """Whom an outbound file is for, and the name of the one it replaces."""

    egs: str
    replaces: str = ""


@dataclass(slots=True, kw_only=True)
class Draft:
    """One outbound file while it is written. `finish` makes it durable and closes it."""

    egs: str
    replaces: str
    folder: Path
    key: str
    blocks: int = 0
    intervals: int = 0
    estimated: int = 0
    versions_above_1: int = 0
    size: int = 0  # of the gzip file
    usage_days: set[date] = field(default_factory=set)
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _file: IO[bytes] = field(init=False)
    _gzip: "isal_zlib.Compress" = field(init=False)
    _contents: pa.RecordBatchFileWriter = field(init=False)

    def __post_init__(self) -> None:
        self._file = self.data.open("wb")
        self._gzip = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _GZIP)
        self._contents = pa.ipc.new_file(
            str(self.contents), CONTENTS, options=pa.ipc.IpcWriteOptions(compression="zstd")
        )

    @property
    def data(self) -> Path:
        return self.folder / f"{self.key}.lse.gz"

    @property
    def contents(self) -> Path:
        return self.folder / f"{self.key}.arrow"

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def contents_sha256(self) -> str:
        """Of the list of its blocks, once it is finished."""
        return hashlib.sha256(self.contents.read_bytes()).hexdigest()

    def add(self, text: memoryview, rows: pa.Table, *, day: date, lake_file_id: int) -> None:
        """Append blocks: their LSE text, and their rows (of schemas.block.LAKE)."""
        self._put(self._gzip.compress(text))
        count = len(rows)
        self._contents.write_table(
            pa.table(
                {
                    "account": rows["account"].cast(pa.string()),
                    "channel": rows["channel"].cast(pa.string()),
                    "usage_date": pa.repeat(pa.scalar(day, pa.date32()), count),
                    "version": rows["version"],
                    "lake_file_id": pa.repeat(pa.scalar(lake_file_id, pa.int64()), count),
                },
                schema=CONTENTS,
            )
        )
        self.blocks += count
        self.intervals += int(pc.sum(pc.binary_length(rows["status"])).as_py())
        self.estimated += int(pc.sum(rows["estimated"]).as_py())
        self.versions_above_1 += int(pc.sum(pc.greater(rows["version"], 1)).as_py())
        self.usage_days.add(day)

    def finish(self) -> None:
        self._put(self._gzip.flush())
        self._file.close()
        self._contents.close()
        files.sync_file(self.data)
        files.sync_file(self.contents)

    def _put(self, packed: bytes) -> None:
        self._file.write(packed)
        self._digest.update(packed)
        self.size += len(packed)


class Drafts:
    """The files of one publication, begun as blocks for them come."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self._drafts: dict[To, Draft] = {}

    def add(
        self,
        rows: pa.Table,
        owner: np.ndarray[tuple[int], np.dtype[np.int32]],
        to: Sequence[To],
        *,
        day: date,
        lake_file_id: int,
    ) -> None:
        """Share out rows of one lake file: `owner` gives each row's place in `to`, or a negative."""
        order = np.argsort(owner, kind="stable")
        order = order[np.searchsorted(owner[order], 0) :]
        if len(order) == 0:
            return
        sorted_rows = rows.take(order)
        rendered = interval_text.render(with_day(sorted_rows, day))
        text = memoryview(rendered.text)
        sorted_owner = owner[order]
        starts = np.flatnonzero(np.diff(sorted_owner, prepend=-1))
        ends = np.append(starts[1:], len(order))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            draft = self._of(to[sorted_owner[start]])
            part = text[rendered.offsets[start] : rendered.offsets[end]]
            draft.add(part, sorted_rows.slice(start, end - start), day=day, lake_file_id=lake_file_id)

    def finish(self) -> list[Draft]:
        """Close all, durably; by EGS, those that replace nothing first."""
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as threads:
            for _ in threads.map(Draft.finish, self._drafts.values()):
                pass
        files.sync_folder(self.folder)
        return sorted(self._drafts.values(), key=lambda draft: (draft.egs, draft.replaces))

    def _of(self, to: To) -> Draft:
        if to not in self._drafts:
            key = f"{to.egs}.{len(self._drafts)}"
            self._drafts[to] = Draft(egs=to.egs, replaces=to.replaces, folder=self.folder, key=key)
        return self._drafts[to]


def with_day(rows: pa.Table, day: date) -> pa.Table:
    """Rows of a lake file with the usage day that its partition names."""
    return rows.append_column("usage_date", pa.repeat(pa.scalar(day, pa.date32()), len(rows)))


def read_contents(path: Path) -> pa.Table:
    """Which blocks an outbound file holds, in its order (`CONTENTS`)."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def held_by_lake_file(contents: Sequence[Path]) -> dict[int, list[tuple[int, pa.Table]]]:
    """Of several outbound files, which blocks (account, channel) they hold of each lake file, and each
    file's place among them. Only words are kept: 30 bytes a block.
    """
    held: dict[int, list[tuple[int, pa.Table]]] = {}
    for place, path in enumerate(contents):
        blocks = read_contents(path)
        for lake_file_id in pc.unique(blocks["lake_file_id"]).to_pylist():
            of_it = blocks.filter(pc.equal(blocks["lake_file_id"], lake_file_id))
            held.setdefault(lake_file_id, []).append((place, of_it.select(["account", "channel"])))
    return held
