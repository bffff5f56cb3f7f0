"""One SFTP session: packets in, answers out, one after another, and no faster than the client takes them.

What has come before the connection goes is carried out, though nobody is there any more to be told: some
clients leave right after their CLOSE. When the hub itself ends a session, only the request under way is.
"""

import asyncio
import secrets
from collections.abc import Callable
from time import monotonic
from typing import Protocol

import asyncssh
import structlog

from config.partners import Partner
from exchange import sftp_v3
from exchange.algorithms import Lists, Spoken
from exchange.desk import SessionInfo
from exchange.handles import Handles
from exchange.keys import Proof
from exchange.operations import EXTENSIONS, Operations
from exchange.sftp_v3 import Kind, Malformed, Packets
from exchange.shared import Shared
from exchange.wire import Channel
from schemas.visit import Habit

_HELD = 1 << 20  # bytes of requests that wait in a session before the client is held back
_LET_ON = _HELD // 4
_TURN = 0.02  # seconds after which a busy session lets the others have a go
_TOGETHER = 16 * 1024  # bytes of answers that are sent at once
_SOON = 0.005  # seconds for which answers are held back while the next request is coming
_BLINK = 0.1  # seconds after which a session that is made to wait sees whether it is over
_WORDS = 16 * 1024  # bytes of refusals that one session writes to the client's terminal
_LEAST_MESSAGE = 1024  # bytes a client must take in one SSH message, or one answer would be thousands
_STDERR = 1  # RFC 4254, section 5.2

log = structlog.get_logger()


class Link(Protocol):
    """What a session sees of the connection it runs over."""

    address: str
    client_version: str
    proof: Proof
    spoken: Spoken
    is_clogged: bool  # more has been sent than the network has taken

    def touch(self) -> None:
        """Something came from the client: it is not idle."""
        ...

    @property
    def lists(self) -> Lists | None:
        """What the client can speak."""
        ...


