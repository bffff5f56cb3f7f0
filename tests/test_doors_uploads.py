"""Uploads: what is whole and what is not, and who may change what when."""

import struct
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import paramiko
import pytest

from doors_fixtures import AGREED, Door, Raw, open_door, string

READ, WRITE, APPEND, CREAT, TRUNC, EXCL = 1, 2, 4, 8, 16, 32
PUT = WRITE | CREAT | TRUNC
CLOSE, REMOVE, MKDIR, RMDIR, RENAME, READLINK, SYMLINK, EXTENDED = 4, 13, 14, 15, 18, 19, 20, 200
OK, MISSING, DENIED, FAILURE = 0, 2, 3, 4


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path) as door:
        yield door


@pytest.fixture
def inbound(door: Door) -> Path:
    return door.folder("cnp", "inbound")


@pytest.fixture
def raw(door: Door) -> Iterator[Raw]:
    with door.raw("cnp") as raw:
        yield raw


def rename(raw: Raw, old: str, new: str, *, over: bool = False) -> tuple[int, str]:
    if over:
        return raw.status(EXTENDED, string("posix-rename@openssh.com") + string(old) + string(new))
    return raw.status(RENAME, string(old) + string(new))


def put(raw: Raw, name: str, content: bytes = b"whole") -> None:
    handle = raw.open(f"inbound/{name}", PUT)
    assert raw.write(handle, 0, content)[0] == OK
    assert raw.status(CLOSE, handle) == (OK, "")


def break_off(door: Door, name: str, content: bytes) -> None:
    with door.raw("cnp") as raw:
        handle = raw.open(f"inbound/{name}", PUT)
        assert raw.write(handle, 0, content)[0] == OK
    door.desk.wait_for("upload_broken", name)


# ── Whole or not ─────────────────────────────────────────────────────────────────────────────────


def test_an_upload_is_hidden_until_its_close_and_whole_after_it(door: Door, inbound: Path, raw: Raw) -> None:
    handle = raw.open(f"inbound/{AGREED}", PUT)
    assert raw.write(handle, 0, b"bytes")[0] == OK
    assert [path.name for path in inbound.iterdir()] == [f".{AGREED}.part"]
    assert raw.status(CLOSE, handle) == (OK, "")
    assert (inbound / AGREED).read_bytes() == b"bytes"
    told = door.desk.wait_for("upload_ended")
    assert (told.partner, told.folder, told.name) == ("cnp", "inbound", AGREED)
    assert told.more["session"].address == "127.0.0.1"
    assert "paramiko" in told.more["session"].client_version


def test_an_upload_whose_connection_goes_is_broken_off_and_keeps_its_bytes(door: Door, inbound: Path) -> None:
    break_off(door, AGREED, b"half")
    told = door.desk.wait_for("upload_broken")
    assert told.more["received"] == 4
    assert (inbound / f".{AGREED}.part").read_bytes() == b"half"
    assert not (inbound / AGREED).exists()
    assert not [one for one in door.desk.told if one.what == "upload_ended"]


def test_an_upload_whose_channel_closes_without_close_is_broken_off(door: Door, raw: Raw) -> None:
    handle = raw.open("inbound/a.tmp", PUT)
    assert raw.write(handle, 0, b"half")[0] == OK
    raw.channel.close()
    assert door.desk.wait_for("upload_broken").more["received"] == 4


def test_an_upload_whose_client_says_eof_without_close_is_broken_off(door: Door, raw: Raw) -> None:
    handle = raw.open("inbound/a.tmp", PUT)
    assert raw.write(handle, 0, b"half")[0] == OK
    raw.channel.shutdown_write()
    assert door.desk.wait_for("upload_broken").more["received"] == 4


def test_an_upload_under_way_when_the_hub_drains_is_broken_off(door: Door, inbound: Path, raw: Raw) -> None:
    handle = raw.open(f"inbound/{AGREED}", PUT)
    assert raw.write(handle, 0, b"half")[0] == OK
    door.drain()
    assert [one.what for one in door.desk.told] == ["upload_broken"]
    assert [path.name for path in inbound.iterdir()] == [f".{AGREED}.part"]


