"""seal: settings that were changed are taken note of, and each night the head of the chain goes to the log.

What a log or an operator's file held then can be told later: their hashes stand in the chain.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection

from jobs.stores.ledger import events, runs
from jobs.stores.ledger.events import Head
from jobs.stores.opened import Stores

_JOB, _CONFIG = "seal", "config"
_OPEN = 2  # logs that may be written to still: today's, and yesterday's by whoever was slow
_known: dict[Path, dict[str, str]] = {}  # by home: what this process knows to be noted


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The head of the chain was written to the log, for the first time on this UTC day."""

    head: Head


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadySealed:
    """That was done today."""


def note(*, stores: Stores, now: datetime) -> list[str]:
    """Take note of each file below config/ that was added, changed or taken away. Their names."""
    found = dict(_files(stores))
    if _known.get(stores.home.root) == found:
        return []
    changed = []
    with stores.ledger.write() as tx:
        before = runs.latest(tx, _CONFIG)
        noted: dict[str, str] = before["said"]["files"] if before else {}
        for name in sorted(found.keys() | noted.keys()):
            if found.get(name, "") != noted.get(name, ""):
                events.record(tx, "config.noted", at=now, about=name, sha256=found.get(name, ""))
                changed.append(name)
        if changed:
            runs.keep(tx, _CONFIG, "", at=now, files=found)
    _known[stores.home.root] = found
    return changed


def seal(*, stores: Stores, now: datetime) -> Sealed | AlreadySealed:
    """Write the head of the chain to the log, and the hashes of logs that are over into the chain."""
    day = f"{now:%Y-%m-%d}"
    with stores.ledger.read() as tx:
        if runs.is_done(tx, _JOB, day):
            return AlreadySealed()
    with stores.ledger.write() as tx:
        if runs.is_done(tx, _JOB, day):  # by another process, a moment ago
            return AlreadySealed()
        head, sealed = events.head(tx), _sealed(tx)
        logs = _logs(sealed, stores)
        runs.keep(
            tx, _JOB, day, at=now, logs={name: said for name, said in {**sealed, **logs}.items() if said}
        )
        events.record(tx, "chain.sealed", at=now, through=head.id, head=head.hash, logs=logs)
    return Sealed(head=head)


def _sealed(tx: Connection) -> Mapping[str, str]:
    """The logs that were sealed, by the run before."""
    before = runs.latest(tx, _JOB)
    return before["said"].get("logs", {}) if before else {}


def _logs(sealed: Mapping[str, str], stores: Stores) -> dict[str, str]:
    """The hash of each log that is over and not sealed; nothing for one that was sealed and is gone."""
    there = sorted(path for path in stores.home.logs.glob("*.jsonl") if not path.name.startswith("."))
    names = {path.name for path in there}
    over = {path.name: _hash(path) for path in there[:-_OPEN] if path.name not in sealed}
    return over | {name: "" for name, said in sealed.items() if said and name not in names}


def _files(stores: Stores) -> Iterator[tuple[str, str]]:
    for path in stores.home.config_files():
        with suppress(FileNotFoundError):  # taken away since it was listed
            yield str(path.relative_to(stores.home.root)), _hash(path)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
