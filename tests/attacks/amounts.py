"""As much as can be had: bytes, handles, answers."""

import asyncio
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import asyncssh

from attacked_fixtures import CNP, ONC, Attacked
from attacks import attack
from attacks.paths import CREAT, OK, READ, SECRET, TRUNC, WRITE
from doors_fixtures import AGREED, SECONDS, Raw, string, until
from exchange.sftp_v3 import Kind

PUT = WRITE | CREAT | TRUNC
GREATEST = 2 << 30  # bytes of an upload, by the hub's settings
MOST = 256 * 1024  # bytes of an answer
FEW = 2 << 20  # bytes that may wait for one client
ASKED = 1 << 20


def opened(raw: Raw, path: str, flags: int) -> bytes:
    """A handle, or nothing if it is refused."""
    kind, rest = raw.ask(Kind.OPEN, string(path) + struct.pack(">II", flags, 0))
    return rest if kind == Kind.HANDLE else b""


def on_disk(folder: Path) -> int:
    """The size of the longest file in a folder."""
    return max((file.lstat().st_size for file in folder.iterdir()), default=0)


@attack(
    stock=[
        "a file longer than any may be",
        "a refusal that does not say of what",
        "a file of one hole is closed as if it were whole",
        "a hole stays on the disk",
    ]
)
def bytes_at_the_end_of_the_world(at: Attacked) -> Iterator[str]:
    inbound = at.folder(CNP, "inbound")
    with at.raw(CNP) as raw:
        handle = raw.open(f"inbound/{AGREED}", PUT)
        for offset in (GREATEST, 1 << 32, 1 << 43, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
            code, words = raw.write(handle, offset, b"x")
            if code == OK:
                yield "a file longer than any may be"
            elif AGREED not in words:
                yield "a refusal that does not say of what"
        if raw.write(handle, GREATEST - 1, b"x")[0] != OK:
            yield "the last byte that a file may have is refused"
        if raw.status(Kind.CLOSE, handle)[0] == OK:
            yield "a file of one hole is closed as if it were whole"
        if on_disk(inbound) > 0:
            yield "a hole stays on the disk"


@attack(stock=["its size", "its mode", "its time", "its owner", "its mode, at the open"])
def a_size_a_time_and_a_mode_that_a_client_says(at: Attacked) -> Iterator[str]:
    """As lftp and `scp -s` do before their CLOSE: they take a refusal for a failure."""
    attributes = {
        "its size": struct.pack(">IQ", 0x01, 1 << 40),
        "its owner": struct.pack(">III", 0x02, os.getuid(), os.getgid()),
        "its mode": struct.pack(">II", 0x04, 0o4777),
        "its time": struct.pack(">III", 0x08, 0, 0),
    }
    inbound = at.folder(CNP, "inbound")

    def say(kind: Kind, on: bytes) -> Iterator[str]:
        (file,) = inbound.iterdir()
        for what, said in attributes.items():
            before = file.stat()
            if raw.status(kind, on + said)[0] != OK:
                yield "a refusal"
            after = file.stat()
            if any(
                getattr(before, one) != getattr(after, one)
                for one in ("st_size", "st_mode", "st_uid", "st_mtime")
            ):
                yield what

    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        raw.write(handle, 0, b"1234")
        yield from say(Kind.FSETSTAT, handle)
        raw.status(Kind.CLOSE, handle)
        yield from say(Kind.SETSTAT, string("inbound/a.tmp"))
        mode = string("inbound/b.tmp") + struct.pack(">III", PUT, 0x04, 0o4777)
        assert raw.ask(Kind.OPEN, mode)[0] == Kind.HANDLE
    if any(file.stat().st_mode & 0o7137 for file in inbound.iterdir()):
        yield "its mode, at the open"


@attack(stock=["as many as it likes", "a file on the disk for each"])
def opens_that_are_never_closed(at: Attacked) -> Iterator[str]:
    """Ten thousand, of one kind or another; a hundred are more than are given."""
    (at.folder(CNP, "receipts") / "a.json").write_bytes(b"{}")

    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def an_open(number: int) -> tuple[Kind, bytes]:
        upload = string(f"inbound/{number}.tmp") + struct.pack(">II", WRITE | CREAT, 0)
        reading = string("receipts/a.json") + struct.pack(">II", READ, 0)
        return [(Kind.OPEN, reading), (Kind.OPEN, upload), (Kind.OPENDIR, string("receipts"))][number % 3]

    before, given = open_files(), 0
    with at.raw(CNP) as raw:
        for start in range(0, 10_000, 100):
            for request in [raw.send(*an_open(number)) for number in range(start, start + 100)]:
                kind, rest = raw.receive()
                assert int.from_bytes(rest[:4]) == request
                given += kind == Kind.HANDLE
            if given > 100:
                yield "as many as it likes"
                break
        assert given >= 64
        if open_files() > before + 64 + 40 and given <= 100:
            yield "more files than handles"
    until(lambda: open_files() < before + 20)  # the ledger may keep some connections more
    if len(list(at.folder(CNP, "inbound").iterdir())) > 64:
        yield "a file on the disk for each"


@attack()
def handles_of_others_guessed_or_closed(at: Attacked) -> Iterator[str]:
    (at.folder(ONC, "receipts") / "secret.json").write_bytes(SECRET)
    with at.raw(CNP) as raw, at.raw(ONC) as other:
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
                answer, rest = raw.ask(kind, guess + more)
                if answer != Kind.STATUS or int.from_bytes(rest[:4]) == OK:
                    yield "one that is not its own"
        if SECRET not in other.ask(Kind.READ, theirs + struct.pack(">QI", 0, 100))[1]:
            yield "another's is closed"


@attack(stock=["it copies what it has just copied"])
def a_file_copied_onto_itself(at: Attacked) -> Iterator[str]:
    """The first ends after 4 MiB. The next, to the end of what grows meanwhile, would not."""
    size = 1 << 18
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", READ | PUT)
        raw.write(handle, 0, b"x" * (size // 2))
        raw.write(handle, size // 2, b"x" * (size // 2))
        for length in (4 * ASKED, 0, 1 << 62):
            copy = handle + struct.pack(">QQ", 0, length) + handle + struct.pack(">Q", size)
            raw.status(Kind.EXTENDED, string("copy-data") + copy)
            if on_disk(at.folder(CNP, "inbound")) > size:
                yield "it copies what it has just copied"
                return


@attack(stock=["all of it in one answer"])
def a_read_of_4_gib(at: Attacked) -> Iterator[str]:
    with (at.folder(CNP, "receipts") / "a.json").open("wb") as file:
        file.truncate(8 * ASKED)
    with at.raw(CNP) as raw:
        handle = raw.open("receipts/a.json", READ)
        kind, found = raw.ask(Kind.READ, handle + struct.pack(">QI", 0, 0xFFFFFFFF))
        assert kind == Kind.DATA
        if len(found) > MOST:
            yield "all of it in one answer"


def packet(kind: int, request: int, *fields: bytes) -> bytes:
    body = struct.pack(">BI", kind, request) + b"".join(fields)
    return struct.pack(">I", len(body)) + body


async def answer(reader: asyncssh.SSHReader[bytes]) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))


def ask_and_do_not_take(at: Attacked, window: int) -> Iterator[str]:
    """250 READs of as much as there is, by a client whose window, or whose network, is full."""
    requests = 250
    with (at.folder(CNP, "receipts") / "a.json").open("wb") as file:
        file.truncate(requests * MOST)

    async def ask() -> int:
        async with asyncssh.connect(**at.asyncssh_options(CNP)) as connection:
            writer, reader, _ = await connection.open_session(subsystem="sftp", encoding=None, window=window)
            writer.write(packet(Kind.INIT, 3))
            writer.write(packet(Kind.OPEN, 1, string("receipts/a.json"), struct.pack(">II", READ, 0)))
            await answer(reader)
            handle = (await answer(reader))[5:]
            network = connection._transport
            assert network is not None
            network.pause_reading()
            for n in range(requests):
                writer.write(packet(Kind.READ, n, handle, struct.pack(">QI", n * MOST, MOST)))
            await asyncio.to_thread(until, lambda: at.holds_back() or at.waiting() > 10 * FEW)
            most = await asyncio.to_thread(at.waiting)
            if most < FEW:  # and when it does take them, all of them come
                network.resume_reading()
                for n in range(requests):
                    found = await answer(reader)
                    assert (found[0], int.from_bytes(found[1:5])) == (Kind.DATA, n)
            else:
                connection.abort()
            return most

    if asyncio.run(asyncio.wait_for(ask(), SECONDS)) > FEW:
        yield "answers pile up"


@attack(stock=["answers pile up"])
def reads_of_a_client_whose_window_is_full(at: Attacked) -> Iterator[str]:
    yield from ask_and_do_not_take(at, 1 << 16)


@attack(stock=["answers pile up"])
def reads_of_a_client_whose_network_is_full(at: Attacked) -> Iterator[str]:
    yield from ask_and_do_not_take(at, 1 << 31)


@attack(stock=["as small as it likes"])
def answers_of_one_byte_each(at: Attacked) -> Iterator[str]:
    """One answer would be a quarter of a million messages, each encrypted on its own."""

    async def open_session() -> bool:
        async with asyncssh.connect(**at.asyncssh_options(CNP)) as made:
            try:
                await made.open_session(subsystem="sftp", encoding=None, max_pktsize=1)
            except (asyncssh.Error, OSError, EOFError):
                return False
            return True

    if asyncio.run(asyncio.wait_for(open_session(), SECONDS)):
        yield "as small as it likes"


@attack(stock=["as much as it likes"], max_unloaded_bytes=1000)
def more_than_may_wait_to_be_loaded(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        for number in range(4):
            if handle := opened(raw, f"inbound/{number}.tmp", PUT):
                raw.write(handle, 0, b"x" * 600)
    if sum(file.stat().st_size for file in at.folder(CNP, "inbound").iterdir()) > 1000:
        yield "as much as it likes"


@attack(stock=["as many as it likes"])
def a_file_in_thousands_of_pieces(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", PUT)
        requests = [
            raw.send(Kind.WRITE, handle + struct.pack(">Q", 2 * n) + string(b"x")) for n in range(4200)
        ]
        answers = [struct.unpack(">II", raw.receive()[1][:8]) for _ in requests]
        assert [request for request, _ in answers] == requests
        if answers[-1][1] == OK:
            yield "as many as it likes"
