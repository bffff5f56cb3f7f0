"""The SFTP protocol, version 3, on the wire: what requests hold and what answers look like.

Source: draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL file for the extensions. Integers are
big-endian; a string is its length in 4 bytes and then its bytes; a packet is its length in 4 bytes,
its type in one, and (but for INIT and VERSION) the id of the request in 4. No disk, no network.
"""

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag

VERSION = 3
LONGEST_PATH = 4096  # bytes, as everywhere
MAX_PACKET = 256 * 1024  # as OpenSSH: what an answer is never longer than
MAX_TAKEN = MAX_PACKET + 8 * 1024  # a client's packet may be a little longer than it should be
_SMALL = 1024  # bytes of a message
_TOGETHER = 4096  # bytes of small ones
MAX_DATA = MAX_PACKET - 1024  # the most bytes of one READ's answer, and the most we ask for in a WRITE


class Kind(IntEnum):
    """Types of packets."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Code(IntEnum):
    """What a STATUS answer says."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    OP_UNSUPPORTED = 8


class Flag(IntFlag):
    """How an OPEN wants the file."""

    READ = 0x01
    WRITE = 0x02
    APPEND = 0x04
    CREAT = 0x08
    TRUNC = 0x10
    EXCL = 0x20


class Refusal(Exception):  # noqa: N818 - an answer, not an error of the hub's
    """A request is answered with this code, and these words for whoever reads the client's log."""

    def __init__(self, code: Code, words: str) -> None:
        super().__init__(code, words)
        self.code = code
        self.words = words


class Malformed(Exception):  # noqa: N818 - as Refusal
    """A packet ends before what its type says it holds."""


class Fields:
    """Reads a packet's fields one after another. Bytes that follow the last one are not looked at:

    some clients (rclone 1.60) send WRITE packets that are longer than what they hold.
    """

    __slots__ = ("_at", "_packet")

    def __init__(self, packet: bytes, at: int = 0) -> None:
        self._packet = packet
        self._at = at

    def __bool__(self) -> bool:
        return self._at < len(self._packet)

    def u32(self) -> int:
        return self._integer(4)

    def u64(self) -> int:
        return self._integer(8)

    def string(self) -> bytes:
        return bytes(self.view())

    def view(self) -> memoryview:
        """A string, without copying it."""
        length = self._integer(4)
        return memoryview(self._packet)[self._move(length) : self._at]

    def _integer(self, size: int) -> int:
        start = self._move(size)
        return int.from_bytes(self._packet[start : self._at])

    def _move(self, size: int) -> int:
        start = self._at
        if start + size > len(self._packet):
            raise Malformed(f"the packet ends {start + size - len(self._packet)} bytes too early")
        self._at = start + size
        return start


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What is told of a file or folder. Owner and group are the same for all: they mean nothing here."""

    size: int  # bytes
    mode: int  # type and permissions, as st_mode
    mtime: int  # seconds since 1970

    def encode(self) -> bytes:
        # 0x0f: size, owner and group, permissions and times follow
        return struct.pack(">IQIIIII", 0x0F, self.size, 0, 0, self.mode, self.mtime, self.mtime)


def string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def status(request: int, code: Code, words: str) -> bytes:
    return _packet(Kind.STATUS, struct.pack(">II", request, code) + string(words.encode()) + string(b"en"))


def handle(request: int, value: bytes) -> bytes:
    return _packet(Kind.HANDLE, struct.pack(">I", request) + string(value))


def data(request: int, value: bytes) -> bytes:
    return struct.pack(">IBII", 9 + len(value), Kind.DATA, request, len(value)) + value


def attributes(request: int, value: Attributes) -> bytes:
    return _packet(Kind.ATTRS, struct.pack(">I", request) + value.encode())


def names(request: int, entries: Sequence[bytes]) -> bytes:
    """Entries as `name` makes them."""
    return _packet(Kind.NAME, struct.pack(">II", request, len(entries)) + b"".join(entries))


def name(filename: bytes, longname: bytes, value: bytes) -> bytes:
    """One entry of a NAME answer. `value` is encoded attributes."""
    return string(filename) + string(longname) + value


def no_attributes() -> bytes:
    """For a REALPATH's answer, which names a path and promises nothing."""
    return struct.pack(">I", 0)


def extended(request: int, value: bytes) -> bytes:
    return _packet(Kind.EXTENDED_REPLY, struct.pack(">I", request) + value)


def version(extensions: Sequence[tuple[bytes, bytes]]) -> bytes:
    pairs = b"".join(string(key) + string(value) for key, value in extensions)
    return _packet(Kind.VERSION, struct.pack(">I", VERSION) + pairs)


def _packet(kind: Kind, body: bytes) -> bytes:
    return struct.pack(">IB", 1 + len(body), kind) + body


class Packets:
    """Cuts what comes over a channel into packets. An SSH message may hold part of one, or many."""

    __slots__ = ("_chunks", "_length", "size")

    def __init__(self) -> None:
        self._chunks: deque[memoryview | bytearray] = deque()
        self._length: int | None = None  # of the packet that is coming
        self.size = 0  # bytes that wait here

    def add(self, chunk: bytes) -> None:
        """Small ones are put together: kept by itself, a message of a byte takes hundreds."""
        last = self._chunks[-1] if self._chunks else None
        if len(chunk) >= _SMALL:
            self._chunks.append(memoryview(chunk))
        elif isinstance(last, bytearray) and len(last) < _TOGETHER:
            last += chunk
        else:
            self._chunks.append(bytearray(chunk))
        self.size += len(chunk)

    @property
    def may_be_taken(self) -> bool:
        """Whether `take` can tell more than it could: the next packet, or how long it is."""
        return self.size >= (self._length or 4)

    def take(self) -> bytes | None:
        """The next packet without its length, or None while it has not come as a whole.

        Raises Malformed for a packet that is empty or too long; nothing after it can be made out.
        """
        if self._length is None:
            if self.size < 4:
                return None
            self._length = int.from_bytes(self._pull(4))
            if not 5 <= self._length <= MAX_TAKEN:
                raise Malformed(f"a packet of {self._length} bytes; wanted: 5 to {MAX_TAKEN}")
        if self.size < self._length:
            return None
        packet = self._pull(self._length)
        self._length = None
        return packet

    def _pull(self, count: int) -> bytes:
        pieces: list[memoryview | bytearray] = []
        self.size -= count
        while count:
            chunk = self._chunks.popleft()
            if len(chunk) > count:
                self._chunks.appendleft(chunk[count:])
                chunk = chunk[:count]
            pieces.append(chunk)
            count -= len(chunk)
        return b"".join(pieces)