def test_a_close_under_way_when_the_connection_goes_is_carried_out(door: Door, inbound: Path) -> None:
    door.desk.hold.clear()
    with door.raw("cnp") as raw:
        handle = raw.open(f"inbound/{AGREED}", PUT)
        assert raw.write(handle, 0, b"bytes")[0] == OK
        raw.send(CLOSE, handle)
        raw.send(17, string("inbound"))  # unread when the connection goes
    door.desk.hold.set()
    door.desk.wait_for("upload_ended")
    assert (inbound / AGREED).exists()


def test_a_client_that_leaves_right_after_its_close_has_closed(door: Door, inbound: Path) -> None:
    door.desk.hold.clear()
    with door.raw("cnp") as raw:
        first = raw.open("inbound/a.tmp", PUT)
        second = raw.open(f"inbound/{AGREED}", PUT)
        raw.send(CLOSE, first)  # which keeps the session while the rest comes
        raw.send(6, second + struct.pack(">Q", 0) + string(b"bytes"))
        raw.send(CLOSE, second)
        raw.channel.close()
        door.desk.hold.set()
        door.desk.wait_for("upload_ended", AGREED)
    assert (inbound / AGREED).read_bytes() == b"bytes"


def test_a_hole_at_close_is_no_whole_file(door: Door, inbound: Path, raw: Raw) -> None:
    handle = raw.open(f"inbound/{AGREED}", PUT)
    assert raw.write(handle, 0, b"aaaa")[0] == OK
    assert raw.write(handle, 8, b"cccc")[0] == OK
    code, words = raw.status(CLOSE, handle)
    assert code == FAILURE
    assert "bytes 4 to 8 never came" in words
    assert door.desk.wait_for("upload_broken").more["received"] == 4
    assert (inbound / f".{AGREED}.part").read_bytes() == b"aaaa"


def test_an_empty_upload_is_whole(inbound: Path, raw: Raw) -> None:
    put(raw, AGREED, b"")
    assert (inbound / AGREED).read_bytes() == b""


def test_what_the_desk_refuses_at_close_is_told_and_stays_unfinished(
    door: Door, inbound: Path, raw: Raw
) -> None:
    door.desk.refuses = "the quota of unloaded bytes is reached"
    handle = raw.open(f"inbound/{AGREED}", PUT)
    assert raw.write(handle, 0, b"bytes")[0] == OK
    assert raw.status(CLOSE, handle) == (FAILURE, "the quota of unloaded bytes is reached")
    assert [path.name for path in inbound.iterdir()] == [f".{AGREED}.part"]
    put(raw, AGREED)  # and may be tried again


def test_an_upload_beyond_the_limit_is_refused_and_never_whole(tmp_path: Path) -> None:
    with open_door(tmp_path, max_upload_bytes=1000) as door, door.raw("cnp") as raw:
        handle = raw.open(f"inbound/{AGREED}", PUT)
        assert raw.write(handle, 0, b"x" * 1000)[0] == OK
        assert raw.write(handle, 1000, b"x") == (FAILURE, f"{AGREED}: a file may have at most 1000 bytes")
        assert raw.write(handle, 2**62, b"x")[0] == FAILURE
        assert raw.write(handle, 2**64 - 1, b"x")[0] == FAILURE
        assert raw.status(CLOSE, handle)[0] == FAILURE
        assert (door.folder("cnp", "inbound") / f".{AGREED}.part").stat().st_size == 1000


# ── Going on ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("flags", [WRITE, WRITE | CREAT, WRITE | CREAT | APPEND, READ | WRITE | CREAT])
def test_a_broken_upload_is_resumed(door: Door, inbound: Path, flags: int) -> None:
    break_off(door, AGREED, b"first ")
    with door.raw("cnp") as raw:
        handle = raw.open(f"inbound/{AGREED}", flags)
        assert raw.write(handle, 6, b"second")[0] == OK
        assert raw.status(CLOSE, handle)[0] == OK
    assert door.desk.wait_for("upload_resumed").more["whole"] is False
    assert (inbound / AGREED).read_bytes() == b"first second"


def test_an_appending_client_that_counts_from_nothing_is_appended_to(door: Door, inbound: Path) -> None:
    break_off(door, "a.tmp", b"first ")
    with door.raw("cnp") as raw:
        handle = raw.open("inbound/a.tmp", WRITE | APPEND)
        assert raw.write(handle, 0, b"sec")[0] == OK
        assert raw.write(handle, 3, b"ond")[0] == OK
        assert raw.status(CLOSE, handle)[0] == OK
    assert (inbound / "a.tmp").read_bytes() == b"first second"


