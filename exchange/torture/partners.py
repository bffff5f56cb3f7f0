"""The partners of a tortured hub: they speak SFTP, know only what they are told, and try until they know it."""

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from random import Random

import paramiko

from exchange.cli.demo_clients import Client
from exchange.torture.world import Sent, World
from schemas import receipt

_BETWEEN = 0.05  # seconds between two looks at a door that was closed
_AGREED = 0.5  # of the uploads come under a temporary name, and are renamed
_CUT = 0.25  # of the uploads are cut off by their own client
_FETCH = 0.3  # seconds between two looks of an EGS

# What a client may meet whose hub is being tortured: an end of the line, and a refusal.
_TROUBLE = (OSError, EOFError, paramiko.SSHException)


class Traffic:
    """Threads, one a partner, until they are told to rest. What goes wrong in one of them is kept and told."""

    def __init__(
        self, world: World, client: Callable[[str], Client], *, seed: str, today: Callable[[], date]
    ):
        self._world = world
        self._client = client
        self._seed = seed
        self._today = today
        self._threads: list[threading.Thread] = []
        self._resting = threading.Event()  # nothing new is begun
        self._over = threading.Event()
        self.cuts = 0
        self.broken: list[BaseException] = []

    def begin(self) -> None:
        self._resting.clear()
        self._over.clear()
        work: list[tuple[Callable[[str], None], str]] = [(self._send, one.id) for one in self._world.edcs]
        work += [(self._take, one.id) for one in self._world.egss]
        self._threads = [threading.Thread(target=self._guard, args=one, daemon=True) for one in work]
        for thread in self._threads:
            thread.start()

    def rest(self, *, seconds: float) -> list[str]:
        """Begin nothing new; wait until every file under way is known to be there. Those that are not."""
        self._resting.set()
        until = time.monotonic() + seconds
        while (left := [one.name for one in list(self._world.waiting.values())]) and time.monotonic() < until:
            if self.broken:
                break
            time.sleep(_BETWEEN)
        self._over.set()
        for thread in self._threads:
            thread.join(seconds)
        return left

    def _guard(self, work: Callable[[str], None], who: str) -> None:
        try:
            work(who)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits
            self.broken.append(error)

    # ── EDCs ─────────────────────────────────────────────────────────────────────────────────────

    def _send(self, edc: str) -> None:
        land, world = self._world.territories[edc], self._world
        draw = Random(f"{self._seed}/{edc}/{len(land.sent)}")  # noqa: S311 - a rehearsal
        while not self._over.is_set():
            file = world.waiting.get(edc)
            if file is None:
                if self._resting.is_set():
                    return
                file = world.waiting[edc] = land.next(self._today())
            try:
                with self._client(edc).connect() as sftp:
                    while not self._over.is_set():
                        if self._deliver(sftp, file, draw):
                            del world.waiting[edc]
                            if self._resting.is_set():
                                return
                            file = world.waiting[edc] = land.next(self._today())
                        else:
                            time.sleep(_BETWEEN)
            except _TROUBLE:
                time.sleep(_BETWEEN)

    def _deliver(self, sftp: paramiko.SFTPClient, file: Sent, draw: Random) -> bool:
        """Learn that the hub has a file: by its receipt, or because it is the hub's to change no more. Else bring
        it, and ask again: paramiko does not tell what became of a CLOSE.
        """
        if any(name.startswith(f"{file.name}.D") for name in sftp.listdir("receipts")):
            return True
        name = f"inbound/{file.name}"
        with contextlib.suppress(FileNotFoundError):
            if sftp.stat(name).st_size == len(file.content):
                return self._is_the_hubs(sftp, name)
        upload = f"{name}.tmp" if draw.random() < _AGREED else name
        with sftp.open(upload, "wb") as remote:
            remote.set_pipelined(True)
            half = len(file.content) // 2
            remote.write(file.content[:half])
            if draw.random() < _CUT and not self._resting.is_set():
                self.cuts += 1
                channel = sftp.get_channel()
                assert channel is not None
                channel.get_transport().sock.close()  # gone without a word
                raise EOFError
            remote.write(file.content[half:])
        if upload != name:
            sftp.rename(upload, name)
        return False

    def _is_the_hubs(self, sftp: paramiko.SFTPClient, name: str) -> bool:
        """Whether a file that lies there whole may not be written any more. If it may, its upload is ended now."""
        try:
            sftp.open(name, "r+b").close()
        except OSError as error:
            if "still being taken in" not in str(error):
                raise
            return True
        return False

    # ── EGSs ─────────────────────────────────────────────────────────────────────────────────────

    def _take(self, egs: str) -> None:
        while not self._over.is_set():
            try:
                with self._client(egs).connect() as sftp:
                    while not self._over.is_set():
                        self._take_new(sftp, egs)
                        self._over.wait(_FETCH)
            except _TROUBLE:
                time.sleep(_BETWEEN)

    def _take_new(self, sftp: paramiko.SFTPClient, egs: str) -> None:
        taken = self._world.taken[egs]
        for name in sftp.listdir("outbound"):
            if name.endswith(".lse.gz") and name not in taken:
                with sftp.open(f"outbound/{name}", "rb") as remote:
                    content = remote.read()
                with sftp.open(f"outbound/{receipt.manifest_name(name)}") as remote:
                    manifest = json.loads(remote.read())
                if manifest["sha256"] != hashlib.sha256(content).hexdigest():
                    raise AssertionError(f"{egs} has read {name}, and it is not what its manifest says")
                taken[name] = content


def keys_of(folder: Path, logins: list[str], key: str, known_hosts: str) -> None:
    """A folder with everybody's private key, and the host's public ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for login in logins:
        (folder / login).write_text(key)
        (folder / login).chmod(0o600)
    (folder / "known_hosts").write_text(known_hosts)
