"""Packets that are not whole, are too much, or are none."""

import struct
from collections.abc import Iterator
from contextlib import suppress

import paramiko

from attacked_fixtures import CNP, Attacked
from attacks import attack
from attacks.amounts import PUT, on_disk
from attacks.paths import CREAT, OK, READ, WRITE
from doors_fixtures import SECONDS, Raw, patient, string
from exchange.sftp_v3 import MAX_TAKEN, Kind

FAILURE, MALFORMED, UNSERVED = 4, 5, 8


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


def is_over(raw: Raw) -> bool:
    """Whether the session ends, rather than answers."""
    try:
        raw.receive()
    except EOFError:
        return True
    return False


@attack()
def each_request_cut_off_at_each_byte(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", WRITE | CREAT)
        for kind, body in whole_requests(handle):
            sent = [raw.send(kind, body[:length]) for length in range(len(body))]
            for request in sent:
                found, rest = raw.receive()
                assert int.from_bytes(rest[:4]) == request
                if (found, int.from_bytes(rest[4:8])) not in {
                    (Kind.STATUS, MALFORMED),
                    (Kind.STATUS, FAILURE),
                }:
                    yield "an answer as if it were whole"
                if b"try again" in rest:
                    yield "a mistake of the server's"
        if raw.write(handle, 0, b"bytes")[0] != OK or on_disk(at.folder(CNP, "inbound")) != 5:
            yield "what was open is not any more"


@attack()
def lengths_within_a_packet_that_point_behind_its_end(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", WRITE | CREAT)
        for length in (6, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
            count = struct.pack(">I", length)
            for kind, body in (
                (Kind.WRITE, handle + struct.pack(">Q", 0) + count + b"bytes"),
                (Kind.STAT, count + b"inbox"),
                (Kind.EXTENDED, count + b"inbox"),
                (Kind.CLOSE, count + b"inbox"),
            ):
                if raw.status(kind, body)[0] != MALFORMED:
                    yield "an answer as if they did not"


@attack(stock=["it is taken", "it is written"])
def a_packet_a_byte_longer_than_the_longest(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", WRITE | CREAT)
        most = b"x" * (MAX_TAKEN - 1 - 4 - len(handle) - 8 - 4)
        if raw.write(handle, 0, most)[0] != OK:
            yield "the longest is refused"
        raw.send(Kind.WRITE, handle + struct.pack(">Q", 0) + string(most + b"x"))
        if not is_over(raw):
            yield "it is taken"
    if on_disk(at.folder(CNP, "inbound")) > len(most):
        yield "it is written"


@attack()
def what_is_no_packet(at: Attacked) -> Iterator[str]:
    for start in (b"\0\0\0\0", b"\xff\xff\xff\xff\x06", b"GET / HTTP/1.1\r\n\r\n"):
        with at.raw(CNP) as raw:
            raw.channel.sendall(start)
            if not is_over(raw):
                yield "an answer"


@attack()
def requests_before_init_and_init_twice(at: Attacked) -> Iterator[str]:
    with at.transport(CNP) as transport:
        channel = transport.open_session()
        channel.settimeout(SECONDS)
        channel.invoke_subsystem("sftp")
        early = Raw(channel, init=False)
        early.send(Kind.OPENDIR, string("/"))
        if not is_over(early):
            yield "an answer before the beginning"
    with at.raw(CNP) as raw:
        for kind in (Kind.INIT, Kind.VERSION):
            if raw.status(kind, b"")[0] != UNSERVED:
                yield "a second beginning"
        if raw.ask(Kind.STAT, string("/"))[0] != Kind.ATTRS:
            yield "no answer after it"


@attack(stock=["ranges@asyncssh.com", "lsetstat@openssh.com", "copy-data"])
def what_nobody_needs(at: Attacked) -> Iterator[str]:
    """Requests that change what is no client's, or take long, and that a partner's client can do without."""
    with at.raw(CNP) as raw:
        handle = raw.open("inbound/a.tmp", PUT | READ)
        raw.write(handle, 0, b"12345")
        for name, fields in (
            ("ranges@asyncssh.com", handle + struct.pack(">QQ", 0, 10)),
            ("lsetstat@openssh.com", string("inbound/a.tmp") + struct.pack(">II", 0x04, 0o600)),
            ("copy-data", handle + struct.pack(">QQ", 0, 5) + handle + struct.pack(">Q", 10)),
            ("expand-path@openssh.com", string("~/x")),
        ):
            kind, rest = raw.ask(Kind.EXTENDED, string(name) + fields)
            if name.encode() in raw.version[1] or (kind, int.from_bytes(rest[:4])) != (Kind.STATUS, UNSERVED):
                yield name


@attack(stock=["each is kept by itself before the session", "each is kept by itself in the session"])
def requests_that_come_byte_by_byte(at: Attacked) -> Iterator[str]:
    """And have to wait: before the session has begun, and in it, where the rest of a request is never sent."""
    count = 3_000

    def trickle(channel: paramiko.Channel) -> None:
        for _ in range(count):
            channel.sendall(b"\0")
        transport.global_request("is-all-here", wait=True)

    with at.transport(CNP) as transport:
        early = transport.open_session(timeout=SECONDS)
        trickle(early)
        if at.pieces() > count / 10:
            yield "each is kept by itself before the session"
        channel = transport.open_session(timeout=SECONDS)
        channel.settimeout(SECONDS)
        channel.invoke_subsystem("sftp")
        Raw(channel)
        early.close()
        channel.sendall(struct.pack(">IB", 100_000, Kind.WRITE))
        trickle(channel)
        if at.pieces() > count / 10:
            yield "each is kept by itself in the session"


@attack(stock=["as many as it likes"])
def variables_of_a_session(at: Attacked) -> Iterator[str]:
    with at.transport(CNP) as transport:
        channel = transport.open_session(timeout=SECONDS)
        for number in range(100):
            channel.set_environment_variable(f"NAME{number}", "x" * 1_000)
        transport.global_request("is-all-here", wait=True)
        if at.variables() > 50:
            yield "as many as it likes"


@attack(stock=["as often as it likes"])
def keys_exchanged_again_and_again_by_a_stranger(at: Attacked) -> Iterator[str]:
    """Each exchange takes the server longer than all else that it can be asked before a login."""
    transport = patient(paramiko.Transport(("127.0.0.1", at.port)))
    try:
        transport.start_client(timeout=SECONDS)
        with suppress(paramiko.SSHException, EOFError, OSError):
            for _ in range(3):
                transport.renegotiate_keys()
            yield "as often as it likes"
    finally:
        transport.close()


@attack(stock=["none"])
def proofs_of_the_host_key(at: Attacked) -> Iterator[str]:
    """Each is a signature: of an RSA key it takes as long as a login."""
    name = "hostkeys-prove-00@openssh.com"
    with at.transport(CNP) as transport:
        key = transport.get_remote_server_key().asbytes()
        if not transport.global_request(name, [key], wait=True):
            yield "none"
        if transport.global_request(name, [key] * 100, wait=True):
            yield "as many as it likes"
        if transport.global_request(name, [key], wait=True):
            yield "again and again"
