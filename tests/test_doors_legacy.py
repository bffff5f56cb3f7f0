"""Old algorithms: offered to the addresses of a partner that has an exception, to nobody else, until its last day."""

import asyncio
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from config import legacy
from doors_fixtures import SECONDS, Door, heard, open_door, until
from exchange import algorithms, keys
from test_doors_audit import POLICY, audit

# The library that does the arithmetic means to drop all groups of this kind one day; so says `doctor`.
pytestmark = pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")

OLD = ("ssh-rsa", "diffie-hellman-group14-sha1", "aes128-cbc", "hmac-sha1")
HERE = 'allow_from = ["127.0.0.2/32"]'
ELSEWHERE = 'allow_from = ["192.0.2.0/24"]'


@pytest.fixture(scope="module")
def host_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    keys.make_host_keys(folder)
    return folder


@pytest.fixture
def door(tmp_path: Path, host_keys: Path) -> Iterator[Door]:
    (tmp_path / "host_keys").symlink_to(host_keys)
    # Whoever waits for the doors to have looked knocks often.
    many: dict[str, Any] = dict.fromkeys(("max_unauthenticated", "max_connections_per_address"), 5000)
    with open_door(tmp_path, new_key=False, max_connections=5000, **many) as door:
        yield door


def except_(door: Door, login: str, *allows: str, days: int = 100, where: str = HERE, key: str = "") -> None:
    """Let a partner use these until so many days from now, and wait until the doors have seen it."""
    end = door.desk.now().date() + timedelta(days=days)
    listed = ", ".join(f'"{one}"' for one in allows)
    line = f"legacy = {{ until = {end}, allows = [{listed}] }}" if allows else ""
    door.add_partner(login, "third_party", more=f"{where}\n{line}")
    if key:
        file = door.partners / f"{login}.toml"
        file.write_text(file.read_text().replace("authorized_keys = [", f'authorized_keys = ["{key}", '))
    if allows and days >= 0 and where == HERE:
        until(lambda: set(allows) <= set(offered(door, "127.0.0.2")))


def kexinit(door: Door, source: str) -> algorithms.Lists:
    """What the doors offer to who comes from an address."""
    made = socket.create_connection(("127.0.0.1", door.port), SECONDS, source_address=(source, 0))
    with made as client, client.makefile("rb") as stream:
        assert stream.readline() == b"SSH-2.0-Meterhub\r\n"
        client.sendall(b"SSH-2.0-test\r\n")
        length = int.from_bytes(stream.read(4))
        found = algorithms.parse_kexinit(stream.read(length)[1:])
    assert found is not None
    return found


def offered(door: Door, source: str) -> frozenset[str]:
    found = kexinit(door, source)
    every = (
        found.key_exchanges,
        found.host_keys,
        found.ciphers,
        found.ciphers_out,
        found.macs,
        found.macs_out,
    )
    return frozenset(name for names in every for name in names)


def asks(kex: str = "", host_key: str = "", cipher: str = "", mac: str = "") -> dict[str, Any]:
    """The options of a client that knows one of each kind."""
    return {
        "kex_algs": [kex or "curve25519-sha256"],
        "server_host_key_algs": [host_key or "ssh-ed25519"],
        "encryption_algs": [cipher or "aes128-ctr"],
        "mac_algs": [mac or "hmac-sha2-256-etm@openssh.com"],
    }


def connect(door: Door, login: str, source: str = "127.0.0.2", **more: Any) -> None:
    """Log in with asyncssh and list the top; raises what asyncssh raises."""

    async def go() -> None:
        options = door.asyncssh_options(login) | {"local_addr": (source, 0)} | more
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            assert await client.listdir("/")

    asyncio.run(asyncio.wait_for(go(), SECONDS))


@contextmanager
def is_refused(reason: str, words: str) -> Iterator[None]:
    with heard() as lines:
        with pytest.raises(asyncssh.DisconnectError, match=words):
            yield
        until(lambda: [line for line in lines if line["event"] == "login.refused"])
    assert [line["reason"] for line in lines if line["event"] == "login.refused"] == [reason]


