"""Which accounts stay with their EGS by another roster, and are its from another day on.

Nobody gains or loses them. But what is held of an account is its EGS's from that day on, so that an earlier
start gives free, and a later one keeps, readings of the days between.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rules import moves

_NEVER = pa.scalar(
    date.max, pa.date32()
)  # where no start is said: no day is the EGS's (ownership.supplied_on)
CHANGES = pa.schema(
    [
        pa.field("account", pa.string()),
        pa.field("egs_duns", pa.string()),
        pa.field("was", pa.date32()),
        pa.field("becomes", pa.date32()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """How many accounts an EGS keeps and has from an earlier, or from a later, day on; and one of them."""

    egs_duns: str
    earlier: int
    later: int
    account: str
    was: date | None
    becomes: date | None


def between(before: pa.Table, after: pa.Table, *, today: date) -> pa.Table:
    """The accounts of a stretch that start on another day with the EGS they stay with (`CHANGES`). Both:
    rosters.STANDING, each account once. One whose start passes over `today` changes hands, and is none.
    """
    then = before
    if not before["account"].equals(after["account"]):
        then = before.take(moves.places(after["account"], before["account"]))
    was, becomes = (_start(rows) for rows in (then, after))
    differs = pc.and_(pc.not_equal(was, becomes), pc.fill_null(then["known"], False))
    then, after = then.filter(differs), after.filter(differs)
    duns = after["egs_duns"].cast(pa.string())
    same = pc.and_(pc.equal(then["egs_duns"].cast(pa.string()), duns), pc.not_equal(duns, ""))
    stays = pc.equal(*(moves.is_later(rows["egs_start"], today) for rows in (then, after)))
    columns = [after["account"], duns, then["egs_start"], after["egs_start"]]
    return pa.Table.from_arrays(columns, schema=CHANGES).filter(pc.fill_null(pc.and_(same, stays), False))


def count(changes: Iterable[pa.Table]) -> list[Starts]:
    """By EGS, those that have the most first: what `between` found, stretch by stretch."""
    found: dict[str, Starts] = {}
    for some in changes:
        word = some["egs_duns"].combine_chunks().dictionary_encode()
        earlier = pc.less(_start(some, "becomes"), _start(some, "was")).to_numpy()
        codes = word.indices.to_numpy().astype(np.int64)
        kinds = np.bincount(2 * codes + earlier, minlength=2 * len(word.dictionary)).reshape(-1, 2)
        _, first = np.unique(codes, return_index=True)
        for duns, (later, sooner), place in zip(
            word.dictionary.to_pylist(), kinds.tolist(), first, strict=True
        ):
            told = found.get(duns)
            one = some.slice(int(place), 1).to_pylist()[0]
            found[duns] = Starts(
                egs_duns=duns,
                earlier=sooner + (told.earlier if told else 0),
                later=later + (told.later if told else 0),
                account=told.account if told else one["account"],
                was=told.was if told else one["was"],
                becomes=told.becomes if told else one["becomes"],
            )
    return sorted(found.values(), key=lambda one: (-one.earlier - one.later, one.egs_duns))


def _start(rows: pa.Table, name: str = "egs_start") -> pa.ChunkedArray:
    return pc.fill_null(rows[name], _NEVER)
