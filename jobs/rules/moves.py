"""Who gains and who loses which accounts when one roster takes the place of another.

Holders are named in words: the id of an EGS that is a partner and of record today; or why none is, as
`default service`, `unclaimed 123456789`, `not yet champion`; or `not in the roster`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rules import ownership
from jobs.rules.ownership import Nobody

DEFAULT_SERVICE = "default service"
NOT_THERE = "not in the roster"
HOLDERS = pa.schema([pa.field("account", pa.string()), pa.field("holder", pa.string())])


def holders(accounts: pa.Table, *, egss: Mapping[str, str], today: date) -> pa.Table:
    """Who holds each account of a roster (`HOLDERS`). `accounts`: account, egs_duns, egs_start, each account
    once; `egss`: the ids of the partners that are EGSs, by DUNS.
    """
    standing = accounts.append_column("known", pa.repeat(True, len(accounts)))
    duns = list(egss)
    owners = ownership.of_record(standing=standing, egs_duns=duns, today=today)
    later = (owners.place == Nobody.NOT_YET).astype(np.int64)
    said = pc.fill_null(owners.duns, "").dictionary_encode()
    codes = said.indices.to_numpy().astype(np.int64) * 2 + later
    kinds, which = np.unique(codes, return_inverse=True)
    words = [_words(said.dictionary[int(kind) // 2].as_py(), egss, later=bool(kind % 2)) for kind in kinds]
    holder = pa.array(words, pa.string()).take(pa.array(which))
    return pa.Table.from_arrays(
        [accounts["account"].combine_chunks().cast(pa.string()), holder], schema=HOLDERS
    )


def _words(duns: str, egss: Mapping[str, str], *, later: bool) -> str:
    if not duns:
        return DEFAULT_SERVICE
    if later:
        return f"not yet {egss.get(duns, duns)}"
    return egss.get(duns, f"unclaimed {duns}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How many accounts a holder has before, loses, gains, and has after."""

    holder: str
    before: int
    loses: int
    gains: int
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Moves:
    """What is different: each account that changes hands (account, was, becomes: strings), in their order."""

    accounts: pa.Table
    balances: tuple[Balance, ...]
    before: int  # accounts in the roster before

    @property
    def pairs(self) -> list[tuple[str, str, int]]:
        """From whom to whom how many accounts go, the most first."""
        counted = self.accounts.group_by(["was", "becomes"]).aggregate([([], "count_all")])
        rows = counted.select(["was", "becomes", "count_all"]).to_pylist()
        return sorted(
            ((row["was"], row["becomes"], row["count_all"]) for row in rows),
            key=lambda pair: (-pair[2], pair),
        )


def between(before: pa.Table, after: pa.Table) -> Moves:
    """What changes from one table of `HOLDERS` to the other."""
    joined = before.rename_columns(["account", "was"]).join(
        after.rename_columns(["account", "becomes"]), "account", join_type="full outer"
    )
    whole = pa.table(
        {
            "account": joined["account"],
            "was": pc.fill_null(joined["was"], NOT_THERE),
            "becomes": pc.fill_null(joined["becomes"], NOT_THERE),
        }
    )
    moved = whole.filter(pc.not_equal(whole["was"], whole["becomes"])).sort_by("account")
    return Moves(accounts=moved, balances=tuple(_balances(before, after, moved)), before=len(before))


def _balances(before: pa.Table, after: pa.Table, moved: pa.Table) -> Sequence[Balance]:
    had, has = counts(before["holder"]), counts(after["holder"])
    lost, gained = counts(moved["was"]), counts(moved["becomes"])
    return [
        Balance(
            holder=holder,
            before=had.get(holder, 0),
            loses=lost.get(holder, 0),
            gains=gained.get(holder, 0),
            after=has.get(holder, 0),
        )
        for holder in sorted(had.keys() | has.keys())
    ]


def counts(words: pa.ChunkedArray | pa.Array) -> dict[str, int]:
    """How often each word stands there."""
    return {row["values"]: row["counts"] for row in pc.value_counts(words).to_pylist()}
