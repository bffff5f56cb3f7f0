"""Reading: what is sent, how it is counted, and how much may wait."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from doors_fixtures import Door, Raw, open_door, string, until
from exchange.session import SftpSession
from exchange.sftp_v3 import MAX_DATA

READ, CLOSE, LSTAT, FSTAT, OPENDIR, READDIR, STAT, REALPATH, EXTENDED = 5, 4, 7, 8, 11, 12, 17, 16, 200
OK, EOF, MISSING, DENIED, FAILURE = 0, 1, 2, 3, 4


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path) as door:
        yield door


@pytest.fixture
def outbound(door: Door) -> Path:
    return door.folder("acme", "outbound")


@pytest.fixture
def raw(door: Door) -> Iterator[Raw]:
    with door.raw("acme") as raw:
        yield raw


def read(raw: Raw, handle: bytes, offset: int, length: int) -> bytes:
    kind, rest = raw.ask(READ, handle + struct.pack(">QI", offset, length))
    assert kind == 103, rest
    assert struct.unpack(">I", rest[:4])[0] == len(rest) - 4
    return rest[4:]


def ended(door: Door, name: str, times: int = 1) -> list[tuple[int, int, bool]]:
    """Size, bytes sent and whole, of each time the file was closed, once it was so many times."""

    def found() -> list[dict[str, Any]]:
        return [one.more for one in door.desk.told if (one.what, one.name) == ("read_ended", name)]

    until(lambda: len(found()) >= times)
    return [(one["size"], one["sent"], one["whole"]) for one in found()]


# ── What was collected ───────────────────────────────────────────────────────────────────────────


def test_a_file_read_to_its_end_and_closed_was_collected_whole(door: Door, outbound: Path, raw: Raw) -> None:
    (outbound / "a.gz").write_bytes(b"0123456789")
    handle = raw.open("outbound/a.gz", 1)
    assert read(raw, handle, 0, 6) == b"012345"
    assert read(raw, handle, 6, 100) == b"6789"
    assert raw.status(READ, handle + struct.pack(">QI", 10, 100))[0] == EOF
    assert raw.status(READ, handle + struct.pack(">QI", 2**64 - 1, 100))[0] == EOF
    assert raw.status(CLOSE, handle)[0] == OK
    assert ended(door, "a.gz") == [(10, 10, True)]
    told = door.desk.wait_for("read_ended").more
    assert told["began"] <= told["ended"]
    assert told["session"].partner_id == "acme"


def test_bytes_are_counted_once_in_any_order(door: Door, outbound: Path, raw: Raw) -> None:
    (outbound / "a.gz").write_bytes(b"0123456789")
    handle = raw.open("outbound/a.gz", 1)
    for offset in (8, 4, 4, 4, 8):
        read(raw, handle, offset, 2)
    assert raw.status(CLOSE, handle)[0] == OK
    assert ended(door, "a.gz") == [(10, 4, False)]


def test_a_download_resumed_in_the_same_session_is_whole_in_the_end(
    door: Door, outbound: Path, raw: Raw
) -> None:
    (outbound / "a.gz").write_bytes(b"0123456789")
    for offset, length in ((0, 6), (6, 4)):
        handle = raw.open("outbound/a.gz", 1)
        read(raw, handle, offset, length)
        assert raw.status(CLOSE, handle)[0] == OK
    assert ended(door, "a.gz", 2) == [(10, 6, False), (10, 10, True)]


def test_a_download_resumed_in_another_session_is_whole_in_the_end(door: Door, outbound: Path) -> None:
    (outbound / "a.gz").write_bytes(b"0123456789")
    with door.raw("acme") as raw:  # which is cut off
        read(raw, raw.open("outbound/a.gz", 1), 0, 6)
    assert ended(door, "a.gz") == [(10, 6, False)]
    with door.raw("acme") as raw:
        for offset in (5, 0):  # the second time it begins anew, and has that little
            handle = raw.open("outbound/a.gz", 1)
            read(raw, handle, offset, 5)
            assert raw.status(CLOSE, handle)[0] == OK
    assert ended(door, "a.gz", 3) == [(10, 6, False), (10, 10, True), (10, 5, False)]


def test_a_file_read_in_thousands_of_pieces_costs_no_more_to_remember_and_is_whole_once_it_is_read_through(
    door: Door, outbound: Path, raw: Raw
) -> None:
    (outbound / "a.gz").write_bytes(bytes(10_000))
    handle = raw.open("outbound/a.gz", 1)
    for start in range(0, 10_000, 100):
        for request in [
            raw.send(READ, handle + struct.pack(">QI", offset, 1)) for offset in range(start, start + 100, 2)
        ]:
            assert raw.receive()[1][:4] == request.to_bytes(4)
    assert raw.status(CLOSE, handle)[0] == OK
    ((_, sent, whole),) = ended(door, "a.gz")
    assert sent <= 4_096
    assert not whole
    handle = raw.open("outbound/a.gz", 1)
    assert len(read(raw, handle, 0, 10_000)) == 10_000
    assert raw.status(CLOSE, handle)[0] == OK
    assert ended(door, "a.gz", 2)[1] == (10_000, 10_000, True)


def test_a_file_that_is_only_skipped_to_its_end_is_not_whole(door: Door, outbound: Path, raw: Raw) -> None:
    (outbound / "a.gz").write_bytes(b"0123456789")
    handle = raw.open("outbound/a.gz", 1)
    read(raw, handle, 9, 1)
    assert raw.status(CLOSE, handle)[0] == OK
    assert ended(door, "a.gz") == [(10, 1, False)]


def test_every_byte_sent_but_not_closed_is_not_whole(door: Door, outbound: Path) -> None:
    (outbound / "a.gz").write_bytes(b"0123456789")
    with door.raw("acme") as raw:
        read(raw, raw.open("outbound/a.gz", 1), 0, 10)
    assert ended(door, "a.gz") == [(10, 10, False)]


def test_what_was_asked_for_by_a_client_that_has_left_is_not_counted_as_sent(door: Door) -> None:
    (door.folder("cnp", "receipts") / "a.json").write_bytes(b"0123456789")
    with door.raw("cnp") as raw:
        reading = raw.open("receipts/a.json", 1)
        upload = raw.open("inbound/a.tmp", 2 | 8)
        door.desk.hold.clear()
        raw.send(CLOSE, upload)  # which keeps the session while the rest comes
        raw.send(READ, reading + struct.pack(">QI", 0, 10))
        raw.send(CLOSE, reading)
        raw.channel.close()
        until(lambda: door.on_loop(lambda: any(session._lost for session in sessions(door))))
        door.desk.hold.set()
        assert ended(door, "a.json") == [(10, 0, False)]


def sessions(door: Door) -> list[SftpSession]:
    return [session for login in door.doors._logins for session in login.sessions]


def test_an_empty_file_is_whole_once_it_was_asked_for(door: Door, outbound: Path, raw: Raw) -> None:
    (outbound / "a.gz").touch()
    handle = raw.open("outbound/a.gz", 1)
    assert raw.status(CLOSE, handle)[0] == OK
    handle = raw.open("outbound/a.gz", 1)
    assert raw.status(READ, handle + struct.pack(">QI", 0, 100))[0] == EOF
    assert raw.status(CLOSE, handle)[0] == OK
    assert ended(door, "a.gz", 2) == [(0, 0, False), (0, 0, True)]


def test_a_file_withdrawn_while_it_is_read_stops_with_words(door: Door, outbound: Path, raw: Raw) -> None:
    (outbound / "a.gz").write_bytes(b"0123456789")
    handle = raw.open("outbound/a.gz", 1)
    assert read(raw, handle, 0, 6) == b"012345"
    (outbound / "a.gz").unlink()
    code, words = raw.status(READ, handle + struct.pack(">QI", 6, 4))
    assert code == FAILURE
    assert "withdrawn" in words
    assert raw.status(CLOSE, handle)[0] == OK
    assert ended(door, "a.gz") == [(10, 6, False)]
    assert raw.opens("outbound/a.gz", 1)[0] == MISSING


# ── What can be read ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "outbound/.hidden",
        "outbound/link",
        "outbound/folder",
        "outbound/fifo",
        "outbound/../../cnp/receipts/secret",
        "/cnp/receipts/secret",
        "../cnp/receipts/secret",
        "receipts/secret",
        "outbound/./../receipts/secret",
        "outbound//..//..//cnp/receipts/secret",
        "outbound/%2e%2e/secret",
        "outbound\\..\\secret",
        "/etc/passwd",
        "outbound/\xff",
    ],
)
def test_nothing_but_a_folders_own_plain_files_can_be_read(
    door: Door, outbound: Path, raw: Raw, path: str
) -> None:
    (door.folder("cnp", "receipts") / "secret").write_text("of another partner")
    (outbound / ".hidden").touch()
    (outbound / "link").symlink_to(door.folder("cnp", "receipts") / "secret")
    (outbound / "folder").mkdir()
    os.mkfifo(outbound / "fifo")
    for code, words in (raw.opens(path, 1), raw.status(STAT, string(path)), raw.status(LSTAT, string(path))):
        assert code == MISSING
        assert "secret" not in words
        assert str(door.home) not in words


def test_a_folder_for_uploads_is_not_for_reading(door: Door) -> None:
    (door.folder("cnp", "inbound") / "a.tmp").write_bytes(b"mine")
    with door.raw("cnp") as raw:
        code, words = raw.opens("inbound/a.tmp", 1)
        assert code == DENIED
        assert "not read" in words
        handle = raw.open("inbound/a.tmp", 3)  # for both: an upload, which cannot be read either
        assert raw.status(READ, handle + struct.pack(">QI", 0, 4))[0] == FAILURE


def test_a_name_longer_than_an_uploads_can_be_read(door: Door, raw: Raw, outbound: Path) -> None:
    name = "x" * 200 + ".D130902-00042.received.json"
    (outbound / name).write_text("{}")
    assert read(raw, raw.open(f"outbound/{name}", 1), 0, 10) == b"{}"


def test_questions_are_answered_for_the_top_folders_and_files(door: Door, outbound: Path, raw: Raw) -> None:
    (outbound / "a.gz").write_bytes(b"0123456789")
    os.utime(outbound / "a.gz", (1_378_000_000, 1_378_000_000))
    kind, rest = raw.ask(STAT, string("outbound/a.gz"))
    assert kind == 105
    assert struct.unpack(">IQIIIII", rest) == (0x0F, 10, 0, 0, 0o100444, 1_378_000_000, 1_378_000_000)
    for path, mode in (("/", 0o40555), (".", 0o40555), ("outbound", 0o40555), ("requests", 0o40755)):
        kind, rest = raw.ask(STAT, string(path))
        assert kind == 105
        assert struct.unpack(">IQIIIII", rest)[4] == mode
    kind, rest = raw.ask(FSTAT, raw.open("outbound/a.gz", 1))
    assert (kind, struct.unpack(">IQ", rest[:12])[1]) == (105, 10)
    kind, rest = raw.ask(REALPATH, string("outbound/../outbound/./a.gz"))
    assert kind == 104
    assert b"/outbound/a.gz" in rest


def test_limits_and_the_file_system_are_told(door: Door, raw: Raw, outbound: Path) -> None:
    (outbound / "a.gz").touch()
    extensions = raw.version[1]
    for name in ("posix-rename", "statvfs", "fstatvfs", "fsync", "limits"):
        assert f"{name}@openssh.com".encode() in extensions
    for name in (b"copy-data", b"hardlink", b"lsetstat", b"ranges", b"vendor"):
        assert name not in extensions
    _, rest = raw.ask(EXTENDED, string("limits@openssh.com"))
    assert struct.unpack(">4Q", rest) == (262_144, MAX_DATA, MAX_DATA, 64)
    for body in (
        string("statvfs@openssh.com") + string("outbound"),
        string("statvfs@openssh.com") + string("/"),
    ):
        _, rest = raw.ask(EXTENDED, body)
        assert struct.unpack(">11Q", rest)[10] == 200
    _, rest = raw.ask(EXTENDED, string("fstatvfs@openssh.com") + raw.open("outbound/a.gz", 1))
    assert struct.unpack(">11Q", rest)[0] > 0


# ── Listings ─────────────────────────────────────────────────────────────────────────────────────


def listed(raw: Raw, path: str) -> dict[str, bytes]:
    """The names in a folder, with the long line of each."""
    kind, handle = raw.ask(OPENDIR, string(path))
    assert kind == 102
    found = {}
    while True:
        kind, rest = raw.ask(READDIR, handle)
        if kind == 101:
            assert struct.unpack(">I", rest[:4])[0] == EOF
            break
        assert len(rest) < 64 * 1024
        (count,), rest = struct.unpack(">I", rest[:4]), rest[4:]
        for _ in range(count):
            name, rest = cut(rest)
            line, rest = cut(rest)
            found[name.decode()] = line
            rest = rest[struct.calcsize(">IQIIIII") :]
        assert rest == b""
    assert raw.status(CLOSE, handle)[0] == OK
    return found


def cut(rest: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(rest[:4])
    return rest[4 : 4 + length], rest[4 + length :]


def test_a_folder_lists_what_is_its_partners_and_nothing_hidden(outbound: Path, raw: Raw) -> None:
    for name in ("a.gz", ".b.gz.1f.aside", ".c.part", "a b", "x" * 210):
        (outbound / name).touch()
    (outbound / "link").symlink_to("/etc/passwd")
    (outbound / "folder").mkdir()
    assert set(listed(raw, "/outbound")) == {".", "..", "a.gz", "x" * 210}
    assert set(listed(raw, "/")) == {".", "..", "outbound", "reports", "history", "requests"}


def test_an_unfinished_upload_is_listed_once_under_its_name_with_its_size(door: Door) -> None:
    inbound = door.folder("cnp", "inbound")
    (inbound / ".a.tmp.part").write_bytes(b"1234")
    (inbound / ".b.tmp.part").write_bytes(b"older")
    (inbound / "b.tmp").write_bytes(b"whole")
    with door.raw("cnp") as raw:
        found = listed(raw, "inbound")
        assert set(found) == {".", "..", "a.tmp", "b.tmp"}
        assert found["a.tmp"].startswith(b"-rw-r--r--    1 0        0                   4 ")
        kind, rest = raw.ask(STAT, string("inbound/a.tmp"))
        assert (kind, struct.unpack(">Q", rest[4:12])[0]) == (105, 4)


def test_20_000_names_are_listed_each_once(outbound: Path, raw: Raw) -> None:
    wanted = {f"{n:05}.lse.gz" for n in range(20_000)}
    for name in wanted:
        (outbound / name).touch()
    assert set(listed(raw, "outbound")) == wanted | {".", ".."}


def test_a_handle_of_one_kind_is_not_taken_for_another(outbound: Path, raw: Raw) -> None:
    (outbound / "a.gz").touch()
    file = raw.open("outbound/a.gz", 1)
    _, folder = raw.ask(OPENDIR, string("outbound"))
    assert raw.status(READDIR, file)[0] == FAILURE
    assert raw.status(READ, folder + struct.pack(">QI", 0, 1))[0] == FAILURE
    assert raw.status(FSTAT, folder)[0] == FAILURE
    assert raw.status(6, file + struct.pack(">Q", 0) + string(b"x"))[0] == FAILURE
    assert raw.status(EXTENDED, string("fsync@openssh.com") + file)[0] == FAILURE
    assert raw.status(OPENDIR, string("outbound/a.gz"))[0] == MISSING
