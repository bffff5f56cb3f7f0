"""Shortness: does a bucket have fewer accounts than the one it seems to be again?

A file that was cut between two blocks shows no trace of it, but for the accounts that are not in it. Which
ought to be is told from the bucket of the day before that it resembles, never by its number of accounts
alone: borders between buckets move, and customers come and go.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_RESEMBLES = 0.5  # of the earlier bucket's accounts that are here again
_BEGINNING = 0.01  # or it begins as that one does: the share that may be missing before its first account,
_DENSE = 0.9  # and between its first and its last
_LEAST = 0.01  # and at least so much of it is here


def left_out(here: pa.Array, before: pa.Array) -> pa.Array:
    """The accounts of an earlier bucket that are not `here` though the others are; none, if this is no such
    bucket again, or one that is as full. Both are sorted, each account once.
    """
    nothing = before[:0]
    if len(here) >= len(before):
        return nothing
    again = pc.is_in(before, value_set=here).to_numpy(zero_copy_only=False)
    places = np.flatnonzero(again)
    if not len(places):
        return nothing
    resembles = len(places) >= _RESEMBLES * len(before)
    begins = (
        places[0] <= _BEGINNING * len(before)
        and len(places) >= _DENSE * (places[-1] - places[0] + 1)
        and len(places) >= _DENSE * len(here)
        and len(places) >= _LEAST * len(before)
    )
    return before.filter(pa.array(~again)) if resembles or begins else nothing
