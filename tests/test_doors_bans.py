"""Whoever fails too often is shut out for a while; whoever is known, and whoever fails seldom, is not."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from config.partners_folder import PartnersFolder
from config.settings import Sftp
from doors_fixtures import SECONDS, Door, Raw, SmallDesk, heard, open_door, until
from exchange import addresses
from exchange.bans import Ban, Bans
from exchange.cli.main import main
from exchange.defender import POINTS, Defender
from exchange.threads import Threads
from schemas.event import EVENTS

HERE, THERE = "127.0.0.1", "127.0.0.2"
NOON = datetime(2013, 9, 3, 12, tzinfo=UTC)
SHUT_OUT = b"too many failed tries from your address; try again after "


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path, ban_score=5) as door:
        yield door


def first_line(door: Door, address: str = HERE) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", door.port), SECONDS, (address, 0)) as client,
        client.makefile("rb") as stream,
    ):
        return stream.readline()


def logs_in(door: Door, login: str, keys: list[Any], address: str = HERE) -> None:
    async def connect() -> None:
        options = door.asyncssh_options("cnp")
        options |= {"username": login, "client_keys": keys, "local_addr": (address, 0)}
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            assert await client.listdir("/")

    asyncio.run(asyncio.wait_for(connect(), SECONDS))


def fails(door: Door, login: str = "cnp", address: str = HERE) -> None:
    """One try with a key that is nobody's."""
    with pytest.raises((asyncssh.DisconnectError, OSError)):
        logs_in(door, login, [asyncssh.generate_private_key("ssh-ed25519")], address)


def is_banned(door: Door, address: str = HERE) -> bool:
    return first_line(door, address).startswith(SHUT_OUT)


# ── Who is shut out ──────────────────────────────────────────────────────────────────────────────


def test_an_address_that_fails_too_often_is_shut_out_and_no_other(door: Door) -> None:
    with heard() as lines, door.raw("cnp") as raw:
        stays = socket.create_connection(("127.0.0.1", door.port), SECONDS)
        with stays, stays.makefile("rb") as stream:
            assert stream.readline().startswith(b"SSH-2.0-")
            for _ in range(4):
                fails(door)
                assert not is_banned(door)
            fails(door)
            until(lambda: is_banned(door))
            stream.read()  # returns: who was at it has been sent away
        with pytest.raises((asyncssh.DisconnectError, asyncssh.Error, OSError)):
            logs_in(door, "cnp", [str(door.key_files["cnp"])])
        logs_in(door, "cnp", [str(door.key_files["cnp"])], THERE)
        assert raw.opens("inbound/../x", 1)[1]  # who was in already is served as before
    (banned,) = [line for line in lines if line["event"] == "address.banned"]
    assert (banned["address"], banned["reason"], banned["times"]) == (HERE, "failed-login", 1)
    assert set(EVENTS["address.banned"].fields) <= set(banned)
    assert "banned" in {line["reason"] for line in lines if line["event"] == "connection.refused"}


def test_a_ban_outlives_the_server(tmp_path: Path) -> None:
    with open_door(tmp_path, ban_score=1) as door:
        fails(door)
        until(lambda: is_banned(door))
    with open_door(tmp_path, ban_score=1) as door:
        assert is_banned(door)
        assert not is_banned(door, THERE)
        door.desk.days_on = 1
        assert not is_banned(door)
    with open_door(tmp_path, ban_score=0) as door:  # who wants no bans has none
        for _ in range(3):
            fails(door)
        assert not is_banned(door)


def test_an_address_that_a_partner_listed_is_never_banned(door: Door) -> None:
    door.add_partner("near", "egs", more='allow_from = ["127.0.0.0/31"]')
    with heard() as lines:
        while [line["event"] for line in lines].count("address.spared") < 2:
            fails(door, "nobody")
        assert not is_banned(door)
        for _ in range(5):
            fails(door, "nobody", THERE)
        until(lambda: is_banned(door, THERE))
    for line in lines:
        assert set(EVENTS[line["event"]].fields) <= set(line)


def test_a_login_that_exists_costs_no_more_tries_than_one_that_does_not(tmp_path: Path) -> None:
    with open_door(tmp_path, ban_score=3) as door:
        door.add_partner("late", "egs", key_more='expires = "2020-01-31"')
        for number, login in enumerate(("cnp", "nobody", "late"), start=2):
            address = f"127.0.0.{number}"
            for _ in range(2):
                fails(door, login, address)
            door.on_loop(lambda: None)
            assert not is_banned(door, address)
            fails(door, login, address)
            until(lambda address=address: is_banned(door, address))


