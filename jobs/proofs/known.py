"""What the ledger says at one instant: its rows, and what its events bind by hash. Read in one transaction."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select, text

from jobs.proofs.chain import Chain
from jobs.proofs.deeds import Deeds
from jobs.proofs.finding import Check, Finding
from jobs.stores.ledger import Ledger, events
from jobs.stores.ledger.events import Head, Link
from schemas import tables

Rows = list[Row[Any]]
_ENDS = {"loaded", "refused", "duplicate", "discarded"}
_OF_SYNCS = {"parts", "rows", "accounts", "due", "moved", "share_moved", "path", "sha256", "why"}
_INSTANTS = {
    "sync.begun": "began_at",
    "sync.completed": "completed_at",
    "sync.enforced": "in_force_at",
    "sync.superseded": "superseded_at",
}
_FOLDERS = {name: folder for folder, name in events.PAPERS.items()} | {events.SHEET: "reports"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A receipt, report or manifest, as the event that told of it last has it."""

    partner: str
    folder: str
    name: str
    sha256: str
    about: str


@dataclass(slots=True, kw_only=True)
class Told:
    """What the events say: of each thing the last word."""

    papers: dict[tuple[str, str, str], Paper] = field(default_factory=dict)  # partner, folder, name
    lake: dict[str, str] = field(default_factory=dict)  # SHA-256 by path below the lake
    archived: dict[str, str] = field(default_factory=dict)  # of the file as kept, by that of the drop
    received: dict[str, str] = field(default_factory=dict)  # SHA-256 by drop
    stages: dict[str, str] = field(default_factory=dict)  # by drop
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)  # of a loaded drop
    names: dict[str, str] = field(default_factory=dict)  # of a drop's file
    sent: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # EGS, name
    syncs: dict[str, str] = field(default_factory=dict)  # event by sync
    config: dict[str, str] = field(default_factory=dict)  # SHA-256 by path below the home; empty: gone
    logs: dict[str, str] = field(default_factory=dict)  # SHA-256 by name, of days that are over
    first_numbers: dict[str, int] = field(default_factory=dict)  # by EGS, in a ledger that was made again
    config_ever: set[str] = field(default_factory=set)  # every SHA-256 that was ever noted of a setting
    senders: dict[str, str] = field(default_factory=dict)  # by drop
    kinds: dict[str, str] = field(default_factory=dict)  # by drop
    parts: dict[str, set[int]] = field(default_factory=dict)  # by sync: those that drops brought
    ended: dict[str, Link] = field(default_factory=dict)  # by drop: the event that brought it to its end
    of_syncs: dict[str, dict[str, Any]] = field(default_factory=dict)  # by sync: columns, as events say
    published: dict[str, Link] = field(default_factory=dict)  # by publication
    laid_out: dict[str, str] = field(default_factory=dict)  # by publication: when
    of_files: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)  # EGS, name: columns
    deeds: Deeds = field(default_factory=Deeds)

    def hear(self, link: Link) -> None:
        """Take in one event."""
        kind = link.name.partition(".")[0]
        heard = _HEARD.get(link.name) or _HEARD.get(kind)
        said = json.loads(link.details)
        self.deeds.hear(link, said)
        if heard is not None:
            heard(self, link, said)

    def on_drop(self, link: Link, said: Mapping[str, Any]) -> None:
        self.stages[link.about] = link.name.partition(".")[2]
        self.senders[link.about] = link.partner
        if self.stages[link.about] in _ENDS:
            self.ended[link.about] = link
        if "name" in said:
            self.names[link.about] = said["name"]
        if link.name == "drop.received":
            self.received[link.about] = said["sha256"]
            self.archived.setdefault(said["sha256"], said["kept_sha256"])
        elif link.name == "drop.accepted":
            self.kinds[link.about] = said["kind"]
        elif link.name == "drop.loaded":
            if "part" in said:
                self.parts.setdefault(said["sync"], set()).add(said["part"])
            self.counts[link.about] = dict(said)
            self.lake |= said["lake"]

    def on_sync(self, link: Link, said: Mapping[str, Any]) -> None:
        self.syncs[link.about] = link.name
        self.lake |= said.get("lake", {})
        known = self.of_syncs.setdefault(link.about, {"edc": link.partner})
        known.update({name: said[name] for name in _OF_SYNCS & said.keys()})
        if (column := _INSTANTS.get(link.name)) is not None:
            known[column] = link.at

    def on_paper(self, link: Link, said: Mapping[str, Any]) -> None:
        folder = _FOLDERS[link.name]
        paper = Paper(partner=link.partner, folder=folder, name=said["file"], sha256=said["sha256"], about=link.about)  # fmt: skip
        self.papers[paper.partner, folder, paper.name] = paper

    def on_published(self, link: Link, said: Mapping[str, Any]) -> None:
        if link.name == "publication.recorded":
            self.published[link.about] = link
        elif link.name == "publication.laid_out":
            self.laid_out[link.about] = link.at

    def on_outbound(self, link: Link, said: Mapping[str, Any]) -> None:
        known = self.of_files.setdefault((link.partner, link.about), {})
        if link.name == "outbound.recorded":
            self.sent[link.partner, link.about] = dict(said)
            known["publication_id"] = said["publication"]
        elif link.name == "outbound.withdrawn":
            known |= {"state": "withdrawn", "withdrawn_at": link.at, "withdrawn_by": said["by"]}
        elif link.name == "outbound.expired":
            known |= {"state": known.get("state", "expired"), "expired_at": link.at}
        elif said["whole"]:
            known.setdefault("collected_at", link.at)

    def on_config(self, link: Link, said: Mapping[str, Any]) -> None:
        self.config[link.about] = said["sha256"]
        self.config_ever.add(said["sha256"])

    def on_rebuilt(self, link: Link, said: Mapping[str, Any]) -> None:
        self.first_numbers |= said["numbers"]

    def on_sealed(self, link: Link, said: Mapping[str, Any]) -> None:
        self.logs |= said["logs"]


