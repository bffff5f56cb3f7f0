"""What waits for whoever will be of record: what a switch took back from an EGS before it had fetched it, and what
came while nobody was of record. Neither was given to anybody.

It is held, and goes to whoever is of record as far as that EGS was its supplier on the usage day already. Of days
before, it would be shown what was another's customer's; these stay held, for the account may come back.
"""

from collections.abc import Iterable
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from jobs.rules.ownership import Nobody, Owners
from jobs.stores.ledger import events, holds
from jobs.stores.ledger.loads import LakeFile

# By reason, the event that tells of what began to be held although a publication had looked at it before.
EVENTS = {"unfetched": "blocks.unfetched", "nobody": "blocks.nobodys"}


def held(file: LakeFile, rows: pa.Table, reason: str | pa.Array, egs_duns: pa.Array) -> pa.Table:
    """Blocks of a lake file as `holds.hold` takes them."""
    return pa.table(
        {
            "account": rows["account"].cast(pa.string()),
            "channel": rows["channel"].cast(pa.string()),
            "reason": pa.repeat(reason, len(rows)) if isinstance(reason, str) else reason,
            "egs_duns": egs_duns,
            "lake_file_id": pa.repeat(pa.scalar(file.id, pa.int64()), len(rows)),
        }
    )


def may_go(owners: Owners, *, day: date) -> npt.NDArray[np.bool_]:
    """Whether each goes to the EGS that is of record: of that one's days."""
    return (owners.place >= 0) & owners.supplied_on(day)


def waits_for(owners: Owners, *, day: date) -> pa.Array:
    """The DUNS of the EGS that each would go to if it were a partner; empty where only another roster helps."""
    awaited = (owners.place == Nobody.UNCLAIMED) & owners.supplied_on(day)
    return pc.if_else(pa.array(awaited), pc.fill_null(owners.duns.cast(pa.string()), ""), "")


def hold(
    tx: Connection,
    reason: str,
    some: Iterable[pa.Table],
    *,
    given: Iterable[pa.Table] = (),
    edc: str,
    publication_id: str,
    at: datetime,
) -> None:
    """Hold blocks (`held`) that a publication found, and note those that it gave to whom they are for at once."""
    tally = holds.hold(tx, some, edc=edc, since=at)
    tally.join(holds.hold(tx, given, edc=edc, since=at, given_by=publication_id))
    if tally.count:
        whole = holds.held_again(tx, reason=reason, edc=edc, at=at, found_by=publication_id, now=tally)
        events.record(tx, EVENTS[reason], at=at, about=publication_id, partner=edc, held=str(whole))
