"""Files that partners are writing: which bytes have come, and whether any is missing."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import monotonic

from exchange import namespace
from exchange.namespace import Folder, Found
from exchange.quota import NoRoom, Room
from exchange.ranges import Ranges
from exchange.sftp_v3 import Attributes, Code, Flag, Refusal

_RECENT = 60.0  # seconds
_MAX_RECENT = 10_000  # files
_MAX_RANGES = 4_096  # pieces that do not touch; clients that pipeline leave a few dozen at a time


class Claims:
    """The files that some session has in hand, so that no two change the same one. Event loop only."""

    def __init__(self) -> None:
        self._taken: set[tuple[str, str, str]] = set()

    def take(self, partner_id: str, folder: str, name: str) -> None:
        """Raises Refusal if another upload, rename or removal has the file in hand."""
        key = (partner_id, folder, name)
        if key in self._taken:
            raise Refusal(Code.FAILURE, f"{name}: an upload of this name is under way; let it end first")
        self._taken.add(key)

    def release(self, partner_id: str, folder: str, name: str) -> None:
        self._taken.remove((partner_id, folder, name))

    @contextmanager
    def held(self, partner_id: str, folder: str, *names: str) -> Iterator[None]:
        """All of `names`, or Refusal and none of them."""
        taken: list[str] = []
        try:
            for name in dict.fromkeys(names):
                self.take(partner_id, folder, name)
                taken.append(name)
            yield
        finally:
            for name in taken:
                self.release(partner_id, folder, name)


class Recent:
    """What partners have uploaded in the last minute. Event loop only.

    Many clients ask for a file's size, or set its times, once they have sent it, some over another
    connection, and take "no such file" for a failure; by then the hub may have taken the file in.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._files: dict[tuple[str, str, str], tuple[float, Attributes]] = {}  # the oldest first

    def add(self, partner_id: str, folder: str, name: str, attributes: Attributes) -> None:
        self.take(partner_id, folder, name)
        self._files[partner_id, folder, name] = (self._clock() + _RECENT, attributes)
        for key, (until, _) in list(islice(self._files.items(), 2)):  # two go for each one that comes
            if until <= self._clock() or len(self._files) > _MAX_RECENT:
                del self._files[key]

    def find(self, partner_id: str, folder: str, name: str) -> Attributes | None:
        until, attributes = self._files.get((partner_id, folder, name), (0.0, None))
        return attributes if until > self._clock() else None

    def take(self, partner_id: str, folder: str, name: str) -> Attributes | None:
        """What is known of a file that goes away or gets another name."""
        found = self.find(partner_id, folder, name)
        self._files.pop((partner_id, folder, name), None)
        return found


class Upload:
    """A file that is open for writing. Its claim is the session's to release."""

    __slots__ = (
        "_appends",
        "_fd",
        "_limit",
        "_reach",
        "_room",
        "_size",
        "_written",
        "began",
        "folder",
        "name",
        "resumed_at",
    )

    def __init__(
        self, *, folder: Folder, name: str, fd: int, size: int, appends: bool, limit: int, room: Room
    ) -> None:
        self.folder = folder
        self.name = name
        self.resumed_at = size  # bytes that were there before
        self.began = monotonic()
        self._fd = fd
        self._limit = limit
        self._room = room
        self._size = size  # on disk
        self._appends = appends
        self._written = Ranges()
        self._written.add(0, size)
        self._reach = size  # one past the last byte the client meant to write, written or not

    def write(self, offset: int, data: memoryview, *, counted: bool = False) -> None:
        """Write at `offset`. What fails, or is refused, is missing from then on.

        Raises NoRoom, and changes nothing, if there seems to be none and that was not `counted` just now.
        On the event loop: the bytes go to the page cache, a thread's hop would cost a third of the speed.
        """
        if not data:
            return
        if self._appends and offset in self._written:
            # The protocol says: to the end, whatever the offset. Most clients give true offsets all the
            # same, and those show a hole; only bytes that would cover others are taken by the word.
            offset = self._reach
        stop = offset + len(data)
        has_room = stop <= self._size or stop > self._limit or self._room.has(stop - self._size)
        if not has_room and not counted:
            raise NoRoom
        self._reach = max(self._reach, stop)
        if not has_room:
            raise self._room.refusal(self.name, stop - self._size)
        if stop > self._limit:
            raise Refusal(Code.FAILURE, f"{self.name}: a file may have at most {self._limit} bytes")
        if len(self._written) >= _MAX_RANGES:
            raise Refusal(Code.FAILURE, f"{self.name}: too many pieces with bytes missing between them")
        while data:
            count = os.pwrite(self._fd, data, offset)
            self._written.add(offset, offset + count)
            offset += count
            data = data[count:]
            if offset > self._size:
                self._room.take(offset - self._size)
                self._size = offset

    @property
    def attributes(self) -> Attributes:
        return namespace.file_attributes(self.folder, os.fstat(self._fd))

    @property
    def statvfs(self) -> os.statvfs_result:
        return os.statvfs(self._fd)

    def gap(self) -> tuple[int, int] | None:
        """The first bytes that are missing, or None if the file is as the client meant it."""
        return self._written.gap(self._reach)

    def sync(self) -> None:
        os.fsync(self._fd)

    def finish(self) -> None:
        """Close a file that is whole."""
        os.close(self._fd)

    def give_up(self) -> int:
        """Close a file that is not whole, cut before its first hole. Returns the bytes that are left.

        So what lies on disk never has a hole when it is resumed.
        """
        try:
            os.ftruncate(self._fd, self._written.prefix)
        finally:
            os.close(self._fd)
        return self._written.prefix


def require_openable(found: Found | None, name: str, flags: Flag) -> None:
    """Refuse to open for writing what is not there, or may not be written now. `found`: what is there.

    A finished file under a temporary name may be: its client goes on with it, or sends it again.
    """
    if found is None:
        if not flags & Flag.CREAT:
            raise Refusal(Code.NO_SUCH_FILE, "there is no such file")
        return
    if flags & Flag.CREAT and flags & Flag.EXCL:
        raise Refusal(Code.FAILURE, f"{name}: there is such a file already")
    if found.whole and namespace.is_agreed(name):
        raise Refusal(Code.FAILURE, f"{name} is still being taken in; wait for its receipt")


def open_part(path: Path, folder: Folder, name: str, flags: Flag, *, limit: int, room: Room) -> Upload:
    """Begin an upload in the folder that is `path` on disk, or go on with the unfinished one there."""
    part = path / namespace.part_name(name)
    fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        if flags & Flag.TRUNC:
            os.ftruncate(fd, 0)
        size = _without_holes(fd)
    except BaseException:
        os.close(fd)
        raise
    appends = bool(flags & Flag.APPEND)
    return Upload(folder=folder, name=name, fd=fd, size=size, appends=appends, limit=limit, room=room)


def _without_holes(fd: int) -> int:
    """The file's size, after cutting it before its first hole.

    There is none unless the hub was killed while bytes came out of order. The file system tells holes
    by its blocks; one within a block is found by what the content says of itself.
    """
    size = os.fstat(fd).st_size
    hole = os.lseek(fd, 0, os.SEEK_HOLE) if size else 0
    if hole < size:
        os.ftruncate(fd, hole)
    return min(hole, size)
