"""Outbound files in the making: per EGS one gzip stream and a list of the blocks in it.

Everything is staged and durable before the ledger records it, and appears in outbound/ only afterwards.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from isal import isal_zlib

from jobs.stores import files
from jobs.stores.shares import CONTENTS, Share, To, shares

_GZIP = 16 + 15
_LISTED = 200_000  # blocks that wait together to be written into the lists of their files


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
    contents_sha256: str = ""  # of the list of its blocks, once it is finished
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _file: IO[bytes] = field(init=False)
    _gzip: "isal_zlib.Compress" = field(init=False)
    _contents: pa.RecordBatchFileWriter = field(init=False)
    _unlisted: list[pa.RecordBatch] = field(default_factory=list)

    def __post_init__(self) -> None:
        files.announce(self.data)
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

    def add(self, share: Share) -> None:
        """Append blocks."""
        self._put(self._gzip.compress(share.text))
        self._unlisted.append(share.contents)
        self.blocks += share.contents.num_rows
        self.intervals += share.intervals
        self.estimated += share.estimated
        self.versions_above_1 += share.versions_above_1
        self.usage_days.add(share.day)

    def list_blocks(self) -> None:
        """Write down which blocks were added since the last time."""
        if self._unlisted:
            self._contents.write_batch(pa.concat_batches(self._unlisted))
            self._unlisted.clear()

    def finish(self) -> None:
        self._put(self._gzip.flush())
        self._file.close()
        self.list_blocks()
        self._contents.close()
        self.contents_sha256 = hashlib.sha256(self.contents.read_bytes()).hexdigest()
        files.sync_file(self.data)
        files.sync_file(self.contents)

    def _put(self, packed: bytes) -> None:
        self._file.write(packed)
        self._digest.update(packed)
        self.size += len(packed)


class Drafts:
    """The files of one publication, begun as blocks for them come. Threads write them, while whoever adds to
    them makes the next shares ready.
    """

    def __init__(self, folder: Path, threads: Executor) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self._threads = threads
        self._drafts: dict[To, Draft] = {}
        self._under_way: list[Future[None]] = []
        self._unlisted = 0

    def add(
        self,
        rows: pa.Table,
        owner: npt.NDArray[np.int32],
        to: Sequence[To],
        *,
        row: npt.NDArray[np.int64] | None = None,
        day: date,
        lake_file_id: int,
    ) -> None:
        """Share out rows of one lake file, as `shares` does."""
        for stretch in shares(rows, owner, to, row=row, day=day, lake_file_id=lake_file_id):
            self._wait()
            if self._unlisted >= _LISTED:
                self._begin(draft.list_blocks for draft in self._drafts.values())
                self._wait()
                self._unlisted = 0
            self._begin(partial(self._of(share.to).add, share) for share in stretch)
            self._unlisted += sum(share.contents.num_rows for share in stretch)

    def finish(self) -> list[Draft]:
        """Close all, durably; by EGS, those that replace nothing first."""
        self._wait()
        self._begin(draft.finish for draft in self._drafts.values())
        self._wait()
        files.sync_folder(self.folder)
        return sorted(self._drafts.values(), key=lambda draft: (draft.egs, draft.replaces))

    def _begin(self, work: Iterable[Callable[[], None]]) -> None:
        self._under_way = [self._threads.submit(one) for one in work]

    def _wait(self) -> None:
        while self._under_way:
            self._under_way.pop().result()

    def _of(self, to: To) -> Draft:
        if to not in self._drafts:
            key = f"{to.egs}.{len(self._drafts)}"
            self._drafts[to] = Draft(egs=to.egs, replaces=to.replaces, folder=self.folder, key=key)
        return self._drafts[to]


def read_contents(path: Path, columns: Sequence[str] = tuple(CONTENTS.names)) -> pa.Table:
    """Which blocks an outbound file holds, in its order (`CONTENTS`)."""
    wanted = pa.ipc.IpcReadOptions(included_fields=[CONTENTS.get_field_index(name) for name in columns])
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source, options=wanted).read_all()


def blocks_of(path: Path, account: str) -> pa.Table:
    """Of the blocks that an outbound file holds, those of one account (`CONTENTS`). Of the list no more is unpacked than
    its accounts, and the batches that hold this one: most lists hold none. It is read whole, in this thread: of
    thousands of lists, most of them small, that takes a quarter of the time that opening each takes otherwise.
    """
    packed = pa.py_buffer(path.read_bytes())
    alone = [CONTENTS.get_field_index("account")]
    named = pa.ipc.open_file(packed, options=pa.ipc.IpcReadOptions(included_fields=alone, use_threads=False))
    found = [CONTENTS.empty_table()]
    for number in range(named.num_record_batches):
        if pc.index(named.get_batch(number).column(0), account).as_py() >= 0:
            whole = pa.ipc.open_file(packed, options=pa.ipc.IpcReadOptions(use_threads=False))
            rows = pa.Table.from_batches([whole.get_batch(number)])
            found.append(rows.filter(pc.equal(rows["account"], account)))
    return pa.concat_tables(found)


class Lists:
    """Which blocks several outbound files hold of each lake file. Of their lists only where a lake file's blocks
    begin and end is kept, so that a switch holds no more of a big night than of a small one.
    """

    def __init__(self, contents: Sequence[Path]) -> None:
        self._words = [_Words(path) for path in contents]
        self._at: dict[int, list[tuple[int, int, int, int]]] = {}  # file, batch, begin, end
        for place, path in enumerate(contents):
            for number, ids in enumerate(read_contents(path, ("lake_file_id",))["lake_file_id"].chunks):
                lake_file = ids.to_numpy()
                begins = np.flatnonzero(np.diff(lake_file, prepend=-1)).tolist()
                for begin, end in pairwise([*begins, len(ids)]):  # blocks of a lake file stand together
                    self._at.setdefault(int(lake_file[begin]), []).append((place, number, begin, end))

    @property
    def lake_files(self) -> list[int]:
        """Their ids, in order."""
        return sorted(self._at)

    def of(self, lake_file_id: int) -> list[tuple[int, pa.RecordBatch]]:
        """The blocks (account, channel) of a lake file, and the place of the file that holds them."""
        return [
            (place, self._words[place].batch(number).slice(begin, end - begin))
            for place, number, begin, end in self._at[lake_file_id]
        ]


class _Words:
    """The accounts and channels of one list, read batch by batch; the last one read is kept."""

    def __init__(self, path: Path) -> None:
        wanted = [CONTENTS.get_field_index(name) for name in ("account", "channel")]
        options = pa.ipc.IpcReadOptions(included_fields=wanted)
        self._list = pa.ipc.open_file(pa.memory_map(str(path)), options=options)
        self._last: tuple[int, pa.RecordBatch] | None = None

    def batch(self, number: int) -> pa.RecordBatch:
        if self._last is None or self._last[0] != number:
            self._last = number, self._list.get_batch(number)
        return self._last[1]
