"""tidy: what processes left behind that died in the middle goes; what a living one is at stays.

Looking for it takes a walk through all folders of a home, which years have filled; so that is done when a process
has ended without closing since the last one, and once a day.

Nothing that the ledger knows is touched, and nothing that anybody will still make again: a file in the making is
locked by its process, and what was made for a drop or a sync may be used until that is at its end.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from jobs.stores import files, layout
from jobs.stores.ledger import claims, drops, loads, runs, syncs
from jobs.stores.opened import Stores
from schemas.drop import ENDED, Drop

_JOB = "tidy"
_DROP = re.compile(r"\.(D\d+-\d+)(\.affirmed)?\.parquet$")
_SYNC = re.compile(r"^(S\d+-.+-\d+)\.parquet$")
_SETTLED = {"in-force", "superseded", "rejected", "refused", "older"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied:
    """These were nobody's any more, and are gone."""

    removed: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingDied:
    """Leftovers were looked for today, and no process has died since."""


def tidy(*, stores: Stores, now: datetime) -> Tidied | NothingDied:
    """Remove leftovers. Looks at every folder of the home once."""
    gone, day = stores.owner.gone(), f"{now:%Y-%m-%d}"
    with stores.ledger.read() as tx:
        if not gone and runs.is_done(tx, _JOB, day):
            return NothingDied()
        removed = [*_asides(stores), *_of_the_lake(tx, stores)]
    for path in removed:
        files.remove(path)
    removed += _unpublished(stores, now)
    with stores.ledger.write() as tx:
        runs.keep(tx, _JOB, day, at=now)
    stores.owner.forget(gone)
    return Tidied(removed=tuple(removed))


def of_drop(drop: Drop, *, stores: Stores) -> None:
    """Remove what was made in the lake for a drop of which nothing will be loaded, by attempts that were cut off."""
    made = f"{drop.partner}.{drop.id}.*parquet"
    for path in [*stores.lake.root.glob(f"usage/*/{made}"), *stores.lake.root.glob(f"syncs/parts/{made}")]:
        files.remove(path)


def _asides(stores: Stores) -> Iterator[Path]:
    """Files that were written aside, by processes that are gone."""
    for root in (stores.home.sftp_root, stores.archive.root, stores.home.state / "contents"):
        for folder, _, names in os.walk(root):
            for name in names:
                if name.endswith(files.ASIDE) and files.is_left_over(path := Path(folder, name)):
                    yield path
    for tried in (stores.home.state, stores.lake.root, stores.home.staging):  # where `place` tries to write
        yield from (path for path in tried.glob(f".*{files.ASIDE}") if files.is_left_over(path))


def _of_the_lake(tx: Connection, stores: Stores) -> Iterator[Path]:
    """Files in the making, and lake files without a row, of drops and syncs that are at their end."""
    lake = stores.lake.root
    for path in (lake / ".staging").glob("*.parquet"):
        if _has_ended(tx, path.name.rpartition("!")[2]):
            yield path
    known = {*loads.paths(tx, kind="usage"), *loads.paths(tx, kind="affirmed")}
    for folder, _, names in os.walk(lake / "usage"):
        below = folder.removeprefix(f"{lake}/")  # as text: there are files of seven years
        for name in names:
            if f"{below}/{name}" not in known and _has_ended(tx, name):
                yield Path(folder, name)


def _has_ended(tx: Connection, name: str) -> bool:
    """Whether the drop or sync that a file is named by is at its end. What is named otherwise is not ours."""
    try:
        if found := _DROP.search(name):
            return drops.get(tx, found[1]).stage in ENDED
        if found := _SYNC.match(name):
            return syncs.get(tx, found[1]).state in _SETTLED
    except KeyError:
        return False
    return False


def _unpublished(stores: Stores, now: datetime) -> Iterator[Path]:
    """Outbound files in the making, of publications that came to nothing."""
    prefix = "publish-"
    for folder in stores.home.staging.glob(f"{prefix}*"):
        edc = folder.name.removeprefix(prefix)
        with claims.claimed(stores.ledger, layout.claim_key(edc), owner=stores.owner, now=now) as mine:
            if mine and any(folder.iterdir()):
                layout.finish(edc, stores=stores, now=now)
                shutil.rmtree(folder)
                yield folder
