"""How fast the doors are, beside OpenSSH's internal-sftp: `make bench ONLY=doors`.

Both serve the same disk to the same clients with the same cipher, in turns. The hub is `meterhub serve` with
everything on: its ledger, limits, counts and log; OpenSSH is its own sshd. Client and server share the cores,
so that a ratio of 1 hides much of what either server saves.
"""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import asyncssh
from load import EDC, Took
from pair import Pair
from sqlalchemy import insert

from config import partner_file, settings
from config.home import Home
from config.partners import Role
from exchange import keys
from jobs.stores.opened import Stores
from schemas import tables
from schemas.sample import EGSS

CIPHER = "aes128-gcm@openssh.com"
EGS = EGSS[0]
MIB = 1 << 20
SETTINGS = """[sftp]
port = {port}
max_connections = 5000
max_connections_per_address = 5000
max_unauthenticated = 5000
max_unauthenticated_per_address = 5000
max_connections_a_second_per_address = 0
max_sessions_per_partner = 5000
ban_score = 0
"""
SSHD = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
MaxStartups 5000:100:5000
MaxSessions 5000
PermitRootLogin prohibit-password
LogLevel QUIET
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is sent and asked for."""

    files: tuple[int, ...] = (256, 1024)  # MiB each
    small: int = 200  # files of 1 MiB
    logins: int = 200
    sessions: int = 1000
    names: int = 100_000


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the two servers: where it is, how a partner's login and folders are called there, its process."""

    port: int
    process: subprocess.Popen[bytes]
    key: Path
    edc: str
    egs: str
    inbound: str
    outbound: str

    def options(self) -> list[str]:
        said = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "BatchMode=yes")
        more = ("IdentitiesOnly=yes", f"IdentityFile={self.key}", f"Ciphers={CIPHER}")
        return ["-F", "/dev/null", *(word for one in (*said, *more) for word in ("-o", one))]

    def sftp(self, login: str, commands: str) -> subprocess.Popen[bytes]:
        """OpenSSH's client, at work."""
        command = ["sftp", "-q", *self.options(), "-P", str(self.port), "-b", "-", f"{login}@127.0.0.1"]
        made = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert made.stdin is not None
        made.stdin.write(commands.encode())
        made.stdin.close()
        return made

    def connect(self, login: str) -> Any:
        return asyncssh.connect(
            "127.0.0.1",
            self.port,
            username=login,
            client_keys=[str(self.key)],
            known_hosts=None,
            config=None,
            agent_path=None,
            encryption_algs=[CIPHER],
            kex_algs=["curve25519-sha256"],
            server_host_key_algs=["ssh-ed25519"],  # which sshd has here; the hub has an RSA key besides
        )

    def spent(self) -> float:
        """Seconds of processor time of the server and all it has started, those that have ended, too."""
        return sum(_cpu(pid) for pid in _family(self.process.pid))

    def held(self) -> float:
        """MiB of memory of the server and all it has started; what they share counts once."""
        return sum(_memory(pid) for pid in _family(self.process.pid))


def _family(pid: int) -> list[int]:
    """A process and all it has started; threads and processes come and go meanwhile."""
    found = [pid]
    for one in found:
        with suppress(FileNotFoundError, ProcessLookupError):
            for task in list(Path(f"/proc/{one}/task").glob("*/children")):
                with suppress(FileNotFoundError, ProcessLookupError):
                    found += [int(child) for child in task.read_text().split()]
    return found


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


# ── The two servers ────────────────────────────────────────────────────────────────────────────────


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def served(folder: Path, names: Sequence[str]) -> Iterator[tuple[Side, Side]]:
    """The hub and OpenSSH, open. `names`: files in the EGS's outbound/ that the ledger is to know."""
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    hub = _hub(folder / "hub", key, names)
    other = None
    try:
        other = _sshd(folder, key)
        for side in (hub, other):
            _await(side.port)
        yield hub, other
    finally:
        for side in (hub, other):
            if side is not None:
                side.process.terminate()
                side.process.wait()


