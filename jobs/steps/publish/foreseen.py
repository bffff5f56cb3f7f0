"""What the publication after a sync would make of what is held, if that sync came into force: nothing is changed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pyarrow as pa

from config.partners import Partner
from jobs.rules import ownership
from jobs.steps.publish.released import Release
from jobs.stores.ledger import holds, loads
from jobs.stores.ledger.holds import Held
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster
from schemas.usage_day import local_date


@dataclass(slots=True, kw_only=True)
class Foreseen:
    """What becomes of blocks that are held for one reason: each is given free, to so many EGSs (`to`: blocks by id),
    given up, or held still.
    """

    reason: str
    to: dict[str, int] = field(default_factory=dict)
    given_up: int = 0
    still: int = 0

    @property
    def free(self) -> int:
        return sum(self.to.values())


def foreseen(sync: Sync, edc: Partner, *, stores: Stores, now: datetime) -> list[Foreseen]:
    """By reason, what becomes of all that is held of an EDC's blocks and waits for another roster; late blocks wait
    for an operator's word.
    """
    assert edc.zone is not None
    roster, egss = Roster(stores.lake, sync.path), stores.partners.current().egss
    oldest = now - timedelta(days=stores.settings.outbound.claim_days)
    found: dict[str, Foreseen] = {}
    with stores.ledger.read() as tx:
        why = [one for one in holds.counts(tx, edc.id) if one[0] != "late"]
        waiting = holds.files_held(tx, edc=edc.id, why=why, now=now, judged=())
        lake_files = loads.by_ids(tx, waiting)
        for file_id in waiting:
            blocks = [one for one in holds.held_of(tx, file_id) if one.reason != "late"]
            owners = ownership.of_record(
                standing=roster.standing_of(pa.array([one.account for one in blocks], pa.string())),
                egs_duns=[egs.duns for egs in egss],
                today=local_date(now, edc.zone),
            )
            becomes = Release(holds_nobodys=True)
            becomes.look_at(blocks, owners, day=lake_files[file_id].usage_date, oldest=oldest)
            places = (egss[place].id if place >= 0 else "" for place in owners.place.tolist())
            _count(found, zip(blocks, places, strict=True), becomes)
    return sorted(found.values(), key=lambda one: one.reason)


def _count(found: dict[str, Foreseen], blocks: Iterable[tuple[Held, str]], becomes: Release) -> None:
    published = set(becomes.published)
    never = {held_id for ids in becomes.never.values() for held_id in ids}
    for held, egs in blocks:
        one = found.setdefault(held.reason, Foreseen(reason=held.reason))
        if held.id in published:
            one.to[egs] = one.to.get(egs, 0) + 1
        elif held.id in never:
            one.given_up += 1
        else:
            one.still += 1