_HEARD: Mapping[str, Callable[[Told, Link, Mapping[str, Any]], None]] = {
    "drop": Told.on_drop,
    "sync": Told.on_sync,
    "receipt.laid": Told.on_paper,
    "report.laid": Told.on_paper,
    "manifest.laid": Told.on_paper,
    "sheet.laid": Told.on_paper,
    "outbound": Told.on_outbound,
    "publication": Told.on_published,
    "config.noted": Told.on_config,
    "chain.sealed": Told.on_sealed,
    "ledger.rebuilt": Told.on_rebuilt,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One state of the ledger."""

    told: Told
    head: Head
    broken: tuple[Finding, ...]  # of the chain and of the database's own form
    drops: Rows
    lake_files: Rows
    loads: Rows
    syncs: Rows
    parts: Rows
    publications: Rows
    outbound: Rows
    verdicts: Rows
    unfetched: dict[int, int]  # by lake file, blocks that were laid out, taken back unfetched, and held
    claims: dict[str, str]  # owner by key

    def unfinished(self) -> set[str]:
        """The claims without which these things are at rest: of work that the ledger knows to be half done."""
        open_drops = {f"drop:{row.id}" for row in self.drops if row.ended_at is None or row.receipt_due or row.in_inbound}  # fmt: skip
        edcs = {row.edc for row in self.publications if not row.laid_out}
        edcs |= {row.edc for row in self.syncs if row.state in ("complete", "withdrawing")}
        edcs |= {row.edc for row in self.outbound if row.rewrite_due}
        return open_drops | {f"outbound:{edc}" for edc in edcs}


def read(ledger: Ledger, *, expected: Mapping[Head, str], whole: bool, deeds: bool = True) -> Known:
    """The ledger as it is now. `expected`: heads that must be in the chain, and who says so; `whole`: the
    database's own form is checked to the last index; `deeds`: so are the rows that no other proof needs.
    """
    with ledger.read() as tx:
        form = tuple(_form(tx, whole=whole))
        chain, told = Chain(expected=expected), Told()
        for link in chain.follow(events.links(tx)):
            try:
                told.hear(link)
            except (ValueError, LookupError, TypeError):  # it is not what the hub wrote
                chain.cannot_read(link)
        return Known(
            told=told,
            head=chain.head,
            broken=(*form, *chain.findings, *(told.deeds.check(tx) if deeds else ())),
            drops=_all(tx, tables.drop),
            lake_files=_all(tx, tables.lake_file),
            loads=_all(tx, tables.load),
            syncs=_all(tx, tables.sync),
            parts=_all(tx, tables.sync_part),
            publications=_all(tx, tables.publication),
            outbound=_all(tx, tables.outbound_file),
            verdicts=_all(tx, tables.verdict),
            unfetched=_unfetched(tx),
            claims={row.key: row.owner for row in _all(tx, tables.claim)},
        )


def claimed(ledger: Ledger) -> dict[str, str]:
    """Who holds what at this moment: owners by key."""
    with ledger.read() as tx:
        return {row.key: row.owner for row in _all(tx, tables.claim)}


def _all(tx: Connection, table: Table) -> Rows:
    return list(tx.execute(select(table).order_by(*table.primary_key)))


def _unfetched(tx: Connection) -> dict[int, int]:
    held = tables.held
    query = select(held.c.lake_file_id, func.count()).where(held.c.reason == "unfetched")
    return dict(tx.execute(query.group_by(held.c.lake_file_id)).all())


def _form(tx: Connection, *, whole: bool) -> list[Finding]:
    """What the database says of itself."""
    if tx.dialect.name != "sqlite":
        return []
    pragma = "integrity_check" if whole else "quick_check"
    said = [str(row[0]) for row in tx.execute(text(f"pragma {pragma}")) if row[0] != "ok"]
    said += [f"a row of {row[0]} points at a row of {row[2]} that is not there" for row in tx.execute(text("pragma foreign_key_check"))]  # fmt: skip
    do = "stop the hub and restore the ledger from a backup, or make it again: meterhub rebuild"
    return [Finding(check=Check.LEDGER, where="state/ledger.sqlite", what=one, do=do) for one in said]