def test_an_appending_client_that_leaves_bytes_out_is_not_whole(door: Door) -> None:
    break_off(door, "a.tmp", b"first ")
    with door.raw("cnp") as raw:
        handle = raw.open("inbound/a.tmp", WRITE | APPEND)
        assert raw.write(handle, 9, b"ond")[0] == OK
        assert raw.status(CLOSE, handle)[0] == FAILURE


def test_truncating_starts_a_broken_upload_again(door: Door, inbound: Path) -> None:
    break_off(door, AGREED, b"old and long")
    with door.raw("cnp") as raw:
        put(raw, AGREED, b"new")
    assert (inbound / AGREED).read_bytes() == b"new"


def test_a_hole_that_a_killed_hub_left_is_cut_off_before_the_upload_goes_on(inbound: Path, raw: Raw) -> None:
    with (inbound / f".{AGREED}.part").open("wb") as part:
        part.write(b"a" * 65536)
        part.seek(1 << 20)
        part.write(b"c" * 65536)
    handle = raw.open(f"inbound/{AGREED}", WRITE | APPEND)
    assert raw.write(handle, (1 << 20) + 65536, b"d")[0] == OK
    code, words = raw.status(CLOSE, handle)
    assert code == FAILURE
    assert "bytes 65536 to" in words
    assert (inbound / f".{AGREED}.part").read_bytes() == b"a" * 65536


def test_a_second_upload_of_the_same_name_is_refused_while_one_is_open(door: Door, raw: Raw) -> None:
    handle = raw.open(f"inbound/{AGREED}", PUT)
    with door.raw("cnp") as other:
        code, words = other.opens(f"inbound/{AGREED}", PUT)
        assert code == FAILURE
        assert "under way" in words
        assert raw.status(CLOSE, handle)[0] == OK
    with door.raw("onc") as other:
        other.open(f"inbound/{AGREED}", PUT)


def test_a_file_that_is_being_taken_in_cannot_be_changed(door: Door, inbound: Path, raw: Raw) -> None:
    put(raw, AGREED)
    put(raw, "b.tmp")
    path = f"inbound/{AGREED}"
    for code, words in (
        raw.opens(path, PUT),
        raw.opens(path, WRITE | APPEND),
        raw.status(REMOVE, string(path)),
        rename(raw, path, "inbound/c.tmp"),
        rename(raw, "inbound/b.tmp", path, over=True),
    ):
        assert code == FAILURE
        assert "still being taken in; wait for its receipt" in words
    assert sorted(path.name for path in inbound.iterdir()) == sorted([AGREED, "b.tmp"])


def test_a_finished_file_under_a_temporary_name_may_be_written_again_or_gone_on_with(
    door: Door, inbound: Path, raw: Raw
) -> None:
    put(raw, "a.tmp", b"first")
    door.desk.refuses = "a.tmp is being taken in"
    assert raw.opens("inbound/a.tmp", WRITE | APPEND) == (FAILURE, "a.tmp is being taken in")
    assert [path.name for path in inbound.iterdir()] == ["a.tmp"]
    handle = raw.open("inbound/a.tmp", WRITE | APPEND)
    assert door.desk.wait_for("upload_resumed", "a.tmp").more["whole"] is True
    assert [path.name for path in inbound.iterdir()] == [".a.tmp.part"]
    assert raw.write(handle, 5, b" second")[0] == OK
    assert raw.status(CLOSE, handle)[0] == OK
    assert (inbound / "a.tmp").read_bytes() == b"first second"
    put(raw, "a.tmp", b"new")
    assert (inbound / "a.tmp").read_bytes() == b"new"


def test_exclusive_creation_and_writing_to_nothing_are_what_they_say(raw: Raw) -> None:
    assert raw.opens("inbound/a.tmp", WRITE)[0] == MISSING
    put(raw, "a.tmp")
    assert raw.opens("inbound/a.tmp", WRITE | CREAT | EXCL)[0] == FAILURE


# ── Renames and removals ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("over", [False, True])
def test_a_finished_file_is_renamed_into_place(door: Door, inbound: Path, raw: Raw, over: bool) -> None:
    put(raw, "a.tmp")
    assert rename(raw, "inbound/a.tmp", f"inbound/{AGREED}", over=over)[0] == OK
    assert [path.name for path in inbound.iterdir()] == [AGREED]
    told = door.desk.wait_for("file_renamed")
    assert (told.name, told.more["new"], told.more["whole"]) == ("a.tmp", AGREED, True)


