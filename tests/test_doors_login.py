"""Logging in: who may, what strangers learn, and how much of the door anybody may take."""

import asyncio
import re
import socket
import stat
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from config.errors import OperatorError
from config.settings import Sftp
from doors_fixtures import SECONDS, Door, heard, open_door, until
from exchange import addresses, algorithms, connection, keys

EXPIRED = 'expires = "2020-01-31"'


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path) as door:
        yield door


def connects(door: Door, login: str, **more: Any) -> None:
    """Log in with asyncssh and list the top; raises what asyncssh raises."""

    async def connect() -> None:
        options = door.asyncssh_options(login) | more
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            assert await client.listdir("/")

    asyncio.run(asyncio.wait_for(connect(), SECONDS))


def public_line(file: Path) -> str:
    return asyncssh.read_private_key(file).export_public_key().decode().strip()


# ── Who may come in ──────────────────────────────────────────────────────────────────────────────


def test_a_key_of_the_partners_file_logs_in_and_another_does_not(door: Door) -> None:
    connects(door, "cnp")
    with pytest.raises(asyncssh.PermissionDenied):
        connects(door, "cnp", client_keys=[str(door.key_files["onc"])])


def test_keys_are_added_and_removed_while_the_hub_runs(door: Door) -> None:
    file, new = door.partners / "cnp.toml", asyncssh.generate_private_key("ssh-ed25519")
    old_line, new_line = public_line(door.key_files["cnp"]), new.export_public_key().decode().strip()
    both = file.read_text().replace(f'"{old_line}"', f'"{old_line}", "{new_line}"')
    file.write_text(both)
    connects(door, "cnp", client_keys=[new])
    connects(door, "cnp")
    file.write_text(both.replace(f'"{old_line}", ', ""))
    connects(door, "cnp", client_keys=[new])
    with pytest.raises(asyncssh.PermissionDenied):
        connects(door, "cnp")


def test_a_partner_that_is_disabled_is_a_stranger(door: Door) -> None:
    file = door.partners / "cnp.toml"
    file.write_text(file.read_text() + "disabled = true\n")
    with pytest.raises(asyncssh.PermissionDenied):
        connects(door, "cnp")


def test_an_expired_key_is_told_so_and_lets_nobody_in(door: Door) -> None:
    door.add_partner("late", "egs", key_more=EXPIRED)
    with heard() as lines:
        with pytest.raises(asyncssh.DisconnectError, match="expired on 2020-01-31"):
            connects(door, "late")
        until(lambda: [line for line in lines if line["event"] == "login.refused"])
    assert [line["reason"] for line in lines if line["event"] == "login.refused"] == ["key-expired"]


def test_openssh_shows_why_an_expired_key_was_refused(door: Door) -> None:
    door.add_partner("late", "egs", key_more=EXPIRED)
    for _ in range(5):  # the words have to be sent before the connection goes
        done = door.sftp("late", "ls", check=False)
        assert done.returncode != 0
        assert "this key expired on 2020-01-31; send the hub's operator a new public key" in done.stderr


def test_a_key_opens_the_door_on_its_last_day_and_not_the_day_after(door: Door) -> None:
    today = door.desk.now().date()
    door.add_partner("soon", "egs", key_more=f'expires = "{today}"')
    connects(door, "soon")
    door.desk.days_on = 1
    with pytest.raises(asyncssh.DisconnectError, match="expired"):
        connects(door, "soon")


def test_a_login_opens_only_to_its_addresses(door: Door) -> None:
    door.add_partner("far", "egs", more='allow_from = ["192.0.2.0/24"]')
    door.add_partner("near", "egs", more='allow_from = ["192.0.2.0/24", "127.0.0.0/8"]')
    connects(door, "near")
    with pytest.raises(asyncssh.DisconnectError, match=r"does not open to 127\.0\.0\.1"):
        connects(door, "far")


def test_an_ipv4_address_written_as_ipv6_is_the_same() -> None:
    assert str(addresses.plain("::ffff:192.0.2.7")) == "192.0.2.7"
    assert str(addresses.plain("2001:db8::7")) == "2001:db8::7"


