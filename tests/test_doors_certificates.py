"""OpenSSH user certificates: an authority of the partner's own signs who may log in, as what and until when."""

import asyncio
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from config import authorized_key
from doors_fixtures import SECONDS, Door, heard, open_door, until
from exchange import certificates

_KINDS = {kind: ("-t", kind) for kind in ("ecdsa", "ed25519")} | {"rsa": ("-t", "rsa", "-b", "2048")}
NEVER_TOLD = "Permission denied"  # what somebody hears who is told nothing


@dataclass(frozen=True)
class Authority:
    """A certificate authority, as `ssh-keygen` makes one."""

    folder: Path
    kind: str = "ed25519"

    def __post_init__(self) -> None:
        self.folder.mkdir()
        keygen(*_KINDS[self.kind], "-N", "", "-C", "ops-ca", "-f", self.folder / "ca")

    @property
    def line(self) -> str:
        return (self.folder / "ca.pub").read_text().strip()

    @property
    def fingerprint(self) -> str:
        return authorized_key.parse(self.line).fingerprint

    def sign(self, name: str, *options: str, kind: str = "ed25519") -> Path:
        """A new key, with its certificate beside it as `<name>-cert.pub`."""
        key = self.folder / name
        keygen(*_KINDS[kind], "-N", "", "-C", name, "-f", key)
        keygen("-s", self.folder / "ca", "-I", f"id of {name}", *options, f"{key}.pub")
        return key


def keygen(*words: object) -> None:
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, timeout=SECONDS)


def certificate_of(key: Path) -> Path:
    return key.with_name(f"{key.name}-cert.pub")


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def door(tmp_path: Path, ca: Authority) -> Iterator[Door]:
    with open_door(tmp_path) as door:
        trust(door, ca)
        yield door


def trust(door: Door, *authorities: Authority, login: str = "ops", more: str = "") -> None:
    """Give a partner these authorities; it has a key of its own besides, which nothing here is signed with."""
    lines = ", ".join(f'"{one.line}"' for one in authorities)
    door.add_partner(login, "third_party", more=f"certificate_authorities = [{lines}]\n{more}")


def visit(door: Door, key: Path, login: str = "ops") -> subprocess.CompletedProcess[str]:
    """OpenSSH's `sftp` with a key and its certificate."""
    door.key_files[login] = key
    options = door.openssh_options(login, f"CertificateFile={certificate_of(key)}")
    command = ["sftp", *options, "-P", str(door.port), "-b", "-", f"{login}@127.0.0.1"]
    return subprocess.run(command, input="ls\n", capture_output=True, text=True, timeout=SECONDS, check=False)


def refused(door: Door, key: Path, login: str = "ops") -> tuple[str, str]:
    """Why a visit failed: the reason in the log, and what the client was told."""

    def its_own() -> list[Any]:  # a visit before this one, as somebody else, may be told of only now
        return [line for line in lines if (line["event"], line.get("login")) == ("login.refused", login)]

    with heard() as lines:
        done = visit(door, key, login)
        assert done.returncode != 0
        until(its_own)
    (line,) = its_own()
    return line["reason"], done.stderr


# ── Who may come in ──────────────────────────────────────────────────────────────────────────────


def test_openssh_logs_in_with_a_certificate_and_the_log_says_whose_it_was(door: Door, ca: Authority) -> None:
    key = ca.sign("night", "-n", "ops", "-V", "-1h:+1h", "-z", "17")
    with heard() as lines:
        done = visit(door, key)
        assert done.returncode == 0, done.stderr
    (opened,) = [line for line in lines if line["event"] == "session.opened"]
    fingerprint = authorized_key.parse((ca.folder / "night.pub").read_text()).fingerprint
    assert {name: opened[name] for name in ("key", "key_id", "serial", "authority")} == {
        "key": fingerprint,
        "key_id": "id of night",
        "serial": 17,
        "authority": ca.fingerprint,
    }


@pytest.mark.parametrize(("kind", "signer"), [("rsa", "ecdsa"), ("ecdsa", "rsa"), ("ed25519", "ed25519")])
def test_every_kind_of_key_can_be_certified_and_every_kind_can_certify(
    door: Door, tmp_path: Path, kind: str, signer: str
) -> None:
    other = Authority(tmp_path / "other", signer)
    trust(door, other)
    done = visit(door, other.sign("night", "-n", "ops", kind=kind))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_asyncssh_logs_in_with_a_certificate(door: Door, ca: Authority, kind: str) -> None:
    key = ca.sign("night", "-n", "ops", kind=kind)

    async def connect() -> None:
        options = door.asyncssh_options("ops") | {"client_keys": [(str(key), str(certificate_of(key)))]}
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            assert await client.listdir("/")

    asyncio.run(asyncio.wait_for(connect(), SECONDS))


