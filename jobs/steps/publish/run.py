"""One publication of one EDC: what it reads, whom it gives it to, what it writes down."""

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
from jobs.steps.publish import awaiting, current, nobodys, rewritten
from jobs.steps.publish.nobodys import Claimed
from jobs.steps.publish.outcomes import Withheld
from jobs.steps.publish.released import Release
from jobs.stores import circumstances, layout, numbering, side_by_side
from jobs.stores.ahead import ahead
from jobs.stores.ledger import holds, loads, outbox, publications, syncs
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
class Run:
    """One publication of one EDC, upon one sync and the loads up to `through`."""

    edc: Partner
    sync: Sync
    roster: Roster
    egss: tuple[Partner, ...]
    today: date
    now: datetime
    after: int
    through: int
    holds_nobodys: bool
    stores: Stores

    @classmethod
    def of(cls, edc: Partner, *, holds_nobodys: bool, stores: Stores, now: datetime) -> "Run | Withheld":
        with stores.ledger.read() as tx:
            sync = syncs.in_force(tx, edc.id)
            after, through = publications.cursor(tx, edc.id), loads.last_seq(tx, edc.id)
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
            holds_nobodys=holds_nobodys,
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
            before = publications.last_sync(tx, self.edc.id)
        is_first_by_its_sync = self.holds_nobodys and before not in ("", self.sync.id)
        if self.after == self.through and not waiting and not is_first_by_its_sync:
            return []
        claims: list[Claimed] = []
        with side_by_side.threads() as threads:
            drafts = Drafts(layout.staging(self.stores, self.edc.id), threads)
            hold = [self._share_out(*read, drafts) for read in ahead(self._read(new))]
            freed = self._free(waiting, release, drafts)
            if is_first_by_its_sync:
                claims = self._claim(before, drafts)
                freed.take_in(claims)
            made = drafts.finish()
        count = sum(len(one.given) for one in claims) if self.holds_nobodys else None
        with self.stores.ledger.write() as tx:
            publication_id = self._record(tx, made, through=self.through, nobodys=count)
            held = holds.hold(tx, hold, edc=self.edc.id, since=self.now)
            awaiting.hold(
                tx,
                "nobody",
                [one.waits for one in claims],
                given=[one.given for one in claims],
                edc=self.edc.id,
                publication_id=publication_id,
                at=self.now,
            )
            freed.record(tx, held, publication_id=publication_id, edc=self.edc.id, at=self.now)
        layout.finish(self.edc.id, stores=self.stores, now=self.now)
        return made

    def _may_be_free(self, tx: Connection, release: Collection[str]) -> list[tuple[str, str]]:
        """Of the reasons and EGS DUNS for which blocks are held, those that may be gone since the last
        publication: by another sync, a new partner, an operator's word.
        """
        other_sync = publications.last_sync(tx, self.edc.id) != self.sync.id
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
                awaiting.hold(
                    tx, "unfetched", lost, edc=self.edc.id, publication_id=publication_id, at=self.now
                )
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
        waits = late & (self.stores.settings.deadline.late is Late.HOLD)
        if not self.holds_nobodys:
            waits &= ~np.isin(owners.place, ownership.NOBODYS)
        place = np.where(newest & ~waits, owners.place, np.int32(Nobody.DEFAULT_SERVICE))
        drafts.add(rows, place, self._to, day=file.usage_date, lake_file_id=file.id)
        reasons = {Nobody.SUSPENSE: "suspense", Nobody.UNCLAIMED: "unclaimed"}
        held = np.flatnonzero(newest & (waits | np.isin(owners.place, list(reasons))))
        reason = [reasons.get(nobody, "late") for nobody in np.where(waits, 0, owners.place)[held].tolist()]
        duns = pc.if_else(pa.array(waits[held]), "", pc.fill_null(owners.duns.take(pa.array(held)), ""))
        return awaiting.held(
            file, rows.select(["account", "channel"]).take(held), pa.array(reason, pa.string()), duns
        )

    def _free(self, waiting: list[int], release: Collection[str], drafts: Drafts) -> Release:
        """Publish what was held for a reason that is gone, of these lake files."""
        freed = Release(holds_nobodys=self.holds_nobodys)
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

    def _claim(self, before: str, drafts: Drafts) -> list[Claimed]:
        """Publish what came while nobody was of record and is somebody's, by another sync than `before`."""
        oldest = self.now - timedelta(days=self.stores.settings.outbound.claim_days)
        with self.stores.ledger.read() as tx:
            last = syncs.get(tx, before)
            looked = publications.looked_since(tx, edc=self.edc.id, since=oldest)
        claims = []
        for one in nobodys.claimed(
            self.edc,
            before=Roster(self.stores.lake, last.path),
            roster=self.roster,
            looked=looked,
            owners=self._owners,
            through=self.through,
            stores=self.stores,
        ):
            drafts.add(one.rows, one.place, self._to, day=one.file.usage_date, lake_file_id=one.file.id)
            claims.append(one.claimed)
        return claims

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
        nobodys: int | None = None,
    ) -> str:
        publication_id = publications.begin(
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
            nobodys=nobodys,
        )
        numbering.record(tx, made, edc=self.edc, publication_id=publication_id, sync=self.sync, at=self.now)
        return publication_id