def _hub(root: Path, key: Path, names: Sequence[str]) -> Side:
    home = Home(root)
    home.lay_out()
    keys.make_host_keys(home.host_keys)
    port = free_port()
    home.settings_file.write_text(SETTINGS.format(port=port))
    public = key.with_suffix(".pub").read_text().strip()
    zone = str(EDC.zone)
    edc = partner_file.new(id=EDC.id, role=Role.EDC, name=EDC.name, duns=EDC.duns, zone=zone, keys=[public])
    egs = partner_file.new(id=EGS.id, role=Role.EGS, name=EGS.name, duns=EGS.duns, keys=[public])
    (home.partners / f"{EDC.id}.toml").write_text(edc)
    (home.partners / f"{EGS.id}.toml").write_text(egs)
    _record(home, names)
    process = subprocess.Popen(
        [sys.executable, "-m", "exchange.cli", "--home", root, "serve", "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return Side(
        port=port, process=process, key=key, edc=EDC.id, egs=EGS.id, inbound="inbound", outbound="outbound"
    )


def _record(home: Home, names: Sequence[str]) -> None:
    """Tell the ledger of outbound files, so that each reading of one is a collection."""
    stores = Stores.open(home, settings.load(home.root))
    now = datetime.now(UTC)
    try:
        with stores.ledger.write() as tx:
            sync = {
                "id": "M1",
                "edc": EDC.id,
                "as_of": now.date(),
                "parts": 1,
                "state": "superseded",
                "began_at": now,
            }
            tx.execute(insert(tables.sync).values(sync))
            publication = {
                "id": "P1",
                "edc": EDC.id,
                "sync_id": "M1",
                "at": now,
                "after_seq": 0,
                "through_seq": 0,
            }
            tx.execute(
                insert(tables.publication).values(publication | {"files": 0, "blocks": 0, "laid_out": True})
            )
            same = {
                "egs": EGS.id,
                "edc": EDC.id,
                "publication_id": "P1",
                "sync_id": "M1",
                "state": "laid-out",
            }
            counts = dict.fromkeys(("bytes", "blocks", "intervals", "estimated", "versions_above_1"), 1)
            rest = {"sha256": "", "usage_days": [], "contents": "", "laid_out_at": now, **same, **counts}
            rows = [{"name": name, "sequence": n, **rest} for n, name in enumerate(names, start=1)]
            tx.execute(insert(tables.outbound_file), rows)
        (stores.mailboxes.folder(EDC.id, "inbound"), stores.mailboxes.folder(EGS.id, "outbound"))
    finally:
        stores.close()


def _sshd(folder: Path, key: Path) -> Side:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "host_key"], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(SSHD.format(port=port, folder=folder))
    Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert sshd is not None, "no sshd: install openssh-server"
    process = subprocess.Popen([sshd, "-D", "-e", "-f", folder / "sshd_config"])
    me = os.environ.get("USER") or "root"
    inbound = folder / "inbound"
    inbound.mkdir()
    outbound = folder / "hub" / "sftp_root" / EGS.id / "outbound"
    return Side(
        port=port, process=process, key=key, edc=me, egs=me, inbound=str(inbound), outbound=str(outbound)
    )


