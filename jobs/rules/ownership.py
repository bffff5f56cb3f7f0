"""Who is of record for an account, by the roster, on a day.

An EGS is of record when the roster names it and its start date is not in the future. An account that the
roster does not know is in suspense; one whose EGS is no partner is unclaimed; one with no EGS, or with one
that starts later, is nobody's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from itertools import pairwise

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


NOBODYS = (Nobody.DEFAULT_SERVICE, Nobody.NOT_YET)  # no EGS is named for the day, and none is waited for


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Of a list of accounts: `place`, of each one's EGS among the partners asked for, or the `Nobody` that
    says why there is none; `duns`, of the EGS that the roster names; `start`, from which day on it is theirs.
    """

    place: npt.NDArray[np.int32]
    duns: pa.DictionaryArray
    start: pa.ChunkedArray

    def take(self, rows: npt.NDArray[np.int64]) -> "Owners":
        """Those of some rows."""
        return Owners(place=self.place[rows], duns=self.duns.take(rows), start=self.start.take(rows))

    def supplied_on(self, day: date) -> npt.NDArray[np.bool_]:
        """Whether a usage day is one of those from the EGS's start on. Where none is said, it is not."""
        began = pc.fill_null(pc.less_equal(self.start, pa.scalar(day, pa.date32())), False)
        return np.asarray(began, dtype=np.bool_)


def of_record(*, standing: pa.Table, egs_duns: Sequence[str], today: date) -> Owners:
    """Who is of record for each row of `standing` (known, egs_duns, egs_start), among `egs_duns`."""
    said = standing["egs_duns"].combine_chunks()
    said = said if pa.types.is_dictionary(said.type) else said.dictionary_encode()
    place = pc.fill_null(
        pc.index_in(said.dictionary, value_set=pa.array(egs_duns, pa.string())), Nobody.UNCLAIMED
    )
    by_word = pc.if_else(pc.equal(said.dictionary, ""), Nobody.DEFAULT_SERVICE, place)
    each = pc.fill_null(by_word.take(said.indices), Nobody.DEFAULT_SERVICE)
    owner: npt.NDArray[np.int32] = each.to_numpy(zero_copy_only=False).astype(np.int32)
    later = pc.fill_null(pc.greater(standing["egs_start"], pa.scalar(today, pa.date32())), False)
    owner[later.to_numpy() & (owner != Nobody.DEFAULT_SERVICE)] = Nobody.NOT_YET
    owner[~standing["known"].to_numpy()] = Nobody.SUSPENSE
    return Owners(place=owner, duns=said, start=standing["egs_start"])


def shared_out(
    stretches: Iterable[pa.Table], *, egs_duns: Sequence[str], today: date
) -> list[pa.ChunkedArray]:
    """The accounts of which each of `egs_duns` is of record. `stretches`: account, known, egs_duns, egs_start."""
    found: list[list[pa.Array]] = [[] for _ in egs_duns]
    for stretch in stretches:
        place = of_record(standing=stretch, egs_duns=egs_duns, today=today).place
        order = np.argsort(place, kind="stable")
        accounts = stretch["account"].combine_chunks().take(order)
        marks = np.searchsorted(place[order], np.arange(len(egs_duns) + 1))
        for theirs, (begin, end) in zip(found, pairwise(marks), strict=True):
            theirs.append(accounts.slice(begin, end - begin))
    return [pa.chunked_array(theirs, pa.string()) for theirs in found]


def is_stale(*, as_of: date, today: date, max_age_days: int) -> bool:
    """Whether a sync is too old to say who may see what."""
    return (today - as_of).days > max_age_days
