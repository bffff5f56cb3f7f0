"""Uploads that are not whole and look so, that are somebody else's at the moment, or that old clients make."""

import hashlib
import struct
from collections.abc import Iterator
from datetime import date

from attacked_fixtures import CNP, Attacked
from attacks import attack
from attacks.amounts import PUT
from attacks.paths import APPEND, CREAT, OK, READ, WRITE
from doors_fixtures import Raw, string
from exchange.sftp_v3 import Kind
from hub_fixtures import small_night
from schemas.sample import SampleFile


def a_file() -> SampleFile:
    """One that the hub would load."""
    return next(file for file in small_night(date(2013, 9, 2)).buckets() if file.edc == CNP)


def put(raw: Raw, name: str, content: bytes, *, at: int = 0, flags: int = PUT, close: bool = True) -> int:
    """Send a file, or its bytes from `at` on; what is answered in the end."""
    handle = raw.open(f"inbound/{name}", flags)
    assert raw.write(handle, at, content)[0] == OK
    return raw.status(Kind.CLOSE, handle)[0] if close else OK


@attack()
def a_file_that_is_whole(at: Attacked) -> Iterator[str]:
    """So that it is known that what is not taken below would be, if it were whole."""
    file = a_file()
    with at.raw(CNP) as raw:
        put(raw, file.name, file.content)
    if at.taken() != {file.name}:
        yield "it is not taken"


@attack(stock=["half a file under the name of a whole one", "half a file is taken for whole"])
def a_connection_that_goes_in_the_middle(at: Attacked) -> Iterator[str]:
    file = a_file()
    for ends in ("connection", "channel", "eof"):
        with at.raw(CNP) as raw:
            put(raw, file.name, file.content[:-100], close=False)
            if (at.folder(CNP, "inbound") / file.name).exists():
                yield "half a file under the name of a whole one"
            if ends == "channel":
                raw.channel.close()
            elif ends == "eof":
                raw.channel.shutdown_write()
        at.wait_until_all_have_gone()
        if at.taken():
            yield "half a file is taken for whole"


@attack(stock=["half a file is taken for whole"])
def a_close_before_the_end(at: Attacked) -> Iterator[str]:
    """As OpenSSH's sftp does when somebody presses Ctrl-C."""
    file = a_file()
    with at.raw(CNP) as raw:
        put(raw, file.name, file.content[:-100])
    if at.taken():
        yield "half a file is taken for whole"


@attack(stock=["a file with a hole is taken for whole"])
def bytes_that_never_came(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        assert raw.write(handle, 0, b"aaaa")[0] == OK
        assert raw.write(handle, 8, b"cccc")[0] == OK
        if raw.status(Kind.CLOSE, handle)[0] == OK:
            yield "a file with a hole is taken for whole"


@attack(stock=["it is taken"])
def another_content_than_its_checksum_says(at: Attacked) -> Iterator[str]:
    file = a_file()
    with at.raw(CNP) as raw:
        put(raw, f"{file.name}.sha256", hashlib.sha256(b"another").hexdigest().encode())
        put(raw, file.name, file.content)
    if file.name in at.taken():
        yield "it is taken"


@attack(stock=["two write one file", "it is taken away or moved meanwhile", "it is not what was sent"])
def a_second_upload_of_the_same_name(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw, at.raw(CNP) as other:
        handle = raw.open("inbound/a.tmp", PUT)
        raw.write(handle, 0, b"first")
        opening = string("inbound/a.tmp") + struct.pack(">II", PUT, 0)
        if other.ask(Kind.OPEN, opening)[0] == Kind.HANDLE:
            yield "two write one file"
        for code in (
            other.status(Kind.REMOVE, string("inbound/a.tmp"))[0],
            other.status(Kind.RENAME, string("inbound/a.tmp") + string("inbound/b.tmp"))[0],
        ):
            if code == OK:
                yield "it is taken away or moved meanwhile"
        raw.write(handle, 5, b" and second")
        raw.status(Kind.CLOSE, handle)
    if [file.read_bytes() for file in at.folder(CNP, "inbound").iterdir()] != [b"first and second"]:
        yield "it is not what was sent"


@attack(stock=["it is read to its end"])
def a_file_that_the_hub_takes_back_while_it_is_read(at: Attacked) -> Iterator[str]:
    file = at.folder(CNP, "receipts") / "a.json"
    file.write_bytes(b"0123456789")
    with at.raw(CNP) as raw:
        handle = raw.open("receipts/a.json", READ)
        assert raw.ask(Kind.READ, handle + struct.pack(">QI", 0, 5))[0] == Kind.DATA
        file.unlink()
        if raw.ask(Kind.READ, handle + struct.pack(">QI", 5, 5))[0] == Kind.DATA:
            yield "it is read to its end"


@attack(stock=["a refusal", "another file than was sent"])
def writes_of_rclone_1_60(at: Attacked) -> Iterator[str]:
    """Its packets of more than 32 KiB are longer than what they hold."""
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        for n in range(8):
            body = handle + struct.pack(">Q", 4 * n) + string(b"data") + b"\0" * (1 << n)
            if raw.status(Kind.WRITE, body)[0] != OK:
                yield "a refusal"
        raw.status(Kind.CLOSE, handle)
    if (at.folder(CNP, "inbound") / "a.tmp").read_bytes() != b"data" * 8:
        yield "another file than was sent"


@attack()
def writes_in_any_order(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        for offset, data in ((8, b"cccc"), (4, b"bbbb"), (6, b"bbcc"), (0, b"aaaa")):
            if raw.write(handle, offset, data)[0] != OK:
                yield "a refusal"
        raw.status(Kind.CLOSE, handle)
    if (at.folder(CNP, "inbound") / "a.tmp").read_bytes() != b"aaaabbbbcccc":
        yield "another file than was sent"


@attack()
def uploads_that_are_gone_on_with(at: Attacked) -> Iterator[str]:
    """As clients open them: OpenSSH's reput with the first of these, others with the rest."""
    for number, flags in enumerate((WRITE | CREAT | APPEND, WRITE, WRITE | CREAT, READ | WRITE | CREAT)):
        name = f"{number}.tmp"
        with at.raw(CNP) as raw:
            put(raw, name, b"first ", close=False)
        at.wait_until_all_have_gone()
        with at.raw(CNP) as raw:
            put(raw, name, b"second", at=6, flags=flags)
        if (at.folder(CNP, "inbound") / name).read_bytes() != b"first second":
            yield "another file than was sent"
