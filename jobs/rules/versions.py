"""Versions: the place of a block on the stack of its account, channel and usage day.

Versions count 1, 2, 3 … in the order of commits. Current is the version with the latest EDC stamp (ties:
the higher version). A block whose content is the current version's makes no new version; when it
carries a later stamp, it affirms that version: the EDC said so again, later. (formats.md, section 1)
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.block import CONTENT

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacked:
    """What a usage day's new blocks become.

    `version`: of each block; of an unchanged one, that of the version it equals. `unchanged`, `affirms`,
    `first`: whether it equals the current version, does so with a later stamp, is its stack's first.
    `outranked`: whether it is a new version below one with a later stamp, and so will never be current.
    """

    version: Ints
    unchanged: Bools
    affirms: Bools
    first: Bools
    outranked: Bools


def first(count: int) -> Stacked:
    """Blocks of which nothing stands yet."""
    no = np.zeros(count, dtype=np.bool_)
    return Stacked(version=np.ones(count, dtype=np.int64), unchanged=no, affirms=no, first=~no, outranked=no)


def stack(*, new: pa.Table, standing: pa.Table, affirmed: pa.Table) -> Stacked:
    """Stack blocks upon what stands for them.

    `new`: blocks (schemas.block.FIELDS), no key twice. `standing`: the committed blocks of the same usage
    day, with `version`; fields of content may be null where any of them is another. `affirmed`: account,
    channel, version, stamp. Both may hold other keys, too.
    """
    stacks = Stacks.of(standing, affirmed)
    place = stacks.place(new)
    stacked = first(len(new))
    has = place >= 0
    at = np.where(has, place, 0)
    if not has.any():
        return stacked
    same = np.zeros(len(new), dtype=np.bool_)
    rows = np.flatnonzero(has)
    same[rows] = _same_content(new.take(rows), standing.take(stacks.current_row[at[rows]]))
    stamp = _text(new["stamp"])
    later = stamp > stacks.current_stamp[at]
    return Stacked(
        version=np.where(same, stacks.current_version[at], np.where(has, stacks.top[at] + 1, 1)),
        unchanged=same,
        affirms=same & later,
        first=~has,
        outranked=has & ~same & (stamp < stacks.current_stamp[at]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacks:
    """The stacks of a usage day: per key its highest version and which version is current."""

    keys: pa.Array
    top: Ints
    current_version: Ints
    current_stamp: npt.NDArray[np.str_]
    current_row: Ints  # of the current version, in `standing`

    @classmethod
    def of(cls, standing: pa.Table, affirmed: pa.Table) -> "Stacks":
        keys = pc.unique(key(standing))
        here = pc.index_in(key(standing), value_set=keys).to_numpy(zero_copy_only=False).astype(np.int64)
        again = pc.index_in(key(affirmed), value_set=keys)
        known = pc.is_valid(again).to_numpy(zero_copy_only=False)
        again = pc.fill_null(again, 0).to_numpy(zero_copy_only=False).astype(np.int64)[known]
        version = np.concatenate([_ints(standing["version"]), _ints(affirmed["version"])[known]])
        stamp = np.concatenate([_text(standing["stamp"]), _text(affirmed["stamp"])[known]])
        group = np.concatenate([here, again])
        top = np.zeros(len(keys), dtype=np.int64)
        np.maximum.at(top, here, _ints(standing["version"]))
        last = _last_of_each(np.lexsort((version, stamp, group)), group, len(keys))
        row = np.full(len(keys), -1, dtype=np.int64)
        is_current = _ints(standing["version"]) == version[last][here]
        row[here[is_current]] = np.flatnonzero(is_current)
        return cls(
            keys=keys, top=top, current_version=version[last], current_stamp=stamp[last], current_row=row
        )

    def place(self, blocks: pa.Table) -> Ints:
        """For each block the place of its stack, or -1."""
        found = pc.fill_null(pc.index_in(key(blocks), value_set=self.keys), -1)
        place: Ints = found.to_numpy(zero_copy_only=False).astype(np.int64)
        return place


# Stands before every character of an account, so that keys sort as accounts do: AB before AB-1.
BETWEEN = " "


def key(blocks: pa.Table) -> pa.Array:
    """Account and channel in one word, `account channel`. Sorts by account, then by channel."""
    account = blocks["account"].cast(pa.string())
    joined = pc.binary_join_element_wise(account, blocks["channel"].cast(pa.string()), BETWEEN)
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _same_content(one: pa.Table, other: pa.Table) -> Bools:
    """Row by row, whether two tables agree in every field of `CONTENT`."""
    same = np.ones(len(one), dtype=np.bool_)
    for name in CONTENT:
        if name != "wh":
            mine, theirs = _plain(one[name]), _plain(other[name])
            same &= pc.fill_null(pc.equal(mine, theirs), False).to_numpy(zero_copy_only=False)
    # `status` has one letter an interval, so where it agrees the lists are of one length.
    rows = np.flatnonzero(same)
    same[rows] = _same_lists(one["wh"].take(rows), other["wh"].take(rows))
    return same


def _same_lists(one: pa.ChunkedArray, other: pa.ChunkedArray) -> Bools:
    """Row by row, whether lists of pairwise equal lengths hold the same."""
    lengths = pc.list_value_length(one).to_numpy(zero_copy_only=False)
    if len(lengths) == 0:
        return np.zeros(0, dtype=np.bool_)
    differs = _ints(pc.list_flatten(one)) != _ints(pc.list_flatten(other))
    before = np.concatenate([[0], np.cumsum(differs)])
    ends = np.cumsum(lengths)
    same: Bools = before[ends] == before[ends - lengths]
    return same


def _last_of_each(order: Ints, group: Ints, groups: int) -> Ints:
    """Of rows sorted by group, the last row of each group."""
    last = np.zeros(groups, dtype=np.int64)
    last[group[order]] = order  # later assignments win
    return last


def _plain(column: pa.ChunkedArray) -> pa.Array:
    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return plain.combine_chunks() if isinstance(plain, pa.ChunkedArray) else plain


def _ints(column: pa.ChunkedArray | pa.Array) -> Ints:
    ints: Ints = column.to_numpy().astype(np.int64)
    return ints


def _text(column: pa.ChunkedArray) -> npt.NDArray[np.str_]:
    """Stamps as fixed-width text, which compares as time does: 14 digits each."""
    text: npt.NDArray[np.str_] = column.cast(pa.string()).to_numpy(zero_copy_only=False).astype("U14")
    return text
