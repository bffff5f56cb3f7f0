"""The listener: what it speaks with whom, how many may come in, and how it closes.

To run it: `doors = Doors(desk, settings.sftp, keys.load_host_keys(home.host_keys), bans)`, then
`await doors.start()`, and in the end `await doors.drain()`. It is fastest on uvloop's event loop.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import cast
from weakref import WeakSet

import asyncssh
import structlog

from config.partners import Partner
from config.settings import Sftp
from exchange import addresses, algorithms, connection, defender, keys
from exchange.addresses import Source
from exchange.bans import Ban, Bans
from exchange.connection import Connection
from exchange.defender import Defender
from exchange.desk import Desk
from exchange.endings import Endings
from exchange.knocks import Knocks
from exchange.login import Login
from exchange.pace import Pace
from exchange.quota import Quota
from exchange.shared import Shared
from exchange.threads import Threads
from exchange.uploads import Claims, Recent
from exchange.visitors import Visitors

_KEEPALIVES = 3  # unanswered ones, after which a client is gone
_THREADS = 8
_LOOK = 0.5  # seconds after which it is looked again whose addresses are offered old algorithms
_MOST_SAID = 64 * 1024  # bytes, by who waits for its turn: its version, and which algorithms it knows
_DRAIN = 30.0  # seconds that files in hand have for their end

log = structlog.get_logger()


class Doors:
    """The SFTP server. Made, started and drained on one event loop."""

    def __init__(
        self, desk: Desk, limits: Sftp, host_keys: Sequence[asyncssh.SSHKeyPair], bans: Bans
    ) -> None:
        connection.require_hooks()
        self._limits = limits
        threads = Threads(_THREADS)
        self.defender = Defender(bans, limits, desk=desk, threads=threads, banned=self._shut_out)
        self.quota = Quota(limits.max_unloaded_bytes, desk)
        self.sessions: Counter[str] = Counter()  # of each partner
        self.knocks = Knocks(limits)
        self._shared = Shared(
            desk=desk,
            limits=limits,
            threads=threads,
            claims=Claims(),
            recent=Recent(),
            defender=self.defender,
            quota=self.quota,
            pace=Pace(limits.max_bytes_a_second),
            visitors=Visitors(desk, threads),
            connections=Counter(),
            sessions=self.sessions,
            knocks=self.knocks,
            endings=Endings(desk, threads),
            sent=defaultdict(dict),
            running=set(),
        )
        self._host_keys = host_keys
        self._options: dict[frozenset[str], asyncssh.SSHServerConnectionOptions] = {}  # by what is allowed
        self._excepted: Sequence[Partner] = ()
        self._looks: asyncio.Task[None] | None = None
        self._logins: set[Login] = set()
        self._addresses: Counter[Source] = Counter()
        self.waiting: set[_Gate] = set()  # those whose turn has not come
        self._parting: WeakSet[Connection] = WeakSet()  # those that were there, until they are gone for good
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OSError if the address or port cannot be had."""
        loop = asyncio.get_running_loop()
        self._excepted = await self._shared.threads.run(self._shared.desk.excepted)
        self._server = await loop.create_server(
            lambda: _Gate(self), self._limits.host, self._limits.port, backlog=512
        )
        self._looks = loop.create_task(self._look())
        log.info("doors.opened", host=self._limits.host, port=self.port)

    @property
    def port(self) -> int:
        """The port that is listened on, where the settings leave the choice (0), too."""
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def is_open(self) -> bool:
        return self._server is not None and self._server.is_serving()

    @property
    def connections(self) -> int:
        return len(self._logins)

    async def drain(self) -> None:
        """Let nobody in any more, end all sessions, and return when their last file is put away.

        What is being uploaded stays unfinished, to be resumed; a CLOSE under way is carried out.
        """
        assert self._server is not None, "not started"
        self._server.close()
        if self._looks is not None:
            self._looks.cancel()
        for gate in list(self.waiting):
            gate.send_away()
        tasks = list(self._shared.running)
        for login in list(self._logins):
            login.leave("drained", "the hub is stopping; connect again in a few minutes")
        late: set[asyncio.Task[None]] = set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_DRAIN)
        gone = [asyncio.create_task(one.gone.wait()) for one in self._parting]
        if gone:
            await asyncio.wait(gone, timeout=connection.PARTING + 1)
        await self._server.wait_closed()
        await self.defender.settle()
        await self._shared.endings.settle()
        await self._shared.visitors.settle()
        await asyncio.to_thread(self._shared.threads.close)
        log.info("doors.closed", sessions=len(tasks), late=len(late))

    def refuses(self, address: str) -> tuple[str, str] | None:
        """Why nobody else can come in from there: a code for the log, and words. None: there is room."""
        if not self.is_open:
            return "stopping", "the hub is stopping; connect again in a few minutes"
        if (ban := self.defender.ban_on(address)) is not None:
            return "banned", defender.words(ban)
        if len(self._logins) >= self._limits.max_connections:
            return "connections", "too many connections; try again later"
        if self._addresses[addresses.source(address)] >= self._limits.max_connections_per_address:
            self.defender.note(address, "too-many-connections")
            return "address", "too many connections from your address"
        return self.knocks.refuses(address)

    def admit(self, transport: asyncio.Transport, address: str) -> Connection:
        """Let a client in as far as the login."""
        made = Connection(asyncio.get_running_loop(), self._options_at(address))
        transport.set_protocol(made)
        made.connection_made(transport)
        login = made.get_owner()
        assert isinstance(login, Login)
        login.address = address
        self._logins.add(login)
        self._parting.add(made)
        self._addresses[addresses.source(address)] += 1
        return made

    async def _look(self) -> None:
        """Keep in mind whose addresses are offered old algorithms: at the first packet there is no time."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                self._excepted = await self._shared.threads.run(self._shared.desk.excepted)
            except Exception:
                log.exception("work.failed", task="exceptions")

    def _options_at(self, address: str) -> asyncssh.SSHServerConnectionOptions:
        """What is spoken with who comes from there. Who it is, and whether it may, is asked at the login."""
        allows: frozenset[str] = frozenset()
        for one in self._excepted:
            if one.legacy is not None and keys.is_listed(one, address):
                allows |= one.legacy.allows
        if allows not in self._options:
            self._options[allows] = _options(self._limits, self._host_keys, self._new_login, allows)
        return self._options[allows]

    def _shut_out(self, ban: Ban) -> None:
        """Whoever has logged in from there may stay; nobody else has a try left."""
        for login in list(self._logins):
            if login.partner is None and addresses.source(login.address) == ban.source:
                login.turn_away("banned", defender.words(ban))

    def _new_login(self) -> Login:
        return Login(self._shared, self._forget)

    def _forget(self, login: Login) -> None:
        self._logins.remove(login)
        if login.partner is None:
            self.knocks.end(login.address)
        source = addresses.source(login.address)
        self._addresses[source] -= 1
        if not self._addresses[source]:
            del self._addresses[source]


class _Gate(asyncio.Protocol):
    """Meets a client before anything of SSH is spoken: turns it away where there is no room, and has it wait
    where too many come at once.
    """

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._address = ""
        self._turn: asyncio.TimerHandle | None = None
        self._said = b""  # meanwhile, by the client
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its ancestors
        peer = transport.get_extra_info("peername")
        address = str(addresses.plain(peer[0]))
        refusal = self._doors.refuses(address)
        if refusal is not None:
            reason, words = refusal
            log.warning("connection.refused", address=address, reason=reason)
            transport.write(f"{words}\r\n".encode())  # RFC 4253, section 4.2: lines before the version
            transport.close()
            return
        self._address = address
        self._doors.knocks.begin(address)
        wait = self._doors.knocks.wait(address)
        if not wait:
            self._doors.admit(transport, address)
            return
        self._transport = transport
        self._turn = asyncio.get_running_loop().call_later(wait, self._admit)
        self._doors.waiting.add(self)

    def data_received(self, data: bytes) -> None:
        self._said += data
        if len(self._said) > _MOST_SAID:
            self.send_away()

    def send_away(self) -> None:
        """Its turn does not come."""
        assert self._turn is not None
        self._turn.cancel()
        self._transport.abort()

    def _admit(self) -> None:
        self._end_waiting()
        connection = self._doors.admit(self._transport, self._address)
        if self._said:
            connection.data_received(self._said)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._turn is not None:  # it did not wait for its turn
            self._end_waiting()
            self._doors.knocks.end(self._address)

    def _end_waiting(self) -> None:
        assert self._turn is not None
        self._turn.cancel()
        self._turn = None
        self._doors.waiting.discard(self)


def _options(
    limits: Sftp,
    host_keys: Sequence[asyncssh.SSHKeyPair],
    new_login: Callable[[], Login],
    allows: frozenset[str],
) -> asyncssh.SSHServerConnectionOptions:
    lists = algorithms.offered(allows)
    return asyncssh.SSHServerConnectionOptions(
        server_factory=new_login,
        server_version="Meterhub",
        server_host_keys=[
            pair for pair in host_keys if pair.host_key_algorithms[0].decode() in lists.host_keys
        ],
        send_server_host_keys=True,
        kex_algs=list(lists.key_exchanges),
        encryption_algs=list(lists.ciphers),
        mac_algs=list(lists.macs),
        signature_algs=list(algorithms.signatures(allows)),
        compression_algs=["none"],  # what is worth it is gzipped already, and a bomb is not unpacked
        public_key_auth=True,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        gss_kex=False,
        gss_auth=False,
        login_timeout=limits.login_seconds,
        keepalive_interval=limits.keepalive_seconds,
        keepalive_count_max=_KEEPALIVES,
        allow_pty=False,
        line_editor=False,
        x11_forwarding=False,
        agent_forwarding=False,
        allow_scp=False,
        rdns_lookup=False,
        encoding=None,
    )
