"""The bytes of a connection: whole and in order, by whatever cipher and in whatever pieces they come."""

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncssh
import paramiko
import pytest

from doors_fixtures import SECONDS, Door, Raw, open_door, patient, string, until
from exchange import algorithms

CONTENT = os.urandom(700_001)
READ, PUT = 1, 2 | 8 | 16
both_ways = pytest.mark.parametrize(
    "cipher", ["aes128-gcm@openssh.com", "aes256-ctr"]
)  # the hub's, the library's


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path) as door:
        yield door


@pytest.fixture
def outbound(door: Door) -> None:
    (door.folder("acme", "outbound") / "a.gz").write_bytes(CONTENT)


class Relay:
    """Stands between a client and the door: hands on what the client sends, a few bytes at once, or spoilt."""

    def __init__(self, port: int, *, piece: int = 65_536) -> None:
        self.spoils = threading.Event()  # a bit of what comes next is another
        self._port = port
        self._piece = piece
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def serve(self) -> None:
        client, _ = self._listener.accept()
        door = socket.create_connection(("127.0.0.1", self._port))
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=self._hand_on, args=(door, client, 65_536))
        back.start()
        self._hand_on(client, door, self._piece, may_spoil=True)
        back.join(SECONDS)
        for one in (client, door, self._listener):
            one.close()

    def _hand_on(
        self, source: socket.socket, to: socket.socket, most: int, *, may_spoil: bool = False
    ) -> None:
        with suppress(OSError):
            while found := bytearray(source.recv(most)):
                if may_spoil and self.spoils.is_set():
                    found[len(found) // 2] ^= 1
                to.sendall(found)
            to.shutdown(socket.SHUT_WR)


@contextmanager
def through(door: Door, relay: Relay, cipher: str) -> Iterator[paramiko.Transport]:
    thread = threading.Thread(target=relay.serve)
    thread.start()
    transport = patient(paramiko.Transport(("127.0.0.1", relay.port)))
    transport.get_security_options().ciphers = [cipher]
    try:
        key = paramiko.Ed25519Key.from_private_key_file(str(door.key_files["cnp"]))
        transport.connect(username="cnp", pkey=key)
        yield transport
    finally:
        transport.close()
        thread.join(SECONDS)
        assert not thread.is_alive()


async def _there_and_back(door: Door, *, rekey_bytes: int = 1 << 30, cipher: str) -> object:
    """Upload the content, and download it again."""
    sent, asked = door.asyncssh_options("cnp"), door.asyncssh_options("acme")
    more = {"encryption_algs": [cipher], "rekey_bytes": rekey_bytes}
    async with (
        asyncssh.connect(**sent, **more) as connection,
        connection.start_sftp_client() as client,
        client.open("/inbound/a.tmp", "wb") as file,
    ):
        await file.write(CONTENT)
    async with (
        asyncssh.connect(**asked, **more) as connection,
        connection.start_sftp_client() as client,
        client.open("/outbound/a.gz", "rb") as file,
    ):
        return await file.read()


def _moves(door: Door, **more: object) -> None:
    found = asyncio.run(asyncio.wait_for(_there_and_back(door, **more), SECONDS))  # type: ignore[arg-type]
    assert found == CONTENT
    assert (door.folder("cnp", "inbound") / "a.tmp").read_bytes() == CONTENT


@pytest.mark.usefixtures("outbound")
@pytest.mark.parametrize("cipher", algorithms.offered(frozenset()).ciphers)
def test_each_cipher_that_is_offered_moves_a_file_both_ways(door: Door, cipher: str) -> None:
    _moves(door, cipher=cipher)


@both_ways
@pytest.mark.usefixtures("outbound")
def test_keys_that_the_client_changes_all_the_time_lose_no_byte(door: Door, cipher: str) -> None:
    _moves(door, cipher=cipher, rekey_bytes=100_000)


@pytest.mark.usefixtures("outbound")
def test_keys_that_the_hub_changes_all_the_time_lose_no_byte(door: Door) -> None:
    options = door.doors._options_at("127.0.0.1")
    door.on_loop(lambda: setattr(options, "rekey_bytes", 100_000))
    _moves(door, cipher="aes128-gcm@openssh.com")


@both_ways
def test_bytes_that_come_one_by_one_are_put_together(door: Door, cipher: str) -> None:
    with through(door, Relay(door.port, piece=1), cipher) as transport:
        channel = transport.open_session()
        channel.settimeout(SECONDS)
        channel.invoke_subsystem("sftp")
        raw = Raw(channel)
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, CONTENT[:3_000])[0] == 0
        assert raw.status(4, handle)[0] == 0
    assert (door.folder("cnp", "inbound") / "a.tmp").read_bytes() == CONTENT[:3_000]


@both_ways
def test_a_bit_that_was_changed_on_the_way_ends_the_connection_and_is_not_written(
    door: Door, cipher: str
) -> None:
    relay = Relay(door.port)
    with through(door, relay, cipher) as transport:
        channel = transport.open_session()
        channel.settimeout(SECONDS)
        channel.invoke_subsystem("sftp")
        raw = Raw(channel)
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, CONTENT[:1_000])[0] == 0
        relay.spoils.set()
        with pytest.raises((EOFError, OSError)):
            raw.write(handle, 1_000, CONTENT[1_000:2_000])
        until(lambda: not transport.is_active())
    assert door.desk.wait_for("upload_broken", "a.tmp").more["received"] == 1_000
    assert (door.folder("cnp", "inbound") / ".a.tmp.part").read_bytes() == CONTENT[:1_000]


@both_ways
@pytest.mark.usefixtures("outbound")
def test_a_client_is_never_sent_more_than_it_has_room_for(door: Door, cipher: str) -> None:
    with door.transport("acme", ciphers=[cipher]) as transport:
        channel = transport.open_session(window_size=50_000, max_packet_size=7_000)
        channel.settimeout(SECONDS)
        channel.invoke_subsystem("sftp")
        raw = Raw(channel)
        handle = raw.open("outbound/a.gz", READ)
        room = channel.in_window_size - channel.in_window_sofar  # it tells of what it took now and then
        raw.send(5, handle + struct.pack(">QI", 0, 200_000))
        until(lambda: len(channel.in_buffer) >= room)
        transport.global_request(
            "is-all-here@meterhub", wait=True
        )  # what was sent before its answer has come
        assert len(channel.in_buffer) == room
        kind, rest = raw.receive()
        assert (kind, rest[8:]) == (103, CONTENT[:200_000])


def test_who_has_begun_the_next_request_gets_the_answer_to_the_one_before(door: Door) -> None:
    with door.raw("cnp") as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        body = struct.pack(">BI", 6, 70) + handle + struct.pack(">Q", 0) + string(b"first")
        raw.channel.sendall(struct.pack(">I", len(body)) + body + struct.pack(">IB", 13, 4))
        kind, rest = raw.receive()
        assert (kind, rest[:8]) == (101, struct.pack(">II", 70, 0))
        raw.channel.sendall(struct.pack(">I", 71) + handle)  # a CLOSE, whose length and type came before
        assert raw.receive()[1][:8] == struct.pack(">II", 71, 0)
