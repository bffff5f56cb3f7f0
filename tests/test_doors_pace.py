"""A partner goes no faster than was agreed, over all its sessions; nobody else is slowed by that."""

import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import paramiko
import pytest

from doors_fixtures import Door, Raw, open_door, until
from exchange.pace import Pace

PUT, CLOSE, READ = 2 | 8 | 16, 4, 5
PIECE = b"x" * 10_000


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path, max_bytes_a_second=100_000) as door:
        yield door


def put(raw: Raw, name: str, pieces: int) -> None:
    handle = raw.open(f"inbound/{name}", PUT)
    for number in range(pieces):
        assert raw.write(handle, number * len(PIECE), PIECE)[0] == 0
    assert raw.status(CLOSE, handle)[0] == 0


def test_by_the_clock_a_partner_gets_what_was_agreed_and_each_has_its_own() -> None:
    at = [1000.0]
    pace = Pace(1000, lambda: at[0])
    for _ in range(50):  # many small ones, as fast as they are let
        at[0] += pace.take("cnp", 100)
    assert 4.5 < at[0] - 1000 <= 5.0
    assert pace.take("onc", 100) == 0.0
    at[0] += 3600  # nothing is saved up
    waited = sum(pace.take("cnp", 1000) for _ in range(2))
    assert waited > 2.0
    assert Pace(0, lambda: at[0]).take("cnp", 1 << 40) == 0.0


def test_uploads_of_several_sessions_share_a_pace(door: Door) -> None:
    def upload(name: str) -> None:
        with door.raw("cnp") as raw:
            put(raw, name, 8)

    threads = [Thread(target=upload, args=(name,)) for name in ("a.tmp", "b.tmp")]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - began > 1.2  # 160,000 bytes, of which a quarter of a second may be ahead


def test_another_partner_is_not_slowed(tmp_path: Path) -> None:
    with open_door(tmp_path, max_bytes_a_second=100) as door, door.raw("cnp") as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, PIECE)[0] == 0
        raw.send(CLOSE, handle)  # read when the piece is paid for, in a hundred seconds
        with door.raw("onc") as other:
            assert other.status(CLOSE, other.open("inbound/a.tmp", PUT))[0] == 0
        assert [(one.partner, one.what) for one in door.desk.told] == [("onc", "upload_ended")]


def test_who_is_made_to_wait_is_not_idle(tmp_path: Path) -> None:
    with open_door(tmp_path, max_bytes_a_second=5000, idle_seconds=1) as door:

        def is_let_wait() -> bool:
            """On a busy machine its client may be idle indeed, and comes again."""
            with suppress(EOFError, OSError, paramiko.SSHException), door.raw("cnp") as raw:
                put(raw, "a.tmp", 2)  # paid for in four seconds
                return True
            return False

        until(is_let_wait)


def test_downloads_are_paced_too_and_whole(door: Door) -> None:
    (door.folder("acme", "outbound") / "a.gz").write_bytes(PIECE * 15)
    began = time.monotonic()
    with door.paramiko("acme") as client, client.open("outbound/a.gz") as file:
        file.prefetch()
        assert file.read() == PIECE * 15
    assert time.monotonic() - began > 1.0


def test_a_hub_that_drains_does_not_wait_for_a_slow_pace(tmp_path: Path) -> None:
    with open_door(tmp_path, max_bytes_a_second=100) as door, door.raw("cnp") as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, PIECE)[0] == 0  # paid for in a hundred seconds
        raw.send(6, handle + struct.pack(">Q", len(PIECE)) + struct.pack(">I", len(PIECE)) + PIECE)
        door.drain()  # or it is told that it takes too long
        assert door.desk.wait_for("upload_broken").more["received"] == len(PIECE)


def test_a_client_that_goes_does_not_leave_a_session_waiting(tmp_path: Path) -> None:
    with open_door(tmp_path, max_bytes_a_second=100) as door:
        with suppress(EOFError, paramiko.SSHException), door.raw("cnp") as raw:
            handle = raw.open("inbound/a.tmp", PUT)
            assert raw.write(handle, 0, PIECE)[0] == 0
        until(lambda: not door.on_loop(lambda: door.doors.sessions["cnp"]))
        assert door.desk.wait_for("upload_broken").more["received"] == len(PIECE)