class SftpSession(asyncssh.SSHServerSession[bytes]):
    """A channel of a connection whose partner has logged in. Serves SFTP, and nothing else."""

    def __init__(
        self, shared: Shared, partner: Partner, link: Link, ended: Callable[["SftpSession"], None]
    ) -> None:
        self._shared = shared
        self._partner = partner
        self._link = link
        self._ended = ended
        self._packets = Packets()
        self._wake = asyncio.Event()
        self._held = False  # the client is held back until what it sent is worked off
        self._full = False  # the channel is: the client has to take what it asked for
        self._eof = False
        self._lost = False  # the channel is gone
        self._over = False  # nothing further is carried out
        self._reason = "client"
        self._words_left = _WORDS
        self._answers: list[bytes] = []  # that are not sent yet
        self._answered = 0  # bytes of them
        self._soon: asyncio.TimerHandle | None = None  # when they are, though there may be more
        self._at_once = shared.sessions[partner.id] + 1  # sessions of the partner's, this one among them
        self._channel: Channel
        self.task: asyncio.Task[None] | None = None

    @property
    def partner_id(self) -> str:
        return self._partner.id

    # ── What the library calls ───────────────────────────────────────────────────────────────────

    def connection_made(self, chan: "asyncssh.SSHServerChannel[bytes]") -> None:
        assert isinstance(chan, Channel)
        self._channel = chan
        if chan._send_pktsize < _LEAST_MESSAGE:  # noqa: SLF001 - told by no public name; tested
            chan.abort()

    def subsystem_requested(self, subsystem: str) -> bool:
        return subsystem == "sftp"

    def shell_requested(self) -> bool:
        return self._sftp_only()

    def exec_requested(self, command: str) -> bool:
        return self._sftp_only()

    def session_started(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self._run())
        self._shared.running.add(self.task)
        self.task.add_done_callback(self._shared.running.discard)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._over:
            return
        self._link.touch()
        self._packets.add(data)
        if self._packets.size >= _HELD and not self._held:
            self._held = True
            self._channel.pause_reading()
        if self._held or self._packets.may_be_taken:
            self._wake.set()

    def eof_received(self) -> bool:
        self._eof = True
        self._wake.set()
        return True  # what it asked for before is still answered

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._eof and not self._over:
            self._reason = "lost" if exc is not None else "client"
        self._eof = self._lost = True
        self._wake.set()
        if self.task is None:
            self._ended(self)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake.set()

    # ── What the connection calls ────────────────────────────────────────────────────────────────

    def wake(self) -> None:
        """The connection is no longer clogged."""
        self._wake.set()

    def stop(self, reason: str, words: str) -> None:
        """No further request is carried out. The one under way is."""
        if not self._over:
            self._over = True
            self._reason = reason
            self._say(words)
        self._wake.set()

    # ── The session ──────────────────────────────────────────────────────────────────────────────

    async def _run(self) -> None:
        began = monotonic()
        bound = log.bind(partner=self._partner.id, address=self._link.address)
        handles: Handles | None = None
        try:
            handles = await self._begin()
            bound = bound.bind(session=handles.session.id)
            bound.info("session.opened", client=self._link.client_version, **self._link.proof.told())
            await self._serve(Operations(handles))
        except Malformed as error:
            self._reason = "malformed"
            bound.warning("session.malformed", found=str(error))
            self._shared.defender.note(self._link.address, "malformed")
        except Exception:  # noqa: BLE001 - logged here; nobody awaits a session
            self._reason = "failed"
            bound.exception("session.failed")
        finally:
            self._over = True
            if handles is not None:
                await handles.abandon(self._reason)
                self._note(handles.session)
            bound.info("session.closed", reason=self._reason, seconds=round(monotonic() - began, 3))
            self._leave()

    def _note(self, session: SessionInfo) -> None:
        session.habits[Habit.LOST] += self._reason not in {"client", "drained"}
        self._shared.visitors.left(session, self._link.spoken, self._link.lists, at_once=self._at_once)

    async def _begin(self) -> Handles:
        now = self._shared.desk.now()
        session = SessionInfo(
            id=f"X{now:%y%m%d}-{secrets.token_hex(4)}",
            partner_id=self._partner.id,
            address=self._link.address,
            client_version=self._link.client_version,
            proof=self._link.proof,
            began=now,
        )
        handles = Handles(self._shared, self._partner, session)
        await handles.begin()
        return handles

    async def _serve(self, operations: Operations) -> None:
        first = await self._next()
        if first is None:
            return
        if first[0] != Kind.INIT:
            raise Malformed(f"a packet of type {first[0]} before INIT")
        self._send(sftp_v3.version(EXTENSIONS))
        loop = asyncio.get_running_loop()
        turn = loop.time() + _TURN
        while (packet := await self._next()) is not None:
            if self._lost and packet[0] == Kind.READ:
                continue  # nothing is sent any more, so nothing may be counted as sent
            answer = operations.answer(packet)
            if not isinstance(answer, bytes):
                self._flush()
                answer = await answer
            self._send(answer)
            if operations.said:
                self._say(operations.take_words())
            if self._full or self._link.is_clogged:
                await self._room()
            if wait := self._shared.pace.take(self._partner.id, len(packet) + len(answer)):
                self._flush()
                await self._pause(wait)
            if loop.time() > turn:
                self._flush()
                await asyncio.sleep(0)
                turn = loop.time() + _TURN

    async def _next(self) -> bytes | None:
        """The next packet, or None when there will be none."""
        while not self._over:
            packet = self._packets.take()
            if packet is None:
                self._flush_by_and_by()
            if self._held and (packet is None or self._packets.size < _LET_ON):
                self._held = False
                self._wake.clear()
                self._channel.resume_reading()  # may bring more at once, and then wakes us
            elif packet is None:
                self._wake.clear()
            if packet is not None:
                return packet
            if self._eof and not self._wake.is_set():
                return None
            await self._wake.wait()
        return None

    async def _room(self) -> None:
        """Wait until the client has taken most of what it asked for."""
        while (self._full or self._link.is_clogged) and not (self._lost or self._over):
            self._wake.clear()
            await self._wake.wait()

    async def _pause(self, seconds: float) -> None:
        """Keep the partner's pace. Nobody is idle who is made to wait, and nobody waits for who is gone."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0 and not (self._lost or self._over):
            self._link.touch()
            await asyncio.sleep(min(left, _BLINK))

    def _send(self, answer: bytes) -> None:
        """Answers that are short go together, as long as there are requests to answer."""
        self._answers.append(answer)
        self._answered += len(answer)
        if self._answered >= _TOGETHER:
            self._flush()

    def _flush_by_and_by(self) -> None:
        """Nothing more can be answered now. Who is in the middle of a request hardly waits for the answer before."""
        if not self._packets.size or not self._answers:
            self._flush()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SOON, self._flush)

    def _flush(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if self._answers:
            self._channel.send(self._answers)
            self._answers, self._answered = [], 0

    def _say(self, words: str) -> None:
        """Write a refusal's words to the terminal, for OpenSSH: its client shows a code only."""
        line = f"meterhub: {words}\n".encode()
        if "OpenSSH" in self._link.client_version and len(line) <= self._words_left:
            self._words_left -= len(line)
            self._channel.send([line], _STDERR)

    def _sftp_only(self) -> bool:
        self._say("this is an SFTP server: no shell, no commands, no old scp (use sftp, or scp -s)")
        return False

    def _leave(self) -> None:
        self._flush()
        if not self._channel.is_closing():
            self._channel.exit(0 if self._reason == "client" else 1)
        self._ended(self)
