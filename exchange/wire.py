"""The bytes of a connection that speaks AES-GCM, moved with few copies: the library copies each of them ten times.

What is decrypted here and is a channel's data goes straight to its session; every other packet is handed to the
library, as it came. What is sent goes out in one call, however many packets it is. With other ciphers, and
while keys are exchanged, the library does it all.
"""

import os
from collections.abc import Sequence
from time import monotonic

import asyncssh
from asyncssh.crypto.cipher import GCMCipher
from asyncssh.encryption import Encryption, GCMEncryption
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_DATA = 94  # SSH_MSG_CHANNEL_DATA and the one beside it: RFC 4254, section 5.2
_EXTENDED_DATA = 95
_LAST_OF_LOGIN = 79  # RFC 4251, section 7: what is above it is said by who has logged in
_BLOCK = 16  # bytes; of the tag, too
_PIECE = 48 * 1024  # bytes that the library is given at once: at each packet it moves all that are left
_SMALL = 1024  # bytes of a message, below which it is not kept by itself
_OFTEN = 0.1  # seconds between two words to the library that the client is there

# What is used here and has no public name, by where it is made.
_KEPT = {
    asyncssh.connection.SSHConnection.__init__: (
        "_inpbuf", "_packet", "_recv_handler", "_recv_encryption", "_next_recv_encryption", "_send_encryption",
        "_recv_seq", "_send_seq", "_max_recv_pktlen", "_rekey_bytes_sent", "_rekey_time", "_compressor",
        "_decompressor", "_channels", "_auth_final", "_auth_complete", "_kex_complete",
    ),
    asyncssh.channel.SSHChannel.__init__: (
        "_conn", "_send_buf", "_send_buf_len", "_send_window", "_send_pktsize", "_send_chan", "_send_state",
        "_recv_window", "_recv_state", "_recv_buf", "_recv_paused",
    ),
    asyncssh.SSHServerConnection.create_server_channel: ("_window", "_max_pktsize", "_update_recv_pktlen"),
    GCMEncryption.__init__: ("_cipher",),
    GCMCipher.__init__: ("_key", "_iv"),
}  # fmt: skip
_CALLED = {
    asyncssh.connection.SSHConnection: (
        "_recv_packet", "_recv_pkthdr", "_recv_data", "_send", "_reset_keepalive_timer", "_update_recv_pktlen",
    ),
    asyncssh.channel.SSHChannel: ("_flush_send_buf", "_accept_data"),
    asyncssh.SSHServerChannel: ("_process_env_request",),
}  # fmt: skip

Bytes = bytes | bytearray | memoryview


class Gcm(Encryption):
    """One direction, until keys are exchanged anew. RFC 5647: a packet's length is sent as it is; the tag covers it."""

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._aes = AESGCM(key)
        self._fixed = iv[:4]
        self._count = int.from_bytes(iv[4:])
        self.opened: bytes | None = None  # the packet that the library is about to be given

    @classmethod
    def instead_of(cls, found: Encryption | None) -> Encryption | None:
        """The same, goes on where the library's stands; other ciphers stay."""
        if isinstance(found, GCMEncryption):
            cipher = found._cipher  # noqa: SLF001 - asserted at start-up
            return cls(cipher._key, cipher._iv)  # noqa: SLF001 - the same
        return found

    def seal(self, header: bytes, packet: bytes) -> bytes:
        """The packet encrypted, and the tag behind it."""
        sealed = self._aes.encrypt(self._fixed + self._count.to_bytes(8), packet, header)
        self._count = (self._count + 1) & 0xFFFFFFFFFFFFFFFF
        return sealed

    def open(self, header: Bytes, sealed: Bytes) -> bytes | None:
        """The packet that was sealed; None: it was not by who has the key."""
        try:
            packet = self._aes.decrypt(self._fixed + self._count.to_bytes(8), sealed, header)
        except InvalidTag:
            return None
        self._count = (self._count + 1) & 0xFFFFFFFFFFFFFFFF
        return packet

    # ── As the library asks ──────────────────────────────────────────────────────────────────────

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        return header + self.seal(header, packet), b""

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        return first_block, first_block[:header_len]

    def decrypt_packet(
        self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes
    ) -> bytes | None:
        if self.opened is not None:
            packet, self.opened = self.opened, None
            return packet
        return self.open(first[:header_len], first[header_len:] + rest + mac)


