"""Before there is a session: who is let in, what strangers learn, and how many may knock, how often and how long."""

import asyncio
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import asyncssh
import paramiko

from attacked_fixtures import CNP, Attacked
from attacks import attack
from doors_fixtures import SECONDS, patient, string
from exchange.sftp_v3 import Kind

MANY = 30


def comes_in(at: Attacked, login: str, keys: list[Any], **more: Any) -> bool:
    """Whether one of these keys opens a session of that login."""

    async def connect() -> bool:
        options = at.asyncssh_options(CNP) | {"username": login, "client_keys": keys} | more
        try:
            async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
                return bool(await client.listdir("/"))
        except (asyncssh.Error, OSError):
            return False

    return asyncio.run(asyncio.wait_for(connect(), SECONDS))


def new_key(kind: str = "ssh-ed25519", **more: Any) -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(kind, **more)


def crowd(at: Attacked, stack: ExitStack) -> Iterator[str]:
    """Connections that say nothing, none of which is turned away."""
    for _ in range(MANY):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", at.port), SECONDS))
        if not client.recv(100).startswith(b"SSH-2.0-"):
            return
    yield "as many as come"


@attack(stock=["as many as come"], max_unauthenticated=10)
def connections_that_do_not_log_in(at: Attacked) -> Iterator[str]:
    with ExitStack() as stack:
        yield from crowd(at, stack)


@attack(stock=["as many as come"], max_unauthenticated_per_address=10)
def connections_of_one_address_that_do_not_log_in(at: Attacked) -> Iterator[str]:
    with ExitStack() as stack:
        yield from crowd(at, stack)


@attack(stock=["as many as come"], max_connections=10)
def connections(at: Attacked) -> Iterator[str]:
    with ExitStack() as stack:
        stack.enter_context(at.transport(CNP))
        yield from crowd(at, stack)


@attack(stock=["as many as come"], max_connections_per_address=10)
def connections_of_one_address(at: Attacked) -> Iterator[str]:
    with ExitStack() as stack:
        stack.enter_context(at.transport(CNP))
        yield from crowd(at, stack)


@attack(stock=["as many as it likes"])
def sessions_of_one_connection(at: Attacked) -> Iterator[str]:
    kept = []  # paramiko closes what nobody holds
    with at.transport(CNP) as transport, suppress(paramiko.ChannelException):
        kept += [transport.open_session(timeout=SECONDS) for _ in range(MANY)]
        yield "as many as it likes"


@attack(stock=["as many as it likes"], max_sessions_per_partner=3)
def sessions_of_one_partner(at: Attacked) -> Iterator[str]:
    kept = []
    with ExitStack() as stack, suppress(paramiko.ChannelException):
        for transport in [stack.enter_context(at.transport(CNP)) for _ in range(2)]:
            kept += [transport.open_session(timeout=SECONDS) for _ in range(2)]
        yield "as many as it likes"


@attack(stock=["as many as it likes"], max_sessions_per_partner=3)
def connections_of_one_partner(at: Attacked) -> Iterator[str]:
    """From wherever they come, and whether anything is asked over them or not."""
    with ExitStack() as stack, suppress(paramiko.SSHException, EOFError):
        for _ in range(4):
            stack.enter_context(at.transport(CNP))
        yield "as many as it likes"


@attack(stock=["it may stay for ever"], idle_seconds=1)
def a_client_that_says_nothing_any_more(at: Attacked) -> Iterator[str]:
    with suppress(EOFError, OSError, paramiko.SSHException), at.raw(CNP):  # which may be slower than a second
        if at.waits_for_ever():
            yield "it may stay for ever"


@attack(stock=["as many as it likes"])
def keys_tried_on_one_connection(at: Attacked) -> Iterator[str]:
    strangers = [new_key() for _ in range(MANY)]
    if comes_in(at, CNP, [*strangers, str(at.key_files[CNP])]):
        yield "as many as it likes"


@attack(stock=["as often as it likes"], ban_score=5)
def logins_that_fail_again_and_again(at: Attacked) -> Iterator[str]:
    for _ in range(MANY):
        if comes_in(at, CNP, [new_key()]):
            yield "any key"
        at.settle()
        with socket.create_connection(("127.0.0.1", at.port), SECONDS) as client:
            if not client.recv(100).startswith(b"SSH-2.0-"):
                return
    yield "as often as it likes"


@attack(stock=["those are offered more"])
def which_logins_there_are(at: Attacked) -> Iterator[str]:
    """By the ways to log in that a stranger is offered."""
    offered = []
    for login in (CNP, "nobody"):
        transport = patient(paramiko.Transport(("127.0.0.1", at.port)))
        try:
            transport.start_client(timeout=SECONDS)
            transport.auth_none(login)
            yield "nobody needs a key"
        except paramiko.BadAuthenticationType as refused:
            offered.append(refused.allowed_types)
        finally:
            transport.close()
    if offered[0] != offered[1]:
        yield "those are offered more"


@attack(stock=["it is let in"])
def a_login_spelt_otherwise(at: Attacked) -> Iterator[str]:
    for spelling in (
        f"./{CNP}",
        f"../authorized_keys/{CNP}",
        f"{CNP}/",
        CNP.upper(),
        f"{CNP} ",
        f"onc/../{CNP}",
    ):
        if comes_in(at, spelling, [str(at.key_files[CNP])]):
            yield "it is let in"