@pytest.mark.parametrize(
    ("kind", "read"),
    [("rsa", paramiko.RSAKey), ("ecdsa", paramiko.ECDSAKey), ("ed25519", paramiko.Ed25519Key)],
)
def test_paramiko_logs_in_with_a_certificate(
    door: Door, ca: Authority, kind: str, read: type[paramiko.PKey]
) -> None:
    file = ca.sign("night", "-n", "ops", kind=kind)
    key = read.from_private_key_file(str(file))
    key.load_certificate(str(certificate_of(file)))
    transport = paramiko.Transport(("127.0.0.1", door.port))
    try:
        transport.connect(username="ops", pkey=key)
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        assert client.listdir("/")
    finally:
        transport.close()


def test_a_key_of_which_only_the_certificate_is_known_does_not_log_in_without_it(
    door: Door, ca: Authority
) -> None:
    key = ca.sign("night", "-n", "ops")
    certificate_of(key).unlink()
    assert refused(door, key)[0] == "unknown-key"
    assert refused(door, ca.folder / "ca")[0] == "unknown-key"  # nor does the authority's own


# ── Who may not, and what it is told ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "reason", "words"),
    [
        (("-n", "onc"), "certificate-principals", "does not name ops among its principals"),
        ((), "certificate-principals", "have one signed with -n ops"),
        (("-n", "ops2,op,ops*"), "certificate-principals", "does not name ops"),
        (("-n", "ops", "-V", "20200101:20200131"), "certificate-expired", "this certificate expired on 2020-01-31"),
        (("-n", "ops", "-V", "+1d:+2d"), "certificate-early", "this certificate is not valid before"),
        (("-n", "ops", "-O", "source-address=192.0.2.0/24"), "certificate-address", "used from 127.0.0.1"),
        (("-n", "ops", "-O", "force-command=/bin/true"), "certificate-command", "is for one command only"),
        (("-n", "ops", "-O", "force-command=internal-sftp -R"), "certificate-command", "for internal-sftp"),
        (("-n", "ops", "-O", "critical:who@example.com=x"), "certificate-option", "asks for who@example.com"),
        (("-n", "ops", "-O", "verify-required"), "certificate-option", "asks for verify-required"),
        (("-h", "-n", "ops"), "unknown-key", NEVER_TOLD),
    ],
)  # fmt: skip
def test_a_certificate_that_is_not_good_here_is_refused_in_words(
    door: Door, ca: Authority, options: tuple[str, ...], reason: str, words: str
) -> None:
    found, told = refused(door, ca.sign("night", *options))
    assert (found, words in told) == (reason, True), told


@pytest.mark.parametrize(
    "options",
    [
        ("-n", "onc,ops"),
        ("-n", "ops", "-O", "source-address=192.0.2.0/24,127.0.0.0/8"),
        ("-n", "ops", "-O", "force-command=internal-sftp"),
        ("-n", "ops", "-O", "clear", "-O", "extension:who@example.com=x"),
    ],
)  # fmt: skip
def test_what_a_certificate_allows_or_may_be_passed_over_keeps_nobody_out(
    door: Door, ca: Authority, options: tuple[str, ...]
) -> None:
    done = visit(door, ca.sign("night", *options))
    assert done.returncode == 0, done.stderr


def test_an_authority_opens_no_login_but_its_own_partners(door: Door, ca: Authority, tmp_path: Path) -> None:
    trust(door, Authority(tmp_path / "other"), login="rival")
    key = ca.sign("night", "-n", "rival,ops,cnp,acme")
    for login in ("rival", "cnp", "acme"):
        found, told = refused(door, key, login)
        assert found == "unknown-key"
        assert NEVER_TOLD in told
    assert visit(door, key).returncode == 0


def test_an_authority_of_two_partners_opens_of_the_two_what_its_certificate_names(
    door: Door, ca: Authority
) -> None:
    trust(door, ca, login="rival")
    one, other = ca.sign("one", "-n", "ops"), ca.sign("other", "-n", "rival")
    both, neither = ca.sign("both", "-n", "ops,rival"), ca.sign("neither", "-n", "cnp,acme")
    whoever = ca.sign("whoever")  # names nobody: to OpenSSH, everybody
    with heard() as lines:
        opened = {
            (key.name, login)
            for key in (one, other, both, neither, whoever)
            for login in ("ops", "rival", "cnp")
            if visit(door, key, login).returncode == 0
        }
        until(lambda: [line["event"] for line in lines].count("login.refused") == 15 - len(opened))
    assert opened == {("one", "ops"), ("other", "rival"), ("both", "ops"), ("both", "rival")}
    for key in (other, neither, whoever):
        assert refused(door, key, "ops")[0] == "certificate-principals"


