"""A ledger made again, from the files of a home alone, and what of the home is changed for it.

What cannot be known fails closed: no roster is in force until an operator approves one, and what lay in outbound
folders is taken from there, since nobody can tell any more what must be withdrawn of it and when.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from isal import igzip, isal_zlib

from config.errors import OperatorError
from config.home import Home
from jobs.rebuild import lake, papers
from jobs.rebuild import ledger as writing
from jobs.rebuild.lake import File
from jobs.rebuild.ledger import Found
from jobs.rebuild.papers import Paper
from jobs.stores import files, unpacking
from jobs.stores.ledger import Ledger, events
from jobs.stores.mailboxes import Mailboxes
from schemas import receipt
from schemas.drop import Outcome, Stage

_AWAY = "taken-away"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was made again, and what is not known any more."""

    drops: Counter[str]  # by stage
    loads: int
    lake_files: int
    held: tuple[str, ...]  # syncs that wait for an operator
    taken_away: int  # outbound files, to state/taken-away
    again: int  # loads whose blocks will be laid out again
    without_drop: tuple[str, ...]  # archived bytes that nothing tells of
    without_receipt: tuple[str, ...]  # drops that only their lake files tell of
    unreadable: tuple[tuple[str, str], ...]
    head: str


def rebuild(home: Home, lake_folder: Path, *, since: datetime, now: datetime) -> Rebuilt:
    """Make the ledger of a home again. Blocks of loads since `since` will be laid out again, once a roster is in
    force. Raises OperatorError if there is a ledger.
    """
    if home.ledger_file.exists():
        raise OperatorError(
            "ledger-there",
            f"there is a ledger: {home.ledger_file}",
            "stop the hub and move it away first, and keep it",
        )
    found = _find(home, lake_folder)
    mailboxes = Mailboxes(home.sftp_root)
    lacking = _complete(found, mailboxes)
    for path in home.state.glob(f"{home.ledger_file.name}-*"):  # of the one that is gone: they fit no other
        files.appear(path, home.state / _AWAY / path.name)
    aside = home.state / f".{home.ledger_file.name}.rebuilt"
    aside.unlink(missing_ok=True)
    ledger = Ledger(f"sqlite:///{aside}")
    try:
        ledger.migrate()
        with ledger.write() as tx:
            again, held = writing.write(tx, found, lake_folder, since=since, now=now)
            head = events.head(tx)
    finally:
        ledger.close()
    taken = _take_away(home)
    files.settle(aside, home.ledger_file)
    known = {drop.sha256 for drop in found.drops.values()}
    return Rebuilt(
        drops=Counter(str(drop.stage) for drop in found.drops.values()),
        loads=len({file.row.drop_id for file in found.files if file.row}),
        lake_files=len(found.files),
        held=tuple(held),
        taken_away=taken,
        again=again,
        without_drop=tuple(sorted(found.archived.keys() - known)),
        without_receipt=tuple(lacking),
        unreadable=tuple(found.unreadable),
        head=str(head),
    )


def _find(home: Home, lake_folder: Path) -> Found:
    found = Found()
    for one in lake.read(lake_folder):
        if isinstance(one, File):
            found.files.append(one)
        else:
            found.unreadable.append((str(one[0]), one[1]))
    for path in sorted(home.archive.glob("??/*")):
        kept = path.read_bytes()
        try:
            content = igzip.decompress(kept) if path.suffix == ".gz" else kept
        except (OSError, EOFError, isal_zlib.error) as error:  # type: ignore[misc] # its stub says too little
            found.unreadable.append((str(path), unpacking.words(error)))
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != path.name.removesuffix(".gz"):
            found.unreadable.append((str(path), "its bytes are not those that came"))
            continue
        found.archived[sha256] = (hashlib.sha256(kept).hexdigest(), len(content))
    for paper in _papers(home.sftp_root, found, "receipts", "reports"):
        found.papers.append(paper)
        if paper.laid.folder == "receipts" and (drop := papers.drop(paper, found.drops.get(paper.about))):
            found.drops[drop.id] = drop
        if (verdict := papers.verdict(paper)) is not None:
            found.verdicts.append(verdict)
    for root in (home.sftp_root, home.state / _AWAY):
        found.manifests += [one for one in _papers(root, found, "outbound") if "sequence" in one.said]
    return found


def _papers(root: Path, found: Found, *folders: str) -> Iterator[Paper]:
    for folder in folders:
        for one in papers.read(root, folder):
            if isinstance(one, Paper):
                yield one
            elif one[0].suffix == ".json":
                found.unreadable.append((str(one[0]), one[1]))


def _complete(found: Found, mailboxes: Mailboxes) -> list[str]:
    """Drops by what the lake has of them: those that no receipt tells of any more, and what was in each load.
    The ids of the former.
    """
    lacking = []
    for drop_id, brought in found.by_drop().items():
        drop = found.drops.get(drop_id)
        if drop is None or drop.stage is Stage.RECEIVED:
            said = brought[0]
            named = papers.named(
                drop_id, partner=said.said["edc"], name=said.said["drop_name"], at=said.instant("arrived_at")
            )
            sha256 = said.said["drop_sha256"]
            size = found.archived.get(sha256, ("", 0))[1]
            drop = replace(named, sha256=sha256, bytes=size, outcome=Outcome.ACCEPTED, receipt_due=True)
            drop = replace(drop, ended_at=drop.arrived_at, **_counts(brought))
            lacking.append(drop_id)
        found.drops[drop_id] = drop
    told = {(paper.laid.partner, paper.laid.name) for paper in found.papers}
    for drop in found.drops.values():
        name = receipt.received_name(drop)
        if drop.sha256 and (drop.partner, name) not in told:
            laid = mailboxes.lay(drop.partner, "receipts", name, receipt.received(drop))
            found.papers.append(Paper(laid=laid, about=drop.id, ending="received.json", said={}))
    return sorted(lacking)


def _counts(brought: list[File]) -> dict[str, Any]:
    """What a receipt would count of a drop, as far as its lake files tell."""
    rows = [file for file in brought if file.row is not None]
    if not rows:
        return {"rows_loaded": sum(file.rows for file in brought)}
    usage = [file for file in rows if file.said["kind"] == "usage"]
    return {
        "usage_days": tuple(sorted({file.row.usage_date for file in rows if file.row})),
        "blocks_loaded": sum(file.rows for file in usage),
        "blocks_late": sum(file.late for file in usage),
        "blocks_replacing": sum(file.replacing for file in usage),
        "blocks_outranked": sum(file.outranked for file in usage),
        "intervals_loaded": sum(file.intervals for file in usage),
    }


def _take_away(home: Home) -> int:
    """Move what lies in outbound folders, and the lists of its blocks, to where no partner sees it."""
    taken = 0
    away = home.state / _AWAY
    for path in sorted(home.sftp_root.glob("*/outbound/*")):
        taken += not path.name.endswith(receipt.MANIFEST) and not path.name.startswith(".")
        files.appear(path, away / path.relative_to(home.sftp_root))
    contents = home.state / "contents"
    for path in sorted(contents.glob("*/*")):
        files.appear(path, away / "contents" / path.relative_to(contents))
    return taken
