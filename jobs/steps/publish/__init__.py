"""publish: lay before each EGS the blocks it is of record for and has not been given yet.

A publication is a difference: the blocks that became current since the one before, and those that suspense,
an unclaimed EGS, an operator's hold or an EGS that never fetched them gave free, or that came while nobody was of
record, each to whoever is of record now.
"""

from collections.abc import Collection
from datetime import datetime

from config.partners import Partner
from jobs.steps.publish.outcomes import Busy, NothingNew, Outcome, Published, Withheld
from jobs.steps.publish.run import Run
from jobs.stores import layout
from jobs.stores.ledger import claims
from jobs.stores.opened import Stores

__all__ = ["Busy", "NothingNew", "Published", "Withheld", "publish"]


def publish(
    edc: Partner,
    *,
    stores: Stores,
    now: datetime,
    release: Collection[str] = (),
    holds_unfetched: bool = True,
    holds_nobodys: bool = True,
) -> Outcome:
    """Publish what is new of one EDC. `release`: drops whose late blocks an operator gives free.
    `holds_unfetched`, `holds_nobodys`: not, when a publication is done again that is older than these reasons.
    """
    with claims.claimed(stores.ledger, layout.claim_key(edc.id), owner=stores.owner, now=now) as mine:
        if not mine:
            return Busy()
        layout.finish(edc.id, stores=stores, now=now)
        run = Run.of(edc, holds_nobodys=holds_nobodys, stores=stores, now=now)
        if isinstance(run, Withheld):
            return run
        again, judged = run.rewrite(holds_unfetched=holds_unfetched)
        new = run.publish(release, judged if holds_nobodys else ())
        if not again and not new:
            return NothingNew()
        blocks = sum(draft.blocks for draft in (*again, *new))
        return Published(files=len(again) + len(new), blocks=blocks, rewritten=len(again))
