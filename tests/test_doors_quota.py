"""What one partner may take of the hub: sessions over all its connections, and bytes that wait to be loaded."""

import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import paramiko
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from config.partners_folder import PartnersFolder
from doors_fixtures import AGREED, SECONDS, Door, Raw, SmallDesk, open_door, string, until
from exchange.app import Counter
from exchange.quota import Quota
from hub_fixtures import Hub
from schemas import tables
from schemas.drop import Stage

WRITE, APPEND, CREAT, TRUNC = 2, 4, 8, 16
PUT = WRITE | CREAT | TRUNC
CLOSE, REMOVE, FAILURE = 4, 13, 4
NO_ROOM = "what waits to be loaded of yours may have at most 1000 bytes; wait for receipts, or remove what broke off"


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path, max_unloaded_bytes=1000) as door:
        yield door


def lies(door: Door) -> int:
    return sum(file.stat().st_size for file in door.folder("cnp", "inbound").iterdir())


def test_that_files_can_be_taken_holds_for_a_second_and_that_they_cannot_is_asked_each_time(
    tmp_path: Path,
) -> None:
    clock = [100.0]
    desk = SmallDesk(tmp_path, PartnersFolder(tmp_path))
    quota = Quota(1000, desk, lambda: clock[0])
    assert quota.closed() == ""
    desk.closed = "the disk is full"
    clock[0] += 0.99
    assert quota.closed() == ""
    clock[0] += 0.01
    assert quota.closed() == "the disk is full"
    desk.closed = ""
    assert quota.closed() == ""


# ── Bytes ────────────────────────────────────────────────────────────────────────────────────────


def test_more_than_the_quota_is_refused_in_words_while_it_is_written(door: Door) -> None:
    with door.raw("cnp") as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, b"x" * 1000)[0] == 0
        assert raw.write(handle, 1000, b"x") == (FAILURE, f"a.tmp: {NO_ROOM}")
        assert raw.write(handle, 500, b"y" * 500)[0] == 0  # what is there may be written over
        code, words = raw.status(CLOSE, handle)
        assert code == FAILURE
        assert "bytes 1000 to 1001 never came" in words
    assert lies(door) == 1000


def test_more_than_the_quota_is_refused_in_words_at_the_open(door: Door) -> None:
    (door.folder("cnp", "inbound") / ".old.tmp.part").write_bytes(b"x" * 600)
    (door.folder("cnp", "inbound") / "whole.tmp").write_bytes(b"x" * 400)
    with door.raw("cnp") as raw:
        assert raw.opens("inbound/a.tmp", PUT) == (FAILURE, f"a.tmp: {NO_ROOM}")
        assert raw.opens("inbound/old.tmp", WRITE | APPEND) == (FAILURE, f"old.tmp: {NO_ROOM}")
        raw.open("inbound/old.tmp", PUT)  # sent again, it makes room for itself
        assert raw.status(REMOVE, string("inbound/whole.tmp"))[0] == 0
        raw.open("inbound/a.tmp", PUT)
    with door.raw("onc") as raw:
        raw.open("inbound/a.tmp", PUT)  # another partner has a quota of its own


def test_what_is_on_its_way_to_be_loaded_counts_until_it_is(door: Door) -> None:
    door.desk.on_the_way = 1000
    with door.raw("cnp") as raw:
        assert raw.opens("inbound/a.tmp", PUT) == (FAILURE, f"a.tmp: {NO_ROOM}")
        door.desk.on_the_way = 990
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, b"x" * 10)[0] == 0
        assert raw.write(handle, 10, b"x")[0] == FAILURE
        door.desk.on_the_way = 0
        until(lambda: raw.write(handle, 10, b"x")[0] == 0)  # it is counted again, once a second at most
        assert raw.status(CLOSE, handle)[0] == 0


def test_what_the_hub_loads_during_an_upload_makes_room_without_a_refusal(door: Door) -> None:
    door.desk.takes = True
    with door.raw("cnp") as raw, door.raw("cnp") as other:
        first, second = raw.open(f"inbound/{AGREED}", PUT), other.open("inbound/b.tmp", PUT)
        assert raw.write(first, 0, b"x" * 900)[0] == 0
        assert raw.status(CLOSE, first)[0] == 0  # taken in, and loaded at once
        door.on_loop(lambda: _age(door))
        for offset in range(0, 1000, 100):
            assert other.write(second, offset, b"x" * 100)[0] == 0
        assert other.status(CLOSE, second)[0] == 0


def _age(door: Door) -> None:
    for count in door.doors.quota._counts.values():
        count.at -= 10


def test_many_uploads_at_once_have_one_quota_together(door: Door) -> None:
    with ExitStack() as stack:
        raws = [stack.enter_context(door.raw("cnp")) for _ in range(4)]
        opened = [(raw, raw.open(f"inbound/{n}.tmp", PUT)) for n, raw in enumerate(raws)]
        for offset in range(0, 1000, 50):
            for raw, handle in opened:
                raw.write(handle, offset, b"x" * 50)
        assert lies(door) == 1000


def test_an_appended_write_that_is_refused_and_sent_again_leaves_no_bytes_twice(door: Door) -> None:
    with door.raw("cnp") as raw:
        door.desk.on_the_way = 990
        handle = raw.open("inbound/a.tmp", WRITE | CREAT | APPEND)
        assert raw.write(handle, 0, b"0123456789")[0] == 0
        door.desk.on_the_way = 0
        door.on_loop(lambda: _age(door))
        assert raw.write(handle, 0, b"abc")[0] == 0  # appends, whatever the offset, after counting again
        assert raw.status(CLOSE, handle)[0] == 0
    assert (door.folder("cnp", "inbound") / "a.tmp").read_bytes() == b"0123456789abc"


