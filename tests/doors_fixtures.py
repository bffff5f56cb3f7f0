"""A door to knock at: the real server on loopback, with a small hub behind it that keeps what it was told."""

import asyncio
import io
import logging
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import structlog
import uvloop

from config.home import Home
from config.partners import Partner
from config.partners_folder import PartnersFolder
from config.settings import Sftp
from exchange import keys, namespace
from exchange.addresses import Source
from exchange.bans import Bans
from exchange.desk import Desk, Read, Refused, SessionInfo
from exchange.server import Doors
from schemas.visit import TurnedAway, Visit

# The tests all come from one address, in a hurry, and fail on purpose; a machine that is busy keeps them.
OPEN_HANDED: dict[str, Any] = {
    "port": 0,
    "ban_score": 0,
    "max_unauthenticated_per_address": 100_000,
    "max_connections_a_second_per_address": 0,
    "login_seconds": 600,
}
AGREED = "957877905IntervalData20130903010203001.lse.gz"
SECONDS = 90.0  # that anything here may take

logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what a client says of an end is not the hub's


@dataclass(frozen=True)
class Told:
    """One thing that the desk was told."""

    what: str
    partner: str
    folder: str
    name: str
    more: dict[str, Any] = field(default_factory=dict)


class SmallDesk:
    """A desk without a pipeline: it moves the files and keeps what it was told."""

    def __init__(self, root: Path, partners: PartnersFolder) -> None:
        self.root = root
        self.partners = partners
        self.told: list[Told] = []
        self.visits: list[Visit] = []
        self.turned: list[TurnedAway] = []
        self.refuses: str = ""  # what the next upload's end is refused with
        self.breaks = False  # an upload's end is a mistake of the hub's
        self.takes = False  # takes what has an agreed name out of inbound/ at once
        self.began = datetime.now(UTC)  # and no midnight comes
        self.days_on = 0
        self.on_the_way = 0  # bytes that are taken in and not loaded
        self.closed = ""  # why no file can be taken
        self.room = 1 << 40  # bytes, before the disk is full
        self.hold = threading.Event()  # an upload's end waits for it
        self.hold.set()
        self._changed = threading.Condition()

    def now(self) -> datetime:
        return self.began + timedelta(days=self.days_on)

    def partner(self, login: str) -> Partner | None:
        found = self.partners.one(login)
        return None if found is None or found.disabled else found

    def partner_at_once(self, login: str) -> Partner | None:
        found = self.partners.one_at_once(login)
        return None if found is None or found.disabled else found

    def excepted(self) -> list[Partner]:
        today = self.now().date()
        known = self.partners.current().by_id.values()
        return [one for one in known if one.legacy is not None and one.legacy.on(today) and not one.disabled]

    def visited(self, visits: Sequence[Visit], turned: Sequence[TurnedAway]) -> None:
        self.visits += visits
        self.turned += turned

    def is_listed(self, source: Source) -> bool:
        return self.partners.current().any_from(source)

    def unloaded(self, partner_id: str) -> int:
        return self.on_the_way

    def closed_because(self) -> str:
        return self.closed

    def room_left(self) -> int:
        return self.room

    def mailbox(self, partner: Partner, folder: str) -> Path:
        path = self.root / partner.id / folder
        path.mkdir(parents=True, exist_ok=True)
        return path

    def upload_resumed(
        self, partner_id: str, folder: str, name: str, *, whole: bool, session: SessionInfo
    ) -> None:
        if self.refuses:
            words, self.refuses = self.refuses, ""
            raise Refused(words)
        if whole:
            path = self.root / partner_id / folder
            (path / name).rename(path / namespace.part_name(name))
        self._note("upload_resumed", partner_id, folder, name, whole=whole, session=session)

    def upload_whole(self, partner_id: str, folder: str, name: str) -> datetime:
        return self.now()

    def upload_ended(
        self, partner_id: str, folder: str, name: str, *, at: datetime, session: SessionInfo
    ) -> None:
        assert self.hold.wait(SECONDS)
        if self.breaks:
            raise RuntimeError(f"a mistake, at {self.root}")
        if self.refuses:
            words, self.refuses = self.refuses, ""
            raise Refused(words)
        path = self.root / partner_id / folder
        (path / namespace.part_name(name)).rename(path / name)
        self._take(path / name)
        self._note("upload_ended", partner_id, folder, name, session=session)

    def upload_broken(
        self, partner_id: str, folder: str, name: str, *, received: int, session: SessionInfo
    ) -> None:
        self._note("upload_broken", partner_id, folder, name, received=received, session=session)

    def file_renamed(
        self, partner_id: str, folder: str, old: str, new: str, *, whole: bool, session: SessionInfo
    ) -> None:
        path = self.root / partner_id / folder
        (path / self._on_disk(old, whole)).rename(path / self._on_disk(new, whole))
        self._take(path / new)
        self._note("file_renamed", partner_id, folder, old, new=new, whole=whole, session=session)

    def file_removed(
        self, partner_id: str, folder: str, name: str, *, whole: bool, session: SessionInfo
    ) -> None:
        (self.root / partner_id / folder / self._on_disk(name, whole)).unlink()
        self._note("file_removed", partner_id, folder, name, whole=whole, session=session)

    def reads_ended(self, ended: Sequence[Read]) -> None:
        for one in ended:
            more = {each.name: getattr(one, each.name) for each in fields(one)}
            self._note("read_ended", one.session.partner_id, more.pop("folder"), more.pop("name"), **more)

    def wait_for(self, what: str, name: str = "") -> Told:
        """What the desk was told of that kind, first or once it is told."""

        def found() -> Told | None:
            return next((one for one in self.told if one.what == what and name in {"", one.name}), None)

        with self._changed:
            assert self._changed.wait_for(found, SECONDS), f"never told {what}; told {self.told}"
            one = found()
            assert one is not None
            return one

    def _take(self, file: Path) -> None:
        if self.takes and namespace.is_agreed(file.name):
            taken = self.root.parent / "taken"
            taken.mkdir(exist_ok=True)
            file.rename(taken / file.name)

    def _note(self, what: str, partner: str, folder: str, name: str, **more: Any) -> None:
        with self._changed:
            self.told.append(Told(what, partner, folder, name, more))
            self._changed.notify_all()

    @staticmethod
    def _on_disk(name: str, whole: bool) -> str:
        return name if whole else namespace.part_name(name)


