"""`meterhub doctor`: how a partner's client came, whether it could now, and what a change would break."""

import asyncio
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from doors_fixtures import AGREED, SECONDS, Door, open_door, string, until
from exchange import lock
from exchange.app import Counter
from hub_fixtures import Hub
from jobs.steps import visit as step
from jobs.stores.ledger import visits
from look_fixtures import Answer, Desk
from schemas.visit import Habit, TurnedAway, Visit
from test_doors_certificates import Authority, certificate_of

DAY = date(2013, 9, 3)  # of the hub's clock
WRITE, CREAT, TRUNC, CLOSE, RENAME = 2, 8, 16, 4, 18


@pytest.fixture
def door(hub: Hub, tmp_path: Path) -> Iterator[Door]:
    """The doors of the hub's home, before the hub itself."""
    desk = Counter(hub.stores, lambda: hub.now, lambda _: None)
    with open_door(tmp_path, hub=desk, partners=hub.home.partners) as door:
        shutil.copy(tmp_path / "host_keys" / "ssh_host_ed25519_key", hub.home.host_keys)
        yield door


@pytest.fixture
def ask(
    hub: Hub, door: Door, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Answer]:
    desk = Desk(hub, capsys, monkeypatch)
    return lambda *words: desk.ask("doctor", "--port", str(door.port), *words)


def came(hub: Hub, partner: str, sessions: int = 1) -> list[visits.Way]:
    """The ways in which a partner came, when so many sessions have been told of."""

    def ways() -> list[visits.Way]:
        with hub.stores.ledger.read() as tx:
            found = visits.ways(tx, partner)
        return found if sum(way.sessions for way in found) >= sessions else []

    found = until(ways)
    assert isinstance(found, list)
    return found


def connect(door: Door, login: str, **more: Any) -> None:
    async def go() -> None:
        async with (
            asyncssh.connect(**(door.asyncssh_options(login) | more)) as made,
            made.start_sftp_client() as client,
        ):
            assert await client.listdir("/")

    asyncio.run(asyncio.wait_for(go(), SECONDS))


def edit(door: Door, login: str, before: str, after: str) -> None:
    file = door.partners / f"{login}.toml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))


# ── What is recorded ─────────────────────────────────────────────────────────────────────────────


def test_a_session_tells_its_client_what_it_spoke_by_which_key_and_from_where(hub: Hub, door: Door) -> None:
    connect(
        door,
        "cnp",
        kex_algs=["curve25519-sha256"],
        encryption_algs=["aes256-ctr"],
        mac_algs=["hmac-sha2-512"],
    )
    (way,) = came(hub, "cnp")
    assert way.client == f"SSH-2.0-AsyncSSH_{asyncssh.__version__}"
    assert way.spoken == {
        "key_exchange": "curve25519-sha256",
        "host_key": "ssh-ed25519",
        "cipher": "aes256-ctr",
        "cipher_out": "aes256-ctr",
        "mac": "hmac-sha2-512",
        "mac_out": "hmac-sha2-512",
        "signature": "ssh-ed25519",
    }
    assert way.offers["ciphers"] == ["aes256-ctr"]
    assert way.offers["key_exchanges"] == ["curve25519-sha256"]
    assert way.credential == asyncssh.read_private_key(door.key_files["cnp"]).get_fingerprint()
    assert (list(way.addresses), way.sessions, way.certificate) == (["127.0.0.1"], 1, {})
    assert way.hours[hub.now.hour] == 1
    assert (way.first_at, way.last_at) == (hub.now, hub.now)


def put(door: Door, name: str, *, to: str = "") -> None:
    with door.raw("cnp") as raw:
        handle = raw.open(f"inbound/{name}", WRITE | CREAT | TRUNC)
        assert raw.write(handle, 0, name.encode())[0] == 0
        assert raw.status(CLOSE, handle)[0] == 0
        if to:
            assert raw.status(RENAME, string(f"inbound/{name}") + string(f"inbound/{to}"))[0] == 0


