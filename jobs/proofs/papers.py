"""Receipts, reports and manifests: each as the hub laid it, byte for byte, and none besides.

They are held to the hashes in the chain, and what they say to the ledger's rows.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobs.proofs import written
from jobs.proofs.finding import RESTORE, Check, Finding, Look
from jobs.proofs.known import Known, Paper, Rows
from jobs.proofs.place import Place, files_below, sha256

_ENDINGS = (".accepted.json", ".partial.json", ".rejected.json", ".duplicate.json")


def looks(known: Known, place: Place) -> Iterator[Look]:
    """One for each paper that the chain knows and that has not gone since."""
    drops = {row.id: row for row in known.drops}
    sent = {(row.egs, row.name): row for row in known.outbound}
    verdicts = {f"{row.edc}/{row.usage_date}": row for row in known.verdicts}
    for paper in known.told.papers.values():
        file = sent.get((paper.partner, paper.about)) if paper.folder == "outbound" else None
        if file is not None and file.expired_at is not None:
            continue
        path = place.mailbox(paper.partner, paper.folder) / paper.name
        row = file
        if paper.name.endswith(_ENDINGS):
            row = drops.get(paper.about)
        elif paper.name.endswith(".deadline.json"):
            row = verdicts.get(paper.about)
        where = place.named(path)
        claim = _claim(paper, file)
        yield Look(check=Check.RECEIPTS, where=where, look=_Reading(path, paper, where, claim, row).find)


class _Reading:
    """One paper that is to be read."""

    def __init__(self, path: Path, paper: Paper, where: str, claim: str, row: Any) -> None:
        self._path, self._paper, self._where, self._claim, self._row = path, paper, where, claim, row

    def find(self) -> Iterator[Finding]:
        if not self._path.is_file():
            yield self._finding("it is gone")
        elif sha256(self._path) != self._paper.sha256:
            yield self._finding("it is not as the hub laid it")
        elif self._row is not None:
            yield from self._sums(json.loads(self._path.read_bytes()))

    def _sums(self, said: dict[str, Any]) -> Iterator[Finding]:
        """What it says, held to the row of its drop, outbound file or verdict."""
        folder = self._paper.folder
        wanted = (
            written.final(self._row)
            if folder == "receipts"
            else written.manifest(self._row)
            if folder == "outbound"
            else written.report(self._row)
        )
        for name, stands in wanted.items():
            if (found := written.picked(said, name)) != stands:
                what = f"{name} is {found} in it and {stands} in the ledger"
                yield Finding(check=Check.SUMS, where=self._where, what=what, do=RESTORE, claim=self._claim)

    def _finding(self, what: str) -> Finding:
        return Finding(check=Check.RECEIPTS, where=self._where, what=what, do=RESTORE, claim=self._claim)


def _claim(paper: Paper, file: Any) -> str:
    """What is held by whoever lays this paper."""
    if paper.folder == "receipts":
        return f"drop:{paper.about}"
    if paper.folder == "outbound":
        return f"outbound:{file.edc}" if file is not None else ""
    return f"verdict:{paper.about}" if "/" in paper.about else f"outbound:{paper.partner}"


def strangers(known: Known, place: Place) -> Iterator[Finding]:
    """Files in partners' folders, whichever, that the hub did not lay there. What is in inbound/ they did."""
    outbound = {(row.egs, row.name): row for row in known.outbound}
    drops = {row.id for row in known.drops}
    for path in files_below(place.home.sftp_root):
        parts = path.relative_to(place.home.sftp_root).parts
        partner, folder = parts[0], parts[1] if len(parts) > 2 else ""
        file = (
            outbound.get((partner, path.name.removesuffix(".manifest.json")))
            if folder == "outbound"
            else None
        )
        is_known = parts in known.told.papers or (file is not None and file.name == path.name)
        if folder == "inbound" or (len(parts) == 3 and is_known):
            continue
        claim = f"outbound:{file.edc}" if file is not None else ""
        if folder == "receipts":
            claim = next((f"drop:{word}" for word in path.name.split(".") if word in drops), "")
        elif folder == "reports":
            day = path.name.split(".")[0]
            claim = f"verdict:{partner}/{day}" if "-" in day[:5] else f"outbound:{partner}"
        what = "the hub did not lay it there"
        do = "its partner can read it: find out who put it there, and take it away"
        yield Finding(check=Check.STRANGERS, where=place.named(path), what=what, do=do, claim=claim)


def inbound(known: Known, place: Place) -> Iterator[Finding]:
    """Uploads that the ledger knows and that are not received yet: there, and as long as they came."""
    rows: Rows = [row for row in known.drops if row.in_inbound and row.stage != "received"]
    for row in rows:
        name = f".{row.name}.part" if row.stage == "incomplete" else row.name
        path = place.mailbox(row.partner, "inbound") / name
        claim = f"drop:{row.id}"
        do = "have its sender send it again: it was not received yet"
        if not path.is_file():
            yield Finding(check=Check.DROPS, where=place.named(path), what="it is gone", do=do, claim=claim)
        elif row.stage != "incomplete" and path.stat().st_size != row.bytes:
            what = f"it has {path.stat().st_size} bytes, and came with {row.bytes}"
            yield Finding(check=Check.DROPS, where=place.named(path), what=what, do=do, claim=claim)