class Reached:
    """An SSH server on loopback, on a loop in a thread of its own, and ways to come to it."""

    def __init__(self, home: Path, *, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.home = home
        self.key_files: dict[str, Path] = {}
        self.host_key = ""
        self._loop_factory = loop_factory
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="doors")

    def add_key(self, login: str) -> str:
        """A new key of that login's, kept in the home; its public line."""
        key = asyncssh.generate_private_key("ssh-ed25519", comment=login)
        file = self.home / f"{login}.key"
        file.touch(mode=0o600)
        file.write_bytes(key.export_private_key("openssh"))
        self.key_files[login] = file
        return key.export_public_key().decode().strip()

    async def open(self) -> None:
        """Begin to listen."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        raise NotImplementedError

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            await self.open()
        except BaseException as error:
            self._ready.set_exception(error)
            raise
        self._ready.set_result(None)
        await self._stop.wait()

    def start(self) -> None:
        self._thread.start()
        self._ready.result(SECONDS)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def on_loop(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gives on the server's own loop, when all that came before is done."""
        answer: Future[Any] = Future()
        self.loop.call_soon_threadsafe(lambda: answer.set_result(ask()))
        return answer.result(SECONDS)

    # ── Clients ──────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def transport(
        self, login: str, key_of: str = "", ciphers: Sequence[str] = ("aes128-gcm@openssh.com",)
    ) -> Iterator[paramiko.Transport]:
        """A connection of paramiko's, logged in."""
        transport = patient(paramiko.Transport(("127.0.0.1", self.port)))
        transport.get_security_options().ciphers = ciphers
        try:
            key = paramiko.Ed25519Key.from_private_key_file(str(self.key_files[key_of or login]))
            transport.connect(username=login, pkey=key)
            yield transport
        finally:
            transport.close()

    @contextmanager
    def paramiko(self, login: str) -> Iterator[paramiko.SFTPClient]:
        with self.transport(login) as transport:
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
            yield client

    @contextmanager
    def raw(self, login: str) -> Iterator["Raw"]:
        with self.transport(login) as transport:
            channel = transport.open_session()
            channel.settimeout(SECONDS)
            channel.invoke_subsystem("sftp")
            yield Raw(channel)

    def asyncssh_options(self, login: str) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "username": login,
            "client_keys": [str(self.key_files[login])],
            "known_hosts": None,
            "config": None,
            "agent_path": None,
        }

    def openssh_options(self, login: str, *more: str) -> list[str]:
        known = self.home / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {self.host_key}\n")
        options = (
            f"UserKnownHostsFile={known}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            f"IdentityFile={self.key_files[login]}",
            "BatchMode=yes",
            "UpdateHostKeys=no",
            *more,
        )
        return ["-F", "/dev/null", *(word for option in options for word in ("-o", option))]

    def sftp(self, login: str, *commands: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run OpenSSH's `sftp` with a batch of commands."""
        done = subprocess.run(
            [
                *("sftp", *self.openssh_options(login), "-P", str(self.port), "-b", "-"),
                f"{login}@127.0.0.1",
            ],
            input="\n".join(commands) + "\n",
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=self.home,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        return done


class Door(Reached):
    """The hub's own server."""

    def __init__(
        self, home: Path, limits: Sftp, hub: Desk | None, partners: Path | None, *, new_key: bool
    ) -> None:
        super().__init__(home, loop_factory=uvloop.new_event_loop)
        self.partners = partners or home / "partners"
        self.partners.mkdir(exist_ok=True)
        for login, role in (("cnp", "edc"), ("onc", "edc"), ("acme", "egs"), ("aud", "auditor")):
            self.add_partner(login, role)
        self.desk = SmallDesk(home / "sftp_root", PartnersFolder(self.partners))
        self._hub = hub or self.desk
        host_keys = home / "host_keys"
        host_keys.mkdir(exist_ok=True)
        host_key_file = host_keys / "ssh_host_ed25519_key"
        if new_key:
            host_key_file.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
        host_key = asyncssh.read_private_key(host_key_file)
        self.host_key = host_key.export_public_key().decode().strip()
        self.bans = Bans(Home(home).bans, self._hub.now)
        self._limits = limits
        self._host_keys = keys.load_host_keys(host_keys)
        self._drained = False

    def add_partner(self, login: str, role: str, *, more: str = "", key_more: str = "") -> None:
        line = self.add_key(login)
        duns = {"cnp": "957877905", "onc": "1039940674000"}.get(
            login, f"{zlib.crc32(login.encode()) % 10**9:09}"
        )
        entry = f'"{line}"'
        if key_more:
            entry = f"{{ key = {entry}, {key_more} }}"
        zone = 'time_zone = "America/Chicago"' if role == "edc" else ""
        traded = f'duns = "{duns}"' if role in {"edc", "egs"} else ""
        text = f'id = "{login}"\nrole = "{role}"\nname = "{login.upper()}"\n{traded}\n{zone}\n'
        (self.partners / f"{login}.toml").write_text(f"{text}authorized_keys = [{entry}]\n{more}\n")

    async def open(self) -> None:
        self.doors = Doors(self._hub, self._limits, self._host_keys, self.bans)
        await self.doors.start()

    def drain(self) -> None:
        self._drained = True
        asyncio.run_coroutine_threadsafe(self.doors.drain(), self.loop).result(SECONDS)

    def stop(self) -> None:
        if not self._drained:
            self.drain()
        super().stop()

    @property
    def port(self) -> int:
        return self.doors.port

    def folder(self, login: str, name: str) -> Path:
        path = self.desk.root / login / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def patient(transport: paramiko.Transport) -> paramiko.Transport:
    """It waits for a busy machine."""
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = SECONDS
    return transport


class Raw:
    """SFTP packets as they are, for what no client sends."""

    def __init__(self, channel: paramiko.Channel, *, init: bool = True) -> None:
        self.channel = channel
        self._next = 0
        if init:
            self.send(1, struct.pack(">I", 3), request=None)
            self.version = self.receive()

    def send(self, kind: int, body: bytes, *, request: int | None = -1) -> int:
        """Send a request; its id is the answer's. A packet without an id has `request` None."""
        if request == -1:
            self._next += 1
            request = self._next
        start = struct.pack(">B", kind) if request is None else struct.pack(">BI", kind, request)
        self.channel.sendall(struct.pack(">I", len(start) + len(body)) + start + body)
        return request or 0

    def receive(self) -> tuple[int, bytes]:
        """The type and the rest of the next packet, its id (but for VERSION) first."""
        length = struct.unpack(">I", self._exactly(4))[0]
        packet = self._exactly(length)
        return packet[0], packet[1:]

    def _exactly(self, count: int) -> bytes:
        pieces = io.BytesIO()
        while pieces.tell() < count:
            piece = self.channel.recv(count - pieces.tell())
            if not piece:
                raise EOFError
            pieces.write(piece)
        return pieces.getvalue()

    def ask(self, kind: int, body: bytes) -> tuple[int, bytes]:
        """The type of the answer to a request, and what follows its id."""
        request = self.send(kind, body)
        found, rest = self.receive()
        assert struct.unpack(">I", rest[:4])[0] == request
        return found, rest[4:]

    def status(self, kind: int, body: bytes) -> tuple[int, str]:
        """The code and the words of an answer that has to be a STATUS."""
        found, rest = self.ask(kind, body)
        assert found == 101, f"a packet of type {found}"
        length = struct.unpack(">I", rest[4:8])[0]
        return struct.unpack(">I", rest[:4])[0], rest[8 : 8 + length].decode()

    def open(self, path: str, flags: int) -> bytes:
        """The handle of an OPEN that has to succeed, as a string with its length."""
        found, rest = self.ask(3, string(path) + struct.pack(">II", flags, 0))
        assert found == 102, rest
        return rest

    def opens(self, path: str, flags: int) -> tuple[int, str]:
        """The code and words of an OPEN that has to fail."""
        return self.status(3, string(path) + struct.pack(">II", flags, 0))

    def write(self, handle: bytes, offset: int, data: bytes) -> tuple[int, str]:
        return self.status(6, handle + struct.pack(">Q", offset) + string(data))


def string(value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(encoded)) + encoded


@contextmanager
def heard() -> Iterator[list[MutableMapping[str, Any]]]:
    """The lines that are logged meanwhile, in this and all other threads, as they are put together there.

    structlog's own `capture_logs` changes the list of processors that another thread may be going through.
    """
    lines: list[MutableMapping[str, Any]] = []

    def keep(_: Any, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        lines.append(dict(line) | {"log_level": method})
        raise structlog.DropEvent

    before = structlog.get_config()["processors"]
    structlog.configure(processors=[keep])
    try:
        yield lines
    finally:
        structlog.configure(processors=before)


def until(ask: Callable[[], Any]) -> Any:
    """What `ask` gives, once it gives something."""
    limit = time.monotonic() + SECONDS
    while not (found := ask()):
        assert time.monotonic() < limit
        time.sleep(0.005)
    return found


@contextmanager
def open_door(
    home: Path,
    *,
    hub: Desk | None = None,
    partners: Path | None = None,
    new_key: bool = True,
    **limits: Any,
) -> Iterator[Door]:
    """An open door: before a small desk of its own, or before `hub`, whose partners' files are in `partners`.

    Its host key is a new one, or the one that is in the home. It bans nobody, and lets nobody wait, unless it is told to.
    """
    door = Door(home, replace(Sftp(), **OPEN_HANDED | limits), hub, partners, new_key=new_key)
    door.start()
    try:
        yield door
    finally:
        door.stop()


def names(entries: Sequence[str]) -> list[str]:
    return sorted(entry for entry in entries if entry not in {".", ".."})
