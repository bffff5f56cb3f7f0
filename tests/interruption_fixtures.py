"""Processes that die in the middle of their work, and what a home holds after it was taken up again.

A process dies for real: it is gone at once, without a word, at the n-th moment at which it would have
changed something that lasts: a commit of the ledger, or a file that is renamed or removed.
"""

import multiprocessing
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import Connection, event, select

from config.home import Home
from hub_fixtures import CNP, LONG, PATIENCE, Hub
from jobs_fixtures import found, manifests_of
from schemas import tables
from schemas.sample import EGSS

DIED = 9

# Children are forked from a server that has read what takes long to read, and has no threads.
FORKS: ForkServerContext = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "jobs.schedule",
        "sqlalchemy.dialects.sqlite",
        "pyarrow.parquet",
        "structlog.dev",
        "pytest",
        "hypothesis",
        "interruption_fixtures",
    ]
)


class Moments:
    """Counts the moments at which something that lasts is changed below `root`, and dies at one."""

    def __init__(self, root: Path, dies_at: int) -> None:
        self.root = str(root)
        self.dies_at = dies_at
        self.count = 0
        self.lock = threading.Lock()

    def heard(self, name: str, given: tuple[Any, ...]) -> None:
        if name in {"os.rename", "os.remove"} and os.fspath(given[0]).startswith(self.root):
            self.pass_one()

    def committed(self, tx: Connection) -> None:
        if "meterhub_write" in tx.get_execution_options():
            self.pass_one()

    def pass_one(self) -> None:
        with self.lock:  # files appear side by side
            self.count += 1
            if self.count == self.dies_at:
                os._exit(DIED)


def act(root: Path, now: datetime, work: Callable[[Hub], None], dies_at: int) -> None:
    """Do `work` in the hub of a home, and die at a moment of it; in a process of its own."""
    hub = Hub(Home(root), now, fresh=False)
    moments = Moments(root, dies_at)
    sys.addaudithook(moments.heard)
    event.listen(hub.stores.ledger.engine, "commit", moments.committed)
    work(hub)
    assert not hub.failures()
    os._exit(0)


def deaths(hub: Hub, work: Callable[[Hub], None], into: Path) -> Iterator[Hub]:
    """For moments of `work` a copy of the hub's home in which a process died there, open again; first one in
    which none did. Every third moment, and in a long run every one. The hub itself is closed.
    """
    hub.close()
    dies_at = 0
    while True:
        root = into / f"died-{dies_at}"
        shutil.copytree(hub.home.root, root)
        child = FORKS.Process(target=act, args=(root, hub.now, work, dies_at))
        child.start()
        child.join(PATIENCE)
        assert child.exitcode in {0, DIED}, f"at {dies_at}: {child.exitcode}"
        if dies_at and child.exitcode == 0:
            return
        taken_up = Hub(Home(root), hub.now + timedelta(minutes=15), fresh=False)
        taken_up.restart()
        yield taken_up
        taken_up.end()
        shutil.rmtree(root)
        dies_at += 1 if LONG or not dies_at else 3


def holds(hub: Hub) -> dict[str, Any]:
    """What a home holds, but for instants and names: what is loaded, laid out, told and decided."""
    with hub.stores.ledger.read() as tx:
        files = tx.execute(select(tables.lake_file).order_by(tables.lake_file.c.id)).all()
        drops = tx.execute(select(tables.drop).order_by(tables.drop.c.name)).all()
        syncs = tx.execute(select(tables.sync).order_by(tables.sync.c.id)).all()
        outbound = tx.execute(select(tables.outbound_file).order_by(tables.outbound_file.c.id)).all()
        verdicts = tx.execute(select(tables.verdict).order_by(tables.verdict.c.usage_date)).all()
    return {
        "lake": sorted(row for file in files for row in _rows(hub, file)),
        "drops": [(drop.name, drop.stage, drop.outcome, drop.blocks_loaded, drop.blocks_replacing,
                   drop.blocks_unchanged, drop.blocks_rejected, drop.suspense, drop.faults_total,
                   drop.receipt_due, drop.in_inbound) for drop in drops],
        "receipts": _receipts(hub, {drop.id: drop.name for drop in drops}),
        "inbound": sorted(path.name for path in hub.stores.mailboxes.folder(CNP.id, "inbound").iterdir()),
        "syncs": [(sync.id, sync.state, sync.accounts, sync.moved) for sync in syncs],
        "reports": sorted(path.name for path in hub.stores.mailboxes.folder(CNP.id, "reports").iterdir()
                          if not path.name.startswith(".")),
        "outbound": [(file.egs, file.sequence, file.state, file.blocks, bool(file.replaces),
                      bool(file.replaced_by), file.rewrite_due) for file in outbound],
        "found": {egs.id: found(hub, egs.id) for egs in EGSS},
        "manifests": {egs.id: sorted(_told(manifest) for manifest in manifests_of(hub, egs.id)) for egs in EGSS},
        "verdicts": [(row.usage_date, row.verdict, row.expected, row.in_time, row.late, row.missing)
                     for row in verdicts],
    }  # fmt: skip


def _rows(hub: Hub, file: Any) -> Iterator[tuple[Any, ...]]:
    path = hub.stores.lake.root / file.path
    columns = ["account", "channel", "version", "stamp"]
    for row in pq.read_table(path, columns=columns, partitioning=None).to_pylist():
        yield (file.kind, file.usage_date, *(row[name] for name in columns))


def _receipts(hub: Hub, names: dict[str, str]) -> list[tuple[str, str]]:
    said = []
    for path in hub.stores.mailboxes.folder(CNP.id, "receipts").iterdir():
        for drop_id, name in names.items():
            if path.name.startswith(f"{name}.{drop_id}."):
                said.append((name, path.name.rpartition(f".{drop_id}.")[2]))
    return sorted(said)


def _told(manifest: dict[str, Any]) -> tuple[Any, ...]:
    withdrawn = manifest.get("withdrawn")
    return (
        manifest["sequence"],
        manifest["blocks"],
        "replaces" in manifest,
        withdrawn is not None,
        withdrawn is not None and withdrawn["replaced_by"] is not None,
    )
