"""Uploads by OpenSSH's client over loopback: to a hub that serves in a process of its own, and to others.

python doors.py serve HOME      the hub of that home; obeys a word a line, answers each in a line of JSON
python doors.py plain FOLDER    asyncssh's own server before one folder, which checks and tells nothing
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import uvloop

from config import log, partner_file, settings
from config.home import Home
from config.partners import Role
from exchange import keys
from exchange.app import Hub
from jobs.clock import StandingClock
from jobs.stores.ledger import drops
from schemas.sample import Edc, Egs

MORNING = datetime(2013, 9, 2, 12, tzinfo=UTC)  # 07:00 in Houston
CONNECTIONS = 8
_BEAT = 0.005  # seconds


class Served:
    """A server in a process of its own, and how to reach it."""

    def __init__(self, folder: Path, *how: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = folder / "client_key"
        if not self.key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self._process = subprocess.Popen(
            [sys.executable, __file__, *how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self.port = int(self._answer()["port"])

    def asked(self, what: str) -> dict[str, Any]:
        """What the server answers to a word."""
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the server has ended; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        print("stop", file=self._process.stdin, flush=True)
        self._process.wait()


def hub(root: Path, edc: Edc, egss: Sequence[Egs]) -> Served:
    """A hub with these partners, that serves on a free port."""
    home = Home(root)
    home.lay_out()
    home.settings_file.write_text("[sftp]\nport = 0\n")
    keys.make_host_keys(home.host_keys)
    key = root / "client_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    theirs = [key.with_suffix(".pub").read_text().strip()]
    facts = {"role": Role.EDC, "name": edc.name, "duns": edc.duns, "zone": str(edc.zone), "keys": theirs}
    (home.partners / f"{edc.id}.toml").write_text(partner_file.new(id=edc.id, **facts))
    for egs in egss:
        said = partner_file.new(id=egs.id, role=Role.EGS, name=egs.name, duns=egs.duns)
        (home.partners / f"{egs.id}.toml").write_text(said)
    return Served(root, "serve", str(root))


def plain(folder: Path) -> Served:
    """asyncssh's own SFTP server: what the library alone can do."""
    return Served(folder, "plain", str(folder))


@contextmanager
def openssh(folder: Path) -> Iterator[tuple[Path, int]]:
    """OpenSSH's server, a process a connection; the client's key, and the port."""
    folder.mkdir(parents=True)
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert sshd is not None
    for name in ("host_key", "client_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copyfile(folder / "client_key.pub", folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host_key", "StrictModes": "no",
        "AuthorizedKeysFile": folder / "authorized_keys", "PidFile": "none", "UsePAM": "no",
        "Subsystem": "sftp internal-sftp", "MaxStartups": "100",
    }  # fmt: skip
    said = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    server = subprocess.Popen([sshd, "-D", "-e", "-f", "/dev/null", *said], stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield folder / "client_key", port
    finally:
        server.terminate()
        server.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


def upload(
    files: Sequence[Path], *, login: str, key: Path, port: int, into: str, ending: str = ""
) -> list[subprocess.Popen[str]]:
    """Begin to send the files, on several connections at once; `finished` waits for them. `ending`: what is put
    behind their names.
    """
    shares = [files[k::CONNECTIONS] for k in range(CONNECTIONS)]
    said = ["".join(f'put "{file}" "{into}/{file.name}{ending}"\n' for file in share) for share in shares]
    return [_client(words, login=login, key=key, port=port) for words in said if words]


def remove(files: Sequence[Path], *, login: str, key: Path, port: int) -> list[subprocess.Popen[str]]:
    """Begin to remove what was uploaded under temporary names."""
    said = "".join(f'rm "inbound/{file.name}.tmp"\n' for file in files)
    return [_client(said, login=login, key=key, port=port)]


def _client(said: str, *, login: str, key: Path, port: int) -> subprocess.Popen[str]:
    command = [
        "sftp", "-q", "-b", "-", "-P", str(port), "-i", str(key), "-F", "/dev/null",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes",
        "-o", "LogLevel=ERROR", f"{login}@127.0.0.1",
    ]  # fmt: skip
    client = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert client.stdin is not None
    client.stdin.write(said)
    client.stdin.close()
    return client


def finished(clients: Sequence[subprocess.Popen[str]]) -> None:
    for client in clients:
        assert client.stderr is not None
        errors = client.stderr.read()
        if client.wait():
            raise SystemExit(errors)


# ── The servers ────────────────────────────────────────────────────────────────────────────────────


def _serve(root: Path) -> None:
    """Words: `loaded N` waits until N drops are at their end; `later M` sets the clock on by M minutes; `sweep`
    does what is due then; `stalled` tells for how long the loop stood still at most, since it was asked last.
    """
    home = Home(root)
    knobs = settings.load(root)
    log.configure(home, knobs, console=False)
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    clock = MORNING
    hub = Hub(home, knobs, StandingClock(clock))
    asyncio.run_coroutine_threadsafe(hub.start(), loop).result()
    pulse = Pulse()
    beating = asyncio.run_coroutine_threadsafe(pulse.beat(), loop)
    _say(port=hub.doors.port)
    for line in sys.stdin:
        word, *given = line.split()
        if word == "stop":
            break
        if word == "loaded":
            _say(**_loaded(hub, int(given[0])))
        elif word == "later":
            clock += timedelta(minutes=int(given[0]))
            hub.schedule.clock = StandingClock(clock)
            _say()
        elif word == "sweep":
            hub.schedule.sweep(to_the_end=True)
            _say()
        elif word == "stalled":
            _say(seconds=pulse.longest)
            pulse.longest = 0.0
    beating.cancel()
    asyncio.run_coroutine_threadsafe(hub.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


class Pulse:
    """A task that wants to go on every few milliseconds, and notes how late it was let."""

    longest = 0.0  # seconds

    async def beat(self) -> None:
        while True:
            due = time.perf_counter() + _BEAT
            await asyncio.sleep(_BEAT)
            self.longest = max(self.longest, time.perf_counter() - due)


def _loaded(hub: Hub, wanted: int) -> dict[str, Any]:
    while True:
        with hub.stores.ledger.read() as tx:
            ended = [drop for drop in drops.listed(tx, limit=100_000) if drop.outcome is not None]
        if len(ended) >= wanted:
            hub.schedule.settle_down()  # what they set off: a sync comes into force
            outcomes = [str(drop.outcome) for drop in ended]
            return {outcome: outcomes.count(outcome) for outcome in set(outcomes)}
        time.sleep(0.1)


async def _plain(folder: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    served = folder / "served"
    served.mkdir()

    def chroot(channel: "asyncssh.SSHServerChannel[bytes]") -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=os.fsencode(served))

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[key],
        authorized_client_keys=str(folder / "client_key.pub"),
        sftp_factory=chroot,
    )
    _say(port=server.get_port())
    await asyncio.to_thread(sys.stdin.readline)  # that it may stop


def _say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - a script's answer


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(Path(sys.argv[2]))
    else:
        uvloop.run(_plain(Path(sys.argv[2])))
