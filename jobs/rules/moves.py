"""Who gains and who loses which accounts when one roster takes the place of another.

Both are looked at side by side, a stretch of accounts at a time. Holders are named in words: the id of an
EGS that is a partner and of record today; or why none is, as `default service`, `unclaimed 123456789`,
`not yet champion`; or `not in the roster`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rules import ownership
from jobs.rules.ownership import Nobody

DEFAULT_SERVICE = "default service"
NOT_THERE = "not in the roster"
_WORD = pa.dictionary(pa.int32(), pa.string())
HOLDERS = pa.schema([pa.field("account", pa.string()), pa.field("holder", _WORD)])
CHANGES = pa.schema([pa.field("account", pa.string()), pa.field("was", _WORD), pa.field("becomes", _WORD)])
Codes = npt.NDArray[np.int32]


def taken(before: pa.Table, after: pa.Table, *, today: date) -> int:
    """How many accounts of `before` have another EGS, or none, in `after`; one that starts later is none.
    Both: account, egs_duns, egs_start, each account once.
    """
    then = after.select(["egs_duns", "egs_start"])
    if not before["account"].equals(after["account"]):
        then = then.take(places(before["account"], after["account"]))
    stays = pc.equal(*(rows["egs_duns"].cast(pa.string()) for rows in (before, then)))
    sooner_or_later = pc.equal(*(is_later(rows["egs_start"], today) for rows in (before, then)))
    return len(before) - (pc.sum(pc.and_(pc.fill_null(stays, False), sooner_or_later)).as_py() or 0)


def named_anew(before: pa.Table, after: pa.Table) -> pa.Table:
    """The rows of `after` that name an EGS and a day from which the account is its, if `before` has another EGS for
    the account, or another day. Both: account, egs_duns, egs_start, each account once.
    """
    named = pc.and_(pc.not_equal(after["egs_duns"].cast(pa.string()), ""), pc.is_valid(after["egs_start"]))
    had = before.select(["egs_duns", "egs_start"])
    if not before["account"].equals(after["account"]):
        had = had.take(places(after["account"], before["account"]))
    same_egs = pc.equal(*(rows["egs_duns"].cast(pa.string()) for rows in (had, after)))
    same = pc.and_(same_egs, pc.equal(had["egs_start"], after["egs_start"]))
    return after.filter(pc.and_(pc.fill_null(named, False), pc.invert(pc.fill_null(same, False))))


def is_later(start: pa.ChunkedArray, today: date) -> pa.ChunkedArray:
    """Whether a start lies ahead; one that is not said does not."""
    return pc.fill_null(pc.greater(start, pa.scalar(today, pa.date32())), False)


def places(accounts: pa.ChunkedArray, among: pa.ChunkedArray) -> pa.Array:
    """Where each account stands among others; null where it does not."""
    found = pc.index_in(accounts, value_set=among.combine_chunks())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def holders(standing: pa.Table, *, egss: Mapping[str, str], today: date) -> pa.Table:
    """Who holds each account (`HOLDERS`). `standing`: account, known, egs_duns, egs_start, each account once;
    `egss`: the ids of the partners that are EGSs, by DUNS.
    """
    owners = ownership.of_record(standing=standing, egs_duns=list(egss), today=today)
    duns = owners.duns.dictionary.to_pylist()
    words = [_words(each, egss, later=later) for later in (False, True) for each in duns]
    codes = owners.duns.indices.to_numpy() + len(duns) * (owners.place == Nobody.NOT_YET)
    holder = _in_words(codes.astype(np.int32), words)
    return pa.Table.from_arrays([standing["account"].combine_chunks(), holder], schema=HOLDERS)


def _words(duns: str, egss: Mapping[str, str], *, later: bool) -> str:
    if not duns:
        return DEFAULT_SERVICE
    if later:
        return f"not yet {egss.get(duns, duns)}"
    return egss.get(duns, f"unclaimed {duns}")


def _in_words(codes: Codes, words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(words, pa.string()))


def between(before: pa.Table, after: pa.Table) -> pa.Table:
    """From whom to whom each account of a stretch goes that stands in either (`CHANGES`); most stay."""
    had, has = before["account"], after["account"]
    was, were = _coded(before["holder"])
    becomes, become = _coded(after["holder"])
    if had.equals(has):
        accounts = has.combine_chunks()
    else:
        gone = pc.invert(pc.is_in(had, value_set=has.combine_chunks()))
        stood = pc.fill_null(places(has, had), len(had)).to_numpy()
        left = np.flatnonzero(gone.to_numpy())
        accounts = pa.concat_arrays([*has.chunks, *had.filter(gone).chunks])
        was = np.append(was, len(were)).astype(np.int32)[np.concatenate([stood, left])]
        becomes = np.append(becomes, np.full(len(left), len(become), np.int32))
    columns = [_in_words(was, [*were, NOT_THERE]), _in_words(becomes, [*become, NOT_THERE])]
    return pa.Table.from_arrays([accounts, *columns], schema=CHANGES)


def _coded(holder: pa.ChunkedArray) -> tuple[Codes, list[str]]:
    whole = holder.combine_chunks()
    codes: Codes = whole.indices.to_numpy()
    return codes, whole.dictionary.to_pylist()


def count(changes: pa.Table) -> Counter[tuple[str, str]]:
    """How many accounts go from whom to whom, those that stay among them."""
    was, were = _coded(changes["was"])
    becomes, become = _coded(changes["becomes"])
    counted = np.bincount(was.astype(np.int64) * len(become) + becomes, minlength=1)
    found: Counter[tuple[str, str]] = Counter()
    for pair in np.flatnonzero(counted).tolist():
        found[were[pair // len(become)], become[pair % len(become)]] += int(counted[pair])
    return found


def moved(changes: pa.Table) -> pa.Table:
    """Of changes, those that are: each account that changes hands (account, was, becomes: strings)."""
    words = changes.cast(pa.schema([(name, pa.string()) for name in CHANGES.names]))
    return words.filter(pc.not_equal(words["was"], words["becomes"])).sort_by("account")


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
    """How many accounts go from whom to whom; those that stay are counted as going to who has them, and those
    that are new as coming from `NOT_THERE`.
    `accounts`: each of those that change hands (`moved`), where that was asked for.
    """

    counted: Mapping[tuple[str, str], int]
    accounts: pa.Table | None = None

    @property
    def before(self) -> int:
        """The accounts in the roster before."""
        return sum(n for (was, _), n in self.counted.items() if was != NOT_THERE)

    @property
    def number(self) -> int:
        """The accounts of the roster before that change hands: what the brake counts (`taken`)."""
        return sum(n for was, _, n in self.pairs if was != NOT_THERE)

    @property
    def new(self) -> int:
        """The accounts that were not in the roster before; they are taken from nobody."""
        return sum(n for (was, _), n in self.counted.items() if was == NOT_THERE)

    @property
    def pairs(self) -> list[tuple[str, str, int]]:
        """From whom to whom how many accounts go, the most first, and after them those that are new."""
        rows = [(was, becomes, n) for (was, becomes), n in self.counted.items() if was != becomes]
        return sorted(rows, key=lambda pair: (pair[0] == NOT_THERE, -pair[2], pair))

    @property
    def balances(self) -> list[Balance]:
        """What each holder has of it, by name."""
        had, has, lost, gained = (Counter[str]() for _ in range(4))
        for (was, becomes), n in self.counted.items():
            had[was] += n
            has[becomes] += n
            if was != becomes:
                lost[was] += n
                gained[becomes] += n
        return [
            Balance(holder=one, before=had[one], loses=lost[one], gains=gained[one], after=has[one])
            for one in sorted((had.keys() | has.keys()) - {NOT_THERE})
        ]