def heard_by(door: Door, login: str) -> list[str]:
    """What `ssh` hears while a stranger tries a login with a key and with a password."""
    options = door.openssh_options(
        "stranger", "PreferredAuthentications=publickey,password,keyboard-interactive"
    )
    command = ["ssh", "-vvv", *options, "-p", str(door.port), "-l", login, "127.0.0.1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 255
    _, _, after = done.stderr.partition("SSH2_MSG_SERVICE_ACCEPT received")
    assert "receive packet: type 51" in after
    after = re.sub(r"SHA256:\S+", "FINGERPRINT", after)  # in which a short login may stand by chance
    return after.replace(login, "LOGIN").splitlines()


def test_a_stranger_cannot_tell_which_logins_exist(door: Door) -> None:
    door.add_partner("late", "egs", key_more=EXPIRED)
    door.add_partner("far", "egs", more='allow_from = ["192.0.2.0/24"]')
    door.add_partner("off", "egs", more="disabled = true")
    stranger = door.key_files["stranger"] = door.home / "stranger.key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(stranger)
    stranger.chmod(0o600)
    heard = heard_by(door, "cnp")
    for login in ("nobody", "late", "far", "off", "administrator", "x" * 200):
        assert heard_by(door, login) == heard


def test_an_rsa_key_signs_with_either_sha2(door: Door) -> None:
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    file = door.partners / "cnp.toml"
    line = key.export_public_key().decode().strip()
    file.write_text(file.read_text().replace("authorized_keys = [", f'authorized_keys = ["{line}", '))
    for algorithm in ("rsa-sha2-256", "rsa-sha2-512"):
        connects(door, "cnp", client_keys=[key], signature_algs=[algorithm])


def test_tries_are_counted_and_end_the_connection(tmp_path: Path) -> None:
    strangers = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(10)]
    with open_door(tmp_path, max_auth_tries=3) as door:
        good = asyncssh.read_private_key(door.key_files["cnp"])
        connects(door, "cnp", client_keys=[*strangers[:2], good])
        with heard() as lines:
            with pytest.raises(asyncssh.DisconnectError, match="too many tries"):
                connects(door, "cnp", client_keys=[*strangers, good])
            until(lambda: [line for line in lines if line["event"] == "login.refused"])
        assert [line["reason"] for line in lines if line["event"] == "login.refused"] == ["too-many-tries"]


def test_a_login_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with open_door(tmp_path, login_seconds=1) as door:
        with socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
            while client.recv(4096):
                pass
        assert until(lambda: not door.on_loop(lambda: door.doors.connections))


# ── What is spoken ───────────────────────────────────────────────────────────────────────────────


