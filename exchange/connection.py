"""One connection: who logs in over it, and how much of the door it may take.

`Connection` is the library's own, with the few things added that it has no setting for. `Login` is what
it asks: is this key one of that partner's, and may a session be opened.
"""

import asyncio
import inspect
from collections.abc import Callable
from datetime import date
from time import monotonic
from typing import Any, cast

import asyncssh
import structlog

from config.partners import Partner
from exchange import keys
from exchange.handles import Shared
from exchange.session import SftpSession

_NO_MORE_TRIES = 14  # RFC 4253, section 11.1: no more authentication methods available
_BY_US = 11  # disconnected by application: what follows is shown to the client's user
_SHORTAGE = 4  # RFC 4254, section 5.1: resource shortage
_BUFFER = 256 * 1024  # bytes of answers that may wait for the network before a session is held back
PARTING = 1.0  # seconds that a client has to hear why it is sent away
_NOT_SSH = (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported, asyncssh.MACError)
_LONGEST_LOGIN = 64  # characters of a stranger's login that are logged

log = structlog.get_logger()


class Parting:
    """The network, as the library has it. Told to abort, it first lets the client hear what was said last.

    Closing a socket at once, with requests unread, makes the client's system forget what it has not read.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.is_over = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def abort(self) -> None:
        self.is_over = True
        if not self._transport.is_closing():
            self._transport.resume_reading()  # until the client has gone, too
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(PARTING, self._transport.abort)


class Connection(asyncssh.SSHServerConnection):
    """The library's connection; counts tries, takes no SHA-1 signature, pushes back, and parts gently."""

    login: "Login"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.network = cast(asyncio.Transport, transport)  # uvloop's is one in all but its ancestors
        self.network.set_write_buffer_limits(high=_BUFFER)
        self._parting = Parting(self.network)
        self.gone = asyncio.Event()
        super().connection_made(cast(asyncio.Transport, self._parting))

    def connection_lost(self, exc: Exception | None = None) -> None:
        super().connection_lost(exc)  # which calls this itself, too, to end a connection
        if self.network.is_closing():
            self.gone.set()

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        if not self._parting.is_over:
            super().data_received(data, datatype)

    async def reload_config(self) -> None:
        """Nothing: there are no settings by login, and reading them again is the slow part of a login."""

    def send_userauth_failure(self, partial_success: bool) -> None:
        super().send_userauth_failure(partial_success)
        self.login.failed()

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        # The library would take a signature with SHA-1, though it is not among `signature_algs`.
        algorithm = signature[4 : 4 + int.from_bytes(signature[:4])].decode("ascii", "replace")
        if msg and algorithm not in keys.SIGNATURES:
            return False
        holds = await super().validate_public_key(username, key_data, msg, signature)
        return holds and (not msg or self.login.welcomes())

    def pause_writing(self) -> None:
        """The client does not take what it asked for: nothing more is read from it until it does."""
        self.login.is_clogged = True
        if not self._parting.is_over:
            self.network.pause_reading()

    def resume_writing(self) -> None:
        self.network.resume_reading()
        self.login.unclog()


def require_hooks() -> None:
    """Raise RuntimeError if the library is not the one that `Connection` was written against."""
    wanted = {
        "send_userauth_failure": ["self", "partial_success"],
        "validate_public_key": ["self", "username", "key_data", "msg", "signature"],
        "reload_config": ["self"],
        "pause_writing": ["self"],
        "resume_writing": ["self"],
        "__init__": ["self", "loop", "options", "acceptor", "error_handler", "wait"],
    }
    for name, parameters in wanted.items():
        method = getattr(asyncssh.SSHServerConnection, name, None)
        if method is None or list(inspect.signature(method).parameters) != parameters:
            raise RuntimeError(f"asyncssh {asyncssh.__version__} has no {name}({', '.join(parameters)})")


