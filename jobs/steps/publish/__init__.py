"""publish: lay before each EGS the blocks it is of record for and has not been given yet.

A publication is a difference: the blocks that became current since the one before, and those that suspense,
an unclaimed EGS, an operator's hold or an EGS that never fetched them gave free, each to whoever is of record now.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from config.partners import Partner
from config.settings import Late
from jobs.rules import ownership, versions
from jobs.rules.ownership import Nobody, Owners
from jobs.steps.publish import current, rewritten, unfetched
from jobs.steps.publish.released import Release
from jobs.stores import circumstances, layout, numbering, side_by_side
from jobs.stores.ahead import ahead
from jobs.stores.ledger import claims, holds, loads, outbox, syncs
from jobs.stores.ledger.holds import Held
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.outbound import Draft, Drafts
from jobs.stores.rosters import Roster
from jobs.stores.shares import COLUMNS, To
from schemas.usage_day import local_date

_AT_ONCE = 200  # withdrawn files that are written again in one go: each has two files open


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What was new is laid out; `rewritten` of the files replace withdrawn ones."""

    files: int
    blocks: int
    rewritten: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NothingNew:
    """All that may be published of this EDC has been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """Nothing of this EDC is published: there is no sync in force, or it is too old."""

    why: str
    waiting: bool  # whether there is anything that would be


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """Another process publishes this EDC's blocks, or brings its sync into force, at this moment."""


Outcome = Published | NothingNew | Withheld | Busy