def key_exchange_offer(port: int) -> list[list[str]]:
    """The name lists of the server's KEXINIT (RFC 4253, section 7.1)."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client, client.makefile("rb") as stream:
        assert stream.readline() == b"SSH-2.0-Meterhub\r\n"
        client.sendall(b"SSH-2.0-test\r\n")
        length, padding = struct.unpack(">IB", stream.read(5))
        rest = stream.read(length - 1)[: -padding or None][17:]
    lists = []
    for _ in range(8):
        size = int.from_bytes(rest[:4])
        lists.append(rest[4 : 4 + size].decode().split(","))
        rest = rest[4 + size :]
    return lists


def test_only_the_pinned_algorithms_are_offered(tmp_path: Path) -> None:
    with open_door(tmp_path) as door:
        exchanges, host_keys, *rest = key_exchange_offer(door.port)
    assert exchanges == [
        "mlkem768x25519-sha256",
        "curve25519-sha256",
        "curve25519-sha256@libssh.org",
        "diffie-hellman-group16-sha512",
        "diffie-hellman-group18-sha512",
        "ext-info-s",
        "kex-strict-s-v00@openssh.com",
    ]
    assert host_keys == ["ssh-ed25519"]
    ciphers = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"]
    macs = [
        "hmac-sha2-256-etm@openssh.com",
        "hmac-sha2-512-etm@openssh.com",
        "hmac-sha2-256",
        "hmac-sha2-512",
    ]
    assert rest == [ciphers, ciphers, macs, macs, ["none"], ["none"]]


def test_host_keys_are_made_once_private_and_never_sign_with_sha1(tmp_path: Path) -> None:
    folder = tmp_path / "host_keys"
    made = keys.make_host_keys(folder)
    assert [key.file.name for key in made] == ["ssh_host_ed25519_key", "ssh_host_rsa_key"]
    assert [key.public.split()[0] for key in made] == ["ssh-ed25519", "ssh-rsa"]
    assert all(stat.S_IMODE(key.file.stat().st_mode) == 0o600 for key in made)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    shown = subprocess.run(
        ["ssh-keygen", "-lf", made[1].file], capture_output=True, text=True, check=True
    ).stdout
    assert shown.startswith(f"3072 {made[1].fingerprint} ")
    assert keys.make_host_keys(folder) == made
    offered = [alg for pair in keys.load_host_keys(folder) for alg in pair.host_key_algorithms]
    assert offered == [b"ssh-ed25519", b"ssh-rsa", b"rsa-sha2-512", b"rsa-sha2-256"]
    with open_door(tmp_path, new_key=False) as door:  # and the one with SHA-1 is not used
        assert key_exchange_offer(door.port)[1] == ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"]


def test_a_hub_without_host_keys_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(OperatorError) as refused:
        keys.load_host_keys(tmp_path)
    assert refused.value.hint == "make them with: meterhub init"


def test_clients_that_want_the_rsa_key_signed_differently_do_not_disturb_each_other(tmp_path: Path) -> None:
    keys.make_host_keys(tmp_path / "host_keys")

    async def connect_all(door: Door) -> None:
        options = door.asyncssh_options("cnp")
        algorithms = ["rsa-sha2-256", "rsa-sha2-512"] * 10
        made = await asyncio.gather(
            *(asyncssh.connect(**options, server_host_key_algs=[one]) for one in algorithms)
        )
        for one in made:
            one.close()

    with open_door(tmp_path) as door:
        asyncio.run(asyncio.wait_for(connect_all(door), SECONDS))


def test_the_librarys_hooks_are_there() -> None:
    connection.require_hooks()


def key_exchange_init(names: bytes) -> bytes:
    """A KEXINIT packet of a client that knows only these key exchanges, and of all else what everybody knows."""
    others = [b"ssh-ed25519", *[b"aes128-ctr"] * 2, *[b"hmac-sha2-256"] * 2, *[b"none"] * 2, b"", b""]
    lists = b"".join(struct.pack(">I", len(one)) + one for one in (names, *others))
    return bytes([20]) + bytes(16) + lists + bytes(5)


@pytest.mark.parametrize("names", [b"\x1b[2J,x@y", b",".join(b"kex-%d@x" % n for n in range(500))])
def test_what_a_stranger_knows_is_told_in_few_words_that_a_terminal_can_show(
    door: Door, names: bytes
) -> None:
    packet = key_exchange_init(names)
    padding = 8 + -(len(packet) + 5) % 8
    with heard() as lines:
        with socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
            client.sendall(b"SSH-2.0-x\r\n" + struct.pack(">IB", len(packet) + padding + 1, padding))
            client.sendall(packet + bytes(padding))
            while client.recv(4096):
                pass
        until(lambda: [line for line in lines if line["event"] == "connection.refused"])
    (line,) = [line for line in lines if line["event"] == "connection.refused"]
    assert line["words"].startswith("no key exchange in common; the client knows ")
    assert line["words"].isprintable()
    assert len(line["words"]) <= 500
    until(lambda: door.desk.turned)
    assert [one.words for one in door.desk.turned] == [line["words"]]


def test_of_who_knows_a_hundred_thousand_algorithms_nothing_is_remembered() -> None:
    assert algorithms.parse_kexinit(key_exchange_init(b"a," * 1_000)) is not None
    assert algorithms.parse_kexinit(key_exchange_init(b"a," * 100_000)) is None


# ── What is refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("banner", "told"), [("Night hub of the north", b"Night hub of the north\r\n"), ("", None)]
)
def test_a_login_is_greeted_with_the_hubs_banner_if_there_is_one(
    tmp_path: Path, banner: str, told: bytes | None
) -> None:
    with open_door(tmp_path, banner=banner) as door, door.transport("cnp") as transport:
        assert transport.get_banner() == told


def test_ssh_is_told_that_this_is_an_sftp_server(door: Door) -> None:
    options = door.openssh_options("cnp", "ForwardAgent=yes")
    command = ["ssh", *options, "-T", "-p", str(door.port), "cnp@127.0.0.1", "id"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode != 0
    assert done.stdout == ""


# ── How many, how long ───────────────────────────────────────────────────────────────────────────


def first_line(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client, client.makefile("rb") as stream:
        return stream.readline()


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("max_connections", b"too many connections; try again later\r\n"),
        ("max_connections_per_address", b"too many connections from your address\r\n"),
    ],
)
def test_more_connections_than_there_is_room_for_are_turned_away(
    tmp_path: Path, limit: str, words: bytes
) -> None:
    with open_door(tmp_path, **{limit: 2}) as door:
        with ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(door.transport("cnp"))
            assert first_line(door.port) == words
        until(lambda: not door.on_loop(lambda: door.doors.connections))
        connects(door, "cnp")


def test_the_addresses_that_one_party_is_given_have_connections_together(door: Door) -> None:
    most = Sftp().max_connections_per_address

    def refuses() -> tuple[str, str] | None:
        door.doors._addresses[addresses.source("2001:db8::1")] = most
        refusal = door.doors.refuses("2001:db8::2")
        assert door.doors.refuses("2001:db8:0:1::1") is None
        del door.doors._addresses[addresses.source("2001:db8::1")]
        return refusal

    assert door.on_loop(refuses) == ("address", "too many connections from your address")


def test_those_who_only_knock_do_not_keep_out_those_who_are_in(tmp_path: Path) -> None:
    with open_door(tmp_path, max_unauthenticated=2) as door, ExitStack() as stack:
        transport = stack.enter_context(door.transport("cnp"))
        for _ in range(2):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", door.port), SECONDS))
            assert client.recv(100).startswith(b"SSH-2.0-Meterhub")
        assert first_line(door.port) == b"too many connections are logging in; try again later\r\n"
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        assert sftp.listdir("/")


def test_the_sessions_of_a_connection_are_limited(tmp_path: Path) -> None:
    with open_door(tmp_path, max_sessions_per_connection=2) as door, door.transport("cnp") as transport:
        first, _ = [paramiko.SFTPClient.from_transport(transport) for _ in range(2)]
        with pytest.raises(paramiko.ChannelException):
            transport.open_session(timeout=SECONDS)
        assert first is not None
        first.close()

        def is_let_in() -> bool:
            with suppress(paramiko.ChannelException):
                transport.open_session(timeout=SECONDS)
                return True
            return False

        until(is_let_in)


def test_a_connection_on_which_nothing_comes_is_ended_and_its_upload_broken_off(tmp_path: Path) -> None:
    with open_door(tmp_path, idle_seconds=1) as door:

        def came_in_time() -> bool:
            """A busy machine may keep the client idle before it has written anything."""
            with suppress(EOFError, OSError, paramiko.SSHException), door.raw("cnp") as raw:
                assert raw.write(raw.open("inbound/a.tmp", 2 | 8 | 16), 0, b"half")[0] == 0
                with pytest.raises((EOFError, OSError)):
                    raw.receive()
                return True
            return False

        until(came_in_time)
        until(lambda: 4 in {one.more["received"] for one in door.desk.told if one.what == "upload_broken"})


def test_a_client_that_answers_no_keepalive_is_gone(tmp_path: Path) -> None:
    async def fall_silent(door: Door) -> None:
        async with (
            asyncssh.connect(**door.asyncssh_options("cnp")) as made,
            made.start_sftp_client() as client,
        ):
            file = await client.open("inbound/a.tmp", "wb")
            await file.write(b"half")
            made._transport.pause_reading()
            await asyncio.to_thread(door.desk.wait_for, "upload_broken")
            made.abort()

    with open_door(tmp_path, keepalive_seconds=1) as door:
        with suppress(asyncssh.Error, OSError):
            asyncio.run(asyncio.wait_for(fall_silent(door), SECONDS))
        assert door.desk.wait_for("upload_broken").more["received"] == 4


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "uploading"])
def test_a_hub_that_drains_tells_its_clients_and_lets_nobody_in(door: Door, busy: bool) -> None:
    (door.home / "a.bin").write_bytes(b"x" * (100 << 20 if busy else 10))
    # At 4 Mbit/s it takes minutes: it is not over before the hub drains.
    command = ["sftp", "-l", "4000", *door.openssh_options("cnp"), "-P", str(door.port), "cnp@127.0.0.1"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=door.home,
    ) as client:
        assert client.stdin is not None
        client.stdin.write("put a.bin inbound/a.tmp\n")
        client.stdin.flush()
        if busy:
            part = door.folder("cnp", "inbound") / ".a.tmp.part"
            until(lambda: part.exists() and part.stat().st_size)
        else:
            door.desk.wait_for("upload_ended")
        port = door.port
        door.drain()
        _, words = client.communicate(timeout=SECONDS)
    assert "the hub is stopping; connect again in a few minutes" in words
    assert door.desk.wait_for("upload_broken" if busy else "upload_ended")
    with pytest.raises(ConnectionRefusedError):
        first_line(port)