class Login(asyncssh.SSHServer):
    """What the library asks about one connection. Also the `Link` of its sessions."""

    def __init__(self, shared: Shared, closed: Callable[["Login"], None]) -> None:
        self.address = ""
        self.client_version = ""
        self.fingerprint = ""
        self.is_clogged = False
        self.partner: Partner | None = None  # once logged in
        self.sessions: set[SftpSession] = set()
        self._shared = shared
        self._closed = closed
        self._name = ""
        self._candidate: Partner | None = None
        self._welcome: Partner | None = None
        self._today = date.min
        self._asked = False
        self._turned_away = False
        self._failures = 0
        self._reason = ""
        self._greeted = False
        self._touched = 0.0
        self._began = monotonic()
        self._idle: asyncio.TimerHandle | None = None
        self._connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        assert isinstance(conn, Connection)
        self._connection = conn
        conn.login = self

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        if self.partner is None and self._name:
            log.warning(
                "login.refused",
                login=self._name[:_LONGEST_LOGIN],
                address=self.address,
                reason=self._reason or "no-key",
                tries=self._failures,
                client=self._connection.get_extra_info("client_version", ""),
            )
        if self.partner is None and not self._turned_away:
            if isinstance(exc, _NOT_SSH):
                self._shared.defender.note(self.address, "not-ssh")
            elif monotonic() - self._began >= self._shared.limits.login_seconds:
                self._shared.defender.note(self.address, "slow-login")
        self._closed(self)

    # ── Logging in ───────────────────────────────────────────────────────────────────────────────

    async def begin_auth(self, username: str) -> bool:
        """Called for each new login name. A name that nobody has takes the same way as any other."""
        self._name = username
        self._candidate, self._today = await self._shared.threads.run(self._look_up, username)
        if not self._greeted and self._shared.limits.banner:
            self._greeted = True
            self._connection.send_auth_banner(self._shared.limits.banner + "\r\n")
        return True

    def _look_up(self, login: str) -> tuple[Partner | None, date]:
        return self._shared.desk.partner(login), self._shared.desk.now().date()

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the key is one of the partner's. Asked before and after the client has proved to hold it.

        One that has expired is let through here and turned away in `welcomes`: only whoever has proved
        to hold it is told that, and by that, that the login exists.
        """
        fingerprint = key.get_fingerprint()
        known = username == self._name and keys.authorized(self._candidate, fingerprint) is not None
        self.fingerprint = fingerprint if known else ""
        self._reason = "" if known else "unknown-key" if self._candidate else "unknown-login"
        return known

    def failed(self) -> None:
        """A try was refused. The first, of a client that asks which ways there are, does not count."""
        if self._turned_away or not (self._asked or self._reason):
            self._asked = True
            return
        self._failures += 1
        self._shared.defender.note(self.address, "failed-login")
        if self._failures >= self._shared.limits.max_auth_tries:
            self.turn_away("too-many-tries", "too many tries; check which key you use")

    def turn_away(self, reason: str, words: str) -> None:
        """End it before anybody has logged in."""
        self._reason = reason
        self._turned_away = True
        self._connection.disconnect(_NO_MORE_TRIES, words)

    def welcomes(self) -> bool:
        """Whether whoever has proved to hold the key may come in; if not, that is told, and is the end."""
        refusal = keys.refusal(
            self._candidate, fingerprint=self.fingerprint, address=self.address, today=self._today
        )
        if refusal is None:
            self._welcome = self._candidate
            return True
        self.turn_away(*refusal)
        return False

    def auth_completed(self) -> None:
        assert self._welcome is not None, "nobody is let in whose key was not proved"
        self.partner = self._welcome
        self._shared.defender.forgive(self.address, "failed-login", self._failures)
        self.client_version = self._connection.get_extra_info("client_version", "")
        self.touch()
        self._watch()

    # ── Sessions ─────────────────────────────────────────────────────────────────────────────────

    def session_requested(self) -> tuple[asyncssh.SSHServerChannel[bytes], SftpSession]:
        if self.partner is None:
            raise asyncssh.ChannelOpenError(_SHORTAGE, "log in first")
        most = self._shared.limits.max_sessions_per_connection
        if len(self.sessions) >= most:
            raise asyncssh.ChannelOpenError(_SHORTAGE, f"{most} sessions are open on this connection")
        most = self._shared.limits.max_sessions_per_partner
        if self._shared.sessions[self.partner.id] >= most:
            raise asyncssh.ChannelOpenError(_SHORTAGE, f"{most} sessions of yours are open; close some")
        session = SftpSession(self._shared, self.partner, self, self._session_ended)
        self.sessions.add(session)
        self._shared.sessions[self.partner.id] += 1
        return self._connection.create_server_channel(encoding=None), session

    def _session_ended(self, session: SftpSession) -> None:
        if session in self.sessions:  # once, though both its channel and its work may end it
            self.sessions.remove(session)
            self._shared.sessions[session.partner_id] -= 1

    def touch(self) -> None:
        self._touched = monotonic()

    def unclog(self) -> None:
        """The network has taken most of what was sent."""
        self.is_clogged = False
        for session in self.sessions:
            session.wake()

    def leave(self, reason: str, words: str) -> None:
        """End the connection from our side: uploads under way are broken off."""
        for session in self.sessions:
            session.stop(reason, words)
        self._connection.disconnect(_BY_US, words)

    def _watch(self) -> None:
        """Come back when the connection may have been idle for too long."""
        limit = self._shared.limits.idle_seconds
        left = self._touched + limit - monotonic()
        if left <= 0:
            self.leave("idle", f"nothing came for {limit} seconds; connect again when there is")
        else:
            self._idle = asyncio.get_running_loop().call_later(left, self._watch)
