"""`meterhub torture`: a scratch hub to which everything happens, and a proof that nothing is lost."""

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import SystemRandom

import click

from config import log as log_setup
from config import settings as settings_file
from exchange.cli import options
from exchange.cli.options import Asked
from exchange.torture.rounds import Torture
from exchange.torture.server import Server

_ROUND = 25.0  # seconds of harm
_DISK = 512 << 20  # bytes
_OWN = "METERHUB_TORTURE_DISK"  # of this process: it may mount a disk of its own


@options.command(
    "torture",
    "meterhub torture --minutes 10",
    "meterhub torture --minutes 1 --seed 7 --json",
    "meterhub torture --ledger postgresql",
)
@click.option(
    "--minutes", type=click.FloatRange(min=0), default=10.0, show_default=True, help="For how long."
)
@click.option("--seed", default="", help="What is drawn is drawn from this; by default from chance.")
@click.option("--edcs", type=click.IntRange(1, 50), default=3, show_default=True, help="EDCs that send.")
@click.option("--egss", type=click.IntRange(1, 50), default=5, show_default=True, help="EGSs that collect.")
@click.option(
    "--ledger",
    type=click.Choice(["sqlite", "postgresql"]),
    default="sqlite",
    show_default=True,
    help="Where the ledger is kept; a PostgreSQL server is started for it, and stopped again and again.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the hub is put afterwards, to be looked at.",
)
def command(
    asked: Asked, *, minutes: float, seed: str, edcs: int, egss: int, ledger: str, keep: Path | None
) -> int:
    """A scratch hub under heavy traffic to which everything happens, and a proof that nothing is lost.

    Partners send, replace, switch and collect over SFTP, while the hub and its workers are killed, at random and at
    each named point of commit and publish, connections are cut, the disk fills, fsync, rename and write fail, the
    clock steps, and a ledger in PostgreSQL goes away with its server. After each round `meterhub verify` and a model of what must have become of every file hold all of it
    to account. Exit code 1 if anything is wrong. The same seed does the same harm; when it strikes is up to the machine.
    """
    _with_a_disk()
    seed = seed or str(SystemRandom().randrange(1 << 32))
    with _scratch() as (home, disk), _server(ledger) as server:
        torture = Torture(home, seed=seed, disk=disk, edcs=edcs, egss=egss, server=server)
        log_setup.configure(torture.home, settings_file.load(home), console=False)
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # its connections are cut all the time
        full = "a disk of its own" if disk else "no disk of its own to fill"
        _say(asked, f"Seed {seed}; {edcs} EDCs, {egss} EGSs, {full}")
        until = time.monotonic() + minutes * 60
        wrong: list[str] = []
        try:
            while not wrong and (not torture.rounds or time.monotonic() < until):
                wrong = torture.round(seconds=min(_ROUND, max(2.0, minutes * 15)))
                _say(asked, f"round {torture.rounds}: {_standing(torture)}")
        finally:
            torture.end()
            if keep is not None:
                shutil.copytree(home.parent, keep, dirs_exist_ok=True)
        answer = {"seed": seed, "rounds": torture.rounds, **_counts(torture), "wrong": wrong}
    faults = torture.faults().total()
    told = [f"{count:>7,} {what}" for what, count in sorted(torture.faults().items())]
    verdict = (
        f"{faults:,} faults injected and survived; nothing lost, nothing twice, nothing shown to a stranger."
    )
    if wrong:
        verdict = f"{len(wrong)} things are wrong after {faults:,} faults; the same again: meterhub torture --seed {seed}"
    asked.show(answer, *told, *wrong[:50], verdict)
    return 1 if wrong else 0


def _counts(torture: Torture) -> dict[str, object]:
    sent = [file for land in torture.world.territories.values() for file in land.sent]
    return {
        "faults": torture.faults(),
        "sent": len(sent),
        "blocks": sum(len(file.blocks) for file in sent),
        "collected": sum(len(files) for files in torture.world.taken.values()),
    }


def _standing(torture: Torture) -> str:
    counts = _counts(torture)
    faults = torture.faults().total()
    return f"{counts['sent']:,} files sent, {counts['collected']:,} collected, {faults:,} faults"


def _say(asked: Asked, what: str) -> None:
    if not asked.json:
        click.echo(what)


def _with_a_disk() -> None:
    """Begin anew in a mount namespace of our own, where that is allowed: a small disk can be had there."""
    unshare = shutil.which("unshare")
    if _OWN in os.environ or unshare is None:
        return
    for words in (["--mount"], ["--user", "--map-root-user", "--mount"]):
        asked = [unshare, *words, "--propagation", "private"]
        if subprocess.run([*asked, "true"], check=False, capture_output=True).returncode == 0:
            os.environ[_OWN] = "1"
            os.execv(  # noqa: S606 - this very program, once more
                unshare,
                [*asked, sys.executable, "-m", "exchange.cli", *sys.argv[1:]],
            )


@contextmanager
def _server(ledger: str) -> Iterator[Server | None]:
    """The server of the ledger, where it is not a file."""
    if ledger == "sqlite":
        yield None
        return
    server = Server()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def _scratch() -> Iterator[tuple[Path, bool]]:
    """An empty home, and whether it is a small disk of its own, which is where that is allowed."""
    with tempfile.TemporaryDirectory(prefix="meterhub-torture-") as scratch:
        home = Path(scratch) / "hub"
        home.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "meterhub", str(home)]
        done = _OWN in os.environ and subprocess.run(mount, check=False, capture_output=True).returncode == 0
        try:
            yield home, done
        finally:
            if done:
                subprocess.run(["umount", "--lazy", home], check=True)