@attack(stock=["it opens"])
def a_key_that_has_expired(at: Attacked) -> Iterator[str]:
    if comes_in(at, "late", [str(at.add_expired("late"))]):
        yield "it opens"


@attack(stock=["it opens"])
def a_signature_with_sha1(at: Attacked) -> Iterator[str]:
    key = new_key("ssh-rsa", key_size=2048)
    at.allow(CNP, key.export_public_key().decode().strip())
    assert comes_in(at, CNP, [key], signature_algs=["rsa-sha2-256"])
    (pair,) = asyncssh.load_keypairs([key])
    pair.sig_algorithms = (b"ssh-rsa",)
    pair.set_sig_algorithm(b"ssh-rsa")
    if comes_in(at, CNP, [pair], signature_algs=["ssh-rsa"]):
        yield "it opens"


def certified(at: Attacked, **said: Any) -> bool:
    """Whether a certificate of an authority of the partner's opens its login."""
    authority, key = new_key(), new_key()
    at.trust("ops", authority.export_public_key().decode().strip())
    certificate = authority.generate_user_certificate(key, "id", **said)
    return comes_in(at, "ops", [(key, certificate)])


@attack()
def a_certificate_for_that_login(at: Attacked) -> Iterator[str]:
    """So that it is known that those below would open, if they were good."""
    if not certified(at, principals=["ops"]):
        yield "it does not open"


@attack()
def a_certificate_for_another_login(at: Attacked) -> Iterator[str]:
    if certified(at, principals=["onc"]):
        yield "it opens"


@attack(stock=["it opens"])
def a_certificate_that_names_no_login(at: Attacked) -> Iterator[str]:
    if certified(at):
        yield "it opens"


@attack()
def a_certificate_for_other_addresses(at: Attacked) -> Iterator[str]:
    if certified(at, principals=["ops"], source_address=["192.0.2.0/24"]):
        yield "it opens"


@attack()
def a_certificate_that_has_ended(at: Attacked) -> Iterator[str]:
    if certified(at, principals=["ops"], valid_after="20120101", valid_before="20130101"):
        yield "it opens"


@attack(stock=["a terminal"])
def anything_but_sftp(at: Attacked) -> Iterator[str]:
    asked: dict[str, Callable[[paramiko.Channel], None]] = {
        "a shell": lambda channel: channel.invoke_shell(),
        "a command": lambda channel: channel.exec_command("id"),
        "old scp": lambda channel: channel.exec_command("scp -t /inbound"),
        "a terminal": lambda channel: channel.get_pty(),
        "X11": lambda channel: channel.request_x11(),
        "another subsystem": lambda channel: channel.invoke_subsystem("netconf"),
    }
    with at.transport(CNP) as transport:
        for what, ask in asked.items():
            channel = transport.open_session(timeout=SECONDS)
            with suppress(paramiko.SSHException):
                ask(channel)
                yield what
        with suppress(paramiko.SSHException):
            transport.request_port_forward("127.0.0.1", 0)
            yield "a port of the server's"
        if transport.global_request("streamlocal-forward@openssh.com", ["inbound/socket"], wait=True):
            yield "a socket of the server's"
        for kind in ("direct-tcpip", "x11"):
            with suppress(paramiko.ChannelException):
                transport.open_channel(kind, ("127.0.0.1", 22), ("127.0.0.1", 1), timeout=SECONDS)
                yield "a connection from the server on"
    if comes_in(at, CNP, [], password="secret"):
        yield "a password"


@attack(stock=["nobody can log in"])
def host_keys_that_are_read_at_each_login(at: Attacked) -> Iterator[str]:
    """Which costs ten times what the login does. It shows when the file is gone."""
    at.host_key_file.unlink()
    if not comes_in(at, CNP, [str(at.key_files[CNP])]):
        yield "nobody can log in"


@attack(stock=["it is not told"])
def a_client_that_wants_to_know_the_next_host_key(at: Attacked) -> Iterator[str]:
    options = at.openssh_options(CNP)
    command = ["sftp", "-v", *options, "-P", str(at.port), "-b", "-", f"{CNP}@127.0.0.1"]
    done = subprocess.run(command, input="ls\n", capture_output=True, text=True, timeout=SECONDS, check=True)
    if "hostkeys-00@openssh.com" not in done.stderr:
        yield "it is not told"


@attack()
def answers_that_clients_ask_for(at: Attacked) -> Iterator[str]:
    with at.raw(CNP) as raw:
        for name in ("posix-rename", "statvfs", "fstatvfs", "fsync", "limits"):
            if f"{name}@openssh.com".encode() not in raw.version[1]:
                yield name
        _, rest = raw.ask(Kind.EXTENDED, string("limits@openssh.com"))
        if struct.unpack(">4Q", rest)[3] == 0:
            yield "how many files it may open"


@attack(stock=["it is kept as it came"])
def a_client_whose_name_a_terminal_would_obey(at: Attacked) -> Iterator[str]:
    """Its version, which is what a stranger says and an operator reads."""
    transport = patient(paramiko.Transport(("127.0.0.1", at.port)))
    transport.local_version = "SSH-2.0-\x1b[2J\x07"
    try:
        transport.start_client(timeout=SECONDS)
        if not at.clients():
            yield "nothing is known of it"
        if not all(client.isprintable() for client in at.clients()):
            yield "it is kept as it came"
    finally:
        transport.close()
