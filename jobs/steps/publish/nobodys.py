"""What came while nobody was of record for its account: the roster named no EGS, or one from a later day on.

It is in the lake, and was laid out for nobody. When a roster names an EGS, or another day from which the account is
its, what was loaded in the last outbound.claim_days is looked at again: of usage days from that day on, it goes to
whoever is of record now. So a mistaken roster that is put right costs nobody a reading, and no account that has no
EGS needs a row of its own.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from config.partners import Partner
from jobs.rules import moves, ownership, versions
from jobs.rules.ownership import Nobody, Owners
from jobs.steps.publish import awaiting, current
from jobs.stores.ledger import holds, loads, syncs
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.publications import Looked
from jobs.stores.opened import Stores
from jobs.stores.rosters import STANDING, Roster, beside
from jobs.stores.shares import COLUMNS
from schemas.usage_day import local_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Blocks of a lake file that are somebody's now (as `holds.hold` takes them): those that go to their EGS, and
    those that wait for one that is no partner.
    """

    given: pa.Table
    waits: pa.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The rows of a lake file (`COLUMNS`) among which such blocks are, and the place of the EGS that each goes to."""

    file: LakeFile
    rows: pa.Table
    place: npt.NDArray[np.int32]
    claimed: Claimed


def claimed(
    edc: Partner,
    *,
    before: Roster,
    roster: Roster,
    looked: Sequence[Looked],
    owners: Callable[[pa.Array | pa.ChunkedArray], Owners],
    through: int,
    stores: Stores,
) -> Iterator[Found]:
    """What came of an EDC while nobody was of record and is somebody's by `roster`, which follows on `before`.
    `looked`: the publications that looked at it first; `owners`: who is of record now, upon the loads up to `through`.
    """
    named = _named_anew(before, roster)
    if not looked or not len(named):
        return
    first_day = pc.min(named["egs_start"]).as_py()
    with stores.ledger.read() as tx:
        files = loads.between(
            tx, edc=edc.id, after_seq=looked[0].after_seq, through_seq=looked[-1].through_seq
        )
    then = _Then(edc=edc, named=named, looked=looked, stores=stores)
    for file in files:
        if file.kind == "usage" and file.usage_date >= first_day:
            accounts = _that_may_be_in(file, then.nobodys(file))
            found = _of(file, accounts, owners, through, stores) if len(accounts) else None
            if found is not None:
                yield found


def _named_anew(before: Roster, roster: Roster) -> pa.Table:
    """The accounts for which a roster names an EGS, or a first day, that the one before did not (`STANDING`)."""
    found = [STANDING.empty_table()]
    for had, has in beside(before.stretches(), roster.stretches()):
        found.append(moves.named_anew(had, has))
    return pa.concat_tables(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Then:
    """Who was of record when loads were published, of the accounts that are `named` anew."""

    edc: Partner
    named: pa.Table
    looked: Sequence[Looked]
    stores: Stores
    _by: dict[tuple[str, date], pa.Table] = field(default_factory=dict)

    def nobodys(self, file: LakeFile) -> pa.Table:
        """Of the accounts that are named anew those for which nobody was of record when a publication first looked at
        a lake file (`STANDING`, as they are now).
        """
        place = bisect.bisect_left(self.looked, file.load_seq, key=lambda one: one.through_seq)
        by = self.looked[place]
        assert self.edc.zone is not None
        today = local_date(by.at, self.edc.zone)
        if (by.sync_id, today) not in self._by:
            self._by[by.sync_id, today] = self._by_sync(by.sync_id, today)
        return self._by[by.sync_id, today]

    def _by_sync(self, sync_id: str, today: date) -> pa.Table:
        with self.stores.ledger.read() as tx:
            roster = Roster(self.stores.lake, syncs.get(tx, sync_id).path)
        standing = roster.standing_of(self.named["account"])
        owners = ownership.of_record(standing=standing, egs_duns=[], today=today)
        return self.named.filter(pa.array(np.isin(owners.place, ownership.NOBODYS)))


def _that_may_be_in(file: LakeFile, named: pa.Table) -> pa.ChunkedArray:
    """Of accounts (`STANDING`) those that are in a lake file, if any is, with an EGS by its usage day."""
    may = pc.less_equal(named["egs_start"], pa.scalar(file.usage_date, pa.date32()))
    for bound in (
        pc.greater_equal(named["account"], file.account_low),
        pc.less_equal(named["account"], file.account_high),
    ):
        may = pc.and_(may, bound)
    return named["account"].filter(may)


def _of(
    file: LakeFile,
    accounts: pa.ChunkedArray,
    owners: Callable[[pa.Array | pa.ChunkedArray], Owners],
    through: int,
    stores: Stores,
) -> Found | None:
    rows = stores.lake.read_accounts(file.path, columns=COLUMNS, accounts=accounts)
    now = owners(rows["account"])
    goes = awaiting.may_go(now, day=file.usage_date)
    awaited = awaiting.waits_for(now, day=file.usage_date)
    waits = np.asarray(pc.not_equal(awaited, ""))
    with stores.ledger.read() as tx:
        ever = [f"{account}{versions.BETWEEN}{channel}" for account, channel in holds.ever_held(tx, file.id)]
    anew = ~np.asarray(pc.is_in(versions.key(rows), value_set=pa.array(ever, pa.string())))
    anew &= (goes | waits) & current.which(file, rows, through=through, stores=stores)
    if not anew.any():
        return None
    told = awaiting.held(file, rows, "nobody", awaited)
    return Found(
        file=file,
        rows=rows,
        place=np.where(anew & goes, now.place, np.int32(Nobody.DEFAULT_SERVICE)),
        claimed=Claimed(given=told.filter(pa.array(anew & goes)), waits=told.filter(pa.array(anew & waits))),
    )