def test_a_client_whose_last_key_is_the_right_one_has_not_failed(door: Door) -> None:
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(3)]
    for _ in range(5):
        logs_in(door, "cnp", [*keys, str(door.key_files["cnp"])])
    assert not is_banned(door)


def test_a_partner_with_an_expired_key_is_told_so_for_ever_and_not_banned(door: Door) -> None:
    door.add_partner("late", "egs", key_more='expires = "2020-01-31"')
    for _ in range(7):
        with pytest.raises(asyncssh.DisconnectError, match="expired on 2020-01-31"):
            logs_in(door, "late", [str(door.key_files["late"])])
    assert not is_banned(door)


def noise(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
        client.sendall(b"SSH-2.0-x\r\n" + b"\xff" * 64)
        with suppress(OSError):
            while client.recv(4096):
                pass


def no_ascii(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
        client.sendall(b"SSH-2.0-\xff\r\n")
        with suppress(OSError):
            while client.recv(4096):
                pass


def half_a_packet(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
        client.sendall(b"SSH-2.0-x\r\n" + struct.pack(">IBB", 12, 10, 20) + bytes(10))  # a KEXINIT of no list
        with suppress(OSError):
            while client.recv(4096):
                pass


def other_protocol(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n" + b"x" * 100_000)
        with suppress(OSError):
            while client.recv(4096):
                pass


def no_sftp(door: Door) -> None:
    with suppress(paramiko.SSHException, EOFError), door.transport("cnp") as transport:
        channel = transport.open_session()
        channel.settimeout(SECONDS)
        channel.invoke_subsystem("sftp")
        channel.sendall(b"\0\0\0\0")
        with suppress(EOFError, OSError):
            Raw(channel)


def silence(door: Door) -> None:
    with socket.create_connection(("127.0.0.1", door.port), SECONDS) as client:
        while client.recv(4096):
            pass


@pytest.mark.parametrize(
    ("trouble", "what"),
    [
        (noise, "not-ssh"),
        (no_ascii, "not-ssh"),
        (half_a_packet, "not-ssh"),
        (other_protocol, "not-ssh"),
        (no_sftp, "malformed"),
        (silence, "slow-login"),
    ],
)
def test_each_kind_of_trouble_counts(tmp_path: Path, trouble: Callable[[Door], None], what: str) -> None:
    # Only who is silent is to be too slow: on a busy machine others could be, too.
    limits = {"login_seconds": 1} if trouble is silence else {}
    with heard() as lines, open_door(tmp_path, ban_score=POINTS[what], **limits) as door:
        trouble(door)
        until(lambda: [line for line in lines if line["event"] == "address.banned"])
        assert is_banned(door)
    assert [line["reason"] for line in lines if line["event"] == "address.banned"] == [what]


def test_who_goes_on_connecting_where_there_is_no_room_left_is_banned(tmp_path: Path) -> None:
    with open_door(tmp_path, ban_score=3, max_connections_per_address=1) as door, door.transport("cnp"):
        for _ in range(2):
            assert first_line(door) == b"too many connections from your address\r\n"
        first_line(door)
        until(lambda: is_banned(door))


def test_who_only_looks_whether_the_hub_is_there_is_not_banned(door: Door) -> None:
    for _ in range(20):
        assert first_line(door).startswith(b"SSH-2.0-")
    assert not is_banned(door)


def test_who_fails_seldom_is_never_banned_and_who_fails_a_little_faster_is(tmp_path: Path) -> None:
    (tmp_path / "partners").mkdir()
    desk = SmallDesk(tmp_path, PartnersFolder(tmp_path / "partners"))

    async def fail_every(seconds: float) -> bool:
        seen: list[Ban] = []
        at = [0.0]
        threads = Threads(1)
        defender = Defender(
            Bans(tmp_path / f"bans{seconds}", desk.now),
            replace(Sftp(), ban_score=30, ban_watch_minutes=30),
            desk=desk,
            threads=threads,
            banned=seen.append,
            ticks=lambda: at[0],
        )
        for _ in range(200):
            defender.note("192.0.2.7", "failed-login")
            at[0] += seconds
        await defender.settle()
        threads.close()
        return bool(seen)

    assert not asyncio.run(fail_every(60))
    assert asyncio.run(fail_every(50))


# ── How long ─────────────────────────────────────────────────────────────────────────────────────


def test_a_ban_is_twice_as_long_each_time_up_to_the_longest_and_then_forgotten(tmp_path: Path) -> None:
    clock = [NOON]
    bans = Bans(tmp_path / "bans", lambda: clock[0])
    source, most = addresses.source("192.0.2.7"), timedelta(hours=24)
    hours = []
    for times in range(1, 10):
        ban = bans.add(source, "failed-login", first=timedelta(minutes=15), most=most)
        assert ban.times == times
        hours.append((ban.until - ban.since) / timedelta(hours=1))
        clock[0] = ban.until - timedelta(microseconds=1)
        assert bans.on(source) == ban
        assert bans.in_force() == [ban]
        clock[0] = ban.until
        assert bans.on(source) is None
        assert bans.in_force() == []
    assert hours == [0.25, 0.5, 1, 2, 4, 8, 16, 24, 24]
    assert bans.forget(most=most) == 0
    clock[0] += most
    assert bans.forget(most=most) == 1
    assert bans.add(source, "failed-login", first=timedelta(minutes=15), most=most).times == 1


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"address": 5}', b"\xff\xfe", b'{"address": "x"'])
def test_a_file_that_is_none_of_ours_bans_nobody_and_is_told(tmp_path: Path, content: bytes) -> None:
    bans = Bans(tmp_path, lambda: NOON)
    (tmp_path / "192.0.2.7_32.json").write_bytes(content)
    with heard() as lines:
        assert bans.on(addresses.source("192.0.2.7")) is None
        assert bans.in_force() == []
    assert {line["event"] for line in lines} == {"ban.unreadable"}


def test_the_addresses_that_one_party_is_given_count_as_one() -> None:
    assert addresses.source("::ffff:192.0.2.7") == addresses.source("192.0.2.7")
    assert addresses.source("2001:db8::7") == addresses.source("2001:db8::8:9")
    assert addresses.source("2001:db8::7") != addresses.source("2001:db8:0:1::7")
    assert addresses.shown(addresses.source("2001:db8::7")) == "2001:db8::/64"


# ── What an operator can do ──────────────────────────────────────────────────────────────────────


@pytest.fixture
def ask(door: Door, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command on the home of the door, and give what it answers in JSON."""
    assert main(["--home", str(door.home), "init"]) == 0

    def run(*words: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main(["--home", str(door.home), *words, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def test_an_operator_sees_and_lifts_bans_beside_a_running_server(
    door: Door, ask: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask("bans", "list") == []
    for address in (HERE, THERE):
        for _ in range(5):
            fails(door, address=address)
        until(lambda address=address: is_banned(door, address))
    listed = ask("bans", "list")
    assert {(one["address"], one["times"], one["reason"]) for one in listed} == {
        (HERE, 1, "failed-login"),
        (THERE, 1, "failed-login"),
    }
    assert [one["address"] for one in ask("status", code=0)["bans"]] == [one["address"] for one in listed]
    main(["--home", str(door.home), "status"])
    assert "Addresses banned: 2 (meterhub bans list)" in capsys.readouterr().out
    assert ask("bans", "lift", HERE) == {"lifted": [HERE]}
    assert not is_banned(door)
    logs_in(door, "cnp", [str(door.key_files["cnp"])])
    assert is_banned(door, THERE)
    assert ask("bans", "lift", HERE, code=1)["error"]["code"] == "no-such-ban"
    assert ask("bans", "lift", "--all") == {"lifted": [THERE]}
    assert not is_banned(door, THERE)
    logged = "".join(file.read_text() for file in (door.home / "state" / "logs").iterdir())
    assert logged.count("ban.lifted") == 2


@pytest.mark.parametrize("words", [[], ["nonsense"], ["192.0.2.7", "--all"], ["../../config"]])
def test_what_is_no_address_is_usage(door: Door, ask: Callable[..., Any], words: list[str]) -> None:
    assert main(["--home", str(door.home), "bans", "lift", *words]) == 2


def test_who_connects_costs_no_look_at_the_bans_of_others(tmp_path: Path) -> None:
    bans = Bans(tmp_path, lambda: NOON)
    for number in range(1, 201):
        source, hour = addresses.source(f"192.0.2.{number}"), timedelta(hours=1)
        bans.add(source, "not-ssh", first=hour, most=hour)
    for file in tmp_path.iterdir():
        file.write_text("whoever reads it says that it cannot be read")
    with heard() as lines:
        for address in ("198.51.100.1", "192.0.2.0", "192.0.2.201"):
            assert bans.on(addresses.source(address)) is None
        assert lines == []
        assert bans.on(addresses.source("192.0.2.1")) is None
    assert [line["event"] for line in lines] == ["ban.unreadable"]
