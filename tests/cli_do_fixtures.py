"""Commands as an operator types them: in this process where that is quick, as processes where it matters."""

import contextlib
import json
import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import paramiko
import pytest

from doors_fixtures import patient
from exchange.cli.main import main
from jobs.stores.mishaps import VARIABLE
from schemas import sample

BIN = Path(sys.executable).with_name("meterhub")
SECONDS = 120.0  # that anything here may take on a busy machine
LOOK = 0.02


class Operator:
    """Types commands in this process, at the instant that is asked for."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._environment = monkeypatch

    def asks(self, home: Path, now: datetime | None, *words: str, code: int = 0) -> Any:
        """The answer of a command in JSON."""
        return json.loads(self.reads(home, now, *words, "--json", code=code))

    def reads(self, home: Path, now: datetime | None, *words: str, code: int = 0) -> str:
        """What a command shows to people; errors, too."""
        self._environment.setenv("METERHUB_NOW", now.isoformat() if now else "")
        self._capsys.readouterr()
        found = main(["--home", str(home), *words])
        said = self._capsys.readouterr()
        assert found == code, said.out + said.err
        return said.out + said.err


def poll(what: str, look: Callable[[], Any]) -> Any:
    """What `look` gives, once that is anything."""
    until = time.monotonic() + SECONDS
    while not (found := look()):
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(LOOK)
    return found


def ledger(home: Path, query: str, *given: Any) -> list[tuple[Any, ...]]:
    """Rows of the ledger, read from outside. None of them while there is no ledger yet."""
    with contextlib.closing(sqlite3.connect(home / "state" / "ledger.sqlite", timeout=30)) as reader:
        return list(reader.execute(query, given))


@dataclass
class Server:
    """`meterhub serve` as a process of its own, leading a group as under a terminal."""

    home: Path
    now: str = ""
    mishaps: str = ""  # that are planned for it and its workers
    opening: dict[str, Any] = field(default_factory=dict)
    process: "subprocess.Popen[str]" = field(init=False)

    def start(self, *words: str) -> "Server":
        self.process = subprocess.Popen(
            [BIN, "--home", self.home, "serve", *(words or ("--json",))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "METERHUB_NOW": self.now, VARIABLE: self.mishaps},
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], SECONDS)[0], "it never opened"
        if not words:
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1]
            self.opening = json.loads(line)
        return self

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal and wait for the end: exit code, and what else was said."""
        os.kill(self.process.pid, number)
        return self.ended()

    def ended(self) -> tuple[int, str, str]:
        out, error = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, error

    def workers(self, *, standing: bool = False) -> list[int]:
        """The processes of its group besides itself; `standing`: those that a mishap has stopped."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                pid, rest = int(stat.parent.name), stat.read_text().rpartition(")")[2].split()
                if int(rest[2]) == self.process.pid and pid != self.process.pid:
                    found += [pid] if (rest[0] == "T" if standing else rest[0] != "Z") else []
        return found

    def go_on(self) -> None:
        """Let those of its processes go on that stand still."""
        os.killpg(self.process.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def sftp(self, login: str) -> Iterator[paramiko.SFTPClient]:
        """A session of paramiko's, logged in with the sample key."""
        transport = patient(paramiko.Transport(("127.0.0.1", self.opening["port"])))
        try:
            key = paramiko.Ed25519Key.from_private_key_file(str(self.home / "config" / "sample_keys" / login))
            transport.connect(username=login, pkey=key)
            client = paramiko.SFTPClient.from_transport(transport)
            assert client is not None
            yield client
        finally:
            transport.close()

    def receipt(self, login: str, drop_name: str) -> dict[str, Any]:
        """The final receipt of an upload, once it is there."""
        folder = self.home / "sftp_root" / login / "receipts"
        endings = ("accepted", "partial", "rejected", "duplicate")

        def look() -> list[Path]:
            if self.mishaps:
                self.go_on()
            return [
                path
                for word in endings
                for path in folder.glob(f"{drop_name}.*.{word}.json")
                if not path.name.startswith(".")
            ]

        (found,) = poll(f"a receipt for {drop_name}", look)
        said: dict[str, Any] = json.loads(found.read_text())
        return said

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate(timeout=SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def copy_home(template: Path, to: Path) -> Path:
    """A home with the sample partners and keys of its own, listening wherever it is free."""
    shutil.copytree(template, to)
    (to / "config" / "meterhub.toml").write_text("workers = 2\n[sftp]\nport = 0\n")
    return to


def files_of(night: sample.Night, edc: sample.Edc) -> list[sample.SampleFile]:
    """The sync of an EDC and its buckets."""
    return [*night.sync(edc), *(one for one in night.buckets() if one.edc == edc.id)]