# ── Who is offered what ──────────────────────────────────────────────────────────────────────────


def test_nobody_but_the_listed_addresses_is_offered_what_is_old(door: Door) -> None:
    new = offered(door, "127.0.0.1")
    assert not new & legacy.KNOWN.keys()
    except_(door, "old", *OLD)
    assert offered(door, "127.0.0.2") == new | set(OLD)
    for other in ("127.0.0.1", "127.0.0.3"):
        assert offered(door, other) == new


def test_all_that_can_be_allowed_is_offered_and_spoken_by_the_library(door: Door) -> None:
    except_(door, "old", *legacy.KNOWN)
    found = kexinit(door, "127.0.0.2")
    assert found.ciphers[-len(legacy.CIPHERS) :] == tuple(legacy.CIPHERS)
    for kex in legacy.KEY_EXCHANGES:
        connect(door, "old", **asks(kex=kex))
    for cipher, mac in zip(legacy.CIPHERS, [*legacy.MACS, *legacy.MACS], strict=True):
        connect(door, "old", **asks(cipher=cipher, mac=mac))
    connect(door, "old", **asks(host_key="ssh-rsa"))


def test_ssh_audit_finds_the_doors_as_the_policy_has_them_while_another_address_has_an_exception(
    door: Door,
) -> None:
    except_(door, "old", *OLD)
    done = audit(door.port, "-P", str(POLICY))
    assert done.returncode == 0, done.stdout + done.stderr
    door.add_partner(
        "near",
        "third_party",
        more=f"""allow_from = ["127.0.0.1"]
legacy = {{ until = {door.desk.now().date()}, allows = ["hmac-sha1"] }}""",
    )
    until(lambda: audit(door.port, "-P", str(POLICY)).returncode != 0)


# ── Who may use it ───────────────────────────────────────────────────────────────────────────────


def test_each_login_with_old_algorithms_is_an_event_and_others_are_not(door: Door) -> None:
    except_(door, "old", *OLD)
    with heard() as lines:
        connect(door, "old")
        connect(door, "old", **asks("diffie-hellman-group14-sha1", "ssh-rsa", "aes128-cbc", "hmac-sha1"))
    (used,) = [line for line in lines if line["event"] == "legacy.used"]
    assert used["algorithms"] == sorted(OLD)
    assert (used["partner"], used["address"]) == ("old", "127.0.0.2")


def test_another_partner_at_the_same_address_may_not_use_what_is_offered_there(door: Door) -> None:
    except_(door, "old", *OLD)
    except_(door, "less", "hmac-sha1-etm@openssh.com")
    except_(door, "none", where=HERE)
    for login in ("less", "none", "cnp"):
        with is_refused("old-algorithms", "no longer speaks hmac-sha1 with this login"):
            connect(door, login, **asks(mac="hmac-sha1"))
    connect(door, "less", **asks(mac="hmac-sha1-etm@openssh.com"))
    connect(door, "none")


def test_one_whose_addresses_are_not_listed_is_offered_nothing_old(door: Door) -> None:
    except_(door, "old", *OLD, where=ELSEWHERE)
    except_(door, "near", "hmac-sha1-etm@openssh.com")  # what the doors have seen by now
    with pytest.raises(asyncssh.DisconnectError):
        connect(door, "old", **asks(mac="hmac-sha1"))


def rsa_with(algorithm: bytes) -> tuple[asyncssh.SSHKeyPair, str]:
    """A key that signs so and no other way, and its public line."""
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    (pair,) = asyncssh.load_keypairs([key])
    pair.sig_algorithms = (algorithm,)
    pair.set_sig_algorithm(algorithm)
    return pair, key.export_public_key().decode().strip()


