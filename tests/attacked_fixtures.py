"""Two servers to attack alike: the hub's, with its ledger behind it, and the one that is in the library's box."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh

from config.settings import Sftp
from doors_fixtures import OPEN_HANDED, SECONDS, Door, Reached, until
from exchange.app import Counter
from hub_fixtures import Hub

CNP, ONC = "cnp", "onc"  # who attacks, and whose files nobody else may see


class Attacked(Reached):
    """What an attack may ask of either server, beside coming to it as a client."""

    root: Path  # on disk, of all partners' folders
    host_key_file: Path

    def folder(self, login: str, name: str) -> Path:
        """One of a partner's folders, on disk."""
        return self.root / login / name

    def taken(self) -> set[str]:
        """The names of the uploads that count as having come whole."""
        raise NotImplementedError

    def connected(self) -> int:
        """How many connections it knows of."""
        raise NotImplementedError

    def wait_until_all_have_gone(self) -> None:
        until(lambda: not self.connected())

    def waits_for_ever(self) -> bool:
        """Whether it never ends a connection on which nothing comes."""
        raise NotImplementedError

    def settle(self) -> None:
        """Return when it has made up its mind about what came before."""

    def add_expired(self, login: str) -> Path:
        """A new login, and its key, that was good until some day of the past."""
        raise NotImplementedError

    def allow(self, login: str, line: str) -> None:
        """Another public key for a login."""
        raise NotImplementedError

    def trust(self, login: str, line: str) -> None:
        """A new login for whoever has a certificate by this authority."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Bytes of answers that wait in the server until clients take them."""
        raise NotImplementedError

    def pieces(self) -> int:
        """In how many pieces it keeps what has come and waits to be worked off."""
        raise NotImplementedError

    def clients(self) -> list[str]:
        """What those who are connected say they are, as it is told of them."""
        raise NotImplementedError

    def variables(self) -> int:
        """How many variables of clients it keeps."""
        raise NotImplementedError

    def holds_back(self) -> bool:
        """Whether it waits for a client to take what it asked for, before it answers more."""
        raise NotImplementedError


class HubDoor(Attacked, Door):
    """The hub's doors. A drop that was not refused counts as having come whole."""

    def __init__(self, home: Path, hub: Hub, **limits: Any) -> None:
        desk = Counter(hub.stores, lambda: hub.now, lambda _: None)
        settings = replace(Sftp(), **OPEN_HANDED | limits)
        Door.__init__(self, home, settings, desk, hub.home.partners, new_key=True)
        self.root = hub.home.sftp_root
        self.host_key_file = home / "host_keys" / "ssh_host_ed25519_key"
        self._the_hub = hub

    def folder(self, login: str, name: str) -> Path:
        return self._the_hub.stores.mailboxes.folder(login, name)

    def taken(self) -> set[str]:
        self._the_hub.sweep()
        return {self._the_hub.drop(event["about"]).name for event in self._the_hub.events("drop.loaded")}

    def connected(self) -> int:
        return int(self.on_loop(lambda: self.doors.connections + len(self.doors._shared.running)))

    def waits_for_ever(self) -> bool:
        self.wait_until_all_have_gone()
        return False

    def settle(self) -> None:
        asyncio.run_coroutine_threadsafe(self.doors.defender.settle(), self.loop).result(SECONDS)

    def add_expired(self, login: str) -> Path:
        self.add_partner(login, "egs", key_more='expires = "2010-01-31"')
        return self.key_files[login]

    def allow(self, login: str, line: str) -> None:
        file = self.partners / f"{login}.toml"
        file.write_text(file.read_text().replace("authorized_keys = [", f'authorized_keys = ["{line}", '))

    def trust(self, login: str, line: str) -> None:
        self.add_partner(login, "third_party", more=f'certificate_authorities = ["{line}"]')

    def waiting(self) -> int:
        def waiting() -> int:
            network = sum(login._connection.network.get_write_buffer_size() for login in self.doors._logins)
            sessions = [session for login in self.doors._logins for session in login.sessions]
            return network + sum(session._channel.get_write_buffer_size() for session in sessions)

        return int(self.on_loop(waiting))

    def pieces(self) -> int:
        def pieces() -> int:
            sessions = [session for login in self.doors._logins for session in login.sessions]
            return sum(len(one._packets._chunks) + len(one._channel._recv_buf) for one in sessions)

        return int(self.on_loop(pieces))

    def clients(self) -> list[str]:
        def clients() -> list[str]:
            return [login._connection.get_extra_info("client_version") for login in self.doors._logins]

        return list(self.on_loop(clients))

    def variables(self) -> int:
        def variables() -> int:
            sessions = [session for login in self.doors._logins for session in login.sessions]
            return sum(len(session._channel.get_environment_bytes()) for session in sessions)

        return int(self.on_loop(variables))

    def holds_back(self) -> bool:
        def full() -> bool:
            return any(
                login.is_clogged or any(session._full for session in login.sessions)
                for login in self.doors._logins
            )

        return bool(self.on_loop(full))