def test_what_one_partner_revokes_of_a_shared_authority_still_opens_the_others_login(
    door: Door, ca: Authority
) -> None:
    key = ca.sign("night", "-n", "ops,rival", "-z", "17")
    trust(door, ca, login="rival")
    trust(door, ca, more='revoked = ["serial: 17"]')
    assert refused(door, key, "ops")[0] == "certificate-revoked"
    assert visit(door, key, "rival").returncode == 0


def test_the_partners_own_addresses_hold_for_certificates_too(door: Door, ca: Authority) -> None:
    trust(door, ca, more='allow_from = ["192.0.2.0/24"]')
    key = ca.sign("night", "-n", "ops", "-O", "source-address=127.0.0.1")
    assert refused(door, key)[0] == "address"


@pytest.mark.parametrize(
    "line", ["serial: 17", "serial: 10-20", "id: id of night", "KEY", "PUBLIC", "AUTHORITY"]
)
def test_a_certificate_is_revoked_by_serial_by_key_id_or_by_its_key(
    door: Door, ca: Authority, line: str
) -> None:
    night = ca.sign("night", "-n", "ops", "-z", "17")
    day = ca.sign("day", "-n", "ops", "-z", "21")
    public = (ca.folder / "night.pub").read_text().strip()
    fingerprint = authorized_key.parse(public).fingerprint
    line = {"KEY": fingerprint, "PUBLIC": public, "AUTHORITY": ca.fingerprint}.get(line, line)
    assert visit(door, night).returncode == 0
    trust(door, ca, more=f'revoked = ["{line}"]')
    found, told = refused(door, night)
    assert (found, "this certificate was revoked" in told) == ("certificate-revoked", True)
    assert (visit(door, day).returncode == 0) is (line != ca.fingerprint)


def test_a_plain_key_that_was_revoked_opens_nothing_though_it_is_listed(door: Door) -> None:
    file = door.partners / "cnp.toml"
    line = asyncssh.read_private_key(door.key_files["cnp"]).export_public_key().decode().strip()
    assert door.sftp("cnp", "ls").returncode == 0
    file.write_text(file.read_text() + f'revoked = ["{line}"]\n')
    assert "this key was revoked" in door.sftp("cnp", "ls", check=False).stderr


def test_an_authority_has_a_last_day_and_can_be_taken_away_under_an_open_session(
    door: Door, ca: Authority
) -> None:
    file = door.partners / "ops.toml"
    listed = file.read_text()
    today = door.desk.now().date()
    file.write_text(listed.replace(f'"{ca.line}"', f'{{ key = "{ca.line}", expires = {today} }}'))
    key = ca.sign("night", "-n", "ops")

    async def connect() -> None:
        options = door.asyncssh_options("ops") | {"client_keys": [(str(key), str(certificate_of(key)))]}
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            assert await client.listdir("/")
            door.desk.days_on = 1
            with pytest.raises(asyncssh.SFTPError, match="was listed until"):
                await client.listdir("/")
            file.write_text(listed.replace(f'"{ca.line}"', ""))
            with pytest.raises(asyncssh.SFTPError, match="is no longer listed"):
                await client.listdir("/")

    asyncio.run(asyncio.wait_for(connect(), SECONDS))
    file.write_text(listed.replace(f'"{ca.line}"', f'{{ key = "{ca.line}", expires = {today} }}'))
    found, told = refused(door, key)
    assert (found, "was listed until" in told) == ("authority-expired", True)


def test_a_certificate_ends_by_the_hubs_clock_and_under_an_open_session(door: Door, ca: Authority) -> None:
    key = ca.sign("night", "-n", "ops", "-V", "-1h:+12h")

    async def connect() -> None:
        options = door.asyncssh_options("ops") | {"client_keys": [(str(key), str(certificate_of(key)))]}
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            door.desk.days_on = 1
            with pytest.raises(asyncssh.SFTPError, match="this certificate expired on"):
                await client.listdir("/")

    asyncio.run(asyncio.wait_for(connect(), SECONDS))
    assert refused(door, key)[0] == "certificate-expired"