def test_a_broken_upload_that_is_renamed_stays_broken(door: Door, inbound: Path) -> None:
    break_off(door, "a.tmp", b"half")
    with door.raw("cnp") as raw:
        assert rename(raw, "inbound/a.tmp", f"inbound/{AGREED}")[0] == OK
    assert [path.name for path in inbound.iterdir()] == [f".{AGREED}.part"]
    assert door.desk.wait_for("file_renamed").more["whole"] is False


def test_a_rename_replaces_only_what_is_idle_and_only_if_it_says_so(inbound: Path, raw: Raw) -> None:
    put(raw, "a.tmp", b"a")
    put(raw, "b.tmp", b"b")
    assert rename(raw, "inbound/a.tmp", "inbound/b.tmp")[0] == FAILURE
    handle = raw.open("inbound/b.tmp", WRITE)
    assert rename(raw, "inbound/a.tmp", "inbound/b.tmp", over=True)[0] == FAILURE
    assert rename(raw, "inbound/b.tmp", "inbound/c.tmp")[0] == FAILURE
    assert raw.status(CLOSE, handle)[0] == OK
    assert rename(raw, "inbound/a.tmp", "inbound/b.tmp", over=True)[0] == OK
    assert {path.name: path.read_bytes() for path in inbound.iterdir()} == {"b.tmp": b"a"}
    assert rename(raw, "inbound/b.tmp", "inbound/b.tmp", over=True)[0] == OK


@pytest.mark.parametrize(
    "new", ["receipts/a.tmp", "a.tmp", "inbound", "../onc/inbound/a.tmp", "inbound/.a", "inbound/a b", "/"]
)
def test_a_rename_out_of_the_folder_or_to_a_bad_name_is_refused(inbound: Path, raw: Raw, new: str) -> None:
    put(raw, "a.tmp")
    for over in (False, True):
        code, words = rename(raw, "inbound/a.tmp", new, over=over)
        assert code in {MISSING, DENIED, FAILURE}
        assert words
    assert [path.name for path in inbound.iterdir()] == ["a.tmp"]


def test_own_unfinished_and_temporary_files_can_be_removed(door: Door, inbound: Path) -> None:
    break_off(door, "half.tmp", b"half")
    with door.raw("cnp") as raw:
        put(raw, "a.tmp")
        handle = raw.open("inbound/open.tmp", PUT)
        assert raw.status(REMOVE, string("inbound/open.tmp"))[0] == FAILURE
        assert raw.status(CLOSE, handle)[0] == OK
        for name in ("half.tmp", "a.tmp", "open.tmp"):
            assert raw.status(REMOVE, string(f"inbound/{name}"))[0] == OK
        assert raw.status(REMOVE, string("inbound/a.tmp"))[0] == MISSING
    assert list(inbound.iterdir()) == []


# ── What no folder takes ─────────────────────────────────────────────────────────────────────────


def test_links_and_folders_are_refused_in_words(inbound: Path, raw: Raw) -> None:
    put(raw, "a.tmp")
    attributes = struct.pack(">I", 0)
    for kind, body in (
        (SYMLINK, string("/etc/passwd") + string("inbound/link")),
        (SYMLINK, string("inbound/link") + string("/etc/passwd")),
        (READLINK, string("inbound/a.tmp")),
        (MKDIR, string("inbound/deep") + attributes),
        (RMDIR, string("inbound")),
        (EXTENDED, string("hardlink@openssh.com") + string("inbound/a.tmp") + string("inbound/link")),
    ):
        code, words = raw.status(kind, body)
        assert code == DENIED
        assert "fixed" in words
    assert sorted(path.name for path in inbound.iterdir()) == ["a.tmp"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("inbound/a b", FAILURE),
        ("inbound/.hidden", FAILURE),
        ("inbound/-rf", FAILURE),
        ("inbound/a\nb", FAILURE),
        ("inbound/a\0b", FAILURE),
        ("inbound/\x1b[2J", FAILURE),
        ("inbound/" + "x" * 255, FAILURE),
        ("inbound/" + "x" * 256, FAILURE),
        ("inbound", FAILURE),
        ("inbound/a/b", MISSING),
        ("a.tmp", DENIED),
        ("/onc/inbound/a.tmp", DENIED),
        ("inbound/../../onc/inbound/a.tmp", DENIED),
        ("receipts/a.json", DENIED),
        ("reports/a.json", DENIED),
        ("outbound/a", DENIED),
    ],
)
def test_an_upload_anywhere_else_is_refused_in_words(door: Door, raw: Raw, path: str, code: int) -> None:
    found, words = raw.opens(path, PUT)
    assert found == code
    assert words
    assert str(door.home) not in words
    assert not [file for file in door.desk.root.rglob("*") if file.is_file()]