def _await(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as one:
                if one.recv(4) == b"SSH-":
                    return
        except OSError:
            assert time.monotonic() < until, "a server does not open"
        time.sleep(0.05)


# ── What is measured ───────────────────────────────────────────────────────────────────────────────


def timed(side: Side, work: Callable[[], None]) -> Took:
    """By the clock, and in processor time of the server."""
    cpu, wall = side.spent(), time.perf_counter()
    work()
    return Took(wall=time.perf_counter() - wall, cpu=max(side.spent() - cpu, 0.01))


def transfer(side: Side, login: str, commands: Sequence[Sequence[str]]) -> Took:
    """Clients at once, each with its own commands over one connection."""

    def work() -> None:
        at_work = [side.sftp(login, "\n".join(each) + "\n") for each in commands]
        assert [one.wait() for one in at_work] == [0] * len(at_work)

    return timed(side, work)


def puts(side: Side, files: Sequence[Path], *, at_once: int) -> Took:
    """Upload files, shared out among connections."""
    asked = [f"put {file} {side.inbound}/{file.name}.tmp" for file in files]
    took = transfer(side, side.edc, [asked[n::at_once] for n in range(at_once)])
    gone = [f"rm {side.inbound}/{file.name}.tmp" for file in files]
    transfer(side, side.edc, [gone])
    return took


def gets(side: Side, names: Sequence[str], folder: Path, *, at_once: int) -> Took:
    """Download files, shared out among connections, to one place in memory each."""
    asked = [f"get {side.outbound}/{name} {folder}/{name}" for name in names]
    took = transfer(side, side.egs, [asked[n::at_once] for n in range(at_once)])
    for name in names:
        (folder / name).unlink()
    return took


def logins(side: Side, count: int) -> Took:
    """So many logins, 20 at a time."""

    async def run() -> None:
        turns = asyncio.Semaphore(20)

        async def one() -> None:
            async with turns, side.connect(side.egs):
                pass

        await asyncio.gather(*(one() for _ in range(count)))

    return timed(side, lambda: asyncio.run(run()))


def sessions(side: Side, count: int, name: str) -> tuple[Took, Took]:
    """So many sessions at once that each list and fetch 1 MiB: how long that took; and the MiB they held."""
    before, most = side.held(), 0.0

    async def run() -> None:
        nonlocal most
        turns = asyncio.Semaphore(20)
        async with AsyncExitStack() as stack:

            async def one() -> Any:
                async with turns:
                    connection = await stack.enter_async_context(side.connect(side.egs))
                    client = await stack.enter_async_context(connection.start_sftp_client())
                    await client.listdir(str(Path(side.outbound).parent) if side.outbound[0] == "/" else "/")
                    async with client.open(f"{side.outbound}/{name}", "rb") as file:
                        assert len(await file.read()) == MIB

            await asyncio.gather(*(one() for _ in range(count)))
            most = side.held()

    took = timed(side, lambda: asyncio.run(run()))
    return took, Took(wall=max(most - before, 0.1), cpu=max(most - before, 0.1))


def listing(side: Side) -> Took:
    """All names of the outbound folder, with what `ls -l` tells of each."""
    return transfer(side, side.egs, [[f"ls -lf {side.outbound}"]])


PEER = "OpenSSH's internal-sftp"
UP, DOWN, SMALL, LOGINS, MEMORY = 1 / 1.2, 1.0, 1 / 0.95, 1 / 5, 1 / 25  # of the other's time, or memory


def measured(*, accounts: int, runs: int) -> list[Pair]:
    """Everything, turn about, with all files in memory. Of few `accounts`, a little of everything."""
    size = Size() if accounts > 1000 else Size(files=(4,), small=4, logins=10, sessions=10, names=500)
    with tempfile.TemporaryDirectory(dir=_in_memory(), prefix="bench-doors-") as folder:
        return list(_measured(Path(folder), runs=runs, size=size))


def _measured(folder: Path, *, runs: int, size: Size) -> Iterator[Pair]:
    sources, fetched = folder / "sources", folder / "fetched"
    sources.mkdir()
    fetched.mkdir()
    big = {f"{mib}.bin": mib for mib in size.files}
    small = [f"small-{n:03}.bin" for n in range(size.small)]
    block = os.urandom(MIB)
    for name, mib in [*big.items(), *((name, 1) for name in small)]:
        (sources / name).write_bytes(block * mib)
    with served(folder, [*big, *small]) as sides:
        outbound = Path(sides[1].outbound)
        for source in sources.iterdir():
            (outbound / source.name).hardlink_to(source)

        def turns(what: str, at_most: float, ask: Callable[[Side], Took], times: int = runs) -> Pair:
            line = Pair(what=what, peer=PEER, at_most=at_most)
            for run in range(times):
                both = [(line.hub, sides[0]), (line.other, sides[1])]
                for kept, side in both if run % 2 else both[::-1]:
                    kept.append(ask(side))
            return line

        paths = [sources / name for name in small]
        turns("", 1, partial(puts, files=paths[:20], at_once=1), 1)  # warms up
        for name, mib in big.items():
            yield turns(f"upload {mib} MiB", UP, partial(puts, files=[sources / name], at_once=1))
            yield turns(f"download {mib} MiB", DOWN, partial(gets, names=[name], folder=fetched, at_once=1))
        for at_once, over in ((1, "one connection"), (4, "four")):
            yield turns(
                f"upload {len(small)} MiB, a file each, {over}",
                SMALL,
                partial(puts, files=paths, at_once=at_once),
            )
            asked = partial(gets, names=small, folder=fetched, at_once=at_once)
            yield turns(f"download {len(small)} MiB, a file each, {over}", SMALL, asked)
        yield turns(f"{size.logins} logins", LOGINS, partial(logins, count=size.logins))
        held = Pair(what=f"MiB held by {size.sessions} sessions", peer=PEER, at_most=MEMORY)

        def crowd(side: Side) -> Took:
            took, memory = sessions(side, size.sessions, small[0])
            (held.hub if side is sides[0] else held.other).append(memory)
            return took

        yield turns(f"{size.sessions} sessions that list and fetch 1 MiB", 1.0, crowd, 1)
        yield held
        for n in range(size.names):
            (outbound / f"empty-{n:06}.lse.gz").touch()
        yield turns(f"list {size.names:,} names", 1.0, listing)


def _in_memory() -> Path | None:
    """Where files are in memory, if there is such a place: disks are not what is compared."""
    place = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    return place if os.access(place, os.W_OK) else None
