"""How tonight stands, by the ledger: each EDC, and what lies before each EGS.

The lake is asked, and the roster, only which blocks that are due are loaded, of a usage day not judged yet.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow.compute as pc
from sqlalchemy import Connection

from config.partners import Partner
from jobs.rules import ownership
from jobs.stores import due_blocks
from jobs.stores.ledger import drops, holds, loads, publications, runs, standing, syncs
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster
from schemas import receipt, usage_day
from schemas.drop import UNDER_WAY, Drop, Stage
from schemas.usage_day import UsageDay, local_date


@dataclass(frozen=True, slots=True, kw_only=True)
class OfEdc:
    """How an EDC's usage day stands. Counts are of blocks unless named otherwise."""

    edc: str
    usage_day: date
    since: datetime  # the usage day is over, and its readings may come
    until: datetime  # a day later
    deadline: datetime
    minutes_left: int | None  # None: the deadline has passed
    verdict: str | None
    missing: int | None  # by the verdict
    buckets: int  # drops that brought blocks of the day
    arrived: standing.Arrivals  # from `since` to `until`
    uploading: int  # uploads that have begun and not ended
    under_way: int  # drops that are being taken in
    broken_off: int  # uploads that may be resumed
    due: int | None  # None: there is no roster that says
    loaded: int  # of what is due; where nobody says what is, all first versions
    first_versions: int
    replacing: int
    outranked: int  # kept, and never current: a later stamp stood
    late: int
    last_load_at: datetime | None
    suspense: int  # held of this usage day
    suspense_accounts: int  # whose blocks those are
    suspense_other_days: int
    unfetched: int  # held of this usage day: taken back from an EGS before it had fetched it
    unfetched_other_days: int
    nobodys: int  # held of any usage day: nobody was of record when they came, or is now
    unclaimed: dict[str, int]  # of any usage day, by the DUNS of an EGS that is no partner
    held_late: int  # of any usage day
    waiting: int  # loads that no publication has looked at
    sync: Sync | None
    sync_age: int | None  # days
    sync_too_old: bool

    @property
    def percent(self) -> float | None:
        """Loaded of due, rounded as a report of the deadline rounds; of nothing, all."""
        if self.due is None:
            return None
        return receipt.percent(self.loaded, of=self.due) if self.due else 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OfEgs:
    """What lies before an EGS. Of the files laid out from `since` to `until` of their EDC each is one of
    collected, taken back and uncollected.
    """

    egs: str
    laid_out: int
    blocks: int
    collected: int
    taken_back: int  # for a sync's sake, collected before or not
    uncollected: int
    uncollected_others: int  # files laid out on other nights that lie there
    oldest: datetime | None  # since when the oldest uncollected file lies there, of any night


@dataclass(frozen=True, slots=True, kw_only=True)
class Tonight:
    """All of it, at an instant."""

    at: datetime
    edcs: tuple[OfEdc, ...]
    egss: tuple[OfEgs, ...]


def look(*, stores: Stores, now: datetime, day: date | None = None) -> Tonight:
    """How tonight stands, or how another usage day does."""
    partners = stores.partners.current()
    with stores.ledger.read() as tx:
        open_drops = drops.at_stage(tx, [*UNDER_WAY, Stage.INCOMPLETE])
        edcs = [
            _of_edc(
                edc, day, tx, [one for one in open_drops if one.partner == edc.id], stores=stores, now=now
            )
            for edc in partners.edcs
            if not edc.disabled
        ]
        egss = tuple(_of_egss([egs.id for egs in partners.egss], edcs, tx))
    return Tonight(at=now, edcs=tuple(edcs), egss=egss)


