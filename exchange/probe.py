"""A look at the doors from outside: does the hub answer, as whom, with what, and which public keys would it take.

It logs in as nobody. A key is shown without being proved, which SSH allows so that a client need not unlock its
key in vain (RFC 4252, section 7); the hub's answer is yes or no.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import asyncssh

from exchange import algorithms
from exchange.algorithms import Lists
from schemas.visit import PROBE

_SECONDS = 30.0
_BANNER = 20  # lines before the version, at most (RFC 4253, section 4.2)
_KEYS = 5  # that are shown: a door may close at the sixth


@dataclass(slots=True, kw_only=True)
class Found:
    """What the hub said."""

    host: str
    port: int
    error: str = ""  # why there is nothing more
    version: str = ""
    offers: Lists | None = None
    host_key: str = ""  # `ssh-ed25519 SHA256:…`
    takes: dict[str, bool] = field(default_factory=dict)  # fingerprints of keys, and whether they are taken


def look(host: str, port: int, login: str, keys: Sequence[str]) -> Found:
    """Knock there, and show these public keys as that login's."""
    found = Found(host=host, port=port)
    try:
        asyncio.run(asyncio.wait_for(_look(found, login, keys), _SECONDS))
    except TimeoutError:
        found.error = f"no answer within {_SECONDS:.0f} seconds"
    except (OSError, EOFError, asyncssh.Error) as error:
        found.error = str(error) or "the connection was closed"
    return found


async def _look(found: Found, login: str, keys: Sequence[str]) -> None:
    await _listen(found)
    if not found.error:
        await _show(found, login, keys)


async def _listen(found: Found) -> None:
    """Read what a server says before anybody has logged in."""
    reader, writer = await asyncio.open_connection(found.host, found.port)
    try:
        said: list[str] = []
        while not (line := (await reader.readline()).decode("utf-8", "replace").strip()).startswith("SSH-"):
            said.append(line)
            if not line or len(said) > _BANNER:
                found.error = " ".join(filter(None, said)) or "what answers there speaks no SSH"
                return
        found.version = line
        writer.write(f"SSH-2.0-{PROBE}\r\n".encode())
        length = int.from_bytes(await reader.readexactly(4))
        packet = await reader.readexactly(min(length, 1 << 16))
        found.offers = algorithms.parse_kexinit(packet[1:])
    finally:
        writer.close()


async def _show(found: Found, login: str, keys: Iterable[str]) -> None:
    shown = [_Shown(line) for line in keys][:_KEYS]
    client = _Client()
    try:
        made = await asyncssh.connect(
            found.host,
            found.port,
            username=login,
            client_keys=shown,
            client_factory=lambda: client,
            client_version=PROBE,
            server_host_key_algs=list(found.offers.host_keys) if found.offers is not None else (),
            known_hosts=None,
            config=None,
            agent_path=None,
            preferred_auth=["publickey"],
        )
        made.abort()  # nobody can be let in who proves nothing
    except asyncssh.PermissionDenied:
        pass
    finally:
        key = client.connection.get_server_host_key() if client.connection is not None else None
        if key is not None:
            found.host_key = f"{key.get_algorithm()} {key.get_fingerprint()}"
        found.takes = {one.fingerprint: one.was_taken for one in shown}


class _Client(asyncssh.SSHClient):
    connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection = conn


class _Shown(asyncssh.SSHKeyPair):
    """A public key without its private one."""

    def __init__(self, line: str) -> None:
        key = asyncssh.import_public_key(line)
        super().__init__(
            key.algorithm, key.algorithm, key.sig_algorithms, key.sig_algorithms, key.public_data, None
        )
        self.fingerprint = key.get_fingerprint()
        self.was_taken = False

    def sign(self, data: bytes) -> bytes:
        self.was_taken = True  # the hub would look at a signature now
        raise ValueError("there is no private key here")