def test_whoever_does_not_hold_the_key_is_told_nothing_of_its_certificate(door: Door, ca: Authority) -> None:
    key = ca.sign("night", "-n", "onc")
    other = ca.sign("other", "-n", "ops")
    certificate_of(other).write_text(certificate_of(key).read_text())
    _, told = refused(door, other)
    assert NEVER_TOLD in told
    assert "principals" not in told


# ── What no `ssh-keygen` signs ───────────────────────────────────────────────────────────────────


def wire(value: bytes) -> bytes:
    return len(value).to_bytes(4) + value


def forged(
    signer: asyncssh.SSHKey,
    *,
    options: bytes = b"",
    usage: int = 1,
    more: bytes = b"",
    algorithm: bytes | None = None,
) -> bytes:
    """A certificate for `ops` as the form has it, but for what is asked."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    body = wire(b"ssh-ed25519-cert-v01@openssh.com") + wire(b"nonce") + key.public_data[15:]
    body += (7).to_bytes(8) + usage.to_bytes(4) + wire(b"id") + wire(wire(b"ops"))
    body += bytes(8) + b"\xff" * 8 + wire(options) + wire(b"") + wire(b"") + wire(signer.public_data)
    return body + wire(signer.sign(body, algorithm or signer.sig_algorithms[0])) + more


def taken(blob: bytes, signer: asyncssh.SSHKey) -> certificates.Certificate | None:
    found = certificates.read(blob, [authorized_key.parse(signer.export_public_key().decode())])
    return found[0] if found else None


def option(name: bytes, value: bytes) -> bytes:
    return wire(name) + wire(wire(value))


ED25519 = asyncssh.generate_private_key("ssh-ed25519")
RSA = asyncssh.generate_private_key("ssh-rsa", key_size=2048)


def test_a_certificate_of_the_form_is_read() -> None:
    found = taken(forged(ED25519), ED25519)
    assert found is not None
    assert (found.serial, found.key_id, found.principals, found.ends) == (7, "id", ("ops",), None)
    assert taken(forged(RSA, algorithm=b"rsa-sha2-512"), RSA) is not None


def test_an_authority_that_signs_with_sha1_is_not_believed() -> None:
    assert taken(forged(RSA, algorithm=b"ssh-rsa"), RSA) is None


@pytest.mark.parametrize(
    "options",
    [
        option(b"source-address", b"192.0.2.0/24") * 2,
        option(b"source-address", b"192.0.2.0/24") + option(b"force-command", b"internal-sftp"),
        option(b"source-address", b"192.0.2.7/24"),
        option(b"source-address", b"anywhere"),
        wire(b"source-address") + wire(wire(b"192.0.2.7") + wire(b"198.51.100.7")),
        wire(b"source-address"),
    ],
    ids=["twice", "out of order", "bits of a host", "no network", "two values", "none"],
)
def test_options_that_are_not_of_the_form_make_no_certificate(options: bytes) -> None:
    assert taken(forged(ED25519, options=options), ED25519) is None


def test_a_source_address_that_names_no_network_lets_nobody_in() -> None:
    found = taken(forged(ED25519, options=option(b"source-address", b"")), ED25519)
    assert found is not None
    now = datetime(2026, 1, 1, tzinfo=UTC)
    refusal = certificates.refusal(found, login="ops", address="192.0.2.7", now=now)
    assert refusal is not None
    assert refusal[0] == "certificate-address"


def test_what_was_changed_cut_off_or_lengthened_since_it_was_signed_is_none() -> None:
    blob = forged(ED25519)
    assert taken(blob, ED25519) is not None
    for at in range(len(blob)):
        assert taken(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :], ED25519) is None
        assert taken(blob[:at], ED25519) is None
    assert taken(blob + b"x", ED25519) is None


@pytest.mark.parametrize("usage", [0, 2, 3])
def test_a_certificate_that_is_no_users_is_none(usage: int) -> None:
    assert taken(forged(ED25519, usage=usage), ED25519) is None


def test_a_key_id_is_logged_without_what_a_terminal_would_obey(door: Door, ca: Authority) -> None:
    key = ca.sign("night", "-n", "ops")
    keygen("-s", ca.folder / "ca", "-I", "a\x1b[2J\n" + "b" * 300, "-n", "ops", f"{key}.pub")
    with heard() as lines:
        assert visit(door, key).returncode == 0
    (opened,) = [line for line in lines if line["event"] == "session.opened"]
    assert opened["key_id"].startswith("a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}bb")
    assert len(opened["key_id"]) == 100