def _of_edc(
    edc: Partner, day: date | None, tx: Connection, open_drops: list[Drop], *, stores: Stores, now: datetime
) -> OfEdc:
    assert edc.zone is not None
    of_day = usage_day.due_at(now, edc.zone) if day is None else UsageDay(day, edc.zone)
    deadline = of_day.deadline(stores.settings.deadline.time)
    since, until = of_day.end, UsageDay(of_day.date + timedelta(days=1), edc.zone).end
    sync = syncs.in_force(tx, edc.id)
    then = syncs.in_force_at(tx, edc.id, deadline) or sync
    verdict = runs.verdict(tx, edc=edc.id, day=of_day.date)
    judged = verdict is not None and verdict["verdict"] != "unknown"
    night = loads.night(tx, edc=edc.id, day=of_day.date)
    outranked = sum(
        pc.sum(stores.lake.read(file.path, columns=["outranked"])["outranked"]).as_py() or 0
        for file in loads.outranked_on(tx, edc=edc.id, day=of_day.date)
    )
    held = holds.counts(tx, edc.id)
    reasons, unclaimed = Counter[str](), Counter[str]()
    for (reason, duns), count in held.items():
        reasons[reason] += count
        if duns and reason != "unfetched":
            unclaimed[duns] += count
    today = local_date(now, edc.zone)
    max_age = stores.settings.sync.max_age_days
    suspended = standing.held(tx, edc=edc.id, day=of_day.date, reason="suspense")
    unfetched = standing.held(tx, edc=edc.id, day=of_day.date, reason="unfetched").blocks
    broken = {drop.name for drop in open_drops if drop.stage is Stage.INCOMPLETE}
    uploads = stores.mailboxes.uploads(edc.id)
    if judged and verdict is not None:
        loaded = int(verdict["expected"] - verdict["missing"])  # each was held to the roster
    else:
        loaded = (
            night["first_versions"] if then is None else _loaded(edc, of_day.date, then, tx, stores=stores)
        )
    return OfEdc(
        edc=edc.id,
        usage_day=of_day.date,
        since=since,
        until=until,
        deadline=deadline,
        minutes_left=int((deadline - now).total_seconds() // 60) if now <= deadline else None,
        verdict=verdict["verdict"] if verdict else None,
        missing=verdict["missing"] if verdict and judged else None,
        buckets=night["drops"],
        arrived=standing.arrivals(
            tx,
            partner=edc.id,
            since=of_day.end,
            until=UsageDay(local_date(of_day.end, edc.zone), edc.zone).end,
        ),
        uploading=sum(not whole and name not in broken for name, whole in uploads),
        under_way=sum(drop.stage in UNDER_WAY for drop in open_drops),
        broken_off=len(broken),
        due=verdict["expected"] if verdict and judged else then.due if then is not None else None,
        loaded=loaded,
        first_versions=night["first_versions"],
        replacing=night["blocks"] - night["first_versions"] - outranked,
        outranked=outranked,
        late=night["late"],
        last_load_at=night["last_load_at"],
        suspense=suspended.blocks,
        suspense_accounts=suspended.accounts,
        suspense_other_days=reasons["suspense"] - suspended.blocks,
        unfetched=unfetched,
        unfetched_other_days=reasons["unfetched"] - unfetched,
        nobodys=held.get(("nobody", ""), 0),
        unclaimed=dict(unclaimed),
        held_late=reasons["late"],
        waiting=standing.unpublished(tx, edc=edc.id, after_seq=publications.cursor(tx, edc.id))[0],
        sync=sync,
        sync_age=None if sync is None else (today - sync.as_of).days,
        sync_too_old=sync is not None
        and ownership.is_stale(as_of=sync.as_of, today=today, max_age_days=max_age),
    )


def _loaded(edc: Partner, day: date, sync: Sync, tx: Connection, *, stores: Stores) -> int:
    """How many of the blocks that a sync says are due are loaded, as a verdict at this moment would count."""
    files = loads.on_day(tx, edc=edc.id, day=day)
    first = [file for file in files if file.kind == "usage" and file.first_versions]
    return due_blocks.loaded(Roster(stores.lake, sync.path), first, lake=stores.lake)


def _of_egss(known: list[str], edcs: list[OfEdc], tx: Connection) -> Iterator[OfEgs]:
    laid: dict[str, list[standing.Laid]] = {}
    left: dict[str, list[tuple[int, datetime]]] = {}
    for edc in edcs:
        of_today = standing.laid_out(tx, edc=edc.edc, since=edc.since, until=edc.until)
        for egs, files in of_today.items():
            laid.setdefault(egs, []).append(files)
        for egs, waiting in standing.uncollected(tx, edc=edc.edc).items():
            left.setdefault(egs, []).append(waiting)
    for egs in sorted({*known, *laid, *left}):
        yield OfEgs(
            egs=egs,
            laid_out=sum(one.files for one in laid.get(egs, ())),
            blocks=sum(one.blocks for one in laid.get(egs, ())),
            collected=sum(one.collected for one in laid.get(egs, ())),
            taken_back=sum(one.taken_back for one in laid.get(egs, ())),
            uncollected=sum(one.uncollected for one in laid.get(egs, ())),
            uncollected_others=sum(count for count, _ in left.get(egs, ()))
            - sum(one.lying for one in laid.get(egs, ())),
            oldest=min((oldest for _, oldest in left.get(egs, ())), default=None),
        )


def as_json(tonight: Tonight) -> dict[str, Any]:
    """The same as JSON holds it."""
    return {
        "at": receipt.instant(tonight.at),
        "edcs": [_edc_json(edc) for edc in tonight.edcs],
        "egss": [asdict(egs) | {"oldest": _instant(egs.oldest)} for egs in tonight.egss],
    }


def _edc_json(edc: OfEdc) -> dict[str, Any]:
    instants = ("since", "until", "deadline", "last_load_at")
    said = asdict(edc) | {name: _instant(getattr(edc, name)) for name in instants}
    said |= {"usage_day": edc.usage_day.isoformat(), "percent": edc.percent}
    sync = edc.sync
    said["sync"] = None if sync is None else {
        "id": sync.id,
        "as_of": sync.as_of.isoformat(),
        "in_force_at": _instant(sync.in_force_at),
        "accounts": sync.accounts,
    }  # fmt: skip
    return said


def _instant(at: datetime | None) -> str | None:
    return None if at is None else receipt.instant(at)
