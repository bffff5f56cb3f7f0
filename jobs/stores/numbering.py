"""How the files of a publication are called and numbered: a name is never used twice for the same EGS, and its
numbers have no gap.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection

from config.partners import Partner
from jobs.stores.ledger import outbox
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.ledger.syncs import Sync
from jobs.stores.outbound import Draft
from schemas import file_name


def record(
    tx: Connection, made: Sequence[Draft], *, edc: Partner, publication_id: str, sync: Sync, at: datetime
) -> None:
    """Write the files of a publication into the ledger, in this order; each is given its number and name."""
    last = outbox.last_sequences(tx, {draft.egs for draft in made})
    next_name = _names(tx, edc, at)
    recorded = []
    for draft in made:
        last[draft.egs] += 1
        file = OutboundFile(
            egs=draft.egs,
            sequence=last[draft.egs],
            name=next_name(draft.egs),
            edc=edc.id,
            publication_id=publication_id,
            sync_id=sync.id,
            state="recorded",
            sha256=draft.sha256,
            bytes=draft.size,
            blocks=draft.blocks,
            intervals=draft.intervals,
            estimated=draft.estimated,
            versions_above_1=draft.versions_above_1,
            usage_days=tuple(sorted(draft.usage_days)),
            contents=f"contents/{publication_id}/{draft.key}.arrow",
            replaces=draft.replaces,
        )
        recorded.append(file)
    outbox.add(tx, recorded, [draft.contents_sha256 for draft in made], at=at)


def _names(tx: Connection, edc: Partner, at: datetime) -> Callable[[str], str]:
    """What gives an EGS a name that it was never given: by the EDC's clock, and a counter."""
    assert edc.zone is not None
    local = at.astimezone(edc.zone)
    names = [file_name.outbound(duns=edc.duns, at=local, counter=counter) for counter in range(1, 1000)]
    used = outbox.used_names(tx, low=names[0], high=names[-1])
    left: dict[str, Iterator[str]] = defaultdict(lambda: iter(names))

    def next_name(egs: str) -> str:
        for name in left[egs]:
            if (egs, name) not in used:
                return name
        raise RuntimeError(f"a thousand files of {edc.id} for {egs} at {local:%H:%M:%S}")

    return next_name
