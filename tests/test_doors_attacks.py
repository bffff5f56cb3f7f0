"""A running hub, with its ledger behind it, attacked with packets that no client sends."""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from doors_fixtures import AGREED, SECONDS, Door, Raw, open_door, string, until
from exchange.app import Counter
from exchange.sftp_v3 import MAX_TAKEN, Kind
from hub_fixtures import Hub

CNP, ONC = "cnp", "onc"
READ, WRITE, APPEND, CREAT, TRUNC, EXCL = 1, 2, 4, 8, 16, 32
OK, EOF, MISSING, DENIED, FAILURE, MALFORMED, UNSERVED = 0, 1, 2, 3, 4, 5, 8
SECRET = b"of another partner"
NO_ATTRIBUTES = struct.pack(">I", 0)


@pytest.fixture
def door(hub: Hub, tmp_path: Path) -> Iterator[Door]:
    desk = Counter(hub.stores, lambda: hub.now, lambda _: None)
    with open_door(tmp_path, hub=desk, partners=hub.home.partners) as door:
        yield door


@pytest.fixture
def raw(door: Door) -> Iterator[Raw]:
    with door.raw(CNP) as raw:
        yield raw


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder, and what is in it."""
    found = (Path(folder) / name for folder, _, names in os.walk(root) for name in names)
    return {str(path.relative_to(root)): path.read_bytes() for path in found if not path.is_symlink()}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# ── Another partner's files, by any spelling ─────────────────────────────────────────────────────

SPELLINGS = (
    f"/{ONC}/inbound/secret",
    f"{ONC}/inbound/secret",
    f"../{ONC}/inbound/secret",
    f"/../{ONC}/inbound/secret",
    f"/../../sftp_root/{ONC}/inbound/secret",
    f"inbound/../../{ONC}/inbound/secret",
    f"inbound/./../../{ONC}/./inbound//secret",
    f"inbound//..//..//{ONC}//inbound//secret",
    f"inbound/../inbound/../../{ONC}/inbound/secret/.",
    f"inbound/.%2e/{ONC}/inbound/secret",
    f"inbound\\..\\..\\{ONC}\\inbound\\secret",
    f"inbound/..\\..\\{ONC}\\inbound\\secret",
    f"~{ONC}/inbound/secret",
    f"inbound/secret\0/../../../{ONC}/inbound/secret",
    f"\0../{ONC}/inbound/secret",
    f"inbound/link/{ONC}/inbound/secret",
    f"inbound/link-up/{ONC}/inbound/secret",
    "inbound/hard/secret",
    f"inbound/\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}/{ONC}/inbound/secret",
    f"inbound/\xc0\xae\xc0\xae/{ONC}/inbound/secret",
    "/proc/self/cwd/etc/passwd",
    "/etc/passwd",
)
ON_A_PATH: dict[str, Callable[[bytes], tuple[int, bytes]]] = {
    "open to read": lambda path: (Kind.OPEN, path + struct.pack(">II", READ, 0)),
    "open to write": lambda path: (Kind.OPEN, path + struct.pack(">II", WRITE, 0)),
    "open to append": lambda path: (Kind.OPEN, path + struct.pack(">II", WRITE | APPEND, 0)),
    "put": lambda path: (Kind.OPEN, path + struct.pack(">II", WRITE | CREAT | TRUNC, 0)),
    "list": lambda path: (Kind.OPENDIR, path),
    "stat": lambda path: (Kind.STAT, path),
    "lstat": lambda path: (Kind.LSTAT, path),
    "remove": lambda path: (Kind.REMOVE, path),
    "rmdir": lambda path: (Kind.RMDIR, path),
    "mkdir": lambda path: (Kind.MKDIR, path + NO_ATTRIBUTES),
    "readlink": lambda path: (Kind.READLINK, path),
    "rename away": lambda path: (Kind.RENAME, path + string("inbound/mine.tmp")),
    "rename onto": lambda path: (Kind.RENAME, string("inbound/own.tmp") + path),
    "rename over": lambda path: (
        Kind.EXTENDED, string("posix-rename@openssh.com") + string("inbound/own.tmp") + path),
    "link to": lambda path: (Kind.SYMLINK, path + string("inbound/mine.tmp")),
    "link from": lambda path: (Kind.SYMLINK, string("inbound/mine.tmp") + path),
    "hard link": lambda path: (
        Kind.EXTENDED, string("hardlink@openssh.com") + path + string("inbound/mine.tmp")),
    "attributes of a link": lambda path: (
        Kind.EXTENDED, string("lsetstat@openssh.com") + path + NO_ATTRIBUTES),
}  # fmt: skip


def test_no_request_and_no_spelling_reaches_another_partners_file(door: Door, hub: Hub, raw: Raw) -> None:
    root = hub.home.sftp_root
    (hub.stores.mailboxes.folder(ONC, "inbound") / "secret").write_bytes(SECRET)
    own = hub.stores.mailboxes.folder(CNP, "inbound")
    # As if somebody had got them there: no link is followed, whoever made it.
    (own / "link").symlink_to(root)
    (own / "link-up").symlink_to("../..")
    (own / "own.tmp").write_bytes(b"mine")
    before = tree(root)
    for spelling in SPELLINGS:
        for what, asked in ON_A_PATH.items():
            code, words = raw.status(*asked(string(spelling.encode("latin-1", "replace"))))
            assert code in {MISSING, DENIED, FAILURE, UNSERVED}, (what, spelling)
            assert ONC not in words, (what, spelling)
            assert str(root) not in words, (what, spelling)
            assert "try again" not in words, (what, spelling)  # which is what a mistake of the hub's says
            assert tree(root) == before, (what, spelling)
        for kind in (Kind.STAT, Kind.SETSTAT):  # what is not there is answered alike, whoever has it
            body = string(spelling.replace(ONC, "nobody").encode("latin-1", "replace")) + NO_ATTRIBUTES
            assert raw.ask(kind, body) == raw.ask(
                kind, string(spelling.encode("latin-1", "replace")) + NO_ATTRIBUTES
            )
    assert before[f"{ONC}/inbound/secret"] == SECRET


def test_an_upload_never_goes_through_a_link_that_lies_in_its_way(hub: Hub, raw: Raw) -> None:
    secret = hub.stores.mailboxes.folder(ONC, "inbound") / "secret"
    secret.write_bytes(SECRET)
    hub.stores.mailboxes.part(CNP, "a.tmp").symlink_to(secret)
    hub.stores.mailboxes.whole(CNP, "b.tmp").symlink_to(secret)
    for flags in (WRITE, WRITE | CREAT, WRITE | CREAT | TRUNC, WRITE | APPEND):
        assert raw.opens("inbound/a.tmp", flags)[0] in {MISSING, FAILURE}
    assert raw.status(Kind.RENAME, string("inbound/a.tmp") + string("inbound/c.tmp"))[0] == MISSING
    assert raw.opens("inbound/b.tmp", WRITE)[0] == MISSING
    handle = raw.open("inbound/b.tmp", WRITE | CREAT)  # a file of its own, which takes the link's place
    assert raw.write(handle, 0, b"mine")[0] == OK
    assert raw.status(Kind.CLOSE, handle)[0] == OK
    assert hub.stores.mailboxes.whole(CNP, "b.tmp").read_bytes() == b"mine"
    assert secret.read_bytes() == SECRET


def test_a_path_of_a_quarter_of_a_megabyte_is_not_given_back_twice_as_long(raw: Raw) -> None:
    for path in (b"a/" * 120_000, b"../" * 80_000, b"\n" * 250_000):
        for kind in (Kind.REALPATH, Kind.STAT, Kind.OPENDIR, Kind.REMOVE):
            assert raw.status(kind, string(path))[0] == MISSING


NAMES = (
    "x" * 201, "x" * 255, "x" * 256, "x" * 100_000, "", ".", ".hidden", "-rf", "a b", "a\0b", "\0", "a\nb", "a\rb",
    "\x1b[2Ja", "\x7f", "a\x85", "\N{RIGHT-TO-LEFT OVERRIDE}esl.exe", "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    "a\\b", "a:b", "a*", "$(id)", "`id`", "a;b", "'", '"', "~", "%00",
)  # fmt: skip


def test_a_name_that_is_not_allowed_comes_in_by_no_door(hub: Hub, raw: Raw) -> None:
    own = hub.stores.mailboxes.folder(CNP, "inbound")
    (own / "own.tmp").write_bytes(b"mine")
    mine = string("inbound/own.tmp")
    for name in NAMES:
        path = string(f"inbound/{name}")
        for flags in (
            WRITE | CREAT,
            WRITE | CREAT | TRUNC,
            WRITE | CREAT | EXCL,
            APPEND | CREAT,
            READ | CREAT,
        ):
            code, words = raw.status(Kind.OPEN, path + struct.pack(">II", flags, 0))
            assert code in {FAILURE, MISSING}, name
            assert words, name
        assert raw.status(Kind.RENAME, mine + path)[0] in {FAILURE, MISSING}, name
        over = string("posix-rename@openssh.com") + mine + path
        assert raw.status(Kind.EXTENDED, over)[0] in {FAILURE, MISSING}, name
        assert tree(own) == {"own.tmp": b"mine"}, name


def test_a_name_of_200_goes_all_the_way_to_its_receipt(hub: Hub, raw: Raw) -> None:
    name = "x" * 200
    handle = raw.open(f"inbound/{name}", WRITE | CREAT)
    assert raw.write(handle, 0, b"bytes")[0] == OK
    assert raw.status(Kind.CLOSE, handle)[0] == OK
    hub.on(minutes=11)
    hub.sweep()
    (received,) = hub.laid(CNP, "receipts", ".received.json")
    (rejected,) = hub.laid(CNP, "receipts", ".rejected.json")
    assert received.name.startswith(name)
    assert rejected.name.startswith(name)


# ── How much one may ask for ─────────────────────────────────────────────────────────────────────


def test_bytes_at_the_end_of_the_world_are_refused_and_leave_nothing(hub: Hub, raw: Raw) -> None:
    handle = raw.open(f"inbound/{AGREED}", WRITE | CREAT)
    part = hub.stores.mailboxes.part(CNP, AGREED)
    for offset in (2 << 30, 1 << 43, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        code, words = raw.write(handle, offset, b"x")
        assert (code, words) == (FAILURE, f"{AGREED}: a file may have at most {2 << 30} bytes")
        assert part.stat().st_size == 0
    assert raw.write(handle, (2 << 30) - 1, b"x")[0] == OK  # the last byte that a file may have
    assert part.stat().st_blocks * 512 < 1 << 20
    code, words = raw.status(Kind.CLOSE, handle)
    assert code == FAILURE
    assert "bytes 0 to" in words
    assert part.stat().st_size == 0


def test_a_truncation_to_8_tib_and_a_mode_of_4777_change_nothing(hub: Hub, raw: Raw) -> None:
    handle = raw.open("inbound/a.tmp", WRITE | CREAT)
    assert raw.write(handle, 0, b"1234")[0] == OK
    part = hub.stores.mailboxes.part(CNP, "a.tmp")
    before = part.stat()
    everything = struct.pack(">IQIIIII", 0x0F, 8 << 40, 0, 0, 0o4777, 0, 0)
    assert raw.status(Kind.FSETSTAT, handle + everything)[0] == OK
    assert raw.status(Kind.SETSTAT, string("inbound/a.tmp") + everything)[0] == OK
    after = part.stat()
    assert (after.st_size, after.st_mode, after.st_uid, after.st_mtime_ns) == (
        before.st_size, before.st_mode, before.st_uid, before.st_mtime_ns,
    )  # fmt: skip
    mode = struct.pack(">III", WRITE | CREAT, 0x04, 0o4777)
    assert raw.ask(Kind.OPEN, string("inbound/b.tmp") + mode)[0] == Kind.HANDLE
    assert hub.stores.mailboxes.part(CNP, "b.tmp").stat().st_mode & 0o7777 == 0o640


def an_open(number: int) -> tuple[Kind, bytes]:
    """Of one kind or another."""
    reading = string("receipts/a.json") + struct.pack(">II", READ, 0)
    upload = string(f"inbound/{number}.tmp") + struct.pack(">II", WRITE | CREAT, 0)
    return [(Kind.OPEN, reading), (Kind.OPEN, upload), (Kind.OPENDIR, string("receipts"))][number % 3]


def test_10_000_opens_that_are_never_closed_leave_64_and_end_with_the_session(door: Door, hub: Hub) -> None:
    (hub.stores.mailboxes.folder(CNP, "receipts") / "a.json").write_bytes(b"{}")
    before = open_files()
    with door.raw(CNP) as raw:
        codes = []
        for start in range(0, 10_000, 500):
            for request in [raw.send(*an_open(n)) for n in range(start, start + 500)]:
                kind, rest = raw.receive()
                assert int.from_bytes(rest[:4]) == request
                codes.append(OK if kind == Kind.HANDLE else int.from_bytes(rest[4:8]))
        assert codes.count(OK) == 64
        assert set(codes[200:]) == {FAILURE}
        assert open_files() < before + 64 + 40
    until(lambda: open_files() < before + 20)  # the ledger may keep some connections more
    assert len(list(hub.stores.mailboxes.uploads(CNP))) <= 64


def test_handles_of_others_guessed_or_closed_open_nothing(door: Door, hub: Hub, raw: Raw) -> None:
    (hub.stores.mailboxes.folder(ONC, "receipts") / "secret.json").write_bytes(SECRET)
    with door.raw(ONC) as other:
        theirs = other.open("receipts/secret.json", READ)
        mine = raw.open("inbound/a.tmp", WRITE | CREAT)
        assert raw.status(Kind.CLOSE, mine)[0] == OK
        guesses = [theirs, mine, *(string(n.to_bytes(4)) for n in range(50)), string(b""), string(b"x" * 300)]
        for guess in guesses:
            for kind, more in (
                (Kind.READ, struct.pack(">QI", 0, 100)),
                (Kind.WRITE, struct.pack(">Q", 0) + string(b"x")),
                (Kind.FSTAT, b""),
                (Kind.READDIR, b""),
                (Kind.CLOSE, b""),
            ):
                assert raw.status(kind, guess + more)[0] == FAILURE
        kind, rest = other.ask(Kind.READ, theirs + struct.pack(">QI", 0, 100))
        assert (kind, rest[4:]) == (Kind.DATA, SECRET)


def test_a_file_copied_onto_itself_is_refused_and_stays_as_it_is(hub: Hub, raw: Raw) -> None:
    handle = raw.open("inbound/a.tmp", READ | WRITE | CREAT)
    assert raw.write(handle, 0, b"1234")[0] == OK
    for length in (0, 4, 1 << 62):
        copy = handle + struct.pack(">QQ", 0, length) + handle + struct.pack(">Q", 4)
        assert raw.status(Kind.EXTENDED, string("copy-data") + copy)[0] == UNSERVED
    assert hub.stores.mailboxes.part(CNP, "a.tmp").read_bytes() == b"1234"


# ── Packets that are not whole, or too much ──────────────────────────────────────────────────────


def whole_requests(handle: bytes) -> list[tuple[Kind, bytes]]:
    """One of each kind that has fields, with all of them."""
    path = string("receipts/none.json")
    return [
        (Kind.OPEN, path + struct.pack(">I", READ)),
        (Kind.CLOSE, handle),
        (Kind.READ, handle + struct.pack(">QI", 0, 10)),
        (Kind.WRITE, handle + struct.pack(">Q", 0) + string(b"bytes")),
        *((kind, path) for kind in (Kind.STAT, Kind.LSTAT, Kind.SETSTAT, Kind.OPENDIR, Kind.REMOVE, Kind.REALPATH)),
        *((kind, handle) for kind in (Kind.FSTAT, Kind.FSETSTAT, Kind.READDIR)),
        (Kind.RENAME, path + path),
        *((Kind.EXTENDED, string(name) + path) for name in ("statvfs@openssh.com",)),
        (Kind.EXTENDED, string("posix-rename@openssh.com") + path + path),
        (Kind.EXTENDED, string("fsync@openssh.com") + handle),
        (Kind.EXTENDED, string("fstatvfs@openssh.com") + handle),
    ]  # fmt: skip


def test_each_request_cut_off_at_each_byte_is_answered_as_such_and_does_nothing(hub: Hub, raw: Raw) -> None:
    handle = raw.open("inbound/a.tmp", WRITE | CREAT)
    for kind, body in whole_requests(handle):
        sent = [raw.send(kind, body[:length]) for length in range(len(body))]
        for request in sent:
            found, rest = raw.receive()
            assert int.from_bytes(rest[:4]) == request
            assert (found, int.from_bytes(rest[4:8])) in {(Kind.STATUS, MALFORMED), (Kind.STATUS, FAILURE)}
            assert b"try again" not in rest
    assert raw.write(handle, 0, b"bytes")[0] == OK  # still open
    assert hub.stores.mailboxes.part(CNP, "a.tmp").read_bytes() == b"bytes"


def test_lengths_within_a_packet_that_point_behind_its_end_are_malformed(raw: Raw) -> None:
    handle = raw.open("inbound/a.tmp", WRITE | CREAT)
    for length in (6, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
        count = struct.pack(">I", length)
        assert raw.status(Kind.WRITE, handle + struct.pack(">Q", 0) + count + b"bytes")[0] == MALFORMED
        assert raw.status(Kind.STAT, count + b"inbox")[0] == MALFORMED
        assert raw.status(Kind.EXTENDED, count + b"inbox")[0] == MALFORMED
        assert raw.status(Kind.CLOSE, count + b"inbox")[0] == MALFORMED


def test_the_longest_packet_is_taken_and_one_byte_more_ends_the_session(hub: Hub, raw: Raw) -> None:
    handle = raw.open("inbound/a.tmp", WRITE | CREAT)
    most = b"x" * (MAX_TAKEN - 1 - 4 - len(handle) - 8 - 4)
    assert raw.write(handle, 0, most)[0] == OK
    with pytest.raises((EOFError, OSError)):
        raw.write(handle, 0, most + b"x")
    until(lambda: [event["name"] for event in hub.events()] == ["drop.incomplete"])
    assert hub.stores.mailboxes.part(CNP, "a.tmp").stat().st_size == len(most)


def test_requests_before_init_or_twice_init_are_no_way_in(door: Door) -> None:
    with door.transport(CNP) as transport:
        channel = transport.open_session()
        channel.settimeout(SECONDS)
        channel.invoke_subsystem("sftp")
        early = Raw(channel, init=False)
        early.send(Kind.OPENDIR, string("/"))
        with pytest.raises(EOFError):
            early.receive()
    with door.raw(CNP) as raw:
        assert raw.status(Kind.INIT, b"")[0] == UNSERVED
        assert raw.status(Kind.VERSION, b"")[0] == UNSERVED
        assert raw.ask(Kind.STAT, string("/"))[0] == Kind.ATTRS
