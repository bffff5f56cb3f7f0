"""A PostgreSQL server for the ledger of a tortured hub: it is stopped in the middle of whatever it does, and starts again."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from config.errors import OperatorError

_USER = "postgres"  # who it is run as by root, as whom it refuses to run
_DEBIAN = Path("/usr/lib/postgresql")  # whose folders keep the server's programs off the path


class Server:
    """A server of its own, on the loopback. `url` is that of the ledger's database."""

    def __init__(self) -> None:
        """Raises OperatorError where there are no programs of a server."""
        self._programs = {name: _program(name) for name in ("initdb", "pg_ctl")}
        self._user = _USER if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="meterhub-postgresql-"))
        if self._user:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"postgresql://hub@127.0.0.1:{self._port}/postgres"
        self._run("initdb", "-A", "trust", "-U", "hub", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()

    def start(self) -> None:
        options = (
            f"-c listen_addresses=127.0.0.1 -c port={self._port} -c unix_socket_directories={self._folder}"
        )
        self._run("pg_ctl", "-w", "-s", "-l", f"{self._folder}/log", "-o", options, "start")

    def stop(self) -> None:
        """At once, as if its machine had gone: what was not committed is not, and its log is read at the next start."""
        self._run("pg_ctl", "-w", "-s", "-m", "immediate", "stop")

    def interrupt(self, seconds: float) -> None:
        """It is away for a while."""
        self.stop()
        time.sleep(seconds)
        self.start()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [self._programs[program], "-D", f"{self._folder}/data", *words],
            check=True, user=self._user, cwd=self._folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def program(name: str) -> str | None:
    """Where a program of a PostgreSQL server is; None if it is not installed."""
    kept = sorted(_DEBIAN.glob(f"*/bin/{name}"))
    return str(kept[-1]) if kept else shutil.which(name)


def _program(name: str) -> str:
    found = program(name)
    if found is None:
        hint = "install a PostgreSQL server (Debian: postgresql), or leave --ledger away, for SQLite"
        raise OperatorError("no-postgresql", f"{name} of PostgreSQL is not installed", hint)
    return found