def test_habits_are_counted_over_the_sessions(hub: Hub, door: Door) -> None:
    put(door, AGREED)
    put(door, "a.tmp", to=AGREED.replace("203001", "203002"))
    with door.raw("cnp") as raw:
        assert raw.opens("inbound/-bad", WRITE | CREAT)[0] == 4
        raw.write(raw.open("inbound/b.tmp", WRITE | CREAT), 0, b"half")
    came(hub, "cnp", 3)
    with door.raw("cnp") as raw:
        raw.write(raw.open("inbound/b.tmp", WRITE), 4, b" of it")
    (way,) = came(hub, "cnp", 4)
    done = {name: count for name, count in way.habits.items() if name != Habit.LOST}
    assert done == {
        "uploaded-in-place": 1,
        "uploaded-otherwise": 1,
        "renamed-into-place": 1,
        "names-refused": 1,
        "broken-off": 2,
        "resumed": 1,
    }


def test_sessions_at_one_time_are_counted(hub: Hub, door: Door) -> None:
    with door.transport("cnp") as transport:
        held = [paramiko.SFTPClient.from_transport(transport) for _ in range(3)]
        assert len(held) == 3
    (way,) = came(hub, "cnp", 3)
    assert way.most_at_once == 3


def test_whoever_was_turned_away_is_told_of_with_the_key_that_was_tried(hub: Hub, door: Door) -> None:
    for login in ("onc", "nobody"):
        with pytest.raises(paramiko.SSHException), door.transport(login, key_of="acme"):
            pass

    def refused() -> list[dict[str, Any]]:
        with hub.stores.ledger.read() as tx:
            return visits.turned_away(tx, "onc")

    (row,) = until(refused)
    fingerprint = asyncssh.read_private_key(door.key_files["acme"]).get_fingerprint()
    assert (row["reason"], row["times"], row["key"], row["address"]) == (
        "unknown-key",
        1,
        fingerprint,
        "127.0.0.1",
    )
    with hub.stores.ledger.read() as tx:
        assert visits.turned_away(tx, "nobody") == []


def test_a_client_that_has_no_algorithm_in_common_is_told_of_to_those_whose_address_it_is(
    hub: Hub, door: Door
) -> None:
    edit(door, "onc", "authorized_keys", 'allow_from = ["127.0.0.1"]\nauthorized_keys')
    with suppress(asyncssh.Error):
        connect(door, "cnp", encryption_algs=["3des-cbc"])

    def refused() -> list[dict[str, Any]]:
        with hub.stores.ledger.read() as tx:
            return visits.turned_away(tx, "onc")

    (row,) = until(refused)
    assert row["reason"] == "no-common-algorithm"
    assert row["words"] == "no cipher in common; the client knows 3des-cbc"
    with hub.stores.ledger.read() as tx:
        assert visits.turned_away(tx, "cnp") == []


def test_where_no_address_is_listed_it_is_told_of_to_those_that_were_seen_there(hub: Hub, door: Door) -> None:
    connect(door, "cnp")
    came(hub, "cnp")
    with suppress(asyncssh.Error):
        connect(door, "onc", mac_algs=["hmac-md5"], encryption_algs=["aes128-ctr"])

    def refused(partner: str) -> list[dict[str, Any]]:
        with hub.stores.ledger.read() as tx:
            return visits.turned_away(tx, partner)

    (row,) = until(lambda: refused("cnp"))
    assert row["words"] == "no MAC in common; the client knows hmac-md5"
    assert refused("onc") == []


def visit(hub: Hub, **more: Any) -> Visit:
    plain = Visit(
        partner="cnp",
        client="SSH-2.0-x",
        spoken={},
        offers={},
        credential="SHA256:x",
        certificate={},
        addresses=["192.0.2.1"],
        began=[hub.now],
        most_at_once=1,
    )
    return replace(plain, **more)


def test_what_is_kept_of_visits_does_not_grow_with_them(hub: Hub) -> None:
    many = [visit(hub, addresses=[f"192.0.2.{number}"]) for number in range(100)]
    others = [visit(hub, client=f"SSH-2.0-{number}") for number in range(300)]
    step.note([*many, *others], [], stores=hub.stores, now=hub.now)
    with hub.stores.ledger.read() as tx:
        ways = visits.ways(tx, "cnp")
    assert len(ways) <= 200
    step.note(many, [], stores=hub.stores, now=hub.now)
    with hub.stores.ledger.read() as tx:
        found = [way for way in visits.ways(tx, "cnp") if way.client == "SSH-2.0-x"]
    assert [len(way.addresses) for way in found] == [12]
    assert list(found[0].addresses)[-1] == "192.0.2.99"


