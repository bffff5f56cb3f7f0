"""What the doors log, and what becomes of a session when the hub itself fails or is sent nonsense."""

import struct
from contextlib import suppress
from pathlib import Path

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from doors_fixtures import AGREED, SECONDS, Door, Raw, heard, open_door, string, until
from exchange.sftp_v3 import Kind
from schemas.event import EVENTS

PUT = 2 | 8 | 16
CLOSE, REMOVE, RENAME, READ, FAILURE = 4, 13, 18, 5, 4
NOUNS = {"doors", "connection", "login", "session", "request", "upload", "file"}


def put(raw: Raw, name: str) -> tuple[int, str]:
    handle = raw.open(f"inbound/{name}", PUT)
    assert raw.write(handle, 0, b"bytes")[0] == 0
    return raw.status(CLOSE, handle)


def a_day_at(door: Door) -> None:
    """Everything once."""
    (door.folder("acme", "outbound") / "a.gz").write_bytes(b"content")
    with door.raw("cnp") as raw:
        put(raw, "a.tmp")
        raw.status(RENAME, string("inbound/a.tmp") + string("inbound/b.tmp"))
        raw.status(REMOVE, string("inbound/b.tmp"))
        door.desk.refuses = "not now"
        put(raw, "c.tmp")
        door.desk.breaks = True
        put(raw, "d.tmp")
        raw.open("inbound/e.tmp", PUT)
        raw.channel.sendall(b"\0\0\0\0")
        with suppress(EOFError):
            raw.receive()
    until(lambda: not door.on_loop(lambda: door.doors.connections))
    with door.raw("acme") as raw:
        handle = raw.open("outbound/a.gz", 1)
        raw.ask(READ, handle + struct.pack(">QI", 0, 100))
        raw.status(CLOSE, handle)
        with pytest.raises((paramiko.SSHException, EOFError)), door.transport("acme"):
            pass  # one connection too many
    until(lambda: not door.on_loop(lambda: door.doors.connections))
    with suppress(paramiko.SSHException, EOFError), door.transport("nobody", key_of="acme"):
        pass


def test_every_event_of_the_doors_is_in_the_vocabulary_with_its_fields(tmp_path: Path) -> None:
    with heard() as lines, open_door(tmp_path, max_connections=1) as door:
        a_day_at(door)
    seen = set()
    for line in lines:
        seen.add(line["event"])
        missing = set(EVENTS[line["event"]].fields) - set(line)
        assert not missing, line
        text = str({key: value for key, value in line.items() if key != "exc_info"})
        assert "content" not in text
    assert {name for name in EVENTS if name.partition(".")[0] in NOUNS} - seen <= {"session.failed"}


def test_a_mistake_of_the_hubs_is_answered_without_its_inside_and_logged_with_it(tmp_path: Path) -> None:
    with heard() as lines, open_door(tmp_path) as door, door.raw("cnp") as raw:
        door.desk.breaks = True
        code, words = put(raw, AGREED)
        assert (code, words) == (FAILURE, "the hub failed to do this; try again, and tell its operator")
        door.desk.breaks = False
        assert put(raw, AGREED)[0] == 0
    (failed,) = [line for line in lines if line["event"] == "request.failed"]
    assert str(tmp_path) in str(failed["exc_info"])


# ── Nonsense ─────────────────────────────────────────────────────────────────────────────────────

paths = st.one_of(
    st.sampled_from(
        ["", "/", ".", "..", "inbound", "inbound/a", "inbound/../../onc/inbound/secret", "/onc/inbound/secret",
         "receipts", "receipts/a", "inbound/" + AGREED, "inbound/.a.part", "\0", "inbound/a\0b", "inbound//a/.",
         "receipts/../../onc/inbound/secret", "receipts//..//..//onc//inbound//secret", "inbound/odd", "inbound/odd"]
    ).map(str.encode),
    st.binary(max_size=300),
)  # fmt: skip
numbers = st.one_of(st.sampled_from([0, 1, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))
handles = st.integers(0, 5).map(lambda number: string(number.to_bytes(4, "big")))
fields = st.lists(
    st.one_of(
        paths.map(string),
        handles,
        numbers.map(lambda number: struct.pack(">I", number)),
        st.sampled_from([0, 1, 2**62, 2**63, 2**64 - 1]).map(lambda number: struct.pack(">Q", number)),
        st.binary(max_size=20),
    ),
    max_size=4,
).map(b"".join)
names_of_extensions = st.sampled_from(
    ["posix-rename@openssh.com", "statvfs@openssh.com", "fstatvfs@openssh.com", "fsync@openssh.com", "copy-data",
     "limits@openssh.com", "hardlink@openssh.com", "lsetstat@openssh.com", "ranges@asyncssh.com", "x"]
).map(string)  # fmt: skip
requests = st.one_of(
    st.tuples(st.sampled_from([*map(int, Kind), 0, 99, 255]), fields),
    st.tuples(st.just(int(Kind.EXTENDED)), st.tuples(names_of_extensions, fields).map(b"".join)),
    st.tuples(st.just(int(Kind.OPEN)), st.tuples(paths.map(string), st.sampled_from([1, 10, 14, 26, *range(64)])).map(
        lambda drawn: drawn[0] + struct.pack(">II", drawn[1], 0))),
    st.tuples(st.sampled_from([int(Kind.READ), int(Kind.WRITE), int(Kind.CLOSE)]), st.tuples(handles, fields).map(
        b"".join)),
)  # fmt: skip

read_whole = paths.flatmap(
    lambda path: st.integers(0, 3).map(
        lambda number: [
            (int(Kind.OPEN), string(path) + struct.pack(">II", 1, 0)),
            (int(Kind.READ), string(number.to_bytes(4)) + struct.pack(">QI", 0, 1000)),
        ]
    )
)
conversations = st.lists(st.one_of(requests.map(lambda one: [one]), read_whole), min_size=1, max_size=25).map(
    lambda bursts: [request for burst in bursts for request in burst]
)
SECRET = b"of another partner" * 54_321


def test_whatever_is_asked_is_answered_once_in_order_and_tells_nothing_of_others(tmp_path: Path) -> None:
    with open_door(tmp_path) as door, door.transport("cnp") as transport:
        (door.folder("onc", "inbound") / "secret").write_bytes(SECRET)
        (door.folder("cnp", "receipts") / "a").write_bytes(b"mine")
        (door.folder("cnp", "inbound") / ".odd.part").mkdir()  # which makes mistakes of the hub's
        other = {path: path.stat() for path in (door.desk.root / "onc").rglob("*")}

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(conversations)
        def ask(asked: list[tuple[int, bytes]]) -> None:
            channel = transport.open_session()
            channel.settimeout(SECONDS)
            channel.invoke_subsystem("sftp")
            raw = Raw(channel)
            sent = [raw.send(kind, body) for kind, body in asked]
            for request in sent:
                _, answer = raw.receive()
                assert int.from_bytes(answer[:4], "big") == request
                assert b"of another" not in answer
                assert struct.pack(">Q", len(SECRET)) not in answer
                assert str(tmp_path).encode() not in answer
            channel.close()

        ask()
        assert {path: path.stat() for path in (door.desk.root / "onc").rglob("*")} == other
        assert {path.name for path in door.desk.root.iterdir()} == {"cnp", "onc"}
        assert {path.name for path in (door.desk.root / "cnp").iterdir()} == {
            "inbound",
            "receipts",
            "reports",
        }
        with door.paramiko("cnp") as client:
            assert client.listdir("receipts") == ["a"]
