"""A sync as a whole: the rows of all its parts in the order of its roster, and what is at odds between them.

The whole may be too big to be held. It is put together a stretch of accounts at a time: all rows of an
account, of whichever part, stand in one stretch. Source: formats.md, section 2.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas import sync_faults, sync_fields
from schemas.drop import FAULTS_KEPT
from schemas.fault import Fault

Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
_ORDER = ("account", "meter")


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOdds:
    """Rows of several parts cannot all be true: the first faults, and how many there are."""

    faults: tuple[Fault, ...]
    total: int


NONE = AtOdds(faults=(), total=0)


def in_order(rows: pa.Table) -> pa.Table:
    """Rows sorted by account and meter; as they are if they stand so already."""
    return rows if _ascend(rows) else rows.sort_by([(name, "ascending") for name in _ORDER])


def assemble(parts: Mapping[int, pa.Table]) -> pa.Table | AtOdds:
    """A stretch of the whole: of the rows that each part (by number) has of it, all in order, or what is at
    odds between parts. The rows of each part are good by themselves.
    """
    rows = in_order(pa.concat_tables(parts.values()))
    if not at_odds(rows):
        return rows
    numbered = [some.append_column("part", pa.repeat(number, len(some))) for number, some in parts.items()]
    keys = [(name, "ascending") for name in (*_ORDER, "part")]
    return _between_parts(pa.concat_tables(numbered).sort_by(keys))


def at_odds(rows: pa.Table) -> bool:
    """Whether, of rows in order, any two are of one account with another EGS, start date or the same meter."""
    again = np.flatnonzero(_again(rows["account"])[1:])
    if not len(again):
        return False
    some, next_ones = rows.take(again), rows.take(again + 1)
    alike = _alike(some, next_ones, ("egs_duns", "egs_start"))
    return bool((~alike | _alike(some, next_ones, ("meter",))).any())


def _between_parts(rows: pa.Table) -> AtOdds:
    """What is wrong with rows, sorted by account, meter and part, that an earlier one is at odds with."""
    of_account = _first(~_again(rows["account"]))
    of_meter = _first(~(_again(rows["account"]) & _again(rows["meter"])))
    differs = ~_alike(rows, rows.take(of_account), ("egs_duns", "egs_start"))
    met = of_meter < np.arange(len(rows))
    wrong = np.flatnonzero(differs | met)[:FAULTS_KEPT]
    faults = [
        fault
        for row in wrong.tolist()
        for fault in _faults(rows, row, account=int(of_account[row]), meter=int(of_meter[row]))
    ]
    return AtOdds(faults=tuple(faults[:FAULTS_KEPT]), total=int(differs.sum() + met.sum()))


def _faults(rows: pa.Table, row: int, *, account: int, meter: int) -> Iterator[Fault]:
    """The faults of a row whose account and meter stood first in those rows."""
    this, first, met = (rows.slice(place, 1).to_pylist()[0] for place in (row, account, meter))
    if (said := _supplier(this)) != (before := _supplier(first)):
        yield Fault(
            code="account-twice-differs",
            account=this["account"],
            found=f"{said} in part {this['part']}",
            wanted=f"{before}, as in part {first['part']}",
        )
    if meter < row:
        wanted = f"each meter of an account once; this one stands in part {met['part']} too"
        found = f"{this['meter']} in part {this['part']}"
        yield Fault(code="meter-twice", account=this["account"], found=found, wanted=wanted)


def _supplier(row: Mapping[str, Any]) -> str:
    start = row["egs_start"]
    return sync_faults.supplier(row["egs_duns"], sync_fields.spelt(start) if start else "")


def _ascend(rows: pa.Table) -> bool:
    account, meter = (rows[name] for name in _ORDER)
    if pc.all(pc.less(account[:-1], account[1:]), min_count=0).as_py():  # no account has two meters
        return True
    tied = pc.and_(pc.equal(account[:-1], account[1:]), pc.less_equal(meter[:-1], meter[1:]))
    return bool(pc.all(pc.or_(pc.less(account[:-1], account[1:]), tied)).as_py())


def _again(column: pa.ChunkedArray) -> Flags:
    """Whether each value is the one before it once more; the first never is."""
    again = pc.equal(column[1:], column[:-1])
    return np.append(False, again.to_numpy()) if len(column) else np.zeros(0, bool)


def _first(new: Flags) -> Places:
    """The place, for each row, of the first of those it belongs to: where `new` was true last."""
    first: Places = np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))
    return first


def _alike(some: pa.Table, others: pa.Table, names: tuple[str, ...]) -> Flags:
    """Whether each row of `some` says the same as its counterpart."""
    alike = np.ones(len(some), bool)
    for name in names:
        one, other = (_words(rows[name]) for rows in (some, others))
        both_none = pc.and_(pc.is_null(one), pc.is_null(other))
        alike &= pc.fill_null(pc.equal(one, other), False).to_numpy() | both_none.to_numpy()
    return alike


def _words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
