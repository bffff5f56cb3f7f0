"""For tests of the commands that look: a night that had a bit of everything, and how to ask."""

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.home import Home
from exchange.cli.main import main
from exchange.cli.options import NOW
from hub_fixtures import CNP, Hub, morning
from jobs.steps import collect
from jobs_fixtures import BLUEBONNET, CHAMPION, STRANGER_DUNS, Cut, lse, send, send_sync
from schemas.drop import Drop

DAY = date(2013, 9, 2)


@dataclass(frozen=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Desk:
    """Somebody who types commands at a hub, whose clock shows what the hub's does."""

    hub: Hub
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def ask(self, *words: str) -> Answer:
        self.monkeypatch.setenv(NOW, self.hub.now.isoformat())
        self.capsys.readouterr()
        code = main(["--home", str(self.hub.home.root), *words])
        said = self.capsys.readouterr()
        return Answer(code=code, out=said.out, err=said.err)


@dataclass(frozen=True)
class Told:
    """A hub after a night and the morning that followed, and the drops that made it so."""

    hub: Hub
    bucket: Drop
    partial: Drop
    refused: Drop
    twin: Drop
    replacement: Drop
    late: Drop


def on_a_terminal(hub: Hub, *words: str, columns: int = 80) -> list[str]:
    """What a command shows on a terminal of so many columns, line by line."""
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        [Path(sys.executable).with_name("meterhub"), "--home", hub.home.root, *words],
        stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, NOW: hub.now.isoformat(), "COLUMNS": str(columns), "TERM": "dumb"},
    ):  # fmt: skip
        os.close(terminal)
        said = b""
        with contextlib.suppress(OSError):  # that is how a terminal ends
            while some := os.read(screen, 65_536):
                said += some
    os.close(screen)
    return [line.rstrip() for line in said.decode().splitlines()]


def a_night(home: Home) -> Told:
    """Accounts: 1 and 2 are champion's, 3 bluebonnet's, 4 nobody's partner's, 5 unknown at first, 6 of default
    service, 7 comes late. Champion collects its first file; the next morning account 2 goes to bluebonnet.
    """
    hub = Hub(home, morning(DAY), "[sync]\nbrake = 0.5\n")
    roster = {"1001": CHAMPION.duns, "1002": CHAMPION.duns, "1003": BLUEBONNET.duns, "1004": STRANGER_DUNS}
    roster |= {"1006": "", "1007": CHAMPION.duns}
    send_sync(hub, roster)
    cuts = [Cut(account=f"100{k}", day=DAY, wh=100 * k, status="E" if k == 3 else "A") for k in range(1, 7)]
    bucket = send(hub, *cuts)
    hub.on(minutes=5)
    text = lse([Cut(account="1008", day=DAY), Cut(account="1009", day=DAY)]).replace(b"0.100,A", b"-1,A", 1)
    partial = hub.upload("cnp", "957877905IntervalData20130903050500801.lse", text)
    refused = hub.upload("cnp", "957877905IntervalData20130903050500802.lse", b"nothing of the kind\n")
    twin = hub.upload("cnp", "957877905IntervalData20130903050500803.lse", lse(cuts))
    hub.sweep()
    read(hub, "champion", part=False)
    read(hub, "bluebonnet", part=True)
    hub.on(minutes=30)
    replacement = send(hub, Cut(account="1001", day=DAY, wh=150, stamp="20130903090000"))
    hub.sweep()
    hub.on(hours=20)
    late = send(hub, Cut(account="1007", day=DAY, wh=70))
    send_sync(hub, roster | {"1002": BLUEBONNET.duns, "1005": CHAMPION.duns})
    hub.sweep()
    return Told(
        hub=hub,
        bucket=bucket,
        partial=partial,
        refused=refused,
        twin=twin,
        replacement=replacement,
        late=late,
    )


def read(hub: Hub, egs: str, *, part: bool, which: int = 0) -> None:
    """An EGS reads a file, by default its first, or breaks off in the middle of it."""
    file = hub.files(egs)[which]
    reading = collect.Reading(
        partner=egs,
        name=file.name,
        sent=file.bytes // 2 if part else file.bytes,
        whole=not part,
        began=hub.now,
        ended=hub.now + timedelta(seconds=2),
        session="s-1",
        address="203.0.113.9",
        key_fingerprint="SHA256:abc",
    )
    collect.collect(reading, stores=hub.stores)


def told_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """For a fixture of a module: the night, made once."""
    told = a_night(Home(tmp_path_factory.mktemp("look") / "hub"))
    yield told
    told.hub.close()


__all__ = ["CNP", "DAY", "Answer", "Desk", "Told", "a_night", "on_a_terminal", "read", "told_once"]
