"""One connection: the library's own, with the few things added that it has no setting for.

Who logs in over it is `login.py`'s to say.
"""

import asyncio
import ctypes
import inspect
import socket
from typing import Any, Protocol, cast

import asyncssh

from exchange import algorithms, certificates, wire
from exchange.algorithms import Spoken
from exchange.wire import Wire

_IGNORE = 2  # RFC 4253, section 11.2
_BUFFER = 256 * 1024  # bytes of answers that may wait for the network before a session is held back
PARTING = 5.0  # seconds that a client has to hear why it is sent away; most are gone at once
_ON = ctypes.c_int(1)
# The event loop's socket makes a new object for each option that is set. This one holds on to the interpreter.
_setsockopt = ctypes.PyDLL(None).setsockopt


class Login(Protocol):
    """What a connection asks of, and tells, whoever knows the partners."""

    is_clogged: bool
    is_slow: bool

    def signatures(self) -> tuple[str, ...]: ...
    def validate_certificate(self, username: str, blob: bytes) -> asyncssh.SSHKey | None: ...
    def welcomes(self, signature: str) -> bool: ...
    def failed(self) -> None: ...
    def speaks(self, spoken: Spoken) -> None: ...
    def unclog(self) -> None: ...


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


class Connection(Wire):
    """The library's connection; counts tries, takes no SHA-1 signature, pushes back, and parts gently."""

    login: Login
    spoken = Spoken()  # what was agreed on last
    _has_proved = False  # that it holds the host keys

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.network = cast(asyncio.Transport, transport)  # uvloop's is one in all but its ancestors
        self.network.set_write_buffer_limits(high=_BUFFER)
        self._socket = self.network.get_extra_info("socket").fileno()
        self._parting = Parting(self.network)
        self.gone = asyncio.Event()
        super().connection_made(cast(asyncio.Transport, self._parting))

    @property
    def is_over(self) -> bool:
        return self._parting.is_over

    def connection_lost(self, exc: Exception | None = None) -> None:
        super().connection_lost(exc)  # which calls this itself, too, to end a connection
        if self.network.is_closing():
            self.gone.set()

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        super().data_received(data, datatype)
        # Clients that hold back small packets until the last is acknowledged (ssh2 of npm) would else wait
        # 40 ms for each request. The system forgets it again and again. Where it cannot be had, nothing is lost.
        if not self.network.is_closing():
            _setsockopt(self._socket, socket.IPPROTO_TCP, socket.TCP_QUICKACK, ctypes.byref(_ON), 4)

    def send_packet(
        self, pkttype: int, *args: bytes, handler: asyncssh.packet.SSHPacketLogger | None = None
    ) -> None:
        # Before each packet the library sends an empty one, which hides where a chain of blocks (CBC) begins.
        # Other ciphers have no use for it, and it takes as long as a packet of data.
        if pkttype != _IGNORE or self._enc_alg_sc.endswith(b"-cbc"):
            super().send_packet(pkttype, *args, handler=handler)

    def _login_timer_callback(self) -> None:
        self.login.is_slow = True
        super()._login_timer_callback()

    def set_extra_info(self, **info: Any) -> None:
        """The client's name of itself is shown to operators, in the log and by `doctor`."""
        if "client_version" in info:
            info["client_version"] = certificates.printable(info["client_version"])
        super().set_extra_info(**info)

    def _send_kexinit(self) -> None:
        """Keys are exchanged once before a login: each exchange takes longer than all else that a stranger asks."""
        if self._session_id and not self._auth_complete:
            raise asyncssh.ProtocolError("keys are exchanged anew after a login")
        super()._send_kexinit()

    def _process_hostkeys_prove_00_at_openssh_dot_com_global_request(
        self, packet: asyncssh.packet.SSHPacket
    ) -> None:
        """Once, which is what clients ask for, and each key once: a signature by one takes as long as a login."""
        asked = len(packet.get_remaining_payload())
        if self._has_proved or asked > sum(4 + len(key) for key in self._all_server_host_keys):
            self._report_global_response(False)
            return
        self._has_proved = True
        super()._process_hostkeys_prove_00_at_openssh_dot_com_global_request(packet)

    async def reload_config(self) -> None:
        """Nothing: there are no settings by login, and reading them again is the slow part of a login."""

    def send_userauth_failure(self, partial_success: bool) -> None:
        super().send_userauth_failure(partial_success)
        self.login.failed()

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        # The library would take a signature with SHA-1, though it is not among `signature_algs`.
        algorithm = signature[4 : 4 + int.from_bytes(signature[:4])].decode("ascii", "replace")
        if msg and algorithm not in self.login.signatures():
            return False
        holds = await super().validate_public_key(username, key_data, msg, signature)
        return holds and (not msg or self.login.welcomes(algorithm))

    async def _validate_client_certificate(self, username: str, key_data: bytes) -> asyncssh.SSHKey | None:
        if not certificates.is_one(key_data):
            return None
        return self.login.validate_certificate(username, key_data)

    def send_newkeys(self, k: bytes, h: bytes) -> None:
        agreed = self._kex.algorithm.decode() if self._kex is not None else ""
        super().send_newkeys(k, h)
        self.spoken = Spoken(
            key_exchange=agreed,
            host_key=self._host_key_algorithm(),
            cipher=self.get_extra_info("recv_cipher"),
            cipher_out=self.get_extra_info("send_cipher"),
            mac=self.get_extra_info("recv_mac"),
            mac_out=self.get_extra_info("send_mac"),
        )
        self.login.speaks(self.spoken)

    def _host_key_algorithm(self) -> str:
        pair = self.get_server_host_key()
        return pair.host_key_algorithms[0].decode() if pair is not None else ""

    @property
    def lists(self) -> algorithms.Lists | None:
        """What the client can speak, as it said last."""
        return algorithms.parse_kexinit(self._client_kexinit)

    def lacks(self) -> str:
        """In which kind of algorithm the client and the hub have nothing in common, and what it knows."""
        theirs, ours = self.lists, algorithms.parse_kexinit(self._server_kexinit)
        return algorithms.lacking(theirs, ours) if theirs is not None and ours is not None else ""

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
    wire.require_hooks()
    wanted = {
        "_validate_client_certificate": ["self", "username", "key_data"],
        "_login_timer_callback": ["self"],
        "send_newkeys": ["self", "k", "h"],
        "send_packet": ["self", "pkttype", "args", "handler"],
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
    kept = asyncssh.connection.SSHConnection.__init__.__code__.co_names
    for name in ("_enc_alg_sc", "_kex", "_client_kexinit", "_server_kexinit"):
        if name not in kept:
            raise RuntimeError(f"asyncssh {asyncssh.__version__} keeps no {name}")
