"""Who logs in over a connection: is this key, or this certificate, one of that partner's; what it may open."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic

import asyncssh
import structlog

from config.partners import Partner
from exchange import algorithms, certificates, keys
from exchange.algorithms import Lists, Spoken
from exchange.connection import Connection
from exchange.keys import Proof
from exchange.session import SftpSession
from exchange.shared import Shared
from schemas.visit import PROBE, TurnedAway

_NO_MORE_TRIES = 14  # RFC 4253, section 11.1: no more authentication methods available
_BY_US = 11  # disconnected by application: what follows is shown to the client's user
_SHORTAGE = 4  # RFC 4254, section 5.1: resource shortage
_NOT_SSH = (
    asyncssh.ProtocolError,
    asyncssh.ProtocolNotSupported,
    asyncssh.MACError,
    asyncssh.packet.PacketDecodeError,
    UnicodeDecodeError,  # of a version that is not ASCII: RFC 4253, section 4.2
)
_LONGEST_LOGIN = 64  # characters of a stranger's login that are logged
_LONGEST_CLIENT = 255
_LONGEST_WORDS = 500

log = structlog.get_logger()


class Login(asyncssh.SSHServer):
    """What the library asks about one connection. Also the `Link` of its sessions."""

    def __init__(self, shared: Shared, closed: Callable[["Login"], None]) -> None:
        self.address = ""
        self.client_version = ""
        self.proof = Proof(fingerprint="")
        self.spoken = Spoken()
        self.is_clogged = False
        self.is_slow = False
        self.partner: Partner | None = None  # once logged in
        self.sessions: set[SftpSession] = set()
        self._shared = shared
        self._closed = closed
        self._name = ""
        self._candidate: Partner | None = None
        self._welcome: Partner | None = None
        self._now = datetime.min.replace(tzinfo=UTC)
        self._asked = False
        self._turned_away = False
        self._failures = 0
        self._tried = ""  # fingerprint of the key that was shown last
        self._reason = ""
        self._greeted = False
        self._touched = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._connection: Connection

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
                **(self.proof.told() if self.proof.fingerprint else {}),
                client=self._connection.get_extra_info("client_version", ""),
            )
        self._note_failure()
        if self.partner is not None:
            self._shared.connections[self.partner.id] -= 1
        if self.partner is None and not self._turned_away:
            if isinstance(exc, _NOT_SSH):
                self._shared.defender.note(self.address, "not-ssh")
            elif self.is_slow:
                self._shared.defender.note(self.address, "slow-login")
        self._closed(self)

    def _note_failure(self) -> None:
        """Tell who could not log in; of one that had no algorithm in common with the hub, from where it came."""
        client = self._connection.get_extra_info("client_version", "")[:_LONGEST_CLIENT]
        if not self._connection.spoken.key_exchange and (words := self._connection.lacks()[:_LONGEST_WORDS]):
            reason = "no-common-algorithm"
            log.warning("connection.refused", address=self.address, reason=reason, client=client, words=words)
        elif self.partner is None and self._candidate is not None:
            reason, words = "probe" if client.endswith(PROBE) else self._reason or "no-key", ""
        else:
            return
        turned = TurnedAway(
            partner=self._candidate.id if self._candidate is not None else "",
            reason=reason,
            address=self.address,
            client=client,
            key=self._tried,
            words=words,
        )
        self._shared.visitors.turned_away(turned)

    # ── Logging in ───────────────────────────────────────────────────────────────────────────────

    async def begin_auth(self, username: str) -> bool:
        """Called for each new login name. A name that nobody has takes the same way as any other."""
        self._name = username
        self._candidate, self._now = await self._shared.threads.moment(self._look_up, username)
        if not self._greeted and self._shared.limits.banner:
            self._greeted = True
            self._connection.send_auth_banner(self._shared.limits.banner + "\r\n")
        return True

    def _look_up(self, login: str) -> tuple[Partner | None, datetime]:
        return self._shared.desk.partner(login), self._shared.desk.now()

    def signatures(self) -> tuple[str, ...]:
        """What whoever logs in may sign with."""
        return algorithms.signatures(self._old_allowed())

    def _old_allowed(self) -> frozenset[str]:
        return keys.old_allowed(self._candidate, address=self.address, today=self._now.date())

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the key is one of the partner's. Asked before and after the client has proved to hold it.

        One that has expired is let through here and turned away in `welcomes`: only whoever has proved
        to hold it is told that, and by that, that the login exists.
        """
        self._tried = fingerprint = key.get_fingerprint()
        known = username == self._name and keys.authorized(self._candidate, fingerprint) is not None
        self._shown(Proof(fingerprint=fingerprint), known=known)
        return known

    def validate_certificate(self, username: str, blob: bytes) -> asyncssh.SSHKey | None:
        """The key that a certificate is for, if an authority of the partner's has signed it.

        Whether it is good for this login, here and now, is told as late as it is of keys, in `welcomes`.
        """
        authorities = self._candidate.authorities if self._candidate is not None else ()
        found = certificates.read(blob, authorities) if username == self._name else None
        if found is None:
            self._shown(Proof(fingerprint=""), known=False)
            return None
        certificate, key = found
        self._tried = certificate.key
        self._shown(Proof(fingerprint=certificate.key, certificate=certificate), known=True)
        return key

    def _shown(self, proof: Proof, *, known: bool) -> None:
        self.proof = proof if known else Proof(fingerprint="")
        self._reason = "" if known else "unknown-key" if self._candidate else "unknown-login"

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

    def welcomes(self, signature: str) -> bool:
        """Whether whoever has proved to hold the key may come in; if not, that is told, and is the end."""
        self.spoken = replace(self._connection.spoken, signature=signature)
        self.proof = replace(self.proof, old=self.spoken.old)
        refusal = keys.refusal(self._candidate, proof=self.proof, address=self.address, now=self._now)
        refusal = refusal or self._too_many()
        if refusal is None:
            self._welcome = self._candidate
            return True
        self.turn_away(*refusal)
        return False

    def _too_many(self) -> tuple[str, str] | None:
        """Each connection may be for one session at least: no partner takes all there are."""
        assert self._candidate is not None
        most = self._shared.limits.max_sessions_per_partner
        if self._shared.connections[self._candidate.id] < most:
            return None
        return "connections", f"{most} connections of yours are open; close some"

    def auth_completed(self) -> None:
        assert self._welcome is not None, "nobody is let in whose key was not proved"
        self.partner = self._welcome
        self._shared.connections[self.partner.id] += 1
        self._shared.knocks.end(self.address)
        self._shared.defender.forgive(self.address, "failed-login", self._failures)
        self.client_version = self._connection.get_extra_info("client_version", "")
        if self.proof.old and self.partner.legacy is not None:
            log.warning(
                "legacy.used",
                partner=self.partner.id,
                address=self.address,
                algorithms=sorted(self.proof.old),
                until=self.partner.legacy.until.isoformat(),
                client=self.client_version,
            )
        self.touch()
        self._watch()

    def speaks(self, spoken: Spoken) -> None:
        """Keys were exchanged; again, perhaps, and then with old algorithms that nobody was asked about."""
        if self.partner is None:
            return
        self.spoken = replace(spoken, signature=self.spoken.signature)
        if unasked := self.spoken.old - self.proof.old:
            words = f"this hub does not go over to {', '.join(sorted(unasked))} in a connection"
            self.leave("old-algorithms", words)

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

    @property
    def lists(self) -> Lists | None:
        """What the client can speak."""
        return self._connection.lists

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