def test_what_was_not_seen_for_400_days_is_forgotten(hub: Hub) -> None:
    turned = TurnedAway(partner="cnp", reason="unknown-key", address="192.0.2.1", client="x")
    step.note([visit(hub)], [turned], stores=hub.stores, now=hub.now)
    hub.on(days=400)
    step.note([visit(hub, client="SSH-2.0-y")], [], stores=hub.stores, now=hub.now)
    assert step.forget(stores=hub.stores, now=hub.now) == 0
    hub.on(seconds=1)
    hub.sweep()
    with hub.stores.ledger.read() as tx:
        assert [way.client for way in visits.ways(tx, "cnp")] == ["SSH-2.0-y"]
        assert visits.turned_away(tx, "cnp") == []


# ── What the doctor says ─────────────────────────────────────────────────────────────────────────


def test_the_running_hub_says_with_what_it_answers_and_that_it_takes_the_partners_key(
    hub: Hub, door: Door, ask: Callable[..., Answer]
) -> None:
    connect(door, "cnp")
    came(hub, "cnp")
    answer = ask("cnp", "--json")
    assert answer.code == 0, answer.json["needs"]
    found = answer.json["hub"]
    assert (found["error"], found["version"], found["host_key_is_ours"]) == (None, "SSH-2.0-Meterhub", True)
    assert found["host_key"] == f"ssh-ed25519 {asyncssh.import_public_key(door.host_key).get_fingerprint()}"
    assert found["offers"]["key_exchanges"][0] == "mlkem768x25519-sha256"
    assert [(key["opens"], key["hub_takes_it"]) for key in answer.json["keys"]] == [(True, True)]
    (client,) = answer.json["clients"]
    assert client["sessions"] == 1
    assert [one["address"] for one in answer.json["addresses"]] == ["127.0.0.1"]
    told = ask("cnp").out
    for words in ("The hub answers at 127.0.0.1", "AsyncSSH_", "hub takes it", "Habits: looks"):
        assert words in told


@contextmanager
def another_door(tmp_path: Path, **limits: Any) -> Iterator[Door]:
    """One with the same host key and the same logins, each with a key of its own."""
    home = tmp_path / "another"
    home.mkdir()
    shutil.copytree(tmp_path / "host_keys", home / "host_keys")
    with open_door(home, new_key=False, **limits) as door:
        yield door


def test_a_key_that_the_file_names_and_the_hub_does_not_take_is_found(
    ask: Callable[..., Answer], tmp_path: Path
) -> None:
    with another_door(tmp_path) as other:
        answer = ask("cnp", "--json", "--port", str(other.port))
    assert answer.code == 3
    assert [key["hub_takes_it"] for key in answer.json["keys"]] == [False]
    assert "the running hub does not take SHA256:" in answer.json["needs"][0]


def test_the_probe_is_no_try_to_log_in_that_is_held_against_anybody(
    hub: Hub, door: Door, ask: Callable[..., Answer]
) -> None:
    for _ in range(3):
        assert ask("cnp", "--json").json["turned_away"] == []
    until(lambda: not door.on_loop(lambda: door.doors.connections))
    assert ask("cnp", "--json").json["turned_away"] == []


@pytest.mark.parametrize(
    ("before", "after", "need"),
    [
        (
            "authorized_keys",
            "disabled = true\nauthorized_keys",
            "it is disabled: meterhub partner enable cnp",
        ),
        ('"ssh-ed25519', '{ expires = 2013-01-01, key = "ssh-ed25519', "this key expired on 2013-01-01"),
        (
            "authorized_keys = [",
            "authorized_keys = []\nallow_from = [] #",
            "it has no key: meterhub partner key add",
        ),
    ],
)
def test_a_partner_that_cannot_log_in_needs_an_operator_and_is_told_why(
    door: Door, ask: Callable[..., Answer], before: str, after: str, need: str
) -> None:
    edit(door, "cnp", before, after)
    if "expires" in after:
        edit(door, "cnp", 'cnp"]', 'cnp" }]')
    answer = ask("cnp", "--json")
    assert answer.code == 3
    assert any(need in one for one in answer.json["needs"])