class Wire(asyncssh.SSHServerConnection):
    """The library's connection, but for how bytes come and go."""

    _heard = 0.0  # when something came, to a tenth of a second

    @property
    def is_over(self) -> bool:
        """Nothing further is to be read."""
        return False

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        super().send_newkeys(k, h)
        self._send_encryption = Gcm.instead_of(self._send_encryption)
        self._next_recv_encryption = Gcm.instead_of(self._next_recv_encryption)

    def create_server_channel(
        self, encoding: str | None = "", errors: str = "", window: int = 0, max_pktsize: int = 0
    ) -> "Channel":
        """For bytes: there is nothing here that speaks text."""
        most = max_pktsize or self._max_pktsize
        self._update_recv_pktlen(most)
        return Channel(
            self, self._loop, False, False, False, 0, 0, None, errors or "strict", window or self._window, most
        )  # fmt: skip

    # ── What comes ───────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        rest = self._read(data)
        for at in range(0, len(rest), _PIECE):
            if self.is_over:
                return
            super().data_received(rest[at : at + _PIECE], datatype)

    def _read(self, data: bytes) -> bytes:
        """Work off all packets that are whole. What is left is the library's."""
        if self._opener() is None or not self._take_back():
            return data
        if (now := monotonic()) > self._heard + _OFTEN:  # to set a timer takes as long as a packet
            self._heard = now
            self._reset_keepalive_timer()
        data, self._inpbuf = self._inpbuf + data if self._inpbuf else data, b""
        view, at = memoryview(data), 0
        while at < len(data) and not self.is_over:
            gcm = self._opener()
            stop = at + 4 + int.from_bytes(view[at : at + 4]) + _BLOCK
            if gcm is None or not self._between_packets or stop - at > self._max_recv_pktlen:
                return data[at:]
            if len(data) - at < 4 + _BLOCK or stop > len(data):
                self._inpbuf = data[at:]
                return b""
            packet = gcm.open(view[at : at + 4], view[at + 4 : stop])
            if packet is None:
                return data[at:]  # which the library cannot open either: it says so to the client
            if not self._took(packet):
                gcm.opened = packet
                super().data_received(data[at:stop])
            at = stop
        return b""

    def _opener(self) -> Gcm | None:
        return found if isinstance(found := self._recv_encryption, Gcm) else None

    def _take_back(self) -> bool:
        """Have the packet again that the library has begun with. False: it is at work, and all has to wait."""
        if self._recv_handler == self._recv_packet:
            self._inpbuf, self._packet = self._packet + self._inpbuf, b""
            self._recv_handler = self._recv_pkthdr
        return bool(self._recv_handler == self._recv_pkthdr)

    @property
    def _between_packets(self) -> bool:
        return bool(self._recv_handler == self._recv_pkthdr) and not self._inpbuf

    def _took(self, packet: bytes) -> bool:
        """Give a channel's data to its session. False: the packet is something else, or not as it should be."""
        if len(packet) < _BLOCK or packet[1] != _DATA or not self._auth_complete or self._decompressor:
            return False
        size, stop = int.from_bytes(packet[6:10]), len(packet) - packet[0]
        if stop != 10 + size:
            return False
        channel = self._channels.get(int.from_bytes(packet[2:6]))
        if not isinstance(channel, Channel) or not channel.takes(size):
            return False
        self._auth_final = True
        self._recv_seq = (self._recv_seq + 1) & 0xFFFFFFFF
        try:
            channel._accept_data(memoryview(packet)[10:stop])  # type: ignore[arg-type]  # noqa: SLF001 - as bytes
        except Exception:  # noqa: BLE001 - as the library does
            self.internal_error()
        return True

    # ── What goes ────────────────────────────────────────────────────────────────────────────────

    def send_packet(
        self, pkttype: int, *args: bytes, handler: asyncssh.packet.SSHPacketLogger | None = None
    ) -> None:
        if pkttype > _LAST_OF_LOGIN and self.flows:
            self._send(b"".join(self.sealed(pkttype, args)))
        else:
            super().send_packet(pkttype, *args, handler=handler)

    @property
    def flows(self) -> bool:
        """Whether packets can be sealed here: nothing but AES-GCM is between us, and keys are not yet too old."""
        return (
            isinstance(self._send_encryption, Gcm)
            and self._auth_complete
            and self._kex_complete
            and not self._compressor
            and self._rekey_bytes_sent < self._rekey_bytes
            and not (self._rekey_seconds and monotonic() >= self._rekey_time)
        )

    def sealed(self, pkttype: int, pieces: Sequence[Bytes]) -> tuple[bytes, bytes]:
        """A packet as it goes out, its length and the rest. It is counted as sent: it must be, and in this order."""
        gcm = self._send_encryption
        assert isinstance(gcm, Gcm)
        padding = -(2 + sum(map(len, pieces))) % _BLOCK
        padding += _BLOCK if padding < 4 else 0  # RFC 4253, section 6
        packet = b"".join((bytes((padding, pkttype)), *pieces, os.urandom(padding)))
        header = len(packet).to_bytes(4)
        self._send_seq = (self._send_seq + 1) & 0xFFFFFFFF
        self._rekey_bytes_sent += len(packet)
        return header, gcm.seal(header, packet)

    def send_all(self, packets: Sequence[bytes]) -> None:
        """Hand what is sealed to the network in one call."""
        if self._transport:
            self._transport.writelines(packets)