def test_who_puts_a_file_where_no_folder_is_is_told_where_it_goes(door: Door) -> None:
    wanted = "files go into inbound/, as in: put FILE inbound/"
    with door.raw("cnp") as raw:
        assert raw.opens(f"/{AGREED}", PUT) == (DENIED, wanted)
        assert raw.opens(f"in/{AGREED}", PUT) == (DENIED, wanted)
    with door.raw("acme") as raw:
        assert raw.opens("/a.csv", PUT) == (DENIED, "there is nothing here that this login can upload into")
    (door.home / AGREED).write_bytes(b"here")
    assert wanted in door.sftp("cnp", f"put {AGREED}", check=False).stderr


def test_requests_take_no_uploads_yet_and_say_so(door: Door) -> None:
    with door.raw("acme") as raw:
        assert raw.opens("requests/a.csv", PUT) == (DENIED, "history requests are not served yet")
        assert raw.opens("outbound/a.csv", PUT)[0] == DENIED


@pytest.mark.parametrize("start", [b"\0\0\0\0", b"\xff\xff\xff\xff\x06", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_packet_ends_the_session_and_breaks_off_its_uploads(
    door: Door, raw: Raw, start: bytes
) -> None:
    handle = raw.open("inbound/a.tmp", PUT)
    assert raw.write(handle, 0, b"half")[0] == OK
    raw.channel.sendall(start)
    with pytest.raises(EOFError):
        raw.receive()
    assert door.desk.wait_for("upload_broken").more["received"] == 4


def test_the_handles_of_a_session_are_limited_and_made_free_by_closing(tmp_path: Path) -> None:
    with open_door(tmp_path, max_handles=3) as door, door.raw("cnp") as raw:
        handles = [raw.open(f"inbound/{n}.tmp", PUT) for n in range(3)]
        code, words = raw.opens("inbound/4.tmp", PUT)
        assert (code, words) == (FAILURE, "3 files are open in this session; close some of them")
        assert raw.status(11, string("inbound"))[0] == FAILURE
        assert raw.status(CLOSE, handles[0])[0] == OK
        raw.open("inbound/4.tmp", PUT)
        assert raw.status(CLOSE, handles[0])[0] == FAILURE
        assert raw.status(CLOSE, string(b"\0\0\0\0\0\0"))[0] == FAILURE


def test_a_login_that_is_disabled_meanwhile_opens_nothing_more(door: Door, raw: Raw) -> None:
    put(raw, "a.tmp")
    file = door.partners / "cnp.toml"
    file.write_text(file.read_text() + "disabled = true\n")
    code, words = raw.opens("inbound/b.tmp", PUT)
    assert (code, words) == (DENIED, "this login was closed; ask the hub's operator")
    assert raw.status(11, string("inbound"))[0] == DENIED
    assert raw.status(REMOVE, string("inbound/a.tmp"))[0] == DENIED


def test_one_upload_after_the_other_begins_until_the_key_has_ended(door: Door) -> None:
    today = door.desk.now().date()
    door.add_partner("soon", "edc", key_more=f'expires = "{today}"')
    with door.raw("soon") as raw:
        for name in ("a.tmp", "b.tmp", "c.tmp"):
            raw.open(f"inbound/{name}", PUT)
        door.desk.days_on = 1
        code, words = raw.opens("inbound/d.tmp", PUT)
    assert code == DENIED
    assert "this key expired on" in words


def test_words_of_a_refusal_reach_paramiko_and_asyncssh(door: Door) -> None:
    with door.paramiko("cnp") as client, pytest.raises(OSError, match="does not begin with"):
        client.open("inbound/.x", "w")
    import asyncio

    async def ask() -> None:
        async with (
            asyncssh.connect(**door.asyncssh_options("cnp")) as connection,
            connection.start_sftp_client() as client,
        ):
            with pytest.raises(asyncssh.SFTPFailure, match="does not begin with"):
                await client.open("inbound/.x", "w")

    asyncio.run(ask())


assert paramiko