def test_an_address_that_is_no_longer_listed_is_named(
    hub: Hub, door: Door, ask: Callable[..., Answer]
) -> None:
    connect(door, "cnp")
    came(hub, "cnp")
    edit(door, "cnp", "authorized_keys", 'allow_from = ["192.0.2.7"]\nauthorized_keys')
    answer = ask("cnp", "--json")
    assert answer.json["addresses"][0]["why_not"] == "not in its allow_from"
    assert "does not open to 127.0.0.1" in answer.json["keys"][0]["why_not"]
    assert answer.code == 3


def test_where_nobody_answers_or_somebody_else_does_an_operator_is_needed(
    hub: Hub, door: Door, ask: Callable[..., Answer], tmp_path: Path
) -> None:
    shutil.rmtree(hub.home.host_keys)
    answer = ask("cnp", "--json")
    assert "has none of this home's host keys" in answer.json["needs"][0]
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))  # and nobody listens there
        port = other.getsockname()[1]
        answer = ask("cnp", "--port", str(port))
    assert answer.code == 3
    assert f"nobody is let in at 127.0.0.1, port {port}" in answer.out


def test_why_nobody_is_let_in_is_told_in_the_hubs_own_words(
    ask: Callable[..., Answer], tmp_path: Path
) -> None:
    with another_door(tmp_path, max_connections=1) as other, other.transport("cnp"):
        answer = ask("cnp", "--json", "--port", str(other.port))
    assert answer.code == 3
    assert answer.json["hub"]["error"] == "too many connections; try again later"


def test_a_partner_that_comes_with_certificates_is_examined_by_its_authority(
    hub: Hub, door: Door, ask: Callable[..., Answer], tmp_path: Path
) -> None:
    ca = Authority(tmp_path / "ca")
    edit(door, "cnp", "authorized_keys", f'certificate_authorities = ["{ca.line}"]\nauthorized_keys')
    key = ca.sign("night", "-n", "cnp", "-z", "17", "-V", "20130101:20131231")
    connect(door, "cnp", client_keys=[(str(key), str(certificate_of(key)))])
    (way,) = came(hub, "cnp")
    assert (way.credential, way.certificate["serial"]) == (ca.fingerprint, 17)
    told = ask("cnp").out
    assert "certificate 17 (id of night) of ops-ca, until 2013-12-3" in told
    answer = ask("cnp", "--json", "--without-key", "ops-ca")
    assert (answer.code, judged(answer, "it is without ops-ca")) == (1, [("breaks", "logs in by it")])
    assert [(one["kind"], one["opens"]) for one in answer.json["keys"]] == [
        ("key", True),
        ("authority", True),
    ]
    edit(door, "cnp", "authorized_keys", 'revoked = ["serial: 17"]\nauthorized_keys')
    answer = ask("cnp", "--json")
    assert answer.json["keys"][1]["why_not"] == "this certificate was revoked; have a new one signed"


# ── What a change would break ────────────────────────────────────────────────────────────────────


def judged(answer: Answer, change: str) -> list[tuple[str, str]]:
    rows = [one for one in answer.json["coming"] if one["change"].startswith(change)]
    return [(one["verdict"], one["why"]) for one in rows]


