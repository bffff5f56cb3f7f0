"""Files that partners are reading: what they were sent, and whether that is all of it."""

import os
import stat
from datetime import datetime
from pathlib import Path
from time import monotonic

from exchange import namespace
from exchange.namespace import Folder
from exchange.ranges import Ranges
from exchange.sftp_v3 import MAX_DATA, Attributes, Code, Refusal

# Pieces that do not touch, of which it is known what was sent. Who reads in more has not collected the file by them:
# no client does, and each would cost the hub memory and time.
_MAX_RANGES = 4_096


class Reading:
    """A file that is open for reading. Files are never changed where they lie, so its size stands."""

    __slots__ = (
        "_asked", "_fd", "_unnamed", "began", "folder", "inode", "name", "opened", "ranges", "size", "withdrawn",
    )  # fmt: skip

    def __init__(self, *, folder: Folder, name: str, fd: int, began: datetime, unnamed: bool = False) -> None:
        """`unnamed`: the file may have no name on disk, which means nothing then."""
        found = os.fstat(fd)
        self.folder = folder
        self.name = name
        self.began = began
        self.opened = monotonic()
        self.size = found.st_size
        self.inode = found.st_ino
        self.withdrawn = False
        self._fd = fd
        self._unnamed = unnamed
        self._asked = False
        self.ranges = Ranges()  # what was sent; its session shares it among handles of the same file

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes, and at most MAX_DATA; none at the end of the file.

        Raises Refusal once the hub has withdrawn the file, that is, unlinked it.
        """
        self._asked = True
        if not self._unnamed and os.fstat(self._fd).st_nlink == 0:
            self.withdrawn = True
            raise Refusal(
                Code.FAILURE, f"{self.name} was withdrawn; list the folder again for what takes its place"
            )
        if offset >= self.size:
            return b""
        found = os.pread(self._fd, min(length, MAX_DATA), offset)
        if len(self.ranges) >= _MAX_RANGES:
            self.ranges.forget()
        self.ranges.add(offset, offset + len(found))
        return found

    @property
    def sent(self) -> int:
        """The distinct bytes sent."""
        return self.ranges.total

    @property
    def is_complete(self) -> bool:
        """Whether every byte was sent."""
        return self._asked and self.sent == self.size

    @property
    def attributes(self) -> Attributes:
        return namespace.file_attributes(self.folder, os.fstat(self._fd))

    @property
    def statvfs(self) -> os.statvfs_result:
        return os.statvfs(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def open_reading(path: Path, folder: Folder, name: str, *, began: datetime) -> Reading:
    """Open a file of a folder that the hub writes. Raises Refusal if there is no such file."""
    if namespace.find(path, folder, name) is None:
        raise Refusal(Code.NO_SUCH_FILE, "there is no such file")
    try:
        fd = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise Refusal(Code.NO_SUCH_FILE, "there is no such file") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refusal(Code.NO_SUCH_FILE, "there is no such file")
    return Reading(folder=folder, name=name, fd=fd, began=began)
