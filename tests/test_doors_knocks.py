"""Connections that have not logged in: how many, how fast, and what becomes of those that are too many."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.settings import Sftp
from doors_fixtures import SECONDS, Door, open_door, until
from exchange.knocks import Knocks
from test_doors_audit import AUDIT

TOO_MANY = b"too many connections from your address are logging in; try again later\r\n"


def knocking(door: Door) -> int:
    count: int = door.on_loop(door.doors.knocks._open.total)
    return count


def knock(door: Door) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), SECONDS)


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.integers(1, 20))
def test_in_no_second_come_more_than_twice_as_many_as_may(gaps: list[float], rate: int) -> None:
    now = 100.0
    knocks = Knocks(replace(Sftp(), max_connections_a_second_per_address=rate), lambda: now)
    turns = []
    for gap in gaps:
        now += gap
        wait = knocks.wait("192.0.2.1")
        assert wait >= 0
        turns.append(now + wait)
    assert turns == sorted(turns)
    for turn in turns:
        assert sum(turn <= other < turn + 1 for other in turns) <= 2 * rate + 1
    assert knocks.wait("192.0.2.2") == 0.0  # another place does not wait


def test_who_comes_no_faster_than_agreed_never_waits() -> None:
    now = 100.0
    knocks = Knocks(replace(Sftp(), max_connections_a_second_per_address=10), lambda: now)
    for _ in range(100):
        now += 0.1001
        assert knocks.wait("192.0.2.1") == 0.0
    now += 10
    assert [knocks.wait("192.0.2.1") == 0.0 for _ in range(11)] == [True] * 10 + [False]
    assert knocks.wait("2001:db8::1") == 0.0
    assert [knocks.wait(f"2001:db8::{n}") == 0.0 for n in range(2, 13)].count(False) >= 1  # one place, too


def test_those_who_come_too_fast_wait_and_all_are_let_in(tmp_path: Path) -> None:
    with open_door(tmp_path, max_connections_a_second_per_address=4) as door:
        began = time.monotonic()
        for _ in range(6):
            with door.paramiko("cnp") as client:
                assert client.listdir("/")
        assert time.monotonic() - began > 0.4  # the sixth's turn is half a second after the first's
        assert until(lambda: not knocking(door))


def test_who_leaves_while_waiting_for_its_turn_makes_room(tmp_path: Path) -> None:
    with open_door(
        tmp_path, max_connections_a_second_per_address=1, max_unauthenticated_per_address=3
    ) as door:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(knock(door))
            until(lambda: knocking(door) == 3)
            client = stack.enter_context(knock(door))
            assert client.recv(100) == TOO_MANY
        until(lambda: not knocking(door))
        with knock(door) as client:
            assert until(lambda: knocking(door) == 1)


def test_a_hub_that_stops_lets_nobody_in_who_waits_for_a_turn(tmp_path: Path) -> None:
    with open_door(tmp_path, max_connections_a_second_per_address=1) as door, ExitStack() as stack:
        clients = [stack.enter_context(knock(door)) for _ in range(40)]
        until(lambda: knocking(door) == 40)
        for client in clients[:30]:
            client.close()
        door.drain()
        for client in clients[-5:]:  # whose turn would be in half a minute
            with suppress(ConnectionResetError):
                assert client.recv(100) == b""


def test_one_place_cannot_take_all_the_room_there_is_to_log_in(tmp_path: Path) -> None:
    with open_door(tmp_path, max_unauthenticated=10, max_unauthenticated_per_address=2) as door:
        with ExitStack() as stack:
            inside = stack.enter_context(door.paramiko("cnp"))  # who has logged in does not count
            for _ in range(2):
                assert stack.enter_context(knock(door)).recv(100).startswith(b"SSH-2.0-Meterhub")
            assert stack.enter_context(knock(door)).recv(100) == TOO_MANY
            assert inside.listdir("/")
        until(lambda: not knocking(door))
        with door.paramiko("cnp") as client:
            assert client.listdir("/")


@pytest.fixture
def usual(tmp_path: Path) -> Iterator[Door]:
    usual = Sftp()
    names = ("max_unauthenticated_per_address", "max_connections_a_second_per_address", "ban_score")
    with open_door(tmp_path, **{name: getattr(usual, name) for name in names}) as door:
        yield door


def test_a_flood_that_asks_for_expensive_key_exchanges_is_slowed_down(usual: Door) -> None:
    """CVE-2002-20001. With no limit ssh-audit tells of some thousand connections a second."""
    done = subprocess.run(
        [AUDIT, "-j", "-p", str(usual.port), "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    told = json.loads(done.stdout)
    assert "DHEat" not in json.dumps(told.get("additional_notes", told)), told.get("additional_notes")
    assert told["kex"]