def test_what_a_client_would_do_without_an_algorithm_is_worked_out_from_what_it_can(
    hub: Hub, door: Door, ask: Callable[..., Answer]
) -> None:
    connect(door, "cnp", encryption_algs=["aes256-ctr", "aes128-ctr"], mac_algs=["hmac-sha2-512"])
    came(hub, "cnp")
    answer = ask("cnp", "--json", "--without", "aes256-ctr")
    moves = ("moves", "goes over from aes256-ctr to aes128-ctr")
    assert (answer.code, judged(answer, "the hub is without")) == (0, [moves])
    answer = ask("cnp", "--json", "--without", "aes256-ctr", "--without", "aes128-ctr")
    breaks = ("breaks", "no cipher is left that it knows")
    assert (answer.code, judged(answer, "the hub is without")) == (1, [breaks])
    assert judged(answer, "the hub offers fewer algorithms") == [("breaks", "no MAC is left that it knows")]
    answer = ask("cnp", "--json", "--without", "aes128-gcm@openssh.com")
    assert (answer.code, judged(answer, "the hub is without")) == (0, [("stays", "uses none of it")])
    assert (
        "None of its clients would notice if the hub is without "
        in ask("cnp", "--without", "aes128-gcm@openssh.com").out
    )
    answer = ask("cnp", "--json", "--without", "ssh-ed25519")
    assert judged(answer, "the hub is without")[0] == (
        "unsure",
        "its key signs with ssh-ed25519; whether it can do otherwise is not known",
    )
    assert "the nearest is aes256-ctr" in ask("cnp", "--without", "aes256-cdr").err


def test_what_a_keys_removal_or_end_would_break(hub: Hub, door: Door, ask: Callable[..., Answer]) -> None:
    connect(door, "cnp")
    came(hub, "cnp")
    answer = ask("cnp", "--json", "--without-key", "cnp")
    assert (answer.code, judged(answer, "it is without cnp")) == (1, [("breaks", "logs in by it")])
    assert "cnp has no key x" in ask("cnp", "--without-key", "x").err
    other = asyncssh.generate_private_key("ssh-ed25519", comment="other").export_public_key().decode().strip()
    edit(door, "cnp", "authorized_keys = [", f'authorized_keys = ["{other}", ')
    answer = ask("cnp", "--json", "--without-key", "other")  # which nobody has used
    assert (answer.code, judged(answer, "it is without other")) == (0, [])
    for days, code in ((31, 0), (30, 3)):
        end = DAY + timedelta(days=days)
        text = (door.partners / "cnp.toml").read_text()
        line = asyncssh.read_private_key(door.key_files["cnp"]).export_public_key().decode().strip()
        entry = f'authorized_keys = [{{ key = "{line}", expires = {end} }}]'
        lines = [entry if one.startswith("authorized_keys") else one for one in text.splitlines()]
        (door.partners / "cnp.toml").write_text("\n".join(lines))
        answer = ask("cnp", "--json")
        assert (answer.code, judged(answer, "key cnp ends")) == (code, [("breaks", "logs in by it")])


def test_what_the_end_of_an_exception_would_break(hub: Hub, door: Door, ask: Callable[..., Answer]) -> None:
    legacy = 'legacy = { until = 2013-09-13, allows = ["aes128-cbc", "hmac-sha1", "ssh-rsa"] }'
    edit(door, "cnp", "authorized_keys", f'allow_from = ["127.0.0.1"]\n{legacy}\nauthorized_keys')

    def connects(**more: Any) -> bool:
        with suppress(asyncssh.Error):
            connect(door, "cnp", **more)
            return True
        return False

    until(lambda: connects(encryption_algs=["aes128-cbc"]))
    connect(door, "cnp", encryption_algs=["aes128-ctr"], mac_algs=["hmac-sha1", "hmac-sha2-256"])
    came(hub, "cnp", 2)
    answer = ask("cnp", "--json")
    assert sorted(judged(answer, "its exception ends")) == [
        ("breaks", "no cipher is left that it knows"),
        ("moves", "goes over from hmac-sha1 to hmac-sha2-256"),
    ]
    assert answer.code == 3
    assert "its exception ends on 2013-09-13" in answer.json["needs"][0]


def test_a_partner_that_never_came_is_examined_too(ask: Callable[..., Answer]) -> None:
    assert "It has not been seen yet." in ask("acme").out
    answer = ask("acm")
    assert (answer.code, "is acme meant?" in answer.err) == (1, True)


def test_who_asks_without_a_port_is_led_to_the_running_hub(
    hub: Hub, door: Door, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(hub, capsys, monkeypatch)
    assert "no server is running on this home" in desk.ask("doctor", "cnp").out
    with lock.take(hub.home) as held:
        lock.tell_port(held, door.port)
        assert f"The hub answers at 127.0.0.1, port {door.port}" in desk.ask("doctor", "cnp").out
    assert lock.port(hub.home) is None