class Stock(Attacked):
    """asyncssh's own SFTP server, written as its documentation shows it: a file of keys for each login, a folder that
    is its root, and an upload that has come when its file is closed. All else is as the library has it.
    """

    def __init__(self, home: Path) -> None:
        super().__init__(home, loop_factory=asyncio.new_event_loop)
        self.root = home / "sftp_root"
        self.keys = home / "authorized_keys"
        self.keys.mkdir()
        for login in (CNP, ONC):
            (self.keys / login).write_text(f"{self.add_key(login)}\n")
            for folder in ("inbound", "receipts"):
                (self.root / login / folder).mkdir(parents=True)
        self.host_key_file = home / "ssh_host_key"
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        host_key.write_private_key(self.host_key_file)
        self.host_key = host_key.export_public_key().decode().strip()
        self.closed: set[str] = set()
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.sessions: set[asyncssh.SSHServerChannel[bytes]] = set()

    async def open(self) -> None:
        attacked = self

        class Server(asyncssh.SSHServer):
            def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
                self._conn = conn
                attacked.connections.append(conn)

            def begin_auth(self, username: str) -> bool:
                with suppress(OSError):
                    self._conn.set_authorized_keys(f"{attacked.keys}/{username}")
                return True

        class Files(asyncssh.SFTPServer):
            def __init__(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
                root = f"{attacked.root}/{chan.get_extra_info('username')}"
                os.makedirs(root, exist_ok=True)  # noqa: PTH103 - as the documentation has it
                attacked.sessions.add(chan)
                super().__init__(chan, chroot=os.fsencode(root))

            def close(self, file_obj: Any) -> None:
                super().close(file_obj)
                attacked.closed.add(Path(os.fsdecode(file_obj.name)).name)

            def exit(self) -> None:
                attacked.sessions.remove(self.channel)

        self._listening = await asyncssh.listen(
            "127.0.0.1", 0, server_factory=Server, server_host_keys=[str(self.host_key_file)], sftp_factory=Files
        )  # fmt: skip

    @property
    def port(self) -> int:
        return self._listening.get_port()

    async def _close(self) -> None:
        self._listening.close()
        await self._listening.wait_closed()
        for connection in self.connections:
            connection.abort()
            await connection.wait_closed()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(SECONDS)
        super().stop()

    def taken(self) -> set[str]:
        return set(self.on_loop(lambda: self.closed))

    def connected(self) -> int:
        return int(self.on_loop(lambda: len(self.sessions)))

    def waits_for_ever(self) -> bool:
        """No clock runs that could end it."""
        timers = self.on_loop(lambda: [one for one in self.loop._scheduled if not one.cancelled()])  # type: ignore[attr-defined]
        return not timers

    def add_expired(self, login: str) -> Path:
        (self.keys / login).write_text(f'expiry-time="20100131" {self.add_key(login)}\n')
        return self.key_files[login]

    def allow(self, login: str, line: str) -> None:
        with (self.keys / login).open("a") as file:
            file.write(f"{line}\n")

    def trust(self, login: str, line: str) -> None:
        (self.keys / login).write_text(f"cert-authority {line}\n")

    def waiting(self) -> int:
        def waiting() -> int:
            networks = [one._transport for one in self.connections if one._transport is not None]
            network = sum(one.get_write_buffer_size() for one in networks)
            return network + sum(channel.get_write_buffer_size() for channel in self.sessions)

        return int(self.on_loop(waiting))

    def pieces(self) -> int:
        """The library's channels keep them until there is a session, and then its streams."""

        def pieces() -> int:
            streams = [getattr(channel._session, "_recv_buf", {}) for channel in self._channels]
            waiting = [channel._recv_buf for channel in self._channels]
            return sum(map(len, waiting + [one for stream in streams for one in stream.values()]))

        return int(self.on_loop(pieces))

    def clients(self) -> list[str]:
        return list(self.on_loop(lambda: [one.get_extra_info("client_version") for one in self.connections]))

    def variables(self) -> int:
        return int(self.on_loop(lambda: sum(len(one.get_environment_bytes()) for one in self._channels)))

    @property
    def _channels(self) -> list[Any]:
        return [channel for one in self.connections for channel in one._channels.values()]

    def holds_back(self) -> bool:
        return False


@contextmanager
def reached(server: Attacked) -> Iterator[Attacked]:
    """The server, running."""
    server.start()
    try:
        yield server
    finally:
        server.stop()