def test_a_partners_key_signs_with_sha1_only_by_its_own_exception_and_from_its_addresses(door: Door) -> None:
    pair, line = rsa_with(b"ssh-rsa")
    options: dict[str, Any] = {"client_keys": [pair], "signature_algs": ["ssh-rsa"]}
    except_(door, "old", "ssh-rsa", key=line)
    except_(door, "less", "hmac-sha1", key=line)
    connect(door, "old", **options)
    with pytest.raises(asyncssh.PermissionDenied):
        connect(door, "less", **options)
    with pytest.raises(asyncssh.PermissionDenied):
        connect(door, "old", source="127.0.0.1", **options)


def test_a_signature_that_no_list_names_is_refused_whatever_the_library_would_take(door: Door) -> None:
    pair, line = rsa_with(b"ssh-rsa-sha224@ssh.com")
    except_(door, "old", *legacy.KNOWN, key=line)
    with pytest.raises(asyncssh.PermissionDenied):
        connect(door, "old", client_keys=[pair], signature_algs=["ssh-rsa-sha224@ssh.com"])


def test_openssh_as_an_old_client_comes_in_by_exception(door: Door) -> None:
    except_(door, "old", *OLD)
    with heard() as lines:
        options = door.openssh_options(
            "old",
            "KexAlgorithms=diffie-hellman-group14-sha1",
            "Ciphers=aes128-cbc",
            "MACs=hmac-sha1",
            "BindAddress=127.0.0.2",
        )
        command = ["sftp", *options, "-P", str(door.port), "-b", "-", "old@127.0.0.1"]
        done = subprocess.run(
            command, input="ls\n", capture_output=True, text=True, timeout=SECONDS, check=False
        )
    assert done.returncode == 0, done.stderr
    (used,) = [line for line in lines if line["event"] == "legacy.used"]
    assert set(used["algorithms"]) == set(OLD) - {"ssh-rsa"}


# ── Until when ───────────────────────────────────────────────────────────────────────────────────


def test_after_its_last_day_an_exception_is_off_by_itself(door: Door) -> None:
    except_(door, "old", *OLD, days=1)
    door.desk.days_on = 1
    connect(door, "old", **asks(mac="hmac-sha1"))
    door.desk.days_on = 2
    # Refused before the doors have looked again, and then not offered any more.
    until(lambda: not offered(door, "127.0.0.2") & legacy.KNOWN.keys())
    with pytest.raises(asyncssh.DisconnectError):
        connect(door, "old", **asks(mac="hmac-sha1"))
    connect(door, "old")


def during(door: Door, change: Callable[[], None], login: str) -> None:
    """Connect with an old MAC, change something, and go on."""

    async def go() -> None:
        options = door.asyncssh_options(login) | {"local_addr": ("127.0.0.2", 0)} | asks(mac="hmac-sha1")
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            assert await client.listdir("/")
            change()
            await client.listdir("/")

    asyncio.run(asyncio.wait_for(go(), SECONDS))


def test_what_ends_under_an_open_session_ends_it_at_the_next_open(door: Door) -> None:
    except_(door, "old", *OLD, days=0)

    def a_day_later() -> None:
        door.desk.days_on = 1

    with pytest.raises(asyncssh.SFTPError, match="no longer speaks hmac-sha1"):
        during(door, a_day_later, "old")


def test_a_connection_does_not_go_over_to_what_nobody_was_asked_about(door: Door) -> None:
    """By a second key exchange, after a login with what is new."""
    except_(door, "old", *OLD)

    async def go(login: str) -> None:
        options = door.asyncssh_options(login) | {"local_addr": ("127.0.0.2", 0)}
        async with asyncssh.connect(**options, kex_algs=["curve25519-sha256"]) as made:
            made._kex_algs = [b"diffie-hellman-group14-sha1"]
            made._send_kexinit()
            made._kexinit_sent = True
            await made.wait_closed()
            async with made.start_sftp_client():
                raise AssertionError("still open")

    for login in ("old", "cnp"):
        with pytest.raises(asyncssh.Error, match=r"does not go over to diffie-hellman-group14-sha1|closed"):
            asyncio.run(asyncio.wait_for(go(login), SECONDS))