def publish(
    edc: Partner,
    *,
    stores: Stores,
    now: datetime,
    release: Collection[str] = (),
    holds_unfetched: bool = True,
) -> Outcome:
    """Publish what is new of one EDC. `release`: drops whose late blocks an operator gives free.
    `holds_unfetched`: not, when a publication is done again that is older than `unfetched`.
    """
    with claims.claimed(stores.ledger, layout.claim_key(edc.id), owner=stores.owner, now=now) as mine:
        if not mine:
            return Busy()
        layout.finish(edc.id, stores=stores, now=now)
        run = _Run.of(edc, stores=stores, now=now)
        if isinstance(run, Withheld):
            return run
        again, judged = run.rewrite(holds_unfetched=holds_unfetched)
        new = run.publish(release, judged)
        if not again and not new:
            return NothingNew()
        blocks = sum(draft.blocks for draft in (*again, *new))
        return Published(files=len(again) + len(new), blocks=blocks, rewritten=len(again))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One publication of one EDC, upon one sync and the loads up to `through`."""

    edc: Partner
    sync: Sync
    roster: Roster
    egss: tuple[Partner, ...]
    today: date
    now: datetime
    after: int
    through: int
    stores: Stores

    @classmethod
    def of(cls, edc: Partner, *, stores: Stores, now: datetime) -> "_Run | Withheld":
        with stores.ledger.read() as tx:
            sync = syncs.in_force(tx, edc.id)
            after, through = outbox.cursor(tx, edc.id), loads.last_seq(tx, edc.id)
        assert edc.zone is not None
        today = local_date(now, edc.zone)
        if sync is None:
            return Withheld(why="no sync is in force", waiting=after < through)
        max_age = stores.settings.sync.max_age_days
        if ownership.is_stale(as_of=sync.as_of, today=today, max_age_days=max_age):
            return Withheld(why=f"the sync in force, {sync.id}, is too old", waiting=after < through)
        return cls(
            edc=edc,
            sync=sync,
            roster=Roster(stores.lake, sync.path),
            egss=tuple(stores.partners.current().egss),
            today=today,
            now=now,
            after=after,
            through=through,
            stores=stores,
        )

    def publish(self, release: Collection[str], judged: Collection[int]) -> list[Draft]:
        """Lay out what became current, and what is held no more. `judged`: lake files of which what this run has
        lost is for nobody yet.
        """
        with self.stores.ledger.read() as tx:
            new = loads.between(tx, edc=self.edc.id, after_seq=self.after, through_seq=self.through)
            why = self._may_be_free(tx, release)
            waiting = holds.files_held(tx, edc=self.edc.id, why=why, now=self.now, judged=judged)
        if self.after == self.through and not waiting:
            return []
        with side_by_side.threads() as threads:
            drafts = Drafts(layout.staging(self.stores, self.edc.id), threads)
            hold = [self._share_out(*read, drafts) for read in ahead(self._read(new))]
            freed = self._free(waiting, release, drafts)
            made = drafts.finish()
        with self.stores.ledger.write() as tx:
            publication_id = self._record(tx, made, through=self.through)
            held = holds.hold(tx, hold, edc=self.edc.id, since=self.now)
            freed.record(tx, held, publication_id=publication_id, edc=self.edc.id, at=self.now)
        layout.finish(self.edc.id, stores=self.stores, now=self.now)
        return made

    def _may_be_free(self, tx: Connection, release: Collection[str]) -> list[tuple[str, str]]:
        """Of the reasons and EGS DUNS for which blocks are held, those that may be gone since the last
        publication: by another sync, a new partner, an operator's word.
        """
        other_sync = outbox.last_sync(tx, self.edc.id) != self.sync.id
        duns = {egs.duns for egs in self.egss}
        return [
            (reason, egs_duns)
            for reason, egs_duns in holds.counts(tx, self.edc.id)
            if (release if reason == "late" else other_sync or egs_duns in duns)
        ]

    def rewrite(self, *, holds_unfetched: bool) -> tuple[list[Draft], set[int]]:
        """Write withdrawn files again, without the accounts that their EGS has lost; and the lake files of which
        nothing that was lost may go to another at once.
        """
        with self.stores.ledger.read() as tx:
            due = outbox.rewrites_due(tx, edc=self.edc.id)
        made: list[Draft] = []
        may_go: dict[int, bool] = {}
        for start in range(0, len(due), _AT_ONCE):
            made += self._rewrite(due[start : start + _AT_ONCE], holds_unfetched, may_go)
        return made, {lake_file_id for lake_file_id, any_may in may_go.items() if not any_may}

    def _rewrite(
        self, due: list[OutboundFile], holds_unfetched: bool, may_go: dict[int, bool]
    ) -> list[Draft]:
        again = [To(egs=withdrawn.egs, replaces=withdrawn.name) for withdrawn in due]
        parted = rewritten.parted(
            due, egs_ids=self._egs_ids, owners=self._owners, through=self.through, stores=self.stores
        )
        lost = []
        with side_by_side.threads() as threads:
            drafts = Drafts(layout.staging(self.stores, self.edc.id), threads)
            for one in ahead(parted):
                day, lake_file_id = one.file.usage_date, one.file.id
                drafts.add(one.rows, one.to, again, row=one.row, day=day, lake_file_id=lake_file_id)
                lost.append(one.lost)
                may_go[lake_file_id] = may_go.get(lake_file_id, False) or one.may_go
            made = drafts.finish()
        count = sum(len(blocks) for blocks in lost) if holds_unfetched else None
        with self.stores.ledger.write() as tx:
            publication_id = self._record(tx, made, through=self.after, because=self.sync.id, unfetched=count)
            if count:
                unfetched.hold(tx, lost, edc=self.edc.id, publication_id=publication_id, at=self.now)
            outbox.written_again(tx, due)
        layout.finish(self.edc.id, stores=self.stores, now=self.now)
        return made

    def _read(self, new: Iterable[LakeFile]) -> Iterator[tuple[LakeFile, pa.Table, versions.Bools, Owners]]:
        """Of each lake file of blocks its rows, which of them are current, and who is of record for each."""
        for file in new:
            if file.kind == "usage":
                rows = self.stores.lake.read(file.path, columns=COLUMNS)
                newest = current.which(file, rows, through=self.through, stores=self.stores)
                yield file, rows, newest, self._owners(rows["account"])

    def _share_out(
        self, file: LakeFile, rows: pa.Table, newest: versions.Bools, owners: Owners, drafts: Drafts
    ) -> pa.Table:
        """Give the current blocks of a lake file to their EGSs; those that must wait are the answer, with why
        (as holds.hold takes them).
        """
        late = (rows["version"].to_numpy() == 1) & ~rows["on_time"].to_numpy()
        nobodys = np.isin(owners.place, (Nobody.DEFAULT_SERVICE, Nobody.NOT_YET))
        waits = late & (self.stores.settings.deadline.late is Late.HOLD) & ~nobodys
        place = np.where(newest & ~waits, owners.place, np.int32(Nobody.DEFAULT_SERVICE))
        drafts.add(rows, place, self._to, day=file.usage_date, lake_file_id=file.id)
        reasons = {Nobody.SUSPENSE: "suspense", Nobody.UNCLAIMED: "unclaimed"}
        held = np.flatnonzero(newest & (waits | np.isin(owners.place, list(reasons))))
        reason = [reasons.get(nobody, "late") for nobody in np.where(waits, 0, owners.place)[held].tolist()]
        duns = pc.if_else(pa.array(waits[held]), "", pc.fill_null(owners.duns.take(pa.array(held)), ""))
        blocks = rows.select(["account", "channel"]).take(held)
        return (
            blocks.append_column("reason", pa.array(reason, pa.string()))
            .append_column("egs_duns", duns)
            .append_column("lake_file_id", pa.repeat(pa.scalar(file.id, pa.int64()), len(held)))
        )

    def _free(self, waiting: list[int], release: Collection[str], drafts: Drafts) -> Release:
        """Publish what was held for a reason that is gone, of these lake files."""
        freed = Release()
        with self.stores.ledger.read() as tx:
            lake_files = loads.by_ids(tx, waiting)
        for file_id in waiting:
            with self.stores.ledger.read() as tx:
                held = holds.held_of(tx, file_id)
            self._free_of(lake_files[file_id], held, release, drafts, freed)
        return freed

    def _free_of(
        self, file: LakeFile, waiting: list[Held], release: Collection[str], drafts: Drafts, freed: Release
    ) -> None:
        looked_at = [held for held in waiting if held.reason != "late" or file.drop_id in release]
        owners = self._owners(pa.array([held.account for held in looked_at], pa.string()))
        oldest = self.now - timedelta(days=self.stores.settings.outbound.claim_days)
        out = freed.look_at(looked_at, owners, day=file.usage_date, oldest=oldest)
        if out:
            rows = current.rows_of(file, pa.array(sorted(out)), stores=self.stores)
            rows = rows.filter(pa.array(current.which(file, rows, through=self.through, stores=self.stores)))
            place = np.array([out[key] for key in versions.key(rows).to_pylist()], dtype=np.int32)
            drafts.add(rows, place, self._to, day=file.usage_date, lake_file_id=file.id)

    def _owners(self, accounts: pa.Array | pa.ChunkedArray) -> Owners:
        duns = [egs.duns for egs in self.egss]
        return ownership.of_record(
            standing=self.roster.standing_of(accounts), egs_duns=duns, today=self.today
        )

    @property
    def _to(self) -> list[To]:
        return [To(egs.id) for egs in self.egss]

    @property
    def _egs_ids(self) -> list[str]:
        return [egs.id for egs in self.egss]

    def _record(
        self,
        tx: Connection,
        made: list[Draft],
        *,
        through: int,
        because: str = "",
        unfetched: int | None = None,
    ) -> str:
        publication_id = outbox.begin(
            tx,
            edc=self.edc.id,
            sync_id=self.sync.id,
            at=self.now,
            after_seq=self.after,
            through_seq=through,
            files=len(made),
            blocks=sum(draft.blocks for draft in made),
            looked_through=self.through,
            under=circumstances.note(tx, stores=self.stores, at=self.now),
            replaces=because,
            unfetched=unfetched,
        )
        numbering.record(tx, made, edc=self.edc, publication_id=publication_id, sync=self.sync, at=self.now)
        return publication_id
