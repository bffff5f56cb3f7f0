"""Who is of record for an account, by the roster, on a day.

An EGS is of record when the roster names it and its start date is not in the future. An account that the
roster does not know is in suspense; one whose EGS is no partner is unclaimed; one with no EGS, or with one
that starts later, is nobody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


class Nobody(IntEnum):
    """Why no partner is of record."""

    SUSPENSE = -1
    DEFAULT_SERVICE = -2
    NOT_YET = -3
    UNCLAIMED = -4


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Of a list of accounts: `place`, of each one's EGS among the partners asked for, or the `Nobody` that
    says why there is none; `duns`, of the EGS that the roster names.
    """

    place: npt.NDArray[np.int32]
    duns: pa.Array


def of_record(*, standing: pa.Table, egs_duns: Sequence[str], today: date) -> Owners:
    """Who is of record for each row of `standing` (known, egs_duns, egs_start), among `egs_duns`."""
    said = standing["egs_duns"].combine_chunks()
    place = pc.index_in(said, value_set=pa.array(egs_duns, pa.string()))
    owner: npt.NDArray[np.int32] = (
        pc.fill_null(place, int(Nobody.UNCLAIMED)).to_numpy(zero_copy_only=False).astype(np.int32)
    )
    start = standing["egs_start"].combine_chunks()
    later = pc.fill_null(pc.greater(start, pa.scalar(today, pa.date32())), False)
    none = pc.fill_null(pc.equal(said, ""), True)
    owner[later.to_numpy(zero_copy_only=False)] = Nobody.NOT_YET
    owner[none.to_numpy(zero_copy_only=False)] = Nobody.DEFAULT_SERVICE
    owner[~standing["known"].to_numpy()] = Nobody.SUSPENSE
    return Owners(place=owner, duns=said)


def is_stale(*, as_of: date, today: date, max_age_days: int) -> bool:
    """Whether a sync is too old to say who may see what."""
    return (today - as_of).days > max_age_days
