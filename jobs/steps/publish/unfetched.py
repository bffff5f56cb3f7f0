"""What was taken back from an EGS by a switch before it had fetched it: it was given to nobody yet.

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


def held(file: LakeFile, rows: pa.Table, owners: Owners) -> pa.Table:
    """Blocks of a lake file that their EGS lost unfetched, as `holds.hold` takes them. `owners`: one a row."""
    return pa.table(
        {
            "account": rows["account"].cast(pa.string()),
            "channel": rows["channel"].cast(pa.string()),
            "reason": pa.repeat("unfetched", len(rows)),
            "egs_duns": waits_for(owners, day=file.usage_date),
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


def hold(tx: Connection, lost: Iterable[pa.Table], *, edc: str, publication_id: str, at: datetime) -> None:
    """Hold blocks (as `held` has them) that were lost by what a publication writes again."""
    tally = holds.hold_unfetched(tx, lost, edc=edc, at=at, found_by=publication_id)
    events.record(tx, "blocks.unfetched", at=at, about=publication_id, partner=edc, held=str(tally))
