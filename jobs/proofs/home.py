"""A whole home held to its ledger: every proof in its order, side by side where files are read, and twice.

A hub may be at work meanwhile. What one state of the ledger says of itself is judged at once. A file that
seems wrong by it is looked at again, by a later state, once whoever was changing it has finished; what only
seemed so is not told.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy.exc import DatabaseError

from jobs.proofs import archive, columns, lake, outbound, outside, papers, rows
from jobs.proofs import known as knowledge
from jobs.proofs.finding import Check, Finding, Look
from jobs.proofs.known import Known
from jobs.proofs.lake import Tally
from jobs.proofs.place import Place
from jobs.stores.ledger import Ledger, claims
from jobs.stores.ledger.events import NOTHING_YET, Head

Told = Callable[[int, int], None]

_PATIENCE = 60.0  # seconds that work under way may take to end
_AGAIN = 0.1  # seconds between looks whether it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was looked at, and what is wrong. `unfinished` may be wrong, or is work that is under way still or
    was cut off and not taken up yet.
    """

    head: Head
    looked_at: Mapping[Check, int]
    findings: tuple[Finding, ...]
    unfinished: tuple[Finding, ...] = ()


def verify(
    ledger: Ledger,
    place: Place,
    *,
    version: str,
    quick: bool = False,
    expected: Mapping[Head, str] | None = None,
    told: Told = lambda _done, _of: None,
) -> Proof:
    """Hold a home to its ledger. `version`: of its tables; `quick`: the ledger alone; `expected`: heads of the
    chain that were kept.

    `told` is called with how many files were read, and of how many. Raises LedgerUnreachable.
    """
    heads = {**outside.heads(place), **(expected or {})}
    try:
        if (found := ledger.version()) != version:
            return _unreadable(f"its tables are of version {found or 'none'}, and {version} is wanted")
        known = knowledge.read(ledger, expected=heads, whole=not quick)
    except (DatabaseError, sqlite3.DatabaseError, ValueError, LookupError) as error:
        return _unreadable(f"it cannot be read: {' '.join(str(error).split())[:300]}")
    firm = [*known.broken, *rows.check(known), *columns.check(known)]
    looked_at = dict.fromkeys(Check, 0) | {
        Check.LEDGER: 1,
        Check.CHAIN: known.head.id,
        Check.DROPS: len(known.drops),
        Check.SEQUENCE: len(known.outbound),
        Check.SYNCS: len(known.syncs),
        Check.SUMS: len(known.drops) + len(known.outbound),
    }
    if quick:
        return Proof(head=known.head, looked_at=looked_at, findings=_in_order(firm))
    seems, sums = _files(known, place, looked_at, told=told)
    firm += sums
    if not seems:
        return Proof(head=known.head, looked_at=looked_at, findings=_in_order(firm))
    _wait(ledger, {one.claim for one in seems}, place)
    later = knowledge.read(ledger, expected={}, whole=False, deeds=False)
    still, _ = _files(later, place, {}, only={one.where for one in seems})
    before = {(one.check, one.where) for one in seems}
    wrong = [one for one in still if (one.check, one.where) in before]
    under_way = later.claims.keys() | later.unfinished()
    return Proof(
        head=known.head,
        looked_at=looked_at,
        findings=_in_order([*firm, *(one for one in wrong if one.claim not in under_way)]),
        unfinished=_in_order([one for one in wrong if one.claim in under_way]),
    )


def without_ledger(place: Place) -> Proof:
    """What there is to say of a home whose ledger is gone."""
    return _unreadable("it is gone", where=place.named(place.home.ledger_file))


def _unreadable(what: str, *, where: str = "the ledger") -> Proof:
    do = "stop the hub, and restore the ledger from a backup, or make it again: meterhub rebuild"
    finding = Finding(check=Check.LEDGER, where=where, what=what, do=do)
    return Proof(head=NOTHING_YET, looked_at={Check.LEDGER: 1}, findings=(finding,))


def _in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    order = list(Check)
    return tuple(sorted(findings, key=lambda one: (order.index(one.check), one.where, one.what)))


def _files(
    known: Known,
    place: Place,
    looked_at: dict[Check, int],
    *,
    only: set[str] | None = None,
    told: Told = lambda _done, _of: None,
) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with the files of a home, by one state of its ledger; and what does not add up. `only`:
    those files are read, and no others.
    """
    tally = Tally()
    with closing(outbound.Files(known=known, place=place)) as out:
        looks = [
            *papers.looks(known, place),
            *archive.looks(known, place),
            *lake.looks(known, place, tally),
            *out.looks(),
        ]
        looks = [one for one in looks if only is None or one.where in only]
        for look in looks:
            looked_at[look.check] = looked_at.get(look.check, 0) + 1
        looked_at |= {Check.CONFIG: len(known.told.config), Check.LOGS: len(known.told.logs)}
        found = list(_read(looks, place, told))
        sums = [*lake.sums(known, tally), *out.sums(tally)]
        found += [*papers.inbound(known, place), *papers.strangers(known, place)]
        found += [*archive.strangers(known, place), *lake.strangers(known, place), *out.strangers()]
        found += [*outside.settings(known, place), *outside.logs(known, place)]
    firm = [one for one in found if one.check is Check.SUMS]
    return [one for one in found if one.check is not Check.SUMS], [*firm, *sums]


def _read(looks: list[Look], place: Place, told: Told) -> Iterator[Finding]:
    """What reading these files finds. Each thread has one file, or a piece of one, in memory."""
    with ThreadPoolExecutor(place.settings.worker_count()) as threads:
        read = [threads.submit(_one, look) for look in looks]
        for number, future in enumerate(as_completed(read), 1):
            yield from future.result()
            told(number, len(looks))


def _one(look: Look) -> list[Finding]:
    return list(look.look())


def _wait(ledger: Ledger, wanted: set[str], place: Place) -> None:
    """Wait until the processes that hold any of these claims have given them back, or for a minute."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        now = knowledge.claimed(ledger)
        if not any(claims.lives(place.home.locks, now[key]) for key in wanted & now.keys()):
            return
        time.sleep(_AGAIN)
