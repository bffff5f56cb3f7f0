"""Who was of record for an account, when, and which meter data syncs said so."""

from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any, NamedTuple

import pyarrow as pa

from config.partners import Partner
from exchange.stories.story import Section
from jobs.rules import ownership
from jobs.rules.ownership import Nobody
from jobs.stores.ledger import syncs
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster
from schemas import receipt
from schemas.usage_day import local_date

_WHY = {
    Nobody.SUSPENSE: "nobody: the sync in force does not name the account (suspense)",
    Nobody.DEFAULT_SERVICE: "nobody: default service",
    Nobody.NOT_YET: "nobody yet: the supplier that is named starts later",
    Nobody.UNCLAIMED: "an EGS that is no partner (unclaimed)",
}
_GONE = "not known any more: the roster of this sync is not kept"


class Said(NamedTuple):
    """What a sync says of an account: the id of its EGS, empty where no partner is of record; its DUNS; why there
    is none; and from which day on it is its supplier.
    """

    egs: str
    duns: str
    why: str
    starts: date | None

    @property
    def words(self) -> str:
        who = self.egs or self.why
        return f"{who}, DUNS {self.duns}" if self.duns else who


def said_of(account: str, sync: Sync, today: date, *, stores: Stores) -> Said:
    """Who is of record for an account by a sync, on a day."""
    egss = stores.partners.current().egss
    roster = Roster(stores.lake, sync.path)
    if not sync.path or not roster.file.exists():
        return Said("", "", _GONE, None)
    standing = roster.standing_of(pa.array([account]))
    owners = ownership.of_record(standing=standing, egs_duns=[egs.duns for egs in egss], today=today)
    place, duns, starts = int(owners.place[0]), owners.duns[0].as_py(), standing["egs_start"][0].as_py()
    if place >= 0:
        return Said(egss[place].id, duns or "", "", starts)
    return Said("", duns or "", _WHY[Nobody(place)], starts)


def periods(
    account: str, edc: Partner, *, since: datetime | None, stores: Stores, now: datetime
) -> list[dict[str, Any]]:
    """Who was of record from when until when, oldest first, by each sync that was in force since an instant, or
    ever. What sync after sync says alike is one period.
    """
    with stores.ledger.read() as tx:
        ruled = syncs.that_ruled(tx, edc.id, since=since)
    found: list[dict[str, Any]] = []
    for sync in ruled:
        for begin, end, said in _by(account, edc, sync, stores=stores, now=now):
            last = found[-1] if found else None
            if last is not None and (last["words"], last["until"]) == (said.words, receipt.instant(begin)):
                last |= {"until": _instant(end), "last_sync": sync.id, "syncs": last["syncs"] + 1}
                continue
            found.append(
                {
                    "since": receipt.instant(begin),
                    "until": _instant(end),
                    "words": said.words,
                    "egs": said.egs or None,
                    "egs_duns": said.duns or None,
                    "egs_start": said.starts.isoformat() if said.starts else None,
                    "sync": sync.id,
                    "sync_as_of": sync.as_of.isoformat(),
                    "last_sync": sync.id,
                    "syncs": 1,
                }
            )
    return found


def _by(
    account: str, edc: Partner, sync: Sync, *, stores: Stores, now: datetime
) -> Iterator[tuple[datetime, datetime | None, Said]]:
    """What a sync says for as long as it is in force; it may name a supplier that starts meanwhile."""
    assert edc.zone is not None
    assert sync.in_force_at is not None
    begin, end = sync.in_force_at, sync.superseded_at
    said = said_of(account, sync, local_date(begin, edc.zone), stores=stores)
    if said.why == _WHY[Nobody.NOT_YET] and said.starts is not None:
        start = datetime.combine(said.starts, time(0), edc.zone)
        if start < (end or now):
            yield begin, start, said
            begin, said = start, said_of(account, sync, said.starts, stores=stores)
    yield begin, end, said


def _instant(at: datetime | None) -> str | None:
    return None if at is None else receipt.instant(at)


def section(found: list[dict[str, Any]]) -> Section:
    return Section(
        key="of_record_since",
        title="Who was of record, by which sync",
        columns={"since": "since (UTC)", "words": "of record", "sync": "sync", "syncs": ">syncs"},
        rows=found,
    )