writes = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 400, 999, 1000, 2**31, 2**62]), st.integers(0, 700)),
    max_size=12,
)


def test_whatever_is_written_in_whatever_order_the_quota_holds(tmp_path: Path) -> None:
    with open_door(tmp_path, max_unloaded_bytes=1000) as door, door.transport("cnp") as transport:

        @settings(max_examples=40, deadline=None)
        @given(writes)
        def hold(asked: list[tuple[int, int, int]]) -> None:
            channel = transport.open_session()
            channel.settimeout(SECONDS)
            channel.invoke_subsystem("sftp")
            raw = Raw(channel)
            opened = [raw.open(f"inbound/{n}.tmp", PUT) for n in range(4)]
            for n, offset, size in asked:
                raw.write(opened[n], offset, b"x" * size)
                assert lies(door) <= 1000
            for n, handle in enumerate(opened):
                raw.status(CLOSE, handle)
                assert raw.status(REMOVE, string(f"inbound/{n}.tmp"))[0] == 0
            channel.close()

        hold()


def test_the_real_hub_counts_drops_until_they_are_loaded(hub: Hub) -> None:
    desk = Counter(hub.stores, lambda: hub.now, lambda _: None)
    assert desk.unloaded("cnp") == 0
    drop = hub.arrive("cnp", AGREED, b"x" * 77)
    assert desk.unloaded("cnp") == 0  # it lies in inbound/ still, and counts as lying there
    for stage, bytes_waiting in ((Stage.RECEIVED, 77), (Stage.ACCEPTED, 77), (Stage.LOADED, 0)):
        with hub.stores.ledger.write() as tx:
            tx.execute(
                update(tables.drop)
                .where(tables.drop.c.id == drop.id)
                .values(stage=str(stage), ended_at=hub.now if stage is Stage.LOADED else None)
            )
        assert desk.unloaded("cnp") == bytes_waiting
        assert desk.unloaded("ppl") == 0


# ── Sessions ─────────────────────────────────────────────────────────────────────────────────────


def test_the_sessions_of_a_partner_are_limited_over_all_its_connections(tmp_path: Path) -> None:
    with open_door(tmp_path, max_sessions_per_partner=2) as door, ExitStack() as stack:
        first = stack.enter_context(door.transport("cnp"))
        clients = [paramiko.SFTPClient.from_transport(first) for _ in range(2)]
        said = door.sftp("cnp", "ls", check=False)
        assert "2 sessions of yours are open; close some" in said.stderr
        until(lambda: door.on_loop(lambda: door.doors.connections) == 1)
        second = stack.enter_context(door.transport("cnp"))
        with pytest.raises(paramiko.ChannelException):
            second.open_session(timeout=SECONDS)
        said = door.sftp("cnp", "ls", check=False)
        assert "2 connections of yours are open; close some" in said.stderr
        with door.raw("onc") as raw:
            assert raw.opens("inbound/x", 1)[1]
        assert all(clients)
        first.close()

        def is_let_in() -> bool:
            with suppress(paramiko.ChannelException):
                second.open_session(timeout=SECONDS)
                return True
            return False

        until(is_let_in)


def test_sessions_that_end_in_any_way_are_counted_as_ended(tmp_path: Path) -> None:
    with open_door(tmp_path, max_sessions_per_partner=2) as door:
        for number in range(8):
            with suppress(paramiko.SSHException, EOFError, OSError), door.transport("cnp") as transport:
                small = {"max_packet_size": 4096} if number % 2 else {}
                channel = transport.open_session(timeout=SECONDS, **small)
                if number % 4 < 2:
                    channel.invoke_subsystem("sftp")
                    channel.sendall(struct.pack(">I", 0))
            until(lambda: not door.on_loop(lambda: door.doors.connections))
        until(lambda: door.on_loop(lambda: door.doors.sessions["cnp"]) == 0)


# ── The hub's disks ──────────────────────────────────────────────────────────────────────────────

FULL = "the hub's disk is full; try again later, and tell its operator"


def test_while_the_hub_cannot_take_files_no_upload_begins_and_then_they_do_again(door: Door) -> None:
    door.desk.closed = "the ledger is away"
    with door.raw("cnp") as raw:
        assert raw.opens("inbound/a.tmp", PUT) == (FAILURE, "a.tmp: the ledger is away")
        assert lies(door) == 0
        door.desk.closed = ""
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, b"x")[0] == 0
        assert raw.status(CLOSE, handle)[0] == 0


def test_what_would_fill_the_disk_is_refused_while_it_is_written_and_can_be_resumed(door: Door) -> None:
    door.desk.room = 100
    with door.raw("cnp") as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, b"x" * 100)[0] == 0
        assert raw.write(handle, 100, b"x") == (FAILURE, f"a.tmp: {FULL}")
        assert raw.status(CLOSE, handle)[0] == FAILURE
        door.desk.room = 0
        assert raw.opens("inbound/b.tmp", PUT) == (FAILURE, f"b.tmp: {FULL}")
        door.desk.room = 100
        handle = raw.open("inbound/a.tmp", WRITE | APPEND)
        assert raw.write(handle, 100, b"x")[0] == 0
        assert raw.status(CLOSE, handle)[0] == 0
    assert lies(door) == 101


def test_a_disk_that_others_fill_during_an_upload_is_noticed_within_it(door: Door) -> None:
    with door.raw("cnp") as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, b"x" * 10)[0] == 0
        door.desk.room = 0
        door.on_loop(lambda: _age(door))
        assert raw.write(handle, 10, b"x") == (FAILURE, f"a.tmp: {FULL}")