class Channel(asyncssh.SSHServerChannel[bytes]):
    """The library's channel. What waits to be sent is not copied into it."""

    _conn: Wire
    _send_buf: list[tuple[bytearray | memoryview, int | None]]  # type: ignore[assignment]
    _recv_buf: list[tuple[Bytes, int | None]]  # type: ignore[assignment]

    def takes(self, size: int) -> bool:
        """Whether so many bytes may come now."""
        return self._recv_state == "open" and size <= self._recv_window

    def _accept_data(self, data: bytes | bytearray, datatype: int | None = None) -> None:
        """Small messages that have to wait are put together: to hand them on takes the square of their number."""
        last, kind = self._recv_buf[-1] if self._recv_buf else (b"", None)
        if isinstance(last, bytearray) and kind == datatype and len(data) < _SMALL:
            last += data
            self._recv_window -= len(data)
        else:
            kept = bytearray(data) if self._recv_paused and len(data) < _SMALL else data
            super()._accept_data(kept, datatype)  # type: ignore[arg-type] # as bytes

    def _process_env_request(self, packet: asyncssh.packet.SSHPacket) -> bool:
        return False  # the library would keep them all

    def send(self, pieces: Sequence[bytes], kind: int | None = None) -> None:
        """Send these one after another, as data, or as data of a kind. Nothing happens if the channel is closing."""
        if self._send_state == "open":
            self._send_buf += [(memoryview(piece), kind) for piece in pieces]
            self._send_buf_len += sum(map(len, pieces))
            self._flush_send_buf()

    def _flush_send_buf(self) -> None:
        packets: list[bytes] = []
        number = self._send_chan  # None: the connection is gone
        while self._send_buf and self._send_window and number is not None and self._conn.flows:
            kind, pieces, size = self._next_pieces()
            words = [number] if kind is None else [number, kind]
            head = [word.to_bytes(4) for word in (*words, size)]
            packets += self._conn.sealed(_DATA if kind is None else _EXTENDED_DATA, [*head, *pieces])
        if packets:
            self._conn.send_all(packets)
        if (
            self._send_buf and self._send_window
        ):  # the library's: keys are exchanged, or there is another cipher
            self._send_buf = [(bytearray(piece), kind) for piece, kind in self._send_buf]
        super()._flush_send_buf()  # which sends what is left, and sees to how much may wait and to the end

    def _next_pieces(self) -> tuple[int | None, list[Bytes], int]:
        """What goes into one packet: its kind, the pieces and their bytes together."""
        room = min(self._send_window, self._send_pktsize)
        pieces: list[Bytes] = []
        kind, size = self._send_buf[0][1], 0
        while self._send_buf and self._send_buf[0][1] == kind and size < room:
            piece = self._send_buf[0][0]
            if len(piece) > room - size:
                self._send_buf[0] = (piece[room - size :], kind)
                piece = piece[: room - size]
            else:
                del self._send_buf[0]
            pieces.append(piece)
            size += len(piece)
        self._send_buf_len -= size
        self._send_window -= size
        return kind, pieces, size


def require_hooks() -> None:
    """Raise RuntimeError if the library is not the one that this was written against."""
    for made, kept in _KEPT.items():
        for name in kept:
            if name not in made.__code__.co_names:
                raise RuntimeError(f"asyncssh {asyncssh.__version__} keeps no {name} in {made.__qualname__}")
    for kind, called in _CALLED.items():
        for name in called:
            if not callable(getattr(kind, name, None)):
                raise RuntimeError(f"asyncssh {asyncssh.__version__} has no {kind.__name__}.{name}")
